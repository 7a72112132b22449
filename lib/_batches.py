"""Batches of images through the method: each with its own penalty and its own stop."""

from typing import NamedTuple

import numpy as np
import torch

from lib import _admm
from lib._atom_bank import AtomBank


class Settings(NamedTuple):
    lmbda: float
    weights: np.ndarray | None
    max_iter: int
    tol: float
    auto_rho: bool
    relax: float

    def threshold(self, images):
        """λ, or λ times the weight of each atom, (K, 1), to go with images."""
        if self.weights is None:
            return self.lmbda
        return self.lmbda * torch.as_tensor(self.weights).to(images)[:, None]


class Result(NamedTuple):
    """What became of some images, which are done after the same iteration.

    Attributes
    ----------
    images : slice
        Which ones; n of them.
    coefficients : Tensor (n, K, height, width)
    synthesis : Tensor (n, height, width)
    n_iter : int
    converged, primal, dual, rho : ndarray (n,)
    """

    images: slice
    coefficients: torch.Tensor
    synthesis: torch.Tensor
    n_iter: int
    converged: np.ndarray
    primal: np.ndarray
    dual: np.ndarray
    rho: np.ndarray


def dense(start, some):
    """Coefficients to start some images from, a slice of all: a copy if they are sparse."""
    if not start.is_sparse:
        return start[some]
    first, last, _ = some.indices(len(start))
    return start.narrow_copy(0, first, last - first).to_dense()


def batches(images, atoms, settings, rho, start, batch, report):
    """Results as images are done, a batch at a time; `report` is told each iteration."""
    bank = AtomBank(atoms, *images.shape[1:])
    for first in range(0, len(images), batch):
        some = slice(first, first + batch)
        started = None if start is None else dense(start, some)
        yield from _code(bank, images[some], settings, rho[some], started, first, report)


def _code(bank, images, settings, rho, start, first, report):
    """Results of one batch, whose images are numbered from `first`."""
    rho = torch.tensor(rho.tolist(), dtype=torch.float64, device=images.device)
    state = _admm.Iteration(bank, images, settings.threshold(images), rho, settings.relax, start)
    left = np.arange(first, first + len(images))
    for iteration in range(1, settings.max_iter + 1):
        primal, dual = state.step()
        if settings.auto_rho and iteration > 1:
            state.rescale(_admm.rho_factor(primal, dual, settings.lmbda))
        below = ((primal < settings.tol) & (dual < settings.tol)).cpu().numpy()
        done = below | (iteration == settings.max_iter)
        report(iteration)
        if not done.any():
            continue
        numbers = torch.stack((primal, dual, state.rho)).cpu().numpy()
        for some, which in _runs(left, done, bank.images_per_tile):
            maps = state.result(some)
            yield Result(which, *maps, iteration, below[some], *numbers[:, some])
        if done.all():
            return
        left = left[~done]
        state.keep(~done)


def _runs(left, done, most):
    """Slices (of the batch, of all images) of images that are done, next to each other in both."""
    places = np.flatnonzero(done)
    for run in np.split(places, np.flatnonzero(np.diff(left[places]) > 1) + 1):
        for part in np.split(run, range(most, len(run), most)):
            yield tuple(slice(int(of[0]), int(of[-1]) + 1) for of in (part, left[part]))

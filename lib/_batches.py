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
    image: int
    coefficients: torch.Tensor
    synthesis: torch.Tensor
    n_iter: int
    converged: bool
    primal: float
    dual: float
    rho: float


def batches(images, atoms, settings, rho, start, batch, report):
    """Results as images are done, a batch at a time; `report` is told each iteration."""
    bank = AtomBank(atoms, *images.shape[1:])
    for first in range(0, len(images), batch):
        some = slice(first, first + batch)
        started = None if start is None else start[some]
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
        numbers = torch.stack((primal, dual, state.rho)).T.tolist()
        for j in np.flatnonzero(done):
            yield Result(int(left[j]), *state.result(j), iteration, bool(below[j]), *numbers[j])
        if done.all():
            return
        left = left[~done]
        state.keep(torch.as_tensor(~done, device=images.device))

"""SPORCO's ConvBPDN behind the interface of `csc.sparse_code`: the reference to hold it against."""

import numpy as np
import torch
from sporco.admm.cbpdn import ConvBPDN

from lib import _admm
from lib._atom_bank import AtomBank
from lib._batches import Result, dense


def code_one(images, atoms, settings, rho, start):
    """Results of `sparse_code`, image after image."""
    dictionary = np.ascontiguousarray(atoms.cpu().numpy().transpose(1, 2, 0))
    for i, image in enumerate(images.cpu().numpy()):
        options = {
            "Verbose": False,
            "MaxMainIter": settings.max_iter,
            "RelStopTol": settings.tol,
            "RelaxParam": settings.relax,
            "rho": rho[i],
            "AutoRho": {"Enabled": settings.auto_rho},
        }
        if settings.weights is not None:
            options["L1Weight"] = settings.weights.reshape(1, 1, 1, 1, -1)
        if start is not None:
            # SPORCO's own dual variable for a start, in 0.2.2, asks for λ before it is set.
            bank, own = AtomBank(atoms, *image.shape), torch.tensor(rho[i : i + 1])
            threshold, some = settings.threshold(images), slice(i, i + 1)
            maps = dense(start, some).to(images)
            state = _admm.Iteration(bank, images[some], threshold, own, 1.0, maps)
            options["Y0"] = _as_theirs(maps[0])
            options["U0"] = _as_theirs(state.dual().view(maps[0].shape) / rho[i])
        solver = ConvBPDN(dictionary, image, settings.lmbda, ConvBPDN.Options(options), dimK=0)
        maps = solver.solve().squeeze((2, 3)).transpose(2, 0, 1)
        last = solver.getitstat()
        primal, dual = last.PrimalRsdl[-1], last.DualRsdl[-1]
        yield Result(
            slice(i, i + 1),
            torch.from_numpy(np.ascontiguousarray(maps)[None]).to(images),
            torch.from_numpy(solver.reconstruct().reshape(1, *image.shape)).to(images),
            int(last.Iter[-1]) + 1,
            np.array([primal < settings.tol and dual < settings.tol]),
            np.array([primal]),
            np.array([dual]),
            np.array([solver.rho]),
        )


def _as_theirs(maps):
    return maps.cpu().numpy().transpose(1, 2, 0)[:, :, None, None]

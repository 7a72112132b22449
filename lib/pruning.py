"""What pruning does to the codes of photographs (Ladret et al., § 3.3, Fig. 6)."""

from typing import NamedTuple

import numpy as np
import torch

from lib import codes, csc
from lib._checks import SMALLEST, check_array, check_flag
from lib._tensors import check_bright


class Pruned(NamedTuple):
    """Measures of pruned codes.

    Attributes
    ----------
    psnr, sparseness : ndarray (n_cutoffs, n)
        In dB, and the fraction of coefficients that are zero, of each image.
    """

    psnr: np.ndarray
    sparseness: np.ndarray


def pruned_measures(images, atoms, lmbda, cutoffs, *, relative=False, **settings):
    """PSNR and sparseness of codes without their coefficients below a cutoff.

    Parameters
    ----------
    images, atoms, lmbda, **settings
        As in `codes.iter_codes`.
    cutoffs : ndarray (n_cutoffs,)
        c >= 0.
    relative : bool
        Take c as a fraction of each code's largest magnitude.

    Returns
    -------
    Pruned
    """
    cutoffs = _check_positive("cutoffs", cutoffs)
    images = check_bright(images)
    relative = check_flag("relative", relative)
    columns = []
    for image, code in zip(images, codes.iter_codes(images, atoms, lmbda, **settings), strict=True):
        whole = code.coefficients[None]
        parts = [csc.prune(whole, float(c), relative=relative) for c in cutoffs]
        columns.append(
            (
                [csc.psnr(image[None], csc.reconstruct(part, atoms))[0] for part in parts],
                [csc.sparseness(part)[0] for part in parts],
            )
        )
    psnr, sparseness = np.moveaxis(np.array(columns), 0, -1)
    return Pruned(psnr, sparseness)


def kept_psnr(images, atoms, lmbda, counts, **settings):
    """PSNR of codes of which only so many coefficients are kept, the largest ones.

    Parameters
    ----------
    images, atoms, lmbda, **settings
        As in `codes.iter_codes`.
    counts : ndarray (n_counts,)
        Coefficients kept, per pixel of the image.

    Returns
    -------
    ndarray (n_counts, n)
        In dB; NaN where a code has fewer coefficients.
    """
    counts = _check_positive("counts", counts)
    images = check_bright(images)
    columns = []
    for image, code in zip(images, codes.iter_codes(images, atoms, lmbda, **settings), strict=True):
        magnitudes = torch.sort(code.coefficients.values().abs(), descending=True).values
        column = []
        for count in np.minimum(np.round(counts * image.size), 2**53).astype(int):
            if not 1 <= count <= len(magnitudes):
                column.append(np.nan)
                continue
            kept = csc.prune(code.coefficients[None], float(magnitudes[count - 1]))
            column.append(csc.psnr(image[None], csc.reconstruct(kept, atoms))[0])
        columns.append(column)
    return np.array(columns).T


def _check_positive(name, values):
    values = check_array(name, values, (None,))
    values = np.where(np.abs(values) < SMALLEST, 0.0, values)
    if len(values) == 0 or (values < 0).any():
        raise ValueError(f"{name} must hold at least one number >= 0, got {values.tolist()}")
    return values

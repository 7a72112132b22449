"""Codes of single images as files, named after all that they depend on."""

import hashlib
import io
from typing import NamedTuple

import numpy as np
import torch

from lib import csc
from lib._files import write_bytes
from lib._tensors import sparse_maps


class ImageCode(NamedTuple):
    """Code of one image, a coalesced sparse tensor (K, height, width), and how the coder ended."""

    coefficients: torch.Tensor
    n_iter: int
    converged: bool


def fingerprint(atoms, lmbda, settings):
    """What a code depends on beside its image, the coder's version included."""
    values = sorted((name, np.asarray(value).tolist()) for name, value in settings.items())
    about = f"{csc.VERSION} {float(lmbda)!r} {values!r}"
    return digest(about, atoms)


def digest(base, array):
    """Hash of an array, and of text or bytes before it."""
    base = base.encode() if isinstance(base, str) else base
    array = np.ascontiguousarray(array)
    return hashlib.sha256(base + repr(array.shape).encode() + array.tobytes()).hexdigest()[:32]


def read(path, shape):
    """A stored code, or None: what cannot be read is coded again."""
    if path is None or not path.exists():
        return None
    try:
        with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as stored:
            index, values = stored["index"], stored["values"]
            n_iter, converged = int(stored["n_iter"]), bool(stored["converged"])
            size = int(np.prod(shape))
            if index.shape != values.shape or (len(index) and not 0 <= index.max() < size):
                return None
        indices = torch.from_numpy(np.stack(np.unravel_index(index, shape)))
        coefficients = sparse_maps(indices, torch.from_numpy(values), shape)
    # A damaged archive makes its reader raise nearly anything.
    except Exception:
        return None
    return ImageCode(coefficients, n_iter, converged)


def write(path, code):
    """Store a code, unless the path is None."""
    if path is None:
        return
    coefficients = code.coefficients.coalesce()
    index = np.ravel_multi_index(tuple(coefficients.indices().numpy()), coefficients.shape)
    buffer = io.BytesIO()
    np.savez(
        buffer,
        index=index.astype(np.int32 if coefficients.numel() < 2**31 else np.int64),
        values=coefficients.values().numpy(),
        n_iter=code.n_iter,
        converged=code.converged,
    )
    write_bytes(path, buffer.getvalue())

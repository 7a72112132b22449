"""Labelled images to sparse codes, and codes to what a network reads."""

import hashlib
import os

import numpy as np
import torch
from torch.nn.functional import interpolate

from lib import codes, csc
from lib._checks import check_choice, check_count, check_number
from lib._tensors import check_coefficients, check_problem, check_tensor, largest
from lib.code_store import HALF, CodeStore, SparseCodes

SIZES = {"text": 128, "code": 64}
# How the released code calls the coder; of the text, the coder's own defaults.
CODER = {"text": {}, "code": {"max_iter": 250, "tol": 0.1}}
L1_WEIGHT = {"text": 1.0, "code": 0.5}
# How the released code normalises what its networks read.
MEAN, STD = 0.5, 0.225
# Beyond any code; what is read stays within half precision.
_LARGEST_MEAN = 1000.0


def prepare(images, protocol, size=None):
    """Labelled images as a protocol codes them: scaled up bilinearly, contrast-normalised.

    Parameters
    ----------
    images : ndarray (n, height, width)
        Grey.
    protocol : {"code", "text"}
    size : int, optional
        Side in pixels; 64 ("code") or 128 ("text") if not given.

    Returns
    -------
    ndarray (n, size, size) float32
    """
    check_choice("protocol", protocol, SIZES)
    images = _single("images", images)
    size = SIZES[protocol] if size is None else check_count("size", size, 8)
    return codes.contrast_normalise(_scaled(images, size))


def encode(images, atoms, protocol, store, *, size=None, chunk=256, device=None, **settings):
    """Sparse codes of labelled images, from the store where they are there already.

    Parameters
    ----------
    images : ndarray (n, height, width)
        Grey, not prepared.
    atoms : ndarray (K, h, w)
    protocol : {"code", "text"}
    store : str or Path
        Folder of the codes, as in `code_store.CodeStore`.
    size, chunk : int, optional
        Side to scale to, and images in a file.
    device : str, optional
        Where to code.
    **settings
        Numbers that replace the protocol's for `csc.sparse_code`: `lmbda`, `max_iter`, `tol`.

    Returns
    -------
    code_store.CodeStore
        Filled: ``load()`` reads the codes.

    Raises
    ------
    ValueError
        An argument is not as described, or an image is constant, before anything is written; or
        a code is not finite in half precision.
    """
    check_choice("protocol", protocol, SIZES)
    images, atoms = (_single(*part).numpy() for part in (("images", images), ("atoms", atoms)))
    settings = _check_settings(
        {"lmbda": codes.PROTOCOLS[protocol].lmbda} | CODER[protocol] | settings
    )
    size = SIZES[protocol] if size is None else check_count("size", size, 8)
    if not isinstance(store, str | os.PathLike):
        raise ValueError(f"store must be a folder's path, got {store!r}")
    _check_scaled(images, size, check_count("chunk", chunk))
    check_problem(np.ones((1, size, size), np.float32), atoms, device, torch.float32)
    weight = L1_WEIGHT[protocol]
    about = {
        "coder": csc.VERSION,
        "protocol": protocol,
        "weight": weight,
        "atoms": digest(atoms),
        "images": digest(images),
        **settings,
    }
    kept = CodeStore(store, about, len(images), (len(atoms), size, size), chunk)

    def make(rows):
        ready = prepare(images[rows], protocol, size)
        weights = np.full(len(atoms), weight)
        code = csc.sparse_code(
            ready, atoms, weights=weights, sparse=True, device=device, **settings
        )
        values = code.coefficients.coalesce().values()
        if bool((values.abs() > HALF).any()):
            raise ValueError(f"images and atoms must give codes within half precision, +-{HALF}")
        return code.coefficients

    kept.fill(make)
    return kept


def _scaled(images, size):
    """Images scaled bilinearly, (n, size, size)."""
    return interpolate(images[:, None], (size, size), mode="bilinear")[:, 0].numpy()


def _check_scaled(images, size, chunk):
    """Refuse images that are constant, or are once they are scaled, a chunk at a time."""
    for first in range(0, len(images), chunk):
        some = images[first : first + chunk]
        constant = np.ptp(some, axis=(1, 2)) == 0
        constant |= np.ptp(_scaled(torch.from_numpy(some), size), axis=(1, 2)) == 0
        if constant.any():
            raise ValueError(
                f"images must not be constant, image {first + int(np.argmax(constant))} is, "
                f"at {size} × {size} pixels"
            )


def inputs(batch, protocol, cutoff=0.0, size=32, mean=MEAN):
    """What the network reads of dense codes: pruned, and under "code" resized and normalised.

    Values are rounded to half precision, in which whole data sets of them are kept.

    Parameters
    ----------
    batch : Tensor (n, K, height, width)
    protocol : {"code", "text"}
        ``"text"``: magnitudes below c become zero. ``"code"``: codes are resized bilinearly with
        antialiasing, normalised to (x − mean)/0.225, and then magnitudes below c times the largest
        value of the image become zero, which are the zeros of the code only if mean is 0.
    cutoff : float
        c >= 0.
    size : int
        Side under "code".
    mean : float
        What is subtracted under "code", at most 1000 either way: 0.5 in the released code. With 0,
        zeros stay zeros.

    Returns
    -------
    Tensor (n, K, height, width) or (n, K, size, size)
    """
    check_reading(protocol, cutoff, size, mean)
    batch = check_coefficients(batch, "batch").to_dense()
    read = read_codes(batch, protocol, cutoff, size, mean)
    if not bool(torch.isfinite(read).all()):
        raise ValueError("batch must be read as values that half precision holds, up to 65504")
    return read


def check_reading(protocol, cutoff, size, mean):
    """Refuse settings of `inputs` that are not as described there."""
    check_choice("protocol", protocol, SIZES)
    check_number("cutoff", cutoff, 0, maximum=largest(torch.float32))
    check_count("size", size)
    check_mean(mean)


def check_mean(mean):
    """Return what is subtracted of codes as a float, if half precision can hold what is read."""
    return check_number("mean", mean, -_LARGEST_MEAN, maximum=_LARGEST_MEAN)


def read_codes(batch, protocol, cutoff, size, mean):
    """`inputs` without its checks, for each batch of a training."""
    if protocol == "text":
        return _half(torch.where(batch.abs() >= cutoff, batch, 0))
    x = interpolate(batch, (size, size), mode="bilinear", antialias=True)
    x = (x - mean) / STD
    return _half(torch.where(x.abs() >= cutoff * x.amax((1, 2, 3), keepdim=True), x, 0))


def grey_inputs(images, protocol, size=None):
    """What the network reads of grey pixels: what the coder would get, one channel.

    Parameters
    ----------
    images : ndarray (n, height, width)
        Grey, not prepared.
    protocol : {"code", "text"}
    size : int, optional
        Side in pixels; 32 ("code") or 128 ("text") if not given.

    Returns
    -------
    Tensor (n, 1, size, size)
    """
    check_choice("protocol", protocol, SIZES)
    size = {"text": SIZES["text"], "code": 32}[protocol] if size is None else size
    ready = prepare(images, protocol, size)
    return torch.from_numpy(ready)[:, None]


def kept_values(codes, protocol, cutoff=0.0, size=32, n=200, mean=MEAN):
    """How many values a network reads that differ from what it reads where the code is zero.

    Parameters
    ----------
    codes : code_store.SparseCodes
    protocol, cutoff, size, mean
        As in `inputs`.
    n : int
        Number of images to look at, the first ones.

    Returns
    -------
    float
        Mean over images.
    """
    _check_codes(codes)
    rows = np.arange(min(check_count("n", n), len(codes)))
    total = 0
    for some in np.array_split(rows, -(-len(rows) // 25)):
        dense = codes.dense(some)
        # A code of zeros beside its image's largest value is read as the image's own zeros are.
        empty = torch.zeros_like(dense[:, :1])
        x = inputs(torch.cat([dense, empty], 1), protocol, cutoff, size, mean)
        total += int((x[:, :-1] != x[:, -1:]).sum())
    return total / len(rows)


def pruned_share(codes, protocol, cutoff, size=32, n=100, mean=MEAN):
    """How much a pruning threshold changes of what the network reads.

    Under "code", codes are normalised before they are pruned: a threshold that is a share of the
    largest value does nothing if no value is above zero then.

    Parameters
    ----------
    codes : code_store.SparseCodes
    protocol, cutoff, size, mean
        As in `inputs`.
    n : int
        Number of images to look at, the first ones.

    Returns
    -------
    changed, values : float
        Share of images of which pruning changes anything, and share of all values that it changes.
    """
    _check_codes(codes)
    n = min(check_count("n", n), len(codes))
    pairs = _read_twice(codes, protocol, cutoff, size, mean, n)
    changed = [(before != after).float().mean((1, 2, 3)).numpy() for before, after in pairs]
    changed = np.concatenate(changed)
    return float((changed > 0).mean()), float(changed.mean())


def pruning_changes(codes, protocol, cutoff, size=32, mean=MEAN):
    """Whether pruning changes anything that the network reads of any image.

    Parameters
    ----------
    codes : code_store.SparseCodes
    protocol, cutoff, size, mean
        As in `inputs`.

    Returns
    -------
    bool
    """
    _check_codes(codes)
    pairs = _read_twice(codes, protocol, cutoff, size, mean, len(codes))
    return any(not before.equal(after) for before, after in pairs)


def _check_codes(codes):
    if not isinstance(codes, SparseCodes):
        raise ValueError(f"codes must be SparseCodes, got {type(codes).__name__}")


def _read_twice(codes, protocol, cutoff, size, mean, n):
    """What the network reads of the first n codes, unpruned and pruned, a few at a time."""
    for rows in torch.arange(n).split(25):
        dense = codes.dense(rows.numpy())
        yield tuple(inputs(dense, protocol, c, size, mean) for c in (0.0, cutoff))


def _single(name, value):
    """Images or atoms as a tensor in single precision, on the CPU."""
    return check_tensor(name, value, 3, "cpu", torch.float32)


def _check_settings(settings):
    """Settings of the coder, of which a store's name is made, once they are checked."""
    checks = {"lmbda": (check_number, 0), "max_iter": (check_count, 1), "tol": (check_number, 0)}
    unknown = sorted(set(settings) - set(checks))
    if unknown:
        raise ValueError(f"settings must be of {', '.join(checks)}, got {unknown[0]}")
    return {
        name: check(name, settings[name], least)
        for name, (check, least) in checks.items()
        if name in settings
    }


def _half(x):
    return x.half().to(x.dtype)


class Inputs:
    """Inputs of a network: a tensor, or sparse codes and how they are read."""

    def __init__(self, tensor, sparse=None, reading=None):
        self.tensor, self.sparse, self.reading = tensor, sparse, reading

    @classmethod
    def of(cls, x, reading, device, memory):
        """Inputs from what `train` was given, and the bytes of memory that are left."""
        if isinstance(x, torch.Tensor):
            size = x.numel() * x.element_size()
            # A GPU without a number is the one in use.
            there = x.device.type == device.type and device.index in (None, x.device.index)
            if there or size > memory:
                return cls(x), memory
            return cls(x.to(device)), memory - size
        streamed = cls(None, x, reading)
        first = streamed.batch(torch.arange(1), device)
        size = 2 * first.numel() * len(x)
        if size > memory:
            # Sparse, they may fit.
            if device.type == "cpu" or x.nbytes > memory:
                return streamed, memory
            return cls(None, x.on(device), reading), memory - x.nbytes
        tensor = torch.empty((len(x), *first.shape[1:]), dtype=torch.float16, device=device)
        for rows in torch.arange(len(x)).split(256):
            tensor[rows] = streamed.batch(rows, device).half()
        return cls(tensor), memory - size

    def batch(self, rows, device):
        if self.tensor is not None:
            some = self.tensor[rows.to(self.tensor.device)].to(device, torch.float32)
        else:
            some = read_codes(self.sparse.dense(rows.numpy(), device), **self.reading)
        return some.contiguous(memory_format=torch.channels_last)


def digest(array):
    """Hash of an array's shape and bytes."""
    array = np.ascontiguousarray(array)
    found = hashlib.sha256(repr(array.shape).encode())
    # Without a copy: codes of whole data sets take gigabytes.
    found.update(array.reshape(-1).view(np.uint8))
    return found.hexdigest()[:32]

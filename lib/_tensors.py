"""Tensors as the coder takes and gives them: images, atoms, and coefficients, dense or sparse."""

import numpy as np
import torch

from lib._checks import as_array, check_array


def sparse_maps(indices, values, shape):
    """Sparse tensor of coefficients from sorted indices, which are checked."""
    # The context says explicitly that they are; without it, torch warns whatever the argument.
    with torch.sparse.check_sparse_tensor_invariants():
        return torch.sparse_coo_tensor(indices, values, shape, is_coalesced=True)


def values_of(coefficients):
    """What a tensor stores."""
    return coefficients.coalesce().values() if coefficients.is_sparse else coefficients


def check_tensor(name, value, n_axes, device, dtype, limit=None):
    """A finite tensor of `n_axes` axes, none of them empty, on a device.

    Its magnitudes are up to `limit`, by default those that `dtype` can compute with.
    """
    if not isinstance(value, torch.Tensor):
        value = as_array(name, value, "iufb")
        if value.dtype.itemsize > 8:
            raise ValueError(f"{name} must hold real numbers, got dtype {value.dtype}")
        # A copy: torch takes no strides below zero, which even an axis of one entry may have.
        value = torch.from_numpy(np.array(value, value.dtype.newbyteorder("="), order="C"))
    elif value.is_complex():
        raise ValueError(f"{name} must hold real numbers, got dtype {value.dtype}")
    elif value.device.type not in ("cpu", "cuda"):
        raise ValueError(f"{name} must be on the CPU or a GPU, got device {value.device}")
    elif value.layout not in (torch.strided, torch.sparse_coo if n_axes == 4 else torch.strided):
        raise ValueError(f"{name} must not be sparse, got layout {value.layout}")
    if value.ndim != n_axes or 0 in value.shape:
        axes = {2: "(height, width)", 3: "(n, height, width)"}.get(n_axes, "(n, K, height, width)")
        axes = "(K, h, w)" if name == "atoms" else axes
        raise ValueError(f"{name} must have shape {axes}, none of them 0, got {tuple(value.shape)}")
    value = value.detach().to(device, dtype)
    if value.is_sparse and value.dense_dim():
        raise ValueError(f"{name} must be sparse in all axes or in none")
    values = values_of(value)
    low, high = map(float, torch.aminmax(values)) if values.numel() else (0.0, 0.0)
    if not np.isfinite([low, high]).all():
        raise ValueError(f"{name} must be finite in {dtype}, got NaN or infinite values")
    limit = largest(dtype) if limit is None else limit
    if max(-low, high) > limit:
        raise ValueError(
            f"{name} must be of magnitudes up to {limit:.3g} here, got {max(-low, high):.3g}"
        )
    return value


def largest(dtype):
    """Largest magnitude whose fourth power is finite: images meet atoms, and both are squared."""
    return torch.finfo(dtype).max ** 0.25


def check_coefficients(coefficients, name="coefficients"):
    """Finite coefficients (n, K, height, width), dense or sparse, in float32 or float64."""
    kept = torch.float32, torch.float64
    if isinstance(coefficients, torch.Tensor) and coefficients.dtype in kept:
        return check_tensor(name, coefficients, 4, coefficients.device, coefficients.dtype)
    double = getattr(coefficients, "dtype", None) == np.float64
    return check_tensor(name, coefficients, 4, "cpu", torch.float64 if double else torch.float32)


def check_problem(images, atoms, device, dtype):
    """Images and atoms as tensors on the device of the work."""
    if dtype not in (torch.float32, torch.float64):
        raise ValueError(f"dtype must be torch.float32 or torch.float64, got {dtype}")
    if device is None:
        gpu = isinstance(images, torch.Tensor) and images.is_cuda
        device = images.device if gpu else "cpu"
    device = check_device(device)
    images = check_tensor("images", images, 3, device, dtype)
    check_squares("images", images)
    atoms = check_tensor("atoms", atoms, 3, device, dtype)
    check_fit(atoms, images.shape[1:])
    zero = torch.nonzero(atoms.abs().amax((1, 2)) == 0)
    if len(zero):
        raise ValueError(f"atoms must not be zero, got a zero atom at index {int(zero[0])}")
    # All of them, for what is far smaller than others does no harm.
    check_squares("atoms", atoms.reshape(1, 1, -1))
    return images, atoms, device


def check_squares(name, images):
    """Raise ValueError if the squares of all pixels of an image, not all zero, are lost."""
    peaks = images.abs().amax((-2, -1)).flatten()
    least = 1e3 * torch.finfo(images.dtype).tiny ** 0.5
    lost = peaks[(peaks > 0) & (peaks < least)]
    if len(lost):
        raise ValueError(
            f"{name} must be zero or reach magnitudes of {least:.3g} in {images.dtype}, whose "
            f"squares are not lost, got one that reaches {float(lost.min()):.3g}"
        )


def check_peaks(images):
    """Raise ValueError unless the maximum of each image, array or tensor, is above zero."""
    peaks = images.reshape(len(images), -1).max(1)
    peaks = peaks if isinstance(images, np.ndarray) else peaks.values.cpu().numpy()
    if not (peaks > 0).all():
        at = int(np.argmin(peaks))
        raise ValueError(f"images must have a positive maximum, got {peaks[at]} in image {at}")


def check_bright(images):
    """Images as an array (n, height, width), each of which has a pixel above zero."""
    images = check_array("images", images, (None, None, None))
    if images.size:
        check_peaks(images)
    return images


def check_fit(atoms, shape):
    """Raise ValueError if atoms are larger than images of a shape."""
    if atoms.shape[1] > shape[0] or atoms.shape[2] > shape[1]:
        raise ValueError(
            f"atoms must fit into the images of {tuple(shape)} pixels, "
            f"got atoms of {tuple(atoms.shape[1:])}"
        )


def check_device(device):
    """A torch.device that can be used here: the CPU, or a CUDA device that is present."""
    try:
        device = torch.device(device)
    except (RuntimeError, TypeError) as error:
        raise ValueError(f'device must be "cpu" or "cuda", got {device!r}') from error
    if device.type not in ("cpu", "cuda"):
        raise ValueError(f'device must be "cpu" or "cuda", got {str(device)!r}')
    count = torch.cuda.device_count() if device.type == "cuda" else 1
    if (device.index or 0) >= count:
        raise ValueError(f"device must be one that is present, got {str(device)!r}: {count} found")
    return device


def free_bytes(device):
    """Bytes that are free on a GPU, with those that torch holds there without need."""
    held = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return torch.cuda.mem_get_info(device)[0] + held

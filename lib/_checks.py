"""Argument checks shared by the numerical modules.

Each raises a ValueError that names the argument, what came and what is allowed.
"""

from numbers import Integral, Real

import numpy as np


def check_count(name, value, minimum=1):
    """Return `value` as an int if it is a whole number of at least `minimum`."""
    if isinstance(value, bool) or not isinstance(value, Integral) or value < minimum:
        raise ValueError(f"{name} must be an integer >= {minimum}, got {value!r}")
    return int(value)


def check_number(name, value, minimum=-np.inf, *, open_minimum=False, maximum=np.inf):
    """Return `value` as a finite float if it lies between `minimum` and `maximum`."""
    valid = isinstance(value, Real) and not isinstance(value, bool) and np.isfinite(value)
    if not valid or value < minimum or value > maximum or (open_minimum and value == minimum):
        bound = f"{'>' if open_minimum else '>='} {minimum}" if minimum > -np.inf else ""
        bound += f" and <= {maximum}" if maximum < np.inf else ""
        raise ValueError(f"{name} must be a finite number {bound}".rstrip() + f", got {value!r}")
    return float(value)


def check_choice(name, value, choices):
    """Raise ValueError if an argument is not one of some strings."""
    if not isinstance(value, str) or value not in choices:
        raise ValueError(f"{name} must be one of {', '.join(choices)}, got {value!r}")


def check_rng(rng):
    """Return a generator for a seed or a generator; never an unseeded one."""
    whole = isinstance(rng, Integral) and not isinstance(rng, bool) and rng >= 0
    if not whole and not isinstance(rng, np.random.Generator):
        raise ValueError(f"rng must be a numpy.random.Generator or an integer >= 0, got {rng!r}")
    return np.random.default_rng(rng)


def check_array(name, value, shape=None):
    """Return `value` as a finite float64 array.

    Parameters
    ----------
    name : str
        The argument's name, for the error text.
    value : array_like
        Integers or real floats.
    shape : tuple of (int or None), optional
        Required shape; None leaves an axis free.
    """
    try:
        array = np.asarray(value)
    except ValueError as error:
        raise ValueError(f"{name} must be a regular array, got {type(value).__name__}") from error
    if array.dtype.kind not in "iuf":
        raise ValueError(f"{name} must hold integers or real floats, got dtype {array.dtype}")
    if shape is not None and (
        array.ndim != len(shape)
        or any(want not in (None, have) for want, have in zip(shape, array.shape, strict=True))
    ):
        wanted = "(" + ", ".join("any" if want is None else str(want) for want in shape) + ")"
        raise ValueError(f"{name} must have shape {wanted}, got {array.shape}")
    array = array.astype(np.float64, copy=False)
    if not np.isfinite(array).all():
        where = tuple(int(i) for i in np.argwhere(~np.isfinite(array))[0])
        raise ValueError(f"{name} must be finite, got {array[where]} at index {where}")
    return array


class Recordings(list):
    """Recordings as `check_recordings` returns them, which it need not check again.

    Attributes
    ----------
    channels, shortest : int
        Number of channels of all, number of samples of the shortest.
    """

    def __init__(self, recordings):
        super().__init__(recordings)
        self.channels, self.shortest = recordings[0].shape[1], min(map(len, recordings))


def check_recordings(x, channels=None, min_samples=1, first=0):
    """Return a series or a list of recordings as 2-D arrays (n_samples, n_channels).

    Nothing is copied or converted, and values are not looked at: a recording may be a memory map
    larger than memory.

    Parameters
    ----------
    x : ndarray or list or tuple of ndarray
        A series (n_samples,) or (n_samples, n_channels), or several of them.
    channels : int, optional
        Number of channels that every recording must have; the first one's if not given.
    min_samples : int
        Shortest recording that is of use.
    first : int
        Number of the list's first recording, for the error text.
    """
    if isinstance(x, Recordings) and channels in (None, x.channels) and x.shortest >= min_samples:
        return x
    several = isinstance(x, list | tuple)
    if several and not x:
        raise ValueError("x must hold at least one recording, got an empty list")
    recordings = []
    # Recordings may be many and short: what they are called is put together where it is told.
    for item in x if several else [x]:
        array = item if isinstance(item, np.ndarray) else np.asarray(item)
        if array.ndim == 1:
            array = array[:, None]
        if channels is None and array.ndim == 2:
            channels = array.shape[1]
        if (
            array.dtype.kind not in "iuf"
            or array.ndim != 2
            or array.shape[1] != channels
            or channels == 0
            or len(array) < min_samples
        ):
            name = f"x[{first + len(recordings)}]" if several else "x"
            raise ValueError(f"{name} must {_wrong_recording(item, array, channels, min_samples)}")
        recordings.append(array)
    return Recordings(recordings)


def _wrong_recording(item, array, channels, min_samples):
    """Say what a recording must be and is not."""
    if array.dtype.kind not in "iuf":
        return f"hold integers or real floats, got dtype {array.dtype}"
    if array.ndim != 2:
        return f"have shape (n_samples,) or (n_samples, n_channels), got {np.shape(item)}"
    if array.shape[1] != channels or channels == 0:
        return f"have {channels or 1} channels, got {array.shape[1]}"
    return (
        f"have at least {min_samples} samples, got {len(array)}: a recording must hold at least "
        "one complete window"
    )

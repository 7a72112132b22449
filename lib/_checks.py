"""Argument checks shared by the numerical modules.

Each raises a ValueError that names the argument, what came and what is allowed.
"""

from numbers import Integral, Real

import numpy as np

# Magnitudes whose squares float64 holds to full precision, however many are summed.
SMALLEST, LARGEST = 1e-140, 1e140


def check_count(name, value, minimum=1):
    """Return `value` as an int if it is a whole number of at least `minimum`."""
    if isinstance(value, bool) or not isinstance(value, Integral) or value < minimum:
        raise ValueError(f"{name} must be an integer >= {minimum}, got {value!r}")
    return int(value)


def check_counts(name, values, minimum=1):
    """Return a sequence of whole numbers of at least `minimum` as a list of ints."""
    array = as_array(name, values)
    if array.ndim != 1:
        raise ValueError(f"{name} must have one axis, got shape {array.shape}")
    return [check_count(name, value, minimum) for value in array.tolist()]


def check_number(name, value, minimum=-np.inf, *, open_minimum=False, maximum=np.inf):
    """Return `value` as a finite float if it lies between `minimum` and `maximum`.

    Like those of arrays, numbers must be 0 or of a magnitude whose square float64 holds.
    """
    try:
        number = float(value) if isinstance(value, Real) and not isinstance(value, bool) else np.nan
    except OverflowError:
        number = np.inf
    valid = minimum <= number <= maximum and not (open_minimum and number == minimum)
    computable = number == 0 or SMALLEST <= abs(number) <= LARGEST
    if not valid or not computable:
        bound = f"{'>' if open_minimum else '>='} {minimum}" if minimum > -np.inf else ""
        bound += f" and <= {maximum}" if maximum < np.inf else ""
        if np.isfinite(number) and not computable:
            bound += f" of a magnitude from {SMALLEST} to {LARGEST}"
        raise ValueError(f"{name} must be a finite number {bound}".rstrip() + f", got {value!r}")
    return number


def check_flag(name, value):
    """Return `value` as a bool if it is one."""
    if not isinstance(value, bool | np.bool_):
        raise ValueError(f"{name} must be True or False, got {value!r}")
    return bool(value)


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


def as_array(name, value, kinds="iuf"):
    """Return `value` as an array of NumPy's `kinds` of dtype, whose values are not looked at."""
    if np.ma.is_masked(value):
        raise ValueError(f"{name} must not be masked: fill what is missing, or leave it out")
    try:
        array = np.asarray(value)
    # Ragged lists; tensors on another device, sparse ones, or such that gradients are wanted of.
    except (ValueError, TypeError, RuntimeError) as error:
        raise ValueError(
            f"{name} must be a regular array of numbers, got {type(value).__name__}: {error}"
        ) from error
    if array.dtype.kind not in kinds:
        words = {"i": "integers", "f": "real floats"}
        allowed = " or ".join(word for kind, word in words.items() if kind in kinds)
        raise ValueError(f"{name} must hold {allowed}, got dtype {array.dtype}")
    return array


def check_array(name, value, shape=None, power=2):
    """Return `value` as a finite float64 array.

    Parameters
    ----------
    name : str
        The argument's name, for the error text.
    value : array_like
        Integers or real floats.
    shape : tuple of (int or None), optional
        Required shape; None leaves an axis free.
    power : int
        Highest power of the values that is computed. It must neither overflow nor vanish: the
        largest magnitude must be 0, or for squares from 1e-140 to 1e140.
    """
    array = as_array(name, value)
    if shape is not None and (
        array.ndim != len(shape)
        or any(want not in (None, have) for want, have in zip(shape, array.shape, strict=True))
    ):
        wanted = "(" + ", ".join("any" if want is None else str(want) for want in shape) + ")"
        raise ValueError(f"{name} must have shape {wanted}, got {array.shape}")
    with np.errstate(over="ignore"):
        array = np.asarray(array, dtype=np.float64)
    if not array.size:
        return array
    largest = max(array.max(), -array.min())
    if not np.isfinite(largest):
        where = tuple(int(i) for i in np.argwhere(~np.isfinite(array))[0])
        raise ValueError(f"{name} must be finite, got {array[where]} at index {where}")
    least, most = (bound ** (2 / power) for bound in (SMALLEST, LARGEST))
    if largest > most or 0 < largest < least:
        raise ValueError(
            f"{name} must be zero, or of a magnitude from {least:.3g} to {most:.3g} that float64 "
            f"can compute with, got {largest:.3g}"
        )
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
        array = item
        if type(item) is not np.ndarray or item.dtype.kind not in "iuf":
            array = as_array(f"x[{first + len(recordings)}]" if several else "x", item)
        if array.ndim == 1:
            array = array[:, None]
        if channels is None and array.ndim == 2:
            channels = array.shape[1]
        if (
            array.ndim != 2
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
    if array.ndim != 2:
        return f"have shape (n_samples,) or (n_samples, n_channels), got {np.shape(item)}"
    if array.shape[1] != channels or channels == 0:
        return f"have {channels or 1} channels, got {array.shape[1]}"
    return (
        f"have at least {min_samples} samples, got {len(array)}: a recording must hold at least "
        "one complete window"
    )

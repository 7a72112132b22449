"""Measures of temporal filters, and filters that are relearned as a series goes on."""

import numpy as np
from scipy import optimize

from lib._checks import check_array, check_count, check_number, check_recordings
from lib.cca import PastFutureCCA


def cosine(a, b):
    """Cosine of the angle between filters, along the last axis; their signs count."""
    a, b = _check_filters("a", a), _check_filters("b", b)
    if a.shape[-1] != b.shape[-1] or (a.shape != b.shape and min(a.ndim, b.ndim) > 1):
        raise ValueError(
            f"a and b must be of one shape, or one of them a single filter, "
            f"got {a.shape} and {b.shape}"
        )
    norms = np.linalg.norm(a, axis=-1) * np.linalg.norm(b, axis=-1)
    if np.any(norms == 0):
        raise ValueError("a and b must not be zero, got a filter without any weight")
    return np.einsum("...k,...k->...", a, b) / norms


def lobes(filters, threshold=0.05):
    """Number of lobes: sign changes among weights above `threshold` of the largest, plus one.

    Parameters
    ----------
    filters : ndarray (..., memory)
    threshold : float
        Share of the largest absolute weight that a weight must exceed to count.

    Returns
    -------
    ndarray (...) of int
    """
    filters = _check_filters("filters", filters)
    threshold = check_number("threshold", threshold, 0.0, maximum=1.0)

    def count(weights):
        large = weights[np.abs(weights) > threshold * np.abs(weights).max()]
        return 1 + np.count_nonzero(np.diff(np.sign(large)))

    return np.apply_along_axis(count, -1, filters)


def dc_gain(filters):
    """Gain for a constant input over the largest gain at any frequency: 1 is low-pass, 0 band-pass.

    Parameters
    ----------
    filters : ndarray (..., memory)

    Returns
    -------
    ndarray (...)
    """
    gains = frequency_response(filters)[1]
    if np.any(gains.max(axis=-1) == 0):
        raise ValueError("filters must not be zero, got a filter without any weight")
    return gains[..., 0] / gains.max(axis=-1)


def frequency_response(filters, n=4096):
    """Gain of filters against frequency.

    Parameters
    ----------
    filters : ndarray (..., memory)
    n : int
        Length to which filters are padded with zeros.

    Returns
    -------
    frequencies : ndarray (n // 2 + 1,)
        In cycles per sample.
    gains : ndarray (..., n // 2 + 1)
    """
    filters = _check_filters("filters", filters)
    if check_count("n", n) < filters.shape[-1]:
        raise ValueError(f"n must be at least the memory {filters.shape[-1]}, got {n}")
    return np.fft.rfftfreq(n), np.abs(np.fft.rfft(filters, n, axis=-1))


def widths(weights):
    """Width of a filter in samples, by four definitions that need not agree.

    Parameters
    ----------
    weights : ndarray (memory,)

    Returns
    -------
    dict of str to float
        ``first lobe``: time from the newest sample to the first change of sign, interpolated
        linearly (the memory, if there is none); ``inverse mean frequency``: 1/(2π · mean frequency
        of the power spectrum); ``participation``: (Σ|w|)²/Σw²; ``rms``: standard deviation of
        time under w².
    """
    weights = check_array("weights", weights, (None,))
    if not weights.any():
        raise ValueError("weights must not be all zero")
    # A weight of exactly zero changes nothing; the weights around it may have different signs.
    used = np.flatnonzero(weights)
    changes = np.flatnonzero(np.diff(np.sign(weights[used])))
    first = float(len(weights))
    if len(changes):
        k, n = used[changes[0]], used[changes[0] + 1]
        first = k + (n - k) * weights[k] / (weights[k] - weights[n])
    frequencies, gains = frequency_response(weights)
    mean_frequency = (frequencies * gains**2).sum() / (gains**2).sum()
    time, power = np.arange(len(weights)), weights**2 / (weights**2).sum()
    centre = (time * power).sum()
    return {
        "first lobe": float(first),
        "inverse mean frequency": float(1 / (2 * np.pi * mean_frequency)),
        "participation": float(np.abs(weights).sum() ** 2 / (weights**2).sum()),
        "rms": float(np.sqrt(((time - centre) ** 2 * power).sum())),
    }


def fit_gaussian_derivative(weights):
    """Best derivative of a Gaussian, a · (t - t₀)/s² · exp(-(t - t₀)²/(2 s²)), in least squares.

    Parameters
    ----------
    weights : ndarray (memory,)

    Returns
    -------
    fit : ndarray (memory,)
    correlation : float
        Between `weights` and `fit`.
    """
    weights = check_array("weights", weights, (None,))
    if len(weights) < 4 or np.ptp(weights) == 0:
        raise ValueError(f"weights must be at least 4 and not all alike, got {weights}")
    time = np.arange(len(weights))

    def shape(centre, width):
        return -(time - centre) * np.exp(-0.5 * ((time - centre) / width) ** 2)

    def residual(parameters):
        basis = shape(*parameters)
        return weights - basis * (basis @ weights) / (basis @ basis)

    # The amplitude is eliminated; what is left is not convex: it is fitted from several places and
    # widths.
    limits = ([-len(weights), 0.3], [len(weights), len(weights)])
    widths = (1.0, 3.0, min(8.0, len(weights)))
    starts = [(t, width) for width in widths for t in np.arange(0, len(weights), 2 * width)]
    fits = [optimize.least_squares(residual, start, bounds=limits) for start in starts]
    fit = weights - min(fits, key=lambda result: result.cost).fun
    return fit, float(np.corrcoef(weights, fit)[0, 1])


def running_filters(x, memory, horizon, step, window, rank=2):
    """Filters learned anew every `step` samples from the last `window` samples.

    Parameters
    ----------
    x : ndarray (n_samples,) or list of those
        A series, or several of one length whose moments are pooled at each time.
    memory, horizon : int
    step : int
        Samples between two times.
    window : int
        Samples that are looked back on.
    rank : int

    Returns
    -------
    ndarray ((n_samples - window) // step + 1, rank, memory)
        Entry i has learned from samples ``i * step`` to ``i * step + window - 1``.
    """
    step, window = check_count("step", step), check_count("window", window)
    recordings = check_recordings(x, 1, window)
    n_samples = len(recordings[0])
    if any(len(y) != n_samples for y in recordings):
        raise ValueError("x must hold recordings of one length, got several lengths")
    cca = PastFutureCCA(memory, horizon, rank=rank)
    return np.array(
        [
            cca.fit([y[start : start + window] for y in recordings]).filters_
            for start in range(0, n_samples - window + 1, step)
        ]
    )


def _check_filters(name, filters):
    """Filters (..., memory) as float64, with a weight at least."""
    filters = check_array(name, filters)
    if filters.ndim == 0 or filters.size == 0:
        raise ValueError(f"{name} must have shape (..., memory), got {filters.shape}")
    return filters

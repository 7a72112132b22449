"""Measures of temporal filters, and filters that are relearned as a series goes on."""

import numpy as np

from lib._checks import check_array, check_count, check_number, check_recordings
from lib.cca import PastFutureCCA


def cosine(a, b):
    """Cosine of the angle between filters, along the last axis; their signs count."""
    a, b = check_array("a", a), check_array("b", b)
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
    filters = check_array("filters", filters)
    threshold = check_number("threshold", threshold, 0.0, maximum=1.0)

    def count(weights):
        large = weights[np.abs(weights) > threshold * np.abs(weights).max()]
        return 1 + np.count_nonzero(np.diff(np.sign(large)))

    return np.apply_along_axis(count, -1, filters)


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

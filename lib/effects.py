"""Paired differences with bootstrap intervals, beside which a p-value says little."""

from typing import NamedTuple

import numpy as np

from lib._checks import check_array, check_count, check_rng


class Effect(NamedTuple):
    """A mean paired difference.

    Attributes
    ----------
    difference : float
        Mean of the differences.
    low, high : float
        Its 95 % interval, from resampling the pairs.
    standardised : float
        Mean over standard deviation of the differences; 0 if all are 0, infinite if all are
        another number.
    """

    difference: float
    low: float
    high: float
    standardised: float


def paired_effect(a, b, rng, n_boot=2000):
    """Mean of a - b with its percentile bootstrap interval over pairs.

    Parameters
    ----------
    a, b : ndarray (n,)
        Measured on the same n >= 2 images.
    rng : numpy.random.Generator or int
    n_boot : int
        Resamples.

    Returns
    -------
    Effect

    Raises
    ------
    ValueError
        Fewer than two pairs, lengths that differ, values that are not finite.
    """
    a = check_array("a", a, (None,))
    b = check_array("b", b, (len(a),))
    n_boot = check_count("n_boot", n_boot)
    if len(a) < 2:
        raise ValueError(f"a must hold at least 2 values, got {len(a)}")
    difference = a - b
    rows = check_rng(rng).integers(len(a), size=(n_boot, len(a)))
    low, high = np.quantile(difference[rows].mean(axis=1), [0.025, 0.975])
    mean, spread = float(difference.mean()), float(difference.std(ddof=1))
    # What rounding leaves of differences that are all the same.
    alike = spread <= np.finfo(float).eps * max(np.abs(a).max(), np.abs(b).max())
    standardised = mean / spread if not alike else np.copysign(np.inf, mean) if mean else 0.0
    return Effect(mean, float(low), float(high), float(standardised))

"""Curves that histograms of magnitudes and of orientations are compared with: the models.

A model gives its curve with the gradient in its parameters, start values that need no search, and
the limits of its parameters.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np


class Model(NamedTuple):
    """A family of curves.

    Attributes
    ----------
    names : tuple of str
        Of the parameters; those that must be positive end in ``+``.
    evaluate : callable
        ``(x, *values) -> curve (n,), gradient (n_parameters, n)``.
    starts : callable
        ``(x, y) -> list of tuples of values``.
    limits : callable or None
        ``(x, y) -> lowest values, highest values``.
    of_orientations : bool
        Whether x is an orientation modulo π, and not a magnitude above 0.
    """

    names: tuple[str, ...]
    evaluate: Callable
    starts: Callable
    limits: Callable | None = None
    of_orientations: bool = False


def _straight(x, y, basis):
    """Weighted linear regression of ln y: a first guess of a curve that is linear in its log."""
    known = y > 0
    # Errors of one size in y are errors of size 1/y in ln y.
    weight = y[known]
    columns = np.array([np.ones_like(x), *basis])[:, known].T * weight[:, None]
    return np.linalg.lstsq(columns, np.log(y[known]) * weight, rcond=None)[0]


def _best_width(x, y, shape):
    """Height and width of the least-squares curve among many of a shape of x / width.

    Where few bins are filled, a regression says little, and there are many local minima.
    """
    widths = np.geomspace(x.min() / 3, 3 * x.max(), 60)
    shapes = shape(x / widths[:, None])
    products, squares = shapes @ y, (shapes**2).sum(axis=1)
    best = np.argmax(products**2 / squares)
    return products[best] / squares[best], widths[best]


def _exponential(x, a, b):
    shape = np.exp(-b * x)
    return a * shape, np.array([shape, -a * x * shape])


def _exponential_starts(x, y):
    constant, slope = _straight(x, y, [x])
    starts = [(np.exp(constant), max(-slope, 1e-3 / x.max()))]
    height, width = _best_width(x, y, lambda z: np.exp(-z))
    return [*starts, (height, 1 / width)]


def _power_law(x, a, b):
    shape = x**-b
    return a * shape, np.array([shape, -a * np.log(x) * shape])


def _power_law_starts(x, y):
    constant, slope = _straight(x, y, [np.log(x)])
    return [(np.exp(constant), max(-slope, 1e-3))]


def _gaussian(x, a, s):
    shape = np.exp(-0.5 * (x / s) ** 2)
    return a * shape, np.array([shape, a * shape * (x / s) ** 2 / s])


def _gaussian_starts(x, y):
    constant, slope = _straight(x, y, [x**2])
    starts = [(np.exp(constant), np.sqrt(0.5 / max(-slope, 1e-3 / x.max() ** 2)))]
    return [*starts, _best_width(x, y, lambda z: np.exp(-0.5 * z**2))]


def _gamma(x, a, k, s):
    shape = x ** (k - 1) * np.exp(-x / s)
    curve = a * shape
    return curve, np.array([shape, curve * np.log(x), curve * x / s**2])


def _gamma_starts(x, y):
    constant, power, slope = _straight(x, y, [np.log(x), x])
    starts = [(a, 1.0, 1 / b) for a, b in _exponential_starts(x, y)]
    if power > -1 and slope < 0:
        starts.append((np.exp(constant), power + 1, -1 / slope))
    return starts


def _log_normal(x, a, m, s):
    gap = (np.log(x) - m) / s
    shape = np.exp(-0.5 * gap**2) / x
    curve = a * shape
    return curve, np.array([shape, curve * gap / s, curve * gap**2 / s])


def _log_normal_starts(x, y):
    share = y / y.sum()
    m = share @ np.log(x)
    s = np.sqrt(share @ (np.log(x) - m) ** 2)
    starts = [((y * x).max(), m, s)]
    constant, slope, bend = _straight(x, y * x, [np.log(x), np.log(x) ** 2])
    if bend < 0:
        centre, variance = -slope / (2 * bend), -0.5 / bend
        starts.append((np.exp(constant + centre**2 / (2 * variance)), centre, np.sqrt(variance)))
    return starts


def _uniform(x, a):
    return np.full_like(x, a), np.ones((1, len(x)))


def _von_mises(x, a, k, phi):
    shape = np.exp(k * (np.cos(2 * (x - phi)) - 1))
    curve = a * shape
    return curve, np.array(
        [shape, curve * (np.cos(2 * (x - phi)) - 1), 2 * k * curve * np.sin(2 * (x - phi))]
    )


def _wrapped_gaussian(x, a, s, phi):
    gap = (x - phi + np.pi / 2) % np.pi - np.pi / 2
    shape = np.exp(-0.5 * (gap / s) ** 2)
    curve = a * shape
    return curve, np.array([shape, curve * gap**2 / s**3, curve * gap / s**2])


def _sum_of(one):
    """Sum of two components of a model."""

    def evaluate(x, *values):
        half = len(values) // 2
        (first, slopes), (second, others) = one(x, *values[:half]), one(x, *values[half:])
        return first + second, np.concatenate([slopes, others])

    return evaluate


def _mean_orientation(x, y):
    """Mean orientation, and the concentration of a von Mises of the same resultant."""
    moment = (y * np.exp(2j * x)).sum() / y.sum()
    r = min(abs(moment), 0.99)
    # Approximate inverse of the ratio of Bessel functions (Banerjee et al. 2005).
    return np.angle(moment) / 2, r * (2 - r**2) / (1 - r**2)


def _von_mises_starts(x, y):
    phi, k = _mean_orientation(x, y)
    return [(y.max(), max(k, 1e-2), phi)]


def _peaks(x, y):
    """Pairs of orientations to start two peaks from: highest maxima, cardinals, a cross."""
    order = np.argsort(x % np.pi)
    x, y = x[order] % np.pi, y[order]
    smooth = (np.roll(y, 1) + 2 * y + np.roll(y, -1)) / 4
    tops = np.flatnonzero((smooth >= np.roll(smooth, 1)) & (smooth > np.roll(smooth, -1)))
    tops = tops[np.argsort(-smooth[tops])]
    highest = x[tops[0]] if tops.size else x[y.argmax()]
    pairs = [(0.0, np.pi / 2), (highest, highest + np.pi / 2)]
    apart = [x[top] for top in tops[1:] if np.abs(np.sin(x[top] - highest)) > np.sin(np.pi / 8)]
    return [(highest, other) for other in apart[:1]] + pairs


def _pair_starts(x, y):
    """Starts (a, k, phi) × 2 of two von Mises peaks, each from the bins nearer to it."""
    starts = []
    for first, second in _peaks(x, y):
        nearer = np.abs(np.sin(x - first)) < np.abs(np.sin(x - second))
        start = []
        for phi, own in ((first, nearer), (second, ~nearer)):
            weight = np.maximum(y - y.min(), 1e-6 * y.max()) * own
            height = y[np.abs(np.sin(x - phi)).argmin()]
            start += [max(height, 1e-2 * y.max()), max(_mean_orientation(x, weight)[1], 0.5), phi]
        starts.append(start)
    return starts


def _gaussian_pair_starts(x, y):
    return [
        (a, 0.5 / np.sqrt(k), p, b, 0.5 / np.sqrt(q), r) for a, k, p, b, q, r in _pair_starts(x, y)
    ]


def _limits(width_limits, n):
    """Limits of (height, width, phi) of each of n components."""

    def limits(x, y):
        narrow, wide = width_limits(np.pi / len(x))
        return n * [1e-6 * y.max(), narrow, -np.inf], n * [1e3 * y.max(), wide, np.inf]

    return limits


# A peak may be as narrow as half a bin (of a von Mises, σ = 1/(2 √k)), or so wide as to be flat.
def _von_mises_widths(bin_width):
    return 1e-3, bin_width**-2


def _gaussian_widths(bin_width):
    return bin_width / 2, 10.0


MODELS = {
    "exponential": Model(("a+", "b+"), _exponential, _exponential_starts),
    "power law": Model(("a+", "b+"), _power_law, _power_law_starts),
    "gaussian": Model(("a+", "s+"), _gaussian, _gaussian_starts),
    "gamma": Model(("a+", "k+", "s+"), _gamma, _gamma_starts),
    "log-normal": Model(("a+", "m", "s+"), _log_normal, _log_normal_starts),
    "uniform": Model(("a+",), _uniform, lambda x, y: [(y.mean(),)], of_orientations=True),
    "von mises": Model(
        ("a+", "k+", "phi"),
        _von_mises,
        _von_mises_starts,
        _limits(_von_mises_widths, 1),
        of_orientations=True,
    ),
    "double von mises": Model(
        ("a1+", "k1+", "phi1", "a2+", "k2+", "phi2"),
        _sum_of(_von_mises),
        _pair_starts,
        _limits(_von_mises_widths, 2),
        of_orientations=True,
    ),
    "gaussian pair": Model(
        ("a1+", "s1+", "phi1", "a2+", "s2+", "phi2"),
        _sum_of(_wrapped_gaussian),
        _gaussian_pair_starts,
        _limits(_gaussian_widths, 2),
        of_orientations=True,
    ),
}

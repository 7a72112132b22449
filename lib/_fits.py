"""Curves fitted to histograms: what `lib.orientation` offers, and the models behind it.

Float64. A model's parameters that must be positive are fitted by their logarithm, so that no bound
is needed to keep them there.
"""

from typing import NamedTuple

import numpy as np
from scipy import optimize, special

from lib._checks import check_array, check_choice, check_count, check_number
from lib._curves import MODELS

_MAX_EVALUATIONS = 400
# Radians beyond which an orientation modulo π has lost too many digits.
_TURNS = 1e6


class CurveFit(NamedTuple):
    """A curve fitted to a histogram.

    Attributes
    ----------
    model : str
    parameters, errors : dict of str to float
        Values and their standard errors (NaN where the data do not determine them).
    curve : ndarray (n_bins,)
        The fitted curve at the bins.
    rss, r2 : float
        Residual sum of squares, and 1 - rss / Σ(y - mean y)² as published.
    log_likelihood : float
        Of the bins under normal errors of one variance, or of the counts if `total` was given.
    n_observations, n_parameters : int
        For the BIC: bins, and parameters with the variance; or counts, and parameters.
    converged : bool
        Whether the optimiser met its tolerance, away from the limits of its parameters.
    message : str
        What the optimiser says, and which parameters lie at a limit.
    """

    model: str
    parameters: dict[str, float]
    errors: dict[str, float]
    curve: np.ndarray
    rss: float
    r2: float
    log_likelihood: float
    n_observations: int
    n_parameters: int
    converged: bool
    message: str

    @property
    def bic(self):
        """Bayesian information criterion; see `bic`."""
        return bic(self.log_likelihood, self.n_observations, self.n_parameters)


class SpikeAndSlab(NamedTuple):
    """Share of zeros and the exponential rate of the other magnitudes, with 95 % intervals."""

    zeros: float
    zeros_low: float
    zeros_high: float
    rate: float
    rate_low: float
    rate_high: float


def bic(log_likelihood, n_observations, n_parameters):
    """Bayesian information criterion k ln n - 2 ln L: the lower, the better.

    Parameters
    ----------
    log_likelihood : float
        In nats, at its maximum.
    n_observations, n_parameters : int
        n and k.

    Returns
    -------
    float
    """
    log_likelihood = check_number("log_likelihood", log_likelihood)
    n_observations = check_count("n_observations", n_observations)
    n_parameters = check_count("n_parameters", n_parameters, 0)
    return n_parameters * np.log(n_observations) - 2 * log_likelihood


def fit_curve(model, x, y, total=None):
    """Fit one of the models to a histogram.

    Parameters
    ----------
    model : str
        Of magnitudes x > 0: ``"exponential"`` a·exp(-b x), ``"power law"`` a·x^(-b),
        ``"gaussian"`` a·exp(-x²/(2 s²)), ``"gamma"`` a·x^(k-1)·exp(-x/s),
        ``"log-normal"`` a/x·exp(-(ln x - m)²/(2 s²)). Of orientations x in radians, modulo π:
        ``"uniform"`` a, ``"von mises"`` a·exp(k (cos 2(x - phi) - 1)), ``"double von mises"`` and
        ``"gaussian pair"``, whose components are numbered, the one nearer to x = 0 first.
    x : array_like (n_bins,)
        Where the curve is compared with the bins: left edges, centres, …
    y : array_like (n_bins,)
        Shares or heights of the bins, at least 0.
    total : int, optional
        Number of observations that `y` holds the shares of. See Notes.

    Returns
    -------
    CurveFit

    Raises
    ------
    ValueError
        An argument is not allowed, a bin is negative, all bins are zero, or there are fewer
        bins than parameters need.

    Notes
    -----
    Without `total` the fit is least squares and the likelihood is that of bins with normal errors
    of one variance, -n/2 (ln(2π rss/n) + 1): what a BIC of least-squares fits, as in Ladret et
    al., amounts to. Only differences between models of the same histogram mean anything, and
    tall bins decide. With `total` the fit maximises the Poisson likelihood of the counts
    ``total * y``, whose maximum is that of the multinomial: every observation weighs the same.
    Observations that depend on one another, such as the pixels of an image, are worth fewer than
    they count.
    """
    check_choice("model", model, tuple(MODELS))
    x, y = check_array("x", x, (None,)), check_array("y", y, (None,))
    known = MODELS[model]
    k = len(known.names)
    if len(x) != len(y) or len(x) < k + 2:
        raise ValueError(
            f"x and y must have one length, at least {k + 2} for model {model!r}, "
            f"got {len(x)} and {len(y)}"
        )
    if y.min() < 0 or y.max() == 0:
        raise ValueError(f"y must be >= 0 and not all zero, got {y.min()} to {y.max()}")
    if not known.of_orientations and x.min() <= 0:
        raise ValueError(f"x must be > 0 for model {model!r}, got {x.min()}")
    if total is not None:
        total = check_count("total", total)
        if total > 2**53:
            raise ValueError(f"total must be at most 2**53, got {total}")
    different = len(np.unique(np.round(x % np.pi, 9)))
    if known.of_orientations and (different < k + 2 or np.abs(x).max() > _TURNS):
        raise ValueError(
            f"x must hold {k + 2} different orientations or more, none beyond {_TURNS} radians, "
            f"got {different}, up to {np.abs(x).max():.3g}"
        )
    positive = np.array([name.endswith("+") for name in known.names])
    try:
        result, values = _best(known, positive, x, y, total)
    # SciPy's, of a start at which the curve or its gradient is not finite.
    except ValueError as error:
        raise ValueError(f"x must suit model {model!r}, got {x.min()} to {x.max()}") from error
    curve, gradient = known.evaluate(x, *values)
    rss = float(((y - curve) ** 2).sum())
    # What rounding leaves of a perfect fit.
    floor = len(y) * (np.finfo(float).eps * y.max()) ** 2
    variation = float(((y - y.mean()) ** 2).sum())
    if total is None:
        likelihood = -len(y) / 2 * (np.log(2 * np.pi * max(rss, floor) / len(y)) + 1)
        weights = np.full(len(y), (len(y) - k) / max(rss, floor))
    else:
        mean, counts = total * curve, total * y
        likelihood = float((special.xlogy(counts, mean) - mean - special.gammaln(counts + 1)).sum())
        weights = total / curve
    at_limit = [name for name, hit in zip(known.names, result.active_mask, strict=True) if hit]
    order = _order(known.names, values)
    errors = _errors(gradient, weights)[order]
    names = [name.rstrip("+") for name in known.names]
    return CurveFit(
        model,
        dict(zip(names, values[order].tolist(), strict=True)),
        dict(zip(names, errors.tolist(), strict=True)),
        curve,
        rss,
        1 - rss / variation if variation > floor else np.nan,
        float(likelihood),
        len(y) if total is None else total,
        k + (total is None),
        bool(result.success) and not at_limit,
        result.message + "".join(f" At its limit: {name.rstrip('+')}." for name in at_limit),
    )


def fit_exponential(x, y, total=None):
    """Fit y = a·exp(-b x); arguments and result are those of `fit_curve`.

    The published fits to coefficient histograms (`fetch("ladret2024")`) are least squares with x
    the left edges of 65 bins from 0.01 to 1: their a, b and R² come out so, and for no other x.
    """
    return fit_curve("exponential", x, y, total)


def fit_double_von_mises(y, x=None, total=None):
    """Fit the sum of two von Mises peaks on orientations (Eq. 11 of Ladret et al.).

    Parameters
    ----------
    y : array_like (n_bins,)
        Histogram over [0, π).
    x : array_like (n_bins,), optional
        Orientations in radians, modulo π; the centres of n_bins equal bins if not given.
    total : int, optional
        As for `fit_curve`.

    Returns
    -------
    CurveFit
        a1·exp(k1 (cos 2(x - phi1) - 1)) + a2·exp(k2 (cos 2(x - phi2) - 1)) with phi in [0, π),
        phi1 the one nearer to 0 (or π). Eq. 11 counts x in turns of π.

    Notes
    -----
    Started from the two highest peaks of the smoothed histogram and from the cardinals; the best
    is kept. Concentrations are limited to peaks of a standard deviation of half a bin or more.
    """
    y = check_array("y", y, (None,))
    x = (np.arange(len(y)) + 0.5) * np.pi / max(len(y), 1) if x is None else x
    return fit_curve("double von mises", x, y, total)


def fit_spike_and_slab(coefficients):
    """Fit a spike at zero and an exponential slab to coefficients, by maximum likelihood.

    Parameters
    ----------
    coefficients : array_like
        Of any shape; signs do not count.

    Returns
    -------
    SpikeAndSlab
        The interval of `zeros` is Wilson's. The rate is 1 / mean magnitude of the coefficients
        that are not zero, its interval exact for independent exponential magnitudes.

    Raises
    ------
    ValueError
        No coefficient differs from zero.
    """
    magnitudes = np.abs(check_array("coefficients", coefficients)).ravel()
    slab = magnitudes[magnitudes > 0]
    if not slab.size:
        raise ValueError(f"coefficients must not all be zero, got {magnitudes.size} zeros")
    n, z = magnitudes.size, special.ndtri(0.975)
    share = 1 - slab.size / n
    centre = (share + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z * np.sqrt(share * (1 - share) / n + z**2 / (4 * n**2)) / (1 + z**2 / n)
    rate = 1 / slab.mean()
    low, high = special.gammaincinv(slab.size, [0.025, 0.975]) * rate / slab.size
    values = (share, max(centre - half, 0), min(centre + half, 1), rate, low, high)
    return SpikeAndSlab(*map(float, values))


def _best(model, positive, x, y, total):
    """Best of the fits from all starts: the optimiser's result and the parameters' values."""

    def values_of(inner):
        return np.where(positive, np.exp(np.clip(inner, -300, 300)), inner)

    def residuals(inner):
        curve, _ = model.evaluate(x, *values_of(inner))
        return y - curve if total is None else _deviance(y, curve, total)[0]

    def jacobian(inner):
        values = values_of(inner)
        curve, gradient = model.evaluate(x, *values)
        slope = -1.0 if total is None else _deviance(y, curve, total)[1]
        return (slope * gradient * np.where(positive, values, 1.0)[:, None]).T

    def inner_of(values):
        return np.where(positive, np.log(np.where(positive, values, 1.0)), values)

    def fit(start, **options):
        scale = y.max() if total is None else 1.0
        return optimize.least_squares(
            lambda inner: residuals(inner) / scale,
            start,
            lambda inner: jacobian(inner) / scale,
            max_nfev=_MAX_EVALUATIONS,
            x_scale="jac",
            **options,
        )

    starts = [inner_of(np.array(start)) for start in model.starts(x, y)]
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        best = min((fit(start, method="lm") for start in starts), key=lambda done: done.cost)
        if model.limits is not None:
            low, high = (inner_of(np.array(limit)) for limit in model.limits(x, y))
            if np.any((best.x < low) | (best.x > high)):
                inside = [np.clip(start, low + 1e-6, high - 1e-6) for start in [*starts, best.x]]
                done = [fit(start, bounds=(low, high)) for start in inside]
                best = min(done, key=lambda one: one.cost)
    return best, values_of(best.x)


def _deviance(y, curve, total):
    """Signed roots of the Poisson deviance of counts total · y, and their slopes in the curve."""
    curve = np.maximum(curve, 1e-300)
    root = np.sqrt(np.maximum(2 * total * (special.xlogy(y, y / curve) - y + curve), 0.0))
    gap = y - curve
    near = np.abs(gap) <= 1e-6 * curve
    expanded = np.sqrt(total / curve)
    slope = np.where(near, -expanded, -total * np.abs(gap) / curve / np.where(near, 1.0, root))
    return np.where(near, gap * expanded, np.sign(gap) * root), slope


def _errors(gradient, weights):
    """Standard errors from the information matrix; NaN if it is singular."""
    information = (gradient * weights) @ gradient.T
    scale = np.sqrt(np.maximum(np.diag(information), 1e-300))
    scaled = information / np.outer(scale, scale)
    if not np.isfinite(scaled).all() or np.linalg.cond(scaled) > 1e12:
        return np.full(len(gradient), np.nan)
    return np.sqrt(np.diag(np.linalg.inv(scaled))) / scale


def _order(names, values):
    """Bring orientations to [0, π), and the component nearer to 0 first; changes `values`."""
    is_phi = np.array([name.startswith("phi") for name in names])
    values[is_phi] %= np.pi
    order = np.arange(len(values))
    if is_phi.sum() == 2 and np.subtract(*np.abs(np.sin(values[is_phi]))) > 0:
        order = np.roll(order, len(values) // 2)
    return order

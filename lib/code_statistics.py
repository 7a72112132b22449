"""What sparse codes of photographs are made of: zeros, magnitudes, orientations.

As in Figs. 4 and 5 of Ladret et al., with models fitted to the histograms of each image. Float64.
An image that a model cannot be fitted to is kept as such and counted.
"""

from typing import NamedTuple

import numpy as np
from scipy.stats import binomtest

from lib import codes, datasets
from lib._checks import as_array, check_array, check_count, check_flag, check_rng
from lib.orientation import CurveFit, fit_curve

# Bins of the published histograms of magnitudes; fits compare curves with their left edges.
EDGES = np.linspace(0.01, 1, 66)
MAGNITUDE_MODELS = ("exponential", "power law", "gaussian", "gamma", "log-normal")
ORIENTATION_MODELS = ("double von mises", "gaussian pair", "von mises", "uniform")


class CodeCounts(NamedTuple):
    """What is counted in the codes of n images.

    Attributes
    ----------
    magnitudes : ndarray (n, n_theta, n_bins)
        Coefficients that are not zero, by their atom's orientation and their magnitude's bin.
    below, above : ndarray (n,)
        Those whose magnitude lies outside of the bins.
    orientations : ndarray (n, n_theta)
        Those of each orientation, whatever their magnitude.
    means : ndarray (n, n_theta)
        Their mean magnitude, NaN where there are none.
    zeros, zeros_low, zeros_high : ndarray (n,)
        Share of coefficients that are zero, with Wilson's 95 % interval.
    """

    magnitudes: np.ndarray
    below: np.ndarray
    above: np.ndarray
    orientations: np.ndarray
    means: np.ndarray
    zeros: np.ndarray
    zeros_low: np.ndarray
    zeros_high: np.ndarray


class ModelFits(NamedTuple):
    """Models fitted to the histograms of n images.

    Attributes
    ----------
    fits : dict of str to list of (CurveFit or None)
        By model; None for images without a histogram.
    empty : ndarray (n,) of bool
        Images without a histogram: nothing was counted.
    """

    fits: dict[str, list[CurveFit | None]]
    empty: np.ndarray

    def field(self, model, name):
        """Values (n,) of a field or parameter of a model's fits, NaN where there is no fit."""
        return np.array([_value(fit, name) for fit in self.fits[model]], dtype=float)

    @property
    def bic(self):
        """BIC (n_models, n)."""
        return np.array([self.field(model, "bic") for model in self.fits])

    def wins(self):
        """Share of the images with a histogram in which each model has the lowest BIC."""
        best = self.bic[:, ~self.empty].argmin(axis=0)
        return {model: float(np.mean(best == i)) for i, model in enumerate(self.fits)}

    def unconverged(self):
        """Number of fits of each model that did not converge, or stopped at a limit."""
        return {
            model: sum(not fit.converged for fit in fits if fit is not None)
            for model, fits in self.fits.items()
        }


class Published(NamedTuple):
    """Histograms of the codes of n of the authors' 1145 images, as released.

    Attributes
    ----------
    magnitudes : ndarray (n, 65)
        Shares of the bins `EDGES`.
    a, b, r2 : ndarray (n,)
        Their exponential fits.
    totals : ndarray (n,)
        Observations behind `magnitudes`, of which all shares are whole numbers.
    homogeneous : ndarray (n, 72)
        Shares by orientation.
    heterogeneous : dict of int to ndarray (n, 12)
        Shares by orientation, of atoms of one bandwidth, by its number from narrow (0) to broad
        (5). Rows are NaN where no such atom is used.
    """

    magnitudes: np.ndarray
    a: np.ndarray
    b: np.ndarray
    r2: np.ndarray
    totals: np.ndarray
    homogeneous: np.ndarray
    heterogeneous: dict[int, np.ndarray]


def published_histograms(n=0):
    """Histograms that Ladret et al. released.

    Parameters
    ----------
    n : int
        Of so many images, evenly spread over them; 0 for all.

    Returns
    -------
    Published

    Raises
    ------
    lib.datasets.DataUnavailable
        They are not at hand.
    """
    n = check_count("n", n, 0)
    folder = datasets.fetch("ladret2024")

    def load(name):
        rows = np.load(folder / f"{name}.npy", allow_pickle=False)
        if n > len(rows):
            raise ValueError(f"n must be at most {len(rows)}, got {n}")
        return rows[np.linspace(0, len(rows) - 1, n).round().astype(int)] if n else rows

    magnitudes = load("hist_coeffs_btheta")
    return Published(
        magnitudes,
        *(load(f"full_histo_{name}_btheta") for name in ("a", "b", "R2")),
        np.array([recover_total(row) for row in magnitudes]),
        load("hist_ori_"),
        {band: load(f"hist_ori_btheta_{band}") for band in (0, 3, 5)},
    )


def count_codes(images, atoms, theta, n_theta, lmbda, *, edges=EDGES, rescale=False, **settings):
    """Count the coefficients of the codes of images by magnitude and orientation.

    Parameters
    ----------
    images, atoms, lmbda, **settings
        As in `codes.iter_codes`.
    theta : array_like (K,)
        Orientations of the atoms in radians, modulo π.
    n_theta : int
        Orientations 0, π/n_theta, …: an atom counts for the one that is nearest.
    edges : array_like (n_bins + 1,)
        Edges of the bins of magnitudes, rising.
    rescale : bool
        Divide magnitudes by the mean magnitude of the same atom in the same image, and multiply by
        that of the image: what remains if all atoms had coefficients of one size.

    Returns
    -------
    CodeCounts

    Raises
    ------
    ValueError
        An argument is not allowed.
    """
    atoms = check_array("atoms", atoms, (None, None, None))
    own = nearest_orientation(check_array("theta", theta, (len(atoms),)), n_theta)
    edges = _check_edges(edges)
    rescale = check_flag("rescale", rescale)
    rows = []
    for code in codes.iter_codes(images, atoms, lmbda, **settings):
        coefficients = code.coefficients.coalesce()
        values = np.abs(coefficients.values().numpy().astype(float))
        used = values > 0
        atom, values = coefficients.indices()[0].numpy()[used], values[used]
        if rescale and len(values):
            values = values.mean() * values / _group_means(atom, values, len(atoms))[atom]
        orientations = np.bincount(own[atom], minlength=n_theta)
        table, below, above = magnitude_counts(values, own[atom], n_theta, edges)
        n_all = coefficients.numel()
        interval = binomtest(n_all - len(values), n_all).proportion_ci(method="wilson")
        rows.append(
            (
                table,
                below,
                above,
                orientations,
                _group_means(own[atom], values, n_theta),
                1 - len(values) / n_all,
                *interval,
            )
        )
    return CodeCounts(*(np.array(column) for column in zip(*rows, strict=True)))


def magnitude_counts(magnitudes, group, n_groups, edges=EDGES):
    """Histogram of magnitudes in each of several groups, and how many lie outside.

    Parameters
    ----------
    magnitudes : array_like (m,)
    group : array_like (m,) of int
        From 0 to n_groups - 1.
    n_groups : int
    edges : array_like (n_bins + 1,)
        A bin holds its left edge, the last one also its right edge.

    Returns
    -------
    counts : ndarray (n_groups, n_bins)
    below, above : int
    """
    magnitudes = check_array("magnitudes", magnitudes, (None,))
    group = as_array("group", group)
    edges = _check_edges(edges)
    n_groups, n_bins = check_count("n_groups", n_groups), len(edges) - 1
    if group.shape != magnitudes.shape or group.dtype.kind not in "iu":
        raise ValueError(f"group must hold {len(magnitudes)} integers, got {group.shape}")
    if len(group) and not 0 <= group.min() <= group.max() < n_groups:
        raise ValueError(
            f"group must lie from 0 to {n_groups - 1}, got {group.min()} to {group.max()}"
        )
    below, above = magnitudes < edges[0], magnitudes > edges[-1]
    inside = ~(below | above)
    bins = np.searchsorted(edges, magnitudes[inside], side="right") - 1
    bins = np.minimum(bins, n_bins - 1) + n_bins * group[inside].astype(np.intp)
    counts = np.bincount(bins, minlength=n_bins * n_groups).reshape(n_groups, n_bins)
    return counts, int(below.sum()), int(above.sum())


def nearest_orientation(theta, n_theta):
    """Which of the orientations 0, π/n_theta, … is nearest.

    Parameters
    ----------
    theta : array_like
        In radians, modulo π.
    n_theta : int

    Returns
    -------
    ndarray of int
        From 0 to n_theta - 1.
    """
    n_theta = check_count("n_theta", n_theta)
    turns = check_array("theta", theta) * (n_theta / np.pi)
    # A neighbour's border must not depend on rounding: exact orientations lie mid-bin.
    return (np.floor(turns + 0.5) % n_theta).astype(np.intp)


def fit_models(models, x, histograms, totals=None):
    """Fit models to the histogram of each image.

    Parameters
    ----------
    models : sequence of str
        As in `lib.orientation.fit_curve`, which fits them.
    x : array_like (n_bins,)
    histograms : array_like (n, n_bins)
        Counts or shares; each row is divided by its sum. A row of zeros or of NaN is an image
        in which nothing was counted.
    totals : array_like (n,) of int, optional
        Number of observations of each image: fit by likelihood instead of least squares.

    Returns
    -------
    ModelFits

    Raises
    ------
    ValueError
        An argument is not allowed, or no image has a histogram.
    """
    histograms = as_array("histograms", histograms).astype(float)
    if histograms.ndim != 2 or not histograms.size:
        raise ValueError(f"histograms must have shape (n, n_bins), got {histograms.shape}")
    empty = np.isnan(histograms).all(axis=1) | (histograms == 0).all(axis=1)
    if empty.all():
        raise ValueError("histograms must hold at least one that is not empty")
    filled = check_array("histograms", histograms[~empty])
    if filled.min() < 0:
        raise ValueError(f"histograms must be >= 0, got {filled.min()}")
    models = list(models)
    if not models:
        raise ValueError("models must name at least one")
    shares = dict(zip(np.flatnonzero(~empty), filled / filled.sum(axis=1)[:, None], strict=True))
    numbers = dict.fromkeys(shares)
    if totals is not None:
        totals = as_array("totals", totals)
        if totals.shape != (len(histograms),):
            raise ValueError(f"totals must hold {len(histograms)} numbers, got {totals.shape}")
        known = check_array("totals", totals[~empty])
        if known.min() < 1 or (known % 1 != 0).any():
            raise ValueError(f"totals must be whole numbers >= 1, got {known}")
        numbers = dict(zip(shares, map(int, known), strict=True))
    fits = {model: [None] * len(histograms) for model in models}
    for model, row in fits.items():
        for i, y in shares.items():
            try:
                row[i] = fit_curve(model, x, y, numbers[i])
            except ValueError as error:
                raise ValueError(f"x and histograms[{i}] cannot be fitted: {error}") from error
    return ModelFits(fits, empty)


def recover_total(shares, largest=200_000):
    """Smallest number of observations of which shares are whole parts.

    Parameters
    ----------
    shares : array_like (n_bins,)
        Their sum is 1.
    largest : int
        Search up to here.

    Returns
    -------
    int
        The number itself unless all counts have a common divisor.

    Raises
    ------
    ValueError
        There is no such number, or `shares` is not as described.
    """
    shares = check_array("shares", shares, (None,))
    if len(shares) == 0 or shares.min() < 0 or abs(shares.sum() - 1) > 1e-9:
        raise ValueError(f"shares must be >= 0 and have the sum 1, got the sum {shares.sum()}")
    totals = np.arange(1, check_count("largest", largest) + 1)
    # Bin by bin, so that few numbers are left after the first.
    for share in shares[shares > 0]:
        counts = totals * share
        totals = totals[(np.abs(counts - np.round(counts)) < 1e-6) & (counts > 0.5)]
    if len(totals):
        return int(totals[0])
    raise ValueError(f"shares must be whole parts of a number up to {largest}, are of none")


def circular_median(theta):
    """Orientation with the least mean distance to others, modulo π.

    Parameters
    ----------
    theta : array_like (n,)
        In radians. The median is one of them, or the mean orientation of those that tie, as they
        do where n is even.

    Returns
    -------
    float
        In [0, π).
    """
    theta = check_array("theta", theta, (None,)) % np.pi
    if not len(theta):
        raise ValueError("theta must hold at least one orientation, got none")
    distances = orientation_distance(theta[:, None], theta).mean(axis=1)
    # Left to themselves, rounding errors would choose among ties.
    tied = theta[distances <= distances.min() + 1e-9]
    middle = float(np.angle(np.exp(2j * tied).sum()) / 2 % np.pi)
    # What rounds to less than zero is π modulo π.
    return middle if middle < np.pi else 0.0


def orientation_distance(a, b):
    """Distance of orientations in radians, from 0 to π/2."""
    a, b = check_array("a", a), check_array("b", b)
    # Other shapes are left to broadcasting, which must be possible.
    for one, other in zip(a.shape[::-1], b.shape[::-1], strict=False):
        if one != other and 1 not in (one, other):
            raise ValueError(f"a and b must have shapes that match, got {a.shape} and {b.shape}")
    return np.abs((a - b + np.pi / 2) % np.pi - np.pi / 2)


def median_interval(values, rng, n_boot=2000, median=np.median):
    """Median of n values with its 95 % percentile bootstrap interval.

    Parameters
    ----------
    values : array_like (n,)
    rng : numpy.random.Generator or int
    n_boot : int
    median : callable
        Of a resample. Of orientations, give distances from their `circular_median`: quantiles
        know no circle.

    Returns
    -------
    middle, low, high : float
    """
    values = check_array("values", values, (None,))
    if not len(values):
        raise ValueError("values must hold at least one value, got none")
    rows = check_rng(rng).integers(len(values), size=(check_count("n_boot", n_boot), len(values)))
    resampled = [median(values[row]) for row in rows]
    return float(median(values)), *map(float, np.quantile(resampled, [0.025, 0.975]))


def _value(fit, name):
    if fit is None:
        return np.nan
    return fit.parameters[name] if name in fit.parameters else getattr(fit, name)


def _group_means(group, values, n):
    """Mean of the values in each of n groups, NaN where there are none."""
    counts = np.bincount(group, minlength=n)
    with np.errstate(invalid="ignore"):
        return np.bincount(group, values, n) / np.where(counts, counts, np.nan)


def _check_edges(edges):
    edges = check_array("edges", edges, (None,))
    if len(edges) < 2 or edges[0] < 0 or np.any(np.diff(edges) <= 0):
        raise ValueError(f"edges must be >= 0 and rise, at least two of them, got {edges}")
    return edges

import os
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from lib._curves import MODELS
from lib.orientation import (
    bic,
    fit_curve,
    fit_double_von_mises,
    fit_exponential,
    fit_spike_and_slab,
)

MAGNITUDES = np.linspace(0.01, 1, 66)[:-1]
ANGLES = (np.arange(36) + 0.5) * np.pi / 36
PLANTED = {
    "exponential": (0.1, 6.0),
    "power law": (0.02, 0.7),
    "gaussian": (0.2, 0.3),
    "gamma": (0.6, 1.8, 0.2),
    "log-normal": (0.05, -1.5, 0.8),
    "von mises": (0.3, 2.5, 1.0),
    "double von mises": (0.2, 6.0, 0.1, 0.1, 12.0, 1.5),
    "gaussian pair": (0.2, 0.3, 0.1, 0.1, 0.2, 1.5),
}


def grid(model):
    return ANGLES if MODELS[model].of_orientations else MAGNITUDES


def curve(model, values):
    return MODELS[model].evaluate(grid(model), *values)[0]


def published(*names):
    for folder in filter(None, os.environ.get("LIB_DATA", "").split(os.pathsep)):
        paths = [Path(folder) / "ladret2024" / f"{name}.npy" for name in names]
        if all(path.exists() for path in paths):
            return [np.load(path) for path in paths]
    pytest.skip("needs ladret2024 in a folder that LIB_DATA names")


def test_curves_are_what_their_formulas_say():
    x = MAGNITUDES
    shapes = {
        "exponential": 0.1 * np.exp(-6 * x),
        "power law": 0.02 / x**0.7,
        # Densities of SciPy, up to their amplitude.
        "gaussian": stats.norm(0, 0.3).pdf(x),
        "gamma": stats.gamma(1.8, scale=0.2).pdf(x),
        "log-normal": stats.lognorm(0.8, scale=np.exp(-1.5)).pdf(x),
        "von mises": stats.vonmises(2.5, 2.0).pdf(2 * ANGLES),
    }
    for model, shape in shapes.items():
        ratio = curve(model, PLANTED[model]) / shape
        np.testing.assert_allclose(ratio, ratio[0], err_msg=model)
    first, second = (
        a * np.exp(k * (np.cos(2 * np.pi * (ANGLES / np.pi - phi / np.pi)) - 1))
        for a, k, phi in np.reshape(PLANTED["double von mises"], (2, 3))
    )
    np.testing.assert_allclose(
        curve("double von mises", PLANTED["double von mises"]), first + second
    )


@pytest.mark.parametrize("model", PLANTED)
def test_gradients_are_those_of_finite_differences(model):
    values = np.array(PLANTED[model])
    gradient = MODELS[model].evaluate(grid(model), *values)[1]
    for i, step in enumerate(1e-6 * np.eye(len(values))):
        difference = curve(model, values + step) - curve(model, values - step)
        np.testing.assert_allclose(gradient[i], difference / 2e-6, atol=1e-7, err_msg=model)


@pytest.mark.parametrize("total", [None, 100_000])
@pytest.mark.parametrize("model", PLANTED)
def test_planted_parameters_are_found(model, total):
    y = curve(model, PLANTED[model])
    fit = fit_curve(model, grid(model), y, total)
    np.testing.assert_allclose(list(fit.parameters.values()), PLANTED[model], rtol=1e-4)
    np.testing.assert_allclose(fit.curve, y, atol=1e-6 * y.max())
    assert fit.r2 == pytest.approx(1)
    assert fit.converged


@pytest.mark.parametrize("amplitude", [1e-6, 1e5])
def test_units_do_not_matter(amplitude):
    y = curve("exponential", PLANTED["exponential"]) + 1e-3 * np.cos(np.arange(65))
    here = fit_exponential(MAGNITUDES, np.maximum(y, 0)).parameters
    there = fit_exponential(1e3 * MAGNITUDES, amplitude * np.maximum(y, 0)).parameters
    assert there["a"] == pytest.approx(amplitude * here["a"], rel=1e-5)
    assert there["b"] == pytest.approx(1e-3 * here["b"], rel=1e-5)


def test_least_squares_is_reached():
    rng = np.random.default_rng(0)
    y = np.maximum(curve("exponential", (0.1, 6.0)) + 0.004 * rng.standard_normal(65), 0)
    fit = fit_exponential(MAGNITUDES, y)
    a, b = np.meshgrid(np.linspace(0.08, 0.12, 201), np.linspace(4, 8, 201))
    brute = ((y - a[..., None] * np.exp(-b[..., None] * MAGNITUDES)) ** 2).sum(axis=-1)
    best = np.unravel_index(brute.argmin(), brute.shape)
    assert fit.rss <= brute.min()
    assert fit.parameters["a"] == pytest.approx(a[best], abs=4e-4)
    assert fit.parameters["b"] == pytest.approx(b[best], abs=0.04)
    assert fit.r2 == pytest.approx(1 - fit.rss / (len(y) * y.var()))


def test_likelihoods_are_those_of_scipy():
    rng = np.random.default_rng(1)
    counts = rng.poisson(2000 * curve("exponential", (0.1, 6.0)))
    total = int(counts.sum())
    fit = fit_exponential(MAGNITUDES, counts / total, total)
    expected = stats.poisson(total * fit.curve).logpmf(counts).sum()
    assert fit.log_likelihood == pytest.approx(expected)
    # At its maximum the amplitude is that of the shares: the multinomial has the same maximum.
    assert fit.curve.sum() == pytest.approx(1, rel=1e-6)
    bare = fit_exponential(MAGNITUDES, counts / total)
    sigma = np.sqrt(bare.rss / 65)
    expected = stats.norm(bare.curve, sigma).logpdf(counts / total).sum()
    assert bare.log_likelihood == pytest.approx(expected)
    for other in (bare.curve, curve("exponential", (0.1, 6.3)), np.ones(65)):
        other = other / other.sum()
        assert stats.poisson(total * other).logpmf(counts).sum() < fit.log_likelihood


def test_bic_is_schwarzs():
    assert bic(-10.0, 100, 3) == pytest.approx(3 * np.log(100) + 20)
    y = np.maximum(curve("exponential", (0.1, 6.0)) + 1e-3 * np.sin(np.arange(65)), 0)
    fits = [fit_curve(model, MAGNITUDES, y) for model in ("exponential", "gamma", "power law")]
    # Of least squares it is n ln(rss / n) + k ln n, but for what all models share.
    plain = [65 * np.log(f.rss / 65) + len(f.parameters) * np.log(65) for f in fits]
    gaps = [f.bic - p for f, p in zip(fits, plain, strict=True)]
    np.testing.assert_allclose(gaps, gaps[0])


@pytest.mark.parametrize("truth", ["exponential", "power law", "gaussian", "gamma", "log-normal"])
def test_bic_picks_the_planted_magnitudes(truth):
    rng = np.random.default_rng(2)
    shape = curve(truth, PLANTED[truth])
    models = ["exponential", "power law", "gaussian", "gamma", "log-normal"]
    right = {"bins": 0, "counts": 0}
    for _ in range(40):
        noisy = np.maximum(shape + 0.001 * shape.max() * rng.standard_normal(65), 0)
        counts = rng.poisson(20_000 * shape / shape.sum())
        total = int(counts.sum())
        for way, y, n in (("bins", noisy, None), ("counts", counts / total, total)):
            scores = {model: fit_curve(model, MAGNITUDES, y, n).bic for model in models}
            right[way] += min(scores, key=scores.get) == truth
    assert right["bins"] >= 34
    assert right["counts"] >= 38


@pytest.mark.parametrize("truth", ["uniform", "von mises", "double von mises", "gaussian pair"])
def test_bic_picks_the_planted_orientations(truth):
    rng = np.random.default_rng(3)
    shape = curve(truth, PLANTED.get(truth, (0.1,)))
    models = ["uniform", "von mises", "double von mises", "gaussian pair"]
    right = 0
    for _ in range(12):
        counts = rng.poisson(50_000 * shape / shape.sum())
        total = int(counts.sum())
        scores = {m: fit_curve(m, ANGLES, counts / total, total).bic for m in models}
        right += min(scores, key=scores.get) == truth
    assert right >= 10


@pytest.mark.parametrize(
    ("model", "planted"),
    [("exponential", (0.1, 3.0)), ("double von mises", (0.2, 3.0, 0.1, 0.1, 4.0, 1.5))],
)
@pytest.mark.parametrize("counted", [False, True])
def test_intervals_cover_the_planted_parameters(model, planted, counted):
    rng = np.random.default_rng(4)
    amplitudes = np.array([name.startswith("a") for name in MODELS[model].names])
    planted = np.where(amplitudes, planted / curve(model, planted).sum(), planted)
    shape = curve(model, planted)
    fits = []
    for _ in range(300):
        if counted:
            counts = rng.poisson(30_000 * shape)
            fits.append(fit_curve(model, grid(model), counts / 30_000, 30_000))
        else:
            # So weak that no bin gets negative.
            noise = 0.2 * shape.min() * rng.standard_normal(len(shape))
            fits.append(fit_curve(model, grid(model), shape + noise))
    assert all(fit.converged for fit in fits)
    values = np.array([list(fit.parameters.values()) for fit in fits])
    errors = np.array([list(fit.errors.values()) for fit in fits])
    share = (np.abs(values - planted) < 1.96 * errors).mean(axis=0)
    # 95 % ± three standard errors of 300 replicates.
    assert (np.abs(share - 0.95) < 0.04).all(), share


def test_spike_and_slab_is_covered():
    rng = np.random.default_rng(5)
    inside = []
    for _ in range(400):
        values = rng.exponential(1 / 7.0, 2000) * rng.choice([-1, 1], 2000)
        values[rng.random(2000) < 0.97] = 0
        fit = fit_spike_and_slab(values.reshape(20, 100))
        inside.append([fit.zeros_low < 0.97 < fit.zeros_high, fit.rate_low < 7 < fit.rate_high])
    share = np.mean(inside, axis=0)
    assert (np.abs(share - 0.95) < 0.035).all(), share
    assert fit.zeros == (values == 0).mean()
    assert fit.rate == pytest.approx(1 / np.abs(values[values != 0]).mean())
    few = fit_spike_and_slab([0.5, 0, 0])
    wilson = stats.binomtest(2, 3).proportion_ci(method="wilson")
    np.testing.assert_allclose([few.zeros_low, few.zeros_high], [wilson.low, wilson.high])


def test_the_first_peak_is_the_one_nearer_to_zero():
    x = (np.arange(72) * np.pi / 72 + 0.3) % np.pi
    for phi, other in ((3.1, 1.5), (0.05, 1.7), (2.9, 1.2)):
        y = MODELS["double von mises"].evaluate(x, 0.1, 9.0, phi, 0.3, 4.0, other)[0]
        found = fit_double_von_mises(y, x).parameters
        np.testing.assert_allclose([found["phi1"], found["phi2"]], [phi, other], atol=1e-4)
        np.testing.assert_allclose([found["k1"], found["k2"]], [9, 4], rtol=1e-3)


def test_centres_of_bins_are_the_default():
    y = curve("double von mises", PLANTED["double von mises"])
    assert fit_double_von_mises(y).parameters == fit_double_von_mises(y, ANGLES).parameters


def test_what_the_data_do_not_determine_is_flagged():
    # A peak of one bin: it is narrower than the limit.
    fit = fit_double_von_mises(0.01 + np.eye(36)[3])
    assert not fit.converged
    assert "At its limit: k" in fit.message
    # One peak: the second has nothing to fit, and is within its own error.
    fit = fit_double_von_mises(curve("von mises", (0.3, 4.0, 0.1)))
    assert fit.r2 == pytest.approx(1)
    faint = min("a1", "a2", key=fit.parameters.get)
    assert not fit.converged or fit.parameters[faint] < fit.errors[faint]


def test_the_fit_does_not_need_bins_in_order():
    rng = np.random.default_rng(6)
    y = curve("double von mises", PLANTED["double von mises"]) + 0.002 * rng.random(36)
    order = rng.permutation(36)
    here = fit_double_von_mises(y, ANGLES).parameters
    there = fit_double_von_mises(y[order], ANGLES[order]).parameters
    np.testing.assert_allclose(list(there.values()), list(here.values()), rtol=1e-4)


def test_published_exponential_fits_are_reproduced():
    y, a, b, r2 = published(
        "hist_coeffs_btheta", *(f"full_histo_{name}_btheta" for name in ("a", "b", "R2"))
    )
    fits = [fit_exponential(MAGNITUDES, row) for row in y[::5]]
    assert all(fit.converged for fit in fits)
    np.testing.assert_allclose([fit.parameters["a"] for fit in fits], a[::5], rtol=1e-4)
    np.testing.assert_allclose([fit.parameters["b"] for fit in fits], b[::5], rtol=1e-4)
    np.testing.assert_allclose([fit.r2 for fit in fits], r2[::5], atol=1e-8)
    # Only left edges do: centres of the bins give another amplitude.
    centres = fit_exponential(MAGNITUDES + 0.99 / 130, y[0]).parameters
    assert abs(centres["a"] / a[0] - 1) > 0.01


def test_published_orientations_have_their_peaks_at_the_cardinals():
    (y,) = published("hist_ori_")
    x = np.arange(72) * np.pi / 72
    fits = [fit_double_von_mises(row, x) for row in y[::20]]
    first, second = np.rad2deg([[f.parameters[p] for f in fits] for p in ("phi1", "phi2")])
    assert abs(np.median((first + 90) % 180 - 90)) < 10
    assert abs(np.median(second) - 90) < 10


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model": "line"}, "model must be one of exponential"),
        ({"x": np.arange(65.0)}, "x must be > 0 for model 'exponential', got 0.0"),
        ({"x": np.ones(4)}, "x and y must have one length, at least 4"),
        ({"x": np.ones(3), "y": np.arange(3.0)}, "x and y must have one length, at least 4"),
        ({"y": -np.ones(65)}, "y must be >= 0 and not all zero"),
        ({"y": np.zeros(65)}, "y must be >= 0 and not all zero"),
        ({"y": np.full(65, np.nan)}, "y must be finite"),
        ({"total": 0}, "total must be"),
        ({"total": 10.5}, "total must be"),
    ],
)
def test_bad_input_is_refused(change, message):
    arguments = {"model": "exponential", "x": MAGNITUDES, "y": np.exp(-MAGNITUDES)}
    with pytest.raises(ValueError, match=message):
        fit_curve(**arguments | change)


def test_other_bad_input_is_refused():
    with pytest.raises(ValueError, match="must not all be zero, got 4 zeros"):
        fit_spike_and_slab(np.zeros((2, 2)))
    with pytest.raises(ValueError, match="log_likelihood must be"):
        bic(np.nan, 10, 1)
    with pytest.raises(ValueError, match="n_observations must be"):
        bic(0.0, 0, 1)
    with pytest.raises(ValueError, match="at least 8"):
        fit_double_von_mises([])


@pytest.mark.parametrize("total", [None, 1200])
def test_a_flat_histogram_is_uniform(total):
    models = ("uniform", "von mises", "double von mises")
    fits = {m: fit_curve(m, ANGLES, np.full(len(ANGLES), 0.02), total) for m in models}
    assert min(fits, key=lambda m: fits[m].bic) == "uniform"
    assert np.isnan(fits["uniform"].r2)


@pytest.mark.parametrize("model", ["exponential", "gaussian"])
def test_fits_to_few_counts_are_the_best_of_a_grid(model):
    rng = np.random.default_rng(8)
    widths = np.geomspace(1e-3, 1e3, 2000)
    powers = MAGNITUDES / widths[:, None]
    shapes = np.exp(-powers) if model == "exponential" else np.exp(-0.5 * powers**2)
    shapes = shapes[(shapes**2).sum(axis=1) > 1e-12]
    for total in (3, 5, 10, 50):
        for _ in range(10):
            magnitudes = rng.exponential(0.5, 20 * total)
            kept = magnitudes[(magnitudes > 0.01) & (magnitudes < 1)][:total]
            y = np.histogram(kept, np.linspace(0.01, 1, 66))[0] / total
            heights = shapes @ y / (shapes**2).sum(axis=1)
            best = ((y - heights[:, None] * shapes) ** 2).sum(axis=1).min()
            # Of a curve that had best be infinitely narrow, some part is left.
            assert fit_curve(model, MAGNITUDES, y).rss <= best * (1 + 1e-6)

"""Counts of codes, and models fitted image by image."""

import numpy as np
import pytest
import torch

from lib import code_statistics as cs
from lib import codes
from lib.orientation import fit_spike_and_slab

N_THETA = 12


def _plant(monkeypatch, *tables):
    """Let `iter_codes` give these coefficients (K, height, width)."""
    planted = [codes.ImageCode(torch.tensor(t).to_sparse().coalesce(), 1, True) for t in tables]
    monkeypatch.setattr(codes, "iter_codes", lambda *_, **__: iter(planted))


def _count(theta, n_theta=N_THETA, **options):
    atoms = np.ones((len(theta), 2, 2))
    return cs.count_codes(np.zeros((1, 8, 8)), atoms, theta, n_theta, 0.1, **options)


def _slab(rng, shape, zeros, rate):
    """Coefficients of which a share is zero and the others have exponential magnitudes."""
    values = rng.exponential(1 / rate, shape) * rng.choice([-1, 1], shape)
    return values * (rng.random(shape) >= zeros)


def test_magnitude_counts_are_numpys_histograms():
    rng = np.random.default_rng(0)
    # Some lie exactly on edges, first and last included.
    magnitudes = np.concatenate([rng.exponential(0.4, 3000), cs.EDGES, [0.0, 0.005, 5.0]])
    group = rng.integers(0, 4, len(magnitudes))
    counts, below, above = cs.magnitude_counts(magnitudes, group, 5)
    for i in range(5):
        np.testing.assert_array_equal(counts[i], np.histogram(magnitudes[group == i], cs.EDGES)[0])
    assert below == (magnitudes < 0.01).sum()
    assert above == (magnitudes > 1).sum()
    assert counts.sum() + below + above == len(magnitudes)


def test_counts_follow_a_plain_loop(monkeypatch):
    rng = np.random.default_rng(1)
    theta = np.concatenate([np.arange(12) * np.pi / 12, rng.uniform(0, np.pi, 9)])
    table = _slab(rng, (21, 8, 9), 0.8, 3.0)
    _plant(monkeypatch, table, 2 * table)
    counted = _count(theta)
    orientations, sums = np.zeros(12, int), np.zeros(12)
    for k, row, column in np.ndindex(table.shape):
        value = abs(table[k, row, column])
        if value:
            # Where cos 2Δ is largest: another formula than rounding.
            nearest = int(np.argmax(np.cos(2 * (theta[k] - np.arange(12) * np.pi / 12))))
            orientations[nearest] += 1
            sums[nearest] += value
    np.testing.assert_array_equal(counted.orientations, [orientations, orientations])
    np.testing.assert_allclose(counted.means, [sums / orientations, 2 * sums / orientations])
    outside = counted.below + counted.above
    np.testing.assert_array_equal(
        counted.magnitudes.sum(axis=(1, 2)) + outside, 2 * [orientations.sum()]
    )


def test_planted_spike_and_exponential_slab_come_back(monkeypatch):
    rng = np.random.default_rng(2)
    planted = [(0.95, 6.0), (0.9, 9.0), (0.85, 3.5)]
    tables = [_slab(rng, (24, 60, 60), *each) for each in planted]
    _plant(monkeypatch, *tables)
    counted = _count(np.arange(24) * np.pi / 24, 24)
    histograms = counted.magnitudes.sum(axis=1)
    for totals in (None, histograms.sum(axis=1)):
        fits = cs.fit_models(cs.MAGNITUDE_MODELS, cs.EDGES[:-1], histograms, totals)
        rates, shapes = fits.field("exponential", "b"), fits.field("gamma", "k")
        np.testing.assert_allclose(rates, [rate for _, rate in planted], rtol=0.08)
        np.testing.assert_allclose(shapes, 1, atol=0.05)
        assert set(fits.unconverged().values()) == {0}
    # By the counts. Least squares take the noise of tall bins for structure.
    assert fits.wins()["exponential"] == 1.0
    for i, (zeros, _) in enumerate(planted):
        # Wilson's interval by another code; the truth lies within four standard errors.
        fit = fit_spike_and_slab(tables[i])
        own = counted.zeros[i], counted.zeros_low[i], counted.zeros_high[i]
        np.testing.assert_allclose(own, fit[:3], rtol=1e-9)
        assert abs(own[0] - zeros) < 4 * np.sqrt(zeros * (1 - zeros) / tables[i].size)


def test_rescaling_undoes_a_mixture_of_atoms(monkeypatch):
    rng = np.random.default_rng(3)
    sizes = np.geomspace(0.02, 0.5, 24)[:, None, None]
    table = sizes * _slab(rng, (24, 60, 60), 0.95, 1.0)
    _plant(monkeypatch, table, table)

    def won(**options):
        h = _count(np.zeros(24), **options).magnitudes.sum(axis=1)
        return cs.fit_models(cs.MAGNITUDE_MODELS, cs.EDGES[:-1], h, h.sum(axis=1)).wins()

    assert won()["exponential"] == 0.0
    assert won(rescale=True)["exponential"] == 1.0
    counted = _count(np.zeros(24), 1, rescale=True)
    assert counted.means[0, 0] == pytest.approx(np.abs(table[table != 0]).mean())


def test_planted_peaks_come_back_and_empty_images_stay():
    x = np.arange(36) * np.pi / 36
    curve = 3 * np.exp(8 * (np.cos(2 * (x - 0.05)) - 1)) + np.exp(5 * (np.cos(2 * (x - 1.6)) - 1))
    counts = np.random.default_rng(4).poisson(900 * curve + 20)
    rows = np.array([counts, np.zeros(36), counts, np.full(36, np.nan)])
    fits = cs.fit_models(cs.ORIENTATION_MODELS, x, rows)
    np.testing.assert_array_equal(fits.empty, [False, True, False, True])
    phi = fits.field("double von mises", "phi1")
    assert np.isnan(phi[[1, 3]]).all()
    assert phi[0] == phi[2] == pytest.approx(0.05, abs=0.02)
    assert fits.field("double von mises", "phi2")[0] == pytest.approx(1.6, abs=0.03)
    assert fits.wins()["double von mises"] == 1.0
    assert fits.bic.shape == (4, 4)


def test_unconverged_fits_are_counted_and_kept():
    x = np.arange(12) * np.pi / 12
    # One bin only: the peak is as narrow as allowed.
    rows = np.array([np.eye(12)[3], 1 + np.eye(12)[5] + np.eye(12)[11]])
    fits = cs.fit_models(["double von mises", "uniform"], x, rows)
    assert fits.unconverged()["double von mises"] >= 1
    assert fits.unconverged()["uniform"] == 0
    assert np.isfinite(fits.bic).all()


def test_shares_give_their_total_back():
    rng = np.random.default_rng(5)
    for total in (7, 431, 21_119):
        counts = rng.multinomial(total, rng.dirichlet(np.ones(65)))
        assert cs.recover_total(counts / total) == total // np.gcd.reduce([*counts, total])
    with pytest.raises(ValueError, match="shares must be whole parts"):
        cs.recover_total([1 / np.pi, 1 - 1 / np.pi], largest=1000)
    # A bin that is not empty holds one at least.
    with pytest.raises(ValueError, match="shares must be whole parts"):
        cs.recover_total([1 / 4e6, 1 - 1 / 4e6], largest=1000)


@pytest.mark.parametrize("shares", [[0.5, 0.3], [], [0, 0], [-0.5, 1.5]])
def test_shares_that_are_none_have_no_total(shares):
    with pytest.raises(ValueError, match="shares must be >= 0 and have the sum 1"):
        cs.recover_total(shares)


def test_fit_models_refuses_negative_histograms_and_no_models():
    x = cs.EDGES[:-1]
    histograms = np.random.default_rng(0).random((2, len(x)))
    with pytest.raises(ValueError, match=r"^histograms must be >= 0"):
        cs.fit_models(["exponential"], x, -histograms)
    with pytest.raises(ValueError, match=r"^models must"):
        cs.fit_models([], x, histograms)


def test_circular_median_does_not_see_the_border():
    theta = np.radians([2.0, 5.0, 178.0, 177.0, 1.0])
    assert np.degrees(cs.circular_median(theta)) == pytest.approx(1.0)
    turned = (theta + 1.0) % np.pi
    gap = cs.orientation_distance(cs.circular_median(turned), cs.circular_median(theta))
    assert gap == pytest.approx(1.0)
    assert np.degrees(cs.orientation_distance(np.radians(178), 0)) == pytest.approx(2.0)
    assert np.degrees(cs.orientation_distance(0, np.radians(91))) == pytest.approx(89.0)


def test_circular_median_of_an_even_number_lies_between_the_middle_two():
    theta = np.radians([170.0, 1.0, 4.0, 20.0])
    for turn in np.linspace(0, np.pi, 50):
        median = cs.circular_median((theta + turn) % np.pi)
        gap = cs.orientation_distance(median, np.radians(2.5) + turn)
        assert gap < 1e-9


def test_median_interval_covers_the_truth():
    rng = np.random.default_rng(6)
    hits = 0
    for _ in range(200):
        middle, low, high = cs.median_interval(rng.exponential(size=40), rng, 200)
        assert low <= middle <= high
        hits += low <= np.log(2) <= high
    assert 178 <= hits <= 200


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: cs.magnitude_counts([0.1], [2], 2), "group must lie from 0 to 1"),
        (lambda: cs.magnitude_counts([0.1], [0, 1], 2), "group must hold 1 integers"),
        (lambda: cs.magnitude_counts([0.1], [0], 1, [1.0, 0.5]), "edges must be"),
        (lambda: cs.nearest_orientation([0.0], 0), "n_theta must be"),
        (lambda: cs.fit_models(["uniform"], [1.0], [1.0]), "histograms must have shape"),
        (lambda: cs.fit_models(["uniform"], [1.0], [[0.0]]), "at least one that is not empty"),
        (lambda: cs.fit_models(["uniform"], np.ones(9), np.eye(9), [3]), "totals must hold 9"),
        (lambda: cs.fit_models(["uniform"], np.ones(2), [[1.0, np.nan]]), "must be finite"),
        (lambda: cs.circular_median([]), "at least one orientation"),
        (lambda: cs.median_interval([], 0), "at least one value"),
        (lambda: _count(np.zeros(3) + np.nan), "theta must be finite"),
    ],
)
def test_bad_arguments_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_medians_at_the_border_are_within_the_range():
    for theta in ([0.1, np.pi - 0.1], [-1e-17], [np.pi]):
        assert cs.circular_median(theta) == 0


def test_one_flat_histogram_stops_nothing():
    x = (np.arange(12) + 0.5) * np.pi / 12
    histograms = np.stack([1 + np.exp(2 * np.cos(2 * x)), np.ones(12)])
    fits = cs.fit_models(cs.ORIENTATION_MODELS, x, histograms)
    assert np.argmin(fits.bic[:, 1]) == cs.ORIENTATION_MODELS.index("uniform")

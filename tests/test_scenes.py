"""Contrast against closed forms and direct convolution; scans; dead leaves against their theory."""

import numpy as np
import pytest
from scipy import ndimage

from lib.scenes import dead_leaves, local_contrast, scan

SIGMA = 5.7 / 2.3548200450309493  # degrees
DPP = 1 / 2.575


def gain(sigma, omega):
    return np.exp(-0.5 * (sigma * omega) ** 2)


@pytest.mark.parametrize("boundary", ["reflect", "wrap"])
def test_constant_luminance_has_no_contrast(boundary):
    for shape in ((1, 1), (7, 1), (40, 51)):
        contrast = local_contrast(np.full(shape, 0.3, np.float32), DPP, boundary)
        assert contrast.shape == shape
        assert contrast.dtype == np.float64
        np.testing.assert_allclose(contrast, 0, atol=1e-12)


@pytest.mark.parametrize("cycles", [1, 4, 17])
@pytest.mark.parametrize("axis", [0, 1])
def test_contrast_of_a_sinusoid_follows_the_two_gaussians(cycles, axis):
    # A cosine that the boundary continues: whole periods across a panorama, half ones between
    # mirrors. Its frequency in radians per degree meets both Gaussians' transfer functions.
    n = 300
    for boundary in ("reflect", "wrap"):
        turns = 2 * np.pi if (boundary, axis) == ("wrap", 1) else np.pi
        wave = np.cos(turns * cycles * (np.arange(n) + 0.5) / n)
        luminance = 2 + 1.5 * (wave[None, :] if axis else wave[:, None]) * np.ones(
            (20, 1) if axis else (1, 20)
        )
        omega = turns * cycles / (n * DPP)
        blurred = 2 + (luminance - 2) * gain(SIGMA, omega)
        mean = 2 + (luminance - 2) * gain(20, omega)
        np.testing.assert_allclose(
            local_contrast(luminance, DPP, boundary), (blurred - mean) / mean, atol=1e-10
        )


@pytest.mark.parametrize(
    ("boundary", "modes"), [("reflect", "reflect"), ("wrap", ("reflect", "wrap"))]
)
def test_contrast_is_that_of_direct_convolution(boundary, modes):
    luminance = np.random.default_rng(0).random((90, 131))
    for blur, surround, dpp in ((5.7, 20.0, 0.5), (3.0, 4.0, 0.6)):
        sigmas = blur * SIGMA / 5.7 / dpp, surround / dpp
        blurred, mean = (
            ndimage.gaussian_filter(luminance, s, mode=modes, truncate=9) for s in sigmas
        )
        np.testing.assert_allclose(
            local_contrast(luminance, dpp, boundary, blur, surround),
            (blurred - mean) / mean,
            atol=1e-6,
        )


def test_contrast_ignores_the_unit_of_light_and_follows_reflections():
    luminance = np.random.default_rng(1).random((30, 44))
    contrast = local_contrast(luminance, DPP)
    np.testing.assert_allclose(local_contrast(255 * luminance, DPP), contrast, atol=1e-12)
    for axis in (0, 1):
        mirrored = local_contrast(np.flip(luminance, axis), DPP)
        np.testing.assert_allclose(mirrored, np.flip(contrast, axis), atol=1e-12)
    np.testing.assert_allclose(local_contrast(luminance.T, DPP), contrast.T, atol=1e-12)
    turned = local_contrast(np.roll(luminance, 9, axis=1), DPP, "wrap")
    np.testing.assert_allclose(turned, np.roll(local_contrast(luminance, DPP, "wrap"), 9, axis=1))


GOOD = np.random.default_rng(2).random((20, 30))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((np.ones(5), DPP), r"luminance must have shape \(any, any\), got \(5,\)"),
        ((np.ones((0, 5)), DPP), "luminance must not be empty"),
        ((np.array([["a"]]), DPP), "luminance must hold integers or real floats"),
        ((np.array([[1.0, np.nan]]), DPP), "luminance must be finite"),
        ((GOOD - 0.5, DPP), "luminance must be >= 0, got -0"),
        ((np.zeros((8, 8)), DPP), "luminance must not be black over a whole surround"),
        ((GOOD, 0), "degrees_per_pixel must be a finite number > 0"),
        ((GOOD, DPP, "circular"), "boundary must be 'reflect' or 'wrap', got 'circular'"),
        ((GOOD, DPP, "wrap", -1), "blur must be"),
        ((GOOD, DPP, "wrap", 5, np.inf), "surround must be"),
    ],
)
def test_contrast_refuses(arguments, message):
    with pytest.raises(ValueError, match=message):
        local_contrast(*arguments)


def test_scan_returns_rows():
    contrast = np.random.default_rng(3).standard_normal((10, 50))
    for chosen, rows in ((3, [1, 5, 8]), (1, [5]), (10, range(10)), ([7, 0, 7], [7, 0, 7])):
        recordings = scan(contrast, chosen, zscore=False)
        np.testing.assert_array_equal(recordings, contrast[list(rows)])
        for row, recording in zip(rows, scan(contrast, chosen), strict=True):
            wanted = (contrast[row] - contrast[row].mean()) / contrast[row].std()
            np.testing.assert_allclose(recording, wanted, atol=1e-14)
    np.testing.assert_array_equal(scan(contrast, 2, zscore=False)[1], contrast[7])


def test_scan_adds_noise_of_its_own_to_each_sample():
    contrast = np.random.default_rng(4).standard_normal((40, 5000))
    clean = np.array(scan(contrast, 40))
    noisy = np.array(scan(contrast, 40, noise_std=0.2, rng=7))
    noise = noisy - clean
    assert abs(noise.std() - 0.2) < 4 * 0.2 / np.sqrt(2 * noise.size)
    correlations = np.corrcoef(noise)[np.triu_indices(40, 1)]
    assert np.abs(correlations).max() < 5 / np.sqrt(5000)
    np.testing.assert_array_equal(scan(contrast, 40, noise_std=0.2, rng=7), noisy)
    rng = np.random.default_rng(7)
    first, second = (scan(contrast, 40, noise_std=0.2, rng=rng) for _ in range(2))
    np.testing.assert_array_equal(first, noisy)
    assert not np.array_equal(first, second)


def test_scan_leaves_the_contrast_alone():
    contrast = np.random.default_rng(5).standard_normal((4, 9))
    before = contrast.copy()
    for recording in scan(contrast, 4, zscore=False):
        recording += 1
    scan(contrast, [1], noise_std=1, rng=0)
    np.testing.assert_array_equal(contrast, before)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((GOOD, 0), "rows must be an integer >= 1, got 0"),
        ((GOOD, 21), "rows must be at most the height 20, got 21"),
        ((GOOD, [0, 20]), "rows must lie between 0 and 19, got 0..20"),
        ((GOOD, [-1]), "rows must lie between"),
        ((GOOD, []), "rows must be a number or a sequence of integers"),
        ((GOOD, [0.5]), "rows must be a number or a sequence of integers"),
        ((GOOD, 2, True, 0.1), "rng must be given with noise_std 0.1, got None"),
        ((GOOD, 2, True, -0.1, 0), "noise_std must be"),
        (
            (np.ones((3, 4)), [2]),
            "contrast must vary along each row to z-score, got row 2 constant",
        ),
        ((np.ones(4), 1), "contrast must have shape"),
    ],
)
def test_scan_refuses(arguments, message):
    with pytest.raises(ValueError, match=message):
        scan(*arguments)


def same_leaf(distance, low, high, exponent):
    """Probability that one leaf covers two points: γ(d)/(2γ(0) - γ(d)), γ the mean overlap."""
    r = np.linspace(low, high, 20001)
    density = r**-exponent / np.trapezoid(r**-exponent, r)
    half = np.minimum(distance / 2, r)
    overlap = 2 * r**2 * np.arccos(half / r) - 2 * half * np.sqrt(r**2 - half**2)
    joint, alone = np.trapezoid(density * overlap, r), np.trapezoid(density * np.pi * r**2, r)
    return joint / (2 * alone - joint)


@pytest.mark.parametrize(
    ("shape", "exponent"),
    [((250, 250), 3.0), ((250, 250), 1.0), ((200, 250), 4.5), ((3, 9000), 3.0)],
)
def test_dead_leaves_have_the_statistics_of_their_radii(shape, exponent):
    # The strip sees hardly any leaf whose centre lies on it.
    images = [dead_leaves(shape, seed, 3, 24, exponent) for seed in range(24)]
    for distance in (1, 4, 12, 30):
        measured = [[np.mean(a[:, distance:] == a[:, :-distance]) for a in images]]
        if distance < shape[0]:
            measured.append([np.mean(a[distance:] == a[:-distance]) for a in images])
        for shares in measured:
            error = np.std(shares) / np.sqrt(len(shares))
            assert abs(np.mean(shares) - same_leaf(distance, 3, 24, exponent)) < 4 * error
    values = [np.unique(image) for image in images]
    luminance = np.concatenate(values)
    assert luminance.min() >= 0
    assert luminance.max() < 1
    assert abs(luminance.mean() - 0.5) < 5 * np.sqrt(1 / 12 / len(luminance))


def test_dead_leaves_are_seeded_and_of_any_shape():
    image = dead_leaves((40, 900), 5)
    np.testing.assert_array_equal(image, dead_leaves((40, 900), np.random.default_rng(5)))
    assert not np.array_equal(image, dead_leaves((40, 900), 6))
    assert dead_leaves((1, 1), 0).shape == (1, 1)
    assert len(np.unique(dead_leaves((300, 300), 0, min_radius=1, max_radius=2))) > 5_000


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((5, 0), r"shape must be \(height, width\), got 5"),
        (((5, 5, 3), 0), "shape must be"),
        (((5, 0), 0), "width must be an integer >= 1, got 0"),
        (((5.0, 5), 0), "height must be an integer"),
        (((5, 5), 0, 0.1), "min_radius must be"),
        (((5, 5), 0, 5, 5), "max_radius must be a finite number > 5"),
        (((5, 5), 0, 5, 9, "steep"), "exponent must be"),
    ],
)
def test_dead_leaves_refuse(arguments, message):
    with pytest.raises(ValueError, match=message):
        dead_leaves(*arguments)

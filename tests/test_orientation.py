import numpy as np
import pytest
from skimage.filters import sobel_h, sobel_v

from lib.orientation import (
    circular_variance,
    expected_histogram,
    gradients,
    grating,
    orientation_histogram,
    sample_textures,
    texture_power,
)


def test_gradients_are_scikit_images_sobel_filters():
    image = np.random.default_rng(0).standard_normal((21, 34))
    magnitude, theta = gradients(image)
    across, along = sobel_h(image)[1:-1, 1:-1], sobel_v(image)[1:-1, 1:-1]
    np.testing.assert_allclose(2 * magnitude, np.hypot(across, along))
    np.testing.assert_allclose(np.exp(2j * theta), np.exp(2j * np.arctan2(along, across)))
    assert theta.min() >= 0
    assert theta.max() < np.pi


def test_magnitude_is_in_grey_levels_per_pixel():
    y, x = np.mgrid[:9, :8]
    magnitude, theta = gradients(3.0 * y + 4.0 * x)
    np.testing.assert_allclose(magnitude, 5)
    np.testing.assert_allclose(theta, np.arctan2(4, 3))


@pytest.mark.parametrize(
    ("degrees", "step"), [(0, (0, 1)), (45, (-1, 1)), (90, (-1, 0)), (135, (-1, -1))]
)
def test_contours_turn_counter_clockwise_from_horizontal(degrees, step):
    # A step edge that runs along (rows, columns) = step.
    y, x = np.mgrid[-10:11, -10:11]
    image = (y * step[1] - x * step[0] > 0).astype(float)
    magnitude, theta = gradients(image)
    mean = np.angle((magnitude * np.exp(2j * theta)).sum()) / 2 % np.pi
    assert np.rad2deg(mean) == pytest.approx(degrees, abs=1e-6)
    # The module's gratings count alike.
    magnitude, theta = gradients(grating((64, 64), np.deg2rad(degrees)))
    mean = np.angle((magnitude**2 * np.exp(2j * theta)).sum()) / 2 % np.pi
    assert abs((np.rad2deg(mean) - degrees + 90) % 180 - 90) < 0.5


def test_histogram_counts_pixels_or_magnitudes():
    images = np.random.default_rng(1).standard_normal((2, 3, 12, 15))
    magnitude, theta = gradients(images)
    counts = orientation_histogram(images, 7)
    weights = orientation_histogram(images, 7, weighted=True)
    assert counts.shape == weights.shape == (2, 3, 7)
    edges = np.linspace(0, np.pi, 8)
    for i in np.ndindex(2, 3):
        np.testing.assert_array_equal(counts[i], np.histogram(theta[i], edges)[0])
        expected = np.histogram(theta[i], edges, weights=magnitude[i])[0]
        np.testing.assert_allclose(weights[i], expected)
    np.testing.assert_array_equal(orientation_histogram(images[1, 2], 7), counts[1, 2])


def test_a_quarter_turn_moves_the_histogram_by_half():
    image = np.random.default_rng(2).standard_normal((30, 30))
    here = orientation_histogram(image, 18)
    there = orientation_histogram(np.rot90(image), 18)
    np.testing.assert_array_equal(np.roll(here, 9), there)
    assert circular_variance(here) == pytest.approx(circular_variance(there))


def test_contrast_and_its_sign_do_not_matter():
    image = np.random.default_rng(3).standard_normal((30, 30))
    here = orientation_histogram(image)
    np.testing.assert_array_equal(here, orientation_histogram(5 - 1e-3 * image))
    assert here.sum() == 28 * 28


def test_pixels_without_gradient_are_not_counted():
    image = np.zeros((20, 20), dtype=np.uint8)
    assert orientation_histogram(image).sum() == 0
    assert np.isnan(circular_variance(orientation_histogram(image)))
    image[:, 10:] = 200
    # Two columns of 18 pixels see the edge; it is vertical.
    counts = orientation_histogram(image)
    assert counts.sum() == counts[9] == 36


def test_circular_variance_of_known_histograms():
    assert circular_variance(np.eye(18)[4]) == pytest.approx(0)
    assert circular_variance(np.ones(18)) == pytest.approx(1)
    # Two orientations apart by δ: 1 - cos δ; at right angles 1.
    assert circular_variance([1, 0, 0, 1, 0, 0]) == pytest.approx(1)
    assert circular_variance([1, 1, 0, 0, 0, 0]) == pytest.approx(1 - np.cos(np.pi / 6))
    angles = np.random.default_rng(4).uniform(0, np.pi, 50)
    moments = np.cos(2 * angles).mean(), np.sin(2 * angles).mean()
    expected = 1 - np.hypot(*moments)
    assert circular_variance(np.ones(50), angles) == pytest.approx(expected)
    np.testing.assert_allclose(circular_variance([np.eye(9)[0], np.ones(9)]), [0, 1], atol=1e-12)


def test_gratings_have_none_and_noise_has_all():
    angles = np.deg2rad(np.arange(0, 180, 5))
    gratings = np.array([grating((64, 64), angle) for angle in angles])
    assert circular_variance(orientation_histogram(gratings)).max() < 0.05
    noise = np.random.default_rng(5).standard_normal((20, 64, 64))
    assert circular_variance(orientation_histogram(noise)).min() > 0.95


@pytest.mark.parametrize("spread", [5, 15, 30, 60, np.inf])
def test_textures_have_the_circular_variance_of_the_closed_form(spread):
    power = texture_power((256, 256), 0.4, np.deg2rad(spread), frequency=0.08)
    rho = np.exp(-2 * np.deg2rad(spread) ** 2)
    minor, major = np.sqrt(1 - rho), np.sqrt(1 + rho)
    counts = expected_histogram(power, 360)
    assert circular_variance(counts) == pytest.approx(2 * minor / (minor + major), abs=0.01)
    assert counts.sum() == pytest.approx(1)
    # Weighted by magnitude squared it would be 1 - ρ; weighted by magnitude lies between.
    weighted = circular_variance(expected_histogram(power, 360, weighted=True))
    assert weighted <= circular_variance(counts) + 1e-9
    assert weighted >= 1 - rho - 0.01


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("spread", [5, 20, 45])
def test_drawn_textures_have_the_expected_histogram(spread, weighted):
    power = texture_power((192, 256), 1.9, np.deg2rad(spread))
    draws = sample_textures(power, 40, 6)
    assert draws.shape == (40, 192, 256)
    assert draws.var() == pytest.approx(1, rel=0.05)
    shares = orientation_histogram(draws, 18, weighted)
    shares /= shares.sum(axis=1, keepdims=True)
    error = shares.std(axis=0, ddof=1) / np.sqrt(40)
    # The frame has other gradients than the torus that is drawn, but the same distribution.
    z = (shares.mean(axis=0) - expected_histogram(power, 18, weighted)) / error
    assert np.abs(z).max() < 5


def test_expected_histogram_of_a_single_wave_is_a_single_bin():
    power = np.zeros((32, 32))
    power[3, 3] = power[-3, -3] = 1.0
    assert expected_histogram(power, 18)[4] > 0.99


def test_textures_are_seeded_and_turn_with_theta():
    power = texture_power((64, 64), 0.0, 0.2)
    np.testing.assert_array_equal(sample_textures(power, 2, 7), sample_textures(power, 2, 7))
    np.testing.assert_allclose(texture_power((64, 64), np.pi / 2, 0.2), power.T, atol=1e-9)
    np.testing.assert_allclose(texture_power((64, 64), np.pi, 0.2), power, atol=1e-9)
    assert power.mean() == pytest.approx(1)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: gradients(np.ones((2, 5))), "images must have shape"),
        (lambda: gradients(np.ones(9)), "images must have shape"),
        (lambda: gradients(np.full((4, 4), np.inf)), "images must be finite"),
        (lambda: gradients(np.ones((0, 4, 4))), "images must have shape"),
        (lambda: orientation_histogram(np.ones((4, 4)), 1), "n_bins must be"),
        (lambda: circular_variance([1, -1]), "histogram must hold weights >= 0"),
        (lambda: circular_variance([]), "histogram must hold weights >= 0"),
        (lambda: circular_variance([1, 2], [0.1]), r"theta must have shape \(2\)"),
        (lambda: grating((8, 8), 0.1, 0.5), "frequency must be below 0.5"),
        (lambda: grating(8, 0.1), "shape must be a height and a width"),
        (lambda: texture_power((8, 8), 0.1, 0.0), "spread must be"),
        (lambda: texture_power((8, 8), 0.1, np.nan), "spread must be"),
        (lambda: sample_textures(np.zeros((4, 4)), 1, 0), "power must be >= 0 and not all zero"),
        (lambda: sample_textures(-np.ones((4, 4)), 1, 0), "power must be >= 0 and not all zero"),
        (lambda: sample_textures(np.ones((4, 4)), 0, 0), "n must be"),
    ],
)
def test_bad_input_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize("n_bins", [18, 26, 52, 54, 98])
def test_contours_on_the_edge_of_a_bin_are_in_the_bin_that_begins_there(n_bins):
    ramp = np.tile(np.arange(8.0), (8, 1))
    for image, share in ((ramp, 1 / 2), (ramp + ramp.T, 1 / 4), (ramp - ramp.T, 3 / 4)):
        (found,) = np.flatnonzero(orientation_histogram(image, n_bins))
        if n_bins * share % 1 == 0:
            assert found in (n_bins * share, n_bins * (1 - share))


@pytest.mark.parametrize("wave", [(0, 0), (4, 4), (4, 0)])
def test_expected_histogram_needs_gradients(wave):
    power = np.zeros((8, 8))
    power[wave] = 1.0
    with pytest.raises(ValueError, match=r"^power must have gradients"):
        expected_histogram(power)

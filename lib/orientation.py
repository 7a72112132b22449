"""Orientations of gradients in images, textures of known orientation, and curves for histograms.

Orientation θ is that of the gradient, counted from the direction of the rows (down) towards that of
the columns (right), modulo π, as in Eq. 7 of Ladret et al. with scikit-image's Sobel filters. The
contour as it is displayed then runs at θ, counter-clockwise from horizontal: θ = 0 is a horizontal
contour. `lib.loggabor` counts in the same way. Everything here is float64.
"""

import numpy as np

from lib._checks import check_array, check_count, check_flag, check_number, check_rng
from lib._fits import (
    CurveFit,
    SpikeAndSlab,
    bic,
    fit_curve,
    fit_double_von_mises,
    fit_exponential,
    fit_spike_and_slab,
)

__all__ = [
    "CurveFit",
    "SpikeAndSlab",
    "bic",
    "circular_variance",
    "expected_histogram",
    "fit_curve",
    "fit_double_von_mises",
    "fit_exponential",
    "fit_spike_and_slab",
    "gradients",
    "grating",
    "orientation_histogram",
    "sample_textures",
    "texture_power",
]


def gradients(images):
    """Sobel gradients at the pixels that have all their neighbours (Eq. 7).

    Parameters
    ----------
    images : array_like (..., height, width)
        At least 3 × 3 pixels.

    Returns
    -------
    magnitude, theta : ndarray (..., height - 2, width - 2)
        In grey levels per pixel, and in radians in [0, π), 0 where the magnitude is 0.

    Raises
    ------
    ValueError
        Images are smaller, or not finite.
    """
    images = check_array("images", images)
    if images.ndim < 2 or min(images.shape[-2:]) < 3 or not images.size:
        raise ValueError(
            "images must have shape (..., height, width), at least 3 × 3 pixels, "
            f"got {images.shape}"
        )

    def smooth(a, axis):
        n = a.shape[axis]
        before, here, after = (np.take(a, range(i, n - 2 + i), axis) for i in range(3))
        return (before + 2 * here + after) / 4

    down = smooth((images[..., 2:, :] - images[..., :-2, :]) / 2, -1)
    right = smooth((images[..., 2:] - images[..., :-2]) / 2, -2)
    theta = np.arctan2(right, down) % np.pi
    # Rounding may give π itself.
    return np.hypot(down, right), np.where(theta >= np.pi, 0.0, theta)


def orientation_histogram(images, n_bins=18, weighted=False):
    """Histogram of gradient orientations over [0, π) (Eq. 8 of Ladret et al.).

    Parameters
    ----------
    images : array_like (..., height, width)
        At least 3 × 3 pixels; those on the border lack neighbours and do not count.
    n_bins : int
        Bin i holds i π/n_bins <= θ < (i + 1) π/n_bins.
    weighted : bool
        Let each pixel count by its gradient's magnitude, as scikit-image's ``hog`` does in the
        released code; Eq. 8 counts pixels.

    Returns
    -------
    ndarray (..., n_bins)
        Sums, not shares. A pixel without any gradient has no orientation and is not counted:
        literally, Eq. 8 would put it into bin 0.

    Raises
    ------
    ValueError
        An argument is not allowed.
    """
    n_bins = check_count("n_bins", n_bins, 2)
    weighted = check_flag("weighted", weighted)
    magnitude, theta = gradients(images)
    shape = magnitude.shape[:-2]
    magnitude = magnitude.reshape(-1, magnitude.shape[-2] * magnitude.shape[-1])
    bins = np.minimum((theta / np.pi * n_bins).astype(np.intp), n_bins - 1)
    bins = bins.reshape(magnitude.shape) + n_bins * np.arange(len(magnitude))[:, None]
    weights = magnitude if weighted else magnitude > 0
    sums = np.bincount(bins.ravel(), weights.ravel(), n_bins * len(magnitude))
    return sums.reshape(*shape, n_bins)


def circular_variance(histogram, theta=None):
    """Circular variance of orientations, 1 - √(X̄² + Ȳ²): 0 for a single one, 1 for all alike.

    X̄ and Ȳ are the means of cos 2θ and sin 2θ: θ and θ + π are one orientation.

    Parameters
    ----------
    histogram : array_like (..., n)
        Bins over [0, π), or any weights >= 0.
    theta : array_like (n,), optional
        Orientations that belong to them, in radians; the centres of the bins if not given.

    Returns
    -------
    float or ndarray (...)
        NaN where nothing was counted.

    Raises
    ------
    ValueError
        A weight is negative, or `theta` does not match.
    """
    histogram = check_array("histogram", histogram)
    if histogram.ndim < 1 or not histogram.size or histogram.min() < 0:
        raise ValueError(
            f"histogram must hold weights >= 0 of shape (..., n), got shape {histogram.shape}"
            + (f" and a least weight of {histogram.min()}" if histogram.size else "")
        )
    n = histogram.shape[-1]
    theta = (np.arange(n) + 0.5) * np.pi / n if theta is None else check_array("theta", theta, (n,))
    total = histogram.sum(axis=-1)
    counted = np.where(total > 0, total, 1.0)
    resultant = np.abs(histogram @ np.exp(2j * theta)) / counted
    variance = np.where(total > 0, np.maximum(1 - resultant, 0.0), np.nan)
    return float(variance) if variance.ndim == 0 else variance


def grating(shape, theta, frequency=0.1, phase=0.0):
    """Sinusoidal grating: the texture of a single orientation.

    Parameters
    ----------
    shape : tuple of int
        Height and width.
    theta : float
        Orientation in radians.
    frequency : float
        In cycles per pixel, above 0 and below ½.
    phase : float
        In radians, at the top left pixel.

    Returns
    -------
    ndarray (height, width)
        From -1 to 1.
    """
    height, width = _check_shape(shape)
    theta, phase = check_number("theta", theta), check_number("phase", phase)
    frequency = _check_frequency(frequency)
    y, x = np.mgrid[:height, :width]
    along = y * np.cos(theta) + x * np.sin(theta)
    return np.cos(2 * np.pi * frequency * along + phase)


def texture_power(shape, theta, spread, *, frequency=0.1, octaves=0.5):
    """Power spectrum of a random texture whose orientations spread by a known amount.

    Parameters
    ----------
    shape : tuple of int
        Height and width.
    theta : float
        Mean orientation in radians.
    spread : float
        Standard deviation of a wrapped normal distribution of orientations, in radians, above 0;
        infinite for a texture of all orientations.
    frequency : float
        Central frequency in cycles per pixel, above 0 and below ½.
    octaves : float
        Standard deviation of the frequency's logarithm, in octaves, above 0.

    Returns
    -------
    ndarray (height, width)
        Of mean 1, in the order of ``numpy.fft.fft2``.
    """
    height, width = _check_shape(shape)
    theta, frequency = check_number("theta", theta), _check_frequency(frequency)
    if not isinstance(spread, float) or spread != np.inf:
        spread = check_number("spread", spread, 0.0, open_minimum=True)
    octaves = check_number("octaves", octaves, 0.0, open_minimum=True)
    rows, columns = np.meshgrid(np.fft.fftfreq(height), np.fft.fftfreq(width), indexing="ij")
    radius = np.hypot(rows, columns)
    radius[0, 0] = 1.0
    power = np.exp(-0.5 * (np.log2(radius / frequency) / octaves) ** 2) / radius**2
    if spread < np.inf:
        away = (np.arctan2(columns, rows) - theta + np.pi / 2) % np.pi - np.pi / 2
        turns = away[..., None] + np.pi * np.arange(-3, 4)
        power *= np.exp(-0.5 * (turns / spread) ** 2).sum(axis=-1)
    power[0, 0] = 0.0
    if not power.any():
        raise ValueError(f"spread must leave a sample of the spectrum, got {spread} for {shape}")
    return power / power.mean()


def sample_textures(power, n, rng):
    """Gaussian textures of a power spectrum: filtered white noise with a circular boundary.

    Parameters
    ----------
    power : array_like (height, width)
        As `texture_power` gives it.
    n : int
    rng : numpy.random.Generator or int

    Returns
    -------
    ndarray (n, height, width)
        Of mean 0; of variance 1 in the mean over draws if the power's mean is 1.
    """
    power = _check_power(power)
    n, rng = check_count("n", n), check_rng(rng)
    noise = np.fft.fft2(rng.standard_normal((n, *power.shape)))
    return np.fft.ifft2(noise * np.sqrt(power)).real


def expected_histogram(power, n_bins=18, weighted=False):
    """Expected orientation histogram of a Gaussian texture, from its power spectrum.

    The two Sobel gradients of a pixel are jointly normal, and their covariance Λ follows from the
    spectrum: θ has the density (uᵀ Λ⁻¹ u)⁻¹ up to a factor, with u the unit vector along θ, and
    the exponent -3/2 if gradients are weighted by their magnitude. The former is a wrapped Cauchy
    density of 2θ: its circular variance is 2√λ₂/(√λ₁ + √λ₂), with λ₁ >= λ₂ the eigenvalues of Λ.

    Parameters
    ----------
    power : array_like (height, width)
        In the order of ``numpy.fft.fft2``.
    n_bins, weighted
        As for `orientation_histogram`.

    Returns
    -------
    ndarray (n_bins,)
        Shares of the bins.
    """
    power, n_bins = _check_power(power), check_count("n_bins", n_bins, 2)
    weighted = check_flag("weighted", weighted)
    down, right = np.meshgrid(*(2 * np.pi * np.fft.fftfreq(n) for n in power.shape), indexing="ij")
    slopes = np.array(
        [np.sin(down) * (1 + np.cos(right)) / 2, np.sin(right) * (1 + np.cos(down)) / 2]
    )
    values, vectors = np.linalg.eigh(np.einsum("iyx,jyx,yx->ij", slopes, slopes, power))
    # Sines of whole numbers of π are not quite zero.
    if values[1] <= 1e-30 * power.sum():
        raise ValueError("power must have gradients, got none that the histogram's filters see")
    # A single wave has no width at all; the integral below resolves this much.
    values = np.maximum(values, 1e-7 * values[1])
    theta = (np.arange(4096 * n_bins) + 0.5) * np.pi / (4096 * n_bins)
    along = vectors.T @ np.array([np.cos(theta), np.sin(theta)])
    density = (along**2 / values[:, None]).sum(axis=0) ** (-1.5 if weighted else -1.0)
    return density.reshape(n_bins, -1).sum(axis=1) / density.sum()


def _check_shape(shape):
    if not isinstance(shape, tuple | list) or len(shape) != 2:
        raise ValueError(f"shape must be a height and a width, got {shape!r}")
    return tuple(check_count("shape", n, 3) for n in shape)


def _check_frequency(frequency):
    frequency = check_number("frequency", frequency, 0.0, open_minimum=True)
    if frequency >= 0.5:
        raise ValueError(f"frequency must be below 0.5 cycles per pixel, got {frequency}")
    return frequency


def _check_power(power):
    power = check_array("power", power, (None, None))
    if not power.any() or power.min() < 0:
        raise ValueError("power must be >= 0 and not all zero")
    return power

"""Photographs as the released code of Ladret et al. learns from them: whitened, in a soft disc."""

import numpy as np

from lib import codes, datasets
from lib._checks import check_array, check_count, check_rng

# Of SLIP, the library that the released code takes its filter from, under LogGabor's settings.
_F0, _ALPHA, _STEEPNESS, _MASK_EXPONENT = 0.4, 1.4, 4, 3


def whiten(images):
    """Filter images with K(f) ∝ f^1.4 · exp(-(f / 0.4)⁴), f in cycles per pixel.

    The first factor flattens the spectrum of photographs, the second cuts off what is mostly
    noise (Olshausen & Field 1997). K has a mean of 1 over all frequencies; borders are periodic.

    Parameters
    ----------
    images : ndarray (n, height, width)

    Returns
    -------
    ndarray (n, height, width)
    """
    images = _check_images(images)
    height, width = images.shape[1:]
    f = _frequency(height, width)
    gain = f**_ALPHA * np.exp(-((f / _F0) ** _STEEPNESS))
    half = (gain / gain.mean())[:, : width // 2 + 1]
    return np.fft.irfft2(np.fft.rfft2(images) * half, s=(height, width))


def _check_images(images):
    images = check_array("images", images, (None, None, None))
    if 0 in images.shape or min(images.shape[1:]) < 2:
        raise ValueError(f"images must be at least one, of 2 × 2 pixels, got {images.shape}")
    return images


def _frequency(height, width):
    """Cycles per pixel on the grid of a Fourier transform."""
    return np.hypot(np.fft.fftfreq(height)[:, None], np.fft.fftfreq(width))


def disc(size):
    """Soft disc: the cube root of a raised cosine that falls from the centre to the borders.

    Parameters
    ----------
    size : int
        Side in pixels, 2 at least.

    Returns
    -------
    ndarray (size, size)
        From 0 to 1.
    """
    side = np.linspace(-1, 1, check_count("size", size, 2))
    r = np.hypot(side[:, None], side)
    return ((np.cos(np.pi * r) + 1) / 2 * (r < 1)) ** (1 / _MASK_EXPONENT)


def spectrum(images):
    """Mean power of images by frequency, over rings one step of 1 / min(height, width) wide.

    Parameters
    ----------
    images : ndarray (n, height, width)

    Returns
    -------
    frequency, power : ndarray (m,)
        In cycles per pixel, from one step to 0.5.
    """
    images = _check_images(images)
    f = _frequency(*images.shape[1:])
    power = (np.abs(np.fft.fft2(images)) ** 2).mean(axis=0)
    n = min(images.shape[1:])
    rings = np.rint(f * n).astype(int)
    kept = np.arange(1, n // 2 + 1)
    sums, counts = (np.bincount(rings.ravel(), w) for w in (power.ravel(), None))
    return kept / n, sums[kept] / counts[kept]


def prepare(source, size, n=None):
    """Photographs whitened, then contrast-normalised, then masked with the disc.

    Parameters are those of `codes.prepare`, of the protocol "code".

    Returns
    -------
    ndarray (n, size, size) float32
    """
    size = check_count("size", size, 8)
    photographs = datasets.photographs(source, size, n, codes.PROTOCOLS["code"].fit)
    return codes.contrast_normalise(whiten(photographs)) * disc(size).astype(np.float32)


def share_explained(plain, whitened, other, rng, n_boot=2000):
    """Share of what one dictionary is ahead of another that goes once it has seen whitened images.

    1 - (whitened - other) / (plain - other), of means over photographs.

    Parameters
    ----------
    plain, whitened, other : ndarray (n,)
        PSNR of the same n >= 2 photographs: by a dictionary learned from plain photographs, by one
        learned from whitened ones, and by the one to compare with.
    rng : numpy.random.Generator or int
    n_boot : int
        Resamples of the photographs.

    Returns
    -------
    tuple of float
        Share, and its 95 % interval: low, high.

    Raises
    ------
    ValueError
        Fewer than two photographs, lengths that differ, values that are not finite, or no
        difference to explain.
    """
    plain = check_array("plain", plain, (None,))
    whitened = check_array("whitened", whitened, (len(plain),))
    other = check_array("other", other, (len(plain),))
    n_boot, rng = check_count("n_boot", n_boot), check_rng(rng)
    if len(plain) < 2:
        raise ValueError(f"plain must hold at least 2 values, got {len(plain)}")
    rows = rng.integers(len(plain), size=(n_boot, len(plain)))
    rows = np.concatenate([np.arange(len(plain))[None], rows])
    ahead = (plain - other)[rows].mean(axis=1)
    if (ahead == 0).any():
        raise ValueError("plain must differ from other in mean, in each resample, got 0")
    shares = (plain - whitened)[rows].mean(axis=1) / ahead
    low, high = np.quantile(shares[1:], [0.025, 0.975])
    return float(shares[0]), float(low), float(high)

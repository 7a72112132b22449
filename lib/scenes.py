"""From luminance to what a fly's photoreceptor sees: contrast, scans, dead leaves (float64)."""

import numpy as np
from scipy import fft

from lib._checks import check_array, check_count, check_flag, check_number, check_rng

# Smallest share of the plane that dead leaves may cover in the mean: it takes the inverse of that
# times some ten leaves to cover an image.
_LEAST_COVER = 1e-6
# Standard deviations per full width at half maximum of a Gaussian.
_PER_FWHM = 1 / np.sqrt(8 * np.log(2))


def local_contrast(luminance, degrees_per_pixel, boundary="reflect", blur=5.7, surround=20.0):
    """Contrast of each point with its surround, as a fly's eye sees it (Chen et al. 2019).

    c = (b - s) / s with b = G(blur) ∗ luminance and s = G(surround) ∗ luminance.

    Parameters
    ----------
    luminance : ndarray (height, width)
        Non-negative, linear in light, in any unit: the contrast does not depend on it.
    degrees_per_pixel : float
        Visual angle of a pixel.
    boundary : {"reflect", "wrap"}, default "reflect"
        What lies beyond the image: its mirror image (photographs), or, to the left and right,
        the image again (panoramas); above and below it is always mirrored.
    blur : float, default 5.7
        Full width at half maximum of the photoreceptor's Gaussian, in degrees.
    surround : float, default 20
        Standard deviation of the Gaussian of the local mean, in degrees.

    Returns
    -------
    ndarray (height, width)
        Contrast, at least -1; 0 everywhere if the luminance is constant.

    Raises
    ------
    ValueError
        An argument is out of range, luminance is negative somewhere or black over a whole
        surround.

    Notes
    -----
    Both Gaussians are applied in the Fourier domain as exp(-σ²ω²/2), with a cosine transform
    where the boundary reflects: exact for any σ, at the same cost for a large one. Below about
    0.8 pixels of σ the image is coarser than the eye, and the blurred image rings.
    """
    luminance = check_array("luminance", luminance, (None, None))
    scale = check_number("degrees_per_pixel", degrees_per_pixel, 0.0, open_minimum=True)
    blur = check_number("blur", blur, 0.0, open_minimum=True)
    surround = check_number("surround", surround, 0.0, open_minimum=True)
    if boundary not in ("reflect", "wrap"):
        raise ValueError(f"boundary must be 'reflect' or 'wrap', got {boundary!r}")
    if luminance.size == 0:
        raise ValueError(f"luminance must not be empty, got shape {luminance.shape}")
    if luminance.min() < 0:
        raise ValueError(f"luminance must be >= 0, got {luminance.min():.6g}")
    height, width = luminance.shape
    vertical = np.pi * np.arange(height)[:, None] / height
    spectrum = fft.dct(luminance, axis=0)
    if boundary == "reflect":
        horizontal = np.pi * np.arange(width) / width
        spectrum = fft.dct(spectrum, axis=1)
    else:
        horizontal = 2 * np.pi * fft.rfftfreq(width)
        spectrum = fft.rfft(spectrum, axis=1)

    def smooth(sigma):
        gains = np.exp(-0.5 * (sigma * vertical) ** 2) * np.exp(-0.5 * (sigma * horizontal) ** 2)
        if boundary == "reflect":
            return fft.idctn(spectrum * gains, type=2)
        return fft.idct(fft.irfft(spectrum * gains, width, axis=1), axis=0)

    mean = smooth(surround / scale)
    if mean.min() <= 1e-12 * luminance.max():
        row, column = np.unravel_index(mean.argmin(), mean.shape)
        raise ValueError(
            "luminance must not be black over a whole surround, "
            f"got a local mean of {mean.min():.3g} at row {row}, column {column}"
        )
    return smooth(blur * _PER_FWHM / scale) / mean - 1


def scan(contrast, rows, zscore=True, noise_std=0.0, rng=None):
    """Recordings of one photoreceptor while the eye turns at constant speed: one per row.

    Parameters
    ----------
    contrast : ndarray (height, width)
    rows : int or sequence of int
        A number of rows, those in the middle of as many equal bands, or the rows themselves, from
        0 to height - 1.
    zscore : bool, default True
        Give each row mean 0 and standard deviation 1 (before the noise).
    noise_std : float, default 0
        Standard deviation of the white noise added to each sample.
    rng : numpy.random.Generator or int, optional
        Source of the noise; needed if there is any.

    Returns
    -------
    list of ndarray (width,)
        Sample t of a recording is column t of its row.

    Raises
    ------
    ValueError
        An argument is out of range, a row to be z-scored is constant, or noise comes without rng.
    """
    contrast = check_array("contrast", contrast, (None, None))
    if contrast.size == 0:
        raise ValueError(f"contrast must not be empty, got shape {contrast.shape}")
    noise_std = check_number("noise_std", noise_std, 0.0)
    zscore = check_flag("zscore", zscore)
    if noise_std and rng is None:
        raise ValueError(f"rng must be given with noise_std {noise_std}, got None")
    rows = _rows(rows, len(contrast))
    traces = contrast[rows]
    if zscore:
        traces = traces - traces.mean(axis=1, keepdims=True)
        spread = traces.std(axis=1, keepdims=True)
        flat = spread[:, 0] <= 1e-12 * np.abs(contrast[rows]).max(axis=1, initial=0)
        if flat.any():
            raise ValueError(
                f"contrast must vary along each row to z-score, got row {rows[flat][0]} constant"
            )
        traces /= spread
    if noise_std:
        traces = traces + noise_std * check_rng(rng).standard_normal(traces.shape)
    return list(traces)


def _rows(rows, height):
    if np.ndim(rows) == 0:
        count = check_count("rows", rows)
        if count > height:
            raise ValueError(f"rows must be at most the height {height}, got {count}")
        return ((np.arange(count) + 0.5) * height / count).astype(int)
    rows = np.asarray(rows)
    if rows.ndim != 1 or rows.size == 0 or rows.dtype.kind not in "iu":
        raise ValueError(f"rows must be a number or a sequence of integers, got {rows!r}")
    if rows.min() < 0 or rows.max() >= height:
        raise ValueError(
            f"rows must lie between 0 and {height - 1}, got {rows.min()}..{rows.max()}"
        )
    return rows


def dead_leaves(shape, rng, min_radius=5.0, max_radius=None, exponent=3.0):
    """Dead leaves: discs of uniform luminance and power-law size that occlude one another.

    Disc centres are uniform over the plane, radii have the density p(r) ∝ r^(-exponent) between
    the two bounds, luminances are uniform on [0, 1); leaves fall until they cover the image
    (Matheron 1968; Lee, Mumford & Huang 2001). Exponent 3 makes the image look alike at all
    scales between the bounds.

    Parameters
    ----------
    shape : (int, int)
        Height and width in pixels.
    rng : numpy.random.Generator or int
    min_radius : float, default 5
        Smallest radius, in pixels.
    max_radius : float, optional
        Largest radius, in pixels; half the longer side (but at least twice `min_radius`) if not
        given.
    exponent : float, default 3

    Returns
    -------
    ndarray (height, width)
        Luminance of the frontmost leaf over each pixel's centre.

    Raises
    ------
    ValueError
        An argument is out of range.

    Notes
    -----
    Leaves are laid from front to back, and only where nothing lies yet, until no pixel is bare: an
    exact sample of the model. Discs whose bounding square holds no bare pixel are dropped unseen,
    by a table of sums of the bare pixels.
    """
    if np.shape(shape) != (2,):
        raise ValueError(f"shape must be (height, width), got {shape!r}")
    height, width = check_count("height", shape[0]), check_count("width", shape[1])
    low = check_number("min_radius", min_radius, 0.5)
    high = max(height, width, 4 * low) / 2 if max_radius is None else max_radius
    high = check_number("max_radius", high, low, open_minimum=True, maximum=1e9)
    exponent = check_number("exponent", exponent)
    rng = check_rng(rng)
    covered = _mean_cover(height, width, low, high, exponent)
    if not _LEAST_COVER <= covered <= 1:
        raise ValueError(
            "min_radius, max_radius and exponent must let leaves cover the image in reasonable "
            f"time, got leaves that cover {covered:.3g} of it in the mean"
        )
    image = np.zeros((height, width))
    bare = np.ones((height, width), dtype=bool)
    batch = min(max(height * width // 32, 1 << 12), 1 << 17)
    while bare.any():
        radius = _power_law(rng.random(batch), low, high, exponent)
        y = rng.uniform(-high, height - 1 + high, batch)
        x = rng.uniform(-high, width - 1 + high, batch)
        luminance = rng.random(batch)
        top, bottom = np.ceil(y - radius).astype(int), np.floor(y + radius).astype(int) + 1
        left, right = np.ceil(x - radius).astype(int), np.floor(x + radius).astype(int) + 1
        top, bottom = top.clip(0, height), bottom.clip(0, height)
        left, right = left.clip(0, width), right.clip(0, width)
        below = np.zeros((height + 1, width + 1), dtype=np.int32)
        bare.cumsum(axis=0, dtype=np.int32).cumsum(axis=1, out=below[1:, 1:])
        hit = below[bottom, right] - below[top, right] - below[bottom, left] + below[top, left] > 0
        for i in np.flatnonzero(hit & (bottom > top) & (right > left)):
            square = slice(top[i], bottom[i]), slice(left[i], right[i])
            dy, dx = np.arange(top[i], bottom[i]) - y[i], np.arange(left[i], right[i]) - x[i]
            leaf = bare[square] & ((dy * dy)[:, None] + dx * dx <= radius[i] ** 2)
            image[square][leaf] = luminance[i]
            bare[square] ^= leaf
    return image


def _mean_cover(height, width, low, high, exponent):
    """Share of the plane in which leaves fall that one of them covers, in the mean."""
    quantiles = (np.arange(1000) + 0.5) / 1000
    try:
        with np.errstate(all="ignore"):
            squares = np.mean(_power_law(quantiles, low, high, exponent) ** 2)
            return np.pi * squares / ((height + 2 * high) * (width + 2 * high))
    # Of Python's own powers, with an extreme exponent.
    except (OverflowError, ZeroDivisionError):
        return np.nan


def _power_law(uniform, low, high, exponent):
    """Quantiles of p(r) ∝ r^(-exponent) on [low, high]."""
    if exponent == 1:
        return low * (high / low) ** uniform
    power = 1 - exponent
    return (low**power + uniform * (high**power - low**power)) ** (1 / power)

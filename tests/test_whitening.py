"""Whitening against closed forms; the share of a difference that it explains."""

import numpy as np
import pytest

from lib import codes, datasets, whitening


def gain(f):
    return f**1.4 * np.exp(-((f / 0.4) ** 4))


@pytest.mark.parametrize("shape", [(32, 48), (31, 33)])
def test_a_grating_is_multiplied_with_the_gain_at_its_frequency(shape):
    rows, columns = np.indices(shape)
    waves = {"fine": (7, -9), "coarse": (0, 2), "flat": (0, 0)}
    # Mean gain over the grid, frequency by frequency.
    grid = [
        gain(np.hypot(*(min(i, n - i) / n for i, n in zip(index, shape, strict=True))))
        for index in np.ndindex(shape)
    ]
    for cycles in waves.values():
        f = np.hypot(cycles[0] / shape[0], cycles[1] / shape[1])
        image = np.cos(
            0.4 + 2 * np.pi * (cycles[0] * rows / shape[0] + cycles[1] * columns / shape[1])
        )
        out = whitening.whiten(image[None])[0]
        np.testing.assert_allclose(out, image * gain(f) / np.mean(grid), atol=1e-12)


def test_photographs_become_flatter():
    photographs = datasets.photographs("bundled", 128, 6, "resize")
    for images, slope in (
        (photographs, (-3.5, -1.8)),
        (whitening.whiten(photographs), (-0.8, 0.9)),
    ):
        f, power = whitening.spectrum(images)
        middle = (f > 0.03) & (f < 0.2)
        assert slope[0] < np.polyfit(np.log(f[middle]), np.log(power[middle]), 1)[0] < slope[1]


def test_spectrum_of_a_grating_and_of_noise():
    columns = np.arange(64)
    f, power = whitening.spectrum(np.tile(np.cos(2 * np.pi * 10 * columns / 64), (1, 64, 1)))
    assert f[np.argmax(power)] == 10 / 64
    assert (f[0], f[-1]) == (1 / 64, 0.5)
    assert np.delete(power, np.argmax(power)).max() < 1e-12 * power.max()
    noise = np.random.default_rng(0).standard_normal((400, 16, 24))
    np.testing.assert_allclose(whitening.spectrum(noise)[1], 16 * 24, rtol=0.1)


def test_disc():
    soft = whitening.disc(101)
    assert soft[50, 50] == 1
    assert soft[50, 0] == soft[0, 0] == 0
    assert soft[50, 75] == pytest.approx(0.5 ** (1 / 3))
    np.testing.assert_allclose(soft, soft.T[::-1], atol=1e-9)


def test_prepared_photographs_are_whitened_then_normalised_then_masked():
    prepared = whitening.prepare("bundled", 40, 2)
    photographs = datasets.photographs("bundled", 40, 2, "resize")
    by_hand = codes.contrast_normalise(whitening.whiten(photographs)) * whitening.disc(40)
    np.testing.assert_allclose(prepared, by_hand, atol=1e-6)
    assert prepared.dtype == np.float32


def test_share_explained():
    other = np.array([20.0, 22, 25, 21])
    plain = other + np.array([4, 5, 3, 4])
    share, low, high = whitening.share_explained(plain, plain - 1, other, 0)
    assert share == pytest.approx(0.25)
    # A resample holds differences from 3 to 5.
    assert 1 / 5 <= low < share < high <= 1 / 3
    assert whitening.share_explained(plain, other, other, 0) == pytest.approx((1, 1, 1))
    assert whitening.share_explained(plain, plain, other, 0) == (0, 0, 0)
    with pytest.raises(ValueError, match="plain must differ from other"):
        whitening.share_explained(plain, other, plain, 0)
    with pytest.raises(ValueError, match="plain must hold at least 2"):
        whitening.share_explained([1.0], [1.0], [2.0], 0)


def test_refusals():
    with pytest.raises(ValueError, match="images must be at least one"):
        whitening.whiten(np.ones((1, 1, 5)))
    with pytest.raises(ValueError, match="size must be"):
        whitening.disc(1)

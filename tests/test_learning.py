"""Cardinal bias and densities of atoms."""

import numpy as np
import pytest

from lib.learning import cardinal_share, density


def test_share_of_uniform_and_cardinal_orientations():
    uniform = np.linspace(0, np.pi, 36000, endpoint=False)
    assert cardinal_share(uniform) == pytest.approx(1 / 3, abs=1e-3)
    assert cardinal_share(uniform, within=np.pi / 4) == 1
    degrees = np.radians([0, 14, 16, 90, 179, 76, 45, -3, 284])
    assert cardinal_share(degrees) == pytest.approx(7 / 9)


def test_weights_count():
    theta = np.radians([0, 45])
    np.testing.assert_allclose(cardinal_share(theta, [[1, 3], [2, 0]]), [0.25, 1])
    for weights in ([1, -1], [0, 0], [1, 1, 1]):
        with pytest.raises(ValueError, match="weights"):
            cardinal_share(theta, weights)


def test_density_integrates_to_one_and_wraps():
    rng = np.random.default_rng(0)
    theta, b = rng.uniform(0, np.pi, 30), rng.uniform(0.2, 0.5, 30)
    x, y = np.linspace(0, np.pi, 200, endpoint=False), np.linspace(-1, 2, 600)
    values = density(theta, b, x, y, (0.1, 0.05))
    assert values.sum() * (x[1] - x[0]) * (y[1] - y[0]) == pytest.approx(1, rel=1e-6)
    turned = density(theta + np.pi, b, x, y, (0.1, 0.05))
    np.testing.assert_allclose(turned, values, atol=1e-9)
    one = density(np.array([0.02]), np.array([0.3]), x, y, (0.1, 0.05))
    assert one[:, -1].max() > 0.5 * one[:, 0].max()


def test_orientations_on_the_limit_count_on_both_sides():
    """Rounding put 15° inside and 165° outside on a grid of 12."""
    assert cardinal_share(np.arange(12) * np.pi / 12) == 0.5
    assert cardinal_share(np.arange(72) * np.pi / 72) == pytest.approx(26 / 72)
    assert cardinal_share(np.linspace(0, np.pi, 12, endpoint=False)) == 0.5

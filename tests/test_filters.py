import numpy as np
import pytest

from lib.cca import PastFutureCCA
from lib.filters import cosine, lobes, running_filters


def test_cosine_of_known_angles_keeps_the_sign():
    a = np.array([[1.0, 0.0], [1.0, 0.0], [3.0, 4.0]])
    b = np.array([[2.0, 0.0], [-1.0, 1.0], [4.0, -3.0]])
    np.testing.assert_allclose(cosine(a, b), [1, -np.sqrt(0.5), 0], atol=1e-15)


def test_cosine_refuses_a_zero_filter():
    with pytest.raises(ValueError, match="must not be zero"):
        cosine(np.zeros(3), np.ones(3))


@pytest.mark.parametrize(
    ("weights", "threshold", "expected"),
    [
        ([1, 2, 1], 0.05, 1),
        ([1, -1, 1], 0.05, 3),
        ([1, 0.04, -0.04, 1], 0.05, 1),
        ([1, 0.06, -0.06, 1], 0.05, 3),
        ([1, 0, -1], 0.05, 2),
        ([-1, -0.5], 0.05, 1),
    ],
)
def test_lobes_counts_sign_changes_of_large_weights(weights, threshold, expected):
    assert lobes(np.array(weights, float), threshold) == expected


def test_lobes_of_a_sampled_cosine():
    t = np.linspace(0, 1, 1000)
    cosines = np.cos(2 * np.pi * np.array([[0.2], [1.0], [3.0]]) * t)
    np.testing.assert_array_equal(lobes(cosines), [1, 3, 7])


def test_running_filters_are_those_of_the_windows_alone():
    x = np.random.default_rng(0).standard_normal((2, 400)).cumsum(axis=1)
    filters = running_filters(list(x), memory=4, horizon=3, step=50, window=100)
    assert len(filters) == 7
    alone = PastFutureCCA(4, 3, rank=2).fit([x[0, 150:250], x[1, 150:250]]).filters_
    np.testing.assert_allclose(filters[3], alone, rtol=1e-12)


def test_running_filters_forget_what_left_the_window():
    rng = np.random.default_rng(1)
    x, other = rng.standard_normal((2, 300)).cumsum(axis=1)
    after = running_filters(np.concatenate([x, other]), 4, 3, 100, 100)
    before = running_filters(np.concatenate([other[::-1], other]), 4, 3, 100, 100)
    np.testing.assert_allclose(after[3:], before[3:], rtol=1e-9)
    assert np.abs(after[:3] - before[:3]).max() > 1e-3


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"step": 0}, "step must be"),
        ({"window": 500}, "at least 500 samples"),
        ({"x": [np.arange(100.0), np.arange(200.0)]}, "one length"),
        ({"memory": 0}, "memory must be"),
    ],
)
def test_running_filters_refuses_bad_input(change, message):
    arguments = {"x": np.random.default_rng(0).standard_normal(300), "memory": 4, "horizon": 3}
    arguments |= {"step": 50, "window": 100} | change
    with pytest.raises(ValueError, match=message):
        running_filters(**arguments)

import numpy as np
import pytest

from lib.cca import PastFutureCCA
from lib.filters import (
    cosine,
    dc_gain,
    fit_gaussian_derivative,
    frequency_response,
    lobes,
    running_filters,
    widths,
)


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


def test_gains_of_filters_known_in_closed_form():
    mean, difference, echo = [1, 1, 0, 0], [1, -1, 0, 0], [1, 0, -0.5, 0]
    frequencies, gains = frequency_response(np.array([mean, difference, echo]), 64)
    w = 2 * np.pi * frequencies
    np.testing.assert_allclose(gains[0], 2 * np.cos(w / 2), atol=1e-14)
    np.testing.assert_allclose(gains[1], 2 * np.sin(w / 2), atol=1e-14)
    np.testing.assert_allclose(gains[2], np.sqrt(1.25 - np.cos(2 * w)), atol=1e-14)
    # The echo passes 0.5 at DC and most, 1.5, at a quarter of the sampling rate.
    np.testing.assert_allclose(dc_gain(np.array([mean, difference, echo])), [1, 0, 1 / 3])


def test_frequency_response_refuses_to_cut_the_filter():
    with pytest.raises(ValueError, match="n must be at least the memory 5"):
        frequency_response(np.ones(5), 4)


def test_widths_of_filters_known_in_closed_form():
    box = widths(np.array([1.0] * 4 + [0.0] * 12))
    assert box["first lobe"] == 16
    assert box["participation"] == pytest.approx(4)
    assert box["rms"] == pytest.approx(np.sqrt((4**2 - 1) / 12))
    assert widths(np.array([3.0, 1.0, -1.0, 0.0]))["first lobe"] == pytest.approx(1.5)
    assert widths(np.array([3.0, -1.0, 1.0]))["first lobe"] == pytest.approx(0.75)
    assert widths(np.array([1.0, 0.0, -1.0]))["first lobe"] == pytest.approx(1)
    assert widths(np.array([0.0, 2.0, 0.0, 0.0, -1.0]))["first lobe"] == pytest.approx(3)
    # White: the mean of frequencies from 0 to 1/2 is 1/4.
    assert widths(np.eye(9)[0])["inverse mean frequency"] == pytest.approx(4 / (2 * np.pi))


@pytest.mark.parametrize("stretch", [2, 3])
def test_widths_grow_with_a_filter_that_is_stretched(stretch):
    def sampled(scale):
        # Without a jump at its onset, whose spectrum would not scale.
        t = np.arange(400) / scale
        return t**2 * np.cos(t / 3) * np.exp(-t / 2)

    narrow, wide = widths(sampled(4.0)), widths(sampled(4.0 * stretch))
    for definition, value in narrow.items():
        assert wide[definition] / value == pytest.approx(stretch, rel=0.05), definition


def test_widths_do_not_depend_on_scale_and_refuse_zero():
    weights = np.random.default_rng(0).standard_normal(20)
    assert widths(-7 * weights) == pytest.approx(widths(weights))
    with pytest.raises(ValueError, match="must not be all zero"):
        widths(np.zeros(5))


@pytest.mark.parametrize(
    ("centre", "width"), [(5.0, 2.0), (0.5, 6.0), (12.3, 1.1), (31.0, 3.0), (25.0, 1.5)]
)
@pytest.mark.parametrize("amplitude", [3.0, -0.2])
def test_a_planted_gaussian_derivative_is_found(centre, width, amplitude):
    t = np.arange(40)
    weights = -amplitude * (t - centre) * np.exp(-0.5 * ((t - centre) / width) ** 2)
    fit, correlation = fit_gaussian_derivative(weights)
    np.testing.assert_allclose(fit, weights, atol=1e-5 * np.abs(weights).max())
    assert correlation == pytest.approx(1)


def test_what_is_no_derivative_correlates_less():
    assert fit_gaussian_derivative(np.cos(np.arange(60) / 3))[1] < 0.8


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

"""Paired effects."""

import numpy as np
import pytest
from scipy import stats

from lib.effects import paired_effect


def test_interval_agrees_with_student_s_for_normal_differences():
    rng = np.random.default_rng(0)
    b = rng.standard_normal(400) * 10
    a = b + 0.3 + rng.standard_normal(400)
    effect = paired_effect(a, b, 1)
    expected = stats.ttest_rel(a, b).confidence_interval()
    assert effect.difference == pytest.approx((a - b).mean())
    np.testing.assert_allclose((effect.low, effect.high), expected, atol=0.02)
    assert effect.standardised == pytest.approx((a - b).mean() / (a - b).std(ddof=1))


def test_coverage_is_near_nominal():
    rng = np.random.default_rng(2)
    hits = 0
    for _ in range(300):
        x = rng.exponential(size=40)
        effect = paired_effect(x, np.zeros(40), rng, 400)
        hits += effect.low <= 1 <= effect.high
    assert 0.88 <= hits / 300 <= 0.98


def test_swapping_changes_signs_and_seed_repeats():
    a, b = np.random.default_rng(3).random((2, 20))
    one, other = paired_effect(a, b, 5), paired_effect(b, a, 5)
    np.testing.assert_allclose(one[:1] + one[3:], -np.array(other[:1] + other[3:]))
    np.testing.assert_allclose((one.low, one.high), (-other.high, -other.low), atol=1e-3)
    assert one == paired_effect(a, b, 5)


def test_no_difference_at_all():
    assert paired_effect([1.0, 2.0], [1.0, 2.0], 0) == (0.0, 0.0, 0.0, 0.0)


@pytest.mark.parametrize(
    ("a", "b", "message"),
    [
        ([1.0], [1.0], "at least 2"),
        ([1.0, 2.0], [1.0], "b must have shape"),
        ([1.0, np.nan], [1.0, 2.0], "a must be finite"),
    ],
)
def test_refusals(a, b, message):
    with pytest.raises(ValueError, match=message):
        paired_effect(a, b, 0)


def test_standardised_difference_of_pairs_that_differ_alike():
    base = np.array([0.1, 3, 700])
    assert paired_effect(base + 0.3, base, 0).standardised == np.inf
    assert paired_effect(base, base + 0.3, 0).standardised == -np.inf
    assert paired_effect(base, base, 0).standardised == 0

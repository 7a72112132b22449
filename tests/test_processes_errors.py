"""Each bad argument of the processes has its own error, which names it."""

from unittest import mock

import numpy as np
import pytest

import lib.processes as processes
from lib.processes import (
    LinearStateSpace,
    exponential,
    lag_covariances,
    oscillatory,
    rational_quadratic,
    sample_gp,
    squared_exponential,
)

SYSTEM = LinearStateSpace(0.5 * np.eye(2), np.eye(2), np.ones(2), 0.1)
TURN = [[np.cos(1), np.sin(1)], [-np.sin(1), np.cos(1)]]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"A": [[0.5, 0], [0, 1.0]]}, r"A must have all eigenvalues inside the unit circle, got 1"),
        ({"A": TURN}, "A must have all eigenvalues inside"),
        ({"A": [[0.5, 9], [0, -1.2]]}, r"A must have all eigenvalues .*got 1\.2"),
        ({"A": np.ones((2, 3))}, r"A must be a square matrix, got shape \(2, 3\)"),
        ({"A": np.zeros((0, 0))}, "A must be a square matrix"),
        ({"A": 0.5}, r"A must have shape \(any, any\), got \("),
        ({"A": [[np.nan, 0], [0, 0.5]]}, r"A must be finite, got nan at index \(0, 0\)"),
        ({"A": 1j * np.eye(2)}, "A must hold integers or real floats, got dtype complex128"),
        ({"A": [["a", "b"], ["c", "d"]]}, "A must hold integers or real floats, got dtype <U1"),
        ({"A": [[1, 2], [3]]}, "A must be a regular array"),
        ({"B": np.ones((3, 2))}, r"B must have shape \(2, any\), got \(3, 2\)"),
        ({"B": np.ones(2)}, r"B must have shape \(2, any\), got \(2"),
        ({"B": np.full((2, 1), np.inf)}, "B must be finite, got inf"),
        ({"B": np.eye(2) > 0}, "B must hold integers or real floats, got dtype bool"),
        ({"B": 1e200 * np.eye(2)}, "B must"),
        ({"C": np.ones(3)}, r"C must have shape \(2,\) or \(1, 2\), got \(3,\)"),
        ({"C": np.ones((2, 1))}, r"C must have shape \(2,\) or \(1, 2\), got \(2, 1\)"),
        ({"C": [np.nan, 0]}, "C must be finite"),
        ({"noise_std": -0.1}, r"noise_std must be a finite number >= 0.*got -0\.1"),
        ({"noise_std": np.nan}, "noise_std must be a finite number"),
        ({"noise_std": "1"}, "noise_std must be a finite number"),
        ({"noise_std": np.ones(2)}, "noise_std must be a finite number"),
        ({"noise_std": 1e200}, "noise_std must"),
    ],
)
def test_bad_systems(change, message):
    good = {"A": 0.5 * np.eye(2), "B": np.eye(2), "C": np.ones(2), "noise_std": 0.1}
    with pytest.raises(ValueError, match=message):
        LinearStateSpace(**good | change).autocovariance(3)


@pytest.mark.parametrize("n", [0, -3, 2.0, True, "5", None])
def test_bad_counts(n):
    message = f"must be an integer >= 1, got {n!r}"
    with pytest.raises(ValueError, match=f"n {message}"):
        SYSTEM.sample(n, 0)
    with pytest.raises(ValueError, match=f"n_lags {message}"):
        SYSTEM.autocovariance(n)
    with pytest.raises(ValueError, match=f"n {message}"):
        sample_gp(exponential, n, 0.1, 0)
    with pytest.raises(ValueError, match=f"size {message}"):
        sample_gp(exponential, 5, 0.1, 0, size=n)
    for name in ("memory", "horizon", "gap"):
        with pytest.raises(ValueError, match=f"{name} {message}"):
            lag_covariances(np.eye(9)[0], **{"memory": 2, "horizon": 2, "gap": 1, name: n})


@pytest.mark.parametrize("value", [0, -1.0, np.nan, np.inf, "1", None, 1j])
def test_bad_scales(value):
    for kernel in (squared_exponential, exponential, rational_quadratic):
        with pytest.raises(ValueError, match="length must be a finite number > 0"):
            kernel(np.arange(5.0), length=value)
    for name in ("period", "width", "length"):
        with pytest.raises(ValueError, match=f"{name} must be a finite number > 0"):
            oscillatory(np.arange(5.0), **{name: value})
    with pytest.raises(ValueError, match="alpha must be a finite number > 0"):
        rational_quadratic(np.arange(5.0), alpha=value)
    with pytest.raises(ValueError, match="dt must be a finite number > 0"):
        sample_gp(exponential, 5, value, 0)


@pytest.mark.parametrize(
    "kernel",
    [
        lambda tau: (tau < 0.55) * 1.0,
        lambda tau: -exponential(tau),
        lambda tau: squared_exponential(tau) - 1e-6 * (tau == 0),
        lambda tau: 1.0 - tau,
        lambda tau: np.sin(tau),
    ],
)
def test_kernels_that_are_not_positive(kernel):
    with pytest.raises(ValueError, match="kernel must be positive semidefinite, got an eigenvalue"):
        sample_gp(kernel, 30, 0.1, 0)


def test_long_draws_need_an_embedding():
    """A cosine's matrix has rank two and fits no circle; beyond a size it is not decomposed."""
    with mock.patch.object(processes, "_LARGEST_DENSE", 30):
        assert np.ptp(sample_gp(np.cos, 30, 0.1, 0)) > 0
        for kernel in (np.cos, lambda tau: 0 * tau):
            with pytest.raises(ValueError, match=r"kernel must .*embedding for n > 30"):
                sample_gp(kernel, 31, 0.1, 0)


@pytest.mark.parametrize(
    ("kernel", "message"),
    [
        (lambda tau: tau * np.nan, "kernel.* must be finite, got nan"),
        (lambda tau: 1 / np.maximum(tau, 1e-320) * 1e300, "kernel.* must be finite, got inf"),
        (lambda tau: np.exp(1j * tau), "kernel.* must hold integers or real floats"),
        (lambda tau: 1.0, r"kernel.* must have shape .*got \(\)"),
        (lambda tau: tau[:-1], "kernel.* must have shape"),
        (lambda tau: None, "kernel.* must hold integers or real floats"),
        (1.0, "kernel.* must be"),
        ("exponential", "kernel.* must be"),
    ],
)
@pytest.mark.filterwarnings("ignore:overflow")
def test_kernels_that_return_no_covariance(kernel, message):
    with pytest.raises(ValueError, match=message):
        sample_gp(kernel, 10, 0.1, 0)


@pytest.mark.parametrize(
    ("r", "message"),
    [
        (np.eye(5)[0], "autocovariance must have at least 6 lags, got 5"),
        ([], "autocovariance must have at least 6 lags, got 0"),
        (np.zeros(6), r"autocovariance must be positive .*got r\(0\) = 0"),
        (-np.ones(6), r"autocovariance must be positive .*got r\(0\) = -1"),
        ([1, 0, 0, -1.1, 0, 0], "autocovariance must be positive and largest at lag 0"),
        ([1, 0, np.nan, 0, 0, 0], "autocovariance must be finite, got nan"),
        (np.eye(6), r"autocovariance must have shape \(any\), got \(6, 6\)"),
        (np.eye(6)[0] + 0j, "autocovariance must hold integers or real floats"),
    ],
)
def test_bad_autocovariances(r, message):
    with pytest.raises(ValueError, match=message):
        lag_covariances(r, 3, 2, gap=2)


def test_autocovariances_of_no_process():
    with pytest.raises(ValueError, match="autocovariance must be that of a process"):
        lag_covariances([1.0, 0.9, 0.0], 2, 1)


@pytest.mark.parametrize("rng", [None, "a", 1.5, -1, True])
def test_generators_are_explicit(rng):
    with pytest.raises(ValueError, match="rng must be"):
        SYSTEM.sample(3, rng)
    with pytest.raises(ValueError, match="rng must be"):
        sample_gp(exponential, 3, 0.1, rng)


def test_a_series_without_variance_has_no_correlations():
    silent = LinearStateSpace([[0.5]], [[0.0]], [1.0], 0.0)
    with pytest.raises(ValueError, match="B or noise_std must give y some variance"):
        silent.canonical_correlations()

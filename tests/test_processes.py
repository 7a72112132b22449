"""Exact statistics against Kronecker solutions, impulse responses, kernel matrices and draws."""

import doctest

import numpy as np
import pytest
from scipy import integrate, linalg, special, stats

import lib.processes as processes
from lib.cca import PastFutureCCA
from lib.processes import (
    LinearStateSpace,
    exponential,
    lag_covariances,
    oscillatory,
    rational_quadratic,
    sample_gp,
    squared_exponential,
)


def random_system(n, inputs, seed=0):
    rng = np.random.default_rng(seed)
    A = rng.standard_normal((n, n))
    A *= 0.9 / np.abs(np.linalg.eigvals(A)).max()
    return LinearStateSpace(A, rng.standard_normal((n, inputs)), rng.standard_normal(n), 0.3)


JORDAN = 0.8 * np.eye(3) + np.eye(3, k=1)
SYSTEMS = {
    "paper": LinearStateSpace(
        [[0.6, 0.6, 0], [-0.6, 0.6, 0], [0, 0, 0.4]],
        np.diag([0.17, -0.15, 0.28]),
        [[0.78, 0.53, 1.0]],
        0.1**0.5,
    ),
    "scalar": LinearStateSpace([[-0.7]], [[2]], [3], 0),
    "one eigenvector": LinearStateSpace(JORDAN, np.eye(3)[:, 2:], [1, 0, 0], 0.1),
    "nilpotent": LinearStateSpace(np.eye(3, k=1), np.eye(3), [1, -2, 0.5], 0.0),
    "one input": random_system(5, 1),
    "many states": random_system(14, 3),
    "no noise at all": LinearStateSpace([[0.5]], [[0.0]], [1.0], 0.0),
}
each_system = pytest.mark.parametrize("system", SYSTEMS.values(), ids=SYSTEMS.keys())


class UnitNoise(np.random.Generator):
    """Of all the normal numbers that it is asked for, the k-th is 1 and the others are 0."""

    def __init__(self, k):
        super().__init__(np.random.PCG64(0))
        self.k, self.drawn = k, 0

    def standard_normal(self, size):
        values = np.zeros(size)
        if 0 <= self.k - self.drawn < values.size:
            values.flat[self.k - self.drawn] = 1
        self.drawn += values.size
        return values


def exact_covariance(draw):
    """Covariance of what `draw(rng)` returns: it is linear in its normal numbers, y = M v."""
    counter = UnitNoise(-1)
    np.testing.assert_array_equal(draw(counter), 0)
    responses = np.array([draw(UnitNoise(k)) for k in range(counter.drawn)])
    return responses.T @ responses, counter.drawn


def assert_covariance(draws, wanted):
    """Sample covariance of zero-mean draws (n_draws, n) within five standard errors."""
    found = draws.T @ draws / len(draws)
    variances = wanted.diagonal()
    error = np.sqrt((np.outer(variances, variances) + wanted**2) / len(draws))
    assert np.abs((found - wanted) / error).max() < 5


# Linear state space --------------------------------------------------------------------------


@each_system
def test_stationary_covariance_by_kronecker_products(system):
    n = len(system.A)
    vector = np.linalg.solve(
        np.eye(n * n) - np.kron(system.A, system.A), (system.B @ system.B.T).ravel()
    )
    np.testing.assert_allclose(
        system.stationary_covariance.ravel(), vector, rtol=1e-9, atol=1e-9 * np.abs(vector).max()
    )


@each_system
def test_autocovariance_by_impulse_responses(system):
    """r(k) = Σ_j (C A^j B)(C A^(j+k) B)ᵀ, with neither a Lyapunov equation nor a recursion."""
    powers = [np.linalg.matrix_power(system.A, j) for j in range(400)]
    response = np.array([system.C @ power @ system.B for power in powers])
    wanted = np.array([(response[: 400 - k] * response[k:]).sum() for k in range(12)])
    wanted[0] += system.noise_std**2
    found = system.autocovariance(12)
    np.testing.assert_allclose(found, wanted, rtol=1e-9, atol=1e-10 * max(wanted[0], 1e-300))
    np.testing.assert_array_equal(system.autocovariance(1), found[:1])


@each_system
@pytest.mark.parametrize("n", [1, 2, 25])
def test_samples_have_exactly_that_autocovariance(system, n):
    """From the first sample on, whatever the eigenvectors of A."""
    found, _ = exact_covariance(lambda rng: system.sample(n, rng))
    wanted = linalg.toeplitz(system.autocovariance(n))
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-10 * max(wanted[0, 0], 1e-300))


@each_system
def test_correlations_of_the_whole_past_are_those_of_a_long_one(system):
    if not system.B.any():
        pytest.skip("a series without variance has no correlations")
    n = len(system.A)
    found = system.canonical_correlations()
    assert found.shape == (n,)
    blocks = lag_covariances(system.autocovariance(120), 60, 60)
    wanted = PastFutureCCA(60, 60).fit_covariance(*blocks).correlations_
    np.testing.assert_allclose(found, wanted[:n], atol=1e-6)


@pytest.mark.parametrize("a", [0.9, -0.6, 0.99])
def test_correlation_of_a_noisy_markov_process(a):
    """σ = |a| (1 - P), P the steady error variance of its Kalman filter: 1/P = 1/P⁻ + 1/noise²."""
    for noise in (0.0, 0.3, 2.0):
        process = LinearStateSpace([[a]], [[(1 - a**2) ** 0.5]], [1.0], noise)
        drive, seen = 1 - a**2, noise**2
        # a² P² + (drive + seen (1 - a²)) P - drive seen = 0
        linear = drive + seen * (1 - a**2)
        P = (-linear + (linear**2 + 4 * a**2 * drive * seen) ** 0.5) / (2 * a**2)
        np.testing.assert_allclose(process.canonical_correlations(), abs(a) * (1 - P), rtol=1e-9)


def test_samples_from_a_generator():
    system = SYSTEMS["paper"]
    rng = np.random.default_rng(0)
    draws = np.array([system.sample(6, rng) for _ in range(4000)])
    assert_covariance(draws, linalg.toeplitz(system.autocovariance(6)))
    root = np.linalg.cholesky(linalg.toeplitz(system.autocovariance(6)))
    assert stats.kstest(np.linalg.solve(root, draws.T).ravel(), "norm").pvalue > 1e-3


def test_a_long_sample_converges_to_the_exact_spectrum():
    system = SYSTEMS["paper"]
    blocks = lag_covariances(system.autocovariance(20), 10, 8)
    exact = PastFutureCCA(10, 8).fit_covariance(*blocks).correlations_
    sampled = PastFutureCCA(10, 8).fit(system.sample(200_000, 0)).correlations_
    # Standard error of a correlation: below 1/√n.
    np.testing.assert_allclose(sampled[:2], exact[:2], atol=5 / 200_000**0.5)
    np.testing.assert_allclose(exact[3:], 0, atol=1e-10)


@pytest.mark.parametrize(
    "draw",
    [
        lambda rng: SYSTEMS["paper"].sample(9, rng),
        lambda rng: sample_gp(exponential, 9, 0.1, rng, 2),
    ],
)
def test_seeds_and_generators(draw):
    np.testing.assert_array_equal(draw(3), draw(np.random.default_rng(3)))
    rng = np.random.default_rng(3)
    first, second = draw(rng), draw(rng)
    np.testing.assert_array_equal(first, draw(3))
    assert np.abs(first - second).min() > 0
    assert np.abs(first - draw(4)).min() > 0


def test_arguments_are_not_modified():
    arrays = [np.array(JORDAN), np.eye(3), np.ones(3), exponential(np.arange(9.0))]
    before = [array.copy() for array in arrays]
    A, B, C, r = arrays
    LinearStateSpace(A, B, C, 1).sample(5, 0)
    lag_covariances(r, 3, 3)
    for array, copy in zip(arrays, before, strict=True):
        np.testing.assert_array_equal(array, copy)


def test_a_system_keeps_its_own_matrices():
    A = np.array([[0.5]])
    system = LinearStateSpace(A, [[1.0]], [1.0], 0.0)
    A[0, 0] = 0.9
    np.testing.assert_allclose(system.autocovariance(2), [4 / 3, 2 / 3])


# Kernels and Gaussian processes --------------------------------------------------------------

TAU = np.array([-3.0, -0.4, 0.0, 1e-3, 0.7, 2.5])


@pytest.mark.parametrize("length", [0.5, 1.0, 3.0])
def test_kernels_are_mixtures(length):
    """Bochner: cosines weighted by a spectral density; squared exponentials by their scale."""

    def mixture(part, density):
        def product(s, tau):
            return part(tau, s) * density(s)

        return [integrate.quad(product, 0, np.inf, args=(tau,))[0] for tau in TAU]

    cosines = mixture(lambda tau, w: 2 * np.cos(w * tau), stats.norm(scale=1 / length).pdf)
    np.testing.assert_allclose(squared_exponential(TAU, length), cosines, atol=1e-7)
    for alpha in (0.6, 1.0, 4.0):
        precision = stats.gamma(alpha, scale=1 / (alpha * length**2)).pdf
        scales = mixture(lambda tau, s: np.exp(-s * tau**2 / 2), precision)
        np.testing.assert_allclose(rational_quadratic(TAU, alpha, length), scales, atol=1e-7)
    # The first-order autoregression, sampled at any interval.
    a = np.exp(-0.3 / length)
    process = LinearStateSpace([[a]], [[(1 - a**2) ** 0.5]], [1], 0)
    np.testing.assert_allclose(
        exponential(-0.3 * np.arange(8), length), process.autocovariance(8), atol=1e-12
    )
    for kernel in (squared_exponential, exponential, rational_quadratic):
        np.testing.assert_array_equal(kernel(TAU), kernel(TAU, length=1.0))
    np.testing.assert_array_equal(rational_quadratic(TAU), rational_quadratic(TAU, alpha=1.0))


@pytest.mark.parametrize("width", [0.5, 1.5])
def test_oscillatory_kernel_is_a_fourier_series(width):
    """Jacobi–Anger: exp(z cos θ) = I_0(z) + 2 Σ I_k(z) cos kθ, z = 1/w²: all weights positive."""
    z, angle = width**-2, 2 * np.pi * TAU / 0.8
    series = special.ive(0, z) + 2 * sum(
        special.ive(k, z) * np.cos(k * angle) for k in range(1, 60)
    )
    wanted = series * np.exp(-(TAU**2) / (2 * 3.0**2))
    np.testing.assert_allclose(oscillatory(TAU, 0.8, width, 3.0), wanted, atol=1e-12)


def damped(tau):
    return np.exp(-tau / 20) * np.cos(tau)


# (kernel, numbers drawn for 24 samples): 48 is a circle of twice the length, 24 no circle at all.
GAUSSIAN_PROCESSES = [
    (exponential, 48),
    (lambda tau: squared_exponential(tau, 2.0), 48),
    (lambda tau: squared_exponential(tau, 4.0), 96),
    (lambda tau: squared_exponential(tau, 8.0), 192),
    (damped, 384),
    (lambda tau: rational_quadratic(tau, 1.0, 3.0), 3072),
    (lambda tau: rational_quadratic(tau, 0.5, 3.0), 24),
    (lambda tau: oscillatory(tau, 3.0), 48),
    (lambda tau: 1e-9 * np.cos(tau), 24),
    (lambda tau: 5.0 + 0 * tau, 48),
    (lambda tau: 1e-9 * (tau == 0), 48),
]


@pytest.mark.parametrize(("kernel", "numbers"), GAUSSIAN_PROCESSES)
def test_draws_have_exactly_the_kernel_matrix(kernel, numbers):
    """Whether the first circle, a longer one or the matrix itself is decomposed."""
    for n in (1, 2, 24):
        found, drawn = exact_covariance(lambda rng, n=n: sample_gp(kernel, n, 0.5, rng)[0])
        times = 0.5 * np.arange(n)
        wanted = kernel(np.abs(times[:, None] - times))
        np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-8 * wanted[0, 0])
    assert drawn == numbers


@pytest.mark.parametrize("kernel", [exponential, lambda tau: 1e-3 * (tau == 0) + np.cos(tau)])
def test_draws_are_normal_and_independent(kernel):
    draws = sample_gp(kernel, 7, 0.4, 5, size=4000)
    wanted = linalg.toeplitz(kernel(0.4 * np.arange(7)))
    assert_covariance(draws, wanted)
    white = np.linalg.solve(np.linalg.cholesky(wanted), draws.T)
    assert stats.kstest(white.ravel(), "norm").pvalue > 1e-3
    neighbours = (white[:, ::2] * white[:, 1::2]).mean(axis=1)
    assert np.abs(neighbours).max() < 5 / 2000**0.5


# Lag blocks ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("memory", "horizon", "gap"), [(1, 1, 1), (5, 3, 1), (2, 6, 4), (4, 4, 2), (1, 3, 7)]
)
def test_lag_covariances_are_blocks_of_the_kernel_matrix(memory, horizon, gap):
    dt = 0.3
    past, future = -dt * np.arange(memory), dt * (gap + np.arange(horizon))
    for spare in (0, 5):
        r = damped(dt * np.arange(memory + gap + horizon - 1 + spare))
        for found, (rows, columns) in zip(
            lag_covariances(r, memory, horizon, gap),
            ((past, past), (future, past), (future, future)),
            strict=True,
        ):
            np.testing.assert_allclose(
                found, damped(np.abs(rows[:, None] - columns)), rtol=1e-12, atol=1e-14
            )


def test_examples_in_the_docstrings():
    assert not doctest.testmod(processes).failed

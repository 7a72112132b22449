"""Canonical correlations, rivals and information against other formulas for the same numbers."""

import numpy as np
import pytest
from deeptime.decomposition import VAMP
from scipy import linalg
from sklearn.cross_decomposition import CCA

from lib.cca import (
    PastFutureCCA,
    gaussian_information,
    hankel_filters,
    min_projection_filters,
    projection_information,
)
from lib.lags import LagCovariance, lag_vectors
from lib.processes import LinearStateSpace, exponential, lag_covariances

OU = LinearStateSpace(
    [[0.6, 0.6, 0], [-0.6, 0.6, 0], [0, 0, 0.4]],
    np.diag([0.17, -0.15, 0.28]),
    [0.78, 0.53, 1.0],
    0.1**0.5,
)


def colored(n, channels):
    """Channels with memory that share it, and noise of their own."""
    rng = np.random.default_rng(n)
    drive = rng.standard_normal((n + 2, channels)) @ rng.standard_normal((channels, channels))
    return drive[2:] + 2 * drive[1:-1] - drive[:-2] + rng.standard_normal((n, channels))


def log_det(matrix):
    return 2 * np.log(np.linalg.cholesky(matrix).diagonal()).sum()


def kept_information(filters, past, cross, future):
    """I(Ψp; f) from the covariance of both together, by Cholesky."""
    z, zf = filters @ past @ filters.T, filters @ cross.T
    joint = np.block([[z, zf], [zf.T, future]])
    return 0.5 * (log_det(z) + log_det(future) - log_det(joint))


@pytest.mark.parametrize("a", [0.9, -0.5, 0.99])
@pytest.mark.parametrize("gap", [1, 3])
def test_markov_process_has_one_correlation(a, gap):
    """AR(1): only y(t) matters, and y(t+gap) has correlation a^gap with it."""
    cca = PastFutureCCA(7, 4, gap=gap).fit_covariance(
        *lag_covariances(a ** np.arange(20), 7, 4, gap)
    )
    np.testing.assert_allclose(cca.correlations_, [abs(a) ** gap, 0, 0, 0], atol=1e-12)
    np.testing.assert_allclose(cca.filters_[0], np.eye(7)[0], atol=1e-12)
    # The past predicts a^gap y(t), so the future's filter carries the sign of that.
    np.testing.assert_allclose(cca.future_filters_[0], np.eye(4)[0] * np.sign(a**gap), atol=1e-12)


@pytest.mark.parametrize(
    ("memory", "horizon", "gap"), [(1, 1, 1), (6, 3, 1), (4, 9, 2), (30, 30, 5)]
)
@pytest.mark.parametrize(("a", "noise"), [(0.9, 0.5), (-0.6, 0.2), (0.97, 2.0)])
def test_noisy_markov_process_is_limited_by_the_kalman_filter(a, noise, memory, horizon, gap):
    """AR(1) of unit variance behind observation noise: σ_1 = |a|^gap √((1 - P_m)(1 - P_h)).

    P_n is the error variance of the Kalman filter after n observations: x(t) given the past, and,
    as the process is reversible, x(t+gap) given the future. State is scalar: all others are 0.
    """

    def error_variance(n):
        variance = 1.0
        for step in range(n):
            predicted = a**2 * variance + 1 - a**2 if step else 1.0
            variance = predicted * noise**2 / (predicted + noise**2)
        return variance

    process = LinearStateSpace([[a]], [[(1 - a**2) ** 0.5]], [1.0], noise)
    blocks = lag_covariances(process.autocovariance(70), memory, horizon, gap)
    cca = PastFutureCCA(memory, horizon, gap=gap).fit_covariance(*blocks)
    sigma = abs(a) ** gap * ((1 - error_variance(memory)) * (1 - error_variance(horizon))) ** 0.5
    np.testing.assert_allclose(
        cca.correlations_, [sigma] + [0] * (min(memory, horizon) - 1), atol=1e-10
    )


@pytest.mark.parametrize(("memory", "horizon"), [(1, 1), (2, 5), (12, 8)])
@pytest.mark.parametrize("theta", [0.3, -0.8])
def test_moving_average_of_two_samples(theta, memory, horizon):
    """y(t) = v(t) + θ v(t-1): one shared v, and tridiagonal blocks with known determinants."""
    r = np.zeros(memory + horizon)
    r[:2] = 1 + theta**2, theta

    def ratio(n):  # (C⁻¹)_00 = det C_(n-1) / det C_n
        return (1 - theta ** (2 * n)) / (1 - theta ** (2 * n + 2))

    sigma = abs(theta) * (ratio(memory) * ratio(horizon)) ** 0.5
    cca = PastFutureCCA(memory, horizon).fit_covariance(*lag_covariances(r, memory, horizon))
    np.testing.assert_allclose(
        cca.correlations_, [sigma] + [0] * (min(memory, horizon) - 1), atol=1e-12
    )


@pytest.mark.parametrize("partial", [[0.5], [0.7, -0.4], [0.2, 0.5, -0.6]])
def test_information_of_an_autoregression(partial):
    """I(past; future) = -½ Σ k ln(1 - α_k²) from its partial autocorrelations α_k, if m, h ≥ p."""
    phi = np.zeros(0)
    for alpha in partial:  # Durbin–Levinson
        phi = np.append(phi - alpha * phi[::-1], alpha)
    order = len(phi)
    process = LinearStateSpace(
        np.vstack([phi, np.eye(order)[:-1]]), np.eye(order)[:, :1], np.eye(order)[0], 0.0
    )
    wanted = -0.5 * sum(k * np.log(1 - a**2) for k, a in enumerate(partial, 1))
    for memory, horizon in ((order, order), (order + 3, order + 1)):
        blocks = lag_covariances(process.autocovariance(20), memory, horizon)
        cca = PastFutureCCA(memory, horizon).fit_covariance(*blocks)
        assert cca.information() == pytest.approx(wanted, rel=1e-8)
        assert gaussian_information(*blocks) == pytest.approx(wanted, rel=1e-8)
        np.testing.assert_allclose(cca.correlations_[order:], 0, atol=1e-7)


# Brute force ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("channels", "memory", "horizon", "gap"),
    [(1, 6, 4, 1), (1, 3, 8, 4), (3, 4, 3, 2), (2, 1, 1, 1)],
)
def test_generalised_eigenproblem(channels, memory, horizon, gap):
    """[[0, C_pf], [C_fp, 0]] v = σ diag(C_pp, C_ff) v, from dense lag vectors."""
    series = [colored(400, channels), colored(150, channels)]
    past, future = lag_vectors(series, memory, horizon, gap)
    joint = np.cov(past, future, rowvar=False, bias=True)
    split = past.shape[1]
    weight = linalg.block_diag(joint[:split, :split], joint[split:, split:])
    values, vectors = linalg.eigh(joint - weight, weight)
    n = min(memory, horizon) * channels
    psi, phi = np.split(vectors[:, ::-1][:, :n].T * 2**0.5, [split], axis=1)
    cca = PastFutureCCA(memory, horizon, gap=gap).fit(series)
    np.testing.assert_allclose(cca.correlations_, values[::-1][:n], atol=1e-10)
    found_psi, found_phi = cca.filters_.reshape(n, -1), cca.future_filters_.reshape(n, -1)
    sign = np.sign((psi * found_psi).sum(axis=1))[:, None]
    np.testing.assert_allclose(found_psi, sign * psi, rtol=1e-6, atol=1e-6)
    # One sign for both: the correlation of the pair stays positive.
    np.testing.assert_allclose(found_phi, sign * phi, rtol=1e-6, atol=1e-6)
    blocks = LagCovariance(memory, horizon, gap, channels).update(series).blocks()
    ready = PastFutureCCA(memory, horizon, gap=gap).fit_covariance(*blocks)
    np.testing.assert_array_equal(ready.correlations_, cca.correlations_)
    np.testing.assert_array_equal(ready.filters_, cca.filters_)


def test_deeptime_and_sklearn_agree():
    x = OU.sample(5000, 0)
    past, future = lag_vectors(x, 6, 4)
    cca = PastFutureCCA(6, 4).fit(x)
    np.testing.assert_allclose(
        cca.correlations_, VAMP().fit((past, future)).fetch_model().singular_values, rtol=1e-9
    )
    scores = CCA(n_components=2, max_iter=20_000, tol=1e-14).fit(past, future).transform(past)
    ours = cca.transform(x)[: len(past)]
    for i in range(2):
        assert abs(np.corrcoef(scores[:, i], ours[:, i])[0, 1]) == pytest.approx(1, abs=1e-9)


def test_information_is_a_log_determinant():
    blocks = LagCovariance(5, 4, 2, channels=2).update(colored(500, 2)).blocks()
    cca = PastFutureCCA(5, 4, gap=2).fit_covariance(*blocks)
    whole = kept_information(np.eye(10), *blocks)
    assert cca.information() == pytest.approx(whole, rel=1e-10)
    assert gaussian_information(*blocks) == pytest.approx(whole, rel=1e-10)
    for rank in range(1, 9):
        filters = cca.filters_.reshape(8, -1)[:rank]
        wanted = kept_information(filters, *blocks)
        assert cca.information(rank) == pytest.approx(wanted, rel=1e-10)
        # Any basis of the same directions knows as much.
        mixed = np.random.default_rng(rank).standard_normal((rank, rank)) @ filters
        assert projection_information(mixed, *blocks) == pytest.approx(wanted, rel=1e-8)


@pytest.mark.parametrize("rank", [1, 2])
def test_no_projection_beats_cca_and_each_rival_wins_its_own_game(rank):
    past, cross, _ = blocks = lag_covariances(OU.autocovariance(12), 6, 5)
    best = PastFutureCCA(6, 5, rank=rank).fit_covariance(*blocks)

    def predicted_variance(psi):
        return np.trace(np.linalg.solve(psi @ past @ psi.T, psi @ cross.T @ cross @ psi.T))

    def hankel_norm(psi):
        return np.linalg.norm(cross @ linalg.orth(psi.T))

    hankel = hankel_filters(*blocks, rank=rank)
    projection = min_projection_filters(*blocks, rank=rank)
    rng = np.random.default_rng(rank)
    near = [
        psi + 0.05 * rng.standard_normal(psi.shape) for psi in (best.filters_, hankel, projection)
    ]
    tries = [*rng.standard_normal((300, rank, 6)), *near, best.filters_, hankel, projection]
    for psi in tries:
        known = projection_information(psi, *blocks)
        assert known == pytest.approx(kept_information(psi, *blocks), abs=1e-10)
        assert known <= best.information(rank) + 1e-12
        assert hankel_norm(psi) <= hankel_norm(hankel) + 1e-12
        assert predicted_variance(psi) <= predicted_variance(projection) + 1e-12
    # The three differ here, so the comparisons above could have failed.
    for psi in (hankel, projection):
        assert projection_information(psi, *blocks) < best.information(rank) - 1e-4
    inverse = np.linalg.inv(past)
    u = np.linalg.eigh(cross @ inverse @ cross.T)[1][:, ::-1][:, :rank]
    v = np.linalg.eigh(cross.T @ cross)[1][:, ::-1][:, :rank]
    for found, wanted in ((projection, u.T @ cross @ inverse), (hankel, v.T)):
        sign = np.sign((wanted * found).sum(axis=1))[:, None]
        np.testing.assert_allclose(found, sign * wanted, atol=1e-9)


# Bad input -----------------------------------------------------------------------------------

CONSUMERS = {
    "fit_covariance": lambda *blocks: PastFutureCCA(3, 2).fit_covariance(*blocks),
    "hankel_filters": hankel_filters,
    "min_projection_filters": min_projection_filters,
    "projection_information": lambda *blocks: projection_information(np.eye(3)[:1], *blocks),
    "gaussian_information": gaussian_information,
}


def spoiled(block, value):
    block = block.astype(np.result_type(block, type(value)))
    block[1, 0] = value
    return block


PAST, CROSS, FUTURE = lag_covariances(exponential(0.5 * np.arange(5)), 3, 2)
BAD_BLOCKS = {
    "nan": (
        (spoiled(PAST, np.nan), CROSS, FUTURE),
        r"past must be finite, got nan at index \(1, 0",
    ),
    "inf": ((PAST, spoiled(CROSS, np.inf), FUTURE), "cross must be finite, got inf"),
    "future nan": ((PAST, CROSS, spoiled(FUTURE, np.nan)), "future must be finite, got nan"),
    "complex": ((PAST, CROSS + 0j, FUTURE), "cross must hold integers or real floats"),
    "str": ((PAST, CROSS, FUTURE.astype(str)), "future must hold integers or real floats"),
    "ragged": (([[1.0, 2.0], [3.0]], CROSS, FUTURE), "past must be a regular array"),
    "asymmetric past": ((spoiled(PAST, 0.9), CROSS, FUTURE), "past must be symmetric"),
    "asymmetric future": ((PAST, CROSS, spoiled(FUTURE, 0.1)), "future must be symmetric"),
    "not square": ((PAST[:2], CROSS, FUTURE), r"past must be a square matrix, got shape \(2, 3\)"),
    "vector": ((PAST, CROSS, FUTURE[0]), r"future must have shape \(any, any\), got \(2"),
    "empty": ((PAST[:0, :0], CROSS[:, :0], FUTURE), "past must be a square matrix"),
    "cross transposed": ((PAST, CROSS.T, FUTURE), r"cross must have shape \(2, 3\), got \(3, 2\)"),
}


@pytest.mark.parametrize("use", CONSUMERS.values(), ids=CONSUMERS.keys())
@pytest.mark.parametrize(("blocks", "message"), BAD_BLOCKS.values(), ids=BAD_BLOCKS.keys())
def test_bad_blocks(use, blocks, message):
    with pytest.raises(ValueError, match=message):
        use(*blocks)


# An even number of negative eigenvalues leaves the determinant positive.
@pytest.mark.parametrize("signs", [(1, 1, -1), (1, -1, -1), (-1, -1, -1), (0, 0, 0)])
@pytest.mark.parametrize(
    "name", ["fit_covariance", "min_projection_filters", "gaussian_information"]
)
def test_blocks_without_positive_variance(name, signs):
    with pytest.raises(ValueError, match="past"):
        CONSUMERS[name](np.diag(np.array(signs, dtype=float)), 0 * CROSS, FUTURE)
    with pytest.raises(ValueError, match="future"):
        PastFutureCCA(2, 3).fit_covariance(FUTURE, 0 * CROSS.T, np.diag(np.array(signs, float)))


@pytest.mark.parametrize(
    "name", ["fit_covariance", "projection_information", "gaussian_information"]
)
def test_covariation_that_no_process_has(name):
    """Correlations of 2: both determinants (1 - σ²) are positive together."""
    with pytest.raises(ValueError, match=r"^cross must"):
        CONSUMERS[name](np.eye(3), 2 * np.eye(2, 3), np.eye(2))


def test_what_no_process_has_is_told():
    """The largest correlation, or the most negative eigenvalue and the largest."""
    told = r"^cross must be a covariance that past and future allow, got .* of 3$"
    with pytest.raises(ValueError, match=told):
        PastFutureCCA(2, 2).fit_covariance(np.eye(2), np.diag([2.0, 3.0]), np.eye(2))
    block = np.array([[1.0, 2, 0], [2, 1, 0], [0, 0, 1]])
    for use in (CONSUMERS["fit_covariance"], gaussian_information):
        with pytest.raises(ValueError, match=r"^past must .* an eigenvalue of -1 beside 3 at unit"):
            use(block, CROSS * 0, FUTURE)


@pytest.mark.parametrize(
    ("filters", "message"),
    [
        (np.full((1, 3), np.nan), "filters must be finite"),
        (np.ones((1, 4)), r"filters must have shape \(any, 3\), got \(1, 4\)"),
        (np.ones(3), r"filters must have shape \(any, 3\), got \(3"),
        (np.ones((1, 3)) * 1j, "filters must hold integers or real floats"),
        (np.zeros((1, 3)), "filters must"),
        (np.ones((2, 3)), "filters must"),
        (np.ones((4, 3)), "filters must"),
    ],
)
def test_bad_filters(filters, message):
    with pytest.raises(ValueError, match=message):
        projection_information(filters, PAST, CROSS, FUTURE)


def test_filters_whose_variances_are_beyond_float64():
    """Infinite minus infinite, without a warning."""
    with pytest.raises(ValueError, match="filters must leave a finite covariance"):
        projection_information(np.eye(3) * 1e139, PAST * 1e200, CROSS * 1e100, FUTURE)


@pytest.mark.parametrize("seed", range(8))
def test_filters_that_repeat_a_direction(seed):
    """Rounding hides the rank: the determinant comes out as a small number of either sign."""
    blocks = lag_covariances(exponential(np.arange(20.0)), 5, 5)
    pair = np.random.default_rng(seed).standard_normal((2, 5))
    with pytest.raises(ValueError, match="filters must"):
        projection_information([*pair, pair.sum(axis=0)], *blocks)


@pytest.mark.parametrize("filters", [hankel_filters, min_projection_filters])
@pytest.mark.parametrize("rank", [0, 3, 1.0, True])
def test_bad_rank(filters, rank):
    with pytest.raises(ValueError, match=rf"rank must be .*got {rank}"):
        filters(PAST, CROSS, FUTURE, rank)

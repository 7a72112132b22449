"""The estimator: whiteness, units, rank, recordings, scikit-learn's conventions, bad input."""

import doctest

import numpy as np
import pytest
from scipy import linalg
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import make_pipeline

import lib.cca as cca_module
from lib.cca import PastFutureCCA, hankel_filters, min_projection_filters, projection_information
from lib.lags import LagCovariance, lag_vectors


def recordings(channels=1, lengths=(400, 150), seed=0):
    """Smooth, correlated channels with noise, so that every correlation is well below 1."""
    rng = np.random.default_rng(seed)
    mixing = rng.standard_normal((channels, channels))
    series = []
    for n in lengths:
        slow = np.apply_along_axis(np.convolve, 0, rng.standard_normal((n, channels)), [1, 2, 3, 1])
        y = (slow[:n] + rng.standard_normal((n, channels))) @ mixing
        series.append(y if channels > 1 else y[:, 0])
    return series


# What the estimator promises -----------------------------------------------------------------


@pytest.mark.parametrize(("channels", "gap"), [(1, 1), (3, 4)])
def test_training_projections_are_white(channels, gap):
    series = [y + 50 for y in recordings(channels)]
    cca = PastFutureCCA(5, 4, rank=3, gap=gap).fit(series)
    # The last pasts of each recording lack a future and took no part.
    z = np.concatenate([z[: -(gap + 3)] for z in cca.transform(series)])
    future = lag_vectors(series, 5, 4, gap)[1] @ cca.future_filters_.reshape(3, -1).T
    np.testing.assert_allclose(z.mean(axis=0), 0, atol=1e-10)
    np.testing.assert_allclose(z.T @ z / len(z), np.eye(3), atol=1e-10)
    paired = z.T @ (future - future.mean(axis=0)) / len(z)
    np.testing.assert_allclose(paired, np.diag(cca.correlations_[:3]), atol=1e-10)


@pytest.mark.parametrize("center", [True, False])
@pytest.mark.parametrize("channels", [1, 2])
def test_transform_is_a_plain_loop(channels, center):
    # Longer than the pieces in which windows are multiplied.
    series = [y + 7 for y in recordings(channels, lengths=(cca_module._CHUNK + 40, 30, 5))]
    cca = PastFutureCCA(5, 3, rank=2, center=center).fit(series[:2])
    filters = cca.filters_.reshape(2, -1)
    offset = lag_vectors(series[:2], 5, 3)[0].mean(axis=0) if center else 0.0
    assert isinstance(cca.transform(series[:1]), list)
    for y, z in zip(series, cca.transform(series), strict=True):
        columns = np.asarray(y).reshape(len(y), channels)
        pasts = np.array([columns[t - 4 : t + 1][::-1].T.ravel() for t in range(4, len(y))])
        np.testing.assert_allclose(z, (pasts - offset) @ filters.T, atol=1e-10)
        np.testing.assert_array_equal(cca.transform(y), z)


def test_uncentred_moments():
    series = [y + 2 for y in recordings()]
    past, future = lag_vectors(series, 4, 4)
    n = len(past)
    wanted = PastFutureCCA(4, 4).fit_covariance(
        past.T @ past / n, future.T @ past / n, future.T @ future / n
    )
    found = PastFutureCCA(4, 4, center=False).fit(series)
    np.testing.assert_allclose(found.correlations_, wanted.correlations_, rtol=1e-8)
    np.testing.assert_allclose(found.filters_, wanted.filters_, rtol=1e-6, atol=1e-8)
    assert found.correlations_[0] > PastFutureCCA(4, 4).fit(series).correlations_[0] + 0.01


@pytest.mark.parametrize("ridge", [0.0, 0.1])
@pytest.mark.parametrize(
    ("unit", "offset"), [(1e-12, 0), (1e12, 0), (1, 1e6), (-3, -1e4), (1e100, 0)]
)
def test_units_and_offsets_do_not_matter(unit, offset, ridge):
    x = recordings(lengths=(5000,))[0]
    x /= x.std()
    base = PastFutureCCA(8, 6, ridge=ridge).fit(x)
    moved = PastFutureCCA(8, 6, ridge=ridge).fit(unit * x + offset)
    np.testing.assert_allclose(moved.correlations_, base.correlations_, atol=1e-8)
    sign = np.sign(unit)  # "positive for brighter" turns with the meaning of brighter
    np.testing.assert_allclose(
        moved.transform(unit * x + offset), sign * base.transform(x), atol=1e-5
    )


@pytest.mark.parametrize("units", [(1.0, 1e3), (1e-9, 1.0), (1e12, 1e-12)])
def test_units_of_one_channel_do_not_matter(units):
    x = recordings(2, lengths=(2000,))[0]
    base, moved = PastFutureCCA(4, 3).fit(x), PastFutureCCA(4, 3).fit(x * units)
    np.testing.assert_allclose(moved.correlations_, base.correlations_, atol=1e-6)
    # What a step of all channels does, and with it the sign, depends on units.
    np.testing.assert_allclose(
        np.abs(moved.transform(x * units)), np.abs(base.transform(x)), atol=1e-4
    )


@pytest.mark.parametrize("ridge", [1e-3, 0.5, 20.0])
def test_ridge_is_relative_to_the_mean_variance_of_its_block(ridge):
    # Blocks of different size and scale, with unequal variances inside.
    rng = np.random.default_rng(9)
    joint = np.cov(rng.standard_normal((200, 9)) @ rng.standard_normal((9, 9)), rowvar=False)
    joint *= np.outer(np.r_[[30] * 5, [1] * 4], np.r_[[30] * 5, [1] * 4])
    past, cross, future = joint[:5, :5], joint[5:, :5], joint[5:, 5:]
    cca = PastFutureCCA(5, 4, ridge=ridge).fit_covariance(past, cross, future)
    past = past + ridge * np.trace(past) / 5 * np.eye(5)
    future = future + ridge * np.trace(future) / 4 * np.eye(4)
    squared = linalg.eigvals(np.linalg.solve(past, cross.T) @ np.linalg.solve(future, cross)).real
    np.testing.assert_allclose(cca.correlations_, np.sort(squared)[:0:-1] ** 0.5, rtol=1e-8)


def test_filters_respond_to_a_step_up_by_going_up():
    cca = PastFutureCCA(6, 5).fit(recordings(2))
    step = np.zeros((12, 2))
    step[6:] = 1
    cca.mean_ = np.zeros(12)
    response = cca.transform(step)
    extremes = np.take_along_axis(response, np.abs(response).argmax(axis=0)[None], axis=0)
    assert (extremes > 0).all()


# Blocks without full rank --------------------------------------------------------------------


@pytest.mark.parametrize("offset", [0, 1e4])
@pytest.mark.parametrize("gains", [(1, 1), (1, -2, 0.1)])
def test_copied_channels_add_nothing(gains, offset):
    x = recordings(lengths=(3000,))[0]
    alone = PastFutureCCA(6, 5).fit(x)
    copied = (x[:, None] + offset) * gains
    cca = PastFutureCCA(6, 5).fit(copied)
    np.testing.assert_allclose(cca.correlations_[:5], alone.correlations_, atol=1e-6)
    np.testing.assert_allclose(cca.correlations_[5:], 0, atol=1e-6)
    assert cca.information() == pytest.approx(alone.information(), rel=1e-5)
    assert np.isfinite(cca.filters_).all()
    z = cca.transform(copied)[:-5, :5]
    np.testing.assert_allclose(z.T @ z / len(z), np.eye(5), atol=1e-6)


def test_a_constant_channel_is_ignored():
    x = recordings(lengths=(3000,))[0]
    alone = PastFutureCCA(4, 3).fit(x)
    for constant in (0.0, 0.1, 1e6):
        cca = PastFutureCCA(4, 3).fit(np.column_stack([np.full_like(x, constant), x]))
        np.testing.assert_allclose(cca.correlations_[:3], alone.correlations_, atol=1e-9)
        np.testing.assert_allclose(cca.correlations_[3:], 0, atol=1e-9)
        np.testing.assert_allclose(np.abs(cca.filters_[0, 1]), np.abs(alone.filters_[0]), rtol=1e-6)


@pytest.mark.parametrize("offset", [0, 1e4])
def test_noise_free_oscillations(offset):
    """Two sinusoids are a state of four numbers: the future is known, and four are enough."""
    t = np.arange(5000)
    x = np.sin(0.1 * t) + 0.5 * np.cos(0.7 * t + 1)
    cca = PastFutureCCA(20, 12).fit(x + offset)
    np.testing.assert_allclose(cca.correlations_[:4], 1, atol=1e-6)
    np.testing.assert_allclose(cca.correlations_[4:], 0, atol=1e-6)
    assert cca.correlations_.max() <= 1
    assert np.isfinite([*cca.filters_.ravel(), *cca.future_filters_.ravel()]).all()
    assert cca.information() > 20


def test_fewer_windows_than_lags():
    x = np.random.default_rng(3).standard_normal(30)
    cca = PastFutureCCA(20, 6).fit(x)  # 5 windows, 4 of them free once centred
    np.testing.assert_allclose(cca.correlations_, [1, 1, 1, 1, 0, 0], atol=1e-6)
    assert np.isfinite(cca.filters_).all()


# scikit-learn's conventions and state --------------------------------------------------------


def test_partial_fits_equal_one_fit_in_any_order():
    series = [y + b for y, b in zip(recordings(2, (90, 200, 60)), (0, 30, -4), strict=True)]
    whole = PastFutureCCA(4, 3, rank=2, ridge=0.01).fit(series)
    for order in ([0, 1, 2], [2, 0, 1]):
        parts = PastFutureCCA(4, 3, rank=2, ridge=0.01)
        for i in order:
            assert parts.partial_fit(series[i]) is parts
        np.testing.assert_allclose(parts.correlations_, whole.correlations_, rtol=1e-8)
        np.testing.assert_allclose(parts.filters_, whole.filters_, atol=1e-7)
        np.testing.assert_allclose(
            parts.transform(series[0]), whole.transform(series[0]), atol=1e-7
        )
    # `fit` forgets, ready covariances leave nothing to add to.
    again = parts.fit(series[0]).correlations_
    fresh = PastFutureCCA(4, 3, rank=2, ridge=0.01).fit(series[0])
    np.testing.assert_array_equal(again, fresh.correlations_)
    blocks = whole.covariance_.blocks()
    parts.fit(series[1]).fit_covariance(*blocks)
    # Ready covariances have no mean to subtract.
    z = whole.transform(series[0]) + whole.filters_.reshape(2, -1) @ whole.mean_
    np.testing.assert_allclose(parts.transform(series[0]), z, atol=1e-7)
    np.testing.assert_array_equal(parts.partial_fit(series[0]).correlations_, fresh.correlations_)
    ready = PastFutureCCA(4, 3, rank=2, ridge=0.01).fit_covariance(*blocks)
    np.testing.assert_allclose(ready.transform(series[0]), z, atol=1e-7)


def test_estimator_conventions():
    parameters = {"memory": 5, "horizon": 4, "rank": 2, "gap": 3, "ridge": 0.1, "center": False}
    cca = PastFutureCCA(**parameters)
    assert cca.get_params() == parameters
    x = recordings()[0]
    twin = clone(cca.fit(x))
    assert twin.get_params() == parameters
    for use in (lambda: twin.transform(x), twin.information):
        with pytest.raises(NotFittedError):
            use()
    np.testing.assert_array_equal(twin.fit_transform(x), cca.transform(x))
    np.testing.assert_array_equal(make_pipeline(clone(cca)).fit_transform(x), cca.transform(x))
    few, many = twin.set_params(rank=1).fit(x), cca.set_params(rank=None).fit(x)
    np.testing.assert_allclose(few.filters_, many.filters_[:1], atol=1e-12)
    np.testing.assert_array_equal(few.correlations_, many.correlations_)
    # A wrong parameter is found when it is used, as `clone` and searches expect.
    PastFutureCCA(memory="five", horizon=-1)


def test_inputs_are_not_modified():
    series = recordings(2)
    blocks = LagCovariance(4, 3, channels=2).update(series).blocks()
    filters = np.random.default_rng(0).standard_normal((2, 8))
    for array in (*series, *blocks, filters):
        array.flags.writeable = False
    PastFutureCCA(4, 3, ridge=0.1).fit(series).transform(series)
    PastFutureCCA(4, 3, ridge=0.1).fit_covariance(*blocks)
    min_projection_filters(*blocks)
    hankel_filters(*blocks)
    assert projection_information(filters, *blocks) > 0


# Bad input -----------------------------------------------------------------------------------


def series():
    return np.random.default_rng(8).standard_normal(60) + 5


def spoiled(value):
    x = series()
    x[17] = value
    return x


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (spoiled(np.nan), "finite, got nan"),
        (spoiled(np.inf), "finite, got inf"),
        (series() * 1e200, "x must .*squares"),
        (series()[:8], "x must have at least 9 samples, got 8"),
        (np.zeros(0), r"x must have at least \d samples, got 0"),
        ([], "x must hold at least one recording"),
        ([series(), series()[:3]], r"x\[1\] must have at least 9 samples, got 3"),
        (series().reshape(3, 4, 5), "x must have shape"),
        (series() + 0j, "x must hold integers or real floats"),
        (series().astype(str), "x must hold integers or real floats"),
        (np.zeros((60, 0)), "x must have 1 channels, got 0"),
        (np.zeros(60), "x must vary: .* no canonical directions$"),
        (np.full(100_003, 0.1), "x must vary"),
        (np.full(100_003, 0.1, np.float32), "x must vary"),
        (np.full((60, 2), [1e6, -0.3]), "x must vary"),
        ([np.full(60, 0.3), np.full(9, 0.1 * 3)], "x must vary"),  # equal up to rounding
    ],
)
def test_bad_series_leave_the_estimator_as_it_was(x, message):
    with pytest.raises(ValueError, match=message):
        PastFutureCCA(4, 3, gap=3).fit(x)
    cca = PastFutureCCA(4, 3, gap=3).fit(series())
    before = cca.transform(series())
    for learn in (cca.fit, cca.partial_fit) if "vary" not in message else (cca.fit,):
        with pytest.raises(ValueError, match=message):
            learn(x)
        np.testing.assert_array_equal(cca.transform(series()), before)
        assert cca.covariance_.n_windows == 52


def test_refused_learning_leaves_the_estimator_as_it_was():
    cca = PastFutureCCA(4, 3).fit(series())
    before = cca.transform(series())
    blocks = cca.covariance_.blocks()
    for refused in (
        lambda: cca.fit_covariance(blocks.past, blocks.cross, -blocks.future),
        lambda: cca.fit_covariance(np.eye(5), np.zeros((3, 5)), np.eye(3)),
        lambda: cca.set_params(rank=4).partial_fit(series() + 9),
        lambda: cca.set_params(rank=4).fit(series() + 9),
        lambda: cca.set_params(rank=None, gap=2).partial_fit(series() + 9),
    ):
        with pytest.raises(ValueError, match="must"):
            refused()
        np.testing.assert_array_equal(cca.transform(series()), before)
        assert cca.covariance_.n_windows == 54


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        *[
            ({name: value}, f"^{name} must be an integer >= 1, got {value!r}")
            for name in ("memory", "horizon", "gap", "rank")
            for value in (0, -1, 3.0, True, "3")
        ],
        ({"rank": 4}, r"^rank must be at most .*3, got 4"),
        *[({"ridge": r}, "^ridge must be a finite") for r in (-0.1, np.nan, "1", 1j, None, True)],
        *[({"center": c}, "^center must be True or False") for c in (None, 1, "yes")],
    ],
)
def test_bad_parameters(parameters, message):
    blocks = LagCovariance(4, 3).update(series()).blocks()
    for learn in ("fit", "partial_fit", "fit_covariance"):
        cca = PastFutureCCA(**{"memory": 4, "horizon": 3} | parameters)
        with pytest.raises(ValueError, match=message):
            getattr(cca, learn)(*(blocks if learn == "fit_covariance" else [series()]))
        assert not hasattr(cca, "filters_")


@pytest.mark.parametrize(("past", "future"), [(5, 3), (4, 4), (8, 3)])
def test_ready_blocks_must_fit_the_geometry(past, future):
    with pytest.raises(ValueError, match=r"past and future must have shapes .*horizon 3"):
        PastFutureCCA(4, 3).fit_covariance(np.eye(past), np.zeros((future, past)), np.eye(future))


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (spoiled(np.nan), "finite, got nan"),
        (series()[:3], "x must have at least 4 samples, got 3"),
        (np.ones((9, 2)), "x must have 1 channels, got 2"),
        (series() + 0j, "x must hold integers or real floats"),
    ],
)
def test_transform_refuses_bad_series(x, message):
    cca = PastFutureCCA(4, 3).fit(series())
    with pytest.raises(ValueError, match=message):
        cca.transform(x)


@pytest.mark.parametrize("rank", [0, -1, 4, 2.0, True])
def test_information_of_an_impossible_rank(rank):
    with pytest.raises(ValueError, match=f"rank must be .*got {rank}"):
        PastFutureCCA(4, 3).fit(series()).information(rank)


def test_examples_in_the_docstrings():
    failed, tried = doctest.testmod(cca_module)
    assert tried > 0
    assert not failed

"""Lag moments against dense products of lag vectors, however the series is cut, fed and merged."""

import doctest
import itertools
from unittest import mock

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from threadpoolctl import threadpool_limits

import lib.lags as lags
from lib import _stacks
from lib._checks import check_recordings
from lib.lags import LagCovariance, lag_vectors

generated = settings(
    max_examples=80,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.too_slow],  # a busy machine is no failure
)


def loop_lag_vectors(recordings, memory, horizon, gap):
    """Eq. 3 read out word by word: p(t) = y(t), y(t-1), ...; f(t) = y(t+gap), ..."""
    past, future = [], []
    for y in recordings:
        y = np.asarray(y, dtype=float)
        y = y[:, None] if y.ndim == 1 else y
        for t in range(memory - 1, len(y) - gap - horizon + 1):
            past.append([y[t - k, c] for c in range(y.shape[1]) for k in range(memory)])
            future.append([y[t + gap + j, c] for c in range(y.shape[1]) for j in range(horizon)])
    return np.array(past), np.array(future)


def dense_blocks(past, future):
    n = len(past)
    return past.T @ past / n, future.T @ past / n, future.T @ future / n


def assert_blocks(found, wanted, rtol=1e-10, scale=None):
    """Entries agree to `rtol` of the largest, or of `scale`."""
    for name, have, want in zip(("past", "cross", "future"), found, wanted, strict=True):
        atol = rtol * (np.abs(want).max() if scale is None else scale)
        np.testing.assert_allclose(have, want, rtol=0, atol=atol, err_msg=name)


def assert_same(one, other, rtol=1e-10):
    assert one.n_windows == other.n_windows
    for center in (False, True):
        assert_blocks(one.blocks(center), other.blocks(center), rtol)
    np.testing.assert_allclose(np.concatenate(one.means), np.concatenate(other.means), rtol=1e-12)


@st.composite
def problems(draw):
    """A geometry and recordings for it, among them ones that hold a single window."""
    memory, horizon, gap = draw(st.tuples(*[st.integers(1, 6)] * 3))
    channels = draw(st.integers(1, 3))
    span = memory + gap + horizon - 1
    extras = draw(st.lists(st.integers(0, 150), min_size=1, max_size=6))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    color = rng.standard_normal((channels, channels))
    recordings = [
        rng.standard_normal((span + extra, channels)).cumsum(axis=0) @ color
        + rng.standard_normal(channels)
        for extra in extras
    ]
    return (memory, horizon, gap, channels), recordings


@generated
@given(problem=problems(), plan=st.data())
def test_any_split_order_and_merge_equal_the_dense_product(problem, plan):
    geometry, recordings = problem
    memory, horizon, gap = geometry[:3]
    past, future = loop_lag_vectors(recordings, memory, horizon, gap)
    parts = [LagCovariance(*geometry) for _ in range(plan.draw(st.integers(1, 3)))]
    # Small stacks and pieces, so that short series meet every seam that long ones do.
    sizes = {
        "_BATCH": [1, 200, 1 << 20],
        "_STACK": [1, 40, 1 << 16],
        "_PIECE": [1, 8, 64, 1024],
        "_LENGTHS": [1, 2, 16],
        "_BLOCK": [1, 2, 5, 16],
        "_PRODUCT": [1, 1 << 18],
    }
    sizes = {name: plan.draw(st.sampled_from(values)) for name, values in sizes.items()}
    with mock.patch.multiple(_stacks, **sizes):
        order = plan.draw(st.permutations(range(len(recordings))))
        while order:
            size = plan.draw(st.integers(1, len(order)))
            batch, order = order[:size], order[size:]
            part = plan.draw(st.sampled_from(parts))
            if size == 1 and plan.draw(st.booleans()):
                part.update(recordings[batch[0]])
            else:
                part.update([recordings[i] for i in batch])
    merged = sum(parts[1:], parts[0])
    assert merged.n_windows == len(past)
    wanted = dense_blocks(past, future)
    assert_blocks(merged.blocks(center=False), wanted)
    assert_blocks((merged.past, merged.cross, merged.future), wanted)
    centred = dense_blocks(past - past.mean(axis=0), future - future.mean(axis=0))
    # A single window leaves no variance to be relative to.
    assert_blocks(merged.blocks(), centred, scale=np.abs(wanted[0]).max())
    for have, want in zip(merged.means, (past, future), strict=True):
        np.testing.assert_allclose(have, want.mean(axis=0), rtol=0, atol=1e-11 * np.abs(want).max())


@generated
@given(problem=problems())
def test_lag_vectors_are_the_loop_of_equation_3(problem):
    (memory, horizon, gap, _), recordings = problem
    for have, want in zip(
        lag_vectors(recordings, memory, horizon, gap),
        loop_lag_vectors(recordings, memory, horizon, gap),
        strict=True,
    ):
        np.testing.assert_array_equal(have, want)


@pytest.mark.parametrize(
    ("lengths", "memory", "horizon", "gap", "channels"),
    [
        ([200_003], 50, 50, 1, 1),
        ([65_536, 65_537], 3, 70, 5, 1),
        ([30_000], 20, 10, 5, 6),
        ([1_000] * 70, 25, 25, 1, 1),
        ([12] * 600, 5, 4, 3, 2),
        ([12_000], 2, 1, 1, 80),
        # Windows longer than a block of columns is wide.
        ([700, 311, 400], 150, 140, 20, 1),
        # More recordings than make a stack, and more lengths than are kept apart.
        ([432] * 400, 50, 50, 1, 1),
        ([383] * 400, 31, 1, 1, 2),
        ([*range(120, 160), 1_500], 10, 20, 4, 2),
    ],
)
def test_sizes_that_cross_the_real_buffers(lengths, memory, horizon, gap, channels):
    rng = np.random.default_rng(1)
    mixing = rng.standard_normal((channels, channels))
    series = [
        np.sin(np.arange(n) / 9)[:, None] + rng.standard_normal((n, channels)) for n in lengths
    ]
    series = [y @ mixing + 3 for y in series]
    wanted = dense_blocks(*lag_vectors(series, memory, horizon, gap))
    covariance = LagCovariance(memory, horizon, gap, channels).update(series)
    assert_blocks((covariance.past, covariance.cross, covariance.future), wanted, 1e-12)


@pytest.mark.parametrize("n_samples", [12, 40, 5000])
@pytest.mark.parametrize("order", ["C", "F"])
def test_stacks_are_recordings_of_one_length(n_samples, order):
    rng = np.random.default_rng(13)
    arrays = [3 + rng.standard_normal((n, n_samples, 2)) for n in (7, 1)]
    covariance = LagCovariance(5, 6, 2, channels=2).update(good())
    covariance.update_stacks(np.array(array, order=order) for array in arrays)
    wanted = LagCovariance(5, 6, 2, channels=2).update([good(), *arrays[0], *arrays[1]])
    assert_same(covariance, wanted, 1e-11)
    arrays[1][0, 10, 1] = np.nan
    with pytest.raises(ValueError, match="arrays must be finite"):
        covariance.update_stacks(arrays)
    assert_same(covariance, wanted, 1e-11)


@pytest.mark.parametrize(("n", "length", "channels"), [(1, 50_000, 1), (300, 500, 3)])
def test_moments_do_not_depend_on_the_number_of_threads(n, length, channels):
    series = list(np.random.default_rng(14).standard_normal((n, length, channels)))
    found = []
    for threads in (1, 2):
        with threadpool_limits(threads):
            found.append(LagCovariance(50, 40, channels=channels).update(series))
    assert_same(*found, 0)


def test_centred_blocks_are_numpys_covariance():
    x = np.random.default_rng(2).standard_normal((400, 2)).cumsum(axis=0)
    joint = np.cov(np.hstack(lag_vectors(x, 4, 3, 2)), rowvar=False, bias=True)
    wanted = joint[:8, :8], joint[8:, :8], joint[8:, 8:]
    assert_blocks(LagCovariance(4, 3, 2, channels=2).update(x).blocks(), wanted)


@pytest.mark.parametrize("offset", [1e6, -3e8])
def test_an_offset_costs_no_precision(offset):
    x = offset + np.random.default_rng(3).standard_normal(70_000)
    rest = x - offset  # exact in floating point
    past, future = lag_vectors(rest, 5, 4)
    wanted = dense_blocks(past - past.mean(axis=0), future - future.mean(axis=0))
    whole = LagCovariance(5, 4).update(x)
    assert_blocks(whole.blocks(), wanted, 1e-11)
    # The parts' shifts differ slightly: merging must move sums from one to the other.
    halves = [LagCovariance(5, 4).update(y) for y in (x[:300], x[300 - 8 :])]
    assert_blocks((halves[0] + halves[1]).blocks(), wanted, 1e-10)


def test_moments_scale_with_the_square_of_units():
    x = np.random.default_rng(4).standard_normal(1000)
    base = LagCovariance(4, 3).update(x)
    for unit in (1e-9, 2.0, 1e9):
        scaled = LagCovariance(4, 3).update(unit * x)
        assert_blocks([b / unit**2 for b in scaled.blocks()], base.blocks(), 1e-12)


def test_addition_commutes_associates_and_leaves_its_operands_alone():
    rng = np.random.default_rng(5)
    # Far apart offsets give each part a shift of its own.
    series = [rng.standard_normal((n, 2)) + b for n, b in ((40, 0), (90, [900, -4]), (25, -70))]
    a, b, c = (LagCovariance(3, 4, 2, channels=2).update(x) for x in series)
    before = [part.blocks() for part in (a, b, c)]
    together = LagCovariance(3, 4, 2, channels=2).update(series)
    for order in itertools.permutations((a, b, c)):
        assert_same(order[0] + order[1] + order[2], together)
        assert_same(order[0] + (order[1] + order[2]), together)
    empty = LagCovariance(3, 4, 2, channels=2)
    assert_same(empty + a, a)
    assert_same(a + empty, a)
    assert (empty + empty).n_windows == 0
    for part, blocks in zip((a, b, c), before, strict=True):
        assert_blocks(part.blocks(), blocks, 0)
    # A sum is a part like any other and goes on accumulating.
    assert_same((a + b).update(series[2]), together)


@pytest.mark.parametrize("other", [(4, 4, 2, 2), (3, 5, 2, 2), (3, 4, 1, 2), (3, 4, 2, 1)])
def test_parts_of_another_geometry_are_refused(other):
    with pytest.raises(
        ValueError, match=r"^parts to add must agree in \(memory, .*\), got \(3, 4, 2, 2\) and"
    ):
        LagCovariance(3, 4, 2, 2) + LagCovariance(*other)


def test_parts_are_summed_as_numbers_are():
    parts = [LagCovariance(2, 1).update(x) for x in np.arange(12.0).reshape(3, 4) ** 2]
    assert_same(sum(parts), parts[0] + parts[1] + parts[2], 0)
    for number in (1, 0.0):
        with pytest.raises(TypeError):
            number + parts[0]


def test_only_moments_can_be_added():
    with pytest.raises(TypeError, match="LagCovariance"):
        LagCovariance(3, 4) + 1


def read_only(x):
    x = x.copy()
    x.flags.writeable = False
    return x


@pytest.mark.parametrize(
    "convert",
    [
        read_only,
        lambda x: np.repeat(x, 3, axis=0)[::3],
        lambda x: np.asfortranarray(x)[::-1][::-1],
        lambda x: x.astype(">f8"),
        lambda x: x.astype(np.float32),
        lambda x: x.astype(np.float16),
        lambda x: x.astype(np.longdouble),
        lambda x: x.astype(np.int8),
        lambda x: x.astype(np.uint8),
        lambda x: x.astype(np.int64) * 2**40,
    ],
)
@pytest.mark.parametrize("channels", [1, 2])
def test_layouts_and_dtypes(convert, channels):
    # Whole numbers that every dtype holds exactly, but whose squares the narrow ones do not.
    x = np.random.default_rng(6).integers(0, 120, (500, channels)).astype(float)
    x = convert(x if channels > 1 else x[:, 0])
    before = x.copy()
    wanted = dense_blocks(*loop_lag_vectors([x], 4, 3, 2))
    covariance = LagCovariance(4, 3, 2, channels).update(x)
    assert_blocks((covariance.past, covariance.cross, covariance.future), wanted)
    assert_blocks(dense_blocks(*lag_vectors(x, 4, 3, 2)), wanted)
    np.testing.assert_array_equal(x, before)


def test_memory_maps_and_mixed_dtypes(tmp_path):
    x = np.random.default_rng(7).integers(-9, 9, 2000)
    np.save(tmp_path / "x.npy", x.astype(np.float32))
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    covariance = LagCovariance(3, 3).update((mapped, x.astype(np.int16), list(x)))
    assert_same(covariance, LagCovariance(3, 3).update([x.astype(float)] * 3))


def good(n=30):
    return np.random.default_rng(8).standard_normal((n, 2))


def spoiled(value):
    x = good()
    x[17, 1] = value
    return x


BAD_SERIES = {
    "nan": (spoiled(np.nan), r"^x must be finite, got nan at index \(17, 1\)"),
    "inf": (spoiled(-np.inf), r"^x must be finite, got -inf at index \(17, 1\)"),
    "nan in a list": ([good(), spoiled(np.nan)], r"^x\[1\] must be finite, got nan at index"),
    "nan in a list of one": ([spoiled(np.nan)], r"^x must be finite, got nan at index \(17, 1\)"),
    "huge": (good() * 1e200, "x .*squares"),
    "huge but finite mean": (good() * 1e307, "x .*squares"),
    "empty": (np.zeros((0, 2)), "x must have at least 8 samples, got 0"),
    "empty list": ([], "x must hold at least one recording"),
    "too short": (good(7), "x must have at least 8 samples, got 7"),
    "too short in a list": ([good(), good(7)], r"x\[1\] must have at least 8 samples, got 7"),
    "other channels": (good()[:, :1], "x must have 2 channels, got 1"),
    "no channel axis": ([good(), good()[:, 0]], r"x\[1\] must have 2 channels, got 1"),
    "three axes": (good()[None], r"x must have shape \(n_samples,\).*\(1, 30, 2\)"),
    "scalar": (3.0, r"x must have shape .*got \(\)"),
    "complex": (good() + 0j, "x must hold integers or real floats, got dtype complex128"),
    "object": (good().astype(object), "x must hold .*got dtype object"),
    "str": (good().astype(str), "x must hold .*got dtype <U"),
    "bool": (good() > 0, "x must hold .*got dtype bool"),
    "None": (None, "x must hold .*got dtype object"),
}


@pytest.mark.parametrize(("x", "message"), BAD_SERIES.values(), ids=BAD_SERIES.keys())
def test_bad_series_are_named_and_nothing_is_added(x, message):
    far = good() + 1e6
    covariance = LagCovariance(3, 4, 2, channels=2).update(far)
    with pytest.raises(ValueError, match=message):
        covariance.update(x)
    untouched = LagCovariance(3, 4, 2, channels=2).update(far)
    assert_same(covariance, untouched, 0)
    # Neither does a refused first recording leave a trace in what follows.
    fresh = LagCovariance(3, 4, 2, channels=2)
    with pytest.raises(ValueError, match=message):
        fresh.update(x)
    assert fresh.n_windows == 0
    assert_same(fresh.update(far), untouched, 0)


@pytest.mark.parametrize("n", [8, 2000])
def test_a_series_that_hardly_varies_is_refused_however_long_it_is(n):
    covariance = LagCovariance(3, 4, 2, channels=2)
    with pytest.raises(ValueError, match=r"^x must vary by 1e-140 or more"):
        covariance.update(good(n) * 1e-141)
    assert covariance.update(good(n) * 1e-139).n_windows == n - 7


@pytest.mark.parametrize("index", [(0, 1), (15, 0), (16, 1), (40, 0)])
def test_the_first_bad_sample_of_a_long_series_is_named(monkeypatch, index):
    monkeypatch.setattr(lags, "_CHUNK", 16)
    x = good(60)
    x[index], x[55] = np.nan, np.inf
    with pytest.raises(ValueError, match=rf"got nan at index \({index[0]}, {index[1]}\)"):
        LagCovariance(3, 4, 2, channels=2).update(x)


def test_checked_recordings_are_checked_again_for_another_use():
    checked = check_recordings([good(), good(12)], 2, 8)
    assert check_recordings(checked, 2, 12) is checked
    assert LagCovariance(3, 4, 2, channels=2).update(checked).n_windows == 28
    with pytest.raises(ValueError, match=r"x\[1\] must have at least 13 samples, got 12"):
        LagCovariance(6, 6, 2, channels=2).update(checked)
    with pytest.raises(ValueError, match=r"x\[0\] must have 1 channels, got 2"):
        LagCovariance(3, 4, 2).update(checked)


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (spoiled(np.nan), r"(x|recording 0).*finite, got nan"),
        (good(7), "x must have at least 8 samples"),
        ([], "x must hold at least one recording"),
        ([good(), good()[:, 0]], r"x\[1\] must have 2 channels, got 1"),
        (good() + 0j, "x must hold integers or real floats"),
    ],
)
def test_lag_vectors_refuse_bad_series(x, message):
    with pytest.raises(ValueError, match=message):
        lag_vectors(x, 3, 4, 2)


@pytest.mark.parametrize("name", ["memory", "horizon", "gap", "channels"])
@pytest.mark.parametrize("value", [0, -2, 2.0, True, "3", None])
def test_geometry_must_be_positive_integers(name, value):
    with pytest.raises(ValueError, match=rf"^{name} must be an integer >= 1, got {value!r}"):
        LagCovariance(**{"memory": 3, "horizon": 4, "gap": 1, "channels": 1, name: value})
    if name != "channels":
        with pytest.raises(ValueError, match=rf"^{name} must be an integer"):
            lag_vectors(good(), **{"memory": 3, "horizon": 4, "gap": 1, name: value})


@pytest.mark.parametrize("name", ["past", "cross", "future", "means"])
def test_no_moments_before_the_first_update(name):
    with pytest.raises(ValueError, match="no windows yet"):
        getattr(LagCovariance(3, 4), name)


def test_examples_in_the_docstrings():
    failed, tried = doctest.testmod(lags)
    assert tried > 0
    assert not failed

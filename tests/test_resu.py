"""Units, layers and networks against plain NumPy loops, exact symmetries and closed forms."""

import doctest
import tracemalloc
from unittest import mock

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lib import _stacks, resu
from lib.cca import PastFutureCCA
from lib.resu import (
    L1,
    L2,
    L3,
    T4,
    ReSU,
    ReSULayer,
    ReSUNetwork,
    Unit,
    noisy_rectification,
    rectify,
)

generated = settings(max_examples=40, deadline=None, derandomize=True, database=None)


def test_examples():
    assert doctest.testmod(resu, extraglobs={"np": np}).failed == 0


def recordings(seed=0, lengths=(300, 257, 300, 411), channels=None):
    """Smooth, skewed series, so that no symmetry of Gaussians helps."""
    rng = np.random.default_rng(seed)
    shape = () if channels is None else (channels,)
    series = []
    for n in lengths:
        steps = rng.exponential(size=(n + 30, *shape)) - 1.0
        kernel = np.exp(-0.5 * ((np.arange(31) - 15) / 4) ** 2)
        smooth = np.apply_along_axis(np.convolve, 0, steps, kernel, "valid")
        series.append(smooth + 0.1 * rng.standard_normal(smooth.shape))
    return series


def loop_project(y, filters, mean):
    """z_i(t) = Σ_c Σ_k ψ_i[c, k] (y_c(t - k) - mean[c, k]), written out."""
    y = y[:, None] if y.ndim == 1 else y
    n_units, channels, memory = filters.shape
    z = np.zeros((len(y) - memory + 1, n_units))
    for t in range(memory - 1, len(y)):
        for i in range(n_units):
            for c in range(channels):
                for k in range(memory):
                    z[t - memory + 1, i] += filters[i, c, k] * (y[t - k, c] - mean[c * memory + k])
    return z


def loop_rectify(z, units):
    out = z.copy()
    for i, (_, kind) in enumerate(units):
        for t in range(len(z)):
            if kind == "on":
                out[t, i] = max(0.0, z[t, i])
            elif kind == "off":
                out[t, i] = max(0.0, -z[t, i])
    return out


def loop_pool(traces, shifts):
    """Channels by pixel, then by unit: pixel j sees sample t + shift_j at time t."""
    low, high = min(shifts), max(shifts)
    return np.array(
        [
            [value for shift in shifts for value in traces[t + shift - low]]
            for t in range(len(traces) - (high - low))
        ]
    )


def dense_cca(series, memory, horizon, gap, center):
    """Filters (rank, channels, memory), correlations and future filters from dense lag vectors."""
    past, future = [], []
    for y in series:
        for t in range(memory - 1, len(y) - gap - horizon + 1):
            past.append([y[t - k, c] for c in range(y.shape[1]) for k in range(memory)])
            future.append([y[t + gap + j, c] for c in range(y.shape[1]) for j in range(horizon)])
    return solve(np.array(past), np.array(future), memory, center)


def solve(past, future, memory, center=False):
    if center:
        past, future = past - past.mean(axis=0), future - future.mean(axis=0)
    n = len(past)
    return solve_blocks(past.T @ past / n, future.T @ past / n, future.T @ future / n, memory)


def solve_blocks(pp, fp, ff, memory):
    def root(c):
        values, vectors = np.linalg.eigh(c)
        return vectors / np.sqrt(values) @ vectors.T

    u, s, vt = np.linalg.svd(root(ff) @ fp @ root(pp), full_matrices=False)
    return (vt @ root(pp)).reshape(len(s), -1, memory), s, u.T @ root(ff)


def assert_up_to_sign(found, wanted, rtol=1e-6):
    for i, (have, want) in enumerate(zip(found, wanted, strict=True)):
        sign = np.sign((have * want).sum())
        np.testing.assert_allclose(
            sign * have, want, rtol=0, atol=rtol * np.abs(want).max(), err_msg=f"direction {i + 1}"
        )


# --- the unit


def test_halves_add_up():
    z = np.random.default_rng(0).standard_normal(1000)
    np.testing.assert_array_equal(rectify(z, "on") - rectify(z, "off"), z)
    np.testing.assert_array_equal(rectify(z, "on") + rectify(z, "off"), np.abs(z))
    assert rectify(z, None) is z


@pytest.mark.parametrize("kind", ["on", "off", None])
@pytest.mark.parametrize("noise_std", [0.01, 0.7])
def test_noise_is_averaged_as_quadrature_does(kind, noise_std):
    z = noise_std * np.linspace(-9.5, 9.5, 39)
    n = np.linspace(-12, 12, 200_001)
    weights = np.exp(-0.5 * n**2) / np.sqrt(2 * np.pi) * (n[1] - n[0])
    passed = rectify(z[:, None] + noise_std * n, kind)
    mean, variance = noisy_rectification(z, kind, noise_std)
    np.testing.assert_allclose(mean, passed @ weights, atol=1e-8 * noise_std)
    expected = (passed - mean[:, None]) ** 2 @ weights
    np.testing.assert_allclose(variance, expected.sum(), atol=1e-7 * noise_std**2)
    each = [noisy_rectification(z[i : i + 1], kind, noise_std)[1] for i in range(len(z))]
    np.testing.assert_allclose(each, expected, atol=1e-7 * noise_std**2)


def test_without_noise_nothing_is_averaged():
    z = np.random.default_rng(1).standard_normal(50)
    for kind in ("on", "off", None):
        mean, variance = noisy_rectification(z, kind, 0.0)
        np.testing.assert_array_equal(mean, rectify(z, kind))
        np.testing.assert_array_equal(variance, 0)


# --- the layer


@generated
@given(
    st.integers(1, 9),
    st.integers(1, 3),
    st.integers(0, 200),
    st.booleans(),
    st.integers(0, 2**31),
)
def test_layer_output_equals_a_plain_loop(memory, channels, extra, center, seed):
    series = recordings(seed, (60, 90), channels)
    units = [Unit(1), Unit(min(2, memory * channels), "on"), Unit(1, "off")]
    layer = ReSULayer(memory, memory, units, gap=2, center=center).fit(series)
    y = np.random.default_rng(seed).standard_normal((memory + extra, channels))
    filters = layer.filters_.reshape(3, channels, memory)
    z = loop_project(y, filters, layer.cca_.mean_)
    scale = np.abs(z).max() + np.abs(filters).max()
    np.testing.assert_allclose(layer.project(y), z, rtol=0, atol=1e-11 * scale)
    wanted = loop_rectify(layer.project(y), units)
    np.testing.assert_array_equal(layer.transform(y), wanted)


@pytest.mark.parametrize("n_times", [1, 5, 200, 3000])
@pytest.mark.parametrize(("n", "product"), [(1, 1 << 18), (70, 1 << 18), (70, 1)])
def test_stacks_are_filtered_as_numpy_convolves(n, n_times, product):
    rng = np.random.default_rng(22)
    stack, filters = rng.standard_normal((n, n_times + 8, 2)), rng.standard_normal((3, 2, 9))
    with mock.patch.object(_stacks, "_PRODUCT", product):
        found = _stacks.convolve(stack, filters)
    for y, z in zip(stack[:: max(n // 3, 1)], found[:: max(n // 3, 1)], strict=True):
        for i, psi in enumerate(filters):
            wanted = sum(np.convolve(y[:, c], psi[c], "valid") for c in range(2))
            np.testing.assert_allclose(z[:, i], wanted, rtol=0, atol=1e-12)


def test_layer_learns_what_the_cca_learns():
    for channels in (None, 2):
        series = recordings(3, channels=channels)
        for center in (True, False):
            layer = ReSULayer(12, 8, [L3, L1], gap=3, ridge=1e-3, center=center).fit(series)
            cca = PastFutureCCA(12, 8, gap=3, ridge=1e-3, center=center).fit(series)
            np.testing.assert_allclose(layer.cca_.correlations_, cca.correlations_, atol=1e-12)
            np.testing.assert_allclose(layer.cca_.mean_, cca.mean_, atol=1e-12)
            np.testing.assert_allclose(layer.filters_, cca.filters_[:2], rtol=1e-6, atol=1e-8)
            wanted = cca.transform(series[0])[:, :2]
            np.testing.assert_allclose(layer.project(series[0]), wanted, atol=1e-7)


def test_units_pick_their_directions():
    series = recordings(4)
    layer = ReSULayer(10, 10, [(3, "off"), (1, None), (3, "on")]).fit(series)
    np.testing.assert_array_equal(layer.filters_, layer.cca_.filters_[[2, 0, 2]])
    off, linear, on = layer.transform(series[1]).T
    np.testing.assert_array_equal(on - off, layer.project(series[1])[:, 2])
    np.testing.assert_array_equal(linear, layer.project(series[1])[:, 1])


def test_lone_units_are_those_of_the_layer():
    series = recordings(5)
    layer = ReSULayer(10, 10, [L3, L1, L2]).fit(series)
    wanted = layer.transform(series)
    for i, (direction, kind) in enumerate([L3, L1, L2]):
        unit = ReSU(10, 10, direction=direction, rectification=kind).fit(series)
        for found, want in zip(unit.transform(series), wanted, strict=True):
            np.testing.assert_allclose(found, want[:, [i]], rtol=0, atol=1e-12)


def test_signs_mean_brighter():
    layer = ReSULayer(15, 15, [L3, L1, L2]).fit(recordings(6))
    step = np.concatenate([np.zeros(30), np.ones(30)])
    z = layer.project(step)
    change = z - z[0]
    for i in range(3):
        assert change[np.abs(change[:, i]).argmax(), i] > 0
    _, l1, l2 = layer.transform(step).T
    assert l1.max() > l1[0]
    assert l2.max() - l2[0] < l1.max() - l1[0]


def test_recordings_may_come_one_by_one_and_in_batches():
    series = recordings(7, lengths=(150,) * 30 + (149, 151))
    whole = ReSULayer(10, 10, [L3]).fit(series)
    with mock.patch.object(_stacks, "_BATCH", 700):
        for x in (series, tuple(series), (y for y in series), (y[:, None] for y in series[::-1])):
            found = ReSULayer(10, 10, [L3]).fit(x)
            np.testing.assert_allclose(found.cca_.filters_[:4], whole.cca_.filters_[:4], atol=1e-7)
    alone = ReSULayer(10, 10, [L3]).fit(series[0])
    assert alone.cca_.filters_.shape == (10, 10)


# --- the network


def network(shifts=((8, 4, 0),), gap=3, units=(T4,), memory=1, horizon=1, center=False, **keywords):
    layers = [
        ReSULayer(12, 12, [L3, L1]),
        ReSULayer(memory, horizon, units, gap=gap, center=center),
    ]
    return ReSUNetwork(layers, shifts, **keywords)


def loop_traces(layer, series, normalise):
    traces = []
    for y in series:
        z = loop_project(
            y, layer.filters_.reshape(len(layer.units), -1, layer.memory), layer.cca_.mean_
        )
        if normalise:
            z = z / np.array([np.sqrt(np.mean((c - c.mean()) ** 2)) for c in z.T])
        traces.append(z)
    return traces


@pytest.mark.parametrize("normalise", ["trace", None])
@pytest.mark.parametrize(
    "geometry",
    [
        {},
        {"shifts": ((0, 4, 8),), "gap": 1},
        {"shifts": ((9, 17, 1),), "gap": 2, "memory": 3, "horizon": 2, "center": True},
        {"shifts": ((0,),), "memory": 2, "horizon": 4},
    ],
)
def test_second_layer_is_learned_as_a_plain_loop_does(normalise, geometry):
    series = recordings(8)
    found = network(noise_std=0.0, normalise=normalise, **geometry).fit(series)
    below, layer = found.layers_
    pooled = [
        loop_pool(loop_rectify(z, below.units), found.shifts[0])
        for z in loop_traces(below, series, normalise)
    ]
    filters, correlations, futures = dense_cca(
        pooled, layer.memory, layer.horizon, layer.gap, layer.center
    )
    np.testing.assert_allclose(layer.cca_.correlations_, correlations, atol=1e-9)
    have = layer.cca_.filters_
    assert_up_to_sign(have.reshape(len(have), -1, layer.memory), filters[: len(have)], 1e-5)
    # Past and future share their signs, so that each correlation is positive.
    ahead = layer.cca_.future_filters_.reshape(len(have), -1)
    for past, future, want_past, want_future in zip(have, ahead, filters, futures, strict=False):
        sign = np.sign((past.ravel() * want_past.ravel()).sum())
        atol = 1e-5 * np.abs(want_future).max()
        np.testing.assert_allclose(sign * future, want_future, rtol=0, atol=atol)
    if layer.center:
        past = np.concatenate(
            [
                [
                    [y[t - k, c] for c in range(y.shape[1]) for k in range(layer.memory)]
                    for t in range(layer.memory - 1, len(y) - layer.gap - layer.horizon + 1)
                ]
                for y in pooled
            ]
        )
        np.testing.assert_allclose(layer.cca_.mean_, past.mean(axis=0), atol=1e-10)


def test_noise_is_what_independent_noise_on_every_pixel_does():
    # The same pooled traces with noise drawn anew for every pixel and time, many times over. The
    # gap equals the pixels' distance: noise shared by neighbours would be seen.
    series = recordings(9, (400, 500))
    noise_std = 0.3
    found = network(shifts=((8, 4, 0),), gap=4, noise_std=noise_std).fit(series)
    below, layer = found.layers_
    rng = np.random.default_rng(0)
    pooled = [loop_pool(z, (8, 4, 0)) for z in loop_traces(below, series, "trace")]
    blocks, n, repeats = np.zeros((3, 6, 6)), 0, 300
    for _ in range(repeats):
        for z in pooled:
            y = z + noise_std * rng.standard_normal(z.shape)
            y[:, 1::2] = np.maximum(y[:, 1::2], 0)
            past, future = y[:-4], y[4:]
            blocks += past.T @ past, future.T @ past, future.T @ future
            n += len(past)
    _, correlations, _ = solve_blocks(*blocks / n, 1)
    np.testing.assert_allclose(layer.cca_.correlations_, correlations, atol=2e-3)
    silent = network(shifts=((8, 4, 0),), gap=4, noise_std=0.0).fit(series)
    assert np.abs(silent.layers_[1].cca_.correlations_ - correlations).max() > 0.02


def test_both_directions_average_the_moments_of_both_orders():
    series = recordings(10)
    found = network(units=[Unit(1)], both_directions=True, noise_std=0.0).fit(series)
    below, layer = found.layers_
    rectified = [loop_rectify(z, below.units) for z in loop_traces(below, series, "trace")]
    past, future = [], []
    for shifts in ((8, 4, 0), (0, 4, 8)):
        for y in rectified:
            y = loop_pool(y, shifts)
            past.append(y[:-3])
            future.append(y[3:])
    filters, correlations, _ = solve(np.concatenate(past), np.concatenate(future), 1)
    np.testing.assert_allclose(layer.cca_.correlations_, correlations, atol=1e-9)
    assert_up_to_sign(layer.cca_.filters_, filters, 1e-6)
    by_pixel = layer.cca_.filters_.reshape(6, 3, 2)
    for direction in by_pixel:
        even = np.allclose(direction, direction[::-1], atol=1e-8)
        assert even or np.allclose(direction, -direction[::-1], atol=1e-8)


def test_three_layers_are_learned_and_respond_as_plain_loops_do():
    series = recordings(11, (400, 350))
    layers = [
        ReSULayer(8, 8, [L3, L1, L2]),
        ReSULayer(3, 2, [Unit(1, "on"), Unit(2, "off")], gap=2, center=False),
        ReSULayer(2, 2, [Unit(1)], gap=1),
    ]
    shifts = ((6, 0), (9, 4, 0))
    found = ReSUNetwork(layers, shifts, normalise=None, noise_std=0.0).fit(series)
    state = series
    for k, layer in enumerate(found.layers_):
        if k:
            filters, correlations, _ = dense_cca(
                state, layer.memory, layer.horizon, layer.gap, layer.center
            )
            np.testing.assert_allclose(layer.cca_.correlations_, correlations, atol=1e-8)
            have = layer.cca_.filters_.reshape(len(layer.cca_.filters_), -1, layer.memory)
            assert_up_to_sign(have[:2], filters[:2], 1e-4)
        outputs = [loop_rectify(z, layer.units) for z in loop_traces(layer, state, None)]
        state = [loop_pool(y, shifts[k]) for y in outputs] if k < 2 else outputs
    for have, want in zip(found.transform(series), state, strict=True):
        np.testing.assert_allclose(have, want, rtol=0, atol=1e-9 * np.abs(want).max())
    assert found.n_pixels_ == 4


def test_reversed_pixels_learn_exactly_mirrored_weights():
    series = recordings(12)
    for shifts in ((8, 4, 0), (1, 9, 4)):
        for keywords in (
            {},
            {"memory": 3, "horizon": 2, "center": True},
            {"noise_std": 0.5},
            {"both_directions": True},
        ):
            one = network(shifts=(shifts,), **keywords).fit(series)
            other = network(shifts=(shifts[::-1],), **keywords).fit(series)
            a, b = one.layers_[1], other.layers_[1]
            for name in ("filters_", "future_filters_"):
                weights, mirrored = getattr(a.cca_, name), getattr(b.cca_, name)
                by_pixel = mirrored.reshape(len(mirrored), 3, 2, -1)[:, ::-1]
                np.testing.assert_array_equal(by_pixel.reshape(weights.shape), weights)
            movie = np.random.default_rng(0).standard_normal((60, 3))
            mirrored = other.transform(movie[:, ::-1])
            np.testing.assert_allclose(one.transform(movie), mirrored, rtol=0, atol=1e-12)


def test_a_scan_is_a_movie_of_shifted_pixels():
    found = network(shifts=((9, 4, 0),)).fit(recordings(13))
    y = recordings(14)[0]
    movie = np.stack([y[9:], y[4:-5], y[:-9]], axis=1)
    np.testing.assert_allclose(found.transform(y), found.transform(movie), atol=1e-12)
    np.testing.assert_allclose(found.inputs(y), found.inputs(movie), atol=1e-12)
    several = found.transform([y, movie])
    np.testing.assert_array_equal(several[1], found.transform(movie))


def test_outputs_follow_from_the_saved_weights_alone():
    found = network(units=[L3, T4, L2]).fit(recordings(15))
    below, layer = found.layers_
    movie = np.random.default_rng(1).standard_normal((80, 3))
    l3, l1 = below.filters_
    channels = []
    for j in range(3):
        for psi, rectified in ((l3, False), (l1, True)):
            z = np.array(
                [psi @ (movie[t - 11 : t + 1, j][::-1] - below.cca_.mean_) for t in range(11, 80)]
            )
            channels.append(np.where(z > 0, z, 0) if rectified else z)
    np.testing.assert_allclose(found.inputs(movie), np.transpose(channels), atol=1e-12)
    linear, on, off = (layer.filters_[:, :, 0] @ np.array(channels)).reshape(3, -1)
    wanted = np.stack([linear, np.maximum(on, 0), np.maximum(-off, 0)], axis=1)
    np.testing.assert_allclose(found.transform(movie), wanted, atol=1e-12)


def test_a_static_scene_gives_no_motion_response():
    found = network(units=[Unit(2)]).fit(recordings(16))
    for pixels in ([0.0, 0, 0], [1.0, 1, 1], [-2.0, 0.5, 1]):
        response = found.transform(np.tile(pixels, (100, 1)))
        np.testing.assert_allclose(response - response[0], 0, atol=1e-12)
    uniform = np.full((100, 3), 0.7)
    np.testing.assert_array_equal(found.transform(uniform), found.transform(uniform[:, ::-1]))


def test_signs_above_mean_a_brightening_that_moves_as_in_training():
    for shifts in ((8, 4, 0), (0, 4, 8)):
        found = network(shifts=(shifts,), units=[Unit(i) for i in range(1, 7)]).fit(recordings(17))
        z = found.transform(np.concatenate([np.zeros(60), np.ones(60)]))
        change = z - z[0]
        assert (change[np.abs(change).argmax(axis=0), range(6)] > 0).all()


def test_weights_ignore_units_of_contrast_and_the_order_of_recordings():
    series = recordings(18)
    one = network().fit(series)
    for other in (network().fit([50 * y for y in series]), network().fit(series[::-1])):
        have, want = other.layers_[1].cca_, one.layers_[1].cca_
        np.testing.assert_allclose(have.correlations_, want.correlations_, atol=1e-9)
        np.testing.assert_allclose(have.filters_, want.filters_, atol=1e-6)


def test_noise_at_test_time_is_seeded_and_of_the_given_size():
    found = network(noise_std=0.2).fit(recordings(19))
    movie = np.zeros((20_000, 3))
    noisy, clean = found.inputs(movie, rng=3), found.inputs(movie)
    np.testing.assert_array_equal(noisy, found.inputs(movie, rng=3))
    np.testing.assert_array_equal(clean, found.inputs(movie))
    deviation = (noisy - clean)[:, ::2]
    assert abs(deviation.std() - 0.2) < 4 * 0.2 / np.sqrt(2 * deviation.size)
    assert np.abs(np.corrcoef(deviation.T)[np.triu_indices(3, 1)]).max() < 0.03
    assert (noisy[:, 1::2] >= 0).all()


class Scans:
    """Recordings that are made when they are asked for."""

    def __init__(self, n):
        self.n = n

    def __iter__(self):
        for seed in range(self.n):
            yield np.random.default_rng(seed).standard_normal(2000).cumsum()


def test_memory_does_not_grow_with_the_number_of_recordings():
    peaks = []
    with mock.patch.object(_stacks, "_BATCH", 1 << 14):
        network().fit(Scans(20))
        for n in (40, 160):
            tracemalloc.start()
            network().fit(Scans(n))
            peaks.append(tracemalloc.get_traced_memory()[1])
            tracemalloc.stop()
    assert peaks[1] < 1.2 * peaks[0]


# --- what is refused


class Some(Scans):
    """An iterable that is no list."""

    def __iter__(self):
        return iter(self.n)


GOOD = recordings(20)
CONSTANT = [np.ones(300), np.ones(200)]


@pytest.mark.parametrize(
    ("layer", "x", "message"),
    [
        (ReSULayer(0, 5, [L3]), GOOD, "memory must be an integer >= 1, got 0"),
        (ReSULayer(5, 5.0, [L3]), GOOD, "horizon must be an integer"),
        (ReSULayer(5, 5, [L3], gap=0), GOOD, "gap must be"),
        (ReSULayer(5, 5, [L3], ridge=-1), GOOD, "ridge must be"),
        (ReSULayer(5, 5, [L3], center=1), GOOD, "center must be True or False, got 1"),
        (ReSULayer(5, 5, []), GOOD, "units must hold at least one unit"),
        (ReSULayer(5, 5, [(0, "on")]), GOOD, "direction must be an integer >= 1, got 0"),
        (ReSULayer(5, 5, [(6, "on")]), GOOD, "direction must be at most 5, got 6"),
        (ReSULayer(5, 5, [(1, "ON")]), GOOD, "rectification must be 'on', 'off' or None, got 'ON'"),
        (ReSU(5, 5, rectification="up"), GOOD, "rectification must be"),
        (ReSULayer(5, 5, [L3]), [], "x must hold at least one recording"),
        (ReSULayer(5, 5, [L3]), iter([]), "x must hold at least one recording"),
        (ReSULayer(5, 5, [L3]), 7, "x must be a recording or an iterable of them, got int"),
        (ReSULayer(5, 5, [L3]), [np.ones(9)], "must have at least 10 samples, got 9"),
        (ReSULayer(5, 5, [L3]), [np.full(20, np.nan)], "must be finite"),
        (ReSULayer(5, 5, [L3]), CONSTANT, "x must vary: it is constant"),
        (ReSULayer(5, 5, [L3], center=False), [np.zeros(30)], "x must vary"),
        (ReSULayer(5, 5, [L3]), [GOOD[0], np.ones((20, 2))], "must have 1 channels, got 2"),
    ],
)
def test_layer_refuses(layer, x, message):
    with pytest.raises(ValueError, match=message):
        layer.fit(x)


@pytest.mark.parametrize(
    ("keywords", "x", "message"),
    [
        ({"shifts": ()}, GOOD, "got 2 layers and 0 tuples"),
        ({"shifts": ((),)}, GOOD, "shifts must hold tuples of integers"),
        ({"shifts": (3,)}, GOOD, "shifts must hold tuples of integers, got 3"),
        ({"shifts": ((1.5, 0),)}, GOOD, "shifts must be an integer >= 0, got 1.5"),
        ({"shifts": ((-1, 0),)}, GOOD, "shifts must be an integer >= 0, got -1"),
        ({"normalise": "row"}, GOOD, "normalise must be 'trace' or None, got 'row'"),
        ({"noise_std": -0.1}, GOOD, "noise_std must be"),
        ({"both_directions": "yes"}, GOOD, "both_directions must be True or False"),
        ({}, (y for y in GOOD), r"x must be iterable once per layer .* got generator"),
        ({}, [*GOOD, np.ones(22)], r"x\[4\] must have at least 24 samples, got 22"),
        ({"gap": 10}, [*GOOD, GOOD[0][:29]], r"x\[4\] must have at least 30 samples, got 29"),
        ({"gap": 10}, Some([GOOD[0][:29]]), "must have at least 30 samples, got 29"),
        ({}, [np.ones((50, 2))], "must have 1 channels, got 2"),
        ({}, [*GOOD, np.ones(200)], "x must vary within each recording"),
        ({"units": [(7, None)]}, GOOD, "direction must be at most 6, got 7"),
    ],
)
def test_network_refuses(keywords, x, message):
    with pytest.raises(ValueError, match=message):
        network(**keywords).fit(x)


def test_network_refuses_what_is_no_layer():
    with pytest.raises(ValueError, match="layers must be ReSULayer, got PastFutureCCA"):
        ReSUNetwork([PastFutureCCA(5, 5)], ()).fit(GOOD)
    with pytest.raises(ValueError, match="got 0 layers"):
        ReSUNetwork([], ()).fit(GOOD)


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (np.ones((50, 2)), r"x must have shape \(any, 3\), got \(50, 2\)"),
        (np.ones((11, 3)), "x must have at least 12 samples, got 11"),
        ([np.ones(30), np.ones(19)], r"x\[1\] must have at least 20 samples, got 19"),
        (np.array([1.0, np.inf] * 30), "x must be finite"),
        (np.ones((2, 3, 4)), r"x must have shape \(any, 3\)"),
    ],
)
def test_learned_network_refuses(x, message):
    found = network().fit(GOOD)
    with pytest.raises(ValueError, match=message):
        found.transform(x)


def test_nothing_answers_before_it_has_learned():
    for model in (network(), ReSULayer(5, 5, [L3]), ReSU(5, 5)):
        with pytest.raises(ValueError, match="not fitted"):
            model.transform(GOOD[0])


@pytest.mark.parametrize("units", [[1, 2], [(1, "on", 3)], [[]]])
def test_units_that_are_no_pairs_are_named(units):
    with pytest.raises(ValueError, match=r"^units must hold \(direction, rectification\)"):
        ReSULayer(5, 5, units).fit(np.random.default_rng(0).standard_normal(100))

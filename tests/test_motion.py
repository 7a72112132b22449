"""Stimuli against closed forms, indices against known cases, synapse counts against the file."""

import itertools
import json
import os
from pathlib import Path

import numpy as np
import pytest
from scipy.special import ndtr

from lib.motion import (
    connectome_weights,
    cosine_test,
    direction_selectivity_index,
    moving_edge,
    moving_grating,
    staircase,
    sustained_index,
)

SIGMA = 5.7 / 2.3548200450309493


# --- stimuli


@pytest.mark.parametrize("polarity", ["on", "off"])
def test_edge_is_a_blurred_step_that_travels(polarity):
    speed, step, spacing = 40.0, 0.01, 5.2
    edge = moving_edge(speed, step, 0.8, polarity, n_pixels=4, spacing=spacing, background=0.1)
    sign = 1 if polarity == "on" else -1
    middle = len(edge) // 2
    for i in range(len(edge)):
        for j in range(4):
            travelled = speed * (i - middle) * step - (j - 1.5) * spacing
            wanted = 0.1 + sign * 0.8 * ndtr(travelled / SIGMA)
            assert abs(edge[i, j] - wanted) < 1e-12
    # 5.2 degrees at 40 degrees per second are 13 samples of 10 ms.
    np.testing.assert_allclose(edge[13:, 1], edge[:-13, 0], atol=1e-12)
    np.testing.assert_allclose(edge[0], 0.1, atol=1e-4)
    np.testing.assert_allclose(edge[-1], 0.1 + sign * 0.8, atol=1e-4)


def test_edge_crosses_the_middle_pixel_in_the_middle_sample():
    edge = moving_edge(30, 0.005, contrast=2)
    assert edge[len(edge) // 2, 1] == pytest.approx(1)
    slope = np.gradient(edge[:, 1], 0.005).max()
    assert slope == pytest.approx(2 * 30 / (SIGMA * np.sqrt(2 * np.pi)), rel=1e-3)


def test_edge_rests_before_and_after():
    for rest in (0.5, 2.0):
        edge = moving_edge(20, 0.01, rest=rest)
        still = int(rest / 0.01)
        assert np.ptp(edge[:still], axis=0).max() < 1e-4
        assert np.ptp(edge[-still:], axis=0).max() < 1e-4
        crossing = 2 * (5.05 + 4 * SIGMA) / 20
        assert len(edge) == pytest.approx((crossing + 2 * rest) / 0.01, abs=3)


@pytest.mark.parametrize("stimulus", [moving_edge, moving_grating])
def test_reversed_motion_exchanges_the_pixels_and_nothing_else(stimulus):
    for polarity in ("on", "off"):
        forth = stimulus(25, 0.01, polarity=polarity, n_pixels=5)
        back = stimulus(25, 0.01, polarity=polarity, n_pixels=5, reverse=True)
        np.testing.assert_array_equal(back, forth[:, ::-1])
    on, off = (stimulus(25, 0.01, polarity=p, background=0.3) - 0.3 for p in ("on", "off"))
    np.testing.assert_allclose(on, -off, atol=1e-15)
    np.testing.assert_allclose(stimulus(25, 0.01, contrast=0), 0, atol=0)
    np.testing.assert_allclose(3 * stimulus(25, 0.01), stimulus(25, 0.01, contrast=3), atol=1e-14)


def test_edge_scales_with_speed_and_time():
    np.testing.assert_array_equal(moving_edge(20, 0.02, rest=1), moving_edge(40, 0.01, rest=0.5))


def test_grating_is_a_blurred_sinusoid_that_starts_to_move():
    speed, step, wavelength = 50.0, 0.01, 20.0
    grating = moving_grating(speed, step, wavelength, 0.6, n_pixels=3, spacing=4, cycles=3)
    left = np.exp(-0.5 * (2 * np.pi * SIGMA / wavelength) ** 2)
    for i in range(len(grating)):
        t = max(0.0, i * step - 1.0)
        for j in range(3):
            phase = 2 * np.pi * (speed * t - (j - 1) * 4) / wavelength
            assert abs(grating[i, j] - 0.3 * (1 + left * np.sin(phase))) < 1e-12
    assert np.ptp(grating[:101], axis=0).max() == 0
    moving = grating[101:161] - grating[101:161].mean(axis=0)
    spectrum = np.abs(np.fft.rfft(moving[:40, 0]))
    # 50 degrees per second over 20 degrees: 2.5 cycles per second, 1 in 40 samples.
    assert spectrum.argmax() == 1
    assert len(grating) == 101 + 3 * 40
    # One pixel is 8 samples of 4/50 seconds behind its left neighbour.
    np.testing.assert_allclose(grating[109:, 1], grating[101:-8, 0], atol=1e-12)


@pytest.mark.parametrize(
    ("arguments", "keywords", "message"),
    [
        ((0, 0.01), {}, "speed must be a finite number > 0"),
        ((np.nan, 0.01), {}, "speed must be"),
        ((10, 0), {}, "time_step must be"),
        ((10, 0.01, -1), {}, "contrast must be|wavelength must be"),
        ((10, 0.01), {"polarity": "ON"}, "polarity must be 'on' or 'off', got 'ON'"),
        ((10, 0.01), {"n_pixels": 0}, "n_pixels must be an integer >= 1"),
        ((10, 0.01), {"spacing": 0}, "spacing must be"),
        ((10, 0.01), {"blur": 0}, "blur must be"),
        ((10, 0.01), {"rest": -1}, "rest must be"),
        ((10, 0.01), {"background": np.inf}, "background must be"),
    ],
)
@pytest.mark.parametrize("stimulus", [moving_edge, moving_grating])
def test_stimuli_refuse(stimulus, arguments, keywords, message):
    with pytest.raises(ValueError, match=message):
        stimulus(*arguments, **keywords)


def test_grating_refuses():
    with pytest.raises(ValueError, match="cycles must be an integer >= 1"):
        moving_grating(10, 0.01, cycles=0)
    with pytest.raises(ValueError, match="wavelength must be"):
        moving_grating(10, 0.01, wavelength=0)


def test_staircase_is_built_step_by_step():
    wanted = []
    for k in range(4):
        wanted += [1.5 + k + 0.5 * (1 + np.tanh(s)) for s in np.linspace(-10, 10, 150)]
    for k in range(3, -1, -1):
        wanted += [1.5 + k + 0.5 * (1 - np.tanh(s)) for s in np.linspace(-10, 10, 150)]
    found = staircase()
    np.testing.assert_allclose(found, wanted, atol=1e-12)
    assert (np.diff(found[:600]) > -1e-12).all()
    np.testing.assert_array_equal(found, found[::-1])
    small = staircase(2, 50, 0.25, 0.5)
    assert len(small) == 200
    np.testing.assert_allclose(small[[0, 49, 99, 199]], [0.5, 0.75, 1, 0.5], atol=1e-8)


# --- measures


def test_sustained_index_of_known_responses():
    t = np.arange(100)
    step = (t > 20).astype(float)
    assert sustained_index(step, 10, 90) == 1
    assert sustained_index(5 - 3 * step, 10, 90) == 1
    transient = np.where(t > 20, np.exp(-(t - 21.0)), 0)
    assert sustained_index(transient, 10, 90) == pytest.approx(0, abs=1e-12)
    assert sustained_index(0.4 * step + 0.6 * transient, 10, 90) == pytest.approx(0.4)
    assert sustained_index(transient - 0.5 * step, 10, 90) == pytest.approx(-1)
    assert sustained_index(np.zeros(100), 10, 90) == 0


@pytest.mark.parametrize(("onset", "end"), [(5, 5), (5, 10), (-1, 3), (1.5, 3)])
def test_sustained_index_refuses(onset, end):
    with pytest.raises(ValueError, match="onset"):
        sustained_index(np.zeros(10), onset, end)


@pytest.mark.parametrize(
    ("preferred", "null", "wanted"),
    [
        (1, 0, 1),
        (0, 2, -1),
        (3, 1, 0.5),
        (2, 2, 0),
        (0, 0, 0),
        ([4, 2], [1, 1], 0.5),
        ([0, 0, 0], [0, 0, 0], 0),
    ],
)
def test_direction_selectivity_of_known_cases(preferred, null, wanted):
    assert direction_selectivity_index(preferred, null) == pytest.approx(wanted)
    assert direction_selectivity_index(null, preferred) == pytest.approx(-wanted)


def test_direction_selectivity_interval_is_a_bootstrap_of_pairs():
    rng = np.random.default_rng(0)
    preferred, null = rng.random((2, 40)) + np.array([[1], [0]])
    value, low, high = direction_selectivity_index(preferred, null, 400, 0.9, rng=5)
    picks = np.random.default_rng(5).integers(40, size=(400, 40))
    loop = []
    for pick in picks:
        p, n = sum(preferred[i] for i in pick), sum(null[i] for i in pick)
        loop.append((p - n) / (p + n))
    assert value == direction_selectivity_index(preferred, null)
    np.testing.assert_allclose([low, high], np.quantile(loop, [0.05, 0.95]), atol=1e-12)
    assert low < value < high
    mirrored = direction_selectivity_index(null, preferred, 400, 0.9, rng=5)
    np.testing.assert_allclose(mirrored, [-value, -high, -low], atol=1e-12)
    same = direction_selectivity_index([3, 3], [1, 1], 50, rng=0)
    np.testing.assert_allclose(same, 0.5)


@pytest.mark.parametrize(
    ("arguments", "keywords", "message"),
    [
        ((-1, 1), {}, "preferred must hold responses >= 0"),
        ((1, [1, -2]), {}, "null must hold responses >= 0"),
        (([1, 2], [1]), {}, "must be paired, got 2 and 1 responses"),
        (([], []), {}, "preferred must hold responses >= 0"),
        ((np.nan, 1), {}, "preferred must be finite"),
        ((np.ones((2, 2)), 1), {}, "preferred must hold responses"),
        ((1, 1), {"n_resamples": -1}, "n_resamples must be an integer >= 0"),
        ((1, 1), {"n_resamples": 10}, "rng must be given"),
        ((1, 1), {"n_resamples": 10, "rng": 0, "confidence": 95}, "confidence must be"),
    ],
)
def test_direction_selectivity_refuses(arguments, keywords, message):
    with pytest.raises(ValueError, match=message):
        direction_selectivity_index(*arguments, **keywords)


# --- the connectome


def test_published_triples():
    found = connectome_weights()
    np.testing.assert_array_equal(found.l1, [0.37, 1.37, 0.34])
    np.testing.assert_array_equal(found.l3, [0.20, -0.38, -0.09])
    assert found.by_source == {}
    channels = found.channels()
    wanted = [0.2 / 0.67, 0.37 / 2.08, -0.38 / 0.67, 1.37 / 2.08, -0.09 / 0.67, 0.34 / 2.08]
    np.testing.assert_allclose(channels, wanted, atol=1e-15)
    np.testing.assert_allclose(found.channels(-1)[::2], -channels[::2])
    np.testing.assert_allclose(found.channels(-1)[1::2], channels[1::2])


# Home column, its six neighbours, one column two away and one far off.
OFFSETS = [(0, 0), (1, 0), (-1, 0), (0, 1), (-1, 1), (0, -1), (1, -1), (-1, 2), (1, -3), (-5, 1)]


def write(tmp_path, edges):
    path = tmp_path / "connectome.json"
    path.write_text(json.dumps({"nodes": [], "edges": edges}))
    return path


def edge(source, target, alpha, counts):
    offsets = [[list(offset), n] for offset, n in zip(OFFSETS, counts, strict=True)]
    return {"src": source, "tar": target, "alpha": alpha, "offsets": offsets}


def test_columns_are_read_along_the_preferred_axis(tmp_path):
    powers = [float(2**k) for k in range(10)]
    edges = []
    for target in ("T4a", "T4b"):
        edges += [edge("Mi1", target, 1, powers), edge("Tm3", target, 1, [0.5] * 10)]
        edges += [edge("Mi9", target, -1, powers), edge("Mi4", target, -1, powers)]
    edges.append(edge("Mi1", "T4c", 1, [1e6] * 10))
    path = write(tmp_path, edges)
    # dv = -1 at 5 and 6, dv = 0 at 0, 1 and 2, dv = 1 at 3 and 4.
    left, centre, right = 2.0**5 + 2**6, 1.0 + 2 + 4, 2.0**3 + 2**4
    a, b = connectome_weights(path), connectome_weights(path, "T4b")
    np.testing.assert_array_equal(a.l1, [left + 1, centre + 1.5, right + 1])
    np.testing.assert_array_equal(a.l3, [left, centre, right])
    np.testing.assert_array_equal(a.by_source["Mi4"], [-left, -centre, -right])
    np.testing.assert_array_equal(b.l3, a.l3[::-1])
    assert set(a.by_source) == {"Mi1", "Tm3", "Mi9", "Mi4"}
    # A column at (-1, 2) is two away, (1, -3) three, (-5, 1) five.
    np.testing.assert_array_equal(connectome_weights(path, reach=2).l3 - a.l3, [0, 0, 2**7])
    np.testing.assert_array_equal(connectome_weights(path, reach=3).l3 - a.l3, [2**8, 0, 2**7])
    np.testing.assert_array_equal(
        connectome_weights(path, reach=5).l3 - a.l3, [2**8, 0, 2**7 + 2**9]
    )


def flyvis_file():
    for folder in filter(None, os.environ.get("LIB_DATA", "").split(os.pathsep)):
        path = Path(folder) / "connectome" / "fib25-fib19_v2.2.json"
        if path.exists():
            return path
    pytest.skip("needs connectome/fib25-fib19_v2.2.json in a folder that LIB_DATA names")


def test_counts_of_the_real_connectome_read_by_hand():
    path = flyvis_file()
    edges = json.loads(path.read_text())["edges"]
    table = {
        (e["src"], e["tar"], *offset): e["alpha"] * n for e in edges for offset, n in e["offsets"]
    }

    def count(source, target, *columns):
        return sum(table.get((source, target, du, dv), 0) for du, dv in columns)

    up, home, down = [(0, -1), (1, -1)], [(-1, 0), (0, 0), (1, 0)], [(0, 1), (-1, 1)]
    for target, columns in (("T4a", (up, home, down)), ("T4b", (down, home, up))):
        found = connectome_weights(path, target)
        for source in ("Mi1", "Tm3", "Mi9", "Mi4", "C3", "TmY15"):
            wanted = [count(source, target, *column) for column in columns]
            np.testing.assert_allclose(found.by_source[source], wanted, err_msg=source)
        np.testing.assert_allclose(found.l1, found.by_source["Mi1"] + found.by_source["Tm3"])
        np.testing.assert_allclose(found.l3, -found.by_source["Mi9"])
    # As printed in the file.
    t4a = connectome_weights(path)
    np.testing.assert_allclose(t4a.by_source["Mi9"][0], -(5.125 + 2.2857142857142856))
    np.testing.assert_allclose(t4a.by_source["Mi4"][0], 0)
    # What the literature says of both cells: Mi9 where motion comes from, Mi4 where it goes.
    for target in ("T4a", "T4b"):
        found = connectome_weights(path, target)
        assert found.l3.argmax() == 0
        assert found.by_source["Mi4"].argmin() == 2
        assert found.l1.argmax() == 1


def test_connectome_refuses(tmp_path):
    with pytest.raises(ValueError, match="target must be 'T4a' or 'T4b', got 'T4c'"):
        connectome_weights(tmp_path, "T4c")
    with pytest.raises(ValueError, match="path must be given for target 'T4b'"):
        connectome_weights(target="T4b")
    with pytest.raises(ValueError, match="reach must be an integer >= 1, got 0"):
        connectome_weights(reach=0)
    with pytest.raises(FileNotFoundError):
        connectome_weights(tmp_path / "nowhere.json")
    path = write(tmp_path, [edge("Mi1", "T4a", 1, [1.0] * 10)])
    with pytest.raises(ValueError, match=r"path must hold \['Mi9', 'Tm3'\] to T4a"):
        connectome_weights(path)
    for text in ("no json", "[]", '{"edges": [{"tar": "T4a"}]}', '{"edges": 3}'):
        path.write_text(text)
        with pytest.raises(ValueError, match="path must be a connectome in flyvis's format"):
            connectome_weights(path)
    with pytest.raises(ValueError, match="l3_polarity must be 1 or -1, got 0"):
        connectome_weights().channels(0)


def test_cosine_test_tries_every_order_of_few_weights():
    rng = np.random.default_rng(0)
    weights, reference = rng.standard_normal((2, 5))
    norms = np.linalg.norm(weights) * np.linalg.norm(reference)
    cosines = [np.dot(order, reference) / norms for order in itertools.permutations(weights)]
    cosine, p = cosine_test(weights, reference)
    assert cosine == pytest.approx(cosines[0])
    assert p == pytest.approx(np.mean([c >= cosines[0] - 1e-12 for c in cosines]))
    ordered = np.arange(6.0)
    assert cosine_test(ordered, 2 * ordered) == (pytest.approx(1), pytest.approx(1 / 720))
    assert cosine_test(ordered, -ordered)[1] == 1


def test_cosine_test_samples_the_orders_of_many_weights():
    rng = np.random.default_rng(1)
    weights, reference = rng.standard_normal((2, 7))
    exact = cosine_test(weights, reference, 5040)
    sampled = cosine_test(weights, reference, 5039, rng=3)
    assert sampled[0] == exact[0]
    assert abs(sampled[1] - exact[1]) < 5 * np.sqrt(exact[1] / 5039)
    many = np.arange(30.0)
    assert cosine_test(many, many, 999, rng=0)[1] == pytest.approx(1 / 999)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([1, 2], [1, 2, 3]), r"reference must have shape \(2\), got \(3,\)"),
        (([0, 0], [1, 2]), "weights and reference must not be all zero"),
        (([1, np.nan], [1, 2]), "weights must be finite"),
        ((np.arange(9.0), np.arange(9.0)), "rng must be given for random permutations"),
        (([1, 2], [1, 2], 0), "n_permutations must be an integer >= 1"),
    ],
)
def test_cosine_test_refuses(arguments, message):
    with pytest.raises(ValueError, match=message):
        cosine_test(*arguments)

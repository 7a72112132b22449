"""The parameter scan."""

import dataclasses
import io
import json

import numpy as np
import pytest
import torch

from lib import csc, scan, scan_figures
from lib.dictlearn import learn_dictionary
from lib.effects import Effect
from lib.scan import Point, Scan, Setting

CHOSEN = Setting(0.1, 5, 1.8, 6, 4)


@pytest.fixture
def learner(tmp_path):
    images = np.random.default_rng(0).standard_normal((5, 16, 18))
    return Scan(images[:3], images[3:], tmp_path, n_steps=2, seed=4, precision="float64")


def test_points_are_learned_and_measured_with_their_own_setting(learner):
    ranges = {"lmbda": [0.5, 0.02], "max_iter": [2], "atom_size": [5], "n_atoms": []}
    points = learner.points(CHOSEN, ranges)
    assert [(p.varied, p.value) for p in points] == [
        ("lmbda", 0.02),
        ("lmbda", 0.1),
        ("lmbda", 0.5),
        ("max_iter", 2),
        ("max_iter", 5),
        ("atom_size", 5),
        ("atom_size", 6),
        ("n_atoms", 4),
    ]
    assert points[1].each_psnr.tolist() == points[4].each_psnr.tolist()
    assert not any(p.kept for p in points)
    assert all(p.kept for p in learner.points(CHOSEN, ranges))
    start = np.random.default_rng(4).standard_normal((4, 5, 5))
    coder = {"max_iter": 5, "tol": 1e-3, "rho": 10.0, "auto_rho": False, "relax": 1.8}
    learned = learn_dictionary(
        learner.training, start, 0.1, 2, rng=4, dtype=torch.float64, **coder
    ).atoms
    direct = csc.sparse_code(learner.held_out, learned, 0.1, dtype=torch.float64, **coder)
    again = csc.reconstruct(direct.coefficients, learned)
    (point,) = (p for p in points if p.value == 5 and p.varied == "atom_size")
    np.testing.assert_allclose(point.each_psnr, csc.psnr(learner.held_out, again), rtol=1e-9)
    np.testing.assert_array_equal(point.each_sparseness, csc.sparseness(direct.coefficients))
    assert point.psnr == pytest.approx(point.each_psnr.mean())
    assert point.sparseness == pytest.approx(point.each_sparseness.mean())


def test_a_point_is_measured_once_and_anew_if_anything_differs(learner, monkeypatch):
    first = learner.measure(CHOSEN)
    path = learner.path(CHOSEN)
    assert json.loads(path.read_text()) == first
    monkeypatch.setattr(scan, "learn_dictionary", lambda *_, **__: pytest.fail("learned again"))
    assert learner.measure(CHOSEN) == first
    monkeypatch.undo()
    changes = {"n_steps": 1, "seed": 5, "rho": 9.0, "tol": 1e-2, "precision": "float32"}
    changes |= {"training": learner.training + 1, "held_out": learner.held_out + 1}
    for name, value in changes.items():
        other = dataclasses.replace(learner, **{name: value})
        path.write_text(json.dumps(first))
        assert other.measure(CHOSEN)["about"] != first["about"], name
    path.write_text(json.dumps(first)[:-9])
    assert learner.measure(CHOSEN)["psnr"] == first["psnr"]


def test_impossible_settings_are_refused_before_work(learner):
    refused = [
        ({"rho": [1]}, "ranges must be of lmbda"),
        ({"relax": [2.0]}, "relax must be below 2, got 2"),
        ({"atom_size": [17]}, "atom_size must be at most 16, as .* got 17"),
        ({"n_atoms": [0]}, "n_atoms must be"),
        ({"max_iter": [3.5]}, "max_iter must be"),
        ({"lmbda": [-1.0]}, "lmbda must be"),
    ]
    for ranges, message in refused:
        with pytest.raises(ValueError, match=message):
            learner.points(CHOSEN, {"lmbda": [0.2]} | ranges)
    assert not list(learner.folder.glob("points/*"))
    for name in ("training", "held_out"):
        with pytest.raises(ValueError, match=f"{name} must have shape"):
            dataclasses.replace(learner, **{name: np.empty((0, 8, 8))})
    with pytest.raises(ValueError, match="held_out must have positive maxima, got -1"):
        dataclasses.replace(learner, held_out=-np.ones((2, 16, 16)))


def test_changes_pair_photographs_from_the_smallest_value_to_the_largest():
    values = {3: [1.0, 5.0], 1: [0.5, 4.0], 2: [9.0, 9.0]}
    points = [
        Point(CHOSEN, "n_atoms", value, np.array(psnr), -np.array(psnr) / 10, 0)
        for value, psnr in values.items()
    ]
    psnr, sparseness = scan.changes(points, 0, 200)["n_atoms"]
    assert psnr.difference == pytest.approx(0.75)
    assert (psnr.low, psnr.high) == pytest.approx((0.5, 1.0))
    assert sparseness.difference == pytest.approx(-0.075)
    assert scan.is_trade(psnr, sparseness)


@pytest.mark.parametrize(
    ("sparseness", "trade"),
    [((-1, -2, -0.5), True), ((1, 0.5, 2), False), ((-1, -2, 0.5), False), ((0, 0, 0), False)],
)
def test_a_trade_needs_opposite_signs_that_are_sure(sparseness, trade):
    gain = Effect(1, 0.5, 2, 1)
    assert scan.is_trade(gain, Effect(*sparseness, 1)) == trade
    assert scan.is_trade(Effect(*sparseness, 1), gain) == trade


def test_arrays_hold_what_points_hold(learner):
    points = learner.points(CHOSEN, {"lmbda": [0.2], "max_iter": [3]})
    buffer = io.BytesIO()
    np.savez(buffer, **scan.as_arrays(points))
    buffer.seek(0)
    with np.load(buffer, allow_pickle=False) as arrays:
        again = scan.from_arrays(arrays)
    for a, b in zip(points, again, strict=True):
        assert (a.setting, a.varied, a.value, a.seconds) == (
            b.setting,
            b.varied,
            b.value,
            b.seconds,
        )
        assert all(type(x) is type(y) for x, y in zip(a.setting, b.setting, strict=True))
        np.testing.assert_array_equal(a.each_psnr, b.each_psnr)
        np.testing.assert_array_equal(a.each_sparseness, b.each_sparseness)


def test_front_and_distance():
    chosen = Setting(1, 1, 1, 1, 1)
    others = [chosen._replace(lmbda=k) for k in range(2, 6)]
    numbers = [(20, 0.9), (25, 0.95), (30, 0.8), (10, 0.99), (24, 0.95)]
    points = [
        Point(s, "lmbda", 0, np.array([psnr - 1, psnr + 1]), np.full(2, sparse), 0)
        for s, (psnr, sparse) in zip([chosen, *others], numbers, strict=True)
    ]
    assert [p.psnr for p in scan.pareto_front([*points, points[1]])] == [30, 25, 10]
    assert scan.distance_to_front(points, chosen) == 5
    assert scan.distance_to_front(points, others[0]) == 0


def test_ticks_of_the_figure_keep_their_distance():
    chosen = Setting(12, 1, 1, 1, 1)
    values = {"atom_size": [5, 8, 12, 13, 21], "n_atoms": [96, 144, 288, 588]}
    points = [
        Point(
            chosen if value in (12, 144) else chosen._replace(lmbda=value),
            name,
            value,
            *np.ones((2, 3)),
            0,
        )
        for name, some in values.items()
        for value in some
        for setting in [chosen if value in (12, 144) else chosen._replace(lmbda=value)]
    ]
    figure = scan_figures.by_parameter(points, chosen)
    ticks = [[label.get_text() for label in ax.get_xticklabels()] for ax in figure.axes[-2:]]
    assert ticks == [["5", "8", "12", "21"], ["96", "144", "288", "588"]]


def test_the_shared_setting_is_that_of_all_parameters(learner):
    points = learner.points(CHOSEN, {"lmbda": [0.2], "max_iter": [3]})
    assert scan.shared_setting(points) == CHOSEN
    for some in ([], points[:2], [p for p in points if p.setting != CHOSEN]):
        with pytest.raises(ValueError, match="points must share one setting"):
            scan.shared_setting(some)

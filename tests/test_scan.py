"""The parameter scan."""

import numpy as np
import pytest

from lib import codes, loggabor, scan, scan_figures
from lib.scan import Point, Setting


@pytest.fixture
def store(tmp_path, monkeypatch):
    original = codes.iter_codes
    monkeypatch.setattr(
        codes, "iter_codes", lambda *a, **k: original(*a, **({"store": tmp_path} | k))
    )


def test_the_chosen_size_is_the_released_dictionary():
    for protocol in ("code", "text"):
        released = loggabor.heterogeneous_dictionary(protocol).atoms
        np.testing.assert_array_equal(scan.dictionary(12, 144, protocol), released)
    assert scan.dictionary(7, 24).shape == (24, 7, 7)
    with pytest.raises(ValueError, match="n_atoms must be a multiple of 12, got 89"):
        scan.dictionary(12, 89)


def test_scan_measures_each_setting(store):
    images = np.random.default_rng(0).standard_normal((2, 16, 16))
    chosen = Setting(0.1, 5, 1.8, 6, 24)
    ranges = {"lmbda": [0.02, 0.5], "max_iter": [2], "atom_size": [5]}
    points = scan.scan(images, chosen, ranges)
    assert [(p.varied, p.value) for p in points] == [
        ("lmbda", 0.02),
        ("lmbda", 0.1),
        ("lmbda", 0.5),
        ("max_iter", 2),
        ("max_iter", 5),
        ("atom_size", 5),
        ("atom_size", 6),
    ]
    atoms = scan.dictionary(6, 24)
    direct = codes.measure(images, atoms, 0.5, max_iter=5, relax=1.8, tol=0.0)
    assert points[2].psnr == pytest.approx(direct.psnr.mean())
    assert points[2].sparseness == pytest.approx(direct.sparseness.mean())
    assert points[1][3:] == points[4][3:] == points[6][3:]
    with pytest.raises(ValueError, match="ranges"):
        scan.scan(images, chosen, {"rho": [1]})


def test_front_and_distance():
    chosen = Setting(1, 1, 1, 1, 1)
    others = [chosen._replace(lmbda=k) for k in range(2, 6)]
    numbers = [(20, 0.9), (25, 0.95), (30, 0.8), (10, 0.99), (24, 0.95)]
    points = [Point(s, "lmbda", 0, *n) for s, n in zip([chosen, *others], numbers, strict=True)]
    assert [p.psnr for p in scan.pareto_front([*points, points[1]])] == [30, 25, 10]
    assert scan.distance_to_front(points, chosen) == 5
    assert scan.distance_to_front(points, others[0]) == 0


def test_ticks_of_the_figure_keep_their_distance():
    chosen = Setting(12, 1, 1, 1, 1)
    values = {"atom_size": [5, 8, 12, 13, 21], "n_atoms": [96, 144, 288, 588]}
    points = [
        Point(chosen if value in (12, 144) else chosen._replace(lmbda=value), name, value, 1, 1)
        for name, some in values.items()
        for value in some
    ]
    figure = scan_figures.by_parameter(points, chosen)
    ticks = [[label.get_text() for label in ax.get_xticklabels()] for ax in figure.axes[-2:]]
    assert ticks == [["5", "8", "12", "21"], ["96", "144", "288", "588"]]

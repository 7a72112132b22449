"""Benchmarks: peers that do the same, and measures that measure what they say."""

from itertools import islice

import numpy as np
import pytest
import torch
from sporco.admm.cbpdn import ConvBPDN

from lib import benchmarks, csc, peers
from lib.cca import PastFutureCCA
from lib.dictlearn import learn_dictionary
from lib.lags import LagCovariance
from lib.provenance import high_water
from lib.resu import L1, L3, T4, ReSULayer, ReSUNetwork


@pytest.fixture(scope="module")
def problem():
    return benchmarks.coding_problem(24)


@pytest.mark.parametrize("rho", [None, 0.5])
@pytest.mark.parametrize("name", benchmarks.CODERS)
def test_all_coders_make_the_same_iterates(problem, name, rho):
    image, atoms, lmbda = problem
    settings = {"max_iter": 12, "tol": 0, "rho": rho, "auto_rho": rho is None}
    expected = csc.sparse_code(image[None], atoms, lmbda, dtype=torch.float64, **settings)
    _, _, values = benchmarks.trace(name, problem, 12, 4, rho=rho)
    np.testing.assert_allclose(values[-1], expected.objective[0], rtol=1e-3)
    assert len(values) == 3
    if rho is None:
        maps = benchmarks.code(name, problem, 12)
        np.testing.assert_allclose(maps, expected.coefficients[0], atol=2e-3)


def test_one_iteration_at_a_time_is_sporco_in_one_go(problem):
    image, atoms, lmbda = problem
    options = {"Verbose": False, "MaxMainIter": 7, "RelStopTol": 0.0}
    dictionary = np.ascontiguousarray(atoms.transpose(1, 2, 0))
    solver = ConvBPDN(dictionary, image, lmbda, ConvBPDN.Options(options), dimK=0)
    expected = solver.solve().squeeze((2, 3)).transpose(2, 0, 1)
    np.testing.assert_array_equal(benchmarks.code("SPORCO", problem, 7), expected)


def test_objective_is_the_coders(problem):
    image, atoms, lmbda = problem
    coded = csc.sparse_code(image[None], atoms, lmbda, max_iter=5)
    value = benchmarks.objective(problem, coded.coefficients[0])
    np.testing.assert_allclose(value, coded.objective[0], rtol=1e-5)


def test_seconds_are_those_of_an_iteration_in_the_middle(problem, monkeypatch):
    """A slow first iteration does not count, nor does a slow spell."""
    now, lengths = [0.0], iter([9, 2, 7, 3, 9, 6, 5, 4])

    def coder(*_):
        while True:
            now[0] += next(lengths)
            yield

    monkeypatch.setitem(benchmarks.CODERS, "SPORCO", coder)
    monkeypatch.setattr(benchmarks.time, "perf_counter", lambda: now[0])
    assert benchmarks.seconds_per_iteration(problem, 3, 2, ["SPORCO"]) == {"SPORCO": 3}


def test_seconds_to_an_objective_count_from_where_it_stays_below():
    traced = np.array([[1, 2, 3, 4.0], [0.1, 0.2, 0.3, 0.4], [9, 4, 6, 4]])
    assert benchmarks.seconds_to(traced, 5) == 0.4
    assert benchmarks.seconds_to(traced, 8) == 0.2
    assert benchmarks.seconds_to(traced, 10) == 0.1
    assert np.isnan(benchmarks.seconds_to(traced, 3))


def test_high_water_sees_what_was_freed_again():
    before = high_water()
    block = np.ones(40_000_000)
    held = high_water() - before
    del block
    # The system counts in batches of pages; part of it may lie below an earlier high water.
    assert abs(high_water() - before - held) < 2_000_000
    assert held <= 330_000_000


def test_peak_memory_is_that_of_the_arrays_that_are_held():
    """Ours holds the state, its result, one array between them, and four tiles a thread."""
    maps, tile = 144 * 128**2 * 4, 144 * 4096 * 4
    most = 4 * maps + 5 * torch.get_num_threads() * tile
    assert 2 * maps < benchmarks.peak_memory(benchmarks.OURS, 128) < most


@pytest.mark.parametrize("product", [peers.hankel_product, peers.tuned_hankel_product])
def test_hankel_products_are_the_same_moments(product):
    x = np.random.default_rng(0).standard_normal(200)
    ours = LagCovariance(6, 4).update(x).blocks(center=False)
    for theirs, block in zip(product(x, 6, 4), ours, strict=True):
        np.testing.assert_allclose(theirs, block, atol=1e-12)


def test_both_learners_take_the_same_steps(problem):
    image, atoms, lmbda = problem
    learned = learn_dictionary(image[None], atoms, lmbda, 3, rng=0, max_iter=8, tol=0)
    steps = islice(peers.sporco_learner(image, atoms, lmbda, 8), 3)
    *_, theirs = steps
    assert np.linalg.norm(theirs - learned.atoms) < 1e-4 * np.linalg.norm(theirs)
    start = atoms / np.linalg.norm(atoms, axis=(1, 2), keepdims=True)
    assert np.linalg.norm(theirs - start) > 1e-3 * np.linalg.norm(start)
    assert set(benchmarks.learning_seconds(problem, 2, 1)) == {benchmarks.OURS, "SPORCO"}


@pytest.mark.parametrize("network", [peers.hankel_network, peers.tuned_hankel_network])
def test_hankel_networks_learn_what_ours_learns(network):
    """Their noise is drawn, ours is averaged over: moments agree to what 20,000 draws leave."""
    rng = np.random.default_rng(1)
    scans = rng.standard_normal((60, 400)).cumsum(axis=1)
    scans -= scans.mean(axis=1, keepdims=True)
    layers = [ReSULayer(20, 20, [L3, L1], center=False), ReSULayer(1, 1, [T4], gap=5, center=False)]
    ours = ReSUNetwork(layers, [(26, 13, 0)]).fit(list(scans))
    moments = network(scans, (26, 13, 0), 5, 20, rng)
    theirs = PastFutureCCA(1, 1, gap=5).fit_covariance(*moments)
    np.testing.assert_allclose(theirs.correlations_, ours.layers_[1].cca_.correlations_, atol=0.01)


def test_floors_lags_and_networks_are_timed():
    floors = benchmarks.floors(benchmarks.coding_problem(32), 1)
    moments, analyses = benchmarks.lag_seconds(300, 4, np.random.default_rng(0), 1)
    assert set(floors) == {"transforms", "products", "copy"}
    assert next(iter(moments)) == "LagCovariance"
    assert next(iter(analyses)) == "PastFutureCCA"
    networks = benchmarks.network_seconds(2, 160, np.random.default_rng(1), 1)
    assert next(iter(networks)) == "ReSUNetwork"
    everything = (floors, moments, analyses, networks)
    assert all(t > 0 for times in everything for t in times.values())


@pytest.mark.parametrize("size", [0, 11, 257, 20.0])
def test_sizes_that_do_not_work_are_refused(size):
    with pytest.raises(ValueError, match="size"):
        benchmarks.coding_problem(size)


def test_unknown_coders_are_refused(problem):
    with pytest.raises(ValueError, match="name must be one of SPORCO"):
        benchmarks.code("fista", problem, 1)
    with pytest.raises(ValueError, match="name must be one of SPORCO"):
        benchmarks.peak_memory("fista", 32)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_there_is_no_throughput():
    assert benchmarks.gpu_throughput() is None


def test_throughput_on_a_gpu(gpu):
    rates = benchmarks.gpu_throughput(8, 32, 3)
    assert all(rate > 0 for rate in rates.values())

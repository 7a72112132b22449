"""Sparse coder: against SPORCO, dense linear algebra and the conditions of optimality."""

import threading

import numpy as np
import pytest
import torch
from sklearn.linear_model import Lasso
from sporco.admm.cbpdn import ConvBPDN

from lib import _admm, _atom_bank, _sporco, csc
from lib._atom_bank import AtomBank
from lib._workers import Workers
from lib.loggabor import heterogeneous_dictionary

F64 = torch.float64
LAMBDA = 0.1


@pytest.fixture
def problem():
    """Three images of different contrast, and six atoms of different norms."""
    rng = np.random.default_rng(0)
    atoms = rng.standard_normal((6, 5, 4))
    norms = np.linspace(0.7, 1.4, 6) / np.linalg.norm(atoms, axis=(1, 2))
    atoms *= norms[:, None, None]
    images = rng.standard_normal((3, 15, 18))
    return images * np.array([1, 0.5, 2])[:, None, None], atoms


def reference(images, atoms, lmbda, n_iter, dtype=np.float64, **options):
    """Coefficients, their objectives and last ρ of SPORCO's own class, image by image."""
    maps, objectives, rho = [], [], []
    auto = {"Enabled": options.pop("auto_rho", False)}
    # The objective is that of the coefficients, the auxiliary variable.
    options |= {"Verbose": False, "MaxMainIter": n_iter, "AutoRho": auto, "AuxVarObj": True}
    options = {"RelStopTol": 0.0, **options}
    d = np.ascontiguousarray(atoms.transpose(1, 2, 0), dtype=dtype)
    for image in images:
        solver = ConvBPDN(d, image.astype(dtype), lmbda, ConvBPDN.Options(options), dimK=0)
        maps.append(solver.solve().squeeze((2, 3)).transpose(2, 0, 1))
        objectives.append(solver.getitstat().ObjFun[-1])
        rho.append(solver.rho)
    return np.array(maps), np.array(objectives), np.array(rho)


def convolve(atoms, maps):
    """Σ_k d_k * x_k, by its definition."""
    total = 0
    for i, j in np.ndindex(atoms.shape[1:]):
        shifted = np.roll(maps, (i, j), (-2, -1))
        total = total + np.einsum("k,...kyx->...yx", atoms[:, i, j], shifted)
    return total


def dense(atoms, shape):
    """Matrix (pixels, K · pixels) of all shifted atoms."""
    maps = np.eye(len(atoms) * np.prod(shape)).reshape(-1, len(atoms), *shape)
    return convolve(atoms, maps).reshape(len(maps), -1).T


def objective(images, atoms, maps, lmbda, weights=1.0):
    fit = ((images - convolve(atoms, maps)) ** 2).sum((1, 2)) / 2
    penalty = np.abs(maps).sum((2, 3)) * weights
    return fit + lmbda * penalty.sum(1)


@pytest.mark.parametrize("relax", [0.6, 1.0, 1.8])
@pytest.mark.parametrize("n_iter", [1, 20, 100])
def test_iterates_are_sporcos(problem, n_iter, relax):
    images, atoms = problem
    code = csc.sparse_code(
        *problem, LAMBDA, max_iter=n_iter, tol=0, auto_rho=False, relax=relax, dtype=F64
    )
    maps, objectives, rho = reference(images, atoms, LAMBDA, n_iter, RelaxParam=relax)
    np.testing.assert_allclose(code.coefficients, maps, atol=1e-12)
    np.testing.assert_allclose(code.objective, objectives, rtol=1e-12)
    np.testing.assert_allclose(code.rho, rho)
    assert (code.n_iter == n_iter).all()
    assert not code.converged.any()


@pytest.mark.parametrize(("lmbda", "n_iter"), [(0.01, 30), (LAMBDA, 100), (0.5, 60)])
def test_iterates_with_changing_rho_are_sporcos(problem, lmbda, n_iter):
    code = csc.sparse_code(*problem, lmbda, max_iter=n_iter, tol=0, dtype=F64)
    maps, objectives, rho = reference(*problem, lmbda, n_iter, auto_rho=True)
    np.testing.assert_allclose(code.coefficients, maps, atol=1e-10)
    np.testing.assert_allclose(code.objective, objectives, rtol=1e-10)
    np.testing.assert_allclose(code.rho, rho, rtol=1e-9)
    assert len(np.unique(rho)) == 3


@pytest.mark.parametrize("n_iter", [20, 100])
def test_single_precision_follows_double_precision(problem, n_iter):
    settings = {"max_iter": n_iter, "tol": 0, "auto_rho": False}
    single = csc.sparse_code(*problem, LAMBDA, **settings)
    double = csc.sparse_code(*problem, LAMBDA, dtype=F64, **settings)
    assert single.coefficients.dtype == torch.float32
    np.testing.assert_allclose(single.objective, double.objective, rtol=1e-5)
    np.testing.assert_allclose(single.coefficients, double.coefficients, atol=1e-4)
    theirs = reference(*problem, LAMBDA, n_iter, dtype=np.float32)
    np.testing.assert_allclose(single.objective, theirs[1], rtol=1e-5)


def test_residuals_and_stop_are_sporcos(problem):
    images, atoms = problem
    code = csc.sparse_code(*problem, LAMBDA, max_iter=500, tol=1e-2, dtype=F64)
    assert code.converged.all()
    assert len(set(code.n_iter)) == 3
    for i, image in enumerate(images):
        options = {"Verbose": False, "MaxMainIter": 500, "RelStopTol": 1e-2}
        d = np.ascontiguousarray(atoms.transpose(1, 2, 0))
        solver = ConvBPDN(d, image, LAMBDA, ConvBPDN.Options(options), dimK=0)
        solver.solve()
        last = solver.getitstat()
        assert len(last.Iter) == code.n_iter[i]
        np.testing.assert_allclose(last.PrimalRsdl[-1], code.primal_residual[i], rtol=1e-6)
        np.testing.assert_allclose(last.DualRsdl[-1], code.dual_residual[i], rtol=1e-6)


def test_converged_objective_is_sporcos(problem):
    code = csc.sparse_code(*problem, LAMBDA, max_iter=1000, tol=1e-3)
    assert code.converged.all()
    # A ρ that changes for ever keeps SPORCO, too, from coming closer.
    theirs = reference(*problem, LAMBDA, 1000, rho=0.2)
    np.testing.assert_allclose(code.objective, theirs[1], rtol=1e-4)


def test_steps_are_those_of_dense_linear_algebra():
    rng = np.random.default_rng(1)
    atoms, image = rng.standard_normal((3, 3, 2)), rng.standard_normal((5, 7))
    d, s, rho, relax = dense(atoms, image.shape), image.ravel(), 2.5, 1.8
    weights = np.array([0.5, 1, 2])
    threshold = np.repeat(0.4 * weights, image.size) / rho
    y = u = np.zeros(d.shape[1])
    for n_iter in range(1, 6):
        x = np.linalg.solve(d.T @ d + rho * np.eye(len(y)), d.T @ s + rho * (y - u))
        before, mixed = y, relax * x + (1 - relax) * y
        y = np.sign(mixed + u) * np.maximum(np.abs(mixed + u) - threshold, 0)
        u = u + mixed - y
        settings = {"max_iter": n_iter, "tol": 0, "rho": rho, "auto_rho": False}
        code = csc.sparse_code(image[None], atoms, 0.4, weights=weights, dtype=F64, **settings)
        np.testing.assert_allclose(code.coefficients.ravel(), y, atol=1e-12)
        primal = np.linalg.norm(x - y) / max(np.linalg.norm(x), np.linalg.norm(y))
        dual = np.linalg.norm(y - before) / np.linalg.norm(u)
        np.testing.assert_allclose(code.primal_residual, primal)
        np.testing.assert_allclose(code.dual_residual, dual)


def test_solution_is_that_of_coordinate_descent():
    rng = np.random.default_rng(2)
    atoms, images = rng.standard_normal((3, 3, 2)), rng.standard_normal((2, 6, 7))
    settings = {"auto_rho": False, "rho": 0.5, "max_iter": 3000, "tol": 1e-10, "dtype": F64}
    code = csc.sparse_code(images, atoms, 0.5, **settings)
    assert code.converged.all()
    d = dense(atoms, (6, 7))
    for image, maps, value in zip(images, code.coefficients, code.objective, strict=True):
        lasso = Lasso(0.5 / image.size, fit_intercept=False, tol=1e-14, max_iter=100_000)
        x = lasso.fit(d, image.ravel()).coef_
        np.testing.assert_allclose(maps.ravel(), x, atol=1e-6)
        np.testing.assert_allclose(
            value, objective(image[None], atoms, x.reshape(1, 3, 6, 7), 0.5)[0], rtol=1e-9
        )


def test_solution_meets_the_conditions_of_optimality(problem):
    images, atoms = problem
    weights = np.array([0.5, 1, 1, 2, 1, 0.8])
    rho = np.array([0.2, 0.3, 0.1])
    settings = {"auto_rho": False, "rho": rho, "max_iter": 3000, "tol": 1e-8, "dtype": F64}
    code = csc.sparse_code(*problem, LAMBDA, weights=weights, **settings)
    assert code.converged.all()
    limit = LAMBDA * np.broadcast_to(weights[:, None, None], (6, 15, 18))
    d = dense(atoms, images.shape[1:])
    for image, maps in zip(images, code.coefficients.numpy(), strict=True):
        gradient = (d.T @ (d @ maps.ravel() - image.ravel())).reshape(maps.shape)
        used = maps != 0
        assert 0.01 < used.mean() < 0.5
        np.testing.assert_allclose(gradient[used], -(limit * np.sign(maps))[used], atol=1e-6)
        assert (np.abs(gradient) <= limit + 1e-6).all()
    np.testing.assert_allclose(
        code.objective, objective(images, atoms, code.coefficients.numpy(), LAMBDA, weights)
    )


@pytest.mark.parametrize("weights", [[0, 0.5, 1, 1, 2, 10], [0.7] * 6])
def test_weights_are_sporcos(problem, weights):
    weights = np.array(weights, dtype=float)
    code = csc.sparse_code(*problem, LAMBDA, weights=weights, max_iter=50, tol=0, dtype=F64)
    theirs = reference(
        *problem, LAMBDA, 50, auto_rho=True, L1Weight=weights.reshape(1, 1, 1, 1, -1)
    )
    np.testing.assert_allclose(code.coefficients, theirs[0], atol=1e-10)
    np.testing.assert_allclose(code.objective, theirs[1], rtol=1e-10)


def test_equal_weights_are_another_lambda(problem):
    settings = {"max_iter": 40, "tol": 0, "rho": 3.0, "auto_rho": False, "dtype": F64}
    weighted = csc.sparse_code(*problem, LAMBDA, weights=np.full(6, 0.5), **settings)
    plain = csc.sparse_code(*problem, LAMBDA / 2, **settings)
    np.testing.assert_allclose(weighted.coefficients, plain.coefficients, atol=1e-13)


# Equal to the atoms, one pixel larger, smaller than all lags of their correlations, odd, long.
SHAPES = [(5, 4), (6, 5), (7, 4), (5, 9), (13, 11), (8, 31), (40, 5)]


@pytest.mark.parametrize("shape", SHAPES)
def test_any_shape_of_image(problem, shape):
    atoms = problem[1]
    images = np.random.default_rng(3).standard_normal((2, *shape))
    code = csc.sparse_code(images, atoms, LAMBDA, max_iter=20, tol=0, dtype=F64)
    theirs = reference(images, atoms, LAMBDA, 20, auto_rho=True)
    assert code.coefficients.shape == (2, 6, *shape)
    np.testing.assert_allclose(code.coefficients, theirs[0], atol=1e-10)


@pytest.mark.parametrize("size", [(1, 1), (1, 6), (6, 1)])
def test_atoms_of_one_row_column_or_pixel(size):
    rng = np.random.default_rng(4)
    atoms, images = rng.standard_normal((3, *size)), rng.standard_normal((2, 8, 7))
    code = csc.sparse_code(images, atoms, LAMBDA, max_iter=20, tol=0, dtype=F64)
    theirs = reference(images, atoms, LAMBDA, 20, auto_rho=True)
    np.testing.assert_allclose(code.coefficients, theirs[0], atol=1e-10)


@pytest.mark.parametrize("pixels", [1, 18, 100, 270, 600, 811])
def test_tiles_do_not_matter(problem, monkeypatch, pixels):
    """Tiles of one row, several, a whole image, two images, all images."""
    settings = {"max_iter": 60, "tol": 1e-2, "dtype": F64}
    whole = csc.sparse_code(*problem, LAMBDA, **settings)
    assert len(set(whole.n_iter)) > 1
    monkeypatch.setitem(_atom_bank._TILE, "cpu", pixels)
    tiled = csc.sparse_code(*problem, LAMBDA, **settings)
    np.testing.assert_allclose(tiled.coefficients, whole.coefficients, atol=1e-11)
    np.testing.assert_array_equal(tiled.n_iter, whole.n_iter)
    again = csc.sparse_code(*problem, LAMBDA, start=whole.coefficients, **settings)
    first = csc.sparse_code(*problem, LAMBDA, start=whole.coefficients, **settings)
    np.testing.assert_allclose(again.coefficients, first.coefficients, atol=1e-11)


@pytest.fixture
def threads():
    """Sets torch's number of threads; puts the old one back."""
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


def test_threads_change_no_bit_and_leave_no_trace(problem, monkeypatch, threads):
    monkeypatch.setitem(_atom_bank._TILE, "cpu", 40)
    codes = []
    for n in (1, 3):
        threads(n)
        codes.append(csc.sparse_code(*problem, LAMBDA, max_iter=30, tol=0))
        assert torch.get_num_threads() == n
        seen = []
        other = threading.Thread(target=lambda seen=seen: seen.append(torch.get_num_threads()))
        other.start()
        other.join()
        assert seen == [n]
    assert torch.equal(codes[0].coefficients, codes[1].coefficients)


def test_threads_end_with_the_work(problem, threads):
    threads(3)
    before = threading.active_count()
    csc.sparse_code(*problem, LAMBDA, max_iter=2)
    assert threading.active_count() <= before + 3
    for _ in range(10):
        csc.sparse_code(*problem, LAMBDA, max_iter=2)
    assert threading.active_count() <= before + 6


def test_threads_multiply_on_one_core_each(threads):
    """Libraries of matrix products may know only one number, that of the whole program."""
    threads(3)
    workers = Workers(torch.device("cpu"))
    seen = []
    other = threading.Thread(target=lambda: seen.append(torch.get_num_threads()))
    assert workers.map(lambda _: torch.get_num_threads(), range(4)) == [1] * 4
    workers.map(lambda _: other.start() or other.join(), range(1))
    assert seen == [1]
    assert torch.get_num_threads() == 3
    with pytest.raises(ZeroDivisionError):
        workers.map(lambda n: 1 // n, [1, 0])
    assert torch.get_num_threads() == 3


def test_an_iteration_shares_no_operation(problem, threads, monkeypatch):
    """On busy cores, threads inside a short operation wait for one another."""
    threads(3)
    seen = []
    filtered = AtomBank.filter
    monkeypatch.setattr(
        AtomBank, "filter", lambda *a: seen.append(torch.get_num_threads()) or filtered(*a)
    )
    csc.sparse_code(*problem, LAMBDA, max_iter=2)
    assert seen == [1] * 4
    assert torch.get_num_threads() == 3


# Pixels that are zero in all atoms: none, a round mask, a hole, and whole lines at the edges.
MASKS = {
    "none": np.ones((5, 4)),
    "round": np.array([[0, 1, 0, 0], [1, 1, 1, 0], [1, 1, 1, 0], [1, 1, 1, 0], [0, 1, 0, 0]]),
    "hole": np.array([[1, 0, 1, 1], [0, 0, 0, 1], [1, 0, 1, 1], [0, 0, 1, 0], [1, 0, 0, 0]]),
    "edges": np.pad(np.ones((2, 1)), ((1, 2), (2, 1))),
    "all": np.zeros((5, 4)),
}


def test_pixels_outside_of_a_mask_cost_nothing():
    atoms = torch.from_numpy(heterogeneous_dictionary().atoms)
    assert (atoms != 0).any(0).sum() == 88
    assert AtomBank(atoms, 16, 16).analysis.shape == (144, 88)


@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("pixels", [1, 23, 10_000])
def test_correlating_is_the_adjoint_of_synthesis(monkeypatch, shape, pixels, mask):
    monkeypatch.setitem(_atom_bank._TILE, "cpu", pixels)
    rng = np.random.default_rng(5)
    atoms = rng.standard_normal((3, 5, 4)) * MASKS[mask]
    maps, images = rng.standard_normal((2, 3, *shape)), rng.standard_normal((2, *shape))
    bank = AtomBank(torch.tensor(atoms), *shape)
    synthesis = bank.synthesise(torch.tensor(maps))
    np.testing.assert_allclose(synthesis, convolve(atoms, maps), atol=1e-12)
    correlations = torch.full((3, images.size), np.nan, dtype=F64)
    for tile in bank.tiles(2):
        out = correlations[:, bank.span(tile)]
        bank.correlate(bank.unwrap(torch.tensor(images)), tile, out)
    correlations = correlations.numpy().reshape(3, 2, *shape).transpose(1, 0, 2, 3)
    np.testing.assert_allclose(
        np.vdot(synthesis.numpy(), images), np.vdot(maps, correlations), rtol=1e-11
    )
    np.testing.assert_allclose(
        correlations.reshape(2, -1), images.reshape(2, -1) @ dense(atoms, shape), atol=1e-12
    )


@pytest.mark.parametrize("shape", SHAPES)
def test_power_is_that_of_the_atoms_spectra(shape):
    atoms = np.random.default_rng(6).standard_normal((3, 5, 4))
    expected = (np.abs(np.fft.rfft2(atoms, s=shape)) ** 2).sum(0)
    bank = AtomBank(torch.tensor(atoms), *shape)
    np.testing.assert_allclose(bank.power, expected, atol=1e-10)


@pytest.mark.parametrize("order", [[0, 1, 2], [2, 0, 1]])
def test_a_batch_is_its_images_one_by_one_in_any_order(problem, order):
    images, atoms = problem
    settings = {"max_iter": 200, "tol": 1e-2, "dtype": F64}
    batch = csc.sparse_code(images[order], atoms, LAMBDA, **settings)
    assert len(set(batch.n_iter)) == 3
    for position, i in enumerate(order):
        single = csc.sparse_code(images[i : i + 1], atoms, LAMBDA, **settings)
        for ours, alone in zip(batch, single, strict=True):
            np.testing.assert_allclose(ours[position], alone[0], rtol=1e-8, atol=1e-11)


@pytest.mark.parametrize("memory", [None, 1])
def test_what_belongs_to_an_image_stays_with_it(problem, memory):
    """The first image is done at once, while the others' ρ is about to change."""
    images, atoms = problem
    settings = {"max_iter": 4000, "tol": 1e-6, "auto_rho": False, "rho": 0.2, "dtype": F64}
    start = torch.zeros(3, 6, 15, 18, dtype=F64)
    start[0] = 1.002 * csc.sparse_code(images[:1], atoms, LAMBDA, **settings).coefficients[0]
    settings = {"max_iter": 60, "tol": 1e-2, "dtype": F64}
    rho = np.array([0.2, 3.0, 0.5])
    batch = csc.sparse_code(images, atoms, LAMBDA, start=start, rho=rho, memory=memory, **settings)
    assert 1 < batch.n_iter[0] < batch.n_iter[1:].min() - 5
    for i in range(3):
        some = slice(i, i + 1)
        own = {"start": start[some], "rho": rho[some]}
        single = csc.sparse_code(images[some], atoms, LAMBDA, **own, **settings)
        for ours, alone in zip(batch, single, strict=True):
            np.testing.assert_allclose(ours[i], alone[0], rtol=1e-8, atol=1e-11)


def test_images_keep_their_own_rho(problem):
    images, atoms = problem
    rho = np.array([1.0, 20.0, 4.0])
    settings = {"max_iter": 15, "tol": 0, "auto_rho": False, "dtype": F64}
    code = csc.sparse_code(images, atoms, LAMBDA, rho=rho, **settings)
    np.testing.assert_array_equal(code.rho, rho)
    theirs = [reference(images[i : i + 1], atoms, LAMBDA, 15, rho=rho[i])[0][0] for i in range(3)]
    np.testing.assert_allclose(code.coefficients, theirs, atol=1e-12)


@pytest.mark.parametrize("fit", [0.1, 1, 2.5])
def test_memory_only_sets_how_many_images_go_together(problem, fit, monkeypatch):
    images, atoms = problem
    sizes = []
    original = _admm.Iteration.__init__

    def spy(self, bank, images, *rest):
        sizes.append(len(images))
        original(self, bank, images, *rest)

    monkeypatch.setattr(_admm.Iteration, "__init__", spy)
    size = 6 * images[0].size * 8
    settings = {"max_iter": 60, "tol": 1e-2, "dtype": F64}
    parts = csc.sparse_code(images, atoms, LAMBDA, memory=fit * size, **settings)
    assert sizes == ([2, 1] if fit == 2.5 else [1, 1, 1])
    whole = csc.sparse_code(images, atoms, LAMBDA, **settings)
    for ours, theirs in zip(parts, whole, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-8, atol=1e-11)


def test_iterates_from_a_start_are_sporcos(problem):
    images, atoms = problem
    start = np.random.default_rng(7).standard_normal((3, 6, 15, 18))
    start[np.abs(start) < 1] = 0
    code = csc.sparse_code(*problem, LAMBDA, start=start, max_iter=10, tol=0, dtype=F64)
    for i in range(3):
        rest = (images[i] - convolve(atoms, start[i])).ravel()
        u = np.clip((dense(atoms, (15, 18)).T @ rest).reshape(start[i].shape), -LAMBDA, LAMBDA)
        u[start[i] != 0] = LAMBDA * np.sign(start[i][start[i] != 0])
        more = {"Y0": start[i], "U0": u / 6}
        more = {name: a.transpose(1, 2, 0)[:, :, None, None] for name, a in more.items()}
        more["rho"] = 6.0
        theirs = reference(images[i : i + 1], atoms, LAMBDA, 10, auto_rho=True, **more)
        np.testing.assert_allclose(code.coefficients[i], theirs[0][0], atol=1e-11)


def test_a_converged_start_stops_early_and_stays(problem):
    settings = {"tol": 1e-4, "max_iter": 2000, "auto_rho": False, "rho": 0.2, "dtype": F64}
    cold = csc.sparse_code(*problem, LAMBDA, **settings)
    warm = csc.sparse_code(*problem, LAMBDA, start=cold.coefficients, **settings)
    assert cold.converged.all()
    assert warm.converged.all()
    assert (warm.n_iter < cold.n_iter / 4).all()
    np.testing.assert_allclose(warm.objective, cold.objective, rtol=1e-6)
    exact = csc.sparse_code(*problem, LAMBDA, **(settings | {"tol": 1e-7}))
    warm = csc.sparse_code(*problem, LAMBDA, start=exact.coefficients, **settings)
    assert (warm.n_iter <= 3).all()
    near = csc.sparse_code(*problem, 0.9 * LAMBDA, **settings)
    warm = csc.sparse_code(*problem, 0.9 * LAMBDA, start=cold.coefficients, **settings)
    np.testing.assert_allclose(warm.objective, near.objective, rtol=1e-4)
    assert (warm.n_iter < near.n_iter).all()


def test_sparse_coefficients_are_the_dense_ones(problem):
    settings = {"max_iter": 40, "tol": 1e-2}
    dense_code = csc.sparse_code(*problem, LAMBDA, **settings)
    code = csc.sparse_code(*problem, LAMBDA, sparse=True, **settings)
    assert code.coefficients.is_sparse
    assert torch.equal(code.coefficients.to_dense(), dense_code.coefficients)
    used = int(torch.count_nonzero(dense_code.coefficients))
    assert code.coefficients.coalesce().values().numel() == used
    for ours, theirs in zip(code[1:], dense_code[1:], strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_units_do_not_matter(problem):
    images, atoms = problem
    settings = {"max_iter": 60, "tol": 0, "rho": 3.0, "auto_rho": False, "dtype": F64}
    code = csc.sparse_code(images, atoms, LAMBDA, **settings)
    scaled = csc.sparse_code(1e4 * images, atoms, 1e4 * LAMBDA, **settings)
    np.testing.assert_allclose(scaled.coefficients / 1e4, code.coefficients, atol=1e-11)
    np.testing.assert_allclose(scaled.objective / 1e8, code.objective)


def test_a_shifted_image_has_shifted_coefficients(problem):
    images, atoms = problem
    settings = {"max_iter": 60, "tol": 0, "dtype": F64}
    code = csc.sparse_code(images, atoms, LAMBDA, **settings)
    shifted = csc.sparse_code(np.roll(images, (4, -7), (1, 2)), atoms, LAMBDA, **settings)
    expected = torch.roll(code.coefficients, (4, -7), (2, 3))
    np.testing.assert_allclose(shifted.coefficients, expected, atol=1e-10)


def test_without_a_penalty_the_image_is_matched(problem):
    images, atoms = problem
    code = csc.sparse_code(images, atoms, 0, max_iter=300, tol=0, dtype=F64)
    np.testing.assert_allclose(convolve(atoms, code.coefficients.numpy()), images, atol=1e-6)
    theirs = reference(images, atoms, 0.0, 20, auto_rho=True)
    code = csc.sparse_code(images, atoms, 0, max_iter=20, tol=0, dtype=F64)
    np.testing.assert_allclose(code.coefficients, theirs[0], atol=1e-10)


@pytest.mark.parametrize("dtype", [torch.float32, F64])
@pytest.mark.parametrize("factor", [1.01, 3, 1e6])
def test_a_large_penalty_leaves_nothing(problem, factor, dtype):
    images, atoms = problem
    # λ above every correlation of an atom with the image.
    most = np.abs(images.reshape(3, -1) @ dense(atoms, images.shape[1:])).max()
    code = csc.sparse_code(images, atoms, factor * most, max_iter=500, dtype=dtype)
    assert torch.equal(code.coefficients, torch.zeros(3, 6, 15, 18, dtype=dtype))
    assert not torch.signbit(code.coefficients).any()
    assert code.converged.all()
    assert np.isfinite(code.rho).all()
    np.testing.assert_allclose(code.objective, (images**2).sum((1, 2)) / 2, rtol=1e-6)
    endless = csc.sparse_code(images, atoms, factor * most, max_iter=150, tol=0, dtype=dtype)
    assert np.isfinite(endless.rho).all()
    assert torch.count_nonzero(endless.coefficients) == 0


def test_just_below_that_penalty_something_is_left(problem):
    images, atoms = problem[0][:1], problem[1]
    most = np.abs(images.reshape(1, -1) @ dense(atoms, images.shape[1:])).max()
    code = csc.sparse_code(images, atoms, 0.999 * most, max_iter=5000, tol=1e-6, dtype=F64)
    assert code.converged.all()
    assert torch.count_nonzero(code.coefficients) == 1


def test_no_false_stop_while_the_dual_variable_still_grows(problem):
    """All coefficients are zero for many iterations where ρ is small; the code is not."""
    images, atoms = problem[0][:1], problem[1]
    settings = {"rho": 1e-4, "auto_rho": False, "tol": 0.2, "max_iter": 30}
    code = csc.sparse_code(images, atoms, 1.0, **settings)
    assert torch.count_nonzero(code.coefficients) == 0
    assert not code.converged.any()


def test_a_black_image_has_no_coefficients(problem):
    images = np.stack([problem[0][0], np.zeros((15, 18))])
    code = csc.sparse_code(images, problem[1], LAMBDA, sparse=True)
    np.testing.assert_array_equal(code.n_iter[1], 1)
    assert code.converged[1]
    np.testing.assert_array_equal(csc.sparseness(code.coefficients)[1], 1)
    assert code.objective[1] == 0


def test_inputs_of_any_kind_are_read_and_left_alone(problem):
    images, atoms = problem
    expected = csc.sparse_code(*problem, LAMBDA, max_iter=5, tol=0).coefficients
    turned = np.asfortranarray(images)[:, ::-1, ::-1][:, ::-1, ::-1]
    for kind in (
        images.astype(np.float32),
        turned,
        images.astype(">f8"),
        torch.tensor(images, requires_grad=True),
        torch.tensor(images).transpose(1, 2).contiguous().transpose(1, 2),
        images.tolist(),
    ):
        code = csc.sparse_code(kind, torch.tensor(atoms), LAMBDA, max_iter=5, tol=0)
        np.testing.assert_allclose(code.coefficients, expected, atol=1e-5)
    start = torch.ones(3, 6, 15, 18)
    arrays = [a.astype(np.float32) for a in (images, atoms, start.numpy())]
    for array in arrays:
        array.setflags(write=False)
    before = [array.copy() for array in arrays]
    csc.sparse_code(arrays[0], arrays[1], LAMBDA, start=arrays[2], max_iter=5)
    csc.sparse_code(*map(torch.tensor, before[:2]), LAMBDA, start=start, max_iter=5)
    for array, old in zip(arrays, before, strict=True):
        np.testing.assert_array_equal(array, old)
    assert (start == 1).all()
    whole = csc.sparse_code((images * 9).astype(np.int16), atoms, LAMBDA, max_iter=5)
    same = csc.sparse_code(np.trunc(images * 9), atoms, LAMBDA, max_iter=5)
    assert torch.equal(whole.coefficients, same.coefficients)


def test_sporco_is_a_solver_of_its_own(problem, monkeypatch):
    made = []
    coder = _sporco.code_one
    monkeypatch.setattr(_sporco, "code_one", lambda *a: made.append(1) or coder(*a))
    settings = {"max_iter": 30, "tol": 1e-2, "weights": np.arange(1, 7) / 3, "dtype": F64}
    start = np.random.default_rng(10).standard_normal((3, 6, 15, 18))
    rho = np.array([2.0, 3.0, 4.0])
    for more in ({}, {"start": start}, {"rho": rho, "auto_rho": False}):
        ours = csc.sparse_code(*problem, LAMBDA, **settings, **more)
        assert not made
        theirs = csc.sparse_code(*problem, LAMBDA, solver="sporco", **settings, **more)
        assert made.pop()
        for a, b in zip(ours, theirs, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-8, atol=1e-10)


def test_progress_is_shown_only_if_asked_for(problem, capfd):
    csc.sparse_code(*problem, LAMBDA, max_iter=2)
    csc.sparse_code(*problem, LAMBDA, max_iter=2, solver="sporco")
    assert capfd.readouterr() == ("", "")
    csc.sparse_code(*problem, LAMBDA, max_iter=2, progress=True)
    shown = capfd.readouterr().err
    assert "3/3" in shown
    assert "iteration 2 of 2" in shown


BAD = [
    ("images", {"images": np.full((1, 9, 9), np.nan)}),
    ("images", {"images": np.full((1, 9, 9), np.inf)}),
    ("images", {"images": np.full((1, 9, 9), 1e300)}),
    (r"images must have shape \(n, height, width\), ", {"images": np.ones((9, 9))}),
    ("images", {"images": np.ones((1, 1, 9, 9))}),
    ("images", {"images": np.ones((0, 9, 9))}),
    ("images", {"images": np.ones((1, 9, 0))}),
    ("images", {"images": np.ones((1, 9, 9), dtype=complex)}),
    ("images", {"images": torch.ones(1, 9, 9, dtype=torch.complex64)}),
    ("images", {"images": np.ones((1, 9, 9), dtype=object)}),
    ("images", {"images": [np.ones((9, 9)), np.ones((9, 8))]}),
    ("images", {"images": "photograph.png"}),
    ("images", {"images": None}),
    ("atoms must fit", {"images": np.ones((1, 4, 9))}),
    ("atoms must fit", {"images": np.ones((1, 9, 3))}),
    ("zero atom at index 1", {"atoms": np.stack([np.ones((5, 4)), np.zeros((5, 4))])}),
    ("atoms", {"atoms": np.full((2, 5, 4), np.nan)}),
    (r"atoms must have shape \(K, h, w\), ", {"atoms": np.ones((5, 4))}),
    ("atoms", {"atoms": np.ones((0, 5, 4))}),
    ("atoms", {"atoms": np.ones((2, 5, 4), dtype=complex)}),
    ("lmbda", {"lmbda": -0.1}),
    ("lmbda", {"lmbda": np.nan}),
    ("lmbda", {"lmbda": np.inf}),
    ("lmbda", {"lmbda": "0.1"}),
    ("lmbda", {"lmbda": None}),
    ("lmbda", {"lmbda": np.array([0.1, 0.2])}),
    ("weights", {"weights": np.ones(3)}),
    ("weights", {"weights": np.ones((2, 1))}),
    ("weights", {"weights": 1.0}),
    ("weights", {"weights": np.array([1, -1.0])}),
    ("weights", {"weights": np.array([1, np.nan])}),
    ("weights must be up to", {"weights": np.array([1.0, 1e30])}),
    ("max_iter", {"max_iter": 0}),
    ("max_iter", {"max_iter": 2.0}),
    ("max_iter", {"max_iter": True}),
    ("tol", {"tol": -1e-3}),
    ("tol", {"tol": np.nan}),
    ("rho", {"rho": 0}),
    ("rho", {"rho": -1.0}),
    ("rho", {"rho": np.inf}),
    ("rho", {"rho": np.ones(3)}),
    ("rho", {"rho": np.array([[1.0]])}),
    ("rho", {"rho": "auto"}),
    ("relax", {"relax": 0}),
    ("relax", {"relax": 2}),
    ("relax", {"relax": -1.8}),
    ("relax", {"relax": np.nan}),
    ("start", {"start": np.ones((1, 2, 9, 8))}),
    ("start", {"start": np.ones((2, 2, 9, 9))}),
    ("start", {"start": np.ones((2, 9, 9))}),
    ("start", {"start": np.full((1, 2, 9, 9), np.nan)}),
    ("memory", {"memory": 0}),
    ("memory", {"memory": np.nan}),
    ("solver", {"solver": "fista"}),
    ("device", {"device": "abacus"}),
    ("device", {"device": "meta"}),
    ("device", {"device": "cuda:99"}),
    ("device", {"device": 1.5}),
    ("dtype", {"dtype": torch.float16}),
    ("dtype", {"dtype": "float32"}),
    ("dtype", {"dtype": np.float32}),
]


@pytest.mark.parametrize(("message", "bad"), BAD)
def test_bad_input_is_refused_by_name(message, bad):
    good = {"images": np.ones((1, 9, 9)), "atoms": np.ones((2, 5, 4)), "lmbda": 0.1}
    with pytest.raises(ValueError, match=f"^{message}|got a {message}"):
        csc.sparse_code(**(good | bad))


def test_the_image_whose_code_is_not_finite_is_named():
    images = np.random.default_rng(0).random((3, 9, 9))
    images[1:] *= 4e9
    with pytest.raises(csc.NotFinite, match=r"^images, .* of image 1 ") as caught:
        csc.sparse_code(images, np.ones((2, 5, 4)), 0, rho=5.0)
    assert caught.value.image == 1


@pytest.mark.parametrize("sparse", [False, True])
def test_a_code_is_refused_where_reconstruction_would_refuse_it(sparse):
    images = np.random.default_rng(0).random((3, 9, 9))
    atom = np.full((1, 1, 1), 1e-3)
    images[1] *= 2e6 / images[1].max()
    how = {"rho": 1e-6, "sparse": sparse}
    code = csc.sparse_code(images, atom, 0, **how).coefficients
    np.testing.assert_allclose(csc.reconstruct(code, atom), images, rtol=0.02)
    images[1] *= 5e6 / images[1].max()
    with pytest.raises(csc.NotFinite, match=r"of image 1 .* exceeds 4\.29e\+09") as caught:
        csc.sparse_code(images, atom, 0, **how)
    assert caught.value.image == 1
    assert csc.sparse_code(images, atom, 0, dtype=torch.float64, **how).objective.max() < 1e9


@pytest.mark.parametrize(("dtype", "scale"), [(torch.float32, 1e-22), (torch.float64, 1e-160)])
def test_images_whose_squares_are_lost_are_refused(problem, dtype, scale):
    images, atoms = problem
    with pytest.raises(ValueError, match=r"^images must be zero or reach magnitudes of"):
        csc.sparse_code(images * scale, atoms, 0.1 * scale, rho=5.0, dtype=dtype)
    images = np.stack([0 * images[0], images[0]])
    assert csc.sparse_code(images, atoms, 0.1, max_iter=3, dtype=dtype).n_iter.tolist() == [1, 3]


def test_sporco_s_objective_of_images_one_pixel_wide():
    rng = np.random.default_rng(4)
    images, atoms = rng.standard_normal((2, 8, 1)), rng.standard_normal((2, 3, 1))
    how = {"max_iter": 20, "tol": 0, "dtype": torch.float64}
    ours, theirs = (csc.sparse_code(images, atoms, 0.1, solver=s, **how) for s in csc.SOLVERS)
    np.testing.assert_allclose(ours.objective, theirs.objective, rtol=1e-9)


def test_sparse_coefficients_can_be_indexed_at_once(problem):
    code = csc.sparse_code(*problem, 0.1, max_iter=20, sparse=True).coefficients
    for maps in (code, csc.prune(code, 0.05)):
        assert maps.is_coalesced()
        assert len(maps.values()) == int(maps.to_dense().count_nonzero())


@pytest.mark.parametrize("axis", range(3))
def test_arrays_read_backwards(problem, axis):
    """Also where the axis that is reversed has one entry, which torch does not like."""
    images, atoms = (np.flip(np.array(x)[:1], axis) for x in problem[:2])
    expected = csc.sparse_code(images.copy(), atoms.copy(), 0.1, max_iter=3)
    found = csc.sparse_code(images, atoms, 0.1, max_iter=3)
    assert torch.equal(found.coefficients, expected.coefficients)


def test_reconstruction_follows_the_definition(problem):
    images, atoms = problem
    maps = np.random.default_rng(8).standard_normal((3, 6, 15, 18)) * (np.arange(18) % 3 == 0)
    expected = convolve(atoms, maps)
    for kind in (torch.tensor(maps), torch.tensor(maps).to_sparse()):
        ours = csc.reconstruct(kind, atoms)
        assert ours.dtype == F64
        np.testing.assert_allclose(ours, expected, atol=1e-12)
    single = csc.reconstruct(torch.tensor(maps, dtype=torch.float32), torch.tensor(atoms))
    assert single.dtype == torch.float32
    np.testing.assert_allclose(single, expected, atol=1e-4)
    assert csc.reconstruct(maps, atoms).dtype == F64
    np.testing.assert_allclose(csc.reconstruct(maps, atoms), expected, atol=1e-12)
    assert csc.reconstruct(maps.astype(np.float32), atoms).dtype == torch.float32
    code = csc.sparse_code(images, atoms, LAMBDA, max_iter=40, dtype=F64)
    rest = images - csc.reconstruct(code.coefficients, atoms).numpy()
    penalty = np.abs(code.coefficients.numpy()).sum((1, 2, 3))
    np.testing.assert_allclose(code.objective, (rest**2).sum((1, 2)) / 2 + LAMBDA * penalty)


def test_images_that_leave_make_room_in_the_same_memory(problem):
    images, atoms = (torch.as_tensor(part) for part in problem)
    bank, n = AtomBank(atoms, *images.shape[1:]), len(images)
    state = _admm.Iteration(bank, images, LAMBDA, torch.ones(n, dtype=F64), 1.8)
    state.step()
    mask = np.array([True, False, True])
    expected = state.w.view(len(atoms), n, -1)[:, mask].flatten(1).clone()
    place = state.w.data_ptr()
    state.keep(mask)
    assert state.w.equal(expected)
    assert state.w.data_ptr() == place
    state.keep(np.array([False, True]))
    assert state.w.equal(expected.view(len(atoms), 2, -1)[:, 1])


def test_factors_are_not_rounded_first(problem, monkeypatch):
    kinds = torch.backends.cuda.matmul, torch.backends.mkldnn.matmul
    seen = set()
    for name in ("spread", "correlate"):
        method = getattr(AtomBank, name)

        def spy(*args, name=name, method=method, **settings):
            seen.add((name, *(kind.fp32_precision for kind in kinds)))
            return method(*args, **settings)

        monkeypatch.setattr(AtomBank, name, spy)
    torch.set_float32_matmul_precision("medium")
    try:
        before = [kind.fp32_precision for kind in kinds]
        code = csc.sparse_code(*problem, LAMBDA, max_iter=2, start=np.ones((3, 6, 15, 18)))
        csc.reconstruct(code.coefficients, problem[1])
        assert [kind.fp32_precision for kind in kinds] == before != ["ieee", "ieee"]
    finally:
        torch.set_float32_matmul_precision("highest")
    assert sorted(seen) == [("correlate", "ieee", "ieee"), ("spread", "ieee", "ieee")]


@pytest.mark.parametrize("sparse", [False, True])
def test_images_are_handed_over_in_groups(problem, monkeypatch, sparse):
    """As many as a tile holds, if they are done together and next to each other."""
    images, atoms = problem
    images = images[[0, 1, 1, 0, 2, 0]]
    monkeypatch.setattr(_atom_bank, "_TILE", {"cpu": 2 * images[0].size})
    taken = []
    result = _admm.Iteration.result
    monkeypatch.setattr(
        _admm.Iteration, "result", lambda self, some: taken.append(some) or result(self, some)
    )
    settings = {"sparse": sparse, "dtype": F64}
    whole = csc.sparse_code(images, atoms, LAMBDA, max_iter=7, tol=0, **settings)
    assert taken == [slice(0, 2), slice(2, 4), slice(4, 6)]
    # The three kinds of image stop after different numbers of iterations.
    taken.clear()
    settings |= {"max_iter": 400, "tol": 1e-3}
    whole = csc.sparse_code(images, atoms, LAMBDA, **settings)
    assert len(set(whole.n_iter)) == 3
    assert sum(some.stop - some.start for some in taken) == 6
    assert slice(1, 3) in taken or slice(0, 2) in taken
    for i, image in enumerate(images):
        alone = csc.sparse_code(image[None], atoms, LAMBDA, **settings)
        maps = [code.coefficients.to_dense() for code in (whole, alone)]
        np.testing.assert_allclose(maps[0][i], maps[1][0], atol=1e-9)
        assert whole.n_iter[i] == alone.n_iter[0]
        np.testing.assert_allclose(whole.objective[i], alone.objective[0])


def test_psnr_follows_the_definition():
    rng = np.random.default_rng(9)
    images = rng.random((2, 6, 5)) * np.array([1, 7])[:, None, None]
    others = images + 0.1 * rng.standard_normal(images.shape)
    error = ((images - others) ** 2).mean((1, 2))
    expected = 20 * np.log10(images.max((1, 2))) - 10 * np.log10(error)
    np.testing.assert_allclose(csc.psnr(images, others), expected)
    np.testing.assert_allclose(csc.psnr(5 * images, torch.tensor(5 * others)), expected)
    # A flat image of 1 that is off by 0.1: 20 dB.
    np.testing.assert_allclose(csc.psnr(np.ones((1, 3, 3)), np.full((1, 3, 3), 0.9)), [20])
    assert np.isposinf(csc.psnr(images, images)).all()


@pytest.fixture
def coefficients():
    """Two images' coefficients and a third's, which are all zero."""
    x = torch.zeros(3, 2, 2, 3, dtype=F64)
    x[0, 0, 0, 1], x[0, 1, 1, 2], x[0, 1, 0, 0] = 0.2, -1.0, 0.5
    x[1, 0, 1, 1], x[1, 1, 1, 1] = -4.0, 0.3
    return x


@pytest.mark.parametrize("kind", ["dense", "sparse", "numpy"])
def test_sparseness_is_the_share_of_zeros(coefficients, kind):
    x = {"sparse": coefficients.to_sparse(), "numpy": coefficients.numpy()}.get(kind, coefficients)
    np.testing.assert_allclose(csc.sparseness(x), [9 / 12, 10 / 12, 1])


@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize(
    ("cutoff", "relative", "left"),
    [
        (0, False, [3, 2, 0]),
        (0.3, False, [2, 2, 0]),
        (0.5, False, [2, 1, 0]),
        (1.01, False, [0, 1, 0]),
        (5, False, [0, 0, 0]),
        (0, True, [3, 2, 0]),
        (0.15, True, [3, 1, 0]),
        (0.5, True, [2, 1, 0]),
        (1, True, [1, 1, 0]),
        (1.01, True, [0, 0, 0]),
    ],
)
def test_pruning_keeps_what_reaches_the_cutoff(coefficients, cutoff, relative, left, sparse):
    before = coefficients.clone()
    x = coefficients.to_sparse() if sparse else coefficients
    pruned = csc.prune(x, cutoff, relative=relative)
    assert pruned.is_sparse == sparse
    assert pruned.shape == x.shape
    assert pruned.dtype == F64
    if sparse:
        assert pruned.coalesce().values().numel() == sum(left)
        pruned = pruned.to_dense()
    assert torch.equal(coefficients, before)
    kept = pruned != 0
    assert kept.sum((1, 2, 3)).tolist() == left
    assert torch.equal(pruned[kept], coefficients[kept])
    if kept.any() and not relative:
        gone = coefficients[(coefficients != 0) & ~kept].abs()
        assert (pruned[kept].abs() >= cutoff).all()
        assert (gone < cutoff).all()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda x: csc.reconstruct(x[0], np.ones((2, 1, 1))), "coefficients"),
        (lambda x: csc.reconstruct(x * np.nan, np.ones((2, 1, 1))), "coefficients"),
        (lambda x: csc.reconstruct(x, np.ones((3, 1, 1))), "atoms must be 2"),
        (lambda x: csc.reconstruct(np.ones((1, 3, 5, 4)), np.ones((2, 1, 1))), "atoms must be 3"),
        (lambda x: csc.reconstruct(x, np.ones((2, 3, 1))), "atoms must fit"),
        (lambda x: csc.sparseness(x[:0]), "coefficients"),
        (lambda x: csc.prune(x, -1), "cutoff"),
        (lambda x: csc.prune(x, np.nan), "cutoff"),
        (lambda x: csc.prune(x.to(torch.complex64), 1), "coefficients"),
        (lambda x: csc.psnr(-x[0], x[0]), "images must have a positive maximum"),
        (lambda x: csc.psnr(x[0] + 9, x[0, :1]), "reconstructions must have the shape"),
        (lambda x: csc.psnr(x[0] + 9, x[0] / 0), "reconstructions must be finite"),
        (lambda x: csc.psnr(x, x), "images"),
        (lambda x: csc.psnr(1e-200 * (x[0] + 9), x[0]), "images must be zero or reach magnitudes"),
    ],
)
def test_what_measures_codes_refuses_bad_input(coefficients, call, message):
    with pytest.raises(ValueError, match=f"^{message}"):
        call(coefficients)


@pytest.mark.parametrize("sparse", [False, True])
def test_gpu_agrees_with_cpu(gpu, problem, sparse):
    settings = {"max_iter": 60, "tol": 1e-3, "sparse": sparse, "dtype": F64}
    cpu = csc.sparse_code(*problem, LAMBDA, **settings)
    cuda = csc.sparse_code(*problem, LAMBDA, device="cuda", **settings)
    assert cuda.coefficients.is_cuda
    np.testing.assert_array_equal(cuda.n_iter, cpu.n_iter)
    np.testing.assert_allclose(cuda.objective, cpu.objective, rtol=1e-9)
    on_gpu = csc.reconstruct(cuda.coefficients, problem[1])
    assert on_gpu.is_cuda
    np.testing.assert_allclose(
        on_gpu.cpu(), csc.reconstruct(cpu.coefficients, problem[1]), atol=1e-8
    )


def test_gpu_agrees_with_cpu_in_single_precision(gpu, problem):
    settings = {"max_iter": 100, "tol": 0, "auto_rho": False}
    cpu = csc.sparse_code(*problem, LAMBDA, **settings)
    cuda = csc.sparse_code(torch.tensor(problem[0]).cuda(), problem[1], LAMBDA, **settings)
    np.testing.assert_allclose(cuda.objective, cpu.objective, rtol=1e-4)
    np.testing.assert_allclose(cuda.coefficients.cpu(), cpu.coefficients, atol=1e-3)


@pytest.mark.parametrize("n_threads", [1, 2])
def test_codes_are_the_same_in_inference_mode(problem, n_threads):
    images, atoms = problem
    wanted = csc.sparse_code(images, atoms, LAMBDA, max_iter=10, dtype=F64).coefficients
    before = torch.get_num_threads()
    torch.set_num_threads(n_threads)
    try:
        with torch.inference_mode():
            found = csc.sparse_code(images, atoms, LAMBDA, max_iter=10, dtype=F64).coefficients
    finally:
        torch.set_num_threads(before)
    assert torch.equal(found, wanted)


@pytest.mark.parametrize(
    "rho", [torch.tensor(1.0, requires_grad=True), [[1], [1, 2]], np.ma.array(1.0, mask=True), "1"]
)
def test_rho_that_is_no_number_is_refused(problem, rho):
    with pytest.raises(ValueError, match=r"^rho must"):
        csc.sparse_code(*problem, LAMBDA, rho=rho)


def test_coefficients_that_are_sparse_in_some_axes_only_are_refused():
    maps = torch.eye(6).reshape(1, 2, 3, 6)
    for function in (csc.sparseness, lambda x: csc.prune(x, 0.1)):
        with pytest.raises(ValueError, match=r"^coefficients must be sparse in all axes"):
            function(maps.to_sparse(2))


@pytest.mark.parametrize("solver", csc.SOLVERS)
def test_sparse_coefficients_to_start_from_are_made_dense_a_batch_at_a_time(
    problem, monkeypatch, solver
):
    images, atoms = problem
    images = np.concatenate([images] * 3)
    settings = {"max_iter": 5, "tol": 0, "sparse": True, "solver": solver}
    first = csc.sparse_code(images, atoms, LAMBDA, **settings).coefficients
    expected = csc.sparse_code(images, atoms, LAMBDA, start=first.to_dense(), **settings)
    made = []
    to_dense = torch.Tensor.to_dense
    monkeypatch.setattr(
        torch.Tensor, "to_dense", lambda x, *a, **k: made.append(len(x)) or to_dense(x, *a, **k)
    )
    settings |= {"start": first, "memory": 2 * 4 * first[0].numel()}
    found = csc.sparse_code(images, atoms, LAMBDA, **settings)
    assert max(made) == (1 if solver == "sporco" else 2)
    np.testing.assert_allclose(found.objective, expected.objective, rtol=1e-5)
    # In double precision, too, as long as single precision can compute with the numbers.
    settings["start"] = first.double()
    found = csc.sparse_code(images, atoms, LAMBDA, **settings)
    np.testing.assert_allclose(found.objective, expected.objective, rtol=1e-5)
    with pytest.raises(ValueError, match=r"^start must be of magnitudes up to 4\.29e\+09"):
        csc.sparse_code(images, atoms, LAMBDA, **settings | {"start": 1e12 * first.double()})


@pytest.mark.parametrize("scale", [1e-17, 1e-21, 1e-30])
def test_atoms_whose_squares_are_lost_are_refused(problem, scale):
    images, atoms = problem
    with pytest.raises(ValueError, match=r"^atoms must be zero or reach magnitudes of 1\.08e-16"):
        csc.sparse_code(images, scale * atoms, LAMBDA * scale)
    # One of them does no harm, and double precision holds them all.
    mixed = np.concatenate([atoms, scale * atoms[:1]])
    few = {"max_iter": 10, "tol": 0, "rho": 5.0}
    found = csc.sparse_code(images, mixed, LAMBDA, **few)
    expected = csc.sparse_code(images, atoms, LAMBDA, **few)
    np.testing.assert_allclose(found.objective, expected.objective, rtol=1e-5)

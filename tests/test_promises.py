"""Numerical promises across modules: what must not matter does not, and what is hard holds.

What a single module's own tests show already (units, chunks, threads and order for the moments, the
coder and the network) is not repeated here.
"""

import os
import subprocess
import sys

import joblib
import numpy as np
import processor
import pytest
import torch

from lib import codes, csc, dictlearn, filters, ledger, orientation, processes, pruning, resu
from lib.cca import PastFutureCCA, gaussian_information, min_projection_filters
from lib.lags import LagCovariance

F64 = torch.float64


@pytest.fixture
def problem():
    """Five images of 16 × 15 pixels, and four atoms."""
    rng = np.random.default_rng(0)
    return rng.standard_normal((5, 16, 15)).astype(np.float32), rng.standard_normal((4, 5, 4))


# Units, offsets, order ----------------------------------------------------------------------------


@pytest.mark.parametrize("scale", [1e-65, 1e-30, 1e30, 1e65])
def test_extreme_units_change_no_correlation(scale):
    x = np.random.default_rng(1).standard_normal(2000).cumsum()
    layers = [resu.ReSULayer(5, 4, [resu.L3, resu.L1]) for _ in range(2)]
    base, moved = layers[0].fit(x), layers[1].fit(scale * x)
    np.testing.assert_allclose(moved.cca_.correlations_, base.cca_.correlations_, rtol=1e-9)
    np.testing.assert_allclose(moved.transform(scale * x), base.transform(x), atol=1e-8)


def test_moments_that_float64_cannot_hold_are_refused():
    x = np.random.default_rng(2).standard_normal(500)
    for scale, message in ((1e-160, "x must vary by"), (1e160, "x must be finite, and small")):
        with pytest.raises(ValueError, match=message):
            LagCovariance(3, 2).update(scale * x)
    with pytest.raises(ValueError, match="x must be finite, and small"):
        LagCovariance(3, 2).update(np.full(50, 1e160))
    tiny = LagCovariance(3, 2).update(np.full(50, 1e-160))
    np.testing.assert_allclose(tiny.blocks().past, 0)


@pytest.mark.parametrize("size", [1.0, 3.0, 7.7, 1e6])
@pytest.mark.parametrize("offset", [0.0, 0.1, -40.0])
def test_rounding_errors_are_not_taken_for_variance(size, offset):
    """Only the newest lag and the future ever see the impulse: the others do not vary."""
    x = np.full(200, offset)
    x[-3:] += size * np.array([1.0, -2.0, 0.5])
    cca = PastFutureCCA(4, 2).fit(x)
    past = cca.covariance_.blocks().past
    assert (np.diag(past) > 0).tolist() == [True, False, False, False]
    assert not past[1:].any()
    assert not past[:, 1:].any()
    assert (cca.filters_[:, 1:] == 0).all()


def test_one_window_says_nothing():
    with pytest.raises(ValueError, match=r"x must vary: .* the same in all windows"):
        PastFutureCCA(4, 3).fit(np.random.default_rng(3).random(7))


def test_learning_does_not_depend_on_units(problem):
    """c times the images, with c λ and steps c² smaller, learn the same atoms."""
    images, atoms = problem
    settings = {"rng": 4, "tol": 0, "max_iter": 30, "batch": 2}
    base = dictlearn.learn_dictionary(images, atoms, 0.1, 4, eta_a=20.0, **settings)
    moved = dictlearn.learn_dictionary(64 * images, atoms, 6.4, 4, eta_a=20.0 / 64**2, **settings)
    np.testing.assert_allclose(moved.atoms, base.atoms, atol=1e-5)
    np.testing.assert_allclose(moved.objective, 64**2 * base.objective, rtol=1e-5)
    assert np.abs(base.atoms - base.snapshots[0]).max() > 0.01


def test_relative_pruning_does_not_depend_on_units(problem):
    images, atoms = problem
    settings = {"cutoffs": [0.05, 0.3], "relative": True, "store": None, "max_iter": 40, "tol": 0}
    settings |= {"auto_rho": False, "rho": 3.0}
    base = pruning.pruned_measures(np.abs(images), atoms, 0.1, **settings)
    moved = pruning.pruned_measures(64 * np.abs(images), atoms, 6.4, **settings)
    np.testing.assert_allclose(moved.psnr, base.psnr, atol=1e-3)
    np.testing.assert_allclose(moved.sparseness, base.sparseness, atol=1e-3)


@pytest.mark.parametrize("measure", ["measure", "normalise", "histogram", "kept"])
def test_each_image_is_measured_for_itself(problem, measure):
    images, atoms = np.abs(problem[0]), problem[1]
    settings = {"store": None, "max_iter": 20}
    run = {
        "measure": lambda some: codes.measure(some, atoms, 0.1, **settings)[:4],
        "normalise": lambda some: [codes.contrast_normalise(some)],
        "histogram": lambda some: [orientation.orientation_histogram(some, weighted=True)],
        "kept": lambda some: [pruning.kept_psnr(some, atoms, 0.1, [0.1, 0.2], **settings).T],
    }[measure]
    whole, order = run(images), np.random.default_rng(5).permutation(len(images))
    for part, shuffled in zip(whole, run(images[order]), strict=True):
        np.testing.assert_allclose(shuffled, part[order], rtol=1e-4, atol=1e-5)
    alone = [run(images[i : i + 1]) for i in range(len(images))]
    for j, part in enumerate(whole):
        single = np.concatenate([one[j] for one in alone])
        np.testing.assert_allclose(single, part, rtol=1e-4, atol=1e-5)


def test_filters_are_measured_without_regard_to_their_size():
    rng = np.random.default_rng(6)
    weights = rng.standard_normal((3, 12)).cumsum(axis=1)
    for scale in (1e-100, 1e100):
        np.testing.assert_allclose(filters.cosine(scale * weights, weights), 1)
        np.testing.assert_array_equal(filters.lobes(scale * weights), filters.lobes(weights))
        np.testing.assert_allclose(filters.dc_gain(scale * weights), filters.dc_gain(weights))
        for one in weights:
            found, wanted = filters.widths(scale * one), filters.widths(one)
            np.testing.assert_allclose(list(found.values()), list(wanted.values()))


@pytest.mark.parametrize("memory", [2, 4, 5, 7, 9, 12])
def test_gaussian_derivatives_are_fitted_to_short_filters_too(memory):
    time = np.arange(max(memory, 4))
    planted = -(time - 1.2) * np.exp(-0.5 * ((time - 1.2) / 1.1) ** 2)
    if memory < 4:
        with pytest.raises(ValueError, match="weights must be at least 4"):
            filters.fit_gaussian_derivative(planted[:memory])
    else:
        fit, correlation = filters.fit_gaussian_derivative(planted)
        np.testing.assert_allclose(fit, planted, atol=1e-5)
        assert correlation > 0.9999


def test_parts_from_workers_add_up():
    """Joblib's workers each take some recordings; what they send back is added."""
    recordings = [np.random.default_rng(i).standard_normal((900 + i, 2)) + 50 for i in range(6)]
    whole = LagCovariance(7, 5, 2, 2).update(recordings)
    jobs = (joblib.delayed(LagCovariance(7, 5, 2, 2).update)(y) for y in recordings)
    parts = joblib.Parallel(2)(jobs)
    for order in ([0, 1, 2, 3, 4, 5], [3, 5, 0, 1, 4, 2]):
        merged = sum((parts[i] for i in order[1:]), parts[order[0]])
        assert merged.n_windows == whole.n_windows
        for center in (False, True):
            for a, b in zip(merged.blocks(center), whole.blocks(center), strict=True):
                np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-10 * np.abs(b).max())


# Ill-conditioned problems -------------------------------------------------------------------------


@pytest.mark.parametrize("a", [0.3, 0.95, 0.9999])
def test_memory_far_beyond_that_of_the_process_adds_nothing(a):
    """A Markov process: the newest sample says all, -½ ln(1 - a²) nats, however long the past."""
    wanted = -0.5 * np.log1p(-(a**2))
    blocks = processes.lag_covariances(a ** np.arange(400.0), 200, 150)
    cca = PastFutureCCA(200, 150).fit_covariance(*blocks)
    np.testing.assert_allclose(cca.correlations_[0], a, rtol=1e-7)
    np.testing.assert_allclose(cca.correlations_[1:], 0, atol=1e-5)
    np.testing.assert_allclose(cca.information(), wanted, rtol=1e-5)
    np.testing.assert_allclose(gaussian_information(*blocks), wanted, rtol=1e-5)
    shares = np.abs(cca.filters_[0]) / np.abs(cca.filters_[0, 0])
    np.testing.assert_allclose(shares[1:], 0, atol=1e-4)


@pytest.mark.parametrize("memory", [5, 20, 80])
@pytest.mark.parametrize("kernel", ["squared_exponential", "oscillatory", "rational_quadratic"])
def test_smooth_kernels_are_singular_and_yet_answered(kernel, memory):
    """Their future all but follows from their past: correlations near 1, none above."""
    tau = 0.05 * np.arange(2 * memory + 1)
    blocks = processes.lag_covariances(getattr(processes, kernel)(tau), memory, memory)
    cca = PastFutureCCA(memory, memory).fit_covariance(*blocks)
    assert np.isfinite(cca.filters_).all()
    assert np.isfinite(cca.future_filters_).all()
    assert (np.diff(cca.correlations_) <= 0).all()
    assert cca.correlations_[-1] >= 0
    assert 0.99 < cca.correlations_[0] <= 1
    # A little noise makes the answer finite, and less of it more certain.
    information = []
    for ridge in (1e-2, 1e-4, 1e-6):
        cca = PastFutureCCA(memory, memory, ridge=ridge).fit_covariance(*blocks)
        assert cca.correlations_[0] < 1
        information.append(cca.information())
    assert np.isfinite(information).all()
    assert (np.diff(information) > 0).all()
    assert np.isfinite(min_projection_filters(*blocks, rank=2)).all()


def test_information_is_infinite_where_the_past_tells_all():
    cca = PastFutureCCA(2, 2).fit_covariance(np.eye(2), np.diag([1.0, 0.5]), np.eye(2))
    assert cca.information() == np.inf
    assert cca.information(rank=1) == np.inf


def test_copies_of_an_atom_do_not_change_the_optimum(problem):
    """Coefficients can be shared out among copies, at the same cost."""
    images, atoms = problem
    settings = {"max_iter": 150, "tol": 0, "auto_rho": False, "rho": 5.0, "dtype": F64}
    base = csc.sparse_code(images, atoms, 0.3, **settings)
    for noise in (0, 1e-9, 1e-7):
        near = atoms[:2] + noise * np.random.default_rng(7).standard_normal((2, 5, 4))
        more = csc.sparse_code(images, np.concatenate([atoms, near]), 0.3, **settings)
        np.testing.assert_allclose(more.objective, base.objective, rtol=1e-3)
        assert torch.isfinite(more.coefficients).all()


@pytest.mark.parametrize("value", [0.0, 0.5, -3.0])
def test_images_of_one_value(problem, value):
    images, atoms = np.full((2, 16, 15), value), problem[1]
    lmbda = 0.1 * max(abs(value), 1)
    code = csc.sparse_code(images, atoms, lmbda, max_iter=100, dtype=F64)
    assert torch.isfinite(code.coefficients).all()
    assert np.isfinite([code.objective, code.primal_residual, code.dual_residual]).all()
    # What a constant image is made of is the same everywhere.
    spread = code.coefficients.amax((2, 3)) - code.coefficients.amin((2, 3))
    np.testing.assert_allclose(spread, 0, atol=1e-8)
    assert not orientation.orientation_histogram(images).any()
    assert not orientation.orientation_histogram(images, weighted=True).any()
    with pytest.raises(ValueError, match="image 0 is"):
        codes.contrast_normalise(images)
    if value > 0:
        assert csc.psnr(images, csc.reconstruct(code.coefficients, atoms)).min() > 10
    else:
        with pytest.raises(ValueError, match="images must have a positive maximum"):
            csc.psnr(images, images)


# Precision ----------------------------------------------------------------------------------------


def test_float32_against_float64(problem):
    """Bounds that the docstrings' choice of float32 rests on."""
    images, atoms = problem
    maps = csc.sparse_code(images, atoms, 0.1, max_iter=20).coefficients
    single, double = (csc.reconstruct(maps.to(kind), atoms) for kind in (torch.float32, F64))
    assert single.dtype == torch.float32
    assert (single - double).abs().max() < 1e-5 * double.abs().max()
    np.testing.assert_allclose(
        csc.psnr(images + 9, single), csc.psnr(images + 9, double), atol=1e-4
    )
    gradients = [
        dictlearn.atom_gradient(
            torch.as_tensor(images, dtype=kind), maps.to(kind), torch.as_tensor(atoms, dtype=kind)
        )
        for kind in (torch.float32, F64)
    ]
    assert (gradients[0] - gradients[1]).abs().max() < 1e-5 * gradients[1].abs().max()
    x = np.random.default_rng(8).standard_normal(3000).cumsum()
    near, exact = (PastFutureCCA(6, 5).fit(x.astype(kind)) for kind in (np.float32, float))
    np.testing.assert_allclose(near.correlations_, exact.correlations_, atol=1e-5)


# Other machines -----------------------------------------------------------------------------------

_SCRIPT = r"""
import sys, time
import numpy as np, torch
from lib import codes, csc, ledger, loggabor, orientation, processes, scenes
from lib.cca import PastFutureCCA
from lib.resu import L1, L3, T4, ReSULayer, ReSUNetwork
torch.set_num_threads(int(sys.argv[2]))
time.tzset()
rng = np.random.default_rng(0)
x = processes.sample_gp(processes.rational_quadratic, 4000, 0.05, 1)[0]
# Without noise the covariance of so smooth a series has no more than half of its digits.
x += 0.1 * rng.standard_normal(len(x))
layers = [ReSULayer(20, 10, [L3, L1]), ReSULayer(1, 1, [T4], gap=5, center=False)]
network = ReSUNetwork(layers, [(8, 4, 0)]).fit(x)
images = codes.contrast_normalise(rng.random((2, 32, 32)))
atoms = loggabor.heterogeneous_dictionary().atoms[:20]
code = csc.sparse_code(images, atoms, 0.1, max_iter=20, dtype=torch.float64)
leaves = scenes.dead_leaves((40, 50), 3)
np.savez(
    sys.argv[1] + "/numbers.npz",
    correlations=PastFutureCCA(12, 9).fit(x).correlations_,
    filters=network.layers_[1].filters_,
    photographs=codes.prepare("bundled", 96),
    objective=code.objective,
    coefficients=code.coefficients.numpy(),
    leaves=leaves,
    contrast=scenes.local_contrast(leaves, 1.0),
    histogram=orientation.orientation_histogram(leaves),
    table=np.array([ord(c) for c in ledger.verdicts().html()]),
)
"""


def _numbers(folder, threads=1, cwd=None, **environment):
    folder.mkdir()
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("LC_", "LANG", "OMP", "TZ"))}
    environment = {f"{name}_NUM_THREADS": str(threads) for name in ("OMP", "MKL", "OPENBLAS")} | (
        environment
    )
    environment["PYTHONPATH"] = str(ledger.ROOT)
    arguments = [sys.executable, "-c", _SCRIPT, str(folder), str(threads)]
    subprocess.run(arguments, check=True, env=kept | environment, cwd=cwd or folder, timeout=120)
    with np.load(folder / "numbers.npz") as stored:
        return dict(stored)


@pytest.fixture(scope="module")
def at_home(tmp_path_factory):
    return _numbers(tmp_path_factory.mktemp("home") / "a", cwd=ledger.ROOT)


@pytest.mark.parametrize(
    "environment",
    [
        # No UTF-8, a decimal comma if there is one, half a day away, in another folder.
        {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "TZ": "Pacific/Kiritimati"},
        {"LC_ALL": "de_DE.UTF-8", "TZ": "America/St_Johns", "PYTHONHASHSEED": "7"},
    ],
)
def test_neither_locale_nor_time_zone_nor_folder_matter(tmp_path, at_home, environment):
    away = _numbers(tmp_path / "b", **environment)
    for name, wanted in at_home.items():
        np.testing.assert_array_equal(away[name], wanted, err_msg=name)


def test_the_number_of_threads_hardly_matters(tmp_path, at_home):
    two = _numbers(tmp_path / "c", threads=2)
    for name, wanted in at_home.items():
        np.testing.assert_allclose(two[name], wanted, rtol=1e-8, atol=1e-9, err_msg=name)


def test_the_processor_hardly_matters(tmp_path, at_home):
    old = _numbers(tmp_path / "d", **processor.OLD)
    for name, wanted in at_home.items():
        np.testing.assert_allclose(old[name], wanted, rtol=1e-8, atol=1e-9, err_msg=name)

"""Dictionary learning: against SPORCO, planted dictionaries, resuming, refusals."""

import os
import signal
import subprocess
import sys
import textwrap

import numpy as np
import pytest
import torch
from scipy.signal import fftconvolve

from lib import csc, dictlearn
from lib.dictlearn import CheckpointError, learn_dictionary


@pytest.fixture(scope="module")
def problem():
    rng = np.random.default_rng(0)
    return (
        rng.standard_normal((6, 24, 26)).astype(np.float32),
        rng.standard_normal((5, 4, 4)).astype(np.float32),
    )


@pytest.mark.parametrize("batch", [1, 2])
def test_dictionary_is_sporco_s_after_20_steps(problem, batch):
    from sporco.dictlrn.onlinecdl import OnlineConvBPDNDictLearn

    images, atoms = problem
    ours = learn_dictionary(
        images, atoms, 0.1, 20, rng=3, batch=batch, eta_a=10, eta_b=20, max_iter=50
    )
    coder = {
        "rho": 10.0,
        "AutoRho": {"Enabled": False},
        "RelStopTol": 0.0 if batch > 1 else 1e-2,
        "RelaxParam": 1.8,
        "MaxMainIter": 50,
        "DataType": np.float32,
    }
    options = {"ZeroMean": False, "eta_a": 10, "eta_b": 20, "CBPDN": coder}
    reference = OnlineConvBPDNDictLearn(
        np.moveaxis(atoms, 0, 2), 0.1, OnlineConvBPDNDictLearn.Options(options)
    )
    # The order of the images is that of one permutation after the other.
    rng = np.random.default_rng(3)
    order = np.concatenate([rng.permutation(6) for _ in range(7)])[: 20 * batch]
    for chosen in order.reshape(20, batch):
        if batch == 1:
            reference.solve(images[chosen[0]], dimK=0)
        else:
            reference.solve(np.moveaxis(images[chosen], 0, 2), dimK=1)
    theirs = np.moveaxis(reference.getdict().squeeze(), 2, 0)
    start = atoms / np.linalg.norm(atoms, axis=(1, 2), keepdims=True)
    assert np.linalg.norm(theirs - start) > 0.3 * np.linalg.norm(start)
    assert np.linalg.norm(ours.atoms - theirs) < 1e-3 * np.linalg.norm(theirs)
    np.testing.assert_allclose(np.linalg.norm(ours.atoms, axis=(1, 2)), 1, rtol=1e-5)
    first = csc.sparse_code(
        images[order[:batch]], start, 0.1, max_iter=50, tol=1e-2, rho=10.0, auto_rho=False
    )
    assert ours.objective[0] == pytest.approx(first.objective.mean(), rel=1e-5)


def test_atoms_that_a_step_shortens_are_of_unit_norm_too(problem):
    images, atoms = problem
    # One iteration with a small rho overshoots, so that the step goes against the atoms.
    coder = {"max_iter": 1, "rho": 0.1, "auto_rho": False, "relax": 1.8}
    start = torch.tensor(atoms / np.linalg.norm(atoms, axis=(1, 2), keepdims=True))
    code = csc.sparse_code(images[:1], start, 0.001, **coder)
    gradient = dictlearn.atom_gradient(torch.tensor(images[:1]), code.coefficients, start)
    moved = (start - 0.003 * gradient).numpy()
    norms = np.linalg.norm(moved, axis=(1, 2), keepdims=True)
    assert norms.min() < 0.9
    learned = learn_dictionary(images[:1], atoms, 0.001, 1, rng=0, eta_a=3, **coder)
    np.testing.assert_allclose(learned.atoms, moved / norms, rtol=1e-5, atol=1e-6)


def test_gradient_agrees_with_finite_differences(problem):
    images, atoms = (torch.tensor(x, dtype=torch.float64) for x in problem)
    rng = np.random.default_rng(1)
    maps = torch.tensor(rng.standard_normal((6, 5, 24, 26)) * (rng.random((6, 5, 24, 26)) < 0.05))

    def value(d):
        return float((csc.reconstruct(maps, d) - images).square().sum() / 2)

    gradient = dictlearn.atom_gradient(images, maps, atoms)
    for place in ((0, 0, 0), (2, 3, 1), (4, 1, 3)):
        step = torch.zeros_like(atoms)
        step[place] = 1e-4
        slope = (value(atoms + step) - value(atoms - step)) / 2e-4
        assert float(gradient[place]) == pytest.approx(slope, rel=1e-6)


@pytest.mark.parametrize("size", [(4, 4), (3, 5), (1, 1), (24, 26)])
def test_gradient_is_that_of_the_spectra(problem, size):
    images = torch.tensor(problem[0], dtype=torch.float64)
    rng = np.random.default_rng(2)
    atoms = torch.tensor(rng.standard_normal((5, *size)))
    maps = torch.tensor(rng.standard_normal((6, 5, 24, 26)))
    spectra = torch.fft.fft2(maps)
    rest = (spectra * torch.fft.fft2(atoms, s=(24, 26))).sum(1) - torch.fft.fft2(images)
    expected = torch.fft.ifft2((spectra.conj() * rest[:, None]).sum(0)).real
    expected = expected[:, : size[0], : size[1]]
    gradient = dictlearn.atom_gradient(images, maps, atoms)
    torch.testing.assert_close(gradient, expected, rtol=1e-10, atol=1e-10)
    single = dictlearn.atom_gradient(*(x.float() for x in (images, maps, atoms)))
    assert float((single - expected).norm() / expected.norm()) < 1e-5


def _match(found, planted):
    """Best correlation of each planted atom with a found one, any shift and sign."""
    best = []
    for atom in planted:
        atom = atom / np.linalg.norm(atom)
        best.append(max(np.abs(fftconvolve(f, atom[::-1, ::-1])).max() for f in found))
    return np.array(best)


def test_planted_atoms_are_recovered():
    rng = np.random.default_rng(5)
    axis = np.arange(5) - 2
    y, x = np.meshgrid(axis, axis, indexing="ij")
    envelope = np.exp(-(x**2 + y**2) / 4)
    planted = np.stack([envelope * f for f in (np.cos(1.5 * x), np.sin(1.5 * y), x - y, x * y)])
    planted -= planted.mean(axis=(1, 2), keepdims=True)
    planted /= np.linalg.norm(planted, axis=(1, 2), keepdims=True)
    codes = rng.standard_normal((40, 4, 32, 32)) * (rng.random((40, 4, 32, 32)) < 0.008)
    images = csc.reconstruct(codes, planted).numpy()
    start = rng.standard_normal((6, 7, 7))
    learned = learn_dictionary(
        images, start, 0.05, 160, rng=1, batch=2, eta_a=20, eta_b=20, max_iter=60, auto_rho=True
    )
    before, after = _match(learned.snapshots[0], planted), _match(learned.atoms, planted)
    assert before.max() < 0.9
    assert after.min() > 0.97


def test_learning_lowers_the_objective_of_held_out_images(problem):
    images, atoms = problem
    learned = learn_dictionary(
        images[:4],
        atoms,
        0.5,
        12,
        rng=0,
        eta_b=20,
        eta_a=1,
        max_iter=60,
        auto_rho=True,
        tol=1e-3,
        held_out=images[4:],
        evaluate_every=5,
    )
    assert learned.steps.tolist() == [0, 5, 10, 12]
    assert learned.held_out.shape == (4, 2)
    assert learned.objective.shape == (12,)
    assert learned.snapshots.shape == (4, 5, 4, 4)
    np.testing.assert_array_equal(learned.snapshots[-1], learned.atoms)
    code = csc.sparse_code(images[4:], learned.atoms, 0.5, rho=10.0, max_iter=60, tol=1e-3)
    np.testing.assert_allclose(learned.held_out[-1], code.objective, rtol=1e-6)


def _assert_same(learned, other):
    for ours, theirs in zip(learned, other, strict=True):
        np.testing.assert_array_equal(ours, theirs)


SETTINGS = {"rng": 3, "max_iter": 10, "evaluate_every": 4, "checkpoint_every": 3}


def test_resuming_gives_the_same_bits(problem, tmp_path):
    images, atoms = problem
    settings = SETTINGS | {"held_out": images[:2]}
    whole = learn_dictionary(images, atoms, 0.1, 11, **settings)
    path = tmp_path / "checkpoint.npz"
    for n_steps in (5, 11, 11):
        again = learn_dictionary(images, atoms, 0.1, n_steps, checkpoint=path, **settings)
        assert again.steps[-1] == n_steps
    _assert_same(again, whole)


def test_double_precision_is_that_of_the_whole_step(problem, tmp_path):
    images, atoms = (part.astype(float) for part in problem)
    settings = {"rng": 0, "eta_a": 10, "eta_b": 20, "max_iter": 5, "held_out": images[:1]}
    settings |= {"dtype": torch.float64}
    double = learn_dictionary(images, atoms, 0.1, 4, **settings)
    assert double.atoms.dtype == double.snapshots.dtype == np.float64
    # One step by hand, in double precision all along.
    start = torch.as_tensor(atoms / np.linalg.norm(atoms, axis=(1, 2), keepdims=True))
    first = images[np.random.default_rng(0).permutation(6)[:1]]
    coder = {"rho": 10.0, "auto_rho": False, "max_iter": 5, "tol": 1e-2, "dtype": torch.float64}
    code = csc.sparse_code(first, start, 0.1, **coder).coefficients
    moved = start - 0.5 * dictlearn.atom_gradient(torch.as_tensor(first), code, start)
    moved /= torch.linalg.vector_norm(moved, dim=(1, 2), keepdim=True)
    once = learn_dictionary(images, atoms, 0.1, 1, **settings)
    np.testing.assert_allclose(once.atoms, moved.numpy(), rtol=1e-12, atol=1e-14)
    path = tmp_path / "learned.npz"
    learn_dictionary(images, atoms, 0.1, 2, checkpoint=path, **settings)
    resumed = learn_dictionary(images, atoms, 0.1, 4, checkpoint=path, **settings)
    np.testing.assert_array_equal(resumed.atoms, double.atoms)
    single = learn_dictionary(images, atoms, 0.1, 4, **settings | {"dtype": torch.float32})
    np.testing.assert_allclose(single.atoms, double.atoms, atol=1e-4)
    with pytest.raises(ValueError, match="dtype must be"):
        learn_dictionary(images, atoms, 0.1, 4, **settings | {"dtype": torch.float16})


def test_a_killed_run_goes_on_with_the_same_bits(problem, tmp_path):
    images, atoms = problem
    np.savez(tmp_path / "problem.npz", images=images, atoms=atoms)
    path = tmp_path / "checkpoint.npz"
    # Killed while it writes its third version: two were written, after steps 0 and 3.
    script = f"""
        import os, signal
        import numpy as np
        from lib import dictlearn
        problem = np.load({str(tmp_path / "problem.npz")!r})
        replace, done = os.replace, []
        def killed(*arguments):
            if len(done) == 2:
                os.kill(os.getpid(), signal.SIGKILL)
            if "checkpoint" in str(arguments[1]):
                done.append(arguments)
            replace(*arguments)
        os.replace = killed
        dictlearn.learn_dictionary(problem["images"], problem["atoms"], 0.1, 11,
                                   checkpoint={str(path)!r}, **{SETTINGS!r})
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)], check=False, cwd=os.curdir
    )
    assert done.returncode == -signal.SIGKILL
    with np.load(path) as stored:
        assert len(stored["objective"]) == 3
    # Fewer steps in all than the killed run had planned are as good as any.
    for n_steps in (4, 11):
        resumed = learn_dictionary(images, atoms, 0.1, n_steps, checkpoint=path, **SETTINGS)
    _assert_same(resumed, learn_dictionary(images, atoms, 0.1, 11, **SETTINGS))


def test_in_a_folder_each_task_has_its_file(problem, tmp_path):
    images, atoms = problem
    for seed in (3, 4):
        for n_steps in (3, 6):
            learn_dictionary(
                images, atoms, 0.1, n_steps, checkpoint=tmp_path, **SETTINGS | {"rng": seed}
            )
    learn_dictionary(images, atoms, 0.2, 3, checkpoint=tmp_path, **SETTINGS)
    assert len(list(tmp_path.iterdir())) == 3
    again = learn_dictionary(images, atoms, 0.1, 6, checkpoint=tmp_path, **SETTINGS)
    whole = learn_dictionary(images, atoms, 0.1, 6, **SETTINGS)
    np.testing.assert_array_equal(again.atoms, whole.atoms)


@pytest.mark.parametrize(
    "change",
    [
        {"lmbda": 0.2},
        {"rng": 4},
        {"images": 2},
        {"atoms": 2},
        {"held_out": 2},
        {"n_steps": 4},
        {"batch": 2},
        {"eta_a": 99.0},
        {"eta_b": 99.0},
        {"max_iter": 11},
        {"tol": 0.02},
        {"rho": 11.0},
        {"auto_rho": True},
        {"relax": 1.7},
        {"evaluate_every": 3},
        {"coder": 2},
    ],
    ids=lambda change: next(iter(change)),
)
def test_a_checkpoint_of_something_else_is_refused(problem, tmp_path, monkeypatch, change):
    images, atoms = problem
    path = tmp_path / "checkpoint.npz"
    arguments = SETTINGS | {"lmbda": 0.1, "n_steps": 6, "checkpoint": path}
    arguments |= {"images": images, "atoms": atoms, "held_out": images[:1]}
    learn_dictionary(**arguments)
    before = path.read_bytes()
    ((name, value),) = change.items()
    if name == "coder":
        monkeypatch.setattr(csc, "VERSION", csc.VERSION + 1)
    else:
        arguments[name] = arguments[name] * value if np.ndim(arguments.get(name)) else value
    with pytest.raises(CheckpointError, match="checkpoint"):
        learn_dictionary(**arguments)
    assert path.read_bytes() == before


@pytest.mark.parametrize("damage", ["truncated", "empty", "text", "pickle", "array", "no key"])
def test_a_damaged_checkpoint_is_refused(problem, tmp_path, damage):
    images, atoms = problem
    path = tmp_path / "checkpoint.npz"
    learn_dictionary(images, atoms, 0.1, 3, checkpoint=path, **SETTINGS)
    if damage == "truncated":
        path.write_bytes(path.read_bytes()[:-200])
    elif damage == "empty":
        path.write_bytes(b"")
    elif damage == "text":
        path.write_text("not a checkpoint")
    elif damage == "pickle":
        np.savez(path, key=np.array([{}], dtype=object))
    elif damage == "no key":
        np.savez(path, atoms=atoms)
    else:
        with open(path, "wb") as file:
            np.save(file, atoms)
    with pytest.raises(CheckpointError, match="cannot be read"):
        learn_dictionary(images, atoms, 0.1, 3, checkpoint=path, **SETTINGS)


def test_no_changed_bit_goes_unnoticed(problem, tmp_path):
    images, atoms = problem
    path = tmp_path / "checkpoint.npz"
    whole = learn_dictionary(images, atoms, 0.1, 3, checkpoint=path, **SETTINGS)
    stored = path.read_bytes()
    rng = np.random.default_rng(0)
    refused = 0
    for place in rng.choice(len(stored), 150, replace=False):
        damaged = bytearray(stored)
        damaged[place] ^= 1 << rng.integers(8)
        path.write_bytes(damaged)
        try:
            again = learn_dictionary(images, atoms, 0.1, 3, checkpoint=path, **SETTINGS)
        except CheckpointError:
            refused += 1
        else:
            _assert_same(again, whole)
    assert refused > 100


@pytest.mark.parametrize(
    ("scale", "eta_a", "message"),
    [
        (1, 1e38, r"atoms .* after step 0 with images \[\d\]"),
        (1, 1e25, r"atoms .* after step 0 with images \[\d\]"),
        (1e9, 1.0, r"atoms .* after step 0 with images \[\d\]"),
    ],
)
def test_overflow_names_step_and_image(problem, scale, eta_a, message):
    images, atoms = problem
    images = images.astype(float) * scale
    with pytest.raises(FloatingPointError, match=message):
        learn_dictionary(images, atoms, 0.1, 3, rng=0, eta_a=eta_a, eta_b=1e-3, max_iter=3)


def test_a_code_that_is_not_finite_names_step_and_image(problem, monkeypatch):
    images, atoms = problem
    code = csc.sparse_code

    def spoilt(some, *arguments, **settings):
        if len(some) == 2:
            raise csc.NotFinite(1, torch.float32)
        return code(some, *arguments, **settings)

    monkeypatch.setattr(csc, "sparse_code", spoilt)
    with pytest.raises(FloatingPointError, match=r"objective of image \d is not finite at step 0"):
        learn_dictionary(images, atoms, 0.1, 1, rng=0, batch=2)
    with pytest.raises(FloatingPointError, match=r"of held-out image 1 is not finite at step 0"):
        learn_dictionary(images, atoms, 0.1, 1, rng=0, held_out=images[:2])


def test_progress_is_shown_only_if_asked_for(problem, capfd):
    images, atoms = problem
    for progress in (False, True):
        learn_dictionary(images, atoms, 0.1, 2, progress=progress, **SETTINGS)
        assert ("2/2" in capfd.readouterr().err) == progress


def test_gpu_agrees_with_cpu_and_resumes_to_the_bit(gpu, problem, tmp_path):
    images, atoms = problem
    path = tmp_path / "checkpoint.npz"
    cpu, gpu = (
        learn_dictionary(images, atoms, 0.1, 11, device=device, **SETTINGS)
        for device in ("cpu", "cuda")
    )
    assert np.linalg.norm(gpu.atoms - cpu.atoms) < 1e-3 * np.linalg.norm(cpu.atoms)
    for n_steps in (5, 11):
        again = learn_dictionary(
            images, atoms, 0.1, n_steps, device="cuda", checkpoint=path, **SETTINGS
        )
    _assert_same(again, gpu)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"images": np.zeros((0, 9, 9))}, "images must hold at least one"),
        ({"images": np.full((2, 9, 9), np.nan)}, "images must be finite"),
        ({"images": np.ones((9, 9))}, "images must have shape"),
        ({"atoms": np.ones((2, 10, 3))}, "atoms must fit"),
        ({"atoms": np.zeros((2, 3, 3))}, "atoms must not be zero"),
        ({"lmbda": -1}, "lmbda"),
        ({"n_steps": 0}, "n_steps"),
        ({"batch": 3}, "batch must be at most the 2 images"),
        ({"eta_a": 0}, "eta_a"),
        ({"eta_b": np.nan}, "eta_b"),
        ({"held_out": np.ones((9, 9))}, "held_out"),
        ({"held_out": np.ones((1, 2, 2))}, "atoms must fit"),
        ({"evaluate_every": 0}, "evaluate_every"),
        ({"max_iter": 0}, "max_iter"),
        ({"tol": -1}, "tol"),
        ({"rho": 0}, "rho"),
        ({"relax": 2}, "relax"),
        ({"rng": None}, "rng"),
        ({"checkpoint_every": 0}, "checkpoint_every"),
        ({"device": "abacus"}, "device"),
    ],
)
def test_refusals(change, message):
    arguments = {
        "images": np.ones((2, 9, 9)),
        "atoms": np.ones((2, 3, 3)),
        "lmbda": 0.1,
        "n_steps": 2,
        "rng": 0,
    }
    with pytest.raises(ValueError, match=message):
        learn_dictionary(**(arguments | change))


def test_a_folder_of_checkpoints_is_probed_itself(problem, tmp_path, monkeypatch):
    probed = []
    monkeypatch.setattr(dictlearn, "check_folder", probed.append)
    folder = tmp_path / "all"
    folder.mkdir()
    images, atoms = problem
    for path in (folder, folder / "one.npz"):
        dictlearn.learn_dictionary(images, atoms, 0.1, 1, max_iter=2, rng=0, checkpoint=path)
    assert probed == [folder, folder]

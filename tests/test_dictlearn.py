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


SETTINGS = {"rng": 3, "max_iter": 10, "evaluate_every": 4, "checkpoint_every": 3}


def test_resuming_gives_the_same_bits(problem, tmp_path):
    images, atoms = problem
    settings = SETTINGS | {"held_out": images[:2]}
    whole = learn_dictionary(images, atoms, 0.1, 11, **settings)
    path = tmp_path / "checkpoint.npz"
    for n_steps in (5, 11, 11):
        again = learn_dictionary(images, atoms, 0.1, n_steps, checkpoint=path, **settings)
    np.testing.assert_array_equal(again.atoms, whole.atoms)
    np.testing.assert_array_equal(again.objective, whole.objective)


def test_a_killed_run_goes_on_with_the_same_bits(problem, tmp_path):
    images, atoms = problem
    np.savez(tmp_path / "problem.npz", images=images, atoms=atoms)
    path = tmp_path / "checkpoint.npz"
    script = f"""
        import os, signal
        import numpy as np
        from lib import dictlearn
        problem = np.load({str(tmp_path / "problem.npz")!r})
        write = dictlearn.write_bytes
        def killed(*arguments):
            write(*arguments)
            os.kill(os.getpid(), signal.SIGKILL)
        dictlearn.write_bytes = killed
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
    whole = learn_dictionary(images, atoms, 0.1, 11, **SETTINGS)
    np.testing.assert_array_equal(resumed.atoms, whole.atoms)
    np.testing.assert_array_equal(resumed.objective, whole.objective)


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


@pytest.mark.parametrize("change", ["lmbda", "seed", "images", "eta", "fewer steps"])
def test_a_checkpoint_of_something_else_is_refused(problem, tmp_path, change):
    images, atoms = problem
    path = tmp_path / "checkpoint.npz"
    learn_dictionary(images, atoms, 0.1, 6, checkpoint=path, **SETTINGS)
    settings, lmbda, n_steps = dict(SETTINGS), 0.1, 6
    if change == "lmbda":
        lmbda = 0.2
    elif change == "seed":
        settings["rng"] = 4
    elif change == "images":
        images = images * 2
    elif change == "eta":
        settings["eta_a"] = 99.0
    else:
        n_steps = 4
    before = path.read_bytes()
    with pytest.raises(CheckpointError, match="checkpoint"):
        learn_dictionary(images, atoms, lmbda, n_steps, checkpoint=path, **settings)
    assert path.read_bytes() == before


@pytest.mark.parametrize("damage", ["truncated", "empty", "text", "pickle"])
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
    else:
        np.savez(path, key=np.array([{}], dtype=object))
    with pytest.raises(CheckpointError, match="cannot be read"):
        learn_dictionary(images, atoms, 0.1, 3, checkpoint=path, **SETTINGS)


def test_overflow_names_step_and_image(problem):
    images, atoms = problem
    with pytest.raises(FloatingPointError, match=r"step 0 with images \[\d\]"):
        learn_dictionary(images, atoms, 0.1, 3, rng=0, eta_a=1e38, eta_b=1e-3, max_iter=3)


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

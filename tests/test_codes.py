"""Codes of photographs: preparation, the store, and comparisons at equal quality."""

import numpy as np
import pytest
import torch
from sporco.signal import local_contrast_normalise

from lib import _stored_codes, codes, csc, pruning


@pytest.fixture
def problem():
    rng = np.random.default_rng(4)
    atoms = rng.standard_normal((6, 5, 5))
    return rng.standard_normal((3, 20, 24)).astype(np.float32), atoms


def _measures(psnr, sparseness):
    nothing = np.zeros(len(psnr))
    return codes.Measures(np.array(psnr), np.array(sparseness), nothing, nothing, nothing)


def test_contrast_normalise_follows_its_definition():
    image = np.random.default_rng(0).random((1, 30, 26)) ** 2 + 0.1
    axis = np.arange(-7, 8)
    # The window reaches three standard deviations to each side.
    window = np.exp(-(axis[:, None] ** 2 + axis**2) * (3 / 7) ** 2 / 2)
    window /= window.sum()

    def blur(x):
        padded = np.pad(x, 7, mode="wrap")
        view = np.lib.stride_tricks.sliding_window_view(padded, (15, 15))
        return np.einsum("yxij,ij->yx", view, window)

    padded = np.pad(image[0], 7, mode="symmetric")
    centred = padded - blur(padded)
    norm = np.sqrt(blur(centred**2))
    expected = (centred / np.maximum(norm, norm.mean()))[7:-7, 7:-7]
    found = codes.contrast_normalise(image)[0]
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-7)
    np.testing.assert_allclose(found, local_contrast_normalise(image[0])[0], rtol=1e-6, atol=1e-7)


def test_contrast_normalise_is_blind_to_brightness_and_contrast():
    images = np.random.default_rng(1).random((2, 20, 20))
    normal = codes.contrast_normalise(images)
    assert normal.dtype == np.float32
    np.testing.assert_allclose(codes.contrast_normalise(5 * images + 3), normal, atol=1e-4)


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (np.ones((1, 20, 20)), "image 0"),
        (np.ones((20, 20)), "images must have shape"),
        (np.random.default_rng(0).random((1, 7, 20)), "8 × 8"),
        (np.full((1, 9, 9), np.nan), "images must be finite"),
    ],
)
def test_contrast_normalise_refuses(images, message):
    with pytest.raises(ValueError, match=message):
        codes.contrast_normalise(images)


def test_protocols_prepare_photographs_differently():
    resized, cropped = (codes.prepare("bundled", 40, 2, p) for p in ("code", "text"))
    assert resized.shape == cropped.shape == (2, 40, 40)
    assert np.abs(resized - cropped).max() > 0.1
    with pytest.raises(ValueError, match="protocol must be one of text, code, got 'both'"):
        codes.prepare("bundled", 40, 2, "both")


def test_stored_codes_are_the_coder_s_own(problem, tmp_path):
    images, atoms = problem
    settings = {"max_iter": 30, "tol": 1e-3}
    direct = csc.sparse_code(images, atoms, 0.1, **settings)
    for _ in range(2):
        found = list(codes.iter_codes(images, atoms, 0.1, store=tmp_path, **settings))
        for i, code in enumerate(found):
            torch.testing.assert_close(code.coefficients.to_dense(), direct.coefficients[i])
            assert code.n_iter == direct.n_iter[i]
            assert code.converged == direct.converged[i]
    assert len(list(tmp_path.iterdir())) == 3


def test_only_what_is_missing_or_damaged_is_coded_again(problem, tmp_path, monkeypatch):
    images, atoms = problem
    first = list(codes.iter_codes(images, atoms, 0.1, store=tmp_path, max_iter=20))
    paths = sorted(tmp_path.iterdir())
    paths[0].unlink()
    paths[1].write_bytes(paths[1].read_bytes()[:100])
    coded = []
    original = csc.sparse_code

    def count(some, *args, **kwargs):
        coded.append(len(some))
        return original(some, *args, **kwargs)

    monkeypatch.setattr(csc, "sparse_code", count)
    again = list(codes.iter_codes(images, atoms, 0.1, store=tmp_path, max_iter=20))
    assert sum(coded) == 2
    for a, b in zip(first, again, strict=True):
        torch.testing.assert_close(a.coefficients.to_dense(), b.coefficients.to_dense())


def test_whatever_is_damaged_in_a_stored_code_it_is_coded_again(problem, tmp_path):
    images, atoms = problem
    wanted = next(codes.iter_codes(images[:1], atoms, 0.1, store=tmp_path, max_iter=5))
    (path,) = tmp_path.iterdir()
    whole = path.read_bytes()
    shape = wanted.coefficients.shape
    # Flags and versions of the archive, where its reader raises errors of many kinds.
    for at in range(0, len(whole), 7):
        for bit in (1, 8, 64):
            damaged = bytearray(whole)
            damaged[at] ^= bit
            path.write_bytes(damaged)
            found = _stored_codes.read(path, shape)
            assert found is None or found.coefficients.shape == shape


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"device": "abacus"}, "device"),
        ({"device": "mps"}, "device"),
        ({"lmbda": None}, "lmbda"),
        ({"lmbda": "x"}, "lmbda"),
        ({"rho": [1.0, 2.0, 3.0]}, "rho"),
        ({"rho": 0}, "rho"),
        ({"start": None}, "start"),
        ({"sparse": True}, "sparse"),
        ({"dtype": torch.float64}, "dtype"),
    ],
)
def test_iter_codes_refuses(problem, tmp_path, change, message):
    images, atoms = problem
    arguments = {"images": images, "atoms": atoms, "lmbda": 0.1, "store": tmp_path} | change
    with pytest.raises(ValueError, match=f"^{message} must"):
        next(codes.iter_codes(**arguments))


def test_atoms_that_differ_in_double_precision_have_files_of_their_own(problem, tmp_path):
    images, atoms = problem
    for scale in (1, 1 + 1e-12):
        scaled = atoms.astype(float) * scale
        how = {"store": tmp_path, "max_iter": 5, "precision": "float64"}
        list(codes.iter_codes(images[:1], scaled, 0.1, **how))
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize("precision", ["float32", "float64"])
def test_precision_is_that_of_the_coder_and_of_the_store(problem, tmp_path, precision):
    images, atoms = problem
    settings = {"max_iter": 30, "tol": 0}
    direct = csc.sparse_code(images, atoms, 0.1, dtype=getattr(torch, precision), **settings)
    settings |= {"store": tmp_path, "precision": precision}
    for _ in range(2):
        for code, wanted in zip(
            codes.iter_codes(images, atoms, 0.1, **settings), direct.coefficients, strict=True
        ):
            torch.testing.assert_close(code.coefficients.to_dense(), wanted)
    measured = codes.measure(images, atoms, 0.1, **settings)
    np.testing.assert_array_equal(measured.sparseness, csc.sparseness(direct.coefficients))
    path = codes.convergence(images, atoms, 0.1, [30], precision=precision)
    # The sums of the objective would tell the two apart from the sixth digit on.
    np.testing.assert_allclose(
        path.psnr[0], measured.psnr, rtol=1e-12 if "64" in precision else 1e-4
    )
    with pytest.raises(ValueError, match="precision must be one of float32, float64, got 'half'"):
        codes.measure(images, atoms, 0.1, precision="half")


@pytest.mark.parametrize("change", ["image", "atoms", "lmbda", "settings", "precision", "version"])
def test_another_problem_has_another_file(problem, tmp_path, monkeypatch, change):
    images, atoms = problem
    lmbda, settings = 0.1, {"max_iter": 5}
    list(codes.iter_codes(images[:1], atoms, lmbda, store=tmp_path, **settings))
    if change == "image":
        images = images + np.float32(0.01)
    elif change == "atoms":
        atoms = atoms * 1.01
    elif change == "lmbda":
        lmbda = 0.11
    elif change == "settings":
        settings = {"max_iter": 6}
    elif change == "precision":
        settings["precision"] = "float64"
    else:
        monkeypatch.setattr(csc, "VERSION", csc.VERSION + 1)
    list(codes.iter_codes(images[:1], atoms, lmbda, store=tmp_path, **settings))
    assert len(list(tmp_path.iterdir())) == 2


def test_without_a_store_nothing_is_written(problem, tmp_path, monkeypatch):
    monkeypatch.setattr(codes, "STORE", tmp_path)
    images, atoms = problem
    list(codes.iter_codes(images[:1], atoms, 0.1, store=None, max_iter=3))
    assert not list(tmp_path.iterdir())


def test_measures_are_those_of_the_dense_code(problem):
    images, atoms = problem
    code = csc.sparse_code(images, atoms, 0.3, max_iter=40)
    measured = codes.measure(images, atoms, 0.3, store=None, max_iter=40)
    again = csc.reconstruct(code.coefficients, atoms)
    np.testing.assert_allclose(measured.psnr, csc.psnr(images, again), rtol=1e-5)
    np.testing.assert_allclose(measured.sparseness, csc.sparseness(code.coefficients))
    np.testing.assert_array_equal(
        measured.active, np.count_nonzero(code.coefficients.numpy(), axis=(2, 3))
    )


@pytest.mark.parametrize("auto_rho", [True, False])
def test_convergence_follows_one_run(problem, auto_rho):
    images, atoms = problem
    path = codes.convergence(images, atoms, 0.2, [30, 7], rho=2.0, auto_rho=auto_rho)
    assert path.iterations.tolist() == [7, 30]
    for i, m in enumerate(path.iterations):
        code = csc.sparse_code(
            images, atoms, 0.2, max_iter=int(m), tol=0, rho=2.0, auto_rho=auto_rho
        )
        np.testing.assert_allclose(path.objective[i], code.objective, rtol=1e-5)
        np.testing.assert_allclose(path.sparseness[i], csc.sparseness(code.coefficients))
        again = csc.reconstruct(code.coefficients, atoms)
        np.testing.assert_allclose(path.psnr[i], csc.psnr(images, again), rtol=1e-4)


def test_equal_quality_finds_a_planted_gap():
    # PSNR is linear in log2 of the density: 40 + 5 log2 d, and 2 dB better for the other.
    density = np.array([[0.01, 0.02], [0.02, 0.04], [0.04, 0.08]])
    path = [_measures(40 + 5 * np.log2(d), 1 - d) for d in density]
    other = [_measures(42 + 5 * np.log2(d), 1 - d) for d in density / 1.5]
    psnr, ratio = codes.equal_quality(path, other)
    np.testing.assert_allclose(psnr, -2, atol=1e-9)
    np.testing.assert_allclose(ratio, 0.4, atol=1e-9)
    back = codes.equal_quality(other, path)
    np.testing.assert_allclose(back, (-psnr, -ratio), atol=1e-9)


def test_equal_quality_follows_iterations():
    density = np.array([[0.01, 0.02], [0.02, 0.04], [0.04, 0.08]])
    early = [_measures(40 + 5 * np.log2(d), 1 - d) for d in density]
    late = [_measures(43 + 5 * np.log2(d), 1 - d) for d in density]
    followed = [
        codes.Convergence([1, 2], None, np.stack([a.psnr, b.psnr]), np.stack([a.sparseness] * 2))
        for a, b in zip(early, late, strict=True)
    ]
    still = [
        codes.Convergence([1, 2], None, np.stack([a.psnr] * 2), np.stack([a.sparseness] * 2))
        for a in early
    ]
    psnr, ratio = codes.equal_quality(followed, still)
    np.testing.assert_allclose(psnr, [[0, 0], [3, 3]], atol=1e-9)
    np.testing.assert_allclose(ratio, [[0, 0], [-0.6, -0.6]], atol=1e-9)


def test_empty_and_perfect_codes_do_not_enter_the_comparison():
    def path(*points):
        return [codes.Measures([p], [s], None, None, None) for s, p in points]

    ours, theirs = path((0.90, 30.0), (0.95, 25.0)), path((0.90, 31.0), (0.95, 26.0), (0.99, 20.0))
    plain = codes.equal_quality(ours, theirs)
    np.testing.assert_allclose(plain[0], -1)
    for extra in ((1.0, 10.0), (0.2, np.inf)):
        found = codes.equal_quality(ours + path(extra), theirs)
        np.testing.assert_allclose(found, plain)


def test_no_common_range_is_nan():
    path = [_measures([20.0], [0.99]), _measures([21.0], [0.98])]
    other = [_measures([30.0], [0.9]), _measures([31.0], [0.8])]
    assert np.isnan(codes.equal_quality(path, other)).all()
    with pytest.raises(ValueError, match="at least two"):
        codes.equal_quality(path[:1], other)


def test_images_without_a_peak_are_refused_before_they_are_coded(problem, tmp_path):
    images, atoms = problem
    images[2] = -abs(images[2])
    how = {"store": tmp_path, "max_iter": 5}
    for call in (
        lambda: codes.measure(images, atoms, 0.1, **how),
        lambda: codes.convergence(images, atoms, 0.1, [1, 5]),
        lambda: pruning.pruned_measures(images, atoms, 0.1, [0.1], **how),
        lambda: pruning.kept_psnr(images, atoms, 0.1, [0.1], **how),
    ):
        with pytest.raises(ValueError, match=r"^images must have a positive maximum.* image 2$"):
            call()
    assert not list(tmp_path.iterdir())


def test_activity_of_dense_and_of_sparse_coefficients(problem):
    images, atoms = problem
    dense = csc.sparse_code(images[:1], atoms, 0.3, max_iter=20).coefficients[0]
    counts = codes.activity(dense)
    np.testing.assert_array_equal(counts, (dense != 0).sum((1, 2)))
    np.testing.assert_array_equal(codes.activity(dense.to_sparse()), counts)

"""Pruned codes."""

import numpy as np
import pytest

from lib import csc, pruning


@pytest.fixture(scope="module")
def problem():
    rng = np.random.default_rng(7)
    images = rng.standard_normal((2, 18, 16)).astype(np.float32)
    atoms = rng.standard_normal((5, 4, 4))
    code = csc.sparse_code(images, atoms, 0.1, max_iter=50).coefficients.numpy()
    return images, atoms, code


@pytest.mark.parametrize("relative", [False, True])
def test_measures_are_those_of_a_plain_loop(problem, relative):
    images, atoms, code = problem
    cutoffs = np.array([0.0, 0.05, 0.3, 2.0])
    found = pruning.pruned_measures(
        images, atoms, 0.1, cutoffs, relative=relative, store=None, max_iter=50
    )
    for i, c in enumerate(cutoffs):
        for j, image in enumerate(images):
            limit = c * np.abs(code[j]).max() if relative else c
            kept = np.where(np.abs(code[j]) >= limit, code[j], 0)
            spectrum = np.fft.fft2(kept) * np.fft.fft2(atoms, s=image.shape)
            rest = image - np.fft.ifft2(spectrum.sum(0)).real
            psnr = 20 * np.log10(image.max()) - 10 * np.log10(np.mean(rest**2))
            assert found.psnr[i, j] == pytest.approx(psnr, abs=1e-3)
            assert found.sparseness[i, j] == pytest.approx(np.mean(kept == 0))
    assert (found.sparseness[-1] == 1).all() == relative or (np.abs(code) < 2).all()


def test_kept_coefficients_are_the_largest(problem):
    images, atoms, code = problem
    counts = np.array([0.05, 0.2, 5.0])
    found = pruning.kept_psnr(images, atoms, 0.1, counts, store=None, max_iter=50)
    for i, count in enumerate(counts[:2]):
        for j, image in enumerate(images):
            order = np.argsort(np.abs(code[j]).ravel())[::-1][: round(count * image.size)]
            kept = np.zeros(code[j].size, dtype=np.float32)
            kept[order] = code[j].ravel()[order]
            again = csc.reconstruct(kept.reshape(code[j].shape)[None], atoms)
            assert found[i, j] == pytest.approx(csc.psnr(image[None], again)[0], abs=1e-3)
    assert np.isnan(found[2]).all()


@pytest.mark.parametrize("cutoffs", [[], [-0.1], [[0.1]], [np.nan]])
def test_bad_cutoffs_are_refused(problem, cutoffs):
    images, atoms, _ = problem
    with pytest.raises(ValueError, match="cutoffs"):
        pruning.pruned_measures(images, atoms, 0.1, cutoffs, store=None)

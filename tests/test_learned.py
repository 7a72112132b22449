"""Learned dictionaries as the chapters read them."""

import json

import numpy as np
import pytest

from lib import learned


def _save(folder, preset, names=learned.STARTS, scale=1.0):
    atoms = {name: np.full((2, 3, 3), scale) for name in names}
    np.savez(folder / f"07_learning.{preset}.npz", **atoms)
    about = {"parameters": {"n_steps": 3}, "provenance": {"commit": "abc"}}
    (folder / f"07_learning.{preset}.json").write_text(json.dumps(about))


def test_the_largest_run_is_read(tmp_path):
    with pytest.raises(ValueError, match=r"folder must hold 07_learning.paper.npz"):
        learned.learned_dictionaries(tmp_path)
    _save(tmp_path, "default")
    assert learned.learned_dictionaries(tmp_path).preset == "default"
    _save(tmp_path, "paper", scale=2.0)
    found = learned.learned_dictionaries(tmp_path)
    assert found.preset == "paper"
    assert found.parameters == {"n_steps": 3}
    assert set(found.atoms) == {"homogeneous", "heterogeneous", "random"}
    assert found.atoms["random"][0, 0, 0] == 2


def test_a_run_without_a_start_is_refused(tmp_path):
    _save(tmp_path, "default", names=["homogeneous", "random"])
    with pytest.raises(ValueError, match=r"misses \{'heterogeneous'\}"):
        learned.learned_dictionaries(tmp_path)


def test_published_dictionaries_have_unit_norm():
    from lib.datasets import DataUnavailable

    try:
        published = learned.published_dictionaries()
    except DataUnavailable:
        pytest.skip("the published dictionaries are not at hand")
    for atoms in published.values():
        assert atoms.shape == (144, 12, 12)
        np.testing.assert_allclose(np.linalg.norm(atoms, axis=(1, 2)), 1, atol=1e-5)

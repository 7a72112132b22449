"""Dictionaries learned from photographs: this book's own (chapter 7), and the published ones."""

import json
from pathlib import Path
from typing import NamedTuple

import numpy as np

from lib import datasets
from lib._checks import check_array
from lib.ledger import RESULTS

STARTS = ("homogeneous", "heterogeneous", "random")
_FILES = {"homogeneous": "dictionary_learned_thin.npz", "heterogeneous": "dictionary_learned.npz"}


class Learned(NamedTuple):
    """Learned dictionaries and where they come from.

    Attributes
    ----------
    atoms : dict of str to ndarray (K, h, w)
        By the dictionary that learning started from: homogeneous, heterogeneous, random.
    parameters, provenance : dict
        Of the run of chapter 7 that learned them.
    preset : str
        Its preset.
    """

    atoms: dict
    parameters: dict
    provenance: dict
    preset: str

    @property
    def about(self):
        """How much was learned from, in words."""
        steps, size = self.parameters["n_steps"], self.parameters["size"]
        return f"{steps} photographs of {size} pixels (chapter 7, preset {self.preset})"


def learned_dictionaries(folder=RESULTS):
    """Dictionaries that chapter 7 learned, of the largest run there is.

    Parameters
    ----------
    folder : Path
        Where ``07_learning.<preset>.npz`` and ``.json`` lie.

    Returns
    -------
    Learned

    Raises
    ------
    ValueError
        There is no such run, or an array is missing.
    """
    for preset in ("paper", "default"):
        path = Path(folder) / f"07_learning.{preset}.npz"
        if not path.exists():
            continue
        with np.load(path, allow_pickle=False) as arrays:
            missing = set(STARTS) - set(arrays.files)
            if missing:
                raise ValueError(f"{path.name} must hold {', '.join(STARTS)}, misses {missing}")
            atoms = {name: check_array(name, arrays[name], (None,) * 3) for name in STARTS}
        result = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
        return Learned(atoms, result["parameters"], result["provenance"], preset)
    raise ValueError(f"folder must hold 07_learning.paper.npz or .default.npz, got {folder}")


def published_dictionaries():
    """Dictionaries learned by Ladret et al., by their start: homogeneous and heterogeneous.

    Returns
    -------
    dict of str to ndarray (144, 12, 12)

    Raises
    ------
    lib.datasets.DataUnavailable
        They are not at hand.
    """
    folder = datasets.fetch("ladret2024")
    atoms = {}
    for name, file in _FILES.items():
        with np.load(folder / file, allow_pickle=False) as arrays:
            atoms[name] = np.moveaxis(check_array("D", arrays["D"], (None,) * 3), 2, 0)
    return atoms

"""Cells of Table 1 of Ladret et al.: one dictionary, one pruning, one seed each, kept on disk.

A cell that was trained is a file of numbers, from which figures and tables are made; one that was
killed goes on after its last epoch. Dictionaries are coded once, whatever the number of cells.
"""

import dataclasses
import json
import time
from functools import cached_property
from itertools import product
from pathlib import Path
from typing import NamedTuple

import numpy as np

from lib import classify, csc
from lib._checks import (
    as_array,
    check_array,
    check_choice,
    check_count,
    check_counts,
    check_flag,
    check_number,
)
from lib._encoding import MEAN, check_mean, digest
from lib._files import write_bytes
from lib._labelled import LabelledImages
from lib._networks import VERSION as NETWORK_VERSION
from lib._tensors import check_device
from lib._training import PRECISIONS
from lib.dictlearn import CheckpointError

GREY = "grey"


class Cell(NamedTuple):
    """What one network is trained on.

    Attributes
    ----------
    protocol, scheme : str
    cutoff : float
        Pruning, see `classify.inputs`.
    seed : int
    factor : float
        What coefficients are multiplied by before anything reads them.
    mean : float
        What is subtracted of what is read, see `classify.inputs`.
    """

    protocol: str
    scheme: str
    cutoff: float
    seed: int
    factor: float = 1.0
    mean: float = MEAN


@dataclasses.dataclass(frozen=True)
class Experiment:
    """What all cells share.

    Attributes
    ----------
    train, test : datasets.LabelledImages
    dictionaries : dict of str to ndarray (K, h, w)
        Atoms by scheme. The scheme "grey" needs none.
    folder : Path
        Where codes, checkpoints and cells are kept.
    size, input_size : int
        Side of the coded image, the protocol's if 0, and of what the network reads under "code".
    epochs, batch : int
    precision, device : str
        See `classify.train`.
    chunk : int
        Images coded at a time.
    """

    train: LabelledImages
    test: LabelledImages
    dictionaries: dict
    folder: Path
    size: int = 0
    input_size: int = 32
    epochs: int = 100
    batch: int = 800
    precision: str = "float32"
    device: str = "cpu"
    chunk: int = 250

    def __post_init__(self):
        object.__setattr__(self, "folder", Path(self.folder))
        # As Python's own numbers, which JSON can hold.
        least = {"size": 0, "input_size": 1, "epochs": 1, "batch": 2, "chunk": 1}
        for name, minimum in least.items():
            object.__setattr__(self, name, check_count(name, getattr(self, name), minimum))
        check_choice("precision", self.precision, PRECISIONS)
        check_device(self.device)
        if self.train.classes != self.test.classes:
            raise ValueError(
                f"test must have the classes of train, {self.train.classes}, "
                f"got {self.test.classes}"
            )
        for name, part in (("train", self.train), ("test", self.test)):
            labels = as_array(name, part.labels, "iu")
            if labels.shape != (len(part.images),):
                raise ValueError(f"{name} must have {len(part.images)} labels, got {labels.shape}")
            if labels.size and not 0 <= labels.min() <= labels.max() < len(part.classes):
                raise ValueError(
                    f"{name} must have labels from 0 to {len(part.classes) - 1}, "
                    f"got {labels.min()} to {labels.max()}"
                )
        if len(self.train.labels) < self.batch or not len(self.test.labels):
            raise ValueError(
                f"train must hold a batch of {self.batch} images at least, and test one, "
                f"got {len(self.train.labels)} and {len(self.test.labels)}"
            )

    @cached_property
    def _data(self):
        parts = (self.train, self.test)
        return [digest(array) for part in parts for array in (part.images, part.labels)]

    def codes(self, scheme, protocol):
        """Codes of the training and of the test images: the store's, or made and stored.

        Parameters
        ----------
        scheme : str
        protocol : {"code", "text"}

        Returns
        -------
        list of code_store.SparseCodes
        """
        return [store.load() for store in self._stores(scheme, protocol)]

    def bytes_per_image(self, scheme, protocol):
        """Bytes on disk per image, of all images of a scheme's codes; made if need be."""
        stores = self._stores(scheme, protocol)
        return sum(s.bytes_per_image() * s.n for s in stores) / sum(s.n for s in stores)

    def _stores(self, scheme, protocol):
        check_choice("scheme", scheme, self.dictionaries)
        check_choice("protocol", protocol, classify.RECIPES)
        atoms = self.dictionaries[scheme]
        settings = {"size": self.size or None, "chunk": self.chunk, "device": self.device}
        store = self.folder / "codes"
        return [
            classify.encode(part.images, atoms, protocol, store, **settings)
            for part in (self.train, self.test)
        ]

    def path(self, cell):
        """File of a cell, whose name is another's for no other settings."""
        cutoff, factor, mean = (
            repr(float(x)).removesuffix(".0") for x in (cell.cutoff, cell.factor, cell.mean)
        )
        scaled = f"-x{factor}" if cell.factor != 1 else ""
        scaled += f"-m{mean}" if cell.mean != MEAN else ""
        name = f"{cell.scheme}-{cell.protocol}-c{cutoff}{scaled}-s{cell.seed}"
        name += f"-e{self.epochs}-{self.precision}-{_hash(self.about(cell))[:8]}"
        return self.folder / "cells" / f"{name}.json"

    def about(self, cell):
        """All that a cell's result depends on."""
        names = ["epochs", "batch", "precision"]
        # Under "text", images are read as large as they are coded; grey pixels are not coded.
        names += ["input_size"] if cell.protocol == "code" else []
        names += ["size"] if cell.protocol == "text" or cell.scheme != GREY else []
        settings = {name: getattr(self, name) for name in names}
        atoms = self.dictionaries.get(cell.scheme)
        return {
            **cell._asdict(),
            **settings,
            "coder": csc.VERSION,
            "network": NETWORK_VERSION,
            "recipe": repr(classify.RECIPES[cell.protocol]),
            "data": self._data,
            "atoms": None if atoms is None else digest(np.asarray(atoms, dtype=np.float32)),
        }

    def read(self, cell):
        """A cell's result, or None if there is none of these settings."""
        try:
            result = json.loads(self.path(cell).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        fits = isinstance(result, dict) and result.get("about") == self.about(cell)
        return result if fits else None

    def check(self, cell):
        """Return a cell with Python's own numbers.

        Raises
        ------
        ValueError
            It is none of this experiment.
        """
        check_choice("scheme", cell.scheme, [*self.dictionaries, GREY])
        check_choice("protocol", cell.protocol, classify.RECIPES)
        cutoff, seed = check_number("cutoff", cell.cutoff, 0), check_count("seed", cell.seed, 0)
        factor = check_number("factor", cell.factor, 0, open_minimum=True)
        mean = check_mean(cell.mean)
        plains = (("cutoff", cutoff, 0), ("factor", factor, 1), ("mean", mean, MEAN))
        for name, value, plain in plains:
            if cell.scheme == GREY and value != plain:
                raise ValueError(f"{name} must be {plain} for grey pixels, got {value}")
        if cell.protocol == "text" and mean != MEAN:
            raise ValueError(f"mean must be {MEAN} under 'text', which subtracts none, got {mean}")
        return cell._replace(cutoff=cutoff, seed=seed, factor=factor, mean=mean)

    def run(self, cell, progress=False):
        """Result of a cell: what is kept, or a network trained now.

        Where pruning changes nothing that the network reads, the result is that without pruning.

        Parameters
        ----------
        cell : Cell
        progress : bool
            Show a progress bar.

        Returns
        -------
        dict
            ``history`` (lists over epochs, see `classify.Training`), ``predictions`` (a class for
            each test image), ``truth``, ``kept`` (see `classify.kept_values`; of grey pixels,
            their number), ``reads`` (norm of the first layer's weights per channel),
            ``seconds`` (of training since it last went on; 0 of a copy), ``about``.

        Raises
        ------
        ValueError
            The cell is none of this experiment.
        """
        cell, progress = self.check(cell), check_flag("progress", progress)
        if (done := self.read(cell)) is not None:
            return done
        x, kept = self._inputs(cell)
        start = time.perf_counter()
        about = self.about(cell)
        path = self.path(cell)
        reading = self._reading(cell)
        if cell.cutoff and not any(classify.pruning_changes(part, **reading) for part in x):
            # The same inputs and the same seed: the network would be the same, bit by bit.
            result = self.run(cell._replace(cutoff=0.0), progress)
            result |= {"about": about, "seconds": 0.0}
            write_bytes(path, json.dumps(result).encode())
            return result
        checkpoint = self.folder / "checkpoints" / f"{_hash(about)}.pt"
        try:
            trained = self._train(cell, x, checkpoint, progress)
        # Its name says what it is of: it can only be damaged.
        except CheckpointError:
            checkpoint.unlink()
            trained = self._train(cell, x, checkpoint, progress)
        result = {
            "about": about,
            "history": {name: values.tolist() for name, values in trained.history.items()},
            "predictions": trained.predictions.tolist(),
            "truth": self.test.labels.tolist(),
            "kept": kept,
            "reads": trained.model.conv1.weight.detach().pow(2).sum((0, 2, 3)).sqrt().tolist(),
            "seconds": time.perf_counter() - start,
        }
        write_bytes(path, json.dumps(result).encode())
        checkpoint.unlink(missing_ok=True)
        # What a kill in the middle of a checkpoint left.
        for left in checkpoint.parent.glob(f".{checkpoint.name}.*.tmp"):
            left.unlink(missing_ok=True)
        return result

    def _train(self, cell, x, checkpoint, progress):
        return classify.train(
            x[0],
            self.train.labels,
            x[1],
            self.test.labels,
            len(self.train.classes),
            **self._reading(cell),
            epochs=self.epochs,
            seed=cell.seed,
            batch=self.batch,
            precision=self.precision,
            device=self.device,
            checkpoint=checkpoint,
            progress=progress,
        )

    def _inputs(self, cell):
        if cell.scheme == GREY:
            size = self.input_size if cell.protocol == "code" else self.size or None
            x = [
                classify.grey_inputs(part.images, cell.protocol, size)
                for part in (self.train, self.test)
            ]
            return x, float(x[0].shape[-1] ** 2)
        x = self.codes(cell.scheme, cell.protocol)
        if cell.factor != 1:
            x = [part.scaled(cell.factor) for part in x]
        return x, classify.kept_values(x[1], **self._reading(cell))

    def _reading(self, cell):
        return {
            "protocol": cell.protocol,
            "cutoff": cell.cutoff,
            "size": self.input_size,
            "mean": cell.mean,
        }


def grid(protocols, schemes, cutoffs, seeds):
    """Cells in the order in which they are worth running: seeds last, prunings before them.

    Parameters
    ----------
    protocols : sequence of str
    schemes : sequence of str
    cutoffs : sequence of float
    seeds : sequence of int

    Returns
    -------
    list of Cell
        Grey pixels are not pruned.

    Raises
    ------
    ValueError
        Names are one text, a protocol is unknown, a threshold negative or not finite, a seed no
        integer >= 0.
    """
    for name, values in (("protocols", protocols), ("schemes", schemes)):
        if isinstance(values, str):
            raise ValueError(f"{name} must be a sequence of names, got {values!r}")
    for protocol in protocols:
        check_choice("protocols", protocol, classify.RECIPES)
    cutoffs = check_array("cutoffs", cutoffs, (None,)).tolist()
    if min(cutoffs, default=0) < 0:
        raise ValueError(f"cutoffs must be >= 0, got {min(cutoffs)}")
    seeds = check_counts("seeds", seeds, 0)
    order = product(seeds, protocols, cutoffs, schemes)
    cells = [Cell(protocol, name, cutoff, seed) for seed, protocol, cutoff, name in order]
    return [cell for cell in cells if cell.scheme != GREY or cell.cutoff == 0]


def _hash(about):
    text = json.dumps(about, sort_keys=True).encode()
    return digest(np.frombuffer(text, dtype=np.uint8))

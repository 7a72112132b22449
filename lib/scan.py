"""Scan of the parameters of learning around a chosen point (Ladret et al., Appendix A, Fig. 1).

Each point is a dictionary that is learned from noise with its setting for a number of steps, and
what codes of held-out photographs measure with the same setting. It is a file of numbers, so that
points can be measured side by side, and a scan that is killed goes on where it was.
"""

import dataclasses
import json
import time
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np

from lib import codes, csc
from lib._checks import check_array, check_choice, check_count, check_flag, check_number
from lib._files import check_folder, write_bytes
from lib._stored_codes import digest
from lib._tensors import check_device, check_squares, check_tensor
from lib.dictlearn import learn_dictionary
from lib.effects import paired_effect


class Setting(NamedTuple):
    """Parameters of the coder and of the dictionary.

    Attributes
    ----------
    lmbda : float
    max_iter : int
        Iterations of the coder, in learning and after it.
    relax : float
    atom_size : int
        Side of the atoms in pixels.
    n_atoms : int
    """

    lmbda: float
    max_iter: int
    relax: float
    atom_size: int
    n_atoms: int


class Point(NamedTuple):
    """One setting, the parameter in which it differs from the chosen one, and what came out.

    Attributes
    ----------
    setting : Setting
    varied : str
        A field of `Setting`.
    value : float
        Of this field.
    each_psnr, each_sparseness : ndarray (n,)
        Of each held-out photograph.
    seconds : float
        What it took, when it was measured.
    kept : bool
        Whether that was before: the point was read.
    """

    setting: Setting
    varied: str
    value: float
    each_psnr: np.ndarray
    each_sparseness: np.ndarray
    seconds: float
    kept: bool = True

    @property
    def psnr(self):
        """Mean PSNR in dB."""
        return float(np.mean(self.each_psnr))

    @property
    def sparseness(self):
        """Mean fraction of coefficients that are zero."""
        return float(np.mean(self.each_sparseness))


@dataclasses.dataclass(frozen=True)
class Scan:
    """What all points of a scan share. Defaults are those of Ladret et al.'s code.

    Attributes
    ----------
    training, held_out : ndarray (n, height, width)
        Photographs to learn from, and to measure on.
    folder : Path
        Where points are kept.
    n_steps : int
        Steps of learning, one photograph each.
    seed : int
        Of the noise that learning starts from, and of the order of the photographs.
    rho : float
        Penalty parameter of the coder, which stays as it is.
    tol : float
        Its tolerance.
    precision : {"float32", "float64"}
        What to learn and code in.
    device : str
    """

    training: np.ndarray
    held_out: np.ndarray
    folder: Path
    n_steps: int = 12
    seed: int = 0
    rho: float = 10.0
    tol: float = 1e-3
    precision: str = "float32"
    device: str = "cpu"

    def __post_init__(self):
        # As Python's own numbers, which JSON can hold.
        own = {"n_steps": check_count("n_steps", self.n_steps)}
        own["seed"] = check_count("seed", self.seed, 0)
        own["rho"] = check_number("rho", self.rho, 0, open_minimum=True)
        own["tol"] = check_number("tol", self.tol, 0)
        check_choice("precision", self.precision, codes.PRECISIONS)
        check_device(self.device)
        for name in ("training", "held_out"):
            own[name] = check_array(name, getattr(self, name), (None, None, None))
            dtype = codes.PRECISIONS[self.precision]
            check_squares(name, check_tensor(name, own[name], 3, "cpu", dtype))
        peaks = own["held_out"].max(axis=(1, 2))
        if peaks.min() <= 0:
            raise ValueError(f"held_out must have positive maxima, got {peaks.min()}")
        for name, value in own.items():
            object.__setattr__(self, name, value)

    @cached_property
    def _data(self):
        return [digest("", np.asarray(part, float)) for part in (self.training, self.held_out)]

    def path(self, setting):
        """File of a setting's point."""
        return Path(self.folder) / "points" / ("-".join(f"{x:g}" for x in setting) + ".json")

    def about(self, setting):
        """All that a point depends on."""
        names = ("n_steps", "seed", "rho", "tol", "precision")
        shared = {name: getattr(self, name) for name in names}
        return {**setting._asdict(), **shared, "data": self._data, "coder": csc.VERSION}

    def measure(self, setting):
        """PSNR and sparseness at a setting: what is kept, or learned and measured now.

        Parameters
        ----------
        setting : Setting

        Returns
        -------
        dict
            ``psnr`` and ``sparseness`` (lists over held-out photographs), ``seconds``, ``about``.

        Raises
        ------
        ValueError
            The setting is not one that can be coded with.
        """
        setting = self._check(setting)
        path, about = self.path(setting), self.about(setting)
        if (done := _read(path, about)) is not None:
            return done
        check_folder(path.parent)
        start = time.perf_counter()
        shape = (setting.n_atoms, setting.atom_size, setting.atom_size)
        # The first atoms are the same, however many there are.
        atoms = np.random.default_rng(self.seed).standard_normal(shape)
        coder = {"max_iter": setting.max_iter, "relax": setting.relax, "rho": self.rho}
        coder |= {"tol": self.tol, "auto_rho": False, "device": self.device}
        learning = coder | {"rng": self.seed, "dtype": codes.PRECISIONS[self.precision]}
        learned = learn_dictionary(self.training, atoms, setting.lmbda, self.n_steps, **learning)
        coder |= {"store": None, "precision": self.precision}
        measured = codes.measure(self.held_out, learned.atoms, setting.lmbda, **coder)
        result = {name: getattr(measured, name).tolist() for name in ("psnr", "sparseness")}
        result |= {"seconds": time.perf_counter() - start, "about": about}
        write_bytes(path, json.dumps(result).encode())
        return result

    def points(self, chosen, ranges, progress=False):
        """Measure a chosen setting, and those with one parameter changed.

        Parameters
        ----------
        chosen : Setting
        ranges : dict of str to sequence
            Values by field of `Setting`. The chosen value is added where it is missing.
        progress : bool
            Show a progress bar.

        Returns
        -------
        list of Point
            By parameter, then by value.

        Raises
        ------
        ValueError
            A parameter is unknown, or a value is not allowed; before work starts.
        """
        progress = check_flag("progress", progress)
        unknown = set(ranges) - set(Setting._fields)
        if unknown:
            raise ValueError(
                f"ranges must be of {', '.join(Setting._fields)}, got {sorted(unknown)}"
            )
        chosen = self._check(chosen)
        todo = [(name, chosen) for name in ranges]
        for name, values in ranges.items():
            others = (self._check(chosen._replace(**{name: value})) for value in values)
            todo += [(name, setting) for setting in others if setting != chosen]
        order = list(ranges)
        todo = sorted(set(todo), key=lambda one: (order.index(one[0]), getattr(one[1], one[0])))
        from tqdm.auto import tqdm

        measured, points = {}, []
        for name, setting in tqdm(todo, unit="setting", disable=not progress):
            if setting not in measured:
                kept = _read(self.path(setting), self.about(setting)) is not None
                measured[setting] = self.measure(setting), kept
            found, kept = measured[setting]
            numbers = (np.array(found[key]) for key in ("psnr", "sparseness"))
            value = getattr(setting, name)
            points.append(Point(setting, name, value, *numbers, found["seconds"], kept))
        return points

    def _check(self, setting):
        """The same setting as Python's own numbers."""
        relax = check_number("relax", setting.relax, 0, open_minimum=True)
        if relax >= 2:
            raise ValueError(f"relax must be below 2, got {relax}")
        atom_size = check_count("atom_size", setting.atom_size)
        smallest = min(*self.training.shape[1:], *self.held_out.shape[1:])
        if atom_size > smallest:
            raise ValueError(
                f"atom_size must be at most {smallest}, as training and held_out have as few "
                f"pixels a side, got {atom_size}"
            )
        return Setting(
            check_number("lmbda", setting.lmbda, 0),
            check_count("max_iter", setting.max_iter),
            relax,
            atom_size,
            check_count("n_atoms", setting.n_atoms),
        )


def _read(path, about):
    """A kept result, or None if there is none of these settings."""
    try:
        result = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return result if isinstance(result, dict) and result.get("about") == about else None


def pareto_front(points):
    """Points that no other point beats in both PSNR and sparseness, by sparseness, each once."""
    unique = {p.setting: p for p in points}.values()
    front = [p for p in unique if not any(_beats(q, p) for q in unique)]
    return sorted(front, key=lambda p: p.sparseness)


def _beats(q, p):
    """Whether q is at least as good as p in both, and better in one."""
    both, own = (q.psnr, q.sparseness), (p.psnr, p.sparseness)
    return both[0] >= own[0] and both[1] >= own[1] and both != own


def distance_to_front(points, chosen):
    """How many dB the chosen setting lies below the best point that is at least as sparse."""
    own = next(p for p in points if p.setting == chosen)
    return max(p.psnr for p in points if p.sparseness >= own.sparseness) - own.psnr


def changes(points, rng, n_boot=2000):
    """What each parameter changes from the smallest of its values to the largest.

    Parameters
    ----------
    points : list of Point
    rng : numpy.random.Generator or int
        Of the bootstrap over held-out photographs.
    n_boot : int

    Returns
    -------
    dict of str to tuple of effects.Effect
        Differences in PSNR and in sparseness, paired by photograph, by parameter.
    """
    effects = {}
    for name in dict.fromkeys(p.varied for p in points):
        own = sorted((p for p in points if p.varied == name), key=lambda p: p.value)
        effects[name] = tuple(
            paired_effect(getattr(own[-1], field), getattr(own[0], field), rng, n_boot)
            for field in ("each_psnr", "each_sparseness")
        )
    return effects


def is_trade(psnr, sparseness):
    """Whether one rises and the other falls, both with intervals that leave out 0."""
    apart = all(e.low > 0 or e.high < 0 for e in (psnr, sparseness))
    return apart and (psnr.difference > 0) != (sparseness.difference > 0)


def shared_setting(points):
    """The setting around which parameters are varied: the one that is there for each of them."""
    settings = {}
    for p in points:
        settings.setdefault(p.varied, set()).add(p.setting)
    shared = set.intersection(*settings.values()) if settings else set()
    if len(shared) != 1:
        raise ValueError(f"points must share one setting over all parameters, got {len(shared)}")
    return shared.pop()


def as_arrays(points):
    """Columns of a scan, to save."""
    columns = {
        name: np.array([getattr(p.setting, name) for p in points]) for name in Setting._fields
    }
    columns |= {
        name: np.array([getattr(p, f"each_{name}") for p in points])
        for name in ("psnr", "sparseness")
    }
    columns["seconds"] = np.array([p.seconds for p in points])
    return columns | {"varied": np.array([p.varied for p in points])}


def from_arrays(arrays):
    """Points of saved columns.

    Parameters
    ----------
    arrays : mapping of str to ndarray
        As `as_arrays` gives them.

    Returns
    -------
    list of Point
    """
    settings = [
        Setting(*(value.item() for value in row))
        for row in zip(*(arrays[name] for name in Setting._fields), strict=True)
    ]
    varied, seconds = arrays["varied"].tolist(), arrays["seconds"].tolist()
    values = [getattr(setting, name) for setting, name in zip(settings, varied, strict=True)]
    columns = (settings, varied, values, arrays["psnr"], arrays["sparseness"], seconds)
    return [Point(*row) for row in zip(*columns, strict=True)]

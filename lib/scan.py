"""Scan of the coder's parameters around a chosen point (Ladret et al., Appendix A)."""

from typing import NamedTuple

import numpy as np

from lib import codes, loggabor
from lib._checks import check_count


class Setting(NamedTuple):
    """Parameters of the coder and of the dictionary.

    Attributes
    ----------
    lmbda : float
    max_iter : int
    relax : float
    atom_size : int
        Side of the atoms in pixels.
    n_atoms : int
        A multiple of 12: six bandwidths, two phases.
    """

    lmbda: float
    max_iter: int
    relax: float
    atom_size: int
    n_atoms: int


class Point(NamedTuple):
    """One setting, the parameter in which it differs from the chosen one, and what came out."""

    setting: Setting
    varied: str
    value: float
    psnr: float
    sparseness: float


def dictionary(atom_size, n_atoms, protocol="code"):
    """Heterogeneous dictionary with atoms of another size, or with more or fewer orientations.

    Parameters
    ----------
    atom_size : int
    n_atoms : int
        A multiple of 12.
    protocol : {"code", "text"}

    Returns
    -------
    ndarray (n_atoms, atom_size, atom_size)
    """
    atom_size, n_atoms = check_count("atom_size", atom_size, 4), check_count("n_atoms", n_atoms)
    bandwidths = np.unique(loggabor.heterogeneous_dictionary(protocol).b_theta)
    n_theta, rest = divmod(n_atoms, 2 * len(bandwidths))
    if rest or n_theta < 1:
        raise ValueError(f"n_atoms must be a multiple of {2 * len(bandwidths)}, got {n_atoms}")
    return np.stack(
        [
            loggabor.log_gabor(atom_size, theta, b, phase, formula=protocol)
            for theta in np.linspace(0, np.pi, n_theta, endpoint=False)
            for b in bandwidths
            for phase in (0.0, np.pi / 2)
        ]
    )


def scan(
    images, chosen, ranges, protocol="code", *, device="cpu", precision="float32", progress=False
):
    """Code images with one parameter at a time varied.

    Parameters
    ----------
    images : ndarray (n, height, width)
    chosen : Setting
    ranges : dict of str to sequence
        Values by field of `Setting`. The chosen value is added where it is missing.
    protocol : {"code", "text"}
    device : str
    precision : {"float32", "float64"}
        What to code in.
    progress : bool

    Returns
    -------
    list of Point
        Means over images.
    """
    unknown = set(ranges) - set(Setting._fields)
    if unknown:
        raise ValueError(f"ranges must be of {', '.join(Setting._fields)}, got {sorted(unknown)}")
    from tqdm.auto import tqdm

    todo = []
    for name, values in ranges.items():
        own = getattr(chosen, name)
        todo += [(name, type(own)(v)) for v in sorted({*values, own})]
    measured, points = {}, []
    for name, value in tqdm(todo, unit="setting", disable=not progress):
        setting = chosen._replace(**{name: value})
        if setting not in measured:
            atoms = dictionary(setting.atom_size, setting.n_atoms, protocol)
            measured[setting] = codes.measure(
                images,
                atoms,
                setting.lmbda,
                max_iter=setting.max_iter,
                relax=setting.relax,
                tol=0.0,
                device=device,
                precision=precision,
            )
        m = measured[setting]
        numbers = float(np.mean(m.psnr)), float(np.mean(m.sparseness))
        points.append(Point(setting, name, value, *numbers))
    return points


def pareto_front(points):
    """Points that no other point beats in both PSNR and sparseness, by sparseness, each once."""
    unique = {p.setting: p for p in points}.values()
    front = [
        p
        for p in unique
        if not any(
            q.psnr >= p.psnr and q.sparseness >= p.sparseness and q[3:] != p[3:] for q in unique
        )
    ]
    return sorted(front, key=lambda p: p.sparseness)


def distance_to_front(points, chosen):
    """How many dB the chosen setting lies below the best point that is at least as sparse."""
    own = next(p for p in points if p.setting == chosen)
    return max(p.psnr for p in points if p.sparseness >= own.sparseness) - own.psnr


def as_arrays(points):
    """Columns of a scan, to save."""
    columns = {
        name: np.array([getattr(p.setting, name) for p in points]) for name in Setting._fields
    }
    columns |= {
        name: np.array([getattr(p, name) for p in points]) for name in ("psnr", "sparseness")
    }
    return columns | {"varied": np.array([p.varied for p in points])}

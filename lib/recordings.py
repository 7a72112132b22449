"""Recorded responses of the fly's L1, L2 and L3, read from a table, beside a model's (float64).

The recordings of Ketkar et al. (2022) have a public home (`lib.datasets.SOURCES`), but cannot be
downloaded unattended, and the form of the archive's files was not known when this was written. So
they are read from a plain table that is exported from the archive by hand: a CSV file with the
header ``time_s,luminance,L1,L2,L3`` and a line for each sample, decimal points, nothing left out.

- ``time_s``: seconds, increasing; the steps need not be equal.
- ``luminance``: what the cells saw, > 0, linear in light, in any unit.
- ``L1``, ``L2``, ``L3``: mean responses over cells, as recorded (more calcium is up), in any unit.
"""

import csv
import math
from pathlib import Path
from typing import NamedTuple

import numpy as np

from lib._checks import check_array, check_number
from lib._downloads import DataUnavailable, check_source, data_folders, sha256_of
from lib._sources import SOURCES

CELLS = ("L1", "L2", "L3")
# All three hyperpolarise to light. The model's L3 and L1 are positive for brighter, its L2 for
# darker.
POLARITY = {"L1": -1, "L2": 1, "L3": -1}
_COLUMNS = ("time_s", "luminance", *CELLS)
_TABLE = "ketkar2022/lamina.csv"
# Fewer samples are no recording of several steps of luminance.
_LEAST = 100
_LONGEST = 1e8


class LaminaRecordings(NamedTuple):
    """Luminance and what three cells answered to it.

    Attributes
    ----------
    time : ndarray (n_samples,)
        Seconds.
    luminance : ndarray (n_samples,)
    responses : dict of str to ndarray (n_samples,)
        By cell: L1, L2, L3; as recorded.
    sha256 : str
        Of the table that they were read from.
    """

    time: np.ndarray
    luminance: np.ndarray
    responses: dict
    sha256: str


class Match(NamedTuple):
    """A model's and a cell's response on one scale: mean 0, standard deviation 1.

    `recorded` has the sign of `POLARITY`; `correlation` is that of the two.
    """

    model: np.ndarray
    recorded: np.ndarray
    correlation: float


def lamina_recordings(source="ketkar2022"):
    """Read recorded responses of L1–L3.

    Parameters
    ----------
    source : str or path
        ``"ketkar2022"``, the table ``ketkar2022/lamina.csv`` in a folder of LIB_DATA, or the path
        of a table in the format that the module describes.

    Returns
    -------
    LaminaRecordings

    Raises
    ------
    ValueError
        The table lacks a column or has another one; a value is missing, not finite or no number;
        time does not increase; luminance is not positive; a column is constant; there are fewer
        than 100 samples.
    DataUnavailable
        The table is not there; the message says where the recordings are and how to export them.
    """
    path = _find(check_source(source))
    values = _read(path)
    time, luminance = values["time_s"], values["luminance"]
    late = np.flatnonzero(np.diff(time) <= 0)
    if len(late):
        raise ValueError(
            f"column time_s of {path} must increase, got {time[late[0] + 1]:g} after "
            f"{time[late[0]]:g} in line {late[0] + 3}"
        )
    if luminance.min() <= 0:
        raise ValueError(
            f"column luminance of {path} must be > 0, got {luminance.min():g} in line "
            f"{luminance.argmin() + 2}"
        )
    for name in _COLUMNS[1:]:
        if np.ptp(values[name]) == 0:
            raise ValueError(f"column {name} of {path} must vary, got {values[name][0]:g} all over")
    return LaminaRecordings(
        time, luminance, {name: values[name] for name in CELLS}, sha256_of(path)
    )


def _find(source):
    if source in SOURCES:
        if source != "ketkar2022":
            raise ValueError(f"source must be 'ketkar2022' or a table's path, got {source!r}")
        for folder in data_folders():
            if (folder / _TABLE).is_file():
                return folder / _TABLE
        raise DataUnavailable(
            f"There is no {_TABLE} in a folder that LIB_DATA names. The recordings of "
            f"{SOURCES[source].citation} are at {SOURCES[source].home}. Export the luminance and "
            "the mean response of each cell type from the archive as a CSV file with the header "
            f"{','.join(_COLUMNS)} (seconds; luminance > 0; responses as recorded), a line for "
            "each sample"
        )
    path = Path(source).expanduser()
    if not path.is_file():
        raise ValueError(f"source must be 'ketkar2022' or a table's path, got {str(source)!r}")
    return path


def _read(path):
    """Columns of the table, finite."""
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            header, *lines = [[cell.strip() for cell in row] for row in csv.reader(file)]
    except (ValueError, csv.Error) as error:
        raise ValueError(f"{path} must be a CSV file in UTF-8 with a header: {error}") from error
    if sorted(header) != sorted(_COLUMNS):
        raise ValueError(
            f"{path} must have the columns {', '.join(_COLUMNS)}, lacks "
            f"{sorted(set(_COLUMNS) - set(header))}, got {', '.join(header)}"
        )
    if len(lines) < _LEAST:
        raise ValueError(f"{path} must have at least {_LEAST} samples, got {len(lines)}")
    values = np.empty((len(lines), len(header)))
    for i, row in enumerate(lines):
        if len(row) != len(header):
            raise ValueError(f"line {i + 2} of {path} must have {len(header)} values, got {row!r}")
        for j, cell in enumerate(row):
            try:
                values[i, j] = float(cell)
            except ValueError:
                values[i, j] = math.nan
            if not math.isfinite(values[i, j]):
                raise ValueError(
                    f"column {header[j]} of {path} must hold finite numbers, got {cell!r} in line "
                    f"{i + 2}"
                )
    return dict(zip(header, values.T.copy(), strict=True))


def resampled(recordings, time_step):
    """The recordings at a model's steady pace.

    Each value is the mean, over one step, of the straight lines through the samples: finer
    samples are averaged, coarser ones interpolated. What is left of the last step is dropped.

    Parameters
    ----------
    recordings : LaminaRecordings
    time_step : float
        Seconds.

    Returns
    -------
    LaminaRecordings
        `time` is the middle of each step.

    Raises
    ------
    ValueError
        The recordings are shorter than two steps.
    """
    time_step = check_number("time_step", time_step, 0.0, open_minimum=True)
    time = recordings.time
    if (time[-1] - time[0]) / time_step > _LONGEST:
        raise ValueError(f"time_step must leave {_LONGEST:.0e} steps or fewer, got {time_step}")
    # The tolerance keeps a last step that only rounding cuts short.
    n_steps = int((time[-1] - time[0]) / time_step + 1e-9)
    if n_steps < 2:
        raise ValueError(
            f"time_step must be at most half of the recordings' {time[-1] - time[0]:g} s, "
            f"got {time_step}"
        )
    edges = np.minimum(time[0] + time_step * np.arange(n_steps + 1), time[-1])
    knots = np.union1d(time, edges)

    def means(values):
        lines = np.interp(knots, time, values)
        areas = np.diff(knots) * (lines[1:] + lines[:-1]) / 2
        integral = np.concatenate([[0.0], areas.cumsum()])
        return np.diff(integral[np.searchsorted(knots, edges)]) / np.diff(edges)

    return LaminaRecordings(
        (edges[1:] + edges[:-1]) / 2,
        means(recordings.luminance),
        {name: means(values) for name, values in recordings.responses.items()},
        recordings.sha256,
    )


def match_cells(model, recorded):
    """Lay a model's responses beside the recorded ones.

    Parameters
    ----------
    model : dict of str to ndarray (n,)
        By cell: L1 and L3 positive for brighter, L2 for darker.
    recorded : dict of str to ndarray (n,)
        By cell, at the same times, as recorded.

    Returns
    -------
    dict of str to Match
        In the order of `CELLS`.

    Raises
    ------
    ValueError
        A cell is missing, lengths differ, or a response is constant.
    """
    matches = {}
    for name in CELLS:
        if name not in model or name not in recorded:
            raise ValueError(f"model and recorded must both hold {', '.join(CELLS)}, misses {name}")
        theirs = check_array(f"recorded {name}", recorded[name], (None,))
        ours = check_array(f"model {name}", model[name], theirs.shape)
        scaled = []
        for values in (ours, POLARITY[name] * theirs):
            if np.ptp(values) == 0:
                raise ValueError(f"model and recorded {name} must vary, got a constant")
            scaled.append((values - values.mean()) / values.std())
        matches[name] = Match(*scaled, float((scaled[0] * scaled[1]).mean()))
    return matches

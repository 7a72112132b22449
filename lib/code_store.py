"""Codes of many images on disk, sparse and in half precision, in chunks that are checked.

A chunk holds the codes of some images as one row of numbers: the gaps between the positions of
coefficients that are not zero, a byte each, and their values in half precision. A gap of 255 or
more is written as bytes of 255 that add up, the last byte being below 255.
"""

import copy
import hashlib
import io
import json
import math
import zipfile
from pathlib import Path

import numpy as np
import torch

from lib._checks import as_array, check_count, check_counts, check_flag, check_number
from lib._files import write_bytes
from lib._tensors import check_device, check_tensor

# Raised when the format of a chunk changes.
FORMAT = 1
# Largest magnitude that half precision holds.
HALF = float(np.finfo(np.float16).max)
_LONG = 255
_DIGEST = hashlib.sha256().digest_size


class DamagedChunk(ValueError):
    """A chunk is missing, cut short, or not what was written."""


class SparseCodes:
    """Codes of n images in memory: only coefficients that are not zero, image after image.

    Parameters
    ----------
    starts : ndarray (n + 1,) int64
        Where each image's coefficients start.
    positions : ndarray (m,) int32
        Position of each coefficient in its image's flat code.
    values : ndarray (m,) float16
    maps : tuple (K, height, width)

    Raises
    ------
    ValueError
        An argument is not as described.
    """

    def __init__(self, starts, positions, values, maps):
        maps = _check_maps(maps)
        starts, positions = as_array("starts", starts, "iu"), as_array("positions", positions, "iu")
        values = as_array("values", values, "f")
        if positions.ndim != 1 or values.shape != positions.shape:
            raise ValueError(
                "positions and values must have one axis and as many entries, "
                f"got {positions.shape} and {values.shape}"
            )
        ends = starts.ndim == 1 and len(starts) > 1 and (starts[0], starts[-1]) == (0, len(values))
        if not ends or (starts[1:] < starts[:-1]).any():
            raise ValueError(f"starts must ascend from 0 to {len(values)}, the number of values")
        # Between images they may fall.
        rising = np.diff(positions.astype(np.int64)) > 0
        rising[starts[1:-1][(starts[1:-1] > 0) & (starts[1:-1] < len(positions))] - 1] = True
        if not rising.all():
            raise ValueError("positions must ascend within each image, each of them once")
        low, high = positions.min(initial=0), positions.max(initial=0)
        if low < 0 or high >= np.prod(maps):
            raise ValueError(f"positions must lie within maps of {maps}, got {low} to {high}")
        # Written so that NaN fails too.
        if not (np.abs(values) <= HALF).all():
            raise ValueError("values must be finite and within half precision, +-65504")
        self.starts = starts.astype(np.int64, copy=False)
        # As torch takes them.
        self.positions = np.require(positions, np.int32, "CW")
        self.values = np.require(values, np.float16, "CW")
        self.shape = (len(starts) - 1, *maps)
        self._held = torch.from_numpy(self.positions), torch.from_numpy(self.values)

    def __len__(self):
        return self.shape[0]

    def largest(self, signed=False):
        """Largest magnitude of each image's code.

        Parameters
        ----------
        signed : bool
            The largest value instead.

        Returns
        -------
        ndarray (n,) float64
            0 where an image has no coefficient, or none above 0, for all others are 0.
        """
        signed = check_flag("signed", signed)
        found, some = np.zeros(len(self)), np.diff(self.starts) > 0
        if some.any():
            values = self.values if signed else np.abs(self.values)
            found[some] = np.maximum.reduceat(values, self.starts[:-1][some])
        return np.maximum(found, 0)

    def scaled(self, factor):
        """The codes with all coefficients multiplied by a number, rounded to half precision.

        Parameters
        ----------
        factor : float
            Above 0.

        Returns
        -------
        SparseCodes

        Raises
        ------
        ValueError
            A coefficient would be too large for half precision.
        """
        factor = check_number("factor", factor, 0, open_minimum=True)
        most = float(np.abs(self.values).max(initial=0)) * factor
        if most > HALF:
            raise ValueError(f"factor must keep values within half precision, +-{HALF}, got {most}")
        values = (self.values * np.float64(factor)).astype(np.float16)
        return SparseCodes(self.starts, self.positions, values, self.shape[1:])

    @property
    def nbytes(self):
        """Bytes of the coefficients and their positions."""
        return self.positions.nbytes + self.values.nbytes

    def on(self, device):
        """The same codes, with what `dense` reads held on a device.

        Parameters
        ----------
        device : str or torch.device

        Returns
        -------
        SparseCodes
            Its arrays are those of the original, in memory.
        """
        device, other = check_device(device), copy.copy(self)
        other._held = tuple(held.to(device) for held in self._held)
        return other

    def dense(self, rows, device="cpu"):
        """Codes of some images.

        Parameters
        ----------
        rows : sequence of int
        device : str or torch.device

        Returns
        -------
        Tensor (len(rows), K, height, width)
        """
        device = check_device(device)
        rows = np.array(check_counts("rows", rows, 0), dtype=np.int64)
        if rows.max(initial=0) >= len(self):
            raise ValueError(f"rows must be from 0 to {len(self) - 1}, got {rows.max()}")
        first, counts = self.starts[rows], self.starts[rows + 1] - self.starts[rows]
        # Positions of all their coefficients in one go: a run of whole numbers for each image.
        n, size = int(counts.sum()), int(np.prod(self.shape[1:]))
        runs = first - np.cumsum(counts) + counts, np.arange(len(rows)) * size, counts
        positions, values = self._held
        runs, starts, counts = (torch.from_numpy(part).to(values.device) for part in runs)
        take = torch.repeat_interleave(runs, counts, output_size=n)
        take += torch.arange(n, device=values.device)
        index = torch.repeat_interleave(starts, counts, output_size=n) + positions[take]
        out = torch.zeros(len(rows) * size, device=device)
        out[index.to(device)] = values[take].to(device, torch.float32)
        return out.view(len(rows), *self.shape[1:])


def _joined(parts):
    """Arrays one after the other; each is let go of once it is copied."""
    joined, at = np.empty(sum(map(len, parts)), parts[0].dtype), 0
    parts.reverse()
    while parts:
        part = parts.pop()
        joined[at : at + len(part)] = part
        at += len(part)
    return joined


class CodeStore:
    """Codes of n images in files of `chunk` images each.

    Parameters
    ----------
    folder : str or Path
        Where stores are; each combination of settings has its own folder there.
    settings : dict
        All that the codes depend on, as JSON can hold it.
    n : int
        Number of images.
    maps : tuple of int
        (K, height, width) of a code.
    chunk : int
        Images in a file.

    Raises
    ------
    ValueError
        An argument is not as described.
    """

    def __init__(self, folder, settings, n, maps, chunk=256):
        self.n, self.chunk = check_count("n", n), check_count("chunk", chunk)
        self.maps = _check_maps(maps)
        manifest = {"format": FORMAT, "n": self.n, "maps": self.maps, "chunk": self.chunk}
        try:
            text = json.dumps(manifest | {"settings": settings}, sort_keys=True, indent=1)
        except TypeError as error:
            raise ValueError(f"settings must be what JSON can hold: {error}") from error
        self.folder = Path(folder) / hashlib.sha256(text.encode()).hexdigest()[:32]
        self._manifest = text

    def __len__(self):
        return -(-self.n // self.chunk)

    def path(self, i):
        """File of chunk i."""
        return self.folder / f"{i:06d}.codes"

    def rows(self, i):
        """Images of chunk i, as a slice."""
        return slice(i * self.chunk, min((i + 1) * self.chunk, self.n))

    def fill(self, make):
        """Make the chunks that are missing or damaged.

        Parameters
        ----------
        make : callable
            Takes a slice of images, returns their codes (n, K, height, width), a tensor, sparse
            or dense.

        Returns
        -------
        list of int
            The chunks that were made.
        """
        made = []
        for i in range(len(self)):
            try:
                self._read(i)
            except DamagedChunk:
                # Nothing is written where all is there: others may only be allowed to read.
                if not made:
                    write_bytes(self.folder / "manifest.json", self._manifest.encode())
                self._write(i, make(self.rows(i)))
                made.append(i)
        return made

    def load(self):
        """Codes of all images.

        Returns
        -------
        SparseCodes

        Raises
        ------
        DamagedChunk
            A chunk is missing or damaged: `fill` makes it again.
        """
        size = int(np.prod(self.maps))
        counts, positions, values = [], [], []
        for i in range(len(self)):
            at, some = self._read(i)
            n = self.rows(i).stop - self.rows(i).start
            counts.append(np.bincount(at // size, minlength=n))
            positions.append((at % size).astype(np.int32))
            values.append(some)
        starts = np.concatenate([[0], np.cumsum(np.concatenate(counts))])
        return SparseCodes(starts, _joined(positions), _joined(values), self.maps)

    def bytes_per_image(self):
        """Bytes on disk per image, all chunks together."""
        return sum(self.path(i).stat().st_size for i in range(len(self))) / self.n

    def _write(self, i, codes):
        n = self.rows(i).stop - self.rows(i).start
        codes = check_tensor("codes", codes, 4, "cpu", torch.float32)
        if tuple(codes.shape) != (n, *self.maps):
            raise ValueError(f"codes must have shape {(n, *self.maps)}, got {tuple(codes.shape)}")
        positions, values = _flat(codes)
        buffer = io.BytesIO()
        # High bytes, of signs and exponents, are alike and pack well among themselves.
        planes = np.ascontiguousarray(values.view(np.uint8).reshape(-1, 2).T)
        np.savez_compressed(buffer, gaps=_gaps(positions), planes=planes)
        data = buffer.getvalue()
        write_bytes(self.path(i), self._digest(i, data) + data)

    def _digest(self, i, data):
        """Checksum of a chunk, which is another one's in no other place."""
        return hashlib.sha256(f"{self.folder.name} {i}".encode() + data).digest()

    def _read(self, i):
        """Positions (m,) in the whole chunk, and values (m,)."""
        try:
            data = self.path(i).read_bytes()
            if self._digest(i, data[_DIGEST:]) != data[:_DIGEST]:
                raise DamagedChunk(f"{self.path(i)} is damaged: its checksum differs")
            with np.load(io.BytesIO(data[_DIGEST:]), allow_pickle=False) as stored:
                values = np.ascontiguousarray(stored["planes"].T).view(np.float16)[:, 0]
                return _positions(stored["gaps"]), values
        except (OSError, KeyError, EOFError, zipfile.BadZipFile) as error:
            raise DamagedChunk(f"{self.path(i)} cannot be read: {error}") from error


def _check_maps(maps):
    maps = tuple(check_counts("maps", maps))
    if len(maps) != 3 or math.prod(maps) >= 2**31:
        raise ValueError(f"maps must be (K, height, width) below 2**31 in all, got {maps}")
    return maps


def _flat(codes):
    """Sorted positions and half-precision values of what is not zero then."""
    if codes.is_sparse:
        codes = codes.coalesce()
        index = np.ravel_multi_index(tuple(codes.indices().numpy()), codes.shape)
        values = codes.values().numpy()
    else:
        flat = codes.numpy().reshape(-1)
        index = np.flatnonzero(flat)
        values = flat[index]
    # Written so that NaN fails too.
    if not (np.abs(values) <= HALF).all():
        raise ValueError("codes must be finite and within half precision, +-65504")
    values = values.astype(np.float16)
    return index[values != 0], values[values != 0]


def _gaps(positions):
    steps = np.diff(positions, prepend=0)
    long = steps // _LONG
    ends = np.cumsum(long + 1)
    gaps = np.full(ends[-1] if len(ends) else 0, _LONG, dtype=np.uint8)
    gaps[ends - 1] = steps % _LONG
    return gaps


def _positions(gaps):
    return np.cumsum(gaps, dtype=np.int64)[gaps < _LONG]

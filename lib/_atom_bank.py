"""Sums of shifted atoms, D x = Σ_k d_k * x_k, and correlations with them, Dᵀ, tile by tile.

Both are products with the matrix of the atoms' pixels. Pixels that are zero in all atoms, outside
of a round mask for instance, are left out of it.
"""

import threading
import warnings
from importlib.util import find_spec
from itertools import pairwise
from typing import NamedTuple

import torch

from lib._workers import Workers, full_precision

# Pixels of a tile: on a CPU, a thread's buffers stay in its cache; on a GPU, they are large enough
# to fill it.
_TILE = {"cpu": 4096, "cuda": 1 << 18}


def tile_pixels(device):
    """Pixels that are worked on at a time on a device (None: the CPU)."""
    return _TILE[torch.device(device or "cpu").type]


class _Space(NamedTuple):
    """Views of a thread's buffers, for tiles of one size: making them takes Python's time.

    Attributes
    ----------
    taps : Tensor (pixels used, pixels of the tile)
    lines : Tensor (h, images, rows + h - 1, width + w - 1)
        One for each row of the atoms; none where a kernel sums.
    skewed : Tensor of the same shape
        The same, each line moved down to where it belongs.
    columns : list of (part of lines, part of taps)
        For each column that is used.
    blocks : list of Tensor
        Parts of taps, for each block of pixels that is used.
    """

    taps: torch.Tensor
    lines: torch.Tensor
    skewed: torch.Tensor
    columns: list
    blocks: list


class AtomBank:
    """Sums of atoms and correlations with them, for images of one size, circular.

    Parameters
    ----------
    atoms : Tensor (K, h, w)
        On the device and in the precision of the work.
    height, width : int
        Size of the images.
    """

    def __init__(self, atoms, height, width):
        self.n_atoms, self.rows, self.columns = atoms.shape
        self.height, self.width = height, width
        self.blocks = _blocks_used(atoms)
        used = [atoms[:, top:end, left:right].flatten(1) for left, right, top, end in self.blocks]
        # Atoms that are all zero have no pixels at all.
        self.analysis = torch.cat([atoms.new_empty(self.n_atoms, 0), *used], 1).contiguous()
        self.synthesis = self.analysis.T.contiguous()
        self.pixels = tile_pixels(atoms.device)
        self.images_per_tile = max(1, self.pixels // (height * width))
        self.power = self._power(atoms).to(atoms.dtype)
        self.workers = Workers(atoms.device)
        self.kernels = _kernels(atoms.device)
        if self.kernels is not None:
            places = [
                (i, j)
                for left, right, top, end in self.blocks
                for i in range(top, end)
                for j in range(left, right)
            ]
            places = torch.tensor(places, dtype=torch.int32).view(-1, 2)
            self._down, self._right = places.T.contiguous().to(atoms.device)
        self._memory = threading.local()

    def _power(self, atoms):
        """Σ_k |d̂_k|² in float64, from the sum of the atoms' autocorrelations."""
        shape = (2 * self.rows - 1, 2 * self.columns - 1)
        spectrum = torch.fft.rfft2(atoms.double(), s=shape).abs().square().sum(0)
        sums = torch.fft.irfft2(spectrum, s=shape)
        # Negative lags come last; an image smaller than all lags wraps round.
        y, x = (
            torch.fft.fftfreq(lags, 1 / lags, device=atoms.device).round().long() % size
            for lags, size in zip(shape, (self.height, self.width), strict=True)
        )
        image = sums.new_zeros(self.height, self.width)
        image.index_put_((y[:, None], x), sums, accumulate=True)
        return torch.fft.rfft2(image).real

    def tiles(self, n):
        """Ranges (first image, images, first row, rows): whole images, or rows of one.

        A larger image is cut into an even number of nearly equal pieces, so that two threads share
        it fairly. How depends on its size alone: rounding errors are the same for any number of
        threads and images.
        """
        size = self.height * self.width
        if size <= self.pixels:
            most = self.images_per_tile
            return [(i, min(most, n - i), 0, self.height) for i in range(0, n, most)]
        count = min(self.height, 2 * max(1, round(size / (2 * self.pixels))))
        edges = [self.height * i // count for i in range(count + 1)]
        return [(i, 1, a, b - a) for i in range(n) for a, b in pairwise(edges)]

    def span(self, tile):
        """Columns of a (K, n · height · width) array that belong to a tile."""
        image, images, row, rows = tile
        start = (image * self.height + row) * self.width
        return slice(start, start + images * rows * self.width)

    def buffer(self, which, rows, columns):
        """One of the thread's work arrays (rows, columns); its content is left over."""
        memory = self._memory.__dict__
        if which not in memory or memory[which].numel() < rows * columns:
            memory[which] = self.analysis.new_empty(rows * columns)
        return memory[which][: rows * columns].view(rows, columns)

    def spread(self, tile, maps):
        """Σ_k d_k * maps_k of a tile, maps (K, its pixels), with the margins it spreads into.

        Returns
        -------
        Tensor (images, rows + h - 1, width + w - 1)
        """
        space = self._space(tile)
        torch.mm(self.synthesis, maps, out=space.taps)
        if self.kernels is not None:
            _, images, _, rows = tile
            shape = images, rows + self.rows - 1, self.width + self.columns - 1
            taps, out = space.taps.view(-1, images, rows, self.width), maps.new_empty(shape)
            return self.kernels.fold(taps, self._down, self._right, out)
        space.lines.zero_()
        for line, tap in space.columns:
            line.add_(tap)
        return space.skewed.sum(0)

    def gather(self, tiles, spreads):
        """Images (n, height, width) from the spreads of all tiles, margins folded round."""
        n = tiles[-1][0] + tiles[-1][1]
        shape = (n, self.height + self.rows - 1, self.width + self.columns - 1)
        canvas = self.analysis.new_zeros(shape)
        for (image, images, row, rows), spread in zip(tiles, spreads, strict=True):
            canvas[image : image + images, row : row + rows + self.rows - 1] += spread
        if self.rows > 1:
            canvas[:, : self.rows - 1] += canvas[:, self.height :]
        if self.columns > 1:
            canvas[:, :, : self.columns - 1] += canvas[:, :, self.width :]
        return canvas[:, : self.height, : self.width]

    def unwrap(self, images):
        """Images with the margins that `correlate` looks into, continued round."""
        images = torch.cat([images, images[:, : self.rows - 1]], 1)
        return torch.cat([images, images[:, :, : self.columns - 1]], 2)

    def correlate(self, images, tile, out, beta=0):
        """Set `out` (K, pixels of the tile) to Dᵀ images + beta · out, images unwrapped."""
        image, _, row, _ = tile
        space, s = self._space(tile), images.stride()
        start = images.storage_offset() + image * s[0] + row * s[1]
        for (left, _, top, _), block in zip(self.blocks, space.blocks, strict=True):
            offset = start + top * s[1] + left * s[2]
            block.copy_(images.as_strided(block.shape, (s[1], s[2], *s), offset))
        return torch.addmm(out, self.analysis, space.taps, beta=beta, out=out)

    def _space(self, tile):
        """The thread's views of its buffers for tiles of this size."""
        _, images, _, rows = tile
        memory = self._memory.__dict__
        if (images, rows) not in memory:
            memory[images, rows] = self._views(images, rows)
        return memory[images, rows]

    def _views(self, images, rows):
        taps = self.buffer("taps", len(self.synthesis), images * rows * self.width)
        blocks, first = [], 0
        for left, right, top, end in self.blocks:
            shape = end - top, right - left
            block = taps[first : first + shape[0] * shape[1]]
            blocks.append(block.view(*shape, images, rows, self.width))
            first += shape[0] * shape[1]
        if self.kernels is not None:
            return _Space(taps, None, None, [], blocks)
        wide, high = self.width + self.columns - 1, rows + self.rows - 1
        lines = self.buffer("lines", self.rows, images * high * wide)
        lines = lines.view(self.rows, images, high, wide)
        columns = []
        for (left, right, top, end), block in zip(self.blocks, blocks, strict=True):
            for j in range(left, right):
                line = lines[top:end, :, :rows, j : j + self.width]
                columns.append((line, block[:, j - left]))
        # Line i of the atoms is moved down by i rows. What it is moved over is zero.
        down, *rest = lines.stride()
        skewed = lines.as_strided(lines.shape, (down - wide, *rest), lines.storage_offset())
        return _Space(taps, lines, skewed, columns, blocks)

    @full_precision()
    def synthesise(self, maps):
        """Σ_k d_k * maps_k as images (n, height, width), from maps (n, K, height, width)."""
        flat = maps.transpose(0, 1).flatten(2)

        def spread(tile):
            image, images, row, rows = tile
            part = flat[:, image : image + images, row * self.width : (row + rows) * self.width]
            return self.spread(tile, part.reshape(self.n_atoms, -1))

        tiles = self.tiles(len(maps))
        return self.gather(tiles, self.workers.map(spread, tiles))

    def filter(self, images, gain):
        """Images with their spectra multiplied by a gain."""
        return torch.fft.irfft2(torch.fft.rfft2(images) * gain, s=(self.height, self.width))


def _blocks_used(atoms):
    """Blocks of pixels that hold all that is not zero in some atom (K, h, w).

    Returns
    -------
    list of (left, right, top, end)
        Columns from left to before right, in all of which rows from top to before end are used.
    """
    blocks = []
    for j, column in enumerate((atoms != 0).any(0).T):
        used = column.nonzero().flatten().tolist()
        if used:
            rows = used[0], used[-1] + 1
            left = blocks.pop()[0] if blocks and blocks[-1][1:] == (j, *rows) else j
            blocks.append((left, j + 1, *rows))
    return blocks


def _kernels(device):
    """Kernels for a GPU, or None where torch's separate operations have to do their work."""
    if device.type != "cuda" or find_spec("triton") is None:
        return None
    from lib import _fused

    # They are compiled on their first calls, which needs a compiler for C, too, and a folder to
    # write to: what can fail there is of many types.
    one = torch.ones(1, 1, device=device)
    zero = torch.zeros(1, dtype=torch.int32, device=device)
    try:
        _fused.update(one.clone(), one.clone(), one, one[0], 1.0)
        _fused.fold(one.view(1, 1, 1, 1), zero, zero, one.view(1, 1, 1).clone())
    except Exception as error:
        warnings.warn(f"no kernels for {device}, coding will be slow: {error}", stacklevel=2)
        return None
    return _fused

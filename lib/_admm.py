"""ADMM for convolutional sparse coding, in tiles that stay in a processor's cache.

Two identities turn the method (Ladret et al., Eqs. 12–19; Wohlberg 2016) into one pass over one
array per iteration. By the Sherman–Morrison formula, the x-step is

    x = v + Dᵀ g,   ĝ = (ŝ - D̂v) / (ρ + Σ_k |d̂_k|²),   v = y - u,   D v = Σ_k d_k * v_k,

so that only the one image g needs Fourier transforms; D and Dᵀ are products with the matrix of
the atoms' pixels. And y = soft(w, λ/ρ), u = clip(w, ±λ/ρ) are functions of w = y + u, which is
therefore the whole state. It changes by α (Dᵀ g - u), so D w follows from D y and g alone, with
rounding errors that shrink by |1 - α| each time, and D v = 2 D y - D w. An iteration reads w
once and writes it once; all else happens within tiles, which threads share. Pixels that are zero
in all atoms, outside of a round mask for instance, are left out of the products.

Arrays here are scaled by each image's ρ (w stands for ρ w): the threshold is then λ for all.
"""

import threading
from itertools import pairwise
from typing import NamedTuple

import torch

from lib._workers import Workers, one_thread

# Pixels of a tile: on a CPU, a thread's four buffers stay in its cache; on a GPU, they are large
# enough to fill it.
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
        One for each row of the atoms.
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
        self.power = self._power(atoms).to(atoms.dtype)
        self.workers = Workers(atoms.device)
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
            group = self.pixels // size
            return [(i, min(group, n - i), 0, self.height) for i in range(0, n, group)]
        count = min(self.height, 2 * max(1, round(size / (2 * self.pixels))))
        edges = [self.height * i // count for i in range(count + 1)]
        return [(i, 1, a, b - a) for i in range(n) for a, b in pairwise(edges)]

    def span(self, tile):
        """Columns of a (K, n · height · width) array that belong to a tile."""
        image, images, row, rows = tile
        start = (image * self.height + row) * self.width
        return slice(start, start + images * rows * self.width)

    def buffer(self, which, rows, columns):
        """One of the thread's four work arrays (rows, columns); its content is left over."""
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
        wide, high = self.width + self.columns - 1, rows + self.rows - 1
        lines = self.buffer("lines", self.rows, images * high * wide)
        lines = lines.view(self.rows, images, high, wide)
        blocks, columns, first = [], [], 0
        for left, right, top, end in self.blocks:
            shape = end - top, right - left
            block = taps[first : first + shape[0] * shape[1]]
            block = block.view(*shape, images, rows, self.width)
            for j in range(left, right):
                line = lines[top:end, :, :rows, j : j + self.width]
                columns.append((line, block[:, j - left]))
            blocks.append(block)
            first += shape[0] * shape[1]
        # Line i of the atoms is moved down by i rows. What it is moved over is zero.
        down, *rest = lines.stride()
        skewed = lines.as_strided(lines.shape, (down - wide, *rest), lines.storage_offset())
        return _Space(taps, lines, skewed, columns, blocks)

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


class Iteration:
    """State of the method for a batch of images.

    Parameters
    ----------
    bank : AtomBank
    images : Tensor (n, height, width)
    threshold : float or Tensor (K, 1)
        λ, or λ times each atom's weight.
    rho : Tensor (n,)
        float64.
    relax : float
        Over-relaxation α.
    maps : Tensor (n, K, height, width), optional
        Coefficients to start from. The dual variable starts where it is if these are the
        solution: ρ u = λ sign(y), and Dᵀ(s - D y) where y is zero. Both start at zero if not given.

    Attributes
    ----------
    w : Tensor (K, n * height * width)
        y + u, times ρ.
    """

    def __init__(self, bank, images, threshold, rho, relax, maps=None):
        self.bank, self.images, self.relax = bank, images, relax
        self.threshold = threshold
        self.rho = rho.clone()
        self.w = images.new_zeros(bank.n_atoms, images.numel())
        self._sum_w, self._sum_y = torch.zeros_like(images), torch.zeros_like(images)
        self._factor = None
        if maps is not None:
            start = self.w.view(bank.n_atoms, len(images), -1)
            start.copy_(maps.transpose(0, 1).flatten(2))
            start.mul_(rho.to(start.dtype)[:, None])
            self._sum_y = self._synthesise()
            rest = bank.unwrap(images - self._sum_y / rho.to(start.dtype)[:, None, None])
            bank.workers.map(lambda tile: self._add_dual(tile, rest), bank.tiles(len(images)))
            self._sum_w = self._synthesise()

    def _add_dual(self, tile, rest):
        w = self.w[:, self.bank.span(tile)]
        u = self._clip(self.bank.correlate(rest, tile, self.bank.buffer("rest", *w.shape)))
        w.add_(torch.where(w == 0, u, self.threshold * w.sign()))

    def _synthesise(self):
        bank, tiles = self.bank, self.bank.tiles(len(self.images))
        maps = [self.w[:, bank.span(tile)] for tile in tiles]
        return bank.gather(tiles, bank.workers.map(bank.spread, tiles, maps))

    # What is done outside of tiles is too short to share, and would wait where cores are busy.
    @one_thread()
    def step(self):
        """One iteration; relative primal and dual residuals (n,) in float64, as SPORCO's.

        Where y is zero and stays so, x = x - y tells nothing when relative to itself. The primal
        residual is then a bound on ‖Dᵀs - u‖ / ‖u‖, which is zero if zero is the solution.
        """
        bank, n, relax = self.bank, len(self.images), self.relax
        if self._factor is not None:
            factor = self._factor[:, None, None]
            self._sum_w += (factor - 1) * self._sum_y
            self._sum_y *= factor
        rho = self.rho.to(self.w.dtype)[:, None, None]
        rest = self.images - (2 * self._sum_y - self._sum_w) / rho
        gradient = bank.filter(rest, 1 / (1 + bank.power / rho))
        self._sum_w.mul_(1 - relax).add_(self._sum_y, alpha=relax)
        self._sum_w.add_(bank.filter(gradient, bank.power), alpha=relax)

        gap = bank.power.max() * (self.images - gradient).double().square().sum((1, 2))
        gradient, tiles = bank.unwrap(gradient), bank.tiles(n)
        updates = bank.workers.map(lambda tile: self._update(tile, gradient), tiles)
        self._sum_y = bank.gather(tiles, [spread for spread, _ in updates])
        self._factor = None
        products = torch.zeros(5, n, dtype=torch.float64, device=self.w.device)
        for (image, images, _, _), (_, inner) in zip(tiles, updates, strict=True):
            products[:, image : image + images] += inner

        u, y, dual, primal, cross = products
        x = torch.clamp(primal + 2 * cross + y, min=0)
        idle = (y == 0) & (dual == 0)
        primal = torch.where(idle, (primal.sqrt() + gap.sqrt()).square(), primal)
        primal = _ratio(primal, torch.where(idle, u, torch.maximum(x, y)))
        return primal.sqrt(), _ratio(dual, u).sqrt()

    def dual(self):
        """ρ u (K, n * height * width)."""
        return self._clip(self.w)

    def _clip(self, w, out=None):
        return torch.clamp(w, -self.threshold, self.threshold, out=out)

    def _update(self, tile, gradient):
        """Steps x, y and u of a tile: Σ_k d_k * y_k, and what the residuals are made of."""
        bank, relax = self.bank, self.relax
        w = self.w[:, bank.span(tile)]
        rest, change, y = (bank.buffer(name, *w.shape) for name in ("rest", "change", "y"))
        self._clip(w, rest)
        torch.sub(w, rest, out=change)
        if self._factor is not None:
            factor = self._factor[tile[0] : tile[0] + tile[1], None]
            change.view(bank.n_atoms, tile[1], -1).mul_(factor)
            torch.add(change, rest, out=w)
        # x - y, with y of before.
        bank.correlate(gradient, tile, rest, beta=-1)
        w.add_(rest, alpha=relax)
        u = self._clip(w, y)
        inner = [self._inner(tile, u, u)]
        torch.sub(w, u, out=y)
        change.sub_(y)
        rest.add_(change)
        for a, b in ((y, y), (change, change), (rest, rest), (rest, y)):
            inner.append(self._inner(tile, a, b))
        return bank.spread(tile, y), torch.stack(inner)

    def _inner(self, tile, a, b):
        """Inner products of two arrays of a tile, one for each of its images."""
        if tile[1] == 1:
            return torch.dot(a.view(-1), b.view(-1))[None]
        return (a * b).view(self.bank.n_atoms, tile[1], -1).sum((0, 2))

    def rescale(self, factor):
        """Multiply each image's ρ by a factor (n,); coefficients stay as they are."""
        if bool((factor != 1).any()):
            # Without coefficients, ρ would grow without end.
            rho = torch.clamp(self.rho * factor, max=torch.finfo(self.w.dtype).max)
            self.rho, self._factor = rho, (rho / self.rho).to(self.w.dtype)

    def result(self, image):
        """Coefficients y (K, height, width) of one image and their synthesis Σ_k d_k * y_k."""
        size = self.bank.height * self.bank.width
        w = self.w[:, image * size : (image + 1) * size]
        # A change of ρ that the next step would work in multiplies ρ and ρ y alike.
        scale = (1.0 if self._factor is None else float(self._factor[image])) / self.rho[image]
        y = self._clip(w)
        y = torch.sub(w, y, out=y).mul_(float(scale))
        return y.view(-1, self.bank.height, self.bank.width), self._sum_y[image] * float(scale)

    def keep(self, mask):
        """Drop all images but those where a mask (n,) is true."""
        state = self.w.view(self.bank.n_atoms, len(self.images), -1)
        self.w = state[:, mask].flatten(1)
        self.images, self.rho = self.images[mask], self.rho[mask]
        self._sum_w, self._sum_y = self._sum_w[mask], self._sum_y[mask]
        if self._factor is not None:
            self._factor = self._factor[mask]


def _ratio(a, b):
    """Ratio a / b of norms; a where b is zero."""
    return a / torch.where(b > 0, b, torch.ones_like(b))

"""ADMM for convolutional sparse coding, in tiles that stay in a processor's cache.

Two identities turn the method (Ladret et al., Eqs. 12–19; Wohlberg 2016) into one pass over one
array per iteration. By the Sherman–Morrison formula, the x-step is

    x = v + Dᵀ g,   ĝ = (ŝ - D̂v) / (ρ + Σ_k |d̂_k|²),   v = y - u,   D v = Σ_k d_k * v_k,

so that only the one image g needs Fourier transforms; D and Dᵀ are products with the matrix of
the atoms' pixels. And y = soft(w, λ/ρ), u = clip(w, ±λ/ρ) are functions of w = y + u, which is
therefore the whole state. It changes by α (Dᵀ g - u), so D w follows from D y and g alone, with
rounding errors that shrink by |1 - α| each time, and D v = 2 D y - D w. An iteration reads w
once and writes it once; all else happens within tiles.

Arrays here are scaled by each image's ρ (w stands for ρ w): the threshold is then λ for all.
"""

import torch

# Pixels of a tile: on a CPU, the tile's few buffers share the second-level cache; on a GPU, they
# are large enough to fill it.
_TILE = {"cpu": 4096, "cuda": 1 << 18}


def tile_pixels(device):
    """Pixels that are worked on at a time on a device (None: the CPU)."""
    return _TILE[torch.device(device or "cpu").type]


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
        self.analysis = atoms.flatten(1).contiguous()
        self.synthesis = self.analysis.T.contiguous()
        self.pixels = tile_pixels(atoms.device)
        self.power = self._power(atoms).to(atoms.dtype)
        self._memory = [atoms.new_empty(0) for _ in range(5)]

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
        """Ranges (first image, images, first row, rows): whole images, or rows of one."""
        size = self.height * self.width
        if size <= self.pixels:
            group = self.pixels // size
            return [(i, min(group, n - i), 0, self.height) for i in range(0, n, group)]
        step = max(1, self.pixels // self.width)
        rows = [(y, min(step, self.height - y)) for y in range(0, self.height, step)]
        return [(i, 1, *row) for i in range(n) for row in rows]

    def span(self, tile):
        """Columns of a (K, n · height · width) array that belong to a tile."""
        image, images, row, rows = tile
        start = (image * self.height + row) * self.width
        return slice(start, start + images * rows * self.width)

    def buffer(self, which, rows, columns):
        """One of five work arrays (rows, columns), contiguous; its content is left over."""
        if self._memory[which].numel() < rows * columns:
            self._memory[which] = self._memory[which].new_empty(rows * columns)
        return self._memory[which][: rows * columns].view(rows, columns)

    def canvas(self, n):
        """Zero images (n, height + h - 1, width + w - 1) for `add`."""
        shape = (n, self.height + self.rows - 1, self.width + self.columns - 1)
        return self.analysis.new_zeros(shape)

    def add(self, canvas, tile, maps):
        """Add Σ_k d_k * maps_k of a tile, maps (K, its pixels), to a canvas."""
        image, images, row, rows = tile
        taps = self.buffer(0, len(self.synthesis), maps.shape[1])
        torch.mm(self.synthesis, maps, out=taps)
        taps = taps.view(self.rows, self.columns, images, rows, self.width)
        wide = self.width + self.columns - 1
        lines = self.buffer(1, self.rows, images * rows * wide).zero_()
        lines = lines.view(self.rows, images, rows, wide)
        for j in range(self.columns):
            lines[..., j : j + self.width] += taps[:, j]
        for i in range(self.rows):
            canvas[image : image + images, row + i : row + i + rows] += lines[i]

    def wrap(self, canvas):
        """Images (n, height, width) from a canvas, its margins folded round."""
        if self.rows > 1:
            canvas[:, : self.rows - 1] += canvas[:, self.height :]
        if self.columns > 1:
            canvas[:, :, : self.columns - 1] += canvas[:, :, self.width :]
        return canvas[:, : self.height, : self.width]

    def unwrap(self, images):
        """Images with the margins that `correlate` looks into, continued round."""
        images = torch.cat([images, images[:, : self.rows - 1]], 1)
        return torch.cat([images, images[:, :, : self.columns - 1]], 2)

    def correlate(self, images, tile):
        """Correlations (K, pixels of the tile) of the atoms with unwrapped images."""
        image, count, row, rows = tile
        size = count * rows * self.width
        patches = self.buffer(0, len(self.synthesis), size)
        s = images.stride()
        windows = images.as_strided(
            (self.rows, self.columns, count, rows, self.width),
            (s[1], s[2], *s),
            image * s[0] + row * s[1],
        )
        patches.view(windows.shape).copy_(windows)
        return torch.mm(self.analysis, patches, out=self.buffer(1, self.n_atoms, size))

    def synthesise(self, maps):
        """Σ_k d_k * maps_k as images (n, height, width), from maps (n, K, height, width)."""
        canvas = self.canvas(len(maps))
        flat = maps.transpose(0, 1).flatten(2)
        for tile in self.tiles(len(maps)):
            image, images, row, rows = tile
            part = flat[:, image : image + images, row * self.width : (row + rows) * self.width]
            self.add(canvas, tile, part.reshape(self.n_atoms, -1))
        return self.wrap(canvas)

    def filter(self, images, gain):
        """Images with their spectra multiplied by a gain."""
        return torch.fft.irfft2(torch.fft.rfft2(images) * gain, s=(self.height, self.width))


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
        Coefficients to start from; zeros if not given. The dual variable starts at λ sign(maps).

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
            self.w.add_(threshold * self.w.sign())
            self._sum_w = self._synthesise()

    def _synthesise(self):
        canvas = self.bank.canvas(len(self.images))
        for tile in self.bank.tiles(len(self.images)):
            self.bank.add(canvas, tile, self.w[:, self.bank.span(tile)])
        return self.bank.wrap(canvas)

    def step(self):
        """One iteration; relative primal and dual residuals (n,) in float64, as SPORCO's."""
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

        gradient, canvas = bank.unwrap(gradient), bank.canvas(n)
        products = torch.zeros(5, n, dtype=torch.float64, device=self.w.device)
        for tile in bank.tiles(n):
            y, inner = self._update(tile, gradient)
            bank.add(canvas, tile, y)
            products[:, tile[0] : tile[0] + tile[1]] += inner
        self._sum_y, self._factor = bank.wrap(canvas), None

        y, u, dual, primal, cross = products
        x = torch.clamp(primal + 2 * cross + y, min=0)
        scale = torch.maximum(x, y)
        primal = primal / torch.where(scale > 0, scale, torch.ones_like(scale))
        return primal.sqrt(), (dual / torch.where(u > 0, u, torch.ones_like(u))).sqrt()

    def _clip(self, w, out=None):
        return torch.clamp(w, -self.threshold, self.threshold, out=out)

    def _update(self, tile, gradient):
        """Steps x, y and u of a tile: y and what the residuals are made of."""
        bank, shape = self.bank, (self.bank.n_atoms, tile[1], -1)
        w = self.w[:, bank.span(tile)]
        u = self._clip(w, bank.buffer(2, *w.shape))
        change = torch.sub(w, u, out=bank.buffer(3, *w.shape))
        if self._factor is not None:
            change.view(shape).mul_(self._factor[tile[0] : tile[0] + tile[1], None])
            torch.add(change, u, out=w)
        rest = bank.correlate(gradient, tile).sub_(u)
        w.add_(rest, alpha=self.relax)
        self._clip(w, u)
        y = torch.sub(w, u, out=bank.buffer(4, *w.shape))
        change.sub_(y)
        rest.add_(change)
        pairs = [(y, y), (u, u), (change, change), (rest, rest), (rest, y)]
        if tile[1] == 1:
            inner = [torch.dot(a.view(-1), b.view(-1))[None] for a, b in pairs]
        else:
            inner = [(a * b).view(shape).sum((0, 2)) for a, b in pairs]
        return y, torch.stack(inner)

    def rescale(self, factor):
        """Multiply each image's ρ by a factor (n,); coefficients stay as they are."""
        if bool((factor != 1).any()):
            self.rho = self.rho * factor
            self._factor = factor.to(self.w.dtype)

    def result(self, image):
        """Coefficients y (K, height, width) of one image and their synthesis Σ_k d_k * y_k."""
        size = self.bank.height * self.bank.width
        w = self.w[:, image * size : (image + 1) * size]
        # A change of ρ that the next step would work in multiplies ρ and ρ y alike.
        scale = (1.0 if self._factor is None else float(self._factor[image])) / self.rho[image]
        y = self._clip(w).sub_(w).mul_(-float(scale))
        return y.view(-1, self.bank.height, self.bank.width), self._sum_y[image] * float(scale)

    def keep(self, mask):
        """Drop all images but those where a mask (n,) is true."""
        state = self.w.view(self.bank.n_atoms, len(self.images), -1)
        self.w = state[:, mask].flatten(1)
        self.images, self.rho = self.images[mask], self.rho[mask]
        self._sum_w, self._sum_y = self._sum_w[mask], self._sum_y[mask]
        if self._factor is not None:
            self._factor = self._factor[mask]

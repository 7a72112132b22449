"""ADMM for convolutional sparse coding, in tiles that stay in a processor's cache.

Two identities turn the method (Ladret et al., Eqs. 12–19; Wohlberg 2016) into one pass over one
array per iteration. By the Sherman–Morrison formula, the x-step is

    x = v + Dᵀ g,   ĝ = (ŝ - D̂v) / (ρ + Σ_k |d̂_k|²),   v = y - u,   D v = Σ_k d_k * v_k,

so that only the one image g needs Fourier transforms; D and Dᵀ are products with the matrix of
the atoms' pixels. And y = soft(w, λ/ρ), u = clip(w, ±λ/ρ) are functions of w = y + u, which is
therefore the whole state. It changes by α (Dᵀ g - u), so D w follows from D y and g alone, with
rounding errors that shrink by |1 - α| each time, and D v = 2 D y - D w. An iteration reads w
once and writes it once; all else happens within tiles, which threads share. On a GPU, whose
caches hold no tile, one kernel does what comes between the two products (`lib._fused`).

Arrays here are scaled by each image's ρ (w stands for ρ w): the threshold is then λ for all.
"""

import numpy as np
import torch

from lib._workers import full_precision, one_thread

_ATOMS_AT_A_TIME = 8


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
        Coefficients to start from, on any device. The dual variable starts where it is if these
        are the solution: ρ u = λ sign(y), and Dᵀ(s - D y) where y is zero. Both start at zero if
        not given.

    Attributes
    ----------
    w : Tensor (K, n * height * width)
        y + u, times ρ.
    """

    @full_precision()
    def __init__(self, bank, images, threshold, rho, relax, maps=None):
        self.bank, self.images, self.relax = bank, images, relax
        self.threshold = threshold
        self.rho = rho.clone()
        self.w = images.new_zeros(bank.n_atoms, images.numel())
        self._sum_w, self._sum_y = torch.zeros_like(images), torch.zeros_like(images)
        self._factor = None
        if bank.kernels is not None:
            # Made once: a number that is sent to a GPU holds up what is under way there.
            levels = torch.as_tensor(threshold, dtype=images.dtype, device=images.device)
            self._levels = levels.expand(bank.n_atoms, 1).contiguous()
            self._ones = images.new_ones(len(images))
        if maps is not None:
            start = self.w.view(bank.n_atoms, *images.shape)
            start.copy_(maps.transpose(0, 1))
            start.mul_(rho.to(start.dtype)[:, None, None])
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
    @full_precision()
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
        if self.bank.kernels is not None:
            return self._update_at_once(tile, gradient)
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

    def _update_at_once(self, tile, gradient):
        bank, first, end = self.bank, tile[0], tile[0] + tile[1]
        w = self.w[:, bank.span(tile)]
        y = bank.correlate(gradient, tile, bank.buffer("y", *w.shape))
        factor = (self._ones if self._factor is None else self._factor)[first:end]
        inner = bank.kernels.update(w, y, self._levels, factor, self.relax)
        return bank.spread(tile, y), inner

    def _inner(self, tile, a, b):
        """Inner products of two arrays of a tile, one for each of its images."""
        if tile[1] == 1:
            return torch.dot(a.view(-1), b.view(-1))[None]
        return (a * b).view(self.bank.n_atoms, tile[1], -1).sum((0, 2))

    def rescale(self, factor):
        """Multiply each image's ρ by a factor (n,); coefficients stay as they are."""
        # To ask a GPU would be to wait for it.
        if self.bank.kernels is not None or bool((factor != 1).any()):
            # Without coefficients, ρ would grow without end.
            rho = torch.clamp(self.rho * factor, max=torch.finfo(self.w.dtype).max)
            self.rho, self._factor = rho, (rho / self.rho).to(self.w.dtype)

    def result(self, some):
        """Coefficients y (n, K, height, width) of a slice of images, and their Σ_k d_k * y_k."""
        size = self.bank.height * self.bank.width
        w = self.w[:, some.start * size : some.stop * size]
        # A change of ρ that the next step would work in multiplies ρ and ρ y alike.
        factor = 1.0 if self._factor is None else self._factor[some]
        scale = (factor / self.rho[some]).to(w.dtype)[:, None, None]
        y = self._clip(w)
        y = torch.sub(w, y, out=y).view(len(w), *self._sum_y[some].shape).mul_(scale)
        return y.transpose(0, 1), self._sum_y[some] * scale

    def keep(self, mask):
        """Drop all images but those where a mask, an ndarray (n,), is true."""
        # Positions: to find them on a GPU would be to wait for it, each time.
        left = torch.as_tensor(np.flatnonzero(mask)).to(self.w.device)
        k = self.bank.n_atoms
        state, flat = self.w.view(k, len(self.images), -1), self.w.view(-1)
        size = len(left) * state.shape[2]
        # To the front of the same memory, a few atoms at a time: never is there a second state.
        for first in range(0, k, _ATOMS_AT_A_TIME):
            some = state[first : first + _ATOMS_AT_A_TIME].index_select(1, left).flatten()
            flat[first * size : first * size + len(some)] = some
        self.w = flat[: k * size].view(k, size)
        self.images, self.rho = self.images[left], self.rho[left]
        self._sum_w, self._sum_y = self._sum_w[left], self._sum_y[left]
        if self._factor is not None:
            self._factor = self._factor[left]


def rho_factor(primal, dual, lmbda):
    """Factor on ρ that balances the residuals (Wohlberg 2017), with SPORCO's constants.

    The target of their ratio, ξ, depends on λ; ρ changes where the ratio is off by more than 1.2,
    by the root of the ratio, at most by 1000.
    """
    target = 1 + 18.3 ** (np.log10(lmbda) + 1) if lmbda > 0 else 1.0
    ratio = primal / (dual * target)
    size = torch.sqrt(torch.maximum(ratio, 1 / ratio)).clamp(max=1000)
    raised = primal > 1.2 * target * dual
    lowered = dual > 1.2 / target * primal
    return torch.where(raised, size, torch.where(lowered, 1 / size, torch.ones_like(size)))


def _ratio(a, b):
    """Ratio a / b of norms; a where b is zero."""
    return a / torch.where(b > 0, b, torch.ones_like(b))

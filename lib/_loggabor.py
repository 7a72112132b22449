"""Spectra of log-Gabor atoms sampled on a grid, and fitting one of them to an atom."""

from functools import lru_cache

import numpy as np
from scipy import optimize

F0 = BANDWIDTH = 0.4
# Standard deviation of a Gaussian to half its width at half height (text, after Eq. 3).
_HALF_WIDTH = np.sqrt(2 * np.log(2))
# Least and largest Bθ and central frequency of a fit, and the largest shift over the size.
_B_LIMITS = np.deg2rad((2.0, 60.0))
_F0_LIMITS = (0.1, 0.5)
_SHIFT_LIMIT = 1 / 3
# Where a fit is this good, what is left is taken for noise; where stripes are this narrow, they
# fall between samples of the spectrum, and noise decides θ.
_GOOD, _NARROW = 0.9, np.deg2rad(8.0)


class Grid:
    """Samples of the spectrum and pixels of atoms of one size."""

    def __init__(self, size, formula):
        self.size, self.formula = size, formula
        sample = np.arange(-(size // 2), (size + 1) // 2) / size
        self.rows, self.columns = np.meshgrid(sample, sample, indexing="ij")
        radius = np.hypot(self.rows, self.columns)
        # A sample at -1/2 stands for 1/2 as well: half of it is of either direction.
        turns = [np.where(axis == -0.5, -1, 1) for axis in (self.rows, self.columns)]
        both = formula == "text" and size % 2 == 0
        self.angles = [
            np.arctan2(self.columns * across, self.rows * down)
            for down in ((1, turns[0]) if both else (1,))
            for across in ((1, turns[1]) if both else (1,))
        ]
        self.kept = (radius > 0) & ((radius < 0.5) | (formula == "text"))
        self.radius = np.where(self.kept, radius, 1.0)
        # Inverse Fourier transform along one axis, about the central pixel.
        place = np.arange(size) - size // 2
        self.inverse = np.exp(2j * np.pi * np.outer(place, sample))
        # Coordinates of the window, from -1 to 1.
        self.y, self.x = np.meshgrid(*2 * [np.linspace(-1, 1, size)], indexing="ij")
        if formula == "code":
            # Kept from the highest frequencies, and from the lowest.
            band = -np.expm1((self.radius - 0.5) / 0.035)
            self.band = band * -np.expm1(-0.5 * (self.radius * 2 * size) ** 2)

    def pairs(self, theta, b_theta, f0=F0, row=0.0, column=0.0, *, bandwidth=BANDWIDTH):
        """Even and odd atoms as real and imaginary parts, (..., size²), up to a scale."""
        theta, b_theta, f0, row, column = (
            np.asarray(value)[..., None, None] for value in (theta, b_theta, f0, row, column)
        )
        ratio = np.log(self.radius / f0)
        if self.formula == "code":
            exponents = [np.cos(self.angles[0] - theta) / b_theta**2]
            along_frequency = -0.5 * (ratio / bandwidth) ** 2
        else:
            narrow = (2 * b_theta / _HALF_WIDTH) ** 2
            exponents = [np.cos(2 * (angle - theta)) / narrow for angle in self.angles]
            along_frequency = -0.5 * (ratio / np.log1p(bandwidth / f0)) ** 2
        exponents = [np.where(self.kept, e + along_frequency, -np.inf) for e in exponents]
        # Less the maximum: a narrow lobe between samples must not vanish.
        largest = np.max([e.max(axis=(-2, -1), keepdims=True) for e in exponents], axis=0)
        lobes = [np.exp(e - largest) for e in exponents]
        if self.formula == "code":
            spectrum = lobes[0] * self.band / self.radius
        else:
            # One half alone has the even atom as its real and the odd one as its imaginary part.
            sides = (np.cos(angle - theta) for angle in self.angles)
            sides = (1 + np.sign(np.where(np.abs(side) < 1e-9, 0, side)) for side in sides)
            spectrum = sum(lobe * side for lobe, side in zip(lobes, sides, strict=True))
        turn = np.exp(-2j * np.pi * (self.rows * row + self.columns * column))
        pairs = self.inverse @ (spectrum * turn) @ self.inverse.T * self.window(row, column)
        return pairs.reshape(*pairs.shape[:-2], -1)

    def window(self, row, column):
        """Window of the released atoms, moved: 1 in the centre, 0 at the border."""
        if self.formula == "text":
            return 1.0
        step = 2 / (self.size - 1)
        radius = np.minimum(np.hypot(self.y - step * row, self.x - step * column), 1.0)
        return ((np.cos(np.pi * radius) + 1) / 2) ** (1 / 3)


def _subspace(pairs):
    """Orthonormal bases (..., size², 2) of even and odd atoms less their means."""
    pairs = pairs - pairs.mean(axis=-1, keepdims=True)
    even = pairs.real / np.linalg.norm(pairs.real, axis=-1, keepdims=True)
    odd = pairs.imag - (even * pairs.imag).sum(axis=-1, keepdims=True) * even
    return np.stack([even, odd / np.linalg.norm(odd, axis=-1, keepdims=True)], axis=-1)


@lru_cache(maxsize=4)
def _table(size, formula):
    """Coarse grid of parameters (n, 5) and their bases (n, size², 2)."""
    step = size / 6
    axes = (
        np.deg2rad(np.arange(0, 180, 7.5)),
        np.deg2rad([4.0, 7.0, 12.0, 20.0, 35.0]),
        (0.15, 0.25, 0.4),
        (-step, 0.0, step),
        (-step, 0.0, step),
    )
    table = np.stack([axis.ravel() for axis in np.meshgrid(*axes, indexing="ij")], axis=1)
    grid = Grid(size, formula)
    return table, _subspace(grid.pairs(*table.T)).astype(np.float32)


def starts(grid, pixels, n=3):
    """Best entries of the grid for each atom, apart from one another: (K, n, 5)."""
    table, bases = _table(grid.size, grid.formula)
    flat = bases.transpose(1, 0, 2).reshape(pixels.shape[1], -1)
    explained = (pixels.astype(np.float32) @ flat).reshape(len(pixels), -1, 2)
    explained = (explained**2).sum(axis=-1)
    chosen = []
    for scores in explained:
        own = []
        for _ in range(n):
            best = int(scores.argmax())
            own.append(table[best])
            turn = np.abs(np.angle(np.exp(2j * (table[:, 0] - table[best, 0])))) / 2
            near = (turn < np.deg2rad(15)) & (np.abs(table[:, 2:] - table[best, 2:]) < 1e-9).all(1)
            scores = np.where(near, -1, scores)
        chosen.append(own)
    return np.array(chosen)


def _expected_theta(grid, y, parameters, error):
    """Mean of θ under the likelihood of θ and Bθ around a fit of squared error `error`.

    Between two samples of the spectrum, a narrow lobe can turn by degrees and change the atom by
    next to nothing: the best θ is then anywhere in that range, and its mean in the middle.
    """
    theta, b_theta, *rest = parameters
    thetas = theta + np.deg2rad(np.arange(-8, 8.25, 0.5))
    widths = np.union1d(np.deg2rad(np.arange(2.0, 11.0)), b_theta)
    thetas, widths = (axis.ravel() for axis in np.meshgrid(thetas, widths))
    basis = _subspace(grid.pairs(thetas, widths, *rest))
    errors = 1 - ((np.swapaxes(basis, -1, -2) @ y) ** 2).sum(axis=-1)
    # Rounding leaves an error where there is no noise.
    variance = max(error, 1e-14) / (len(y) - 8)
    weights = np.exp(-np.maximum(errors - error, 0) / (2 * variance))
    return weights @ thetas / weights.sum()


def fit_one(grid, y, starts):
    """Fit one atom of zero mean and unit norm; a row of `LogGaborFit`."""
    reach = _SHIFT_LIMIT * grid.size
    low = np.array([-np.inf, _B_LIMITS[0], _F0_LIMITS[0], -reach, -reach])
    high = np.array([np.inf, _B_LIMITS[1], _F0_LIMITS[1], reach, reach])
    steps = np.array([1e-6, 1e-6, 1e-6, 1e-5, 1e-5])

    def residuals(parameters):
        basis = _subspace(grid.pairs(*parameters.T))
        return y - (basis @ (np.swapaxes(basis, -1, -2) @ y)[..., None])[..., 0]

    def jacobian(parameters):
        # All five differences in one product.
        inward = np.where(parameters + steps > high, -steps, steps)
        moved = residuals(np.vstack([parameters, parameters + np.diag(inward)]))
        return ((moved[1:] - moved[0]) / inward[:, None]).T

    options = {"jac": jacobian, "bounds": (low, high), "x_scale": [0.2, 0.2, 0.1, 1, 1]}
    fits = [optimize.least_squares(residuals, s, max_nfev=60, **options) for s in starts]
    best = min(fits, key=lambda fit: fit.cost)
    theta, b_theta, f0, *shift = best.x
    if 1 - 2 * best.cost >= _GOOD and b_theta < _NARROW:
        theta = _expected_theta(grid, y, best.x, 2 * best.cost)
    pair = grid.pairs(theta, *best.x[1:])
    basis = np.stack([pair.real, pair.imag, np.ones_like(pair.real)], axis=1)
    even, odd, _ = np.linalg.lstsq(basis, y, rcond=None)[0]
    phase = np.arctan2(odd, even)
    turns = np.floor(theta / np.pi)
    # A lobe on the other side is the complex conjugate: the phase changes its sign.
    phase = -phase if turns % 2 else phase
    theta -= np.pi * turns
    # But for the steps of its derivatives, π is 0.
    theta, phase = (0.0, -phase) if theta >= np.pi - 1e-6 else (theta, phase)
    phase = (phase + np.pi) % (2 * np.pi) - np.pi
    converged = best.success and not best.active_mask[:3].any()
    return theta, b_theta, phase, f0, shift, 1 - 2 * best.cost, converged

"""Rectified spectral units: neurons, layers and networks learned by past–future CCA (float64).

A unit projects its recent input on a canonical direction ψ and passes on one half of the result
(Qin et al., Eq. 10). Units of a layer share one `PastFutureCCA`; layers are learned one after
another from what those below pass on, without labels and without error backpropagation.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from scipy.special import ndtr
from sklearn.base import BaseEstimator, TransformerMixin, clone
from sklearn.utils.validation import check_is_fitted

from lib._checks import (
    check_array,
    check_count,
    check_flag,
    check_number,
    check_recordings,
    check_rng,
)
from lib._stacks import batches, convolve, pooled_moments, stacks
from lib.cca import PastFutureCCA
from lib.lags import LagBlocks, LagCovariance


class Unit(NamedTuple):
    """Canonical direction (1 for ψ₁, 2 for ψ₂, ...) and rectification ("on", "off" or None)."""

    direction: int
    rectification: str | None = None


L3, L1, L2 = Unit(1), Unit(2, "on"), Unit(2, "off")
T4 = Unit(2, "on")


def rectify(z, rectification):
    """max(0, z) for "on", max(0, -z) for "off", z itself for None (Eq. 10)."""
    _check_rectification(rectification)
    return _rectify(check_array("z", z), rectification)


def _rectify(z, rectification):
    if rectification is None:
        return z
    return np.maximum(z if rectification == "on" else -z, 0.0)


def _check_rectification(rectification):
    if rectification not in ("on", "off", None):
        raise ValueError(f"rectification must be 'on', 'off' or None, got {rectification!r}")


def noisy_rectification(z, rectification, noise_std):
    """Mean over n ~ N(0, 1) of ``rectify(z + noise_std * n, rectification)``, and its variance.

    With u = z/σ, E max(0, z + σn) = σ (u Φ(u) + φ(u)) and E max(0, z + σn)² = σ² ((u² + 1) Φ(u) +
    u φ(u)). The mean has the shape of `z`; the variance is summed over all of it.
    """
    _check_rectification(rectification)
    z = check_array("z", z)
    noise_std = check_number("noise_std", noise_std, 0.0)
    if rectification is None:
        return z, noise_std**2 * z.size
    z = z if rectification == "on" else -z
    # Beyond 8 σ the rectifier is one of its two straight pieces.
    low = z < 8 * noise_std
    near = np.flatnonzero(low & (z > -8 * noise_std))
    mean = np.maximum(z, 0.0)
    u = z.take(near) / noise_std
    above, density = ndtr(u), np.exp(-0.5 * u * u) / np.sqrt(2 * np.pi)
    first = u * above + density
    np.put(mean, near, noise_std * first)
    variance = np.sum((u * u + 1) * above + u * density - first * first)
    return mean, noise_std**2 * (variance + z.size - np.count_nonzero(low))


class ReSULayer(TransformerMixin, BaseEstimator):
    """Units that see the same input and share one past–future CCA.

    Parameters
    ----------
    memory, horizon : int
        Samples in a past and in a future lag vector.
    units : sequence of Unit, or of (direction, rectification)
        For instance ``[L3, L1, L2]``.
    gap, ridge, center
        As in `PastFutureCCA`.

    Attributes
    ----------
    cca_ : PastFutureCCA
        All canonical directions and correlations. Signs are fixed by meaning: the response of ψ
        to a step up has a positive extremum, so an ON unit answers a step up.
    filters_ : ndarray (n_units, memory) or (n_units, n_channels, memory)
        Rows of ``cca_.filters_``, one per unit: ``filters_[i, k]`` multiplies y(t-k).
    """

    def __init__(self, memory, horizon, units, gap=1, ridge=0.0, center=True):
        self.memory = memory
        self.horizon = horizon
        self.units = units
        self.gap = gap
        self.ridge = ridge
        self.center = center

    def fit(self, x, y=None):
        """Learn from recordings, batch by batch: an iterable of them is never held as a whole.

        Parameters
        ----------
        x : ndarray (n_samples,) or (n_samples, n_channels), or iterable of those

        Raises
        ------
        ValueError
            A parameter is out of range; a recording is too short, not finite or of another number
            of channels; the input is constant.
        """
        self._check_parameters()
        return self._fit(x)

    def project(self, x):
        """What the units see before they rectify: z(t) = Ψ (p(t) - mean) (Eq. 4).

        Parameters
        ----------
        x : ndarray (n_samples,) or (n_samples, n_channels), or list of those

        Returns
        -------
        ndarray (n_samples - memory + 1, n_units), or list of those
            Row i belongs to time i + memory - 1.
        """
        check_is_fitted(self, "cca_")
        recordings = check_recordings(x, self.cca_.n_channels_, self.memory)
        several = isinstance(x, list | tuple)
        names = [f"x[{i}]" if several else "x" for i in range(len(recordings))]
        recordings = [check_array(*pair) for pair in zip(names, recordings, strict=True)]
        outputs = [self._project(y[None])[0] for y in recordings]
        return outputs if several else outputs[0]

    def transform(self, x):
        """What the units pass on: ``project(x)``, rectified (Eq. 10)."""
        z = self.project(x)
        return [self._rectify(part) for part in z] if isinstance(z, list) else self._rectify(z)

    @property
    def filters_(self):
        """The units' own filters."""
        check_is_fitted(self, "cca_")
        return self.cca_.filters_[[direction - 1 for direction, _ in self.units]]

    def _check_parameters(self):
        for name in ("memory", "horizon", "gap"):
            check_count(name, getattr(self, name))
        check_number("ridge", self.ridge, 0.0)
        check_flag("center", self.center)
        if len(self.units) == 0:
            raise ValueError("units must hold at least one unit, got none")
        for unit in self.units:
            if not isinstance(unit, (tuple, list)) or len(unit) != 2:
                raise ValueError(f"units must hold (direction, rectification), got {unit!r}")
            direction, rectification = unit
            check_count("direction", direction)
            _check_rectification(rectification)

    def _fit(self, x):
        covariance = None
        for batch in batches(x, None, self.memory + self.gap + self.horizon - 1):
            if covariance is None:
                channels = batch[0].shape[1]
                covariance = LagCovariance(self.memory, self.horizon, self.gap, channels)
            covariance.update(batch)
        return self._learn(covariance.blocks(self.center), covariance.means[0])

    def _learn(self, blocks, mean):
        # A constant input leaves only the rounding errors of its mean.
        floor = (4 * np.finfo(float).eps * np.abs(mean).max()) ** 2 if self.center else 0.0
        if min(blocks.past.diagonal().max(), blocks.future.diagonal().max()) <= floor:
            raise ValueError(
                "x must vary: it is constant, or the same in all windows, so it has no canonical "
                "directions"
            )
        cca = PastFutureCCA(self.memory, self.horizon, None, self.gap, self.ridge, self.center)
        cca.fit_covariance(*blocks)
        highest = max(direction for direction, _ in self.units)
        if highest > len(cca.filters_):
            raise ValueError(
                f"direction must be at most {len(cca.filters_)}, got {highest}: "
                "memory and horizon allow no more"
            )
        cca.mean_ = mean if self.center else np.zeros_like(mean)
        self.cca_ = cca
        return self

    def _project(self, stack):
        """Projections (n, n_times, n_units) of a stack of inputs (n, n_samples, n_channels)."""
        # Each direction once: the halves of one add up to it to the last bit.
        directions, which = np.unique([d for d, _ in self.units], return_inverse=True)
        filters = self.cca_.filters_[directions - 1].reshape(len(directions), -1, self.memory)
        z = convolve(stack, filters)
        z -= filters.reshape(len(filters), -1) @ self.cca_.mean_
        # No copy where there is nothing to copy.
        return z if np.array_equal(which, np.arange(len(directions))) else z[..., which]

    def _rectify(self, z):
        columns = [_rectify(z[..., i], kind) for i, (_, kind) in enumerate(self.units)]
        return np.stack(columns, axis=-1)


class ReSU(ReSULayer):
    """One rectified spectral unit: a layer of a single unit, with `direction` and `rectification`.

    Examples
    --------
    >>> x = np.random.default_rng(0).standard_normal(1000).cumsum()
    >>> on = ReSU(5, 5, direction=2, rectification="on").fit(x)
    >>> off = ReSU(5, 5, direction=2, rectification="off").fit(x)
    >>> bool(np.array_equal(on.transform(x) - off.transform(x), on.project(x)))
    True
    """

    def __init__(
        self, memory, horizon, direction=1, rectification="on", gap=1, ridge=0.0, center=True
    ):
        self.memory = memory
        self.horizon = horizon
        self.direction = direction
        self.rectification = rectification
        self.gap = gap
        self.ridge = ridge
        self.center = center

    @property
    def units(self):
        """The one unit, as a layer lists its own."""
        return (Unit(self.direction, self.rectification),)


class ReSUNetwork(TransformerMixin, BaseEstimator):
    """Layers of rectified spectral units, each learned from what the one below passes on.

    Parameters
    ----------
    layers : sequence of ReSULayer
        From the photoreceptors up. The first sees one pixel; all pixels have the same units.
    shifts : sequence of tuple of int, default ((26, 13, 0),)
        For each layer but the first, the pixels that it pools, from left to right: how many
        samples before the last of them each sees the scene. The default are three pixels, 13
        samples apart, and a scene that moves from left to right; (0, 13, 26) is one that moves
        from right to left.
    normalise : {"trace", None}, default "trace"
        While learning, divide each projection by its standard deviation over the recording. Over
        all of training that of a centred layer is 1 in any case.
    noise_std : float, default 0.01
        Standard deviation of the white noise on each projection, before it is rectified, with
        which the next layer learns to live. Independent between pixels.
    both_directions : bool, default False
        Learn from scenes that move either way: average the moments of both orders of the pixels.

    Attributes
    ----------
    layers_ : list of ReSULayer
        Learned copies of `layers`. Input channels of a pooling layer are ordered by pixel, from
        left to right, then by unit: L3 and L1 of the left pixel, of the centre, of the right.
    n_pixels_ : int
        Pixels that the network sees.

    Notes
    -----
    A pixel that sees the scene s samples earlier sees a lag of the same series: all moments that a
    pooling layer needs are lagged moments of one pixel's units, a `LagCovariance` with one channel
    per unit. The noise is averaged over exactly (`noisy_rectification`): it softens the rectifiers
    and adds its variance to the diagonals. So learning draws no random numbers.

    Signs are fixed by meaning above the first layer, too: the response to a step up of luminance
    that crosses the pixels as `shifts` says has a positive extremum.

    Examples
    --------
    >>> x = np.random.default_rng(0).standard_normal(5000).cumsum()
    >>> lamina = ReSULayer(20, 20, [L3, L1])
    >>> t4 = ReSULayer(1, 1, [T4], gap=5, center=False)
    >>> network = ReSUNetwork([lamina, t4], shifts=[(8, 4, 0)]).fit(x)
    >>> network.layers_[1].filters_.shape
    (1, 6, 1)
    """

    def __init__(
        self,
        layers,
        shifts=((26, 13, 0),),
        normalise="trace",
        noise_std=0.01,
        both_directions=False,
    ):
        self.layers = layers
        self.shifts = shifts
        self.normalise = normalise
        self.noise_std = noise_std
        self.both_directions = both_directions

    def fit(self, x, y=None):
        """Learn all layers from scans, one after another, batch by batch.

        Parameters
        ----------
        x : ndarray (n_samples,), or iterable of those
            What one pixel sees in the course of each scan. Iterated over once per layer: a list,
            or an object that yields the recordings anew each time, not a generator.

        Raises
        ------
        ValueError
            A parameter is out of range; a recording is too short, not finite, or constant though
            it is to be normalised.
        """
        self._check_parameters()
        if isinstance(x, Iterator) and len(self.layers) > 1:
            raise ValueError(
                "x must be iterable once per layer (a list, or an object with __iter__), "
                f"got {type(x).__name__}"
            )
        if isinstance(x, list | tuple | np.ndarray):
            x = check_recordings(x, 1, self._shortest())
        self.layers_ = [clone(layer) for layer in self.layers]
        self.layers_[0]._fit(x)
        for k in range(1, len(self.layers_)):
            self._fit_pooling_layer(k, x)
        return self

    def transform(self, x, rng=None):
        """Responses of the last layer's units.

        Parameters
        ----------
        x : ndarray (n_samples,) or (n_samples, n_pixels), or list of those
            A scan by one pixel, from which its neighbours' follow by `shifts`, or what each pixel
            sees, from left to right.
        rng : numpy.random.Generator or int, optional
            If given, noise of `noise_std` is added to each projection below the last layer.

        Returns
        -------
        ndarray (n_times, n_units), or list of those
            The last row belongs to the moment at which the last sample of `x` is seen.
        """
        inputs = self.inputs(x, rng)
        return self.layers_[-1].transform(inputs)

    def inputs(self, x, rng=None):
        """What the last layer receives, (n_times, n_channels); arguments as for `transform`."""
        check_is_fitted(self, "layers_")
        rng = None if rng is None else check_rng(rng)
        top = len(self.layers_) - 1
        several = isinstance(x, list | tuple)
        outputs = []
        for i, y in enumerate(x if several else [x]):
            name = f"x[{i}]" if several else "x"
            scanning = np.ndim(y) == 1
            y = check_array(name, y, (None,) if scanning else (None, self.n_pixels_))
            least = self._samples(top, scanning)
            if len(y) < least:
                raise ValueError(f"{name} must have at least {least} samples, got {len(y)}")
            stack = y[None, :, None] if scanning else y.T[:, :, None]
            outputs.append(self._receive(stack, top, scanning, rng)[0])
        return outputs if several else outputs[0]

    @property
    def n_pixels_(self):
        """Pixels that the network sees."""
        return 1 + sum(len(shifts) - 1 for shifts in self.shifts)

    def _check_parameters(self):
        for layer in self.layers:
            if not isinstance(layer, ReSULayer):
                raise ValueError(f"layers must be ReSULayer, got {type(layer).__name__}")
            layer._check_parameters()
        if len(self.layers) == 0 or len(self.shifts) != len(self.layers) - 1:
            raise ValueError(
                "layers must hold at least one, and shifts one tuple per layer but the first, "
                f"got {len(self.layers)} layers and {len(self.shifts)} tuples"
            )
        for shifts in self.shifts:
            if np.ndim(shifts) != 1 or len(shifts) == 0:
                raise ValueError(f"shifts must hold tuples of integers, got {shifts!r}")
            for shift in shifts:
                check_count("shifts", shift, 0)
        if self.normalise not in ("trace", None):
            raise ValueError(f"normalise must be 'trace' or None, got {self.normalise!r}")
        check_number("noise_std", self.noise_std, 0.0)
        check_flag("both_directions", self.both_directions)

    def _samples(self, k, scanning=True):
        """Samples that one output of layer k depends on."""
        reach = sum(max(shifts) - min(shifts) for shifts in self.shifts[:k])
        return 1 + sum(layer.memory - 1 for layer in self.layers[: k + 1]) + reach * scanning

    def _shortest(self):
        """Shortest recording that all layers can learn from."""
        ahead = (layer.gap + layer.horizon - 1 for layer in self.layers)
        return max(self._samples(k) + more for k, more in enumerate(ahead))

    def _receive(self, stack, k, scanning=True, rng=None):
        """Inputs of layer k from n scans by one pixel, or one recording of n pixels, (n, ., 1)."""
        for layer, shifts in zip(self.layers_[:k], self.shifts, strict=False):
            z = layer._project(stack)
            if scanning:
                starts = [shift - min(shifts) for shift in shifts]
                z = [z[:, start : z.shape[1] - max(starts) + start] for start in starts]
            else:
                z = [z[j : len(z) - len(shifts) + 1 + j] for j in range(len(shifts))]
            z = np.stack(z, axis=2)
            if rng is not None:
                z = z + self.noise_std * rng.standard_normal(z.shape)
            stack = layer._rectify(z).reshape(*z.shape[:2], -1)
        return stack

    def _noisy_outputs(self, k, stack):
        """What layer k passes on of n scans, (n, n_times, n_units), averaged over its noise.

        The second result is the noise's variance, summed over scans and times, (n_units,).
        """
        layer = self.layers_[k]
        z = layer._project(self._receive(stack, k))
        outputs, variances = np.empty(z.shape), np.empty(len(layer.units))
        for i, (_, kind) in enumerate(layer.units):
            trace = z[..., i]
            if self.normalise == "trace":
                rest = trace - trace.mean(axis=1, keepdims=True)
                spread = np.sqrt(np.einsum("ij,ij->i", rest, rest) / trace.shape[1])[:, None]
                if (spread <= 1e-9 * max(trace.max(), -trace.min())).any():
                    raise ValueError(
                        "x must vary within each recording that is to be normalised, got a "
                        "constant one: leave it out, or set normalise=None"
                    )
                trace /= spread
            outputs[..., i], variances[i] = noisy_rectification(trace, kind, self.noise_std)
        return outputs, variances

    def _fit_pooling_layer(self, k, x):
        layer, below = self.layers_[k], self.layers_[k - 1]
        shifts = np.asarray(self.shifts[k - 1])
        span = int(np.ptp(shifts)) + layer.memory + layer.gap + layer.horizon - 1
        covariance = LagCovariance(span - 1, 1, channels=len(below.units))
        noise, n_samples = np.zeros(len(below.units)), 0

        def outputs(batch):
            nonlocal noise, n_samples
            for stack in stacks(batch):
                z, variance = self._noisy_outputs(k - 1, stack)
                noise, n_samples = noise + variance, n_samples + z.shape[0] * z.shape[1]
                yield z

        for batch in batches(x, 1, self._shortest()):
            covariance.update_stacks(outputs(batch))
        # Solved with the pixels in the order of their shifts: to exchange pixels is to exchange
        # weights, to the last bit.
        order = np.argsort(shifts, kind="stable")
        directions = [shifts, shifts[::-1]] if self.both_directions else [shifts]
        moments = [pooled_moments(covariance, layer, taps[order]) for taps in directions]
        past, cross, future, mean = (
            sum(parts) / len(parts) for parts in zip(*moments, strict=True)
        )
        variances = np.tile(noise / n_samples, len(shifts))
        past += np.diag(np.repeat(variances, layer.memory))
        future += np.diag(np.repeat(variances, layer.horizon))
        layer._learn(LagBlocks(past, cross, future), mean)
        _order_pixels(layer.cca_, np.argsort(order))
        rise = np.zeros((1, 2 * self._samples(k), 1))
        rise[:, self._samples(k) :] = 1.0
        _make_positive(layer.cca_, self._receive(rise, k))


def _order_pixels(cca, order):
    """Reorder the pixels of directions whose channels are ordered by pixel, then by unit."""
    for name in ("filters_", "future_filters_"):
        filters = getattr(cca, name)
        by_pixel = filters.reshape(len(filters), len(order), -1)[:, order]
        setattr(cca, name, by_pixel.reshape(filters.shape))
    cca.mean_ = cca.mean_.reshape(len(order), -1)[order].ravel()


def _make_positive(cca, stack):
    """Give each direction the sign that makes its response to `stack` have a positive extremum."""
    response = convolve(stack, cca.filters_.reshape(len(cca.filters_), -1, cca.memory))[0]
    response -= response[0]
    extremum = np.take_along_axis(response, np.abs(response).argmax(axis=0)[None], axis=0)[0]
    sign = np.where(extremum < 0, -1.0, 1.0).reshape(-1, *[1] * (cca.filters_.ndim - 1))
    cca.filters_ *= sign
    cca.future_filters_ *= sign

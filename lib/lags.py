"""Exact second moments of past and future lag vectors, without building them.

A window at time t pairs the past p(t) = [y(t), y(t-1), ..., y(t-m+1)] with the future
f(t) = [y(t+g), ..., y(t+g+h-1)] (Qin et al., Eq. 3, with a gap g; theirs is 1). Their joint second
moment is almost Toeplitz: one step down a diagonal drops one product at the start of the series
and gains one at its end. So products of samples, summed over windows along diagonals, determine it
exactly, and no matrix of lag vectors is needed.
"""

from typing import NamedTuple

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from lib._checks import LARGEST, SMALLEST, check_array, check_count, check_flag, check_recordings
from lib._stacks import LagSums, restacked, stacks

# Samples that are searched at a time for one that is not finite.
_CHUNK = 1 << 16
# Variances over second moments that rounding errors of the latter reach.
_ROUNDING = 1024 * np.finfo(float).eps


class LagBlocks(NamedTuple):
    """Second moments of the past, of future with past, and of the future.

    Attributes
    ----------
    past : ndarray (channels * memory, channels * memory)
        C_pp = E[p pᵀ].
    cross : ndarray (channels * horizon, channels * memory)
        C_fp = E[f pᵀ].
    future : ndarray (channels * horizon, channels * horizon)
        C_ff = E[f fᵀ].
    """

    past: np.ndarray
    cross: np.ndarray
    future: np.ndarray


class LagCovariance:
    """Second moments of past and future lag vectors, accumulated over recordings (float64).

    Parameters
    ----------
    memory : int
        m, samples in a past lag vector.
    horizon : int
        h, samples in a future lag vector.
    gap : int, default 1
        g, samples from the newest past sample to the first future one.
    channels : int, default 1
        Number of channels of every recording.

    Attributes
    ----------
    n_windows : int
        Pairs of past and future seen so far.
    past, cross, future : ndarray
        E[p pᵀ], E[f pᵀ], E[f fᵀ]: means over windows, not centred. Lag vectors are ordered by
        channel, then by lag: entry ``c * memory + k`` of p is y_c(t-k), entry ``c * horizon + j``
        of f is y_c(t+gap+j).

    Notes
    -----
    Sums are kept of the series minus its first chunk's mean, so that a large offset costs no
    precision; ``blocks(center=True)`` never sees the offset at all.

    Examples
    --------
    >>> covariance = LagCovariance(memory=2, horizon=1).update(np.array([1.0, 2.0, 3.0, 4.0]))
    >>> covariance.n_windows, covariance.past.tolist(), covariance.cross.tolist()
    (2, [[6.5, 4.0], [4.0, 2.5]], [[9.0, 5.5]])
    """

    def __init__(self, memory, horizon, gap=1, channels=1):
        self.memory = check_count("memory", memory)
        self.horizon = check_count("horizon", horizon)
        self.gap = check_count("gap", gap)
        self.channels = check_count("channels", channels)
        self.n_windows = 0
        self._span = self.memory + self.gap + self.horizon - 1
        self._shift = None
        # Joint moment and sum of the windows u_s = y(t-m+1+s) - shift, oldest sample first.
        self._moment = np.zeros((self._span, self.channels, self._span, self.channels))
        self._sum = np.zeros((self._span, self.channels))

    def update(self, x):
        """Add a recording, or a list of recordings. Windows never straddle two of them.

        Parameters
        ----------
        x : ndarray (n_samples,) or (n_samples, channels), or list of those
            Any real dtype; memory maps are read piece by piece.

        Returns
        -------
        LagCovariance
            Itself.

        Raises
        ------
        ValueError
            A recording is too short for one window, not finite, or has another number of
            channels. Nothing is added then.
        """
        recordings = check_recordings(x, self.channels, self._span)
        return self._absorb(stacks(recordings, self._span), recordings)

    def update_stacks(self, arrays):
        """Add recordings that come as stacks, such as those of `lib._stacks`, with little overhead.

        Parameters
        ----------
        arrays : iterable of ndarray (n, n_samples, channels)
            Float64; each is n recordings of one length, and is overwritten.

        Raises
        ------
        ValueError
            A sample, or its square, is not finite. Nothing is added then.
        """
        return self._absorb(restacked(self._checked(arrays), self._span))

    def _checked(self, arrays):
        for i, array in enumerate(arrays):
            if not isinstance(array, np.ndarray) or isinstance(array, np.ma.MaskedArray):
                raise ValueError(f"arrays[{i}] must be an ndarray, got {type(array).__name__}")
            if array.dtype.str[1:] != "f8" or array.ndim != 3:
                got = f"{array.dtype} of shape {array.shape}"
                raise ValueError(f"arrays[{i}] must be float64 with three axes, got {got}")
            n, n_samples, channels = array.shape
            if n == 0 or n_samples < self._span or channels != self.channels:
                raise ValueError(
                    f"arrays[{i}] must have shape (n >= 1, n_samples >= {self._span}, "
                    f"{self.channels}), got {array.shape}"
                )
            yield array

    def __add__(self, other):
        """Moments of both parts' recordings together."""
        if not isinstance(other, LagCovariance):
            return NotImplemented
        if self._geometry != other._geometry:
            raise ValueError(
                "parts to add must agree in (memory, horizon, gap, channels), "
                f"got {self._geometry} and {other._geometry}"
            )
        merged = LagCovariance(*self._geometry)
        merged.n_windows = self.n_windows + other.n_windows
        merged._shift = other._shift if self._shift is None else self._shift
        for part in (self, other):
            if part.n_windows:
                offset = np.broadcast_to(part._shift - merged._shift, self._sum.shape)
                merged._moment += part._moment + _shift_terms(part, offset)
                merged._sum += part._sum + part.n_windows * offset
        return merged

    def __radd__(self, other):
        """Let ``sum(parts)`` start from its 0."""
        return self if isinstance(other, int) and other == 0 else NotImplemented

    @property
    def _geometry(self):
        return self.memory, self.horizon, self.gap, self.channels

    @property
    def past(self):
        """E[p pᵀ] (channels * memory,)*2, not centred."""
        return self.blocks(center=False).past

    @property
    def cross(self):
        """E[f pᵀ] (channels * horizon, channels * memory), not centred."""
        return self.blocks(center=False).cross

    @property
    def future(self):
        """E[f fᵀ] (channels * horizon,)*2, not centred."""
        return self.blocks(center=False).future

    @property
    def means(self):
        """Mean past (channels * memory,) and mean future (channels * horizon,) lag vector."""
        self._require_windows()
        mean = self._sum / self.n_windows + self._shift
        past, future = self._lags
        return mean[past].T.ravel(), mean[future].T.ravel()

    def blocks(self, center=True):
        """Second moments per window, centred on the mean lag vectors or not.

        Returns
        -------
        LagBlocks
        """
        center = check_flag("center", center)
        self._require_windows()
        if center:
            moment = self._moment - np.multiply.outer(self._sum, self._sum) / self.n_windows
            # A lag that does not vary leaves only rounding errors, of either sign, of the squares
            # of its channel.
            squares = np.einsum("scsc->sc", self._moment).max(axis=0)
            kept = np.einsum("scsc->sc", moment) > _ROUNDING * squares
            moment[~kept] = 0
            moment[:, :, ~kept] = 0
        else:
            offset = np.broadcast_to(self._shift, self._sum.shape)
            moment = self._moment + _shift_terms(self, offset)
        moment = moment / self.n_windows
        past, future = self._lags

        def block(rows, columns):
            part = moment[rows][:, :, columns].transpose(1, 0, 3, 2)
            return part.reshape(part.shape[0] * part.shape[1], -1)

        return LagBlocks(block(past, past), block(future, past), block(future, future))

    @property
    def _lags(self):
        """Positions of the past's lags (newest first) and the future's within a window."""
        newest = self.memory - 1
        return np.arange(newest, -1, -1), newest + self.gap + np.arange(self.horizon)

    def _require_windows(self):
        if not self.n_windows:
            raise ValueError("LagCovariance holds no windows yet: call update(x) first")

    def _absorb(self, arrays, recordings=()):
        sums = LagSums(self._span, self.channels, self._shift)
        for array in arrays:
            sums.add(array)
        moment, total = sums.over_windows()
        spread = moment.max() / max(sums.n_windows, 1)
        large = not np.isfinite(moment).all() or np.abs(sums.shift).max() > LARGEST
        if large or spread < SMALLEST**2:
            _explain(recordings, large)
        self._shift = sums.shift
        self._moment += moment
        self._sum += total
        self.n_windows += sums.n_windows
        return self


def _explain(recordings, large):
    """Raise the error for recordings whose moments are not finite, or vanish by rounding."""
    if not large:
        if any(np.ptp(y) > 0 for y in recordings):
            raise ValueError(
                f"x must vary by {SMALLEST} or more, or not at all: its squares vanish"
            )
        return
    for i, y in enumerate(recordings):
        name = f"x[{i}]" if len(recordings) > 1 else "x"
        for start in range(0, len(y), _CHUNK):
            wrong = np.argwhere(~np.isfinite(y[start : start + _CHUNK]))
            if len(wrong):
                t, channel = start + int(wrong[0, 0]), int(wrong[0, 1])
                raise ValueError(
                    f"{name} must be finite, got {y[t, channel]} at index {(t, channel)}"
                )
    name = "x" if recordings else "arrays"
    raise ValueError(
        f"{name} must be finite, and small enough for its squares to be so in float64: up to "
        f"{LARGEST}"
    )


def _shift_terms(part, offset):
    """What the sum of u uᵀ gains when `offset` (span, channels) is added to every window u."""
    crossed = np.multiply.outer(part._sum, offset)
    constant = part.n_windows * np.multiply.outer(offset, offset)
    return crossed + crossed.transpose(2, 3, 0, 1) + constant


def lag_vectors(x, memory, horizon, gap=1):
    """Past and future lag vectors as dense matrices (Qin et al., Eq. 3): the slow, plain way.

    Parameters
    ----------
    x : ndarray (n_samples,) or (n_samples, n_channels), or list of those
        One recording or several; windows never straddle two.
    memory, horizon, gap : int
        As in `LagCovariance`.

    Returns
    -------
    past : ndarray (n_windows, n_channels * memory)
        ``past[:, k]`` is y(t-k): the newest sample comes first.
    future : ndarray (n_windows, n_channels * horizon)
        ``future[:, j]`` is y(t+gap+j).

    Examples
    --------
    >>> past, future = lag_vectors(np.arange(5), memory=2, horizon=1)
    >>> past.tolist(), future.tolist()
    ([[1.0, 0.0], [2.0, 1.0], [3.0, 2.0]], [[2.0], [3.0], [4.0]])
    """
    geometry = LagCovariance(memory, horizon, gap)
    recordings = check_recordings(x, min_samples=geometry._span)
    recordings = [check_array("x", y) for y in recordings]
    windows = np.concatenate([sliding_window_view(y, geometry._span, axis=0) for y in recordings])
    past, future = geometry._lags
    return windows[:, :, past].reshape(len(windows), -1), windows[:, :, future].reshape(
        len(windows), -1
    )

"""Exact second moments of past and future lag vectors, without building them.

A window at time t pairs the past p(t) = [y(t), y(t-1), ..., y(t-m+1)] with the future
f(t) = [y(t+g), ..., y(t+g+h-1)] (Qin et al., Eq. 3, with a gap g; theirs is 1). Their joint second
moment is almost Toeplitz: one step down a diagonal drops one product at the start of the series
and gains one at its end. So the autocorrelation sums (its first row) and the two edges determine
it exactly, and no matrix of lag vectors is needed.
"""

from typing import NamedTuple

import numpy as np
from numpy.lib.stride_tricks import as_strided, sliding_window_view

from lib._checks import check_array, check_count, check_recordings

# Samples handled at a time: the working buffer stays in the processor's cache.
_CHUNK = 1 << 16
# Columns and rows of the blocks whose products hold the autocorrelation sums. So small a product
# runs on one thread in any BLAS: the result does not depend on the number of threads, and there is
# no waiting for one another on a busy machine.
_COLUMNS, _ROWS = 32, 256


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
        with np.errstate(all="ignore"):
            shift = self._shift
            if shift is None:
                shift = recordings[0][:_CHUNK].mean(axis=0, dtype=np.float64)
            total = np.zeros(self.channels)
            row = self._autocorrelation_sums(recordings, shift, total)
            heads, tails = self._edges(recordings, shift)
            moment = _fill_diagonals(row, *heads[:1], *tails[:1])
        if not np.isfinite(moment).all():
            self._explain(recordings)
        self._shift = shift
        self._moment += moment
        zero = np.zeros((1, self.channels))
        before = np.concatenate([zero, heads[1]]).cumsum(axis=0)
        after = np.concatenate([tails[1], zero])[::-1].cumsum(axis=0)[::-1]
        self._sum += total - before - after
        self.n_windows += sum(len(y) - self._span + 1 for y in recordings)
        return self

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
        self._require_windows()
        if center:
            moment = self._moment - np.multiply.outer(self._sum, self._sum) / self.n_windows
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

    def _autocorrelation_sums(self, recordings, shift, total):
        """Σ_i y_a(i) y_b(i+d) within each recording, (span, channels, channels).

        The series is cut into rows of `width` samples. The product of the rows with the rows that
        follow them holds every lagged product, as sums along diagonals. Short recordings share a
        buffer, separated by zeros. Adds the sum of all samples to `total`.
        """
        span, channels = self._span, self.channels
        width = max(_COLUMNS // channels, 4)
        reach = -(-(width + span - 1) // width)  # rows that one row's lags extend over
        tile = _ROWS * width
        chunk = (max(_CHUNK // channels, span) // tile + 1) * tile
        buffer = np.zeros((chunk + (reach + 1) * width, channels))
        sums = np.zeros((span, channels, channels))

        def flush(n):
            n_rows = -(-n // tile) * _ROWS
            rows = buffer[: (n_rows + reach) * width].reshape(-1, width * channels)
            here = rows[:n_rows].reshape(-1, _ROWS, width * channels)
            products = np.concatenate(
                [
                    (here.mT @ rows[j : j + n_rows].reshape(here.shape))
                    .sum(axis=0)
                    .reshape(width, channels, width, channels)
                    for j in range(reach)
                ],
                axis=2,
            )
            for i in range(width):
                sums[:] += products[i, :, i : i + span].transpose(1, 0, 2)
            total[:] += here.reshape(-1, channels).sum(axis=0)
            buffer[: n_rows * width + span] = 0.0

        filled = 0
        for y in recordings:
            start = 0
            if filled and filled + len(y) > chunk:
                flush(min(filled, chunk))
                filled = 0
            while len(y) - start > chunk:
                piece = y[start : start + chunk + span - 1]
                np.subtract(piece, shift, out=buffer[: len(piece)])
                flush(chunk)
                start += chunk
            np.subtract(y[start:], shift, out=buffer[filled : filled + len(y) - start])
            filled += len(y) - start + span - 1
            if filled > chunk:
                flush(min(filled, chunk))
                filled = 0
        if filled:
            flush(min(filled, chunk))
        return sums

    def _edges(self, recordings, shift):
        """Second moment and sum of each recording's first and last span-1 samples."""
        edge, channels = self._span - 1, self.channels
        results = []
        for cut in (slice(None, edge), slice(-edge, None) if edge else slice(0, 0)):
            moment = np.zeros((edge * channels, edge * channels))
            total = np.zeros((edge, channels))
            for first in range(0, len(recordings), 256):
                ends = np.stack([y[cut] for y in recordings[first : first + 256]]) - shift
                total += ends.sum(axis=0)
                ends = ends.reshape(len(ends), -1)
                moment += ends.T @ ends
            results.append((moment.reshape(edge, channels, edge, channels), total))
        return results

    def _explain(self, recordings):
        """Raise the error for moments that are not finite."""
        for i, y in enumerate(recordings):
            name = f"x[{i}]" if len(recordings) > 1 else "x"
            for start in range(0, len(y), _CHUNK):
                wrong = np.argwhere(~np.isfinite(y[start : start + _CHUNK]))
                if len(wrong):
                    t, channel = start + int(wrong[0, 0]), int(wrong[0, 1])
                    raise ValueError(
                        f"{name} must be finite, got {y[t, channel]} at index {(t, channel)}"
                    )
        raise ValueError("x must be small enough for its squares to be finite in float64")


def _shift_terms(part, offset):
    """What the sum of u uᵀ gains when `offset` (span, channels) is added to every window u."""
    crossed = np.multiply.outer(part._sum, offset)
    constant = part.n_windows * np.multiply.outer(offset, offset)
    return crossed + crossed.transpose(2, 3, 0, 1) + constant


def _fill_diagonals(row, heads, tails):
    """Joint moment (span, c, span, c) of all windows from its first row and the edges.

    Entry (s, s+d) is the sum over the whole recording at lag d, less the products that start
    before sample s and those that start so late that the window would not fit.
    """
    span, channels = row.shape[0], row.shape[1]
    skewed = np.broadcast_to(row, (span, *row.shape)).copy()
    if span > 1:
        skewed[1:] -= _diagonals(heads, span).cumsum(axis=0)
        skewed[:-1] -= _diagonals(tails, span)[::-1].cumsum(axis=0)[::-1]
    padded = np.zeros((span, 2 * span, channels, channels))
    _skew(padded, span)[:] = skewed
    upper = padded[:, :span].transpose(0, 2, 1, 3)
    moment = np.triu(np.ones((span, span), dtype=bool))[:, None, :, None] * upper
    strictly = np.triu(np.ones((span, span), dtype=bool), 1)[:, None, :, None] * upper
    return moment + strictly.transpose(2, 3, 0, 1)


def _diagonals(moment, span):
    """Entries (i, i+d) of an edge's moment as an array (span-1, span, c, c), zero outside."""
    edge, channels = moment.shape[0], moment.shape[1]
    padded = np.zeros((edge, 2 * span, channels, channels))
    padded[:, :edge] = moment.transpose(0, 2, 1, 3)
    return _skew(padded, span)


def _skew(padded, span):
    """View of a (rows, 2 * span, c, c) array whose entry (i, d) is the array's (i, i + d)."""
    along, across, *rest = padded.strides
    shape = (padded.shape[0], span, *padded.shape[2:])
    return as_strided(padded, shape, (along + across, across, *rest))


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

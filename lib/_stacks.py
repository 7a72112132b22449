"""Recordings of equal length as stacks (n, n_samples, n_channels): streams, lag sums, filters.

What is done recording by recording costs more in Python than in arithmetic where recordings are as
short as scans of photographs. So they are handled some 10⁵ samples at a time, which also stay in
the processor's cache on their way from one step to the next.
"""

from collections.abc import Iterable
from itertools import pairwise
from math import isqrt

import numpy as np
from numpy.lib.stride_tricks import as_strided, sliding_window_view

from lib._checks import check_recordings

# Samples of recordings that are learned from together; samples and recordings of a stack.
_BATCH, _STACK, _ROWS = 1 << 20, 1 << 16, 170
# Samples of one piece of a long recording; different lengths that are kept apart.
_PIECE, _LENGTHS = 1024, 16
# Columns of a block of a stack, columns that it is multiplied with, and outputs of one block of a
# filter: small products are fastest if they are of these shapes.
_BLOCK, _WIDTH, _TIMES = 12, 128, 8
# Multiplications that a product may take to run on one thread in any BLAS: the result does not
# depend on the number of threads, and there is no waiting for one another on a busy machine.
_PRODUCT = 1 << 18


def batches(x, channels, min_samples):
    """Lists of checked recordings (n_samples, n_channels).

    A list, or a series alone, is one batch. Another iterable is never held as a whole: its batches
    have some 10⁶ samples.
    """
    if isinstance(x, list | tuple | np.ndarray):
        yield check_recordings(x, channels, min_samples)
        return
    if not isinstance(x, Iterable):
        raise ValueError(f"x must be a recording or an iterable of them, got {type(x).__name__}")
    batch, n_samples, i = [], 0, -1
    for i, y in enumerate(x):
        batch += check_recordings([y], channels, min_samples, first=i)
        channels = batch[-1].shape[1]
        n_samples += len(y)
        if n_samples >= _BATCH:
            yield batch
            batch, n_samples = [], 0
    if batch:
        yield batch
    elif i < 0:
        raise ValueError("x must hold at least one recording, got none")


def stacks(recordings, span=None):
    """Recordings (n_samples, n_channels), sorted by length, as new float64 arrays.

    With `span`, long ones are cut, such that each window of `span` samples lies in one piece.
    """
    by_length, waiting = {}, {}
    for y in recordings:
        by_length.setdefault(len(y), []).append(y)
    for n_samples, group in by_length.items():
        channels = group[0].shape[1]
        cuts = [(0, n_samples)]
        if span is not None:
            cuts = _cuts(n_samples, span, channels, len(by_length) > _LENGTHS)
        for start, end in cuts:
            length = end - start
            pieces = waiting.setdefault(length, [])
            pieces += group if length == n_samples else [y[start:end] for y in group]
            n = max(-(-_STACK // (length * channels)), 1 if span is None else _ROWS)
            while len(pieces) >= n:
                yield _stack(pieces[:n])
                del pieces[:n]
    yield from (_stack(pieces) for pieces in waiting.values() if pieces)


def restacked(arrays, span):
    """Stacks of whole recordings as stacks in which long recordings are cut."""
    for array in arrays:
        if array.shape[1] - span < _PIECE:
            yield array
        else:
            yield from stacks(array, span)


def _cuts(n_samples, span, channels, many):
    """Bounds of pieces, such that each window lies in one: the longer, the fewer samples in two.

    Where recordings have `many` lengths, there would be few pieces of each. So what is left of a
    recording is cut once more, into a round number of windows and some more windows.
    """
    n_windows = n_samples - span + 1
    step = max(4 * span, _PIECE // channels)
    starts = [*range(0, n_windows, step), n_windows]
    left, few = n_windows - starts[-2], n_windows % step % isqrt(step)
    if many and 0 < few < left:
        starts.insert(-1, n_windows - few)
    return [(start, end + span - 1) for start, end in pairwise(starts)]


def _stack(group):
    return np.concatenate(group, dtype=np.float64).reshape(len(group), *group[0].shape)


class LagSums:
    """Second moments of all windows of `span` samples, summed over stacks of recordings.

    Attributes
    ----------
    shift : ndarray (channels,)
        What is subtracted from all samples: the first stack's mean, if not given.
    n_windows : int
        Windows seen so far.
    """

    def __init__(self, span, channels, shift=None):
        self.span, self.channels, self.shift = span, channels, shift
        self.n_windows = 0
        self._bands = {}
        self._diagonals = np.zeros((span, span, channels, channels))
        self._total = np.zeros((span, channels))

    @np.errstate(all="ignore")
    def add(self, stack):
        """Add a stack (n, n_samples, channels), which is overwritten."""
        n, n_samples, _ = stack.shape
        if self.shift is None:
            self.shift = stack.mean(axis=(0, 1))
        stack = stack.reshape(n, -1)
        stack -= np.tile(self.shift, n_samples)
        if n_samples not in self._bands:
            if len(self._bands) == _LENGTHS:
                self._fold()
            self._bands[n_samples] = _Band(n_samples, self.span, self.channels)
        self._bands[n_samples].add(stack)
        self.n_windows += n * (n_samples - self.span + 1)

    @np.errstate(all="ignore")
    def over_windows(self):
        """Σ u uᵀ (span, channels, span, channels) and Σ u (span, channels) over windows u."""
        self._fold()
        padded = np.zeros((self.span, 2 * self.span, self.channels, self.channels))
        along, across, *rest = padded.strides
        as_strided(padded, self._diagonals.shape, (along + across, across, *rest))[:] = (
            self._diagonals
        )
        upper = padded[:, : self.span].swapaxes(1, 2).reshape(self.span * self.channels, -1)
        joint = np.triu(upper) + np.triu(upper, 1).T
        return joint.reshape(*self._total.shape, *self._total.shape), self._total

    def _fold(self):
        for band in self._bands.values():
            diagonals, total = band.over_windows()
            self._diagonals += diagonals
            self._total += total
        self._bands.clear()


class _Band:
    """A band of the Gram matrix of a stack's columns: products of samples less than `span` apart.

    Summed over recordings of one length, by products of blocks of columns.
    """

    def __init__(self, n_samples, span, channels):
        self._n_samples, self._span, self._channels = n_samples, span, channels
        self._block = max(_BLOCK // channels, 1)
        height, width = self._block * channels, (self._block + span - 1) * channels
        self._products = np.zeros((-(-n_samples // self._block), height, width))
        self._total = np.zeros(n_samples * channels)

    def add(self, stack):
        """Add a stack (n, n_samples * channels)."""
        _, height, width = self._products.shape
        across = -(-width // -(-width // _WIDTH))
        n_whole = max((stack.shape[1] - width) // height + 1, 0)
        whole, rest = self._products[:n_whole], self._products[n_whole:]
        for rows in np.array_split(stack, -(-len(stack) * height * across // _PRODUCT)):
            if n_whole:
                blocks = sliding_window_view(rows, width, axis=1)[:, ::height].swapaxes(0, 1)
                here = blocks[:, :, :height].mT
                for lag in range(0, width, across):
                    there = slice(lag, lag + across)
                    whole[:, :, there] += here @ blocks[:, :, there]
            # Blocks near the end, where lags reach beyond it.
            for i, product in enumerate(rest, n_whole):
                block = rows[:, i * height :]
                here = block[:, :height].T
                for lag in range(0, block.shape[1], across):
                    there = block[:, lag : lag + across]
                    product[: len(here), lag : lag + there.shape[1]] += here @ there
        self._total += stack.sum(axis=0)

    def over_windows(self):
        """Sums of u_s u_(s+d)ᵀ (span, span, channels, channels) and of u_s over all windows u.

        All products at a lag are summed, but those that start before sample s, or so late that
        the window would not fit.
        """
        last = self._n_samples - self._span + 1
        totals = self._total.reshape(-1, self._channels)
        every = self._diagonals(self._products.sum(axis=0, keepdims=True)).sum(axis=0)
        some = -(-self._span // self._block)
        early = self._diagonals(self._products[:some])[: self._span - 1]
        late = self._diagonals(self._products[last // self._block :])
        late = late[last % self._block :][: self._span - 1]
        return (
            every - _sums_before(early) - _sums_before(late[::-1])[::-1],
            totals.sum(axis=0)
            - _sums_before(totals[: self._span - 1])
            - _sums_before(totals[last:][::-1])[::-1],
        )

    def _diagonals(self, products):
        """Entry (i, d, a, b) is Σ y_a(i) y_b(i + d), i counted from the first block's start."""
        n_blocks, block, channels = len(products), self._block, self._channels
        products = products.reshape(n_blocks, block, channels, -1, channels)
        blocks, time, left, lag, right = products.strides
        shape = (n_blocks, block, self._span, channels, channels)
        skewed = as_strided(products, shape, (blocks, time + lag, lag, left, right))
        return skewed.reshape(-1, *shape[2:])


def _sums_before(values):
    """Sums of the first 0, 1, ..., n entries."""
    sums = np.zeros((len(values) + 1, *values.shape[1:]))
    np.cumsum(values, axis=0, out=sums[1:])
    return sums


def convolve(stack, filters):
    """Σ_c Σ_k filters[i, c, k] stack[n, t + memory - 1 - k, c] for each n, t and i.

    As products of blocks of the stack's columns with a banded matrix. The result, (n, n_times,
    n_filters), is a view of one contiguous array for each filter.
    """
    n, n_samples, channels = stack.shape
    n_filters, _, memory = filters.shape
    n_times = n_samples - memory + 1
    # A single recording is cut, so that there are rows to multiply.
    n_each = max(min(n * n_times // 32, _PIECE) // _TIMES, 1) * _TIMES
    n_each = min(n_times, n_each)
    n_pieces = -(-n_times // n_each)
    if n_pieces > 1:
        padded = np.zeros((n, n_pieces * n_each + memory - 1, channels))
        padded[:, :n_samples] = stack
        stack = sliding_window_view(padded, n_each + memory - 1, axis=1)[:, ::n_each].swapaxes(2, 3)
    rows = stack.reshape(n * n_pieces, -1)
    banded = _banded(filters)
    planes = np.empty((n_filters, len(rows), n_each))
    whole = n_each - n_each % _TIMES
    if whole:
        blocks = sliding_window_view(rows, banded.shape[1], axis=1)[:, :: _TIMES * channels]
        blocks = blocks.swapaxes(0, 1)
    left = rows[:, whole * channels :]
    height = max(_PRODUCT // banded[0].size, 1)
    for first in range(0, len(rows), height):
        some = slice(first, first + height)
        for plane, matrix in zip(planes[:, some], banded, strict=True):
            if whole:
                out = plane[:, :whole].reshape(len(plane), -1, _TIMES).swapaxes(0, 1)
                np.matmul(blocks[:, some], matrix, out=out)
            if whole < n_each:
                matrix = matrix[: left.shape[1], : n_each - whole]
                np.matmul(left[some], matrix, out=plane[:, whole:])
    return np.moveaxis(planes.reshape(n_filters, n, -1)[:, :, :n_times], 0, 2)


def _banded(filters):
    """Matrices (n_filters, samples * channels, _TIMES): each yields some outputs of a filter."""
    n_filters, channels, memory = filters.shape
    matrices = np.zeros((n_filters, _TIMES + memory - 1, channels, _TIMES))
    for t in range(_TIMES):
        matrices[:, t : t + memory, :, t] = filters[:, :, ::-1].swapaxes(1, 2)
    return matrices.reshape(n_filters, -1, _TIMES)


def pooled_moments(covariance, layer, shifts):
    """C_pp, C_fp, C_ff and the mean past of pixels pooled at `shifts`, from one pixel's lags.

    Channels are ordered by pixel, then by unit. Lag 0 is the newest sample of all.
    """
    units = covariance.channels
    past, cross, future = covariance.blocks(layer.center)
    joint = np.block([[future, cross], [cross.T, past]])
    means = np.concatenate(covariance.means[::-1])
    newest = (shifts.max() - shifts)[:, None, None] + layer.horizon - 1

    def places(lags):
        unit = np.arange(units)[:, None]
        return np.where(lags == 0, unit, units + unit * covariance.memory + lags - 1).ravel()

    p = places(newest + layer.gap + np.arange(layer.memory))
    f = places(newest - np.arange(layer.horizon))
    return joint[np.ix_(p, p)], joint[np.ix_(f, p)], joint[np.ix_(f, f)], means[p]

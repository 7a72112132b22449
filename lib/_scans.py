"""Streams of recordings for `lib.resu`: in batches, as stacks, filtered, and pooled over pixels."""

from collections.abc import Iterable

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from lib._checks import check_recordings

# Samples of short recordings that are handled together while learning.
_BATCH = 1 << 17
# Output samples that one row of the banded filter matrix yields, and multiplications that a product
# may take to run on one thread in any BLAS: the result does not depend on the number of threads.
_BLOCK, _PRODUCT = 16, 1 << 18


def batches(x):
    """Lists of recordings of some 10⁵ samples in all."""
    if isinstance(x, np.ndarray):
        x = [x]
    if not isinstance(x, Iterable):
        raise ValueError(f"x must be a recording or an iterable of them, got {type(x).__name__}")
    batch, n_samples, n_batches = [], 0, 0
    for y in x:
        batch.append(y)
        n_samples += len(y)
        if n_samples >= _BATCH:
            yield batch
            batch, n_samples, n_batches = [], 0, n_batches + 1
    if batch:
        yield batch
    elif n_batches == 0:
        raise ValueError("x must hold at least one recording, got none")


def stacks(x, min_samples):
    """Arrays (n, n_samples, 1) of n recordings of equal length, none shorter than min_samples."""
    for batch in batches(x):
        by_length = {}
        for y in batch:
            by_length.setdefault(len(y), []).append(y)
        for n_samples, group in by_length.items():
            check_recordings(group[:1], 1, min_samples)
            yield np.array(group, dtype=np.float64).reshape(-1, n_samples, 1)


def convolve(stack, filters):
    """Σ_c Σ_k filters[i, c, k] stack[n, t + memory - 1 - k, c] for each n, t and i.

    As one product of overlapping stretches of the input with a banded matrix.
    """
    n_filters, channels, memory = filters.shape
    n_times = stack.shape[1] - memory + 1
    block = min(_BLOCK, n_times)
    n_blocks, length = -(-n_times // block), block + memory - 1
    padded = np.zeros((len(stack), n_blocks * block + memory - 1, channels))
    padded[:, : stack.shape[1]] = stack
    width, n_rows = channels * length, len(stack) * n_blocks
    height = max(_PRODUCT // (width * block * n_filters), 1)
    rows = np.zeros((-(-n_rows // height) * height, width))
    by_stretch = rows[:n_rows].reshape(len(stack), n_blocks, channels, length)
    by_stretch[:] = sliding_window_view(padded, length, axis=1)[:, ::block]
    banded = np.zeros((channels, length, block, n_filters))
    for t in range(block):
        banded[:, t : t + memory, t] = filters[:, :, ::-1].transpose(1, 2, 0)
    product = rows.reshape(-1, height, width) @ banded.reshape(width, -1)
    product = product.reshape(-1, block * n_filters)[:n_rows]
    return product.reshape(len(stack), -1, n_filters)[:, :n_times]


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

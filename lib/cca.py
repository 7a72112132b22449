"""Past–future canonical correlation analysis, its two rivals, and the information they keep.

Equations are those of Qin et al.; the rivals are from Arun & Kung (1990). All in float64,
information in nats.
"""

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils.validation import check_is_fitted

from lib._checks import check_array, check_count, check_flag, check_number, check_recordings
from lib.lags import LagBlocks, LagCovariance

_CHUNK = 1 << 14


class PastFutureCCA(TransformerMixin, BaseEstimator):
    """Projections of the past that keep the most information about the future (Eqs. 5–8).

    The whitened cross-covariance C_ff^(-½) C_fp C_pp^(-½) = U Σ Vᵀ gives filters Ψ = Vᵀ C_pp^(-½)
    of the past and Φ = Uᵀ C_ff^(-½) of the future; Σ holds the canonical correlations.

    Parameters
    ----------
    memory : int
        m, samples in a past lag vector.
    horizon : int
        h, samples in a future lag vector.
    rank : int, optional
        Number of filters kept; all of them if not given.
    gap : int, default 1
        Samples from the newest past sample to the first future one.
    ridge : float, default 0
        Added to the diagonals of C_pp and C_ff, relative to the mean variance of each.
    center : bool, default True
        Subtract the mean lag vectors.

    Attributes
    ----------
    correlations_ : ndarray (min(memory, horizon) * n_channels,)
        Canonical correlations, descending, in [0, 1].
    filters_ : ndarray (rank, memory) or (rank, n_channels, memory)
        Ψ: ``filters_[i, k]`` multiplies y(t-k). The second form if there are several channels.
    future_filters_ : ndarray (rank, horizon) or (rank, n_channels, horizon)
        Φ: ``future_filters_[i, j]`` multiplies y(t+gap+j).
    mean_ : ndarray (n_channels * memory,)
        What `transform` subtracts from each past lag vector.
    covariance_ : LagCovariance
        Accumulated moments; absent after `fit_covariance`.
    n_channels_ : int
        Number of channels.

    Notes
    -----
    Blocks are scaled to unit variances, so that units do not matter, and whitened by symmetric
    eigendecomposition. Eigenvalues up to (dimension × machine epsilon × the largest) are rounding
    errors of a rank-deficient block: their directions get no weight, and the correlations that
    are lost with them are 0.

    Signs are fixed by meaning: the response to a step up of the input (in all channels) has a
    positive extremum; then ``future_filters_`` make each correlation positive.

    Examples
    --------
    >>> x = np.random.default_rng(0).standard_normal(1000).cumsum()
    >>> cca = PastFutureCCA(memory=5, horizon=5, rank=1).fit(x)
    >>> cca.filters_.shape, bool(cca.correlations_[0] > 0.9)
    ((1, 5), True)
    """

    def __init__(self, memory, horizon, rank=None, gap=1, ridge=0.0, center=True):
        self.memory = memory
        self.horizon = horizon
        self.rank = rank
        self.gap = gap
        self.ridge = ridge
        self.center = center

    def fit(self, x, y=None):
        """Learn from a series or a list of recordings.

        Parameters
        ----------
        x : ndarray (n_samples,) or (n_samples, n_channels), or list of those
        y : None
            Ignored.

        Returns
        -------
        PastFutureCCA

        Raises
        ------
        ValueError
            A parameter is out of range; a recording is shorter than one window
            (memory + gap + horizon - 1 samples), not finite or of another number of channels;
            the series is constant.
        """
        self._check_parameters()
        span = self.memory + self.gap + self.horizon - 1
        recordings = check_recordings(x, min_samples=span)
        covariance = LagCovariance(self.memory, self.horizon, self.gap, recordings.channels)
        return self._learn(covariance.update(recordings))

    def partial_fit(self, x, y=None):
        """Learn from further recordings, keeping what has been accumulated."""
        if not hasattr(self, "covariance_"):
            return self.fit(x)
        self._check_parameters()
        more = LagCovariance(self.memory, self.horizon, self.gap, self.n_channels_).update(x)
        return self._learn(self.covariance_ + more)

    def fit_covariance(self, past, cross, future):
        """Learn from ready second moments, taken as centred.

        Parameters
        ----------
        past : ndarray (n_channels * memory, n_channels * memory)
            C_pp.
        cross : ndarray (n_channels * horizon, n_channels * memory)
            C_fp = E[f pᵀ].
        future : ndarray (n_channels * horizon, n_channels * horizon)
            C_ff.

        Raises
        ------
        ValueError
            A block has the wrong shape, is not finite, not symmetric or not positive.
        """
        self._check_parameters()
        blocks = check_blocks(past, cross, future)
        channels, rest = divmod(len(blocks.past), self.memory)
        if rest or len(blocks.future) != channels * self.horizon:
            raise ValueError(
                "past and future must have shapes (c * memory,)*2 and (c * horizon,)*2 with "
                f"memory {self.memory}, horizon {self.horizon} and some number of channels c, "
                f"got {blocks.past.shape} and {blocks.future.shape}"
            )
        self._solve(blocks, channels, strict=True)
        self.mean_ = np.zeros(len(blocks.past))
        if hasattr(self, "covariance_"):
            del self.covariance_
        return self

    def transform(self, x):
        """Project every complete past: z(t) = Ψ (p(t) - mean) (Eq. 4).

        Parameters
        ----------
        x : ndarray (n_samples,) or (n_samples, n_channels), or list of those

        Returns
        -------
        ndarray (n_samples - memory + 1, rank), or list of those
            Row i belongs to time i + memory - 1.
        """
        check_is_fitted(self)
        memory = self.filters_.shape[-1]
        recordings = check_recordings(x, self.n_channels_, memory)
        weights = self.filters_.reshape(len(self.filters_), -1)
        offset = weights @ self.mean_
        # Windows list samples oldest first.
        weights = weights.reshape(-1, memory)[:, ::-1].reshape(len(weights), -1)
        outputs = []
        for y in recordings:
            y = check_array("x", y)
            z = np.empty((len(y) - memory + 1, len(weights)))
            for start in range(0, len(z), _CHUNK):
                piece = y[start : start + _CHUNK + memory - 1]
                windows = sliding_window_view(piece, memory, axis=0)
                flat = windows.reshape(len(windows), -1)
                np.matmul(flat, weights.T, out=z[start : start + _CHUNK])
            z -= offset
            outputs.append(z)
        return outputs if isinstance(x, list | tuple) else outputs[0]

    def information(self, rank=None):
        """Mutual information of the first `rank` projections with the future, in nats (Eq. 8).

        Returns
        -------
        float
            -½ Σ ln(1 - σ_i²); infinite where a correlation is 1. Where the future follows from the
            past (a noise-free oscillation, a smooth kernel), correlations are 1 up to rounding,
            and the value says no more than that there is much; a `ridge` makes it definite.
        """
        check_is_fitted(self)
        if rank is not None and check_count("rank", rank) > len(self.correlations_):
            raise ValueError(f"rank must be at most {len(self.correlations_)}, got {rank}")
        with np.errstate(divide="ignore"):
            return float(-0.5 * np.log1p(-(self.correlations_[:rank] ** 2)).sum())

    def _check_parameters(self):
        for name in ("memory", "horizon", "gap"):
            check_count(name, getattr(self, name))
        if self.rank is not None:
            check_count("rank", self.rank)
        check_number("ridge", self.ridge, 0.0)
        check_flag("center", self.center)

    def _learn(self, covariance):
        blocks = covariance.blocks(center=self.center)
        mean = covariance.means[0]
        # A constant series leaves only the rounding errors of its mean.
        floor = (4 * np.finfo(float).eps * np.abs(mean).max()) ** 2 if self.center else 0.0
        if min(blocks.past.diagonal().max(), blocks.future.diagonal().max()) <= floor:
            raise ValueError(
                "x must vary: it is constant, or the same in all windows, so it has no canonical "
                "directions"
            )
        self._solve(blocks, covariance.channels)
        self.mean_ = mean if self.center else np.zeros_like(mean)
        self.covariance_ = covariance
        return self

    def _solve(self, blocks, channels, strict=False):
        most = min(self.memory, self.horizon) * channels
        rank = most if self.rank is None else self.rank
        if rank > most:
            raise ValueError(
                f"rank must be at most min(memory, horizon) * channels = {most}, got {self.rank}"
            )
        whiten_past = _whitening("past", blocks.past, self.ridge)
        whiten_future = _whitening("future", blocks.future, self.ridge)
        u, s, vt = np.linalg.svd(whiten_future @ blocks.cross @ whiten_past.T, full_matrices=False)
        if strict:
            _check_correlations(s)
        filters = (vt[:rank] @ whiten_past).reshape(rank, channels, self.memory)
        future_filters = (u[:, :rank].T @ whiten_future).reshape(rank, channels, self.horizon)
        step = filters.sum(axis=1).cumsum(axis=1)
        extremum = np.take_along_axis(step, np.abs(step).argmax(axis=1)[:, None], axis=1)
        sign = np.where(extremum < 0, -1.0, 1.0)[:, :, None]
        filters, future_filters = sign * filters, sign * future_filters
        self.correlations_ = np.clip(s, 0.0, 1.0)
        self.filters_ = filters[:, 0] if channels == 1 else filters
        self.future_filters_ = future_filters[:, 0] if channels == 1 else future_filters
        self.n_channels_ = channels


def check_blocks(past, cross, future):
    """Return the three second-moment blocks as float64, checked for shape and symmetry."""
    past = check_array("past", past, (None, None), power=1)
    future = check_array("future", future, (None, None), power=1)
    for name, block in (("past", past), ("future", future)):
        if block.shape[0] != block.shape[1] or block.size == 0:
            raise ValueError(f"{name} must be a square matrix, got shape {block.shape}")
        if np.abs(block - block.T).max() > 1e-8 * np.abs(block).max():
            raise ValueError(f"{name} must be symmetric, got differences across its diagonal")
    cross = check_array("cross", cross, (len(future), len(past)), power=1)
    return LagBlocks(past, cross, future)


def _whitening(name, block, ridge=0.0):
    """W with W C Wᵀ = I, but zero where a rank-deficient C has no variance."""
    if ridge:
        block = block + ridge * block.diagonal().mean() * np.eye(len(block))
    variance = block.diagonal()
    if variance.min() < 0 or variance.max() <= 0:
        raise ValueError(f"{name} must have positive variances, got {variance.min():.3g}")
    scale = np.divide(1.0, np.sqrt(variance), where=variance > 0, out=np.zeros(len(block)))
    values, vectors = np.linalg.eigh(scale[:, None] * block * scale)
    if values[0] < -1e-8 * values[-1]:
        raise ValueError(
            f"{name} must be positive semidefinite, "
            f"got an eigenvalue of {values[0]:.3g} beside {values[-1]:.3g} at unit variances"
        )
    kept = values > len(block) * np.finfo(float).eps * values[-1]
    vectors = vectors[:, kept]
    return (vectors / np.sqrt(values[kept])) @ vectors.T * scale


def _check_correlations(correlations):
    """Refuse canonical correlations beyond 1, allowing for blocks that are nearly singular."""
    if correlations[0] > 1.05:
        raise ValueError(
            "cross must be a covariance that past and future allow, "
            f"got a canonical correlation of {correlations[0]:.3g}"
        )


def hankel_filters(past, cross, future, rank=None):
    """Filters of the Hankel (PCA) rival: right singular vectors of C_fp (Arun & Kung 1990).

    Parameters
    ----------
    past, cross, future : ndarray
        Blocks as in `PastFutureCCA.fit_covariance`.
    rank : int, optional
        Number of filters; all that there are if not given.

    Returns
    -------
    ndarray (rank, past dimension)
    """
    blocks = check_blocks(past, cross, future)
    rank = _check_rank(rank, blocks)
    return np.linalg.svd(blocks.cross)[2][:rank]


def min_projection_filters(past, cross, future, rank=None):
    """Filters of the minimum-projection rival: Uᵀ C_fp C_pp⁻¹ (Arun & Kung 1990).

    U holds the leading eigenvectors of C_fp C_pp⁻¹ C_fpᵀ, the covariance of the best linear
    prediction of the future: the rival keeps the directions of largest predictable variance.
    Parameters and result as in `hankel_filters`.
    """
    blocks = check_blocks(past, cross, future)
    rank = _check_rank(rank, blocks)
    whiten = _whitening("past", blocks.past)
    predictor = blocks.cross @ whiten.T
    u = np.linalg.svd(predictor)[0]
    return u[:, :rank].T @ predictor @ whiten


def projection_information(filters, past, cross, future):
    """Information that any linear projection of the past keeps about a Gaussian future, in nats.

    I(Ψp; f) = ½ ln det(Ψ C_pp Ψᵀ) - ½ ln det(Ψ (C_pp - C_pf C_ff⁻¹ C_fp) Ψᵀ).

    Parameters
    ----------
    filters : ndarray (rank, past dimension)
        Ψ, of full rank; need not be orthogonal or white.
    past, cross, future : ndarray
        Blocks as in `PastFutureCCA.fit_covariance`; `future` positive definite.

    Returns
    -------
    float
    """
    blocks = check_blocks(past, cross, future)
    filters = check_array("filters", filters, (None, len(blocks.past)))
    whiten = _whitening("future", blocks.future)
    with np.errstate(over="ignore", invalid="ignore"):
        explained = whiten @ blocks.cross @ filters.T
        variance = filters @ blocks.past @ filters.T
        left = variance - explained.T @ explained
    before = _log_determinant("filters", variance)
    after = _log_determinant("cross", left)
    return 0.5 * (before - after)


def gaussian_information(past, cross, future):
    """Mutual information of jointly Gaussian past and future from log-determinants, in nats.

    I(p; f) = ½ (ln det C_pp + ln det C_ff - ln det C), C the covariance of both together.
    """
    blocks = check_blocks(past, cross, future)
    joint = np.block([[blocks.past, blocks.cross.T], [blocks.cross, blocks.future]])
    return 0.5 * (
        _log_determinant("past", blocks.past)
        + _log_determinant("future", blocks.future)
        - _log_determinant("cross", joint)
    )


def _check_rank(rank, blocks):
    most = min(blocks.cross.shape)
    if rank is None:
        return most
    if check_count("rank", rank) > most:
        raise ValueError(f"rank must be at most {most}, got {rank}")
    return rank


def _log_determinant(name, matrix):
    """Log-determinant of a covariance; scaled to unit variances, so that units do not matter.

    An even number of negative eigenvalues would leave a determinant positive, and rounding can
    turn a zero into a small number of either sign: both are refused.
    """
    variance = matrix.diagonal()
    values = np.zeros(1)
    if not np.isfinite(matrix).all():
        raise ValueError(f"{name} must leave a finite covariance, got one beyond float64")
    if variance.size and variance.min() > 0:
        scale = 1 / np.sqrt(variance)
        values = np.linalg.eigvalsh(scale[:, None] * matrix * scale)
    if values[0] <= len(matrix) * np.finfo(float).eps * values[-1]:
        raise ValueError(
            f"{name} must leave a positive definite covariance, "
            f"got an eigenvalue of {values[0]:.3g} beside {values[-1]:.3g} at unit variances"
        )
    return np.log(values).sum() + np.log(variance).sum()

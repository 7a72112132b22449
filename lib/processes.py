"""Processes whose statistics are known exactly: linear state spaces and Gaussian processes."""

import numpy as np
from scipy import fft, linalg, signal

from lib._checks import LARGEST, SMALLEST, check_array, check_count, check_number, check_rng
from lib.lags import LagBlocks

# Largest share of the variance in negative eigenvalues of a circulant that are set to zero.
_EMBEDDING_ERROR = 1e-8
# Longest series whose covariance matrix is decomposed instead.
_LARGEST_DENSE = 4096


class LinearStateSpace:
    """Partially observed Ornstein–Uhlenbeck process in discrete time (Qin et al., Eqs. 1–2).

    x(t+1) = A x(t) + B w(t), y(t) = C x(t) + noise_std · v(t), with w, v standard normal.

    Parameters
    ----------
    A : ndarray (n, n)
        State transition; all eigenvalues inside the unit circle.
    B : ndarray (n, q)
        Input matrix.
    C : ndarray (n,) or (1, n)
        Observation.
    noise_std : float
        Standard deviation of the observation noise.

    Attributes
    ----------
    stationary_covariance : ndarray (n, n)
        Σ = A Σ Aᵀ + B Bᵀ.

    Raises
    ------
    ValueError
        A is unstable, shapes do not fit, a value is not finite, noise_std is negative.
    """

    def __init__(self, A, B, C, noise_std):
        self.A = check_array("A", A, (None, None)).copy()
        n = len(self.A)
        if self.A.shape != (n, n) or n == 0:
            raise ValueError(f"A must be a square matrix, got shape {self.A.shape}")
        self.B = check_array("B", B, (n, None)).copy()
        C = check_array("C", C)
        if C.shape not in ((n,), (1, n)):
            raise ValueError(f"C must have shape ({n},) or (1, {n}), got {C.shape}")
        self.C = C.reshape(n).copy()
        self.noise_std = check_number("noise_std", noise_std, 0.0, maximum=1e150)
        radius = np.abs(np.linalg.eigvals(self.A)).max()
        if radius >= 1:
            raise ValueError(
                f"A must have all eigenvalues inside the unit circle, got {radius:.6g}"
            )
        with np.errstate(all="ignore"):
            drive = self.B @ self.B.T
        if not np.isfinite(drive).all():
            raise ValueError("B must be small enough for its squares to be finite in float64")
        self.stationary_covariance = linalg.solve_discrete_lyapunov(self.A, drive)

    def autocovariance(self, n_lags):
        """Exact autocovariance r(0), ..., r(n_lags - 1) of y, (n_lags,)."""
        values = np.empty(check_count("n_lags", n_lags))
        state = self.stationary_covariance @ self.C
        for lag in range(n_lags):
            values[lag] = self.C @ state
            state = self.A @ state
        values[0] += self.noise_std**2
        return values

    def canonical_correlations(self):
        """Canonical correlations of the whole past with the whole future, (n,), descending.

        Stochastic balanced truncation (Desai & Pal 1984): the square roots of the eigenvalues of
        P Q, where P is the covariance of the best estimate of the state from the past and Q its
        counterpart from the future, in the dual basis. Both solve a Riccati equation.
        """
        variance = self.autocovariance(1)[0]
        if variance <= 0:
            raise ValueError("B or noise_std must give y some variance, got none")
        if not SMALLEST <= variance <= LARGEST:
            raise ValueError(
                f"B, C and noise_std must give y a variance from {SMALLEST} to {LARGEST}, "
                f"got {variance:.3g}"
            )
        across = self.A @ self.stationary_covariance @ self.C
        forward = _information_covariance(self.A, across, self.C, variance)
        backward = _information_covariance(self.A.T, self.C, across, variance)
        values, vectors = np.linalg.eigh(forward)
        root = vectors * np.sqrt(np.maximum(values, 0))
        squared = np.linalg.eigvalsh(root.T @ backward @ root)
        return np.sqrt(np.clip(squared[::-1], 0.0, 1.0))

    def sample(self, n, rng):
        """A stationary stretch of y, (n,).

        Parameters
        ----------
        n : int
            Number of samples.
        rng : numpy.random.Generator or int
        """
        n = check_count("n", n)
        rng = check_rng(rng)
        values, vectors = np.linalg.eigh(self.stationary_covariance)
        start = vectors @ (np.sqrt(np.maximum(values, 0)) * rng.standard_normal(len(values)))
        drive = rng.standard_normal((n - 1, self.B.shape[1])) @ self.B.T
        # In Schur form the modes form a chain of scalar recursions, whatever A's eigenvectors.
        upper, basis = linalg.schur(self.A, output="complex")
        modes = np.concatenate([start[None], drive]) @ basis.conj()
        for i in range(len(upper) - 1, -1, -1):
            modes[1:, i] += modes[:-1, i + 1 :] @ upper[i, i + 1 :]
            modes[:, i] = signal.lfilter([1.0], [1.0, -upper[i, i]], modes[:, i])
        y = (modes @ (basis.T @ self.C)).real
        return y + self.noise_std * rng.standard_normal(n)


def _information_covariance(A, g, c, variance):
    """Smallest solution of P = A P Aᵀ + (g - A P c)(variance - cᵀ P c)⁻¹(g - A P c)ᵀ.

    The iteration starts at no observations and adds one at a time, so it rises monotonically.
    """
    P = np.zeros_like(A)
    for _ in range(100_000):
        gain = g - A @ P @ c
        following = A @ P @ A.T + np.outer(gain, gain) / (variance - c @ P @ c)
        if np.abs(following - P).max() <= 1e-13 * np.abs(following).max():
            return following
        P = following
    raise ValueError("A must be further inside the unit circle: the Riccati iteration is too slow")


def rational_quadratic(tau, alpha=1.0, length=1.0):
    """(1 + τ²/(2 α ℓ²))^(-α), for an array of lags τ in seconds. Heavy-tailed, as images are."""
    alpha = check_number("alpha", alpha, 0.0, open_minimum=True)
    length = check_number("length", length, 0.0, open_minimum=True)
    tau = check_array("tau", tau)
    return (1 + np.square(tau) / (2 * alpha * length**2)) ** -alpha


def squared_exponential(tau, length=1.0):
    """exp(-τ²/(2 ℓ²)), for an array of lags τ in seconds."""
    length = check_number("length", length, 0.0, open_minimum=True)
    tau = check_array("tau", tau)
    return np.exp(-np.square(tau) / (2 * length**2))


def exponential(tau, length=1.0):
    """exp(-abs(τ)/ℓ), for an array of lags τ in seconds: the Ornstein–Uhlenbeck process."""
    length = check_number("length", length, 0.0, open_minimum=True)
    tau = check_array("tau", tau)
    return np.exp(-np.abs(tau) / length)


def oscillatory(tau, period=1.0, width=0.5, length=2.0):
    """exp(-2 sin²(πτ/T)/w²) · exp(-τ²/(2 ℓ²)), for an array of lags τ in seconds.

    The locally periodic kernel (MacKay 1998; Rasmussen & Williams 2006, § 4.2): a waveform of
    period T whose correlations last w·T/π within a period and ℓ across periods.
    """
    period = check_number("period", period, 0.0, open_minimum=True)
    width = check_number("width", width, 0.0, open_minimum=True)
    tau = check_array("tau", tau)
    waveform = np.exp(-2 * np.square(np.sin(np.pi * tau / period) / width))
    return waveform * squared_exponential(tau, length)


def sample_gp(kernel, n, dt, rng, size=1):
    """Draws of a stationary Gaussian process by circulant embedding.

    Parameters
    ----------
    kernel : callable
        Autocovariance k(τ) of an array of lags in seconds.
    n : int
        Samples per draw.
    dt : float
        Sampling interval in seconds.
    rng : numpy.random.Generator or int
    size : int, default 1
        Number of independent draws.

    Returns
    -------
    ndarray (size, n)

    Raises
    ------
    ValueError
        The kernel is not finite, or not positive semidefinite on the n samples.

    Notes
    -----
    The series is embedded in a circle of 2, 4, ... 128 times its length, and the circulant's
    negative eigenvalues are set to zero (Wood & Chan 1994). The first circle is taken on which
    they add up to at most 1e-8 of the variance: this bounds the error of every autocovariance.
    Where none is, the covariance matrix itself is decomposed, which is exact and costs n³.
    Eigenvalues of that below rounding (-1e-10 of the largest) mean that there is no such process.
    """
    if not callable(kernel):
        raise ValueError(f"kernel must be a function of an array of lags, got {kernel!r}")
    n, size = check_count("n", n), check_count("size", size)
    dt = check_number("dt", dt, 0.0, open_minimum=True)
    rng = check_rng(rng)
    for factor in (1, 2, 4, 8, 16, 32, 64):
        half = max(fft.next_fast_len(factor * n, real=True), 2)
        row = check_array("kernel(tau)", kernel(dt * np.arange(half + 1)), (half + 1,))
        spectrum = fft.rfft(np.concatenate([row, row[-2:0:-1]])).real
        negative = -np.minimum(spectrum, 0).sum() / half
        if row[0] > 0 and negative <= _EMBEDDING_ERROR * row[0]:
            return _circulant_draws(np.maximum(spectrum, 0), 2 * half, rng, size)[:, :n]
    if n > _LARGEST_DENSE:
        raise ValueError(
            f"kernel must have a positive circulant embedding for n > {_LARGEST_DENSE}, "
            f"got negative eigenvalues that add up to {negative:.3g}, at a variance of {row[0]:.3g}"
        )
    values, vectors = np.linalg.eigh(linalg.toeplitz(row[:n]))
    if values[0] < -1e-10 * values[-1]:
        raise ValueError(
            "kernel must be positive semidefinite, "
            f"got an eigenvalue of {values[0]:.3g} beside {values[-1]:.3g} on {n} samples"
        )
    weights = np.sqrt(np.maximum(values, 0))
    return (rng.standard_normal((size, n)) * weights) @ vectors.T


def _circulant_draws(spectrum, length, rng, size):
    """Periodic Gaussian draws (size, length) whose power spectrum is `spectrum` (half)."""
    noise = rng.standard_normal((size, length))
    return fft.irfft(np.sqrt(spectrum) * fft.rfft(noise, axis=1), length, axis=1)


def lag_covariances(autocovariance, memory, horizon, gap=1):
    """Exact second moments of lag vectors of a stationary process (Eq. 9).

    Parameters
    ----------
    autocovariance : ndarray
        r(0), r(1), ...: at least memory + gap + horizon - 1 values.
    memory, horizon, gap : int
        As in `lib.lags.LagCovariance`.

    Returns
    -------
    LagBlocks
        C_pp and C_ff are Toeplitz; C_fp has entries r(gap + j + k).
    """
    memory, horizon = check_count("memory", memory), check_count("horizon", horizon)
    span = memory + check_count("gap", gap) + horizon - 1
    r = check_array("autocovariance", autocovariance, (None,), power=1)
    if len(r) < span:
        raise ValueError(f"autocovariance must have at least {span} lags, got {len(r)}")
    if np.abs(r).max() > r[0] * (1 + 1e-12) or r[0] <= 0:
        raise ValueError(
            f"autocovariance must be positive and largest at lag 0, got r(0) = {r[0]:.6g}"
        )
    values = np.linalg.eigvalsh(linalg.toeplitz(r[:span]))
    if values[0] < -1e-8 * values[-1]:
        raise ValueError(
            "autocovariance must be that of a process, "
            f"got an eigenvalue of {values[0]:.3g} beside {values[-1]:.3g}"
        )
    first = r[gap:span]
    cross = linalg.hankel(first[:horizon], first[horizon - 1 :])
    return LagBlocks(linalg.toeplitz(r[:memory]), cross, linalg.toeplitz(r[:horizon]))

"""What the benchmarks measure ours against: the usual ways, written plainly or tuned.

A coder is a generator that yields, after each iteration, a function that gives its coefficients
(K, height, width). Its arguments are an image (height, width) and atoms (K, h, w), both float32
arrays (or, for `torch_coder`, tensors on a GPU), λ, and ρ, which stays as it is if given and is
balanced from 50 λ + 1 onwards if not. Bad arguments are refused with a ValueError that names them.
"""

from itertools import count

import numpy as np
import torch
from scipy.linalg import hankel

from lib import _admm
from lib._atom_bank import AtomBank
from lib._checks import check_array, check_count, check_counts, check_flag, check_number, check_rng
from lib._tensors import check_problem, check_squares, check_tensor, largest
from lib.cca import PastFutureCCA

RELAX = 1.8


def sporco_coder(image, atoms, lmbda, rho=None, *, fast=False):
    """SPORCO's ConvBPDN; if `fast` without the objective that it computes each time."""
    from sporco.admm.cbpdn import ConvBPDN

    image, atoms, lmbda, rho = _problem(image, atoms, lmbda, rho)
    fast = check_flag("fast", fast)
    options = {"Verbose": False, "MaxMainIter": 1, "RelStopTol": 0.0, "FastSolve": fast}
    options |= {"rho": rho, "AutoRho": {"Enabled": rho is None}}
    dictionary = np.ascontiguousarray(atoms.numpy(force=True).transpose(1, 2, 0))
    solver = ConvBPDN(dictionary, image.numpy(force=True), lmbda, ConvBPDN.Options(options), dimK=0)
    while True:
        maps = solver.solve()
        yield lambda maps=maps: torch.from_numpy(maps.squeeze((2, 3)).transpose(2, 0, 1))


def sporco_learner(image, atoms, lmbda, max_iter, rho=10.0):
    """Atoms (K, h, w) after each step of SPORCO's OnlineConvBPDNDictLearn, with step 100/(1000+t).

    Parameters
    ----------
    image : ndarray (height, width) float32
    atoms : ndarray (K, h, w) float32
    lmbda, rho : float
        ρ stays fixed.
    max_iter : int
        Iterations of the coder, all of which are made.
    """
    from sporco.dictlrn.onlinecdl import OnlineConvBPDNDictLearn

    image, atoms, lmbda, rho = _problem(image, atoms, lmbda, rho)
    max_iter = check_count("max_iter", max_iter)
    if 1 in atoms.shape:
        raise ValueError(
            f"atoms must be two or more, of two pixels or more each way, got {tuple(atoms.shape)}: "
            "SPORCO drops axes of one entry"
        )
    coder = {"rho": rho, "AutoRho": {"Enabled": False}, "RelStopTol": 0.0, "RelaxParam": RELAX}
    coder |= {"MaxMainIter": max_iter, "DataType": np.float32}
    options = {"ZeroMean": False, "eta_a": 100, "eta_b": 1000, "CBPDN": coder}
    options = OnlineConvBPDNDictLearn.Options(options)
    learner = OnlineConvBPDNDictLearn(np.moveaxis(atoms.numpy(force=True), 0, 2), lmbda, options)
    while True:
        learner.solve(image.numpy(force=True), dimK=0)
        yield np.moveaxis(learner.getdict().squeeze(), 2, 0)


def torch_coder(image, atoms, lmbda, rho=None):
    """The same iteration in torch: all maps are transformed and transformed back."""
    s, atoms, lmbda, rho = _problem(image, atoms, lmbda, rho)
    fixed = rho is not None
    rho = 50 * lmbda + 1 if rho is None else rho
    d = torch.fft.rfft2(atoms, s=s.shape)
    correlation = d.conj() * torch.fft.rfft2(s)
    power = d.abs().square().sum(0)
    y = s.new_zeros(len(atoms), *s.shape)
    u = torch.zeros_like(y)
    for iteration in count(1):
        b = correlation + rho * torch.fft.rfft2(y - u)
        x = (b - d.conj() * ((d * b).sum(0) / (rho + power))) / rho
        x = torch.fft.irfft2(x, s=s.shape)
        mixed, before = RELAX * x + (1 - RELAX) * y, y
        y = torch.nn.functional.softshrink(mixed + u, lmbda / rho)
        u = u + mixed - y
        if iteration > 1 and not fixed:
            primal = (x - y).norm() / torch.maximum(x.norm(), y.norm())
            factor = float(_admm.rho_factor(primal, (y - before).norm() / u.norm(), lmbda))
            rho, u = rho * factor, u / factor
        yield lambda y=y: y


def our_coder(image, atoms, lmbda, rho=None):
    """`csc.sparse_code`, one iteration at a time."""
    image, atoms, lmbda, rho = _problem(image, atoms, lmbda, rho)
    bank = AtomBank(atoms, *image.shape)
    start = torch.full((1,), 50 * lmbda + 1 if rho is None else rho, dtype=torch.float64)
    state = _admm.Iteration(bank, image[None], lmbda, start.to(image.device), RELAX)
    for iteration in count(1):
        residuals = state.step()
        if iteration > 1 and rho is None:
            state.rescale(_admm.rho_factor(*residuals, lmbda))
        yield lambda: state.result(slice(0, 1))[0][0]


def hankel_product(x, memory, horizon):
    """Second moments the usual way: a Hankel matrix, split into past and future, multiplied."""
    x, memory, horizon = _series(x, memory, horizon)
    lagged = hankel(x[: memory + horizon], x[memory + horizon - 1 :])
    return _moments(np.flipud(lagged[:memory]), lagged[memory:])


def tuned_hankel_product(x, memory, horizon):
    """The same from contiguous lag vectors, nothing copied twice: the best that it can do."""
    x, memory, horizon = _series(x, memory, horizon)
    n = len(x) - memory - horizon + 1
    past = np.array([x[memory - 1 - k : memory - 1 - k + n] for k in range(memory)])
    future = np.array([x[memory + j : memory + j + n] for j in range(horizon)])
    return _moments(past, future)


def hankel_network(scans, shifts, gap, memory, rng, noise_std=0.01):
    """Second moments of both layers of the T4 network, from one Hankel matrix of all windows.

    As Qin et al. describe it: each filtered trace divided by its standard deviation, noise drawn
    for each pixel and channel, then L1's rectifier.

    Parameters
    ----------
    scans : ndarray (n_scans, n_samples)
        What one pixel sees in each scan.
    shifts : sequence of int
        How many samples before the last pixel each sees the scene.
    gap, memory : int
        Samples between past and future of the second layer; of each lag vector of the first.
    rng : numpy.random.Generator
    noise_std : float

    Returns
    -------
    past, cross, future : ndarray (6, 6)
        Of L3 and L1 of each pixel.
    """
    scans, shifts, gap, memory, rng = _scans(scans, shifts, gap, memory, rng)
    noise_std = check_number("noise_std", noise_std, 0)
    lagged = np.hstack([hankel(x[: 2 * memory], x[2 * memory - 1 :]) for x in scans])
    past, future = np.flipud(lagged[:memory]), lagged[memory:]
    z = _lamina(_moments(past, future)) @ past
    pooled = _pool(z.reshape(2, len(scans), -1), shifts, rng, noise_std)
    return _moments(pooled[..., :-gap].reshape(6, -1), pooled[..., gap:].reshape(6, -1))


def tuned_hankel_network(scans, shifts, gap, memory, rng, noise_std=0.01):
    """The same scan by scan, so that no large matrix is ever held or read."""
    scans, shifts, gap, memory, rng = _scans(scans, shifts, gap, memory, rng)
    noise_std = check_number("noise_std", noise_std, 0)
    n, moments, pasts = len(scans), 0, []
    for x in scans:
        lagged = hankel(x[: 2 * memory], x[2 * memory - 1 :])
        pasts.append(lagged[memory - 1 :: -1])
        moments = moments + np.array(_moments(pasts[-1], lagged[memory:])) / n
    filters, moments = _lamina(moments), 0
    for past in pasts:
        pooled = _pool((filters @ past)[:, None], shifts, rng, noise_std)[:, 0]
        moments = moments + np.array(_moments(pooled[:, :-gap], pooled[:, gap:])) / n
    return tuple(moments)


def _problem(image, atoms, lmbda, rho):
    """Image and atoms as tensors on the device of the image, λ and ρ as floats."""
    device = image.device if isinstance(image, torch.Tensor) else "cpu"
    image = check_tensor("image", image, 2, device, torch.float32)
    check_squares("image", image)
    _, atoms, _ = check_problem(image[None], atoms, image.device, torch.float32)
    most = largest(torch.float32)
    lmbda = check_number("lmbda", lmbda, 0, maximum=most)
    if rho is not None:
        rho = check_number("rho", rho, 0, open_minimum=True, maximum=most)
    return image, atoms, lmbda, rho


def _series(x, memory, horizon):
    memory, horizon = check_count("memory", memory), check_count("horizon", horizon)
    x = check_array("x", x, (None,))
    if len(x) < memory + horizon:
        raise ValueError(f"x must have at least {memory + horizon} samples, got {len(x)}")
    return x, memory, horizon


def _scans(scans, shifts, gap, memory, rng):
    memory, gap = check_count("memory", memory), check_count("gap", gap)
    shifts = check_counts("shifts", shifts, 0)
    if not shifts:
        raise ValueError("shifts must hold one pixel's at least, got none")
    scans = check_array("scans", scans, (None, None))
    least = 2 * memory + max(shifts) + gap
    if not len(scans) or scans.shape[1] < least:
        raise ValueError(f"scans must be one or more of {least} samples, got {scans.shape}")
    if np.ptp(scans, axis=1).min() == 0:
        raise ValueError("scans must vary, each of them")
    return scans, shifts, gap, memory, check_rng(rng)


def _moments(past, future):
    n = past.shape[1]
    return past @ past.T / n, future @ past.T / n, future @ future.T / n


def _lamina(moments):
    """Filters (2, memory) of L3 and L1."""
    return PastFutureCCA(*map(len, moments[::2]), rank=2).fit_covariance(*moments).filters_


def _pool(z, shifts, rng, noise_std):
    """Noisy channels (6, n_scans, n_times) from projections (2, n_scans, n_times)."""
    z /= z.std(axis=2, keepdims=True)
    last = z.shape[2] - max(shifts)
    pooled = np.concatenate([z[:, :, shift : last + shift] for shift in shifts])
    pooled += noise_std * rng.standard_normal(pooled.shape)
    np.maximum(pooled[1::2], 0, out=pooled[1::2])
    return pooled

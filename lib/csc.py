"""Convolutional sparse coding, many images at once, and what is measured on its codes.

Each image s is coded by the coefficient maps x_k that minimise (Ladret et al., Eq. 2)

    ½ ‖s - Σ_k d_k * x_k‖² + λ Σ_k w_k ‖x_k‖₁

with circular convolution and atoms d_k anchored at their top-left corner, as in SPORCO. Work is
done by torch, in float32 unless asked otherwise.
"""

import functools
from typing import NamedTuple

import numpy as np
import torch

from lib._atom_bank import AtomBank
from lib._batches import Settings, batches
from lib._checks import as_array, check_array, check_count, check_flag, check_number
from lib._tensors import (
    check_coefficients,
    check_fit,
    check_peaks,
    check_problem,
    check_squares,
    check_tensor,
    free_bytes,
    largest,
    sparse_maps,
    values_of,
)

# Raised when the same arguments give other coefficients, beyond rounding: stored codes are then
# made anew.
VERSION = 1
_FIELD = {"primal": "primal_residual", "dual": "dual_residual"}
SOLVERS = ("tiled", "sporco")


class SparseCode(NamedTuple):
    """Coefficients of images, and how they came about.

    Attributes
    ----------
    coefficients : Tensor (n, K, height, width)
        The sparse variable y, with exact zeros; a sparse COO tensor if that was asked for.
    objective : ndarray (n,)
        Objective at these coefficients.
    n_iter : ndarray (n,)
        Iterations made.
    converged : ndarray (n,)
        Whether both relative residuals came below the tolerance.
    primal_residual, dual_residual : ndarray (n,)
        Relative residuals of the last iteration.
    rho : ndarray (n,)
        Penalty parameter after the last iteration.
    """

    coefficients: torch.Tensor
    objective: np.ndarray
    n_iter: np.ndarray
    converged: np.ndarray
    primal_residual: np.ndarray
    dual_residual: np.ndarray
    rho: np.ndarray


class NotFinite(ValueError):
    """The code of an image is not finite, or too large to compute with; `image` is its index."""

    def __init__(self, image, dtype):
        super().__init__(
            f"images, atoms, lmbda and rho must be of magnitudes with which {dtype} can compute, "
            f"got a code of image {image} that is not finite or exceeds {largest(dtype):.3g}"
        )
        self.image = image


def sparse_code(
    images,
    atoms,
    lmbda,
    *,
    weights=None,
    max_iter=100,
    tol=1e-4,
    rho=None,
    auto_rho=True,
    relax=1.8,
    start=None,
    sparse=False,
    memory=None,
    solver="tiled",
    device=None,
    dtype=torch.float32,
    progress=False,
):
    """Code images with a dictionary by the alternating direction method of multipliers.

    The iterates are those of SPORCO's ConvBPDN. Each image has its own penalty parameter and
    its own stop; an image that is done leaves the batch.

    Parameters
    ----------
    images : ndarray or Tensor (n, height, width)
        At least as large as the atoms.
    atoms : ndarray or Tensor (K, h, w)
        None of them zero. Their norms are not changed.
    lmbda : float
        λ >= 0.
    weights : ndarray (K,), optional
        Factor >= 0 on λ for each atom.
    max_iter : int
        Iterations at most.
    tol : float
        An image is done when its relative primal and dual residuals are below this; 0 makes all
        iterations.
    rho : float or ndarray (n,), optional
        Initial penalty parameter; 50 λ + 1 if not given.
    auto_rho : bool
        Balance the residuals by changing ρ after each iteration (Wohlberg 2017). This brings a
        code near the solution soon, but as ρ never comes to rest, it may leave it again after
        some hundred iterations, with a growing objective; SPORCO's does the same. Where λ is
        not far below the largest that leaves coefficients, what it stops at can even be worse
        than no coefficients at all: look at `converged`. To come closer, go on from there with
        a fixed ρ. How soon depends on the atoms: where many are
        nearly parallel, one ρ held from the start can come closer in as many iterations, as
        chapter 6 shows.
    relax : float
        Over-relaxation, between 0 and 2.
    start : ndarray or Tensor (n, K, height, width), optional
        Coefficients to start from, for instance of another λ. The dual variable then starts at
        what it is if they are the solution. Both start at zero if not given. Sparse ones are made
        dense for the images that are worked on.
    sparse : bool
        Return the coefficients as a sparse COO tensor, which is all that is then kept of them.
    memory : float, optional
        Bytes for the state of the images that are worked on at the same time: as many as fit with
        K · height · width numbers each, one at least. The coefficients that are returned come on
        top. 512 MiB if not given; on a GPU, half of what is free beside dense coefficients.
    solver : {"tiled", "sporco"}
        Which implementation; SPORCO's takes one image after the other, on the CPU.
    device : str or torch.device, optional
        Where to work; that of `images` if not given.
    dtype : torch.dtype
        float32 or float64.
    progress : bool
        Show a progress bar.

    Returns
    -------
    SparseCode

    Raises
    ------
    ValueError
        An argument is out of range, not finite or of a wrong shape; `NotFinite` where the code
        of an image is not finite, or larger than `reconstruct` takes.
    """
    images, atoms, device = check_problem(images, atoms, device, dtype)
    n, k = len(images), len(atoms)
    lmbda = check_number("lmbda", lmbda, 0, maximum=largest(dtype))
    weights = None if weights is None else _check_vector("weights", weights, k, 0)
    if weights is not None and lmbda * weights.max() > largest(dtype):
        raise ValueError(
            f"weights must be up to {largest(dtype) / lmbda:.3g}, for weights times lmbda to stay "
            f"below {largest(dtype):.3g} in {dtype}, got {weights.max()}"
        )
    max_iter = check_count("max_iter", max_iter)
    tol = check_number("tol", tol, 0)
    relax = check_number("relax", relax, 0, open_minimum=True)
    if relax >= 2:
        raise ValueError(f"relax must be below 2, got {relax}")
    rho = as_array("rho", 50 * lmbda + 1 if rho is None else rho)
    rho = _check_vector("rho", np.broadcast_to(rho, n) if rho.ndim == 0 else rho, n, 0, True)
    start = _check_start(start, images, k)
    auto_rho, sparse = check_flag("auto_rho", auto_rho), check_flag("sparse", sparse)
    size = images[0].numel() * k * images.element_size()
    memory = _check_memory(memory, device, 0 if sparse else n * size)
    if solver not in SOLVERS:
        raise ValueError(f"solver must be one of {', '.join(SOLVERS)}, got {solver!r}")
    settings = Settings(lmbda, weights, max_iter, tol, auto_rho, relax)
    with _bar(n, check_flag("progress", progress)) as bar:
        if solver == "sporco":
            from lib._sporco import code_one

            results = code_one(images, atoms, settings, rho, start)
        else:
            batch = max(1, int(memory // size))
            report = functools.partial(_report, bar, max_iter)
            results = batches(images, atoms, settings, rho, start, batch, report)
        return _collect(results, images, len(atoms), settings, sparse, bar)


def reconstruct(coefficients, atoms):
    """Images Σ_k d_k * x_k (n, height, width) from coefficients.

    Parameters
    ----------
    coefficients : Tensor or ndarray (n, K, height, width)
        Dense or sparse.
    atoms : Tensor or ndarray (K, h, w)
        Not larger than the images.

    Returns
    -------
    Tensor (n, height, width)
        On the device and in the precision of the coefficients.
    """
    coefficients = check_coefficients(coefficients)
    atoms = check_tensor("atoms", atoms, 3, coefficients.device, coefficients.dtype)
    if len(atoms) != coefficients.shape[1]:
        raise ValueError(
            f"atoms must be {coefficients.shape[1]}, as many as the coefficients have maps, "
            f"got {len(atoms)}"
        )
    check_fit(atoms, coefficients.shape[2:])
    bank = AtomBank(atoms, *coefficients.shape[2:])
    return torch.cat([bank.synthesise(x[None].to_dense()) for x in coefficients])


def psnr(images, reconstructions):
    """Peak signal-to-noise ratio (n,) in dB, with each image's own maximum (Eq. 6).

    Parameters
    ----------
    images, reconstructions : Tensor or ndarray (n, height, width)

    Returns
    -------
    ndarray (n,)
        Infinite for a perfect reconstruction.

    Raises
    ------
    ValueError
        Shapes differ, or the maximum of an image is not positive.
    """
    images = check_tensor("images", images, 3, "cpu", torch.float64)
    check_squares("images", images)
    reconstructions = check_tensor("reconstructions", reconstructions, 3, "cpu", torch.float64)
    if images.shape != reconstructions.shape:
        raise ValueError(
            f"reconstructions must have the shape of images, {tuple(images.shape)}, "
            f"got {tuple(reconstructions.shape)}"
        )
    check_peaks(images)
    peak = images.amax((1, 2))
    error = (images - reconstructions).square().mean((1, 2))
    return (20 * torch.log10(peak) - 10 * torch.log10(error)).numpy()


def sparseness(coefficients):
    """Fraction (n,) of coefficients that are zero, per image.

    Parameters
    ----------
    coefficients : Tensor or ndarray (n, K, height, width)
        Dense or sparse.
    """
    coefficients = check_coefficients(coefficients)
    size = coefficients[0].numel()
    used = [int(torch.count_nonzero(values_of(x))) for x in coefficients]
    return 1 - np.array(used) / size


def prune(coefficients, cutoff, *, relative=False):
    """Set coefficients with a magnitude below a cutoff to zero.

    Parameters
    ----------
    coefficients : Tensor or ndarray (n, K, height, width)
        Dense or sparse; not changed.
    cutoff : float
        c >= 0.
    relative : bool
        Take c as a fraction of each image's largest magnitude, instead of a magnitude itself.

    Returns
    -------
    Tensor (n, K, height, width)
        Sparse if `coefficients` are.
    """
    coefficients = check_coefficients(coefficients)
    cutoff = check_number("cutoff", cutoff, 0)
    relative = check_flag("relative", relative)
    pruned = []
    for x in coefficients:
        values = values_of(x)
        limit = cutoff * float(values.abs().max()) if relative and values.numel() else cutoff
        if x.is_sparse:
            x = x.coalesce()
            keep = values.abs() >= limit
            pruned.append(sparse_maps(x.indices()[:, keep], values[keep], x.shape))
        else:
            pruned.append(torch.where(x.abs() >= limit, x, 0))
    pruned = torch.stack(pruned)
    return pruned.coalesce() if pruned.is_sparse else pruned


def _bar(n, progress):
    """A bar of n images that says at which iteration those at work are."""
    from tqdm.auto import tqdm

    return tqdm(total=n, unit="image", miniters=0, disable=not progress)


def _report(bar, max_iter, iteration):
    bar.set_postfix_str(f"iteration {iteration} of {max_iter}", refresh=False)
    bar.update(0)


def _collect(results, images, k, settings, sparse, bar):
    """Gather results, in the order of the images, with the objective of each."""
    n = len(images)
    weights = torch.ones(k) if settings.weights is None else torch.as_tensor(settings.weights)
    weights = weights.to(images.device, torch.float64)
    coefficients = {} if sparse else images.new_empty((n, k, *images.shape[1:]))
    numbers = {name: np.empty(n) for name in ("objective", "primal", "dual", "rho")}
    numbers |= {"n_iter": np.empty(n, dtype=np.int64), "converged": np.empty(n, dtype=bool)}
    too_large = np.zeros(n, dtype=bool)
    for r in results:
        # Row by row, which takes no second array of this size.
        rows = torch.linalg.vector_norm(r.coefficients, 1, dim=3)
        penalty = rows.sum(2, dtype=torch.float64) @ weights
        bounds = rows.flatten(1).amax(1)
        if (bounds > largest(images.dtype)).any():
            bounds = torch.linalg.vector_norm(r.coefficients, torch.inf, dim=(1, 2, 3))
        fit = (images[r.images] - r.synthesis).double().square().sum((1, 2)) / 2
        numbers["objective"][r.images] = (fit + settings.lmbda * penalty).cpu().numpy()
        too_large[r.images] = (bounds > largest(images.dtype)).cpu().numpy()
        for name in ("primal", "dual", "rho", "n_iter", "converged"):
            numbers[name][r.images] = getattr(r, name)
        if sparse:
            coefficients[r.images.start] = r.coefficients.to_sparse()
        else:
            coefficients[r.images] = r.coefficients
        bar.update(len(fit))
    if sparse:
        coefficients = torch.cat([coefficients[i] for i in sorted(coefficients)]).coalesce()
    finite = np.isfinite(numbers["objective"] + numbers["primal"] + numbers["dual"])
    # What is finite may still be what rounding made of an ill-conditioned problem, and nothing
    # that `reconstruct` would take.
    wrong = np.flatnonzero(~finite | too_large)
    if len(wrong):
        raise NotFinite(int(wrong[0]), images.dtype)
    numbers = {_FIELD.get(name, name): v for name, v in numbers.items()}
    return SparseCode(coefficients, **numbers)


def _check_vector(name, value, n, minimum, open_minimum=False):
    """A finite float64 vector of n numbers from a minimum upwards."""
    vector = np.array(check_array(name, value, (n,)))
    low = vector <= minimum if open_minimum else vector < minimum
    if low.any():
        sign = ">" if open_minimum else ">="
        raise ValueError(f"{name} must be {sign} {minimum}, got {vector[low][0]}")
    return vector


def _check_start(start, images, k):
    """Coefficients to start from, on their own device, and sparse if they are.

    They are made dense, and brought to where the work is, with the images that they belong to.
    """
    if start is None:
        return None
    own, device = images.dtype, "cpu"
    if isinstance(start, torch.Tensor):
        own = start.dtype if start.dtype in (torch.float32, torch.float64) else own
        device = start.device
    start = check_tensor("start", start, 4, device, own, limit=largest(images.dtype))
    wanted = (len(images), k, *images.shape[1:])
    if tuple(start.shape) != wanted:
        raise ValueError(f"start must have shape {wanted}, got {tuple(start.shape)}")
    return start.coalesce() if start.is_sparse else start


def _check_memory(memory, device, result):
    """Bytes for the state, of what `result` bytes on the same device leave."""
    if memory is not None:
        return check_number("memory", memory, 0, open_minimum=True)
    if device.type == "cuda":
        return max(free_bytes(device) - result, 0) / 2
    return 512 * 2**20

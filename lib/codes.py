"""Codes of photographs: what is coded, under which protocol, kept on disk, and what they measure.

The chapters on sparse codes share the same codes of the same photographs. Each image's code is a
file, written when the image is done, so that a long run that is killed goes on where it was.
"""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from lib import _admm, _stored_codes, csc, datasets
from lib._atom_bank import AtomBank, tile_pixels
from lib._checks import SMALLEST, check_array, check_count, check_flag, check_number
from lib._files import check_folder
from lib._stored_codes import ImageCode
from lib._tensors import check_bright, check_device, check_peaks, check_problem, largest
from lib.provenance import ROOT

STORE = ROOT / "_build" / "codes"
# A coder that stops early magnifies rounding, which processors do differently: single precision
# leaves four digits that all of them share, double precision eleven.
PRECISIONS = {"float32": torch.float32, "float64": torch.float64}
# Pixels from the middle of the window of `contrast_normalise` to its side.
_REACH = 7


class Protocol(NamedTuple):
    """How the text of Ladret et al. codes photographs, or how their released code does.

    Attributes
    ----------
    formula : str
        Which log-Gabor.
    lmbda : float
        λ.
    fit : str
        ``"crop"`` or ``"resize"``: how a photograph becomes a square.
    """

    formula: str
    lmbda: float
    fit: str


PROTOCOLS = {
    "text": Protocol("text", lmbda=0.05, fit="crop"),
    "code": Protocol("code", lmbda=0.01, fit="resize"),
}


class Measures(NamedTuple):
    """What is measured on the codes of n images with K atoms.

    Attributes
    ----------
    psnr : ndarray (n,)
        In dB.
    sparseness : ndarray (n,)
        Fraction of coefficients that are zero.
    active : ndarray (n, K)
        Number of coefficients that are not zero, per atom.
    n_iter : ndarray (n,)
        Iterations of the coder.
    converged : ndarray (n,)
        Whether it stopped by its tolerance.
    """

    psnr: np.ndarray
    sparseness: np.ndarray
    active: np.ndarray
    n_iter: np.ndarray
    converged: np.ndarray


class Convergence(NamedTuple):
    """What codes of n images measure after so many iterations.

    Attributes
    ----------
    iterations : ndarray (m,)
    objective, psnr, sparseness : ndarray (m, n)
    """

    iterations: np.ndarray
    objective: np.ndarray
    psnr: np.ndarray
    sparseness: np.ndarray


def check_protocol(protocol):
    """Return the `Protocol` of a name."""
    if not isinstance(protocol, str) or protocol not in PROTOCOLS:
        raise ValueError(f"protocol must be one of {', '.join(PROTOCOLS)}, got {protocol!r}")
    return PROTOCOLS[protocol]


def contrast_normalise(images):
    """Subtract the local mean; divide by the local norm, or the mean local norm if larger.

    Gaussian window of 15 × 15 pixels, image by image, as SPORCO's `local_contrast_normalise`, which
    the released code of Ladret et al. uses. SPORCO's depends on which transforms a process takes
    for the fastest; the same images are the same bit by bit here, so that stored codes and
    checkpoints are found again.

    Parameters
    ----------
    images : ndarray (n, height, width)
        At least 8 × 8 pixels.

    Returns
    -------
    ndarray (n, height, width) float32

    Raises
    ------
    ValueError
        An image is constant, or `images` is not as described.
    """
    images = check_array("images", images, (None, None, None))
    if 0 in images.shape or min(images.shape[1:]) < 8:
        raise ValueError(f"images must be at least one, of 8 × 8 pixels, got {images.shape}")
    constant = np.ptp(images, axis=(1, 2)) < SMALLEST
    if constant.any():
        raise ValueError(f"images must not be constant, image {int(np.argmax(constant))} is")
    return np.stack([_normalise(image.astype(float)) for image in images]).astype(np.float32)


def _normalise(image):
    """One image of `contrast_normalise`."""
    from scipy.ndimage import correlate1d

    # Three standard deviations to each side.
    window = np.exp(-(np.linspace(-3, 3, 2 * _REACH + 1) ** 2) / 2)
    window /= window.sum()

    def blur(values):
        for axis in (0, 1):
            values = correlate1d(values, window, axis, mode="wrap")
        return values

    # Mirrored at the borders, which wrap in turn, as SPORCO's circular convolutions do.
    padded = np.pad(image, _REACH, mode="symmetric")
    centred = padded - blur(padded)
    norm = np.sqrt(blur(centred**2))
    return (centred / np.maximum(norm, norm.mean()))[_REACH:-_REACH, _REACH:-_REACH]


def prepare(source, size, n=None, protocol="code"):
    """Photographs as a protocol codes them: squares of one size, contrast-normalised.

    Parameters
    ----------
    source : str or path
        As in `datasets.photographs`.
    size : int
        Side in pixels.
    n : int, optional
        Only the first n.
    protocol : {"code", "text"}
        Whether the central square is resized ("code") or cut out of the middle ("text").

    Returns
    -------
    ndarray (n, size, size) float32
    """
    fit = check_protocol(protocol).fit
    size = check_count("size", size, 8)
    return contrast_normalise(datasets.photographs(source, size, n, fit))


def _check_settings(settings):
    """Refuse settings that are an image's own, or that are given otherwise."""
    for name, instead in (("start", ""), ("sparse", ""), ("dtype", ", use precision")):
        if name in settings:
            raise ValueError(f"{name} must not be given here{instead}")
    if settings.get("rho") is not None:
        check_number("rho", settings["rho"], 0.0, open_minimum=True)


def _check_precision(precision):
    """Return the dtype of a precision's name."""
    if not isinstance(precision, str) or precision not in PRECISIONS:
        raise ValueError(f"precision must be one of {', '.join(PRECISIONS)}, got {precision!r}")
    return PRECISIONS[precision]


def iter_codes(
    images,
    atoms,
    lmbda,
    *,
    store=STORE,
    device=None,
    precision="float32",
    progress=False,
    **settings,
):
    """Codes of images one by one, from the store where they are there already.

    Parameters
    ----------
    images : ndarray (n, height, width)
    atoms : ndarray (K, h, w)
    lmbda : float
    store : Path or None
        Folder of the codes; None keeps nothing.
    device : str, optional
        Where to code.
    precision : {"float32", "float64"}
        What to code in.
    progress : bool
        Show a progress bar.
    **settings
        Further arguments of `csc.sparse_code`, such as `max_iter` and `tol`, the same for all
        images: not `start`, and one `rho`.

    Yields
    ------
    ImageCode
        In the order of the images.
    """
    _check_settings(settings)
    settings["dtype"] = _check_precision(precision)
    images = _check_images(images, settings["dtype"])
    atoms = check_array("atoms", atoms, (None, None, None))
    lmbda = check_number("lmbda", lmbda, 0.0)
    device = check_device(device or "cpu")
    progress = check_flag("progress", progress)
    paths = [None] * len(images)
    if store is not None:
        check_folder(store)
        base = _stored_codes.fingerprint(atoms.astype(images.dtype), lmbda, settings)
        paths = [Path(store) / f"{_stored_codes.digest(base, image)}.npz" for image in images]
    shape = (len(atoms), *images.shape[1:])
    # As many at a time as a tile of the coder takes, one at least.
    batch = max(1, tile_pixels(device) // images[0].size)
    from tqdm.auto import tqdm

    with tqdm(total=len(images), unit="image", disable=not progress) as bar:
        for first in range(0, len(images), batch):
            some = range(first, min(first + batch, len(images)))
            found = {i: _stored_codes.read(paths[i], shape) for i in some}
            todo = [i for i in some if found[i] is None]
            if todo:
                code = csc.sparse_code(
                    images[todo], atoms, lmbda, sparse=True, device=device, **settings
                )
                for j, i in enumerate(todo):
                    found[i] = ImageCode(
                        code.coefficients[j].coalesce().cpu(),
                        int(code.n_iter[j]),
                        bool(code.converged[j]),
                    )
                    _stored_codes.write(paths[i], found[i])
            for i in some:
                bar.update()
                yield found[i]


def measure(images, atoms, lmbda, **settings):
    """PSNR, sparseness and activity of the codes of images.

    Arguments are those of `iter_codes`.

    Returns
    -------
    Measures

    Raises
    ------
    ValueError
        As `iter_codes`; or an image has no pixel above zero, so that it has no PSNR.
    """
    images = check_bright(images)
    rows = []
    codes = iter_codes(images, atoms, lmbda, **settings)
    for image, code in zip(images, codes, strict=True):
        coefficients = code.coefficients[None]
        rows.append(
            (
                csc.psnr(image[None], csc.reconstruct(coefficients, atoms))[0],
                csc.sparseness(coefficients)[0],
                activity(code.coefficients),
                code.n_iter,
                code.converged,
            )
        )
    return Measures(*(np.array(column) for column in zip(*rows, strict=True)))


def convergence(
    images, atoms, lmbda, at, *, rho=None, auto_rho=True, device="cpu", precision="float32"
):
    """Codes after several numbers of iterations, from one run without a tolerance.

    Parameters
    ----------
    images : ndarray (n, height, width)
    atoms : ndarray (K, h, w)
    lmbda : float
    at : sequence of int
        Iterations after which to measure.
    rho, auto_rho, device
        As for `csc.sparse_code`.
    precision : {"float32", "float64"}
        What to code in.

    Returns
    -------
    Convergence
    """
    dtype = _check_precision(precision)
    at = check_array("at", at, (None,))
    if not len(at) or at.min() < 1 or (at % 1 != 0).any():
        raise ValueError(f"at must hold whole numbers >= 1, got {at}")
    at = np.unique(at).astype(int).tolist()
    lmbda = check_number("lmbda", lmbda, 0.0, maximum=largest(dtype))
    rho = 50 * lmbda + 1 if rho is None else check_number("rho", rho, 1e-9)
    auto_rho = check_flag("auto_rho", auto_rho)
    images, atoms, device = check_problem(images, atoms, device, dtype)
    check_peaks(images)
    bank = AtomBank(atoms, *images.shape[1:])
    start = torch.full((len(images),), rho, dtype=torch.float64)
    state = _admm.Iteration(bank, images, lmbda, start.to(device), relax=1.8)
    rows = []
    for iteration in range(1, at[-1] + 1):
        primal, dual = state.step()
        if auto_rho and iteration > 1:
            state.rescale(_admm.rho_factor(primal, dual, lmbda))
        if iteration in at:
            rows.append([_measure_state(state, i) for i in range(len(images))])
    objective, psnr, sparseness = np.moveaxis(np.array(rows), -1, 0)
    if not np.isfinite(objective).all():
        raise csc.NotFinite(int(np.argwhere(~np.isfinite(objective))[0, 1]), dtype)
    return Convergence(np.array(at), objective, psnr, sparseness)


def _measure_state(state, i):
    """Objective, PSNR and sparseness of one image's code."""
    coefficients, synthesis = state.result(slice(i, i + 1))
    rest = (state.images[i] - synthesis[0]).double()
    penalty = coefficients.abs().sum(dtype=torch.float64)
    return (
        float(rest.square().sum() / 2 + state.threshold * penalty),
        float(csc.psnr(state.images[i][None], synthesis)[0]),
        float(csc.sparseness(coefficients)[0]),
    )


def activity(coefficients):
    """Number (K,) of coefficients of one image that are not zero, per atom."""
    coefficients = coefficients.to_sparse().coalesce()
    atoms = coefficients.indices()[0][coefficients.values() != 0]
    return torch.bincount(atoms, minlength=len(coefficients)).cpu().numpy()


def equal_quality(path, other):
    """How two dictionaries compare where they are equally good, image by image.

    Each path holds an image's codes at several λ. Between two neighbouring λ, PSNR is taken to
    run linearly in the logarithm of the number of coefficients used.

    Parameters
    ----------
    path, other : list of Measures or of Convergence
        One for each λ, of the same images.

    Returns
    -------
    psnr : ndarray (n,) or (m, n)
        PSNR of `path` less that of `other` in dB at equal sparseness, averaged over the range of
        sparseness that both reach; NaN where there is none. A row for each number of iterations
        if the codes were followed.
    density : ndarray (n,) or (m, n)
        Log₂ of the ratio of coefficients used, `path` over `other`, at equal PSNR, averaged
        likewise.
    """
    if len(path) < 2 or len(other) < 2:
        raise ValueError("path and other must hold at least two values of λ each")
    with np.errstate(divide="ignore"):
        ours, theirs = (
            (np.log2(1 - np.array([m.sparseness for m in p])), np.array([m.psnr for m in p]))
            for p in (path, other)
        )
    shape = ours[0].shape[1:]
    psnr, density = np.empty(shape), np.empty(shape)
    for i in np.ndindex(shape):
        at = (slice(None), *i)
        psnr[i] = _mean_gap(*(np.stack([x[at], y[at]]) for x, y in (ours, theirs)))
        density[i] = _mean_gap(*(np.stack([y[at], x[at]]) for x, y in (ours, theirs)))
    return psnr, density


def _check_images(images, dtype):
    images = check_array("images", images, (None, None, None))
    images = images.astype(np.float64 if dtype == torch.float64 else np.float32)
    if 0 in images.shape:
        raise ValueError(f"images must be at least one, of a pixel or more, got {images.shape}")
    return images


def _mean_gap(ours, theirs):
    """Mean difference of two curves (x, y) over the range of x that they share."""
    # Of a code without coefficients, or a perfect one, a coordinate is infinite.
    finite = (curve[:, np.isfinite(curve).all(axis=0)] for curve in (ours, theirs))
    (x, y), (other_x, other_y) = (curve[:, np.argsort(curve[0])] for curve in finite)
    low = max(x.min(initial=np.inf), other_x.min(initial=np.inf))
    high = min(x.max(initial=-np.inf), other_x.max(initial=-np.inf))
    if not low < high:
        return np.nan
    at = np.linspace(low, high, 50)
    return float(np.mean(np.interp(at, x, y) - np.interp(at, other_x, other_y)))

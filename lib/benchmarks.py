"""Speed and memory of ours and of its peers on the same problem, in the same run.

Times are wall times, the best of several repeats. What other programs do at the same time shows
in them: ratios of one run say more than seconds.
"""

import json
import subprocess
import sys
import time
import tracemalloc
from functools import partial
from importlib.util import find_spec
from itertools import islice
from typing import NamedTuple

import numpy as np
import torch

from lib import codes, csc, datasets, loggabor, peers
from lib._atom_bank import AtomBank
from lib._checks import check_array, check_choice, check_count, check_number, check_rng
from lib._tensors import check_device, check_tensor, largest
from lib.cca import PastFutureCCA
from lib.dictlearn import learn_dictionary
from lib.lags import LagCovariance, lag_vectors
from lib.provenance import high_water
from lib.resu import L1, L3, T4, ReSULayer, ReSUNetwork

OURS = "lib.csc"
CODERS = {
    "SPORCO": peers.sporco_coder,
    "SPORCO, FastSolve": partial(peers.sporco_coder, fast=True),
    "torch, plain": peers.torch_coder,
    OURS: peers.our_coder,
}


class Problem(NamedTuple):
    """An image to code.

    Attributes
    ----------
    image : ndarray (height, width) float32
    atoms : ndarray (K, h, w) float32
    lmbda : float
        λ.
    """

    image: np.ndarray
    atoms: np.ndarray
    lmbda: float


def best_time(function, repeats=3):
    """Shortest wall time of several calls, in seconds."""
    times = []
    for _ in range(check_count("repeats", repeats)):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return min(times)


def peak_bytes(function):
    """Peak of NumPy's allocations during a call."""
    tracemalloc.start()
    function()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak


def use_threads(n):
    """Let torch and SPORCO's Fourier transforms use n threads."""
    import sporco.fft

    n = check_count("n", n)
    torch.set_num_threads(n)
    sporco.fft.pyfftw_threads = n


def coding_problem(size=256, lmbda=0.01):
    """The middle of a contrast-normalised photograph, and the heterogeneous dictionary.

    Parameters
    ----------
    size : int
        Height and width, up to 256 pixels.
    lmbda : float
        λ.
    """
    size = check_count("size", size, 12)
    if size > 256:
        raise ValueError(f"size must be at most 256, got {size}")
    lmbda = check_number("lmbda", lmbda, 0, maximum=largest(torch.float32))
    photograph = datasets.photographs("bundled", size=256, n=1)
    first = (256 - size) // 2
    image = codes.contrast_normalise(photograph)[0, first : first + size, first : first + size]
    atoms = loggabor.heterogeneous_dictionary().atoms.astype(np.float32)
    return Problem(np.ascontiguousarray(image), atoms, lmbda)


def code(name, problem, n_iter):
    """Coefficients (K, height, width) after n iterations of a coder, one of `CODERS`."""
    check_choice("name", name, CODERS)
    n_iter = check_count("n_iter", n_iter)
    if name == OURS:
        image, atoms, lmbda = problem
        return csc.sparse_code(image[None], atoms, lmbda, max_iter=n_iter, tol=0).coefficients[0]
    return next(islice(CODERS[name](*problem), n_iter - 1, None))()


def seconds_per_iteration(problem, n_iter, repeats=3, names=tuple(CODERS)):
    """Of coders that take turns, so that what else the machine does meets them all.

    For each turn the median of n iterations, which follow one that is not counted; the shortest
    of these medians.

    Returns
    -------
    dict of str to float
    """
    n_iter, repeats = check_count("n_iter", n_iter), check_count("repeats", repeats)
    for name in names:
        check_choice("names", name, CODERS)
    medians = {name: [] for name in names}
    for _ in range(repeats):
        for name in names:
            steps = islice(CODERS[name](*problem), n_iter + 1)
            ends = [time.perf_counter() for _ in steps]
            medians[name].append(float(np.median(np.diff(ends))))
    return {name: min(values) for name, values in medians.items()}


def trace(name, problem, n_iter, every, **settings):
    """Seconds and objective after every so many iterations; the objective's own time is left out.

    Returns
    -------
    iterations, seconds, objective : ndarray (n_iter // every,)
    """
    check_choice("name", name, CODERS)
    every = check_count("every", every)
    n_iter = check_count("n_iter", n_iter, every)
    rows, seconds, start = [], 0.0, time.perf_counter()
    for iteration, maps in enumerate(islice(CODERS[name](*problem, **settings), n_iter), 1):
        if iteration % every == 0:
            maps = maps()
            seconds += time.perf_counter() - start
            rows.append((iteration, seconds, objective(problem, maps)))
            start = time.perf_counter()
    return np.array(rows).T


def learning_seconds(problem, max_iter, n_steps=2):
    """Seconds for a step of online dictionary learning from one image, by ours and by SPORCO.

    Parameters
    ----------
    problem : Problem
    max_iter : int
        Iterations of the coder in each step, with a fixed ρ of 10, as in Ladret et al.'s code.
    n_steps : int
        The shortest of so many steps counts, after one that does not.

    Returns
    -------
    dict of str to float
    """
    image, atoms, lmbda = problem
    max_iter, n_steps = check_count("max_iter", max_iter), check_count("n_steps", n_steps)
    ends = []

    def ours(n):
        learn_dictionary(image[None], atoms, lmbda, n, rng=0, max_iter=max_iter, tol=0)

    theirs = peers.sporco_learner(image, atoms, lmbda, max_iter)
    for _ in range(n_steps + 1):
        next(theirs)
        ends.append(time.perf_counter())
    once, more = (best_time(partial(ours, n), 2) for n in (1, 1 + n_steps))
    return {OURS: (more - once) / n_steps, "SPORCO": float(min(np.diff(ends)))}


def objective(problem, maps):
    """Objective of coefficients (K, height, width), in float64, from Fourier transforms."""
    image = check_tensor("image", problem.image, 2, "cpu", torch.float64)
    atoms = check_tensor("atoms", problem.atoms, 3, "cpu", torch.float64)
    maps = check_tensor("maps", maps, 3, "cpu", torch.float64)
    lmbda = check_number("lmbda", problem.lmbda, 0, maximum=largest(torch.float64))
    if maps.shape != (len(atoms), *image.shape):
        raise ValueError(
            f"maps must have shape {(len(atoms), *image.shape)}, got {tuple(maps.shape)}"
        )
    spectrum = (torch.fft.rfft2(atoms, s=image.shape) * torch.fft.rfft2(maps)).sum(0)
    rest = image - torch.fft.irfft2(spectrum, s=image.shape)
    return float(rest.square().sum() / 2 + lmbda * maps.abs().sum())


def seconds_to(traced, target):
    """Seconds after which the objective of a `trace` comes to stay below a target.

    NaN if it does not.
    """
    _, seconds, values = check_array("traced", traced, (3, None))
    target = check_number("target", target)
    above = np.flatnonzero(values > target)
    first = above[-1] + 1 if len(above) else 0
    return float(seconds[first]) if first < len(values) else np.nan


def peak_memory(name, size, n_iter=3):
    """Bytes that coding needs at its peak, above what the process held before.

    A process of its own codes a small image first and then one of `size` × `size` pixels.
    """
    check_choice("name", name, CODERS)
    size, n_iter = check_count("size", size, 12), check_count("n_iter", n_iter)
    program = (
        "import json, sys; from lib import benchmarks; "
        "print(benchmarks.own_peak_memory(*json.loads(sys.argv[1])))"
    )
    command = [sys.executable, "-c", program, json.dumps([name, size, n_iter])]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return int(done.stdout)


def own_peak_memory(name, size, n_iter):
    """Like `peak_memory`, in the process that calls it, which must be fresh."""
    problem = coding_problem(size)
    code(name, coding_problem(32), 2)
    before = high_water()
    code(name, problem, n_iter)
    return high_water() - before


def floors(problem, repeats=5, n_images=1, device="cpu"):
    """What no implementation of a design can beat on this machine, in seconds per iteration.

    Parameters
    ----------
    problem : Problem
    repeats : int
        The shortest of so many times counts.
    n_images : int
        Images of this size, all in one iteration.
    device : str or torch.device
        Where to work.

    Returns
    -------
    dict of str to float
        ``"transforms"``: a Fourier transform of all maps and one back, the least that the usual
        design does. ``"products"`` and ``"copy"``: the two matrix products of our design, tile
        by tile, and the state read once and written once, as fast as this machine multiplies and
        copies.
    """
    repeats, n_images = check_count("repeats", repeats), check_count("n_images", n_images)
    device = check_device(device)
    (height, width), k = problem.image.shape, len(problem.atoms)
    bank = AtomBank(torch.from_numpy(problem.atoms).to(device), height, width)
    # Not zeros, on which a processor may spend less power and so less time.
    rows = max(bank.analysis.shape)
    flat = torch.linspace(-1, 1, rows * n_images * height * width, device=device).view(rows, -1)
    maps = flat[:k].view(k, n_images, height, width)
    other, tiles = torch.empty_like(maps), bank.tiles(n_images)

    def products(tile):
        some = flat[:, bank.span(tile)]
        for matrix in (bank.analysis, bank.synthesis):
            n_out, n_in = matrix.shape
            torch.mm(matrix, some[:n_in], out=bank.buffer("out", n_out, some.shape[1]))

    functions = {
        "transforms": lambda: torch.fft.irfft2(torch.fft.rfft2(maps), s=(height, width)),
        "products": lambda: bank.workers.map(products, tiles),
        "copy": lambda: other.copy_(maps),
    }
    return {name: _device_time(function, device, repeats) for name, function in functions.items()}


def lag_seconds(n_samples, memory, rng, repeats=3):
    """Seconds for second moments, and for a whole analysis, by ours and by its peers.

    Parameters
    ----------
    n_samples, memory : int
        Of the series, and of both lag vectors.
    rng : numpy.random.Generator

    Returns
    -------
    moments, analyses : dict of str to float
        Ours first. deeptime's VAMP is left out where deeptime is not installed.
    """
    from sklearn.cross_decomposition import CCA

    memory, repeats = check_count("memory", memory, 2), check_count("repeats", repeats)
    n_samples, rng = check_count("n_samples", n_samples, 8 * memory), check_rng(rng)
    x = rng.standard_normal(n_samples).cumsum() / 100 + rng.standard_normal(n_samples)
    pair = lag_vectors(x, memory, memory)
    sizes = (memory, memory)
    moments = {
        "LagCovariance": lambda: LagCovariance(*sizes).update(x).blocks(),
        "Hankel product": lambda: peers.hankel_product(x, *sizes),
        "Hankel product, tuned": lambda: peers.tuned_hankel_product(x, *sizes),
    }
    analyses = {"PastFutureCCA": lambda: PastFutureCCA(*sizes).fit(x)}
    if find_spec("deeptime"):
        from deeptime.decomposition import VAMP

        analyses["deeptime VAMP"] = lambda: VAMP(lagtime=1).fit(pair).fetch_model().singular_values
    analyses["scikit-learn CCA, rank 2"] = lambda: CCA(2).fit(*pair)
    return tuple(
        {name: best_time(function, repeats) for name, function in group.items()}
        for group in (moments, analyses)
    )


def network_seconds(n_scans, n_samples, rng, repeats=3):
    """Seconds to learn both layers of the T4 network (memory 50), by ours and by its peers.

    Parameters
    ----------
    n_scans, n_samples : int
        Each scan is a random walk without its mean, plus white noise.
    rng : numpy.random.Generator

    Returns
    -------
    dict of str to float
        Ours first. The peers stop at the second layer's moments.
    """
    n_scans, repeats = check_count("n_scans", n_scans), check_count("repeats", repeats)
    n_samples, rng = check_count("n_samples", n_samples, 140), check_rng(rng)
    scans = rng.standard_normal((n_scans, n_samples)).cumsum(axis=1)
    scans += rng.standard_normal(scans.shape) - scans.mean(axis=1, keepdims=True)
    shifts, gap, memory = (26, 13, 0), 5, 50
    layers = [
        ReSULayer(memory, memory, [L3, L1]),
        ReSULayer(1, 1, [T4], gap=gap, center=False),
    ]
    network = ReSUNetwork(layers, [shifts])
    series, theirs = list(scans), (scans, shifts, gap, memory, rng)
    functions = {
        "ReSUNetwork": lambda: network.fit(series),
        "Hankel matrix": lambda: peers.hankel_network(*theirs),
        "Hankel, scan by scan": lambda: peers.tuned_hankel_network(*theirs),
    }
    return {name: best_time(function, repeats) for name, function in functions.items()}


def gpu_throughput(n_images=512, size=64, n_iter=100):
    """Images per second on a GPU, all at once and one at a time, or None where there is none.

    Parameters
    ----------
    n_images, size : int
        Images, of `size` × `size` pixels.
    n_iter : int
        Iterations for each.

    Returns
    -------
    dict of str to float
        ``"batch"``: ours. ``"one by one"``: the usual design, one image after the other.
        ``"floor"``: the two matrix products of our design, and the state read once and written
        once in each iteration, see `floors`. ``"copy"``: of these the second alone.
    """
    n_images, n_iter = check_count("n_images", n_images), check_count("n_iter", n_iter)
    problem = coding_problem(size)
    if not torch.cuda.is_available():
        return None
    device = torch.device("cuda")
    images = torch.from_numpy(problem.image).to(device).expand(n_images, -1, -1)
    d = torch.from_numpy(problem.atoms).to(device)
    settings = {"max_iter": n_iter, "tol": 0, "sparse": True}

    def one():
        return next(islice(peers.torch_coder(images[0], d, problem.lmbda), n_iter - 1, None))

    def all_at_once():
        return csc.sparse_code(images, d, problem.lmbda, **settings)

    least = floors(problem, 3, n_images, device)
    return {
        "batch": n_images / _device_time(all_at_once, device),
        "one by one": 1 / _device_time(one, device),
        "floor": n_images / n_iter / (least["products"] + least["copy"]),
        "copy": n_images / n_iter / least["copy"],
    }


def _device_time(function, device, repeats=3):
    """Shortest wall time of several calls until the device is done, in seconds, after one more."""

    def run():
        function()
        if device.type == "cuda":
            torch.cuda.synchronize(device)

    run()
    return best_time(run, repeats)

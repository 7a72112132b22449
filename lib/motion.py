"""Stimuli that move, measures of the response, and T4's synapses in the connectome (float64).

Stimuli are arrays (n_samples, n_pixels) of contrast, pixels from left to right, one sample every
`time_step` seconds. They move from left to right, so that the left pixel sees them first;
``reverse=True`` exchanges the pixels and nothing else.
"""

import json
from itertools import permutations
from math import factorial
from typing import NamedTuple

import numpy as np
from scipy.special import ndtr

from lib._checks import check_array, check_count, check_flag, check_number, check_rng

_LONGEST = 1e7
_PER_FWHM = 1 / np.sqrt(8 * np.log(2))


def moving_edge(
    speed,
    time_step,
    contrast=1.0,
    polarity="on",
    reverse=False,
    n_pixels=3,
    spacing=5.05,
    blur=5.7,
    background=0.0,
    rest=1.0,
):
    """An edge that crosses the pixels, as seen through the eye's blur.

    c(t, x) = background ± contrast · Φ((v t - x)/σ), Φ the normal distribution function.

    Parameters
    ----------
    speed : float
        v in degrees per second.
    time_step : float
        Seconds per sample. For a network trained on scans of d degrees per sample, v is the
        speed of its training if ``v * time_step == d``.
    contrast : float, default 1
        Size of the step, in the unit of the network's input.
    polarity : {"on", "off"}, default "on"
        Whether the edge brings light or dark.
    reverse : bool, default False
        Exchange the pixels, so that the edge moves from right to left.
    n_pixels : int, default 3
    spacing : float, default 5.05
        Degrees between neighbouring pixels, which lie symmetrically about x = 0.
    blur : float, default 5.7
        Full width at half maximum of the eye's Gaussian, in degrees; σ is 1/2.355 of it.
    background : float, default 0
        Contrast before the edge comes.
    rest : float, default 1
        Seconds before the edge reaches, and after it has left, the pixels and 4 σ around them.

    Returns
    -------
    ndarray (n_samples, n_pixels)
        Sample i is at time t = (i - n_samples // 2) · time_step: the edge is at x = 0 in the
        middle one.
    """
    sign, x, sigma = _eye(speed, time_step, contrast, polarity, n_pixels, spacing, blur)
    background = check_number("background", background)
    rest = check_number("rest", rest, 0.0)
    reverse = check_flag("reverse", reverse)
    half = _samples(((x.max() + 4 * sigma) / speed + rest) / time_step)
    t = np.arange(-half, half + 1) * time_step
    stimulus = background + sign * contrast * ndtr((speed * t[:, None] - x) / sigma)
    return stimulus[:, ::-1] if reverse else stimulus


def moving_grating(
    speed,
    time_step,
    wavelength=30.0,
    contrast=1.0,
    polarity="on",
    reverse=False,
    n_pixels=3,
    spacing=5.05,
    blur=5.7,
    background=0.0,
    rest=1.0,
    cycles=5,
):
    """A sinusoidal grating that stands still and then moves, as seen through the eye's blur.

    c(t, x) = background ± contrast · (1 + a sin(2π (v t - x)/λ))/2 for t > 0 and c(0, x) before,
    with a = exp(-2 π² σ²/λ²), what the blur leaves of the modulation.

    Parameters
    ----------
    wavelength : float, default 30
        λ in degrees.
    polarity : {"on", "off"}, default "on"
        Whether the bars are brighter or darker than the background.
    rest : float, default 1
        Seconds for which the grating stands still at first.
    cycles : int, default 5
        Periods for which it moves.
    speed, time_step, contrast, reverse, n_pixels, spacing, blur, background
        As in `moving_edge`.

    Returns
    -------
    ndarray (n_samples, n_pixels)
        Sample i is at time t = i · time_step - rest, rest rounded up to whole samples.
    """
    sign, x, sigma = _eye(speed, time_step, contrast, polarity, n_pixels, spacing, blur)
    wavelength = check_number("wavelength", wavelength, 0.0, open_minimum=True)
    background = check_number("background", background)
    reverse = check_flag("reverse", reverse)
    still = _samples(check_number("rest", rest, 0.0) / time_step)
    moving = _samples(check_count("cycles", cycles) * wavelength / speed / time_step)
    t = np.maximum(np.arange(-still, moving + 1), 0) * time_step
    left = np.exp(-2 * (np.pi * sigma / wavelength) ** 2)
    wave = np.sin(2 * np.pi * (speed * t[:, None] - x) / wavelength)
    stimulus = background + sign * contrast * (1 + left * wave) / 2
    return stimulus[:, ::-1] if reverse else stimulus


def _eye(speed, time_step, contrast, polarity, n_pixels, spacing, blur):
    """Check what the stimuli share; return the sign, the pixels' places and σ in degrees."""
    check_number("speed", speed, 0.0, open_minimum=True)
    check_number("time_step", time_step, 0.0, open_minimum=True)
    check_number("contrast", contrast, 0.0)
    if polarity not in ("on", "off"):
        raise ValueError(f"polarity must be 'on' or 'off', got {polarity!r}")
    n_pixels = check_count("n_pixels", n_pixels)
    spacing = check_number("spacing", spacing, 0.0, open_minimum=True)
    blur = check_number("blur", blur, 0.0, open_minimum=True)
    places = (np.arange(n_pixels) - (n_pixels - 1) / 2) * spacing
    return (1.0 if polarity == "on" else -1.0), places, blur * _PER_FWHM


def _samples(number):
    """Whole samples, upwards; no more than memory has room for."""
    if not number <= _LONGEST:
        raise ValueError(
            f"speed, time_step and rest must ask for {_LONGEST:.0e} samples or fewer, "
            f"got {number:.3g}"
        )
    return int(np.ceil(number))


def staircase(steps=4, samples=150, height=1.0, start=1.5):
    """Luminance that climbs a staircase and comes down again, (2 * steps * samples,).

    Each step takes `samples` samples: start + height · (k + (1 + tanh s)/2) for s from -10 to 10,
    k = 0, ..., steps - 1, then the same backwards. The released code takes the logarithm of it.

    Parameters
    ----------
    steps, samples : int
        Steps up (and as many down), samples per step.
    height, start : float
        Height of a step, luminance at the bottom.
    """
    steps, samples = check_count("steps", steps), check_count("samples", samples, 2)
    height, start = check_number("height", height), check_number("start", start)
    step = (1 + np.tanh(np.linspace(-10, 10, samples))) / 2
    climb = (np.arange(steps)[:, None] + step).ravel()
    return start + height * np.concatenate([climb, climb[::-1]])


def sustained_index(response, onset, end):
    """How much of a response to a step lasts: (r(end) - r(onset)) / its extreme value in between.

    1 for a response that follows the step, 0 for one that returns to where it was.

    Parameters
    ----------
    response : ndarray (n_times,)
    onset, end : int
        Index of the last value before the step, and of the end of the plateau after it.

    Returns
    -------
    float
        0 if there is no response at all.
    """
    response = check_array("response", response, (None,))
    onset, end = check_count("onset", onset, 0), check_count("end", end)
    if not onset < end < len(response):
        raise ValueError(f"onset < end < {len(response)} must hold, got {onset} and {end}")
    change = response[onset : end + 1] - response[onset]
    extreme = change[np.abs(change).argmax()]
    return float(change[-1] / extreme) if extreme else 0.0


def direction_selectivity_index(preferred, null, n_resamples=0, confidence=0.95, rng=None):
    """(P - N)/(P + N) of responses to motion in the preferred and in the null direction.

    Parameters
    ----------
    preferred, null : float or ndarray (n,)
        Non-negative responses, such as peaks, to the same n stimuli moving either way; P and N
        are their means.
    n_resamples : int, default 0
        If not 0, resample the n pairs that many times for an interval (percentile bootstrap).
    confidence : float, default 0.95
        Coverage of the interval.
    rng : numpy.random.Generator or int, optional
        Needed for the bootstrap.

    Returns
    -------
    float, or (float, float, float)
        The index, from -1 to 1, and 0 where there is no response at all; with `n_resamples` the
        index and the bounds of its interval.

    Raises
    ------
    ValueError
        A response is negative or not finite, shapes differ, or rng is missing.
    """
    pairs = []
    for name, value in (("preferred", preferred), ("null", null)):
        value = np.atleast_1d(check_array(name, value))
        if value.ndim != 1 or value.size == 0 or value.min() < 0:
            raise ValueError(f"{name} must hold responses >= 0, got {value!r}")
        pairs.append(value)
    if len(pairs[0]) != len(pairs[1]):
        raise ValueError(
            f"preferred and null must be paired, got {len(pairs[0])} and {len(pairs[1])} responses"
        )
    pairs = np.array(pairs)

    def index(p, n):
        total = p + n
        return np.divide(p - n, total, out=np.zeros_like(total), where=total > 0)

    value = float(index(*pairs.mean(axis=1)))
    if not check_count("n_resamples", n_resamples, 0):
        return value
    confidence = check_number("confidence", confidence, 0.0, open_minimum=True, maximum=1.0)
    if rng is None:
        raise ValueError("rng must be given for a bootstrap interval, got None")
    n = pairs.shape[1]
    picks = check_rng(rng).integers(n, size=(n_resamples, n))
    values = index(*pairs[:, picks].mean(axis=2))
    low, high = np.quantile(values, [(1 - confidence) / 2, (1 + confidence) / 2])
    return value, float(low), float(high)


class ConnectomeWeights(NamedTuple):
    """T4's input from the columns that preferred motion crosses first, under it, and last.

    Attributes
    ----------
    l1, l3 : ndarray (3,)
        Left, centre, right, where left is where motion in the cell's preferred direction comes
        from. Positive weights excite T4 when it gets brighter.
    by_source : dict of str to ndarray (3,)
        Synapses per presynaptic cell type, negative where they inhibit; empty for the published
        triples.
    """

    l1: np.ndarray
    l3: np.ndarray
    by_source: dict

    def channels(self, l3_polarity=1):
        """Six weights in the order of a network's inputs: L3 and L1 of left, centre, right.

        Each triple is divided by the sum of its absolute values. `l3_polarity` is -1 for an L3
        that is positive when it gets darker, as the cell's own potential is.
        """
        if l3_polarity not in (1, -1):
            raise ValueError(f"l3_polarity must be 1 or -1, got {l3_polarity!r}")
        triples = l3_polarity * self.l3, self.l1
        return np.stack([triple / np.abs(triple).sum() for triple in triples], axis=1).ravel()


def connectome_weights(path=None, target="T4a", reach=1):
    """Weights of T4's inputs by column: the published ones, or synapse counts from a file.

    Parameters
    ----------
    path : str or path-like, optional
        The connectome as distributed with flyvis (``fib25-fib19_v2.2.json``). Without it the
        triples that the paper compares with: L1 (0.37, 1.37, 0.34), L3 (0.20, -0.38, -0.09).
    target : {"T4a", "T4b"}, default "T4a"
        The postsynaptic cell; the two prefer opposite horizontal directions.
    reach : int, default 1
        Columns up to this hexagonal distance from the cell's own are counted: with 1, it and its
        six neighbours.

    Returns
    -------
    ConnectomeWeights
        From the file, `l1` are the synapses of Mi1 and Tm3, which L1 drives in light, and `l3`
        those of Mi9, which L3 drives in the dark and which inhibits: less inhibition in light
        counts as positive. Mi4 and all other cell types are in `by_source` alone.

    Raises
    ------
    ValueError
        The file is no connectome or lacks a cell type; target or reach is out of range.
    FileNotFoundError

    Notes
    -----
    The file lists average synapse counts per connection from a source to a target cell with
    offset (du, dv) = target - source in hexagonal coordinates, whose place in the visual field is
    x = 3/2 v, y = -√3 (u + v/2). T4a prefers motion towards -x, T4b towards +x, so that a source
    at dv < 0 lies where T4a's preferred motion comes from. Columns with equal dv, one above
    another, are summed.
    """
    if target not in ("T4a", "T4b"):
        raise ValueError(f"target must be 'T4a' or 'T4b', got {target!r}")
    reach = check_count("reach", reach)
    if path is None:
        if target != "T4a" or reach != 1:
            raise ValueError(f"path must be given for target {target!r} and reach {reach}")
        return ConnectomeWeights(np.array([0.37, 1.37, 0.34]), np.array([0.20, -0.38, -0.09]), {})
    with open(path, encoding="utf-8") as file:
        try:
            edges = json.load(file)["edges"]
            edges = [edge for edge in edges if edge["tar"] == target]
            by_source = {edge["src"]: _by_column(edge, target, reach) for edge in edges}
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(f"path must be a connectome in flyvis's format, got {path}") from error
    missing = {"Mi1", "Tm3", "Mi9"} - set(by_source)
    if missing:
        raise ValueError(f"path must hold {sorted(missing)} to {target}, got {path} without")
    return ConnectomeWeights(by_source["Mi1"] + by_source["Tm3"], -by_source["Mi9"], by_source)


def _by_column(edge, target, reach):
    """Signed synapse counts of one cell type, (left, centre, right)."""
    counts = np.zeros(3)
    for (du, dv), n in edge["offsets"]:
        if max(abs(du), abs(dv), abs(du + dv)) <= reach:
            along = dv if target == "T4a" else -dv
            counts[1 + int(np.sign(along))] += edge["alpha"] * n
    return counts


def cosine_test(weights, reference, n_permutations=10_000, rng=None):
    """Cosine between two weight vectors, and its one-sided p-value under permutation.

    Parameters
    ----------
    weights, reference : ndarray (n,)
    n_permutations : int, default 10000
        Random permutations of `weights`; where there are no more than that at all (n ≤ 7), each
        is tried once instead.
    rng : numpy.random.Generator or int, optional
        Needed for random permutations.

    Returns
    -------
    cosine : float
    p : float
        Share of permutations, the given order among them, with a cosine at least as large.
    """
    weights = check_array("weights", weights, (None,))
    reference = check_array("reference", reference, weights.shape)
    n_permutations = check_count("n_permutations", n_permutations)
    scale = np.linalg.norm(weights) * np.linalg.norm(reference)
    if scale == 0:
        raise ValueError("weights and reference must not be all zero")
    if len(weights) <= 20 and factorial(len(weights)) <= n_permutations:
        orders = np.array(list(permutations(range(len(weights)))))
    elif rng is None:
        raise ValueError("rng must be given for random permutations, got None")
    else:
        rng = check_rng(rng)
        orders = rng.permuted(np.tile(np.arange(len(weights)), (n_permutations, 1)), axis=1)
        orders[0] = np.arange(len(weights))
    cosines = weights[orders] @ reference / scale
    cosine = float(weights @ reference / scale)
    return cosine, float((cosines >= cosine - 1e-12).mean())

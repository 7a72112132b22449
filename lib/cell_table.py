"""What trained cells say: Table 1 of Ladret et al. beside ours, and what pruning does to inputs."""

from typing import NamedTuple

import numpy as np
from scipy.stats import norm, t

from lib._checks import as_array, check_count
from lib.cells import GREY

# Ladret et al., Table 1: top-1 accuracy in % without pruning, at c = 0.25 and at c = 0.5, and its
# standard deviation over four seeds.
LEARNED = ("hom_after", "het_after")
CUTOFFS = (0.0, 0.25, 0.5)
TABLE_1 = {
    "hom_before": ((70.65, 0.30), (69.70, 0.26), (67.83, 0.47)),
    "hom_after": ((67.31, 0.20), (66.24, 0.01), (67.40, 0.12)),
    "het_before": ((75.08, 0.10), (71.81, 0.41), (65.20, 0.40)),
    "het_after": ((79.20, 0.11), (78.98, 0.00), (79.26, 0.02)),
}


class Accuracy(NamedTuple):
    """Accuracy in % over seeds.

    Attributes
    ----------
    best : float
        Mean over seeds at the epoch where it is largest, which is what the released code prints.
        It was chosen on the test images, and has no interval here.
    final, low, high : float
        Mean at the last epoch, which nothing chose, and its 95 % interval.
    seeds : tuple of float
        At the last epoch, one each.
    """

    best: float
    final: float
    low: float
    high: float
    seeds: tuple


def accuracies(groups):
    """Accuracies of the conditions of one table.

    Intervals allow for other test images, by Wilson's with as many images as would vary as much
    as the seeds' mean does, and for other seeds: what these vary more than images explain (two-way
    analysis of variance), as a share of p (1 - p). It is pooled over the conditions, since a few
    seeds of one say little, and Student's quantile has the degrees of freedom of all. Copies of a
    network, which pruning did not change, count once. Of one seed, intervals are of images alone.
    Training images and dictionary are held fixed.

    Parameters
    ----------
    groups : dict of (str, float) to list of dict
        Results of `Experiment.run` by scheme and pruning, one of each seed.

    Returns
    -------
    dict of (str, float) to Accuracy

    Raises
    ------
    ValueError
        A condition has no result.
    """
    hits = {key: _hits(key, results) for key, results in groups.items()}
    scales = {key: _binomial(h.mean(), h.shape[1]) for key, h in hits.items()}
    relative = {h.tobytes(): h / np.sqrt(scales[key]) for key, h in hits.items()}
    variance, quantile = _seeds(relative.values())
    found = {}
    for key, h in hits.items():
        low, high = _wilson(h)
        mean, half = h.mean(), quantile * np.sqrt(variance * scales[key] / len(h))
        ends = mean - np.hypot(mean - low, half), mean + np.hypot(high - mean, half)
        history = np.mean([r["history"]["test_accuracy"] for r in groups[key]], axis=0)
        values = 100 * np.array([history.max(), mean, *np.clip(ends, 0, 1)])
        found[key] = Accuracy(*values.tolist(), tuple((100 * h.mean(axis=1)).tolist()))
    return found


def losses(groups, cutoff=0.5):
    """What pruning costs at the last epoch, in percentage points, paired by image and seed.

    Parameters
    ----------
    groups : dict of (str, float) to list of dict
        As in `accuracies`.
    cutoff : float

    Returns
    -------
    dict of str to (float, float, float)
        By scheme, of those that are there with and without pruning: mean and 95 % interval, which
        allows for images and seeds as in `accuracies`. All are 0 where pruning changed nothing.

    Raises
    ------
    ValueError
        A condition has no result, or its seeds are not those of the condition without pruning.
    """
    differences = {
        name: _paired(name, groups[name, 0.0], groups[name, cutoff])
        for name, c in groups
        if c == cutoff and (name, 0.0) in groups
    }
    variance, quantile = _seeds([d for d in differences.values() if d.any()])
    found = {}
    for name, d in differences.items():
        own = variance / len(d) if d.any() else 0.0
        images = d.mean(axis=0).var() / max(d.shape[1] - 1, 1)
        half = np.hypot(norm.ppf(0.975) * np.sqrt(images), quantile * np.sqrt(own))
        found[name] = tuple(100 * float(d.mean() + sign * half) for sign in (0, -1, 1))
    return found


def _hits(key, results):
    """Whether each seed's network is right on each image, as an array of 0 and 1."""
    if not results:
        raise ValueError(f"groups must hold one result at least of each, got none of {key}")
    right = [np.equal(result["predictions"], result["truth"]) for result in results]
    return np.array(right, dtype=float)


def _paired(name, plain, pruned):
    """What `_hits` differ by without and with pruning."""
    seeds = [[r.get("about", {}).get("seed") for r in results] for results in (plain, pruned)]
    if seeds[0] != seeds[1]:
        raise ValueError(
            f"groups must hold {name} of the same seeds, got {seeds[0]} and {seeds[1]}"
        )
    return _hits(name, plain) - _hits(name, pruned)


def _binomial(p, n):
    """Variance p (1 - p), not below what one of n images makes of it."""
    return max(p * (1 - p), 1 / (4 * n))


def _wilson(hits):
    """Wilson's interval for as many images as would give the variance of the seeds' mean."""
    p, n = hits.mean(), hits.shape[1]
    variance = hits.mean(axis=0).var()
    if variance > 0:
        n *= p * (1 - p) / variance
    z = norm.ppf(0.975)
    centre = (p + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * np.sqrt(p * (1 - p) / n + z**2 / (4 * n**2))
    return centre - half, centre + half


def _seeds(matrices):
    """Variance over seeds that images do not explain, pooled, and Student's quantile for it.

    Parameters
    ----------
    matrices : iterable of ndarray (n_seeds, n_images)
    """
    freedom, excess = 0, 0.0
    for m in matrices:
        n_seeds, n = m.shape
        means = m.mean(axis=1, keepdims=True)
        rest = m - m.mean(axis=0) - means + m.mean()
        # Sums of squares, with n_seeds - 1 degrees of freedom each.
        excess += ((means - m.mean()) ** 2).sum() - (rest**2).sum() / (n * max(n - 1, 1))
        freedom += n_seeds - 1
    if not freedom:
        return 0.0, 0.0
    return max(excess / freedom, 0.0), float(t.ppf(0.975, freedom))


def by_condition(results):
    """Results of `Experiment.run` by protocol, scheme and pruning: a list over seeds each.

    Parameters
    ----------
    results : dict of Cell to dict

    Returns
    -------
    dict of (str, str, float) to list of dict

    Raises
    ------
    ValueError
        Cells of one protocol, scheme and pruning differ in more than their seed.
    """
    groups, firsts = {}, {}
    for cell, result in results.items():
        first = firsts.setdefault(cell[:3], cell)
        if first != cell._replace(seed=first.seed):
            raise ValueError(f"results must differ in seeds alone, got {first} and {cell}")
        groups.setdefault(cell[:3], []).append(result)
    return groups


def lines(accuracies):
    """Table 1 and ours as text, for each scheme and pruning.

    Parameters
    ----------
    accuracies : dict of (str, float) to Accuracy

    Returns
    -------
    list of str
    """
    found = []
    for (name, c), a in accuracies.items():
        line = f"{name}, c = {c:g}: {a.final:.1f} [{a.low:.1f}, {a.high:.1f}] %, "
        line += f"best epoch {a.best:.1f} %"
        if name in TABLE_1 and c in CUTOFFS:
            mean, std = TABLE_1[name][CUTOFFS.index(c)]
            line += f";\n    paper {mean:.2f} ± {std:.2f}, best - paper {a.best - mean:+.1f}"
        found.append(line)
    return found


def table_claims(accuracies, losses, test_size):
    """Values for the claims on Table 1, of those whose cells are there.

    Parameters
    ----------
    accuracies : dict of (str, float) to Accuracy
        By scheme and pruning, of one protocol.
    losses : dict of str to (float, float, float)
        By scheme, from `losses`.
    test_size : int
        Number of test images.

    Returns
    -------
    dict of str to dict of str to float
        By claim. Differences and losses are in percentage points. They are of the last epoch, but
        differences from Table 1 are of the best, as that table is.
    """
    sizes = {"n_test": check_count("test_size", test_size)}
    found = {}
    plain = {name: accuracies.get((name, 0.0)) for name in (*TABLE_1, GREY)}
    if all(plain[name] for name in TABLE_1):
        found["cls-order"] = {}
        for name in TABLE_1:
            found["cls-order"] |= _final(name, plain[name])
    pairs = {
        (name, c): paper[0]
        for name, row in TABLE_1.items()
        for c, paper in zip(CUTOFFS, row, strict=True)
    }
    differences = [
        accuracies[key].best - paper for key, paper in pairs.items() if key in accuracies
    ]
    if differences:
        largest = max(differences, key=abs)
        found["cls-table"] = {"largest_difference": abs(largest), "n_cells": len(differences)}
        found["cls-table"] |= {"mean_difference": float(np.mean(differences))}
    if set(TABLE_1) <= set(losses):
        found["cls-robust"] = _lost(losses)
    if plain[GREY]:
        found["cls-raw"] = _final(GREY, plain[GREY])
        found["cls-raw"] |= {name: a.final for name, a in plain.items() if a}
    return {claim: values | sizes for claim, values in found.items()}


def _final(name, accuracy):
    """An accuracy after the last epoch, with its interval, as a claim's values."""
    return {name: accuracy.final, f"{name}_low": accuracy.low, f"{name}_high": accuracy.high}


def _lost(losses):
    """Losses of the schemes of Table 1, with their intervals, as a claim's values."""
    values = {}
    for name in TABLE_1:
        keys = (name, f"{name}_low", f"{name}_high")
        values |= dict(zip(keys, losses[name], strict=True))
    return values


def scale_claims(accuracies, larger, factors):
    """Values for the claim on the scale of coefficients, if its cells are there.

    Parameters
    ----------
    accuracies, larger : dict of (str, float) to Accuracy
        By scheme and pruning, of one protocol: on codes as they are, and multiplied.
    factors : dict of str to float
        By scheme, what codes were multiplied by.

    Returns
    -------
    dict of str to dict of str to float
        By claim: accuracies in % after the last epoch, their intervals, and the factors.
    """
    values = _beside(accuracies, larger, "larger")
    if not values:
        return {}
    return {"cls-scale": values | {f"{name}_factor": factors[name] for name in LEARNED}}


def frame_claims(accuracies, unframed, losses):
    """Values for the claims on codes of which nothing is subtracted, if their cells are there.

    Parameters
    ----------
    accuracies, unframed : dict of (str, float) to Accuracy
        By scheme and pruning, of one protocol: as the released code normalises codes, and with a
        mean of 0.
    losses : dict of str to (float, float, float)
        By scheme, from `losses` of the latter.

    Returns
    -------
    dict of str to dict of str to float
        By claim: accuracies in % after the last epoch and their intervals, or losses in percentage
        points and theirs; and the number of seeds with a mean of 0.
    """
    found = {}
    if values := _beside(accuracies, unframed, "unframed"):
        found["cls-frame"] = values
    if set(TABLE_1) <= set(losses):
        found["cls-magnitude"] = _lost(losses)
    seeds = {"n_seeds": max((len(a.seeds) for a in unframed.values()), default=0)}
    return {claim: values | seeds for claim, values in found.items()}


def _beside(accuracies, others, suffix):
    """Accuracies on codes after learning, with their intervals, beside others of theirs."""
    values = {}
    for name in LEARNED:
        key = (name, 0.0)
        if key not in accuracies or key not in others:
            return {}
        values |= _final(name, accuracies[key]) | _final(f"{name}_{suffix}", others[key])
    return values


def text_claims(accuracies, test_labels):
    """Values for the claim on codes that are not normalised, if its cells are there.

    Parameters
    ----------
    accuracies : dict of (str, float) to Accuracy
        By scheme and pruning, under the protocol of the text.
    test_labels : ndarray (n,)
        Classes of the test images, whole numbers >= 0.

    Returns
    -------
    dict of str to dict of str to float
        By claim: accuracies in % without pruning after the last epoch, their intervals, and
        ``common``, what a classifier has that puts every image into the commonest class.

    Raises
    ------
    ValueError
        Labels are not as described.
    """
    return _beside_the_commonest("cls-text", accuracies, test_labels, (*TABLE_1, GREY))


def longer_claims(accuracies, test_labels):
    """Values for the claim on networks that were trained for longer, if its cells are there.

    Parameters
    ----------
    accuracies : dict of (str, float) to Accuracy
        By scheme and pruning, after more epochs.
    test_labels : ndarray (n,)
        Classes of the test images, whole numbers >= 0.

    Returns
    -------
    dict of str to dict of str to float
        As of `text_claims`.

    Raises
    ------
    ValueError
        Labels are not as described.
    """
    return _beside_the_commonest("cls-longer", accuracies, test_labels, LEARNED)


def _beside_the_commonest(claim, accuracies, test_labels, names):
    labels = as_array("test_labels", test_labels, "iu")
    if labels.ndim != 1 or not labels.size or labels.min() < 0:
        raise ValueError("test_labels must be whole numbers >= 0, one for each image")
    plain = {name: accuracies.get((name, 0.0)) for name in names}
    if not all(plain[name] for name in LEARNED):
        return {}
    values = {"common": 100.0 * np.bincount(labels).max() / labels.size, "n_test": labels.size}
    for name, a in plain.items():
        if a:
            values |= _final(name, a)
    return {claim: values}


def confusion(results, n_classes):
    """Share of the images of a class (row) that are put into a class (column), over seeds.

    Parameters
    ----------
    results : sequence of dict
        From `Experiment.run`.
    n_classes : int

    Returns
    -------
    ndarray (n_classes, n_classes)
        Rows of classes that no test image has are zero.

    Raises
    ------
    ValueError
        A class of the results is none of so many.
    """
    counts = np.zeros((check_count("n_classes", n_classes), n_classes))
    for result in results:
        most = max(*result["truth"], *result["predictions"])
        if most >= n_classes:
            raise ValueError(f"n_classes must be above {most}, a class of results, got {n_classes}")
        np.add.at(counts, (result["truth"], result["predictions"]), 1)
    return counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)

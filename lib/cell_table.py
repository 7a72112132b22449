"""What trained cells say: Table 1 of Ladret et al. beside ours, and what pruning does to inputs."""

from typing import NamedTuple

import numpy as np
from scipy.stats import binomtest, t

from lib._checks import as_array, check_count
from lib.cells import GREY

# Ladret et al., Table 1: top-1 accuracy in % without pruning, at c = 0.25 and at c = 0.5, and its
# standard deviation over four seeds.
CUTOFFS = (0.0, 0.25, 0.5)
TABLE_1 = {
    "hom_before": ((70.65, 0.30), (69.70, 0.26), (67.83, 0.47)),
    "hom_after": ((67.31, 0.20), (66.24, 0.01), (67.40, 0.12)),
    "het_before": ((75.08, 0.10), (71.81, 0.41), (65.20, 0.40)),
    "het_after": ((79.20, 0.11), (78.98, 0.00), (79.26, 0.02)),
}


class Accuracy(NamedTuple):
    """Accuracy in % over seeds, and its 95 % interval.

    Attributes
    ----------
    best, final : float
        Mean over seeds at the epoch where it is largest, which is what the released code prints,
        and at the last.
    low, high : float
        Interval at the best epoch: Student's t over seeds; of one seed alone, Wilson's for the
        number of test images. That the epoch was chosen on the same images is not in it.
    n_seeds : int
    """

    best: float
    final: float
    low: float
    high: float
    n_seeds: int


def accuracy(results):
    """Accuracy of one scheme and pruning, in %, over seeds.

    Parameters
    ----------
    results : sequence of dict
        From `Experiment.run`, one of each seed.

    Returns
    -------
    Accuracy

    Raises
    ------
    ValueError
        There is no result.
    """
    if not results:
        raise ValueError("results must hold one result at least, got none")
    histories = 100 * np.array([result["history"]["test_accuracy"] for result in results])
    best = histories[:, histories.mean(axis=0).argmax()]
    n, mean = len(best), float(best.mean())
    if n > 1:
        half = float(t.ppf(0.975, n - 1) * best.std(ddof=1) / np.sqrt(n))
        low, high = mean - half, mean + half
    else:
        size = len(results[0]["predictions"])
        interval = binomtest(round(mean / 100 * size), size).proportion_ci(method="wilson")
        low, high = 100 * interval.low, 100 * interval.high
    return Accuracy(mean, float(histories[:, -1].mean()), float(low), float(high), n)


def by_condition(results):
    """Results of `Experiment.run` by protocol, scheme and pruning: a list over seeds each.

    Parameters
    ----------
    results : dict of Cell to dict
        Each scheme's of one factor.

    Returns
    -------
    dict of (str, str, float) to list of dict
    """
    groups = {}
    for cell, result in results.items():
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
        line = f"{name}, c = {c:g}: {a.best:.1f} [{a.low:.1f}, {a.high:.1f}] %, "
        line += f"last epoch {a.final:.1f} %"
        if name in TABLE_1 and c in CUTOFFS:
            mean, std = TABLE_1[name][CUTOFFS.index(c)]
            line += f";\n    paper {mean:.2f} ± {std:.2f}, difference {a.best - mean:+.1f}"
        found.append(line)
    return found


def table_claims(accuracies, test_size):
    """Values for the claims on Table 1, of those whose cells are there.

    Parameters
    ----------
    accuracies : dict of (str, float) to Accuracy
        By scheme and pruning, of one protocol.
    test_size : int
        Number of test images.

    Returns
    -------
    dict of str to dict of str to float
        By claim. Differences and losses are in percentage points.
    """
    sizes = {"n_test": check_count("test_size", test_size)}
    found = {}
    plain = {name: accuracies.get((name, 0.0)) for name in (*TABLE_1, GREY)}
    if all(plain[name] for name in TABLE_1):
        values = {}
        for name in TABLE_1:
            values |= {name: plain[name].best}
            values |= {f"{name}_low": plain[name].low, f"{name}_high": plain[name].high}
        found["cls-order"] = values
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
    if all((name, c) in accuracies for name in TABLE_1 for c in (0.0, 0.5)):
        values = {}
        for name in TABLE_1:
            loss, low, high = _loss(plain[name], accuracies[name, 0.5])
            values |= {name: loss, f"{name}_low": low, f"{name}_high": high}
        found["cls-robust"] = values
    if plain[GREY]:
        grey = plain[GREY]
        found["cls-raw"] = {"grey": grey.best, "grey_low": grey.low, "grey_high": grey.high}
        found["cls-raw"] |= {name: a.best for name, a in plain.items() if a and name != GREY}
    return {claim: values | sizes for claim, values in found.items()}


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
        By claim: accuracies in %, their intervals, and the factors.
    """
    values = {}
    for name in ("hom_after", "het_after"):
        key = (name, 0.0)
        if key not in accuracies or key not in larger:
            return {}
        for label, found in ((name, accuracies[key]), (f"{name}_larger", larger[key])):
            values |= {label: found.best, f"{label}_low": found.low, f"{label}_high": found.high}
        values[f"{name}_factor"] = factors[name]
    return {"cls-scale": values}


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
        By claim: accuracies in % without pruning, their intervals, and ``common``, what a
        classifier has that puts every image into the commonest class.

    Raises
    ------
    ValueError
        Labels are not as described.
    """
    labels = as_array("test_labels", test_labels, "iu")
    if labels.ndim != 1 or not labels.size or labels.min() < 0:
        raise ValueError("test_labels must be whole numbers >= 0, one for each image")
    plain = {name: accuracies.get((name, 0.0)) for name in (*TABLE_1, GREY)}
    if not (plain["hom_after"] and plain["het_after"]):
        return {}
    values = {"common": 100.0 * np.bincount(labels).max() / labels.size, "n_test": labels.size}
    for name, a in plain.items():
        if a:
            values |= {name: a.best, f"{name}_low": a.low, f"{name}_high": a.high}
    return {"cls-text": values}


def _loss(plain, pruned):
    """Difference of two accuracies, and its interval from theirs (Newcombe 1998, method 10).

    The two are taken as independent. Of the same test images they are not: it is too wide.
    """
    loss = plain.best - pruned.best
    low = loss - np.hypot(plain.best - plain.low, pruned.high - pruned.best)
    high = loss + np.hypot(plain.high - plain.best, pruned.best - pruned.low)
    return loss, float(low), float(high)


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

"""Figures of the chapter on classification."""

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.ticker import NullFormatter
from scipy.stats import binomtest

from lib.plotting import WIDTH

NAMES = {
    "hom_before": "homogeneous, before",
    "hom_after": "homogeneous, after",
    "het_before": "heterogeneous, before",
    "het_after": "heterogeneous, after",
    "hom_published": "homogeneous, published",
    "het_published": "heterogeneous, published",
    "grey": "grey pixels",
}


def _color(scheme):
    return f"C{list(NAMES).index(scheme)}"


def codes(images, maps):
    """Images as they are coded, and for each dictionary the largest coefficient at each pixel.

    Each picture has its own scale, whose end stands below it.

    Parameters
    ----------
    images : ndarray (n, height, width)
    maps : dict of str to ndarray (n, height, width)
        By scheme.
    """
    rows = {"image": images, **{NAMES[name]: m for name, m in maps.items()}}
    figure, axes = plt.subplots(
        len(rows), len(images), figsize=(WIDTH, 1.35 * len(rows)), squeeze=False
    )
    for line, (name, pictures) in zip(axes, rows.items(), strict=True):
        for ax, picture in zip(line, pictures, strict=True):
            # Few levels and whole pixels: noise is what makes a picture's file large.
            levels = plt.get_cmap("gray" if name == "image" else "magma", 8)
            ax.imshow(picture, cmap=levels, interpolation="nearest")
            ax.set(xticks=[], yticks=[])
            ax.grid(visible=False)
            if name != "image":
                ax.set_xlabel(f"0 to {np.max(picture):.2f}", fontsize=8, labelpad=2)
        line[0].set_title(name, fontsize=9)
    return figure


def curves(groups):
    """Accuracy and loss on test images along training, one column for each pruning.

    Parameters
    ----------
    groups : dict of (str, float) to list of dict
        Results of cells by scheme and pruning; bands are the range over seeds.
    """
    cutoffs = sorted({cutoff for _, cutoff in groups}) or [0.0]
    shape = (2, len(cutoffs))
    size = (WIDTH, 5.0)
    figure, axes = plt.subplots(*shape, figsize=size, sharex=True, sharey="row", squeeze=False)
    for (scheme, cutoff), results in groups.items():
        column = axes[:, cutoffs.index(cutoff)]
        for ax, field, scale in zip(column, ("accuracy", "loss"), (100, 1), strict=True):
            values = scale * np.array([r["history"][f"test_{field}"] for r in results])
            epochs = np.arange(1, values.shape[1] + 1)
            color, label = _color(scheme), NAMES[scheme]
            ax.plot(epochs, values.mean(axis=0), ".-", color=color, label=label)
            ax.fill_between(epochs, values.min(0), values.max(0), color=color, alpha=0.2)
    for ax, cutoff in zip(axes[0], cutoffs, strict=True):
        ax.set_title(f"c = {cutoff:g}" if cutoff else "no pruning")
    for ax in axes[1]:
        ax.set_xlabel("epoch")
    axes[0, 0].set_ylabel("test accuracy (%)")
    axes[1, 0].set_ylabel("test loss (nats)")
    if groups:
        figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return figure


def table(accuracies, published):
    """Accuracies of ours, and those of the paper with standard deviations.

    Of ours: the last epoch with its interval, its seeds, and the best epoch.

    Parameters
    ----------
    accuracies : dict of (str, float) to lib.cell_table.Accuracy
        By scheme and pruning.
    published : dict of str to tuple of (float, float)
        By scheme: mean and standard deviation without pruning, at c = 0.25 and at c = 0.5.
    """
    figure, axes = plt.subplots(1, 3, figsize=(WIDTH, 3.2), sharex=True, sharey=True)
    schemes = [name for name in NAMES if name in published or (name, 0.0) in accuracies]
    for i, (ax, cutoff) in enumerate(zip(axes, (0.0, 0.25, 0.5), strict=True)):
        for row, scheme in enumerate(schemes):
            color = _color(scheme)
            if scheme in published:
                mean, std = published[scheme][i]
                ax.errorbar(mean, row - 0.15, xerr=std, fmt="D", color=color, mfc="white")
            if found := accuracies.get((scheme, cutoff)):
                error = [[found.final - found.low], [found.high - found.final]]
                ax.errorbar(found.final, row + 0.15, xerr=error, fmt="o", color=color)
                seeds = np.full(len(found.seeds), row + 0.4)
                ax.plot(found.seeds, seeds, ".", color=color, markersize=4)
                ax.plot(found.best, row + 0.15, "|", color="k", markersize=10)
        ax.set(title=f"c = {cutoff:g}" if cutoff else "no pruning", xlabel="accuracy (%)")
    axes[0].set_yticks(range(len(schemes)), [NAMES[scheme] for scheme in schemes])
    axes[0].invert_yaxis()
    return figure


def nonzeros(points, n_values):
    """Accuracy against the number of values that are not those of an empty code.

    Parameters
    ----------
    points : dict of (str, float) to (float, lib.cell_table.Accuracy)
        By scheme and pruning: mean number of such values, and the accuracy.
    n_values : int
        Number of all values that the network reads of an image.
    """
    figure, ax = plt.subplots(figsize=(0.7 * WIDTH, 4.0))
    for scheme in dict.fromkeys(name for name, _ in points):
        own = sorted((c, *point) for (name, c), point in points.items() if name == scheme)
        kept = [k for _, k, _ in own]
        final = np.array([(a.final, a.low, a.high) for _, _, a in own]).T
        errors = np.abs(final[1:] - final[0])
        ax.errorbar(kept, final[0], errors, fmt="o-", color=_color(scheme), label=NAMES[scheme])
        for cutoff, *point in own:
            # Where as many values are left, labels would lie on one another.
            if cutoff and point[0] < 0.95 * kept[0]:
                place = (point[0], point[1].final)
                ax.annotate(f" c = {cutoff:g}", place, fontsize=8, va="bottom", ha="left")
    ax.set(
        xscale="log",
        xlabel="values per image that are not what a zero is read as",
        ylabel="accuracy (%)",
    )
    percent = n_values / 100
    above = ax.secondary_xaxis("top", functions=(lambda x: x / percent, lambda x: x * percent))
    above.set_xlabel("share of all values (%)")
    above.xaxis.set_major_formatter("{x:g}")
    for axis in (ax.xaxis, above.xaxis):
        axis.set_minor_formatter(NullFormatter())
    if points:
        figure.legend(loc="outside lower center", ncols=2)
    return figure


def confusions(matrices, classes):
    """Confusion matrices.

    Parameters
    ----------
    matrices : dict of str to ndarray (n_classes, n_classes)
        By scheme: share of a class (row) put into a class (column).
    classes : sequence of str
    """
    columns = max(len(matrices), 1)
    figure, axes = plt.subplots(1, columns, figsize=(WIDTH, 4.4), sharey=True, squeeze=False)
    for ax, (scheme, matrix) in zip(axes[0], matrices.items(), strict=False):
        picture = ax.imshow(100 * matrix, cmap="viridis", vmin=0, vmax=100)
        ax.set_xticks(range(len(classes)), classes, rotation=90)
        ax.set(title=NAMES[scheme], xlabel="put into")
        ax.grid(visible=False)
    if matrices:
        axes[0, 0].set_yticks(range(len(classes)), classes)
        axes[0, 0].set_ylabel("class")
        figure.colorbar(picture, ax=axes, label="% of the class", shrink=0.7)
    return figure


def reads(weights, b_theta, untrained):
    """How strongly the first layer reads atoms of each bandwidth.

    Parameters
    ----------
    weights : dict of str to ndarray (n_seeds, K)
        By scheme: norm of the first layer's weights for each atom, over the mean of its network.
    b_theta : ndarray (K,)
        Bandwidth of the atoms when they were built, in radians.
    untrained : ndarray (n_seeds, K)
        As `weights`, before training; their mean over seeds is shown as a band.
    """
    figure, ax = plt.subplots(figsize=(0.7 * WIDTH, 3.2))
    start = np.mean(untrained, axis=0)
    ax.axhspan(start.min(), start.max(), color="0.85", lw=0, label="before training")
    widths = np.unique(b_theta)
    for i, (scheme, values) in enumerate(weights.items()):
        x = np.arange(len(widths)) + 0.8 * (i + 0.5) / len(weights) - 0.4
        shown = [np.atleast_2d(values).mean(axis=0)[b_theta == width] for width in widths]
        places = np.repeat(x, [len(v) for v in shown])
        ax.scatter(places, np.concatenate(shown), s=8, color=_color(scheme), alpha=0.5)
        means = [v.mean() for v in shown]
        ax.scatter(x, means, marker="_", s=200, color=_color(scheme), label=NAMES[scheme])
    ax.set_xticks(range(len(widths)), [f"{np.degrees(width):.0f}°" for width in widths])
    ax.set(xlabel="orientation bandwidth when built", ylabel="norm of weights, relative")
    if weights:
        ax.legend()
    return figure


def pruned(shares):
    """How many images pruning changes, and how many values.

    Parameters
    ----------
    shares : dict of (str, float) to (float, float)
        By scheme and pruning: share of images and of values.
    """
    figure, axes = plt.subplots(1, 2, figsize=(WIDTH, 3.0), sharey=True)
    schemes = list(dict.fromkeys(name for name, _ in shares))
    cutoffs = sorted({cutoff for _, cutoff in shares})
    height = 0.8 / max(len(cutoffs), 1)
    for ax, part, label in zip(axes, (0, 1), ("images", "values"), strict=True):
        for i, cutoff in enumerate(cutoffs):
            rows = np.arange(len(schemes)) + (i - (len(cutoffs) - 1) / 2) * height
            widths = [100 * shares[name, cutoff][part] for name in schemes]
            ax.barh(rows, widths, height, color=f"C{7 + i}", label=f"c = {cutoff:g}")
        ax.set(xlabel=f"{label} that pruning changes (%)", xlim=(0, 105))
    axes[0].set_yticks(range(len(schemes)), [NAMES[name] for name in schemes])
    axes[0].invert_yaxis()
    if shares:
        axes[1].legend()
    return figure


def readouts(right):
    """Accuracy of a linear classifier against pruning, with Wilson's intervals.

    Parameters
    ----------
    right : dict of (str, float) to ndarray (n,)
        By scheme and pruning: 100 for each test image that was classified correctly, 0 otherwise.
    """
    figure, ax = plt.subplots(figsize=(0.7 * WIDTH, 3.6))
    cutoffs = sorted({c for _, c in right})
    schemes = list(dict.fromkeys(name for name, _ in right))
    for i, scheme in enumerate(schemes):
        found = sorted((c, hits) for (name, c), hits in right.items() if name == scheme)
        means = np.array([hits.mean() for _, hits in found])
        ends = [
            binomtest(int((hits > 0).sum()), len(hits)).proportion_ci(method="wilson")
            for _, hits in found
        ]
        errors = np.abs(100 * np.array([(e.low, e.high) for e in ends]).T - means)
        # Side by side, for intervals not to lie on one another.
        aside = 0.06 * (i - (len(schemes) - 1) / 2)
        at = [cutoffs.index(c) + aside for c, _ in found]
        ax.errorbar(at, means, errors, fmt="o-", color=_color(scheme), label=NAMES[scheme])
    ax.set_xticks(range(len(cutoffs)), [f"{c:g}" if c else "no pruning" for c in cutoffs])
    ax.set(xlabel="threshold c, relative to the largest coefficient", ylabel="accuracy (%)")
    if right:
        figure.legend(loc="outside lower center", ncols=2)
    return figure

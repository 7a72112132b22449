"""Figures of the chapter on pruning."""

import matplotlib.pyplot as plt
import numpy as np

from lib.plotting import WIDTH


def trajectories(panels, cutoffs, blank=None):
    """PSNR against sparseness as the cutoff rises: means, and the central 80 % of images.

    Parameters
    ----------
    panels : dict of str to dict of str to lib.pruning.Pruned
        By kind of cutoff, then by dictionary.
    cutoffs : ndarray (n_cutoffs,)
    blank : float, optional
        Mean PSNR of a picture of zeros.
    """
    size = (0.75 * WIDTH if len(panels) == 1 else WIDTH, 4.0)
    figure, axes = plt.subplots(1, len(panels), figsize=size, sharey=True, squeeze=False)
    for ax, (kind, pruned) in zip(axes[0], panels.items(), strict=True):
        for i, (name, measures) in enumerate(pruned.items()):
            means = measures.sparseness.mean(axis=1), measures.psnr.mean(axis=1)
            low, high = np.quantile(measures.psnr, [0.1, 0.9], axis=1)
            ax.fill_between(means[0], low, high, color=f"C{i}", alpha=0.12, linewidth=0)
            ax.plot(*means, color=f"C{i}", marker="o", markersize=4, label=name)
            if i == 0:
                for c, x, y in zip(cutoffs, *means, strict=True):
                    ax.annotate(f"{c:.2g}", (x, y), textcoords="offset points", xytext=(-7, 6))
        _draw_blank(ax, blank)
        ax.set(xlabel="fraction of zeros", title=kind)
    axes[0, 0].set_ylabel("PSNR (dB)")
    axes[0, -1].legend(fontsize=8)
    return figure


def _draw_blank(ax, blank):
    if blank is not None:
        ax.axhline(blank, color="0.3", linestyle=":", linewidth=1, label="picture of zeros")


def differences(cutoffs, absolute, relative):
    """PSNR of one dictionary less that of another against the cutoff, with intervals.

    Parameters
    ----------
    cutoffs : ndarray (n_cutoffs,)
    absolute, relative : dict of str to list of lib.effects.Effect
        By pair of dictionaries: one for each cutoff.
    """
    figure, axes = plt.subplots(1, 2, figsize=(WIDTH, 3.0), sharey=True)
    labels = ("cutoff c", "cutoff c, of the largest magnitude")
    for ax, label, pairs in zip(axes, labels, (absolute, relative), strict=True):
        for i, (name, effects) in enumerate(pairs.items()):
            middle = np.array([e.difference for e in effects])
            low, high = np.array([[e.low, e.high] for e in effects]).T
            bars = [middle - low, high - middle]
            ax.errorbar(cutoffs, middle, bars, marker="o", capsize=3, color=f"C{i}", label=name)
        ax.axhline(0, color="0.3", linewidth=0.8)
        ax.set(xlabel=label)
    axes[0].set_ylabel("ΔPSNR (dB)")
    axes[0].legend(fontsize=8)
    return figure


def kept(counts, curves, blank=None):
    """PSNR against the number of coefficients kept per pixel, mean and central 80 %.

    Parameters
    ----------
    counts : ndarray (n_counts,)
    curves : dict of str to ndarray (n_counts, n)
        NaN where a code has fewer coefficients; drawn where all images have enough.
    blank : float, optional
        Mean PSNR of a picture of zeros.
    """
    figure, ax = plt.subplots(figsize=(0.75 * WIDTH, 3.6))
    for i, (name, psnr) in enumerate(curves.items()):
        known = np.isfinite(psnr).all(axis=1)
        low, high = np.quantile(psnr[known], [0.1, 0.9], axis=1)
        line = "-" if i < 2 else "--"
        ax.plot(counts[known], psnr[known].mean(axis=1), line, color=f"C{i}", label=name)
        ax.fill_between(counts[known], low, high, color=f"C{i}", alpha=0.12, linewidth=0)
    _draw_blank(ax, blank)
    ax.set(xlabel="coefficients kept per pixel", ylabel="PSNR (dB)", xscale="log")
    ax.xaxis.set_major_formatter("{x:g}")
    ax.legend(fontsize=8)
    return figure


def reconstructions(image, rows, cutoffs, side=48):
    """The middle of an image and of its reconstructions by cutoff, a row for each dictionary.

    Parameters
    ----------
    image : ndarray (height, width)
    rows : dict of str to list of ndarray (height, width)
    cutoffs : ndarray (n_cutoffs,)
    side : int
        Pixels shown.
    """
    top, left = (max(0, (size - side) // 2) for size in image.shape)
    middle = np.s_[top : top + side, left : left + side]
    figure, axes = plt.subplots(
        len(rows), len(cutoffs) + 1, figsize=(WIDTH, 1.55 * len(rows)), squeeze=False
    )
    limit = np.quantile(np.abs(image), 0.99)
    for ax_row, (name, pictures) in zip(axes, rows.items(), strict=True):
        titles = ["image", *(f"c = {c:.2g}" for c in cutoffs)]
        for ax, picture, title in zip(ax_row, [image, *pictures], titles, strict=True):
            ax.imshow(picture[middle], vmin=-limit, vmax=limit, interpolation="nearest")
            ax.set(xticks=[], yticks=[])
            ax.grid(visible=False)
            ax.set_title(title, fontsize=10)
        ax_row[0].set_ylabel(name, fontsize=10)
    return figure

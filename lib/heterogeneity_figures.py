"""Figures of the chapters on heterogeneous dictionaries: distributions, trade-offs, maps."""

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.colors import hsv_to_rgb
from matplotlib.ticker import MaxNLocator

from lib.plotting import WIDTH


def distributions(measures):
    """Sparseness and PSNR of each image by dictionary, medians as bars.

    Parameters
    ----------
    measures : dict of str to lib.codes.Measures
        By the dictionary's name.
    """
    figure, axes = plt.subplots(1, 2, figsize=(WIDTH, 0.9 + 0.42 * len(measures)), sharey=True)
    columns = {"sparseness": "fraction of zeros", "psnr": "PSNR (dB)"}
    for ax, (field, label) in zip(axes, columns.items(), strict=True):
        values = [getattr(m, field) for m in measures.values()]
        parts = ax.violinplot(values, orientation="horizontal", showextrema=False, widths=0.8)
        for i, (body, each) in enumerate(zip(parts["bodies"], values, strict=True)):
            body.set(facecolor=f"C{i}", alpha=0.25)
            ax.scatter(each, np.full(len(each), i + 1), s=9, color=f"C{i}", alpha=0.7)
            middle = np.median(each)
            ax.plot([middle] * 2, [i + 0.62, i + 1.38], color=f"C{i}", linewidth=2.4)
        ax.set(xlabel=label)
        ax.xaxis.set_major_locator(MaxNLocator(5))
    axes[0].set_yticks(range(1, len(measures) + 1), measures)
    axes[0].invert_yaxis()
    return figure


def protocols(rows):
    """Differences of sparseness and PSNR within each photograph, by protocol and by iterations.

    Parameters
    ----------
    rows : dict of str to dict of str to ndarray (n,)
        By what is compared, differences by ``"sparseness"`` and ``"psnr"``; two rows for each
        protocol.
    """
    figure, axes = plt.subplots(1, 2, figsize=(WIDTH, 2.8), sharey=True)
    labels = "difference in fraction of zeros", "difference in PSNR (dB)"
    for ax, field, label in zip(axes, ("sparseness", "psnr"), labels, strict=True):
        for row, values in enumerate(differences[field] for differences in rows.values()):
            ax.plot(values, np.full(len(values), row), "o", color=f"C{row // 2}", alpha=0.5)
            ax.plot(values.mean(), row, "|", color="k", markersize=18)
        ax.axvline(0, color="0.3", linewidth=1)
        ax.set(xlabel=label, ylim=(len(rows) - 0.5, -0.5))
    axes[0].set_yticks(range(len(rows)), list(rows))
    return figure


def convergence(paths, stop):
    """Distance from the minimum, PSNR and sparseness against the number of iterations.

    Parameters
    ----------
    paths : dict of str to lib.codes.Convergence
        By dictionary.
    stop : int
        Where the paper's protocol stops.
    """
    figure, axes = plt.subplots(1, 3, figsize=(WIDTH, 3.0))
    for i, (name, path) in enumerate(paths.items()):
        excess = path.objective[:-1] / path.objective[-1] - 1
        axes[0].plot(path.iterations[:-1], excess.mean(axis=1), "o-", color=f"C{i}", markersize=4)
        for ax, values in zip(axes[1:], (path.psnr, path.sparseness), strict=True):
            ax.plot(path.iterations, values, color=f"C{i}", alpha=0.25, linewidth=0.8)
            middle = values.mean(axis=1)
            ax.plot(path.iterations, middle, "o-", color=f"C{i}", markersize=4, label=name)
    for ax, label in zip(
        axes, ("objective above the last one's", "PSNR (dB)", "fraction of zeros"), strict=True
    ):
        ax.axvline(stop, color="0.3", linestyle=":", linewidth=1)
        ax.set(xscale="log", xlabel="iterations", ylabel=label)
        ax.xaxis.set_major_formatter("{x:g}")
    axes[0].set(yscale="log")
    axes[1].legend(fontsize=8)
    return figure


def penalty(rhos, fixed, balanced, stop):
    """What is reached after some iterations against the coder's penalty parameter.

    Parameters
    ----------
    rhos : sequence of float
        Fixed penalty parameters.
    fixed : dict of str to list of lib.codes.Convergence
        By dictionary, one for each of them, measured after so many iterations alone.
    balanced : dict of str to lib.codes.Convergence
        By dictionary, with the coder's rule; its last objective is what others are compared with.
    stop : int
        Number of iterations.
    """
    figure, axes = plt.subplots(1, 3, figsize=(WIDTH, 3.0))
    for i, (name, runs) in enumerate(fixed.items()):
        rule = balanced[name]
        at = list(rule.iterations).index(stop)
        for ax, field in zip(axes, ("objective", "psnr", "sparseness"), strict=True):
            values = np.array([getattr(run, field)[-1] for run in runs])
            level = getattr(rule, field)[at]
            if field == "objective":
                values, level = (100 * (x / rule.objective[-1] - 1) for x in (values, level))
            ax.plot(rhos, values.mean(axis=1), "o-", color=f"C{i}", markersize=4, label=name)
            ax.axhline(level.mean(), color=f"C{i}", linestyle="--", linewidth=1)
    labels = "objective above the last one's (%)", "PSNR (dB)", "fraction of zeros"
    for ax, label in zip(axes, labels, strict=True):
        ax.set(xscale="log", xlabel="penalty parameter ρ", ylabel=label)
        ax.xaxis.set_major_formatter("{x:g}")
    axes[0].set(yscale="log")
    axes[2].legend(fontsize=8, loc="lower left")
    return figure


def trade_off(paths, gaps, stop):
    """PSNR against the fraction of coefficients used, and gaps at equal quality by iterations.

    Parameters
    ----------
    paths : dict of str to list of lib.codes.Convergence
        By dictionary, one for each λ.
    gaps : dict of str to (ndarray (m, n), ndarray (m, n))
        By comparison: PSNR in dB at equal sparseness, log₂ of coefficients at equal PSNR, after
        each number of iterations.
    stop : int
        Where the paper's protocol stops.
    """
    figure, axes = plt.subplots(1, 3, figsize=(WIDTH, 3.3), width_ratios=[1.5, 1, 1])
    for i, (name, path) in enumerate(paths.items()):
        used = [100 * (1 - c.sparseness[-1].mean()) for c in path]
        style = {"color": f"C{i % 2}", "linestyle": "-" if i < 2 else "--", "marker": "o"}
        axes[0].plot(used, [c.psnr[-1].mean() for c in path], markersize=4, label=name, **style)
    axes[0].set(xlabel="coefficients used (%)", ylabel="mean PSNR (dB)", xscale="log")
    axes[0].xaxis.set_major_formatter("{x:g}")
    axes[0].xaxis.set_minor_formatter("{x:g}")
    axes[0].tick_params(axis="x", which="minor", labelsize=7)
    axes[0].legend(fontsize=8)
    iterations = next(iter(paths.values()))[0].iterations
    titles = ("ΔPSNR (dB),\nequal sparseness", "log₂ ratio of coefficients,\nequal PSNR")
    for ax, which, title in zip(axes[1:], (0, 1), titles, strict=True):
        for i, (name, gap) in enumerate(gaps.items()):
            # Images that cannot be compared yet leave holes; means are over all images or none.
            ax.plot(iterations, gap[which], color=f"C{2 + i}", alpha=0.35, linewidth=0.8)
            style = {"color": f"C{2 + i}", "markersize": 4, "label": name}
            ax.plot(iterations, gap[which].mean(axis=1), "o-", **style)
        ax.axhline(0, color="0.3", linewidth=0.8)
        ax.axvline(stop, color="0.3", linestyle=":", linewidth=1)
        ax.set(xscale="log", xlabel="iterations")
        ax.xaxis.set_major_formatter("{x:g}")
        ax.set_title(title, fontsize=9)
    axes[2].legend(fontsize=8, loc="lower right")
    return figure


def coefficient_maps(image, reconstruction, coefficients, theta, b_theta, side=64):
    """The middle of an image, what its code makes of it, and its coefficients by bandwidth.

    Parameters
    ----------
    image, reconstruction : ndarray (height, width)
    coefficients : ndarray (K, height, width)
    theta : ndarray (K,)
        Orientations in radians; they are the hues.
    b_theta : ndarray (K,)
        Bandwidths in radians; each has its panel.
    side : int
        Pixels shown.
    """
    top, left = (max(0, (size - side) // 2) for size in image.shape)
    middle = np.s_[..., top : top + side, left : left + side]
    image, reconstruction = image[middle], reconstruction[middle]
    coefficients = coefficients[middle]
    bandwidths = np.unique(b_theta)
    n = len(bandwidths)
    figure, axes = plt.subplots(2, (n + 3) // 2, figsize=(WIDTH, 4.9))
    axes = axes.ravel()
    limit = np.abs(image).max()
    brightest = np.quantile(np.abs(coefficients[coefficients != 0]), 0.98)
    for ax, picture, title in zip(
        axes, (image, reconstruction), ("image", "reconstruction"), strict=False
    ):
        ax.imshow(picture, vmin=-limit, vmax=limit)
        ax.set_title(title)
    for ax, width in zip(axes[2:], bandwidths, strict=False):
        atoms = np.flatnonzero(np.isclose(b_theta, width))
        size = np.abs(coefficients[atoms])
        hue = theta[atoms][size.argmax(axis=0)] / np.pi % 1
        value = np.sqrt(np.clip(size.max(axis=0) / brightest, 0, 1))
        ax.imshow(hsv_to_rgb(np.stack([hue, np.full_like(hue, 0.85), value], axis=-1)))
        share = np.count_nonzero(size) / max(np.count_nonzero(coefficients), 1)
        ax.set_title(f"Bθ = {np.degrees(width):.0f}°, {100 * share:.0f} %")
    for ax in axes:
        ax.set(xticks=[], yticks=[])
        ax.grid(visible=False)
    for ax in axes[n + 2 :]:
        ax.set_visible(False)
    return figure


def by_bandwidth(b_theta, series):
    """Fraction of coefficients used at each bandwidth.

    Parameters
    ----------
    b_theta : ndarray (K,)
        In radians.
    series : dict of str to ndarray (n, K)
        Fraction of coefficients used per image and atom.
    """
    figure, ax = plt.subplots(figsize=(0.62 * WIDTH, 3.0))
    bandwidths = np.unique(b_theta)
    for i, (name, used) in enumerate(series.items()):
        groups = [100 * used[:, np.isclose(b_theta, b)].mean(axis=1) for b in bandwidths]
        middle = [np.mean(group) for group in groups]
        low, high = zip(*(np.quantile(group, [0.1, 0.9]) for group in groups), strict=True)
        degrees = np.degrees(bandwidths)
        ax.plot(degrees, middle, color=f"C{i}", marker="o", label=name)
        ax.fill_between(degrees, low, high, color=f"C{i}", alpha=0.2, linewidth=0)
    ax.set(xlabel="orientation bandwidth Bθ (°)", ylabel="coefficients used (%)")
    ax.set_ylim(bottom=0)
    if len(series) > 1:
        ax.legend()
    return figure

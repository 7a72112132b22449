"""Figures of the chapter on orientations. They take results and compute none."""

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.colors import hsv_to_rgb

from lib.plotting import WIDTH, plot_band

_CARDINALS = (0, 45, 90, 135, 180)
_LOW, _HIGH = "C0", "C3"


def photograph(image, magnitude, theta, histogram):
    """A photograph, its gradients (hue: orientation, brightness: magnitude), their histogram."""
    _, axes = plt.subplots(1, 3, figsize=(WIDTH, 2.4), width_ratios=[1, 1, 1.2], dpi=170)
    axes[0].imshow(image, vmin=0, vmax=1)
    value = np.clip(magnitude / np.quantile(magnitude, 0.98), 0, 1)
    axes[1].imshow(hsv_to_rgb(np.stack([theta / np.pi, 0.85 * np.ones_like(value), value], -1)))
    for ax, title in zip(axes[:2], ("photograph", "gradients, hue by orientation"), strict=True):
        ax.set_title(title)
        ax.axis("off")
    n = len(histogram)
    colors = hsv_to_rgb([[(i + 0.5) / n, 0.85, 0.85] for i in range(n)])
    _bars(axes[2], histogram, color=colors)
    axes[2].set(xlabel="orientation (°)", ylabel="share of pixels")


def _bars(ax, histogram, **style):
    """Shares of the bins of a histogram over [0°, 180°)."""
    width = 180 / len(histogram)
    centres = width * (np.arange(len(histogram)) + 0.5)
    ax.bar(centres, histogram / histogram.sum(), width, **style)
    ax.set_xticks(_CARDINALS)
    ax.set_xlim(0, 180)


def calibration(textures, histograms, expected, spreads, measured, exact):
    """Textures of known orientation spread, their histograms, and their circular variance.

    Parameters
    ----------
    textures : dict of float to ndarray (height, width)
        By spread in degrees.
    histograms : dict of float to ndarray (n_bins,)
        Mean of the draws at the same spreads.
    expected : dict of float to ndarray (n_bins,)
        What theory gives.
    spreads : ndarray (n_spreads,)
        In degrees, the last one infinite: white noise, drawn at the right.
    measured : dict of str to ndarray (n_spreads, n_draws)
        Circular variance by the way of counting.
    exact : dict of str to ndarray (n_spreads,)
    """
    figure = plt.figure(figsize=(WIDTH, 4.9), dpi=160)
    top, bottom = figure.subfigures(2, 1, height_ratios=[2.1, 2.8])
    axes = top.subplots(2, len(textures), height_ratios=[1.5, 1])
    for i, (spread, texture) in enumerate(textures.items()):
        axes[0, i].imshow(texture)
        axes[0, i].set_title("all orientations" if np.isinf(spread) else f"spread {spread:g}°")
        axes[0, i].axis("off")
        _bars(axes[1, i], histograms[spread], color="0.75")
        edges = np.linspace(0, 180, len(expected[spread]) + 1)
        axes[1, i].stairs(expected[spread], edges, color="k", linewidth=1)
        axes[1, i].set(yticks=[], xticks=(0, 90, 180))
    axes[1, 0].set_ylabel("share")
    ax = bottom.subplots()
    at = np.arange(len(spreads))
    for i, (name, values) in enumerate(measured.items()):
        ax.plot(at, exact[name], color=f"C{i}", linewidth=1, label=f"{name}, theory")
        ax.errorbar(
            at,
            values.mean(axis=1),
            np.abs(np.quantile(values, [0.025, 0.975], axis=1) - values.mean(axis=1)),
            color=f"C{i}",
            linestyle="",
            marker="o",
            markersize=5,
            label=f"{name}, textures",
        )
    ax.set_xticks(at, ["∞" if np.isinf(s) else f"{s:g}" for s in spreads])
    ax.set(xlabel="spread of the texture's orientations (°)", ylabel="circular variance")
    ax.legend()


def extremes(patches, histograms, variances, everything):
    """Patches of the lowest and the highest circular variance, and its distribution.

    Parameters
    ----------
    patches : ndarray (2, n, size, size)
        Lowest and highest.
    histograms : ndarray (2, n, n_bins)
    variances : ndarray (2, n)
    everything : ndarray (n_patches,)
        Circular variance of all patches.
    """
    figure = plt.figure(figsize=(WIDTH, 5.6), dpi=140)
    top, bottom = figure.subfigures(2, 1, height_ratios=[3.9, 1.7])
    n = patches.shape[1]
    axes = top.subplots(4, n, height_ratios=[1.6, 1, 1.6, 1])
    tallest = (histograms / histograms.sum(axis=-1, keepdims=True)).max()
    for k, color in enumerate((_LOW, _HIGH)):
        for i in range(n):
            picture, bars = axes[2 * k, i], axes[2 * k + 1, i]
            picture.imshow(patches[k, i])
            picture.set_title(f"{variances[k, i]:.2f}", color=color)
            picture.axis("off")
            _bars(bars, histograms[k, i], color=color)
            bars.set(ylim=(0, tallest), xticks=(0, 90, 180), yticks=[])
    ax = bottom.subplots()
    ax.hist(everything, bins=np.linspace(0, 1, 51), color="0.7")
    for values, color in zip(variances, (_LOW, _HIGH), strict=True):
        ax.plot(values, np.zeros(n), "|", color=color, markersize=18, markeredgewidth=1.5)
    ax.set(xlabel="circular variance of a patch", ylabel="patches", xlim=(0, 1))


def patch_sizes(sizes, quantiles, noise):
    """Circular variance against the size of patches.

    Parameters
    ----------
    sizes : sequence of int
        Sides in pixels.
    quantiles : ndarray (n_sizes, 3)
        Of photographs' patches: 5 %, 50 %, 95 %.
    noise : ndarray (n_sizes, 3)
        Of white noise.
    """
    _, ax = plt.subplots(figsize=(0.6 * WIDTH, 3.0))
    for values, label in ((quantiles, "photographs"), (noise, "white noise")):
        plot_band(ax, sizes, *values.T, label=label, marker="o", markersize=4)
    ax.set_xscale("log", base=2)
    ax.set_xticks(sizes, sizes)
    ax.set(xlabel="side of a patch (pixels)", ylabel="circular variance", ylim=(0, 1.02))
    ax.legend(loc="lower right")


def cardinal_bias(shares, by_photograph):
    """Orientations of all photographs, and the share near the cardinals of each.

    Parameters
    ----------
    shares : dict of str to ndarray (n_bins,)
        Histograms over [0°, 180°) by the way of counting, each of sum 1.
    by_photograph : dict of str to ndarray (n_photographs,)
        Share of orientations within 15° of 0° and 90°.
    """
    _, axes = plt.subplots(1, 2, figsize=(WIDTH, 3.0), width_ratios=[1.8, 1])
    for i, (name, share) in enumerate(shares.items()):
        centres = (np.arange(len(share)) + 0.5) * 180 / len(share)
        style = {"color": "0.4", "linestyle": "--"} if name not in by_photograph else {}
        axes[0].plot(centres, share * len(share), label=name, **({"color": f"C{i}"} | style))
    for left, right in ((0, 15), (75, 105), (165, 180)):
        axes[0].axvspan(left, right, color="0.93", zorder=0)
    axes[0].set_xticks(_CARDINALS)
    axes[0].set(xlabel="orientation (°)", ylabel="density over uniform", xlim=(0, 180))
    axes[0].legend(fontsize=8)
    low = min(values.min() for values in by_photograph.values())
    high = max(values.max() for values in by_photograph.values())
    for i, values in enumerate(by_photograph.values()):
        axes[1].hist(values, bins=np.linspace(low, high, 25), alpha=0.55, color=f"C{i}")
    axes[1].axvline(1 / 3, color="k", linewidth=1, linestyle="--")
    axes[1].set(xlabel="share within 15° of a cardinal", ylabel="photographs")


def kernels(variances, patches):
    """Circular variance of what atoms pass, against their bandwidth, beside that of patches.

    Parameters
    ----------
    variances : dict of str to (ndarray (n,), ndarray (3, n))
        By formula: bandwidths in degrees; lowest, mean and highest over orientations.
    patches : dict of int to (float, float, float)
        By side in pixels: 5 %, 50 % and 95 % of photographs' patches.
    """
    _, ax = plt.subplots(figsize=(0.62 * WIDTH, 3.1))
    for side, grey, (low, middle, high) in zip(
        patches, ("0.92", "0.8"), patches.values(), strict=False
    ):
        ax.axhspan(low, high, color=grey, zorder=0, alpha=0.6, label=f"patches of {side} pixels")
        ax.axhline(middle, color="0.5", linewidth=1)
    for name, (b_theta, values) in variances.items():
        plot_band(ax, b_theta, *values, label=name, marker="o", markersize=4)
    ax.set(xlabel="orientation bandwidth Bθ (°)", ylabel="circular variance", ylim=(0, 1))
    ax.legend(fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5))

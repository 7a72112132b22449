"""Figures of the chapter on the lamina. They take results and compute none."""

import matplotlib.pyplot as plt
import numpy as np

from lib.plotting import WIDTH, plot_band, plot_filters, plot_spectrum

_NAMES = ("L3 (ψ₁)", "L1, L2 (ψ₂)")


def scan_line(photograph, contrast, row, degrees_per_pixel):
    """Photograph, its local contrast, and the contrast along one row."""
    height, width = photograph.shape
    extent = (0, width * degrees_per_pixel, height * degrees_per_pixel, 0)
    _, axes = plt.subplots(1, 3, figsize=(WIDTH, 2.5), width_ratios=[1, 1, 1.3], dpi=150)
    limit = np.quantile(np.abs(contrast), 0.99)
    axes[0].imshow(photograph, extent=extent, vmin=0, vmax=1)
    axes[1].imshow(contrast, extent=extent, vmin=-limit, vmax=limit)
    for ax, title in zip(axes[:2], ("luminance", "local contrast"), strict=True):
        ax.axhline(row * degrees_per_pixel, color="C1", linewidth=1)
        ax.set(title=title, xlabel="degrees")
        ax.grid(False)
    axes[2].plot(degrees_per_pixel * np.arange(width), contrast[row], color="C1")
    axes[2].axhline(0, color="0.3", linewidth=0.8)
    axes[2].set(title="along the scan line", xlabel="degrees scanned", ylabel="contrast")


def spectrum_and_filters(correlations, filters, degrees, fit, response):
    """Spectrum, filters against scanned angle, and their gains against spatial frequency.

    Parameters
    ----------
    correlations : ndarray
    filters : ndarray (2, memory)
    degrees : float
        Degrees scanned in one sample.
    fit : ndarray (memory,)
        Derivative of a Gaussian fitted to the second filter.
    response : tuple of ndarray
        Frequencies in cycles per sample, gains (2, n_frequencies).
    """
    _, axes = plt.subplots(1, 3, figsize=(WIDTH, 3.0))
    plot_spectrum(axes[0], correlations)
    scale = 1 / np.abs(filters).max(axis=1, keepdims=True)
    plot_filters(axes[1], scale * filters, degrees, _NAMES, "scanned before now (degrees)")
    angle = degrees * np.arange(len(fit))
    axes[1].plot(angle, scale[1] * fit, "k:", label="Gaussian derivative")
    axes[1].set_ylabel("weight over largest weight")
    axes[1].legend(fontsize=8)
    frequencies, gains = response
    shown = frequencies > 0
    for gain in gains:
        axes[2].plot(frequencies[shown] / degrees, gain[shown] / gain.max())
    axes[2].set(xscale="log", xlabel="cycles per degree", ylabel="gain over largest gain")


def staircase_responses(luminance, start, responses):
    """Luminance staircase and the responses (dict by cell) that begin at sample `start`."""
    _, axes = plt.subplots(1, 1 + len(responses), figsize=(WIDTH, 2.5), sharex=True)
    axes[0].plot(luminance, color="0.3")
    axes[0].set(title="luminance", ylabel="arbitrary units")
    for i, (ax, (name, values)) in enumerate(zip(axes[1:], responses.items(), strict=True)):
        ax.plot(start + np.arange(len(values)), values, color=f"C{i}")
        ax.set(title=name, yticks=[0])
    for ax in axes:
        ax.set_xlabel("time (samples)")


def recorded_responses(time, luminance, start, matches):
    """Luminance of an experiment, and recorded and modelled responses to it.

    Parameters
    ----------
    time : ndarray (n_times,)
        Seconds.
    luminance : ndarray (n_times,)
    start : int
        Sample at which the responses begin.
    matches : dict of str to lib.recordings.Match
        By cell.
    """
    figure, axes = plt.subplots(1, 1 + len(matches), figsize=(WIDTH, 2.8), sharex=True)
    axes[0].plot(time, luminance, color="0.3")
    axes[0].set(title="luminance", ylabel="unit of the recording")
    for ax, (i, name) in zip(axes[1:], enumerate(("L3", "L1", "L2")), strict=True):
        match = matches[name]
        ax.plot(time[start:], match.recorded, color="0.6", label="recorded")
        ax.plot(time[start:], match.model, color=f"C{i}", linewidth=1.2, label="model (in colour)")
        ax.set_title(f"{name}, correlation {match.correlation:.2f}")
    axes[1].set_ylabel("standard deviations")
    for ax in axes:
        ax.set_xlabel("time (s)")
    figure.legend(handles=axes[1].lines, loc="outside lower center", ncols=2)


def noise_study(degrees, noises, filters, widths):
    """Filters at each noise level, with bands over repeats, and their widths.

    Parameters
    ----------
    degrees : float
    noises : sequence of float
    filters : ndarray (n_noises, n_repeats, 2, memory)
    widths : dict of str to ndarray (n_noises, n_repeats, 2)
        By definition, in samples.
    """
    _, axes = plt.subplots(1, 3, figsize=(WIDTH, 3.2))
    angle = degrees * np.arange(filters.shape[-1])
    for i, name in enumerate(_NAMES):
        for noise, rows in zip(noises, filters[:, :, i], strict=True):
            scaled = rows / np.abs(rows).max(axis=1, keepdims=True)
            low, middle, high = np.quantile(scaled, [0.025, 0.5, 0.975], axis=0)
            plot_band(axes[i], angle, low, middle, high, f"noise {noise:g}")
        axes[i].axhline(0, color="0.3", linewidth=0.8)
        axes[i].set(title=name, xlabel="scanned before now (degrees)", xlim=(0, 8))
    axes[0].set_ylabel("weight over largest weight")
    axes[0].legend(fontsize=8)
    for k, (definition, values) in enumerate(widths.items()):
        for i, line in enumerate(("-", "--")):
            middle = values[:, :, i].mean(axis=1)
            axes[2].plot(
                noises,
                middle / middle[0],
                line,
                marker="o",
                markersize=4,
                color=f"C{k + 3}",
                label=definition if i == 0 else None,
            )
    axes[2].axhline(1, color="0.3", linewidth=0.8)
    axes[2].set(xscale="log", xlabel="noise", ylabel="width over width at low noise")
    axes[2].legend(fontsize=8)


def leaves_and_photographs(leaves, contrast, degrees, filters):
    """A dead-leaves picture, its contrast, and filters (dict of source to (2, memory))."""
    _, axes = plt.subplots(1, 4, figsize=(WIDTH, 2.6), width_ratios=[1, 1, 1.2, 1.2])
    limit = np.quantile(np.abs(contrast), 0.99)
    axes[0].imshow(leaves, vmin=leaves.min(), vmax=leaves.max())
    axes[1].imshow(contrast, vmin=-limit, vmax=limit)
    for ax, title in zip(axes[:2], ("dead leaves", "local contrast"), strict=True):
        ax.set_title(title)
        ax.axis("off")
    for i, ax in enumerate(axes[2:]):
        for (name, rows), line in zip(filters.items(), ("-", "--", ":"), strict=False):
            plot_filters(ax, rows[i : i + 1], degrees, [name], "scanned (degrees)", linestyle=line)
        ax.set(title=_NAMES[i], xlim=(0, 8), ylabel="")
    axes[3].legend(fontsize=8)


def stability(cosines):
    """Cosines of filters of resampled photographs with those of all: (n_boot, 2)."""
    _, ax = plt.subplots(figsize=(0.5 * WIDTH, 2.6))
    for i, name in enumerate(_NAMES):
        ax.hist(cosines[:, i], bins=20, alpha=0.6, label=name)
    ax.set(xlabel="cosine with the filter of all photographs", ylabel="bootstrap samples")
    ax.legend()

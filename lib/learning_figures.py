"""Figures of the chapter on learning."""

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.ticker import MaxNLocator

from lib.plotting import WIDTH


def curves(learned, results):
    """Objective, held-out PSNR and held-out sparseness, as learning goes on.

    Parameters
    ----------
    learned : dict of str to (ndarray (m,), list of lib.codes.Measures)
        By start: steps, and measures of held-out images at them.
    results : dict of str to lib.dictlearn.LearnedDictionary
        By start.
    """
    figure, axes = plt.subplots(1, 3, figsize=(WIDTH, 3.0))
    for i, (name, (steps, measures)) in enumerate(learned.items()):
        result = results[name]
        axes[0].plot(result.steps, result.held_out.mean(axis=1), "o-", color=f"C{i}", markersize=4)
        axes[0].plot(result.objective, color=f"C{i}", alpha=0.3, linewidth=0.8)
        for ax, field in ((axes[1], "psnr"), (axes[2], "sparseness")):
            values = np.array([getattr(m, field) for m in measures])
            low, high = np.quantile(values, [0.1, 0.9], axis=1)
            ax.plot(steps, values.mean(axis=1), "o-", color=f"C{i}", markersize=4, label=name)
            ax.fill_between(steps, low, high, color=f"C{i}", alpha=0.15, linewidth=0)
    axes[0].set_yscale("log")
    axes[0].set_title("dots: held out, thin: each step", fontsize=8)
    labels = ("objective", "held-out PSNR (dB)", "held-out fraction of zeros")
    for ax, label in zip(axes, labels, strict=True):
        ax.set(xlabel="steps", ylabel=label)
    axes[1].legend(title="start", fontsize=8, title_fontsize=8)
    return figure


def densities(panels, theta_grid, b_grid, points):
    """Kernel densities of atoms over orientation and bandwidth.

    Parameters
    ----------
    panels : dict of str to ndarray (m, n)
        By dictionary: density over bandwidth and orientation.
    theta_grid : ndarray (n,)
    b_grid : ndarray (m,)
        In radians.
    points : dict of str to (ndarray (K,), ndarray (K,))
        θ and Bθ of the atoms.
    """
    figure, axes = plt.subplots(1, len(panels), figsize=(WIDTH, 3.0), sharey=True)
    top = max(np.quantile(values, 0.999) for values in panels.values())
    for ax, (name, values) in zip(axes, panels.items(), strict=True):
        extent = np.degrees([theta_grid[0], theta_grid[-1], b_grid[0], b_grid[-1]])
        ax.imshow(values, origin="lower", extent=extent, aspect="auto", cmap="viridis", vmax=top)
        theta, b_theta = points[name]
        ax.scatter(np.degrees(theta % np.pi), np.degrees(b_theta), s=4, color="w", alpha=0.6)
        ax.set(xlabel="orientation θ (°)", title=name, xticks=[0, 45, 90, 135])
        ax.set_ylim(extent[2:])
        ax.grid(visible=False)
    axes[0].set_ylabel("bandwidth Bθ (°)")
    return figure


def effects(table):
    """Differences with intervals: PSNR on the left, sparseness on the right.

    Parameters
    ----------
    table : dict of str to (lib.effects.Effect, lib.effects.Effect)
        By comparison: of PSNR in dB, and of sparseness.
    """
    figure, axes = plt.subplots(1, 2, figsize=(WIDTH, 0.8 + 0.34 * len(table)), sharey=True)
    for ax, which, label in zip(axes, (0, 1), ("ΔPSNR (dB)", "Δ sparseness"), strict=True):
        for i, pair in enumerate(table.values()):
            e = pair[which]
            ax.plot([e.low, e.high], [i, i], color="C0")
            ax.plot(e.difference, i, "o", color="C0", markersize=5)
        ax.axvline(0, color="0.3", linewidth=0.8)
        ax.set(xlabel=label)
        ax.xaxis.set_major_locator(MaxNLocator(4))
    axes[0].set_yticks(range(len(table)), table)
    axes[0].invert_yaxis()
    return figure

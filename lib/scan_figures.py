"""Figures of the parameter scan."""

import matplotlib.pyplot as plt
import numpy as np

from lib.plotting import WIDTH

LABELS = {
    "lmbda": "λ",
    "max_iter": "iterations",
    "relax": "relaxation",
    "atom_size": "filter size (pixels)",
    "n_atoms": "atoms",
}
_LOG = ("lmbda", "max_iter", "n_atoms")


def by_parameter(points, chosen):
    """PSNR (top) and sparseness (bottom) against each parameter.

    Parameters
    ----------
    points : list of lib.scan.Point
    chosen : lib.scan.Setting
    """
    names = list(dict.fromkeys(p.varied for p in points))
    figure, axes = plt.subplots(2, len(names), figsize=(WIDTH, 4.2), sharey="row", sharex="col")
    for column, name in zip(axes.T, names, strict=True):
        own = [p for p in points if p.varied == name]
        values = _apart([p.value for p in own], name in _LOG)
        for ax, field in zip(column, ("psnr", "sparseness"), strict=True):
            ax.plot([p.value for p in own], [getattr(p, field) for p in own], "o-", markersize=4)
            here = next(p for p in own if p.setting == chosen)
            ax.plot(here.value, getattr(here, field), "s", color="C3", markersize=7)
            if name in _LOG:
                ax.set_xscale("log")
            ax.set_xticks(values, [f"{value:.4g}" for value in values], rotation=45)
            ax.minorticks_off()
        column[1].set_xlabel(LABELS[name])
        column[1].tick_params(axis="x", labelsize=8)
    axes[0, 0].set_ylabel("PSNR (dB)")
    axes[1, 0].set_ylabel("fraction of zeros")
    figure.align_xlabels(axes[1])
    return figure


def _apart(values, log):
    """Rising values without those that are too near to the one before for labels of both."""
    at = np.log(values) if log else np.asarray(values, dtype=float)
    kept = [0]
    for i in range(1, len(at)):
        if at[i] - at[kept[-1]] > 0.12 * np.ptp(at):
            kept.append(i)
    return [values[i] for i in kept]


def front(points, best, chosen):
    """All points, the Pareto front, the chosen point.

    Parameters
    ----------
    points, best : list of lib.scan.Point
    chosen : lib.scan.Setting
    """
    figure, ax = plt.subplots(figsize=(0.72 * WIDTH, 3.8))
    for i, name in enumerate(dict.fromkeys(p.varied for p in points)):
        own = [p for p in points if p.varied == name]
        xy = [p.sparseness for p in own], [p.psnr for p in own]
        ax.plot(*xy, "o", color=f"C{i}", markersize=5, label=LABELS[name])
    ax.plot([p.sparseness for p in best], [p.psnr for p in best], color="0.3", linewidth=1)
    here = next(p for p in points if p.setting == chosen)
    ax.plot(here.sparseness, here.psnr, "s", color="k", markersize=9, fillstyle="none")
    ax.set(xlabel="fraction of zeros", ylabel="PSNR (dB)")
    ax.legend(title="varied", fontsize=8, title_fontsize=8)
    return figure

"""Figures of the appendix on tests: what was counted, killed and measured."""

import matplotlib.pyplot as plt
import numpy as np
import seaborn as sns

from lib.plotting import WIDTH


def mutants(modules):
    """Bars of mutants killed and survived, a module each.

    Parameters
    ----------
    modules : dict of str to dict
        With counts ``mutants`` and ``killed``.

    Returns
    -------
    Figure
    """
    colours = sns.color_palette("colorblind")
    fig, ax = plt.subplots(figsize=(WIDTH, 0.5 + 0.42 * len(modules)))
    for row, counts in enumerate(modules.values()):
        killed, total = counts["killed"], counts["mutants"]
        ax.barh(row, killed, color=colours[0], label="killed" if row == 0 else None)
        label = "survived" if row == 0 else None
        ax.barh(row, total - killed, left=killed, color=colours[1], hatch="///", label=label)
        ax.text(total, row, f"  {killed} of {total}, {killed / total:.0%}", va="center", fontsize=9)
    ax.set_yticks(range(len(modules)), modules)
    ax.invert_yaxis()
    ax.grid(visible=False, axis="y")
    ax.set_xlim(0, 1.3 * max(counts["mutants"] for counts in modules.values()))
    ax.set_xlabel("mutants")
    ax.legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=2)
    return fig


def kills(moments):
    """When pieces of work were killed, a dot each.

    Parameters
    ----------
    moments : dict of str to sequence of float
        Of each piece of work, shares of the time that it takes undisturbed.

    Returns
    -------
    Figure
    """
    colour = sns.color_palette("colorblind")[3]
    fig, ax = plt.subplots(figsize=(WIDTH, 0.5 + 0.34 * len(moments)))
    for row, shares in enumerate(moments.values()):
        ax.plot(100 * np.asarray(shares), np.full(len(shares), row), "x", color=colour, alpha=0.8)
    ax.set_yticks(range(len(moments)), moments)
    ax.set_ylim(len(moments) - 0.5, -0.5)
    ax.set_xlim(left=0)
    ax.set_xlabel("killed after … % of the time that it takes undisturbed")
    return fig


def long_runs(series, photographs):
    """Memory against the length of a series, and against the number of photographs.

    Parameters
    ----------
    series, photographs : list of dict
        Rows that ``tests/scale.py`` measured.

    Returns
    -------
    Figure
    """
    fig, axes = plt.subplots(1, 2, figsize=(WIDTH, 2.8))
    n = np.array([row["samples"] for row in series])
    peaks = [row["peak_mb"] for row in series]
    both = [row["peak_mb_two_workers"] for row in series]
    axes[0].plot(n, peaks, "o-", label="one process")
    axes[0].plot(n, both, "s--", label="two, together")
    axes[0].plot(n, 8e-6 * n, ":", color="0.4", label="the file itself")
    axes[0].set(xscale="log", yscale="log", xlabel="samples", ylabel="peak memory (MB)")
    axes[0].set_title("Lag covariances of a file")
    axes[0].legend()
    count = [row["images"] for row in photographs]
    axes[1].plot(count, [row["peak_mb"] for row in photographs], "o-")
    axes[1].set(xlabel="photographs", ylabel="peak memory (MB)", title="Codes into a store")
    axes[1].set_ylim(0, 1.2 * max(row["peak_mb"] for row in photographs))
    axes[1].set_xlim(left=0)
    return fig

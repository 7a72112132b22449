"""Figures of the appendix on solvers. They take results and compute none."""

import matplotlib.pyplot as plt
import numpy as np

from lib.plotting import WIDTH


def _bars(ax, values, label, scale=1.0, digits=3, order=None):
    """Horizontal bars, the last of `values` (dict) on top, with their numbers.

    `order` (names) gives the colours, where two panels must agree on them.
    """
    numbers, order = scale * np.array(list(values.values())), list(order or values)
    bars = ax.barh(list(values), numbers, color=[f"C{order.index(name)}" for name in values])
    ax.bar_label(bars, [f"{x:.{digits}g}" for x in numbers], padding=3, fontsize=9)
    ax.set(xlabel=label)
    ax.margins(x=0.15)
    ax.grid(False, axis="y")


def speed_and_memory(seconds, floors, memory):
    """Time of an iteration with the floors of both designs, and peak memory.

    Parameters
    ----------
    seconds, memory : dict of str to float
        By coder: seconds per iteration, bytes.
    floors : dict of str to float
        Seconds by design.
    """
    _, axes = plt.subplots(1, 2, figsize=(WIDTH, 2.7), sharey=True)
    _bars(axes[0], seconds, "milliseconds per iteration", 1e3)
    for (name, floor), style in zip(floors.items(), ("--", ":"), strict=True):
        axes[0].axvline(1e3 * floor, color="0.2", linestyle=style, linewidth=1.2, label=name)
    axes[0].legend(
        title="floors", loc="lower center", bbox_to_anchor=(0.5, 1), ncols=2, title_fontsize=9
    )
    _bars(axes[1], memory, "peak memory (MB)", 1e-6, order=seconds)


def convergence(traces):
    """Distance from the least objective against iterations and against seconds.

    Parameters
    ----------
    traces : dict of str to ndarray (3, n)
        By coder: iterations, seconds, relative distance. The last is drawn dashed.
    """
    _, axes = plt.subplots(1, 2, figsize=(WIDTH, 3.0), sharey=True)
    *_, last = traces
    for row, ax in enumerate(axes):
        for i, (name, trace) in enumerate(traces.items()):
            # Curves that coincide are told apart by their widths.
            style = {"color": f"C{i}", "linewidth": 5 - 1.4 * i if row == 0 else 1.6}
            if name == last:
                style = {"color": "k", "linestyle": "--", "linewidth": 1.2}
            ax.plot(trace[row], trace[2], label=name, **style)
        ax.set(xscale="log", yscale="log")
    axes[0].set(xlabel="iterations", ylabel="objective / least value − 1")
    axes[1].set(xlabel="seconds")
    axes[1].legend(loc="lower left")


def lag_times(moments, analyses):
    """Seconds (dict by method) for second moments and for a whole analysis."""
    _, axes = plt.subplots(1, 2, figsize=(WIDTH, 2.1))
    for ax, values, title in zip(
        axes, (moments, analyses), ("second moments", "analysis"), strict=True
    ):
        _bars(ax, dict(reversed(values.items())), "milliseconds", 1e3)
        ax.set(title=title)


def network_times(seconds):
    """Seconds (dict by method) to learn both layers."""
    _, ax = plt.subplots(figsize=(WIDTH, 1.6))
    _bars(ax, dict(reversed(seconds.items())), "seconds")

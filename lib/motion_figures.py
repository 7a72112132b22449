"""Figures of the chapter on motion detection. They take results and compute none."""

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.patches import FancyArrowPatch

from lib.plotting import WIDTH, animate

PIXELS = ("left", "centre", "right")
CELLS = ("L3", "L1")
DIRECTIONS = (("preferred", "C0", "-"), ("null", "C1", "--"))


def circuit(shift):
    """Draw the network: pixels, lamina cells, six channels, two directions."""
    _, ax = plt.subplots(figsize=(0.85 * WIDTH, 3.4))
    ax.set(xlim=(-1.0, 9.4), ylim=(-0.5, 5.9))
    ax.axis("off")

    def node(x, y, text, color, size=1150):
        ax.scatter(x, y, s=size, color=color, alpha=0.25, edgecolor=color, linewidth=1.4)
        ax.text(x, y, text, ha="center", va="center", fontsize=10)

    def wire(start, end, color):
        ends = {"shrinkA": 16, "shrinkB": 17, "mutation_scale": 8}
        ax.add_patch(FancyArrowPatch(start, end, arrowstyle="-|>", color=color, lw=0.9, **ends))

    outputs = {"Ψ1": (7.4, 3.9), "Ψ2": (7.4, 1.1)}
    for i, pixel in enumerate(PIXELS):
        y = 4.5 - 2 * i
        node(0.3, y, "", "0.4", 600)
        ax.text(0.3, y - 0.62, pixel, ha="center", va="top", fontsize=9)
        lead = f"{(2 - i) * shift} samples ahead" if i < 2 else "last"
        ax.text(0.3, y, f"{(2 - i) * shift}", ha="center", va="center", fontsize=8)
        ax.text(0.72, y + 0.5, lead, fontsize=8, color="0.35")
        for j, cell in enumerate(CELLS):
            place = (3.6, y + 0.45 - 0.9 * j)
            wire((0.3, y), place, "0.45")
            node(*place, cell, f"C{2 * j}")
            for end in outputs.values():
                wire(place, end, f"C{2 * j}")
    for name, place in outputs.items():
        node(*place, name, "0.3", 1500)
    ax.text(8.0, 3.9, "tracks contrast", va="center", fontsize=9)
    ax.text(8.0, 1.1, "rectified: T4", va="center", fontsize=9)
    for x, text in ((0.3, "pixels"), (3.6, "first layer"), (7.4, "second layer")):
        ax.text(x, 5.6, text, ha="center", fontsize=10, weight="bold")
    ax.annotate("", (-0.45, -0.2), (-0.45, 5.2), arrowprops={"arrowstyle": "-|>", "color": "0.3"})
    ax.text(-0.6, 2.5, "scenes of the training", rotation=90, ha="right", va="center", fontsize=9)


def weights(weights, resampled, correlations):
    """Both directions' weights by pixel and cell type, and the canonical correlations.

    Parameters
    ----------
    weights : ndarray (2, 6)
        L3 and L1 of left, centre and right.
    resampled : ndarray (n, 2, 6)
        From resampled photographs; drawn as 95 % intervals.
    correlations : ndarray (6,)
    """
    figsize = (WIDTH, 3.0)
    _, axes = plt.subplots(1, 3, figsize=figsize, width_ratios=[1, 1, 0.8])
    intervals = np.quantile(resampled, [0.025, 0.975], axis=0)
    for i, ax in enumerate(axes[:2]):
        _triples(ax, weights[i], intervals[:, i])
        ax.set_title(f"Ψ{i + 1}")
    axes[0].set_ylim(axes[1].get_ylim())
    axes[0].set_ylabel("weight")
    axes[0].legend()
    axes[2].plot(np.arange(1, 7), correlations, "o-", markersize=4)
    axes[2].set(xlabel="canonical direction", ylabel="canonical correlation σ", ylim=(0, 1.05))


def _triples(ax, six, interval=None, **style):
    """Bars of L3 and L1 weights over the three pixels."""
    for j, cell in enumerate(CELLS):
        x, values = np.arange(3) + 0.4 * j - 0.2, six[j::2]
        ax.bar(x, values, 0.36, color=f"C{2 * j}", label=cell, **style)
        if interval is not None:
            low, high = interval[:, j::2]
            ax.vlines(x, low, high, color="k", linewidth=1.2)
    ax.axhline(0, color="0.3", linewidth=0.8)
    ax.set_xticks(range(3), PIXELS)
    ax.grid(False, axis="x")


def responses(panels):
    """Ψ1 and rectified Ψ2 to motion in both directions.

    Parameters
    ----------
    panels : dict of str to (ndarray (n_times,), ndarray (2, n_times, 2))
        By stimulus: seconds; projections by direction of motion, time and unit.
    """
    _, axes = plt.subplots(
        2, len(panels), figsize=(WIDTH, 4.2), sharey="row", sharex="col", squeeze=False
    )
    for (top, bottom), (name, (time, z)) in zip(axes.T, panels.items(), strict=True):
        for (label, color, line), values in zip(DIRECTIONS, z, strict=True):
            style = {"color": color, "linestyle": line, "label": label}
            top.plot(time, values[:, 0], **style)
            bottom.plot(time, np.maximum(values[:, 1], 0), **style)
        top.set_title(name)
        bottom.set_xlabel("time (s)")
    axes[0, 0].set_ylabel("Ψ1")
    axes[1, 0].set_ylabel("T4 = max(0, Ψ2)")
    axes[0, 0].legend()


def selectivity(multiples, indices, resampled):
    """Direction selectivity against speed, and its intervals at the speed of training.

    Parameters
    ----------
    multiples : ndarray (n_speeds,)
        Speeds over that of the training.
    indices : dict of str to ndarray (n_speeds, 2)
        By stimulus, for rectified Ψ1 and Ψ2; NaN is not drawn.
    resampled : dict of str to ndarray (n,)
        Indices of Ψ2 at the speed of training, from resampled photographs.
    """
    figsize = (WIDTH, 3.4)
    figure, axes = plt.subplots(1, 3, figsize=figsize, width_ratios=[1, 1, 0.6])
    for unit, ax in enumerate(axes[:2]):
        for i, (name, values) in enumerate(indices.items()):
            style = {"color": f"C{i // 2}", "linestyle": "-" if i % 2 == 0 else "--"}
            if i % 2:
                style |= {"marker": "s", "markersize": 8, "markerfacecolor": "none"}
            else:
                style |= {"marker": "o", "markersize": 4}
            ax.plot(multiples, values[:, unit], label=name, **style)
        ax.axhspan(-0.05, 0.05, color="0.9", zorder=0)
        ax.set(xscale="log", ylim=(-1.1, 1.1), title=f"rectified Ψ{unit + 1}")
        ax.set_xlabel("speed / speed of training")
        ax.set_xticks(multiples, [f"{m:g}" for m in multiples])
        ax.minorticks_off()
    axes[0].set_ylabel("direction selectivity index")
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=4)
    ax = axes[2]
    for i, values in enumerate(resampled.values()):
        low, middle, high = np.quantile(values, [0.025, 0.5, 0.975])
        ax.errorbar(i, middle, [[middle - low], [high - middle]], fmt="o", capsize=4, color=f"C{i}")
    ax.axhline(0.2, color="k", linestyle=":", linewidth=1)
    ax.set(xlim=(-0.5, len(resampled) - 0.5), ylim=(-0.05, 1.1), title="Ψ2, resampled")
    ax.set_xticks(range(len(resampled)), resampled)


def thresholds(levels, above):
    """Peak response above a threshold, in units of the preferred peak.

    Parameters
    ----------
    levels : ndarray (n,)
        Thresholds over the preferred peak.
    above : dict of str to ndarray (2, n)
        By stimulus, preferred and null.
    """
    figsize = (0.75 * WIDTH, 3.0)
    _, axes = plt.subplots(1, len(above), figsize=figsize, sharey=True)
    for ax, (name, values) in zip(axes, above.items(), strict=True):
        for (label, color, line), rest in zip(DIRECTIONS, values, strict=True):
            ax.plot(levels, rest, color=color, linestyle=line, label=label)
        silent = np.flatnonzero(values[1] <= 0)[0]
        ax.plot(levels[[silent, silent]], [0, values[0, silent]], "k", linewidth=3)
        ax.set(xlabel="threshold / preferred peak", title=f"{name}: {values[0, silent]:.0%} kept")
    axes[0].set_ylabel("peak above threshold")
    axes[-1].legend()


def opposites(cells):
    """Weights of several cells (dict of name to ndarray (6,)) side by side."""
    _, axes = plt.subplots(1, len(cells), figsize=(WIDTH, 2.8), sharey=True)
    for ax, (name, six) in zip(axes, cells.items(), strict=True):
        _triples(ax, six)
        ax.set_title(name)
    axes[0].set_ylabel("weight")
    axes[0].legend(loc="lower left")


def mechanism(time, inputs, halfway):
    """Weighted inputs over time, and their sum.

    Parameters
    ----------
    time : ndarray (n_times,)
        Seconds.
    inputs : ndarray (2, n_times, 6)
        By direction of motion.
    halfway : ndarray (2, 3)
        When the L3 inputs pass half of their extremes.
    """
    _, axes = plt.subplots(1, 2, figsize=(WIDTH, 3.5), sharey=True, sharex=True)
    for ax, (label, _, _), values, crossed in zip(axes, DIRECTIONS, inputs, halfway, strict=True):
        for i, pixel in enumerate(PIXELS):
            for j, cell in enumerate(CELLS):
                trace = values[:, 2 * i + j]
                style = {"color": f"C{i}", "linestyle": "-" if j == 0 else "--"}
                ax.plot(time, trace, label=f"{cell} {pixel}", **style)
                if j == 0:
                    peak = np.abs(trace).argmax()
                    ax.plot(time[peak], trace[peak], "o", color=f"C{i}", markersize=5)
                    ax.plot(crossed[i], trace[peak] / 2, "x", color=f"C{i}", markersize=7)
        ax.plot(time, values.sum(axis=1), "k", linewidth=2, alpha=0.6, label="sum, Ψ2")
        ax.axhline(0, color="0.3", linewidth=0.8)
        ax.set(xlabel="time (s); edge at the centre at 0", title=f"{label} direction")
    axes[0].set_ylabel("weighted input")
    axes[1].legend(fontsize=8, ncols=2, loc="upper left")


def connectome(model, references, tests):
    """Model's weights beside the connectome's, and what permuted weights give.

    Parameters
    ----------
    model : ndarray (6,)
        Each triple divided by the sum of its absolute values, as in `references`.
    references : dict of str to ndarray (6,)
    tests : dict of str to (float, float)
        Cosine and p by name of the comparison.
    """
    figsize = (WIDTH, 3.2)
    figure, axes = plt.subplots(1, 3, figsize=figsize, width_ratios=[1, 1, 1.2])
    columns = {"model": model, **references}
    width = 0.8 / len(columns)
    for j, (ax, cell) in enumerate(zip(axes[:2], CELLS, strict=True)):
        for k, (name, six) in enumerate(columns.items()):
            x = np.arange(3) + width * (k - (len(columns) - 1) / 2)
            ax.bar(x, six[j::2], 0.9 * width, color=f"C{k}", label=name)
        ax.axhline(0, color="0.3", linewidth=0.8)
        ax.set_xticks(range(3), PIXELS)
        ax.set_title(cell)
        ax.grid(False, axis="x")
    axes[0].set_ylabel("weight / sum of absolute weights")
    ax = axes[2]
    for i, (name, (cosine, p)) in enumerate(reversed(tests.items())):
        ax.plot([0, cosine], [i, i], color="0.6", zorder=1)
        ax.plot(cosine, i, "o", color="C0" if p < 0.05 else "C3")
        text = f"{name}: {cosine:z.2f}, p = {p:.3f}"
        back = {"facecolor": "white", "edgecolor": "none", "pad": 1}
        ax.text(-0.58, i + 0.22, text, fontsize=7.5, bbox=back)
    ax.axvline(0.5, color="k", linestyle=":", linewidth=1)
    ax.axvline(0, color="0.3", linewidth=0.8)
    ax.set(xlabel="cosine", xlim=(-0.6, 1), ylim=(-0.5, len(tests) - 0.3), yticks=[])
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=3)


def tuning(speeds, by_speed, contrasts, by_contrast, training):
    """Peak response against speed and contrast.

    Parameters
    ----------
    speeds, contrasts : ndarray
        Degrees per second; relative.
    by_speed, by_contrast : dict of str to ndarray (n, 2)
        By stimulus: peaks for the preferred and the null direction.
    training : float
        Speed of the training.
    """
    figure, axes = plt.subplots(1, 2, figsize=(WIDTH, 3.4))
    for ax, x, curves in ((axes[0], speeds, by_speed), (axes[1], contrasts, by_contrast)):
        for i, (name, peaks) in enumerate(curves.items()):
            for (label, _, line), values in zip(DIRECTIONS, peaks.T, strict=True):
                style = {"color": f"C{i}", "linestyle": line, "markersize": 3}
                ax.plot(x, values, marker="o", label=f"{name}, {label}", **style)
    axes[0].axvline(training, color="0.4", linestyle=":", linewidth=1)
    axes[0].set(xscale="log", xlabel="speed (°/s)", ylabel="peak of T4")
    axes[1].set(xlabel="contrast", ylabel="peak of T4")
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=4)


def standing(places, outputs, moving_peak):
    """Constant output of Ψ2 for edges that stand still, against their place.

    Parameters
    ----------
    places : ndarray (n,)
        Degrees from the centre.
    outputs : dict of str to ndarray (n,)
    moving_peak : float
        Peak for the moving edge, for comparison.
    """
    _, ax = plt.subplots(figsize=(0.6 * WIDTH, 3.0))
    for name, values in outputs.items():
        ax.plot(places, values, label=name)
    ax.axhline(moving_peak, color="k", linestyle=":", linewidth=1)
    ax.axhline(0, color="0.3", linewidth=0.8)
    ax.set(xlabel="place of the edge (° from the centre)", ylabel="Ψ2, constant in time")
    ax.legend()


def choices(rows, columns, values, holds, counts, total):
    """Table of values by choice (rows) and measure (columns), coloured by whether a rule holds.

    Parameters
    ----------
    rows, columns : sequence of str
    values : ndarray (n_rows, n_columns)
    holds : ndarray (n_rows, n_columns)
        1 where the rule on this measure holds, 0 where not, NaN where there is none.
    counts : ndarray (n_columns,)
        Of all `total` combinations, how many satisfy the rule.
    """
    _, ax = plt.subplots(figsize=(WIDTH, 0.31 * len(rows) + 1.0))
    rows = [*rows, "all combinations"]
    palette = {1: "#cfe3f6", 0: "#f9ddb8"}
    for i, line in enumerate(values):
        for j, value in enumerate(line):
            box = (j - 0.5, i - 0.5)
            color = palette.get(holds[i, j], "white")
            ax.add_patch(plt.Rectangle(box, 1, 1, facecolor=color, edgecolor="white"))
            digits = 3 if columns[j] == "p" else 2
            ax.text(j, i, f"{value:z.{digits}f}", ha="center", va="center", fontsize=9)
    for j, count in enumerate(counts):
        text = "–" if np.isnan(count) else f"{count:.0f} of {total}"
        ax.text(j, len(rows) - 1, text, ha="center", va="center", fontsize=9)
    ax.set(xlim=(-0.5, len(columns) - 0.5), ylim=(len(rows) - 0.5, -0.5))
    ax.set_yticks(range(len(rows)), rows)
    ax.set_xticks(range(len(columns)), columns)
    ax.xaxis.tick_top()
    ax.tick_params(length=0)
    ax.grid(False)
    ax.spines[:].set_visible(False)


def edge_animation(places, pixels, time, profiles, inputs, every=5):
    """Animation of an edge in either direction, the six weighted inputs and T4's response.

    Parameters
    ----------
    places : ndarray (n_places,)
        Degrees from the centre.
    pixels : ndarray (3,)
        Where the three pixels look.
    time : ndarray (n_times,)
    profiles : ndarray (2, n_times, n_places)
        Contrast by direction.
    inputs : ndarray (2, n_times, 6)
        Weighted inputs by direction.
    every : int
        Frames show every so many samples.
    """
    figure, axes = plt.subplots(1, 3, figsize=(7.6, 2.6), dpi=80)
    (edge,) = axes[0].plot(places, profiles[0, 0], color="k")
    for i, x in enumerate(pixels):
        axes[0].axvline(x, color=f"C{i}", linewidth=1.2)
    axes[0].set(xlabel="place (°)", ylabel="contrast", ylim=(-0.1, 1.1))
    colors = [f"C{i}" for i in range(3) for _ in CELLS]
    bars = axes[1].bar(range(6), np.zeros(6), color=colors)
    for bar in bars[1::2]:
        bar.set_alpha(0.5)
    limit = 1.1 * np.abs(inputs).max()
    axes[1].set(ylim=(-limit, limit), ylabel="weighted input")
    axes[1].set_xticks([0.5, 2.5, 4.5], PIXELS)
    axes[1].set_title("L3, paler: L1")
    axes[1].axhline(0, color="0.3", linewidth=0.8)
    outputs = np.maximum(inputs.sum(axis=2), 0)
    for (label, color, line), values in zip(DIRECTIONS, outputs, strict=True):
        axes[2].plot(time, values, color=color, linestyle=line, label=label)
    (marker,) = axes[2].plot(time[:1], outputs[0, :1], "ko", markersize=6)
    axes[2].set(xlabel="time (s)", ylabel="T4", ylim=(-0.05, 1.3 * outputs.max()))
    axes[2].legend(loc="upper left", fontsize=8)
    frames = [(k, i) for k in range(2) for i in range(0, len(time), every)]

    def draw(frame):
        k, i = frames[frame]
        edge.set_ydata(profiles[k, i])
        for bar, height in zip(bars, inputs[k, i], strict=True):
            bar.set_height(height)
        marker.set_data(time[i : i + 1], outputs[k, i : i + 1])
        axes[0].set_title(f"{DIRECTIONS[k][0]}, {time[i]:+.2f} s")

    return animate(figure, draw, len(frames), 120)

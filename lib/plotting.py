"""Panels and animations that two or more chapters share. They take results and compute none."""

import base64
import io
import re

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.animation import FuncAnimation
from matplotlib.ticker import MaxNLocator
from PIL import Image

WIDTH = 9.0  # inches: the text's width


def use_style():
    """Set the book's figure style: colour-blind safe, on white, so that it also reads on dark."""
    import seaborn as sns

    sns.set_theme(
        context="notebook",
        style="ticks",
        palette="colorblind",
        rc={
            "axes.grid": True,
            "axes.spines.right": False,
            "axes.spines.top": False,
            "axes.titlesize": 11,
            "axes.labelsize": 10,
            "axes.titlelocation": "left",
            "figure.constrained_layout.use": True,
            "figure.dpi": 200,
            "figure.facecolor": "white",
            "font.size": 10,
            "grid.alpha": 0.35,
            "grid.linewidth": 0.6,
            "image.cmap": "gray",
            "legend.fontsize": 9,
            "legend.frameon": False,
            "lines.linewidth": 1.6,
            "xtick.labelsize": 9,
            "ytick.labelsize": 9,
        },
    )


def overview(traces, spectra, filters, *, dt, unit, labels, noise_band=None):
    """Three columns: what is seen, how much of it predicts, and the filters.

    Parameters
    ----------
    traces : list of ndarray (n_samples,)
        Drawn one below the other.
    spectra : list of ndarray
        Canonical correlations.
    filters : list of ndarray (n_filters, memory)
        Filters drawn for each label; the first filter dashed if there are two.
    dt : float
        Sampling interval in `unit`.
    unit : str
    labels : list of str
        One for each spectrum.
    noise_band : float, optional
        Upper end of what chance gives.
    """
    _, axes = plt.subplots(1, 3, figsize=(WIDTH, 3.0))
    gap = max(np.ptp(trace) for trace in traces)
    for i, trace in enumerate(traces):
        axes[0].plot(dt * np.arange(len(trace)), trace - gap * i, linewidth=0.8)
    axes[0].set(xlabel=f"time ({unit})", ylabel="observation", yticks=[])
    for i, (label, correlations, rows) in enumerate(zip(labels, spectra, filters, strict=True)):
        plot_spectrum(axes[1], correlations, label, linewidth=2 if i else 3)
        for j, weights in enumerate(rows):
            style = "--" if len(rows) == 2 and j == 0 else "-"
            color = f"C{i}" if len(rows) <= 2 else f"C{j + 2}"
            width = 1.2 if i else 2.6
            plot_filters(
                axes[2],
                [weights],
                dt,
                color=color,
                linestyle=style,
                linewidth=width,
                alpha=1 if i else 0.55,
            )
    axes[2].set_xlabel(f"time before now ({unit})")
    if noise_band is not None:
        axes[1].axhspan(0, noise_band, color="0.88", zorder=0)
    add_information_axis(axes[1])
    axes[1].legend()


def plot_spectrum(ax, correlations, label=None, **style):
    """Canonical correlations against their rank."""
    ranks = np.arange(1, len(correlations) + 1)
    ax.plot(ranks, correlations, marker="o", markersize=4, label=label, **style)
    ax.set(xlabel="canonical direction", ylabel="canonical correlation σ")
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))


def add_information_axis(ax):
    """Label σ on the right by the information -½ ln(1 - σ²) that it carries, in nats."""
    right = ax.twinx()
    right.grid(False)
    right.spines["right"].set_visible(True)
    low, high = ax.get_ylim()
    low = max(low, 0.0)
    ticks = np.array([0.0, 0.01, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 4.0])
    at = np.sqrt(1 - np.exp(-2 * ticks))
    shown = (at >= low) & (at <= high)
    # Labels nearer than a twentieth of the axis would overlap.
    kept = [
        i
        for i in np.flatnonzero(shown)
        if not np.any((at[shown] > at[i]) & (at[shown] - at[i] < 0.05 * (high - low)))
    ]
    right.set_ylim(ax.get_ylim())
    right.set_yticks(at[kept], [f"{ticks[i]:g}" for i in kept])
    right.set_ylabel("information (nats)")
    return right


def plot_filters(ax, filters, dt=1.0, labels=None, xlabel="time before now (samples)", **style):
    """Filters of the past against time before now, newest at zero."""
    labels = [None] * len(filters) if labels is None else labels
    for weights, label in zip(filters, labels, strict=True):
        ax.plot(dt * np.arange(len(weights)), weights, label=label, **style)
    ax.axhline(0, color="0.3", linewidth=0.8, zorder=0)
    ax.set(xlabel=xlabel, ylabel="weight")


def plot_band(ax, x, low, middle, high, label=None, **style):
    """A line with a band around it."""
    (line,) = ax.plot(x, middle, label=label, **style)
    ax.fill_between(x, low, high, color=line.get_color(), alpha=0.2, linewidth=0)
    return line


def _shrink(encoded):
    """Reduce a base64 PNG to 64 colours: a third of the size for line drawings."""
    picture = Image.open(io.BytesIO(base64.b64decode(encoded.replace("\\\n", ""))))
    buffer = io.BytesIO()
    picture.convert("RGB").quantize(64).save(buffer, "png", optimize=True)
    return base64.b64encode(buffer.getvalue()).decode()


def animate(figure, draw, n_frames, interval_ms=200):
    """Animation with a slider, as HTML that needs no network.

    Parameters
    ----------
    figure : matplotlib.figure.Figure
        Closed afterwards.
    draw : callable
        Called with the frame's number; draws into the figure.
    n_frames : int
    interval_ms : int
        Milliseconds a frame when playing.

    Returns
    -------
    IPython.display.HTML
    """
    from IPython.display import HTML

    animation = FuncAnimation(figure, draw, frames=n_frames, interval=interval_ms)
    with plt.rc_context({"animation.embed_limit": 2.0}):
        page = animation.to_jshtml(default_mode="once")
    plt.close(figure)
    # Matplotlib draws its buttons with an icon font from a CDN; plain characters need none.
    page = re.sub(r"<link[^>]*font-awesome[^>]*>", "", page)
    icons = {
        "fa-minus": "−",
        "fa-fast-backward": "|◀",
        "fa-step-backward": "‹",
        "fa-play fa-flip-horizontal": "◀",
        "fa-pause": "❚❚",
        "fa-play": "▶",
        "fa-step-forward": "›",
        "fa-fast-forward": "▶|",
        "fa-plus": "+",
    }
    page = re.sub(r'(?<=data:image/png;base64,)[^"]+', lambda frame: _shrink(frame[0]), page)
    for name, character in icons.items():
        page = page.replace(f'<i class="fa {name}"></i>', character)
    return HTML(page)

"""Figures of the chapter on the statistics of codes. They take results and compute none."""

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.colors import ListedColormap

from lib.plotting import WIDTH


def _named(model):
    """A model's name with the capitals of those it is named after."""
    return model.replace("gauss", "Gauss").replace("von mises", "von Mises")


def magnitudes(edges, shares, fits, shown=("exponential", "gamma", "log-normal")):
    """Histogram of magnitudes of each image, their mean, and fits to the mean.

    Parameters
    ----------
    edges : ndarray (n_bins + 1,)
    shares : dict of str to ndarray (n, n_bins)
        By the source of the codes; 100 images at most are drawn.
    fits : dict of str to lib.code_statistics.ModelFits
        Of the one mean histogram of each.
    shown : sequence of str
        Models whose curves are drawn.
    """
    figure, axes = plt.subplots(1, len(shares), figsize=(WIDTH, 3.2), sharey=True, squeeze=False)
    styles = dict(zip(shown, ("-", "--", ":"), strict=False))
    for i, (ax, (name, rows)) in enumerate(zip(axes[0], shares.items(), strict=True)):
        some = rows[:: max(1, len(rows) // 100)]
        ax.plot(edges[:-1], some.T, color="0.75", linewidth=0.5, zorder=1)
        ax.plot(edges[:-1], rows.mean(axis=0), ".", color="0.1", markersize=4, zorder=3)
        for j, model in enumerate(shown):
            curve = fits[name].fits[model][0].curve
            ax.plot(
                edges[:-1], curve, styles[model], color=f"C{3 * j}", label=_named(model), zorder=2
            )
        ax.set(title=name, xlabel="magnitude of coefficient", yscale="log")
        if i == 0:
            ax.set_ylabel("share of bin")
            ax.legend()
    return figure


def exponential_parameters(fits, published):
    """Parameters and R² of the exponentials of each image, beside the published ranges.

    Parameters
    ----------
    fits : dict of str to lib.code_statistics.ModelFits
    published : dict of str to (float, float)
        Least and largest published value of a, b and r2.
    """
    figure, axes = plt.subplots(1, 3, figsize=(WIDTH, 0.9 + 0.42 * len(fits)), sharey=True)
    labels = {"a": "a", "b": "b (1 / magnitude)", "r2": "R²"}
    for ax, (name, label) in zip(axes, labels.items(), strict=True):
        ax.axvspan(*published[name], color="0.9", zorder=0)
        for i, each in enumerate(fits.values()):
            _strip(ax, each.field("exponential", name), i)
        ax.set(xlabel=label)
    axes[0].set_yticks(range(len(fits)), fits)
    axes[0].invert_yaxis()
    return figure


def _strip(ax, values, row):
    """Values as points in a row, drawn as a violin if there are many, with their median."""
    values = values[np.isfinite(values)]
    if len(values) > 60:
        parts = ax.violinplot(
            [values], [row], orientation="horizontal", showextrema=False, widths=0.7
        )
        parts["bodies"][0].set(facecolor=f"C{row}", alpha=0.4)
    else:
        ax.scatter(values, np.full(len(values), row), s=10, color=f"C{row}", alpha=0.7)
    ax.plot([np.median(values)] * 2, [row - 0.35, row + 0.35], color=f"C{row}", linewidth=2.4)


def winners(shares):
    """Share of images in which each model has the lowest BIC, as stacked bars.

    Parameters
    ----------
    shares : dict of str to dict of str to (dict of str to float)
        By panel, then row, then model. The first panel has all rows.
    """
    names = list(next(iter(shares.values())))
    figure, axes = plt.subplots(
        1, len(shares), figsize=(WIDTH, 1.2 + 0.4 * len(names)), sharey=True, squeeze=False
    )
    for ax, (title, panel) in zip(axes[0], shares.items(), strict=True):
        known = [i for i, name in enumerate(names) if name in panel]
        left = np.zeros(len(known))
        for j, model in enumerate(panel[names[known[0]]]):
            width = np.array([100 * panel[names[i]][model] for i in known])
            ax.barh(known, width, left=left, color=f"C{j}", label=_named(model), height=0.7)
            left += width
        for i in set(range(len(names))) - set(known):
            ax.text(2, i, "not counts", va="center", color="0.4")
        ax.set(title=title, xlabel="images (%)", xlim=(0, 100))
        ax.grid(visible=False)
    axes[0, 0].set_yticks(range(len(names)), names)
    axes[0, 0].invert_yaxis()
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(labels))
    return figure


def spikes(counts):
    """Share of zeros in the code of each image, with its interval, in ascending order.

    Parameters
    ----------
    counts : dict of str to lib.code_statistics.CodeCounts
    """
    figure, ax = plt.subplots(figsize=(0.7 * WIDTH, 3.0))
    for i, (name, each) in enumerate(counts.items()):
        order = np.argsort(each.zeros)
        middle = 100 * each.zeros[order]
        error = [middle - 100 * each.zeros_low[order], 100 * each.zeros_high[order] - middle]
        rank = np.linspace(0, 100, len(order))
        ax.errorbar(rank, middle, error, color=f"C{i}", marker="o", markersize=4, label=name)
    ax.axhline(98, color="0.3", linestyle=":", linewidth=1)
    ax.set(xlabel="photographs, ranked (%)", ylabel="coefficients that are zero (%)")
    ax.legend()
    return figure


def by_orientation(edges, counts, rates):
    """Histograms of magnitudes by the atoms' orientation, and their exponential rates.

    Parameters
    ----------
    edges : ndarray (n_bins + 1,)
    counts : dict of str to ndarray (n_theta, n_bins)
        Coefficients of all images together; lines break where bins are empty.
    rates : dict of str to (ndarray (n_theta,), ndarray (n_theta,))
        Rate b of the exponential fitted to each, and its standard error.
    """
    figure, axes = plt.subplots(1, len(counts) + 1, figsize=(WIDTH, 3.0))
    colors = ListedColormap(0.85 * plt.get_cmap("hsv")(np.linspace(0, 1, 256))[:, :3])
    for ax, (name, table) in zip(axes, counts.items(), strict=False):
        hues = colors(np.arange(len(table)) / len(table))
        for row, hue in zip(table, hues, strict=True):
            shares = np.where(row > 0, row / max(row.sum(), 1), np.nan)
            ax.plot(edges[:-1], shares, color=hue, linewidth=0.9)
        ax.set(title=name, xlabel="magnitude", yscale="log", ylim=(3e-4, 0.3))
    axes[0].set_ylabel("share of bin")
    key = plt.cm.ScalarMappable(plt.Normalize(0, 180), colors)
    bar = figure.colorbar(key, ax=axes[len(counts) - 1], label="orientation (°)")
    bar.set_ticks([0, 45, 90, 135, 180])
    for i, (name, (values, errors)) in enumerate(rates.items()):
        degrees = 180 * np.arange(len(values)) / len(values)
        style = {"color": f"C{i}", "markersize": 4, "label": name, "capsize": 2}
        axes[-1].errorbar(degrees, values, 1.96 * errors, marker="o", **style)
    axes[-1].set(xlabel="orientation (°)", ylabel="rate b", xticks=[0, 45, 90, 135])
    axes[-1].set_ylim(bottom=0)
    axes[-1].legend(fontsize=8)
    return figure


def orientations(panels):
    """Shares of coefficients by orientation: images, their mean, a double von Mises, and noise.

    Parameters
    ----------
    panels : dict of str to dict
        By dictionary: ``"shares"`` (n, n_theta), ``"curve"`` (n_theta,) fitted to their mean, and
        ``"noise"`` (n_theta,) or None.
    """
    n_rows = (len(panels) + 2) // 3
    height = 0.5 + 2.4 * n_rows
    figure, axes = plt.subplots(n_rows, 3, figsize=(WIDTH, height), squeeze=False)
    for ax, (name, panel) in zip(axes.flat, panels.items(), strict=False):
        shares = panel["shares"]
        degrees = 180 * np.arange(shares.shape[1]) / shares.shape[1]
        low, high = np.nanquantile(shares, [0.1, 0.9], axis=0)
        ax.fill_between(degrees, low, high, color="0.85", linewidth=0)
        ax.plot(degrees, np.nanmean(shares, axis=0), "o-", color="0.1", markersize=3, label="mean")
        ax.plot(degrees, panel["curve"], color="C0", label="double von Mises")
        if panel["noise"] is not None:
            ax.plot(degrees, panel["noise"], "--", color="C3", label="noise, all orientations")
        ax.set(title=name, xlabel="orientation (°)", xticks=[0, 45, 90, 135, 180])
        ax.set_ylim(bottom=0)
    for ax in axes.flat[len(panels) :]:
        ax.set_visible(False)
    for ax in axes[:, 0]:
        ax.set_ylabel("share of coefficients")
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(labels))
    return figure


def peaks(fits):
    """Means µ and concentrations κ of the two peaks of the double von Mises of each image.

    Parameters
    ----------
    fits : dict of str to lib.code_statistics.ModelFits
    """
    figure, axes = plt.subplots(1, len(fits), figsize=(WIDTH, 3.0), sharey=True, squeeze=False)
    for ax, (name, each) in zip(axes[0], fits.items(), strict=True):
        for j in (1, 2):
            mean = np.degrees(each.field("double von mises", f"phi{j}"))
            # Drawn from -45° to 135°, so that neither cardinal lies on the border.
            mean = (mean + 45) % 180 - 45
            k = each.field("double von mises", f"k{j}")
            size = 16 if len(k) < 60 else 5
            ax.scatter(mean, k, s=size, color=f"C{3 * (j - 1)}", alpha=0.6, label=f"peak {j}")
        for cardinal in (0, 90):
            ax.axvline(cardinal, color="0.3", linestyle=":", linewidth=1, zorder=0)
        title = name.replace(", ", ",\n")
        ax.set(title=title, xlabel="µ (°)", xticks=[-45, 0, 45, 90, 135], yscale="log")
    axes[0, 0].set_ylabel("concentration κ")
    axes[0, 0].legend(fontsize=8)
    return figure

"""Figures of the two chapters on theory. They take results and compute none."""

import matplotlib.pyplot as plt
import numpy as np

from lib.plotting import WIDTH, animate, plot_band, plot_filters, plot_spectrum


def spectra_by_size(sizes, spectra, limits, white_bands):
    """Leading correlations against the number of samples.

    Parameters
    ----------
    sizes : sequence of int
    spectra : ndarray (n_sizes, n_repeats, n_directions)
    limits : ndarray
        Exact values, drawn as lines.
    white_bands : sequence of float
        What white noise reaches by chance at each size.
    """
    _, ax = plt.subplots(figsize=(0.7 * WIDTH, 3.3))
    for i in range(spectra.shape[2]):
        quantiles = np.quantile(spectra[:, :, i], [0.025, 0.5, 0.975], axis=1)
        plot_band(ax, sizes, *quantiles, label=f"σ{i + 1}", marker="o", markersize=4)
    for value in limits:
        ax.axhline(value, color="0.4", linewidth=0.8)
    ax.plot(sizes, white_bands, "k--", label="white noise, 99 %")
    ax.set(xscale="log", yscale="log", xlabel="samples", ylabel="canonical correlation")
    ax.legend(ncols=2)


def information_by_rank(ranks, kept, kept_random, total):
    """Information that projections keep, and what rivals lose against the first method.

    Parameters
    ----------
    ranks : ndarray (n_ranks,)
    kept : dict of str to ndarray (n_ranks,)
        In nats, by method; the first one is the reference.
    kept_random : ndarray (n_ranks, n_random)
    total : float
    """
    _, (left, right) = plt.subplots(1, 2, figsize=(WIDTH, 3.1))
    spread = np.linspace(-0.12, 0.12, kept_random.shape[1])
    left.plot(ranks[:, None] + spread, kept_random, ".", color="0.75", markersize=2)
    best = next(iter(kept.values()))
    for i, (name, values) in enumerate(kept.items()):
        style = {"color": f"C{i}", "marker": "os^"[i], "markersize": 5}
        left.plot(ranks, values, label=name, **style)
        if i:
            right.plot(ranks, 100 * np.maximum(1 - values / best, 1e-10), label=name, **style)
    left.axhline(total, color="0.3", linestyle="--", linewidth=1)
    left.set(xlabel="rank r", ylabel="information kept (nats)", xticks=ranks, ylim=(0, None))
    left.legend(loc="upper right", bbox_to_anchor=(1, 0.75))
    right.set(xlabel="rank r", ylabel="lost against CCA (%)", yscale="log", xticks=ranks)


def covariance_deviation(covariances):
    """Deviation of output covariances (n_repeats, r, r) from the identity."""
    r = covariances.shape[1]
    figure, (left, right) = plt.subplots(1, 2, figsize=(0.8 * WIDTH, 2.8), width_ratios=[1, 1.6])
    deviations = covariances - np.eye(r)
    limit = np.abs(deviations).max()
    picture = left.imshow(deviations[0], cmap="RdBu_r", vmin=-limit, vmax=limit)
    figure.colorbar(picture, ax=left, label="deviation from I")
    left.set(xticks=range(r), yticks=range(r), xlabel="channel", ylabel="channel")
    left.set(xticklabels=range(1, r + 1), yticklabels=range(1, r + 1))
    left.grid(False)
    pairs = [(i, j) for i in range(r) for j in range(i, r)]
    entries = np.array([deviations[:, i, j] for i, j in pairs])
    low, middle, high = np.quantile(entries, [0.025, 0.5, 0.975], axis=1)
    right.errorbar(range(len(pairs)), middle, [middle - low, high - middle], fmt="o", capsize=3)
    right.axhline(0, color="0.3", linewidth=0.8)
    right.set(xticks=range(len(pairs)), xticklabels=[f"{i + 1},{j + 1}" for i, j in pairs])
    right.set(xlabel="pair of channels", ylabel="deviation from I")


def kernels_and_spectra(tau, autocovariances, spectra):
    """Autocovariance functions (dict by name, over `tau` in seconds) and their spectra."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(WIDTH, 3.6))
    for name, values in autocovariances.items():
        left.plot(tau, values, linewidth=1.2)
        plot_spectrum(right, np.maximum(spectra[name], 1e-6), name)
    left.set(xlabel="lag τ (s)", ylabel="autocovariance k(τ)")
    right.axhline(0.1, color="0.4", linestyle=":", linewidth=1)
    right.set(yscale="log", ylim=(1e-4, 1.5))
    figure.legend(*right.get_legend_handles_labels(), loc="outside lower center", ncols=3)


def filters_by_kernel(dt, draws, learned):
    """A draw of each kernel, and its filter 2 at each noise level.

    Parameters
    ----------
    dt : float
        Seconds.
    draws : dict of str to ndarray (n_samples,)
        By kernel.
    learned : dict of str to dict of float to ndarray (n_draws, memory)
        By kernel and noise, scaled to unit maximum.
    """
    _, axes = plt.subplots(2, len(draws), figsize=(WIDTH, 4.6), sharey="row")
    for (top, bottom), (name, draw) in zip(axes.T, draws.items(), strict=True):
        top.plot(dt * np.arange(len(draw)), draw, linewidth=1)
        top.set(title=name, xlabel="time (s)")
        for sigma, filters in learned[name].items():
            mean, std = filters.mean(axis=0), filters.std(axis=0)
            lags = dt * np.arange(len(mean))
            plot_band(bottom, lags, mean - std, mean, mean + std, label=f"σ = {sigma:g}")
        bottom.axhline(0, color="0.3", linewidth=0.8, zorder=0)
        bottom.set(xlabel="time before now (s)", ylim=(-1.1, 1.3))
    axes[0, 0].set_ylabel("observation")
    axes[1, 0].set_ylabel("filter 2, mean ± std")
    axes[1, 0].legend(fontsize=8)


def filters_by_noise(dt, sigmas, learned, exact, spectra, lobes):
    """Filters and spectra at the lowest and highest noise, and lobes of filter 2 against noise.

    Parameters
    ----------
    dt : float
        Seconds.
    sigmas : ndarray (n_sigmas,)
    learned : list of ndarray (n_draws, 2, memory)
        Scaled to unit maximum.
    exact : list of ndarray (2, memory)
    spectra : list of ndarray (n_draws, n_directions)
    lobes : dict
        ``mean`` and ``exact`` (n_sigmas,), ``draws`` (n_sigmas, n_draws).
    """
    _, axes = plt.subplots(2, 2, figsize=(WIDTH, 5.6))
    axes = axes.ravel()
    lags = dt * np.arange(exact[0].shape[1])
    for color, which in (("C0", 0), ("C3", -1)):
        label = f"σ = {sigmas[which]:.2g}"
        for i in range(2):
            mean, std = learned[which][:, i].mean(axis=0), learned[which][:, i].std(axis=0)
            plot_band(axes[i], lags, mean - std, mean, mean + std, label, color=color)
            scale = np.abs(mean).max() / np.abs(exact[which][i]).max()
            axes[i].plot(lags, scale * exact[which][i], "k:", linewidth=1.2)
            axes[i].set(xlabel="time before now (s)", title=f"filter {i + 1}", ylim=(-1.1, 1.3))
            axes[i].set_ylabel("weight")
        quantiles = np.quantile(spectra[which], [0.025, 0.5, 0.975], axis=0)
        ranks = np.arange(1, spectra[which].shape[1] + 1)
        plot_band(axes[2], ranks, *quantiles, label, color=color, marker="o", markersize=4)
    axes[2].set(xlabel="canonical direction", ylabel="canonical correlation σ", title="spectrum")
    axes[0].legend()
    axes[2].legend()
    quantiles = np.quantile(lobes["draws"], [0.025, 0.5, 0.975], axis=1)
    plot_band(axes[3], sigmas, *quantiles, "single draws", color="0.5")
    axes[3].plot(sigmas, lobes["mean"], "o-", color="C2", label="mean filter")
    axes[3].plot(sigmas, lobes["exact"], "k:", label="exact filter")
    axes[3].set(xscale="log", xlabel="noise σ", ylabel="lobes", title="lobes of filter 2")
    axes[3].set_ylim(0, 14)
    axes[3].legend(loc="upper left")


def information_by_memory(sizes, information, shown_until, dt, fits):
    """Information against memory; first direction and spectrum for some sizes (dict to a CCA)."""
    _, axes = plt.subplots(1, 3, figsize=(WIDTH, 2.9))
    axes[0].plot(sizes, information, "o-", markersize=3)
    axes[0].axvspan(shown_until, sizes[-1], color="0.92", zorder=0)
    axes[0].set(xlabel="memory = horizon (samples)", ylabel="information (nats)", ylim=(0, None))
    for m, fit in fits.items():
        first = fit.filters_[:1] / np.abs(fit.filters_[0]).max()
        plot_filters(axes[1], first, dt, [f"m = h = {m}"], "time before now (s)")
        plot_spectrum(axes[2], fit.correlations_[:10], f"m = h = {m}")
    axes[1].legend()


def filters_by_memory(dt, fits):
    """Filters 1 and 2 for several memories: dict of kernel's name to dict of memory to a CCA."""
    figure, axes = plt.subplots(2, len(fits), figsize=(WIDTH, 4.6), sharex=True, sharey=True)
    for column, (name, by_memory) in zip(axes.T, fits.items(), strict=True):
        column[0].set_title(name)
        for m, fit in by_memory.items():
            # Without correlation there is no direction, only rounding.
            for ax, weights in zip(column, fit.filters_[fit.correlations_ > 1e-6], strict=False):
                scaled = weights / np.abs(weights).max()
                plot_filters(ax, [scaled], dt, [f"m = {m}"], "", linewidth=1.3)
        for ax in column:
            ax.set_ylabel("")
            if not ax.lines:
                ax.text(0.5, 0.5, "no second direction", ha="center", transform=ax.transAxes)
    axes[0, 0].set_ylabel("filter 1")
    axes[1, 0].set_ylabel("filter 2")
    axes[0, 0].legend(fontsize=8)
    figure.supxlabel("time before now (s)", fontsize=10)


def angle_by_size(sizes, angles, slope):
    """Angle (n_sizes, n_series), in radians, between learned and exact filters."""
    _, ax = plt.subplots(figsize=(0.6 * WIDTH, 3.1))
    ax.plot(sizes, np.degrees(angles), ".", color="0.7", markersize=4)
    middle = np.degrees(np.exp(np.log(angles).mean(axis=1)))
    ax.plot(sizes, middle, "o-", label=f"geometric mean, slope {slope:.2f}")
    reference = middle[-1] * (np.array(sizes) / sizes[-1]) ** -0.5
    ax.plot(sizes, reference, "k--", label="slope −½")
    ax.set(xscale="log", yscale="log", xlabel="samples", ylabel="angle (degrees)")
    ax.legend()


def adaptation(jumps, single, pooled, n_pooled):
    """Cosine with the new optimum against time since a jump of the noise.

    Parameters
    ----------
    jumps : dict of str to (float, float)
        Noise before and after.
    single : dict of str to ndarray (n_series, n_times)
    pooled : dict of (str, int) to ndarray (n_times,)
        By jump and length of the window in lag vectors.
    n_pooled : int
    """
    _, axes = plt.subplots(1, len(jumps), figsize=(WIDTH, 3.3), sharey=True)
    for ax, (name, (first, second)) in zip(axes, jumps.items(), strict=True):
        time = np.arange(single[name].shape[1])
        quantiles = np.quantile(single[name], [0.025, 0.5, 0.975], axis=0)
        plot_band(ax, time, *quantiles, "one neuron, window 10", color="0.5")
        for (jump, window), values in pooled.items():
            if jump == name:
                ax.plot(time, values, label=f"pool of {n_pooled}, window {window}")
        ax.axhline(0.9, color="k", linestyle="--", linewidth=0.8)
        ax.axvline(10, color="k", linestyle="--", linewidth=0.8)
        ax.set(xlabel="time since the jump (lag vectors)", ylim=(-0.6, 1.05))
        ax.set_title(f"noise {first:g} → {second:g}")
    axes[0].set_ylabel("cosine with the new optimum")
    axes[1].legend(loc="lower right", fontsize=8)


def adaptation_animation(dt, jumps, running, optimum):
    """Animation of running filters (dict of jump to (n_times, memory)) beside the new optimum."""
    figure, axes = plt.subplots(1, len(jumps), figsize=(7, 2.7), sharey=True, dpi=90)
    lines = []
    for ax, (name, (first, second)) in zip(axes, jumps.items(), strict=True):
        lags = dt * np.arange(len(optimum[name]))
        ax.plot(lags, optimum[name] / np.abs(optimum[name]).max(), "k:", label="new optimum")
        lines += ax.plot(lags, np.zeros(len(lags)), label="running filter 2")
        ax.set(ylim=(-1.2, 1.2), xlabel="time before now (s)")
        ax.set_title(f"noise {first:g} → {second:g}")
    axes[1].legend(loc="lower right")
    heading = figure.suptitle("")

    def draw(frame):
        heading.set_text(f"{frame} lag vectors after the jump")
        for line, filters in zip(lines, running.values(), strict=True):
            line.set_ydata(filters[frame] / np.abs(filters[frame]).max())

    return animate(figure, draw, len(next(iter(running.values()))))

"""Figures of the appendix on whitening."""

import matplotlib.pyplot as plt
import numpy as np

from lib.plotting import WIDTH


def photographs(prepared, spectra):
    """A photograph in each preparation, and the mean spectra of all of them.

    Parameters
    ----------
    prepared : dict of str to ndarray (height, width)
    spectra : dict of str to (ndarray (m,), ndarray (m,))
        Frequency in cycles per pixel, and power.
    """
    figure, axes = plt.subplots(1, len(prepared) + 1, figsize=(WIDTH, 2.9))
    for ax, (name, image) in zip(axes, prepared.items(), strict=False):
        top = np.quantile(np.abs(image), 0.995)
        ax.imshow(image, cmap="gray", vmin=-top, vmax=top)
        ax.set_title(name)
        ax.axis("off")
    for i, (name, (f, power)) in enumerate(spectra.items()):
        axes[-1].loglog(f, power / power.max(), color=f"C{i}", label=name)
    axes[-1].set(xlabel="cycles per pixel", ylabel="power, of its maximum")
    lowest = min(f.min() for f, _ in spectra.values())
    ticks = [tick for tick in (0.01, 0.03, 0.1, 0.3) if tick >= lowest]
    axes[-1].set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axes[-1].minorticks_off()
    axes[-1].legend(fontsize=8)
    return figure


def fits(frequencies, r2):
    """Central frequencies of atoms, and how well log-Gabors fit them, by dictionary.

    Parameters
    ----------
    frequencies, r2 : dict of str to ndarray (K,)
    """
    figure, axes = plt.subplots(1, 2, figsize=(WIDTH, 2.8), sharey=True)
    for ax, values, label in (
        (axes[0], frequencies, "central frequency (cycles per pixel)"),
        (axes[1], r2, "R² of the log-Gabor"),
    ):
        for i, (name, own) in enumerate(values.items()):
            x = np.sort(own)
            ax.step(x, (np.arange(len(x)) + 1) / len(x), color=f"C{i}", label=name, where="post")
        ax.set(xlabel=label)
    axes[0].set_ylabel("share of atoms below")
    axes[0].legend(fontsize=8)
    return figure

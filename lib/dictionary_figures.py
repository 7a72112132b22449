"""Pictures of dictionaries. They take results and compute none."""

import matplotlib.pyplot as plt
import numpy as np

from lib.plotting import WIDTH

_COLUMNS = 12


def dictionaries(atoms, n_columns=_COLUMNS):
    """Atoms of several dictionaries, a panel each, every atom on a grey scale of its own.

    Parameters
    ----------
    atoms : dict of str to ndarray (K, height, width)
        By the panel's title; drawn down the columns, so that the 12 orientations of a
        heterogeneous dictionary are its columns.
    n_columns : int
    """
    tallest = max(-(-len(own) // n_columns) for own in atoms.values()) / n_columns
    size = (WIDTH, 0.4 + WIDTH / len(atoms) * tallest)
    _, axes = plt.subplots(1, len(atoms), squeeze=False, figsize=size)
    for ax, (name, own) in zip(axes[0], atoms.items(), strict=True):
        ax.imshow(_mosaic(own, n_columns), vmin=-1, vmax=1, interpolation="nearest")
        ax.set_title(name)
        ax.axis("off")


def _mosaic(atoms, n_columns, gap=2):
    """Atoms side by side, scaled to a largest absolute value of 1, white between them."""
    n_rows = -(-len(atoms) // n_columns)
    height, width = np.array(atoms.shape[1:]) + gap
    picture = np.full((n_rows * height - gap, n_columns * width - gap), np.nan)
    for i, atom in enumerate(atoms):
        top, left = (i % n_rows) * height, (i // n_rows) * width
        scaled = atom / np.abs(atom).max()
        picture[top : top + height - gap, left : left + width - gap] = scaled
    return picture


def read_back(planted, read):
    """Errors of orientation and bandwidth that are read off atoms, by bandwidth.

    Parameters
    ----------
    planted : ndarray (K,)
        Bandwidths that atoms were made with, in degrees.
    read : dict of str to (ndarray (K,), ndarray (K,))
        By condition: errors of θ and of Bθ, in degrees.
    """
    _, axes = plt.subplots(1, 2, figsize=(WIDTH, 2.8), sharex=True)
    for i, (name, errors) in enumerate(read.items()):
        aside = (i - (len(read) - 1) / 2) * 0.8
        for ax, values in zip(axes, errors, strict=True):
            ax.scatter(planted + aside, values, s=10, alpha=0.6, color=f"C{i}", label=name)
    for ax, what in zip(axes, ("θ", "Bθ"), strict=True):
        ax.axhline(0, color="0.3", linewidth=0.8)
        ax.set(xlabel="bandwidth Bθ of the atom (°)", ylabel=f"error of {what} (°)")
        ax.set_xticks(np.unique(planted))
    axes[0].legend(fontsize=8)

"""What a linear classifier reads from codes, and what a network's first layer does.

A deep network needs more images than a laptop codes in minutes before it tells dictionaries apart.
Pooled coefficients and one linear layer (Coates and Ng 2012) need far fewer: some thousand.
"""

import numpy as np
import torch

from lib._checks import as_array, check_array, check_count, check_number
from lib._tensors import check_tensor
from lib.code_store import SparseCodes

_PENALTIES = np.logspace(0, 6, 13)


def pooled(codes, n_cells=4, cutoff=0.0):
    """Sums of the magnitudes of coefficients, of each atom over each cell of a coarse grid.

    Parameters
    ----------
    codes : SparseCodes
        Of n images and K atoms.
    n_cells : int
        Cells along each side of an image.
    cutoff : float
        Coefficients below this fraction of their image's largest magnitude do not count.

    Returns
    -------
    ndarray (n, K · n_cells · n_cells)
        Atom after atom, each with its cells row by row.

    Raises
    ------
    ValueError
        Codes are not `SparseCodes`, cells are smaller than a pixel, or `cutoff` is above 1.
    """
    if not isinstance(codes, SparseCodes):
        raise ValueError(f"codes must be SparseCodes, got {type(codes).__name__}")
    n, *maps = codes.shape
    n_cells = check_count("n_cells", n_cells)
    if n_cells > min(maps[1:]):
        raise ValueError(f"n_cells must be at most {min(maps[1:])}, got {n_cells}")
    cutoff = check_number("cutoff", cutoff, 0.0, maximum=1.0)
    least = cutoff * codes.largest()
    sums = np.empty((n, maps[0] * n_cells**2))
    # Some images at a time: what is made beside them is many times as large as their codes.
    for rows in np.array_split(np.arange(n), -(-n // 250)):
        own = slice(codes.starts[rows[0]], codes.starts[rows[-1] + 1])
        image = np.repeat(np.arange(len(rows)), np.diff(codes.starts[rows[0] : rows[-1] + 2]))
        magnitudes = np.abs(codes.values[own].astype(float))
        magnitudes[magnitudes < least[rows][image]] = 0
        atom, *place = np.unravel_index(codes.positions[own], maps)
        y, x = (
            where.astype(np.int64) * n_cells // side
            for where, side in zip(place, maps[1:], strict=True)
        )
        shape = (len(rows), maps[0], n_cells, n_cells)
        bins = np.ravel_multi_index((image, atom, y, x), shape)
        sums[rows] = np.bincount(bins, magnitudes, np.prod(shape)).reshape(len(rows), -1)
    return sums


def linear_readout(train, labels, test):
    """Classes that a linear classifier gives to test images.

    Features are standardised; ridge regression on the classes has the penalty, of 10⁰ to 10⁶,
    with the least leave-one-out error on the training images.

    Parameters
    ----------
    train : ndarray (n, m)
        Features of the images to learn from.
    labels : ndarray (n,)
        Their classes, whole numbers, two different ones at least.
    test : ndarray (k, m)

    Returns
    -------
    ndarray (k,)
        Of the type of `labels`.
    """
    from sklearn.linear_model import RidgeClassifierCV
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    train = check_array("train", train, (None, None))
    test = check_array("test", test, (None, train.shape[1]))
    labels = as_array("labels", labels, "iu")
    if labels.shape != (len(train),):
        raise ValueError(f"labels must have shape ({len(train)},), got {labels.shape}")
    if not len(test) or not train.size or len(np.unique(labels)) < 2:
        raise ValueError("train must hold features of images of two classes, test of one at least")
    model = make_pipeline(StandardScaler(), RidgeClassifierCV(alphas=_PENALTIES))
    return model.fit(train, labels).predict(test)


def position_share(x, model):
    """Share of the variance of a network's first layer that position alone makes.

    A first layer that pads its input with zeros sees a frame round each image, unless the input
    is zero there, too. Near 1, it hands on the frame, and little that tells images apart.

    Parameters
    ----------
    x : Tensor (n, K, height, width)
        What the network reads of two images or more, from `classify.inputs`.
    model : torch.nn.Module
        From `classify.resnet18`, of K channels; its first layer is ``conv1``.

    Returns
    -------
    float
        Variance over positions of the mean over images, over the variance over both, each summed
        over channels.

    Raises
    ------
    ValueError
        An argument is not as described, or the first layer's output does not vary.
    """
    layer = getattr(model, "conv1", None)
    if not isinstance(layer, torch.nn.Conv2d):
        raise ValueError(f"model must have a first layer conv1, got {type(model).__name__}")
    x = check_tensor("x", x, 4, layer.weight.device, layer.weight.dtype).to_dense()
    if len(x) < 2 or x.shape[1] != layer.in_channels:
        raise ValueError(
            f"x must be of two images or more with {layer.in_channels} channels, "
            f"got shape {tuple(x.shape)}"
        )
    with torch.inference_mode():
        seen = layer(x).double()
    total = seen.var((0, 2, 3), correction=0).sum()
    if not total > 0:
        raise ValueError("x must make the first layer's output vary, which is constant")
    return float(seen.mean(0).var((1, 2), correction=0).sum() / total)

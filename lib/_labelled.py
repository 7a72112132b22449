"""Readers of labelled images: arrays, class folders, CIFAR-10 and the bundled digits."""

import warnings
from itertools import chain, zip_longest
from typing import NamedTuple

import numpy as np

from lib._archives import DataDamaged, is_hidden
from lib._checks import check_number
from lib._downloads import list_files
from lib._images import (
    BadImage,
    as_stack,
    luminance,
    read_arrays,
    read_image,
    subject,
    with_progress,
)
from lib._sources import IMAGE_SUFFIXES

# Where a source has no split of its own, one image of each class in this many is for testing.
_ONE_IN = 5
# Labels count classes; a larger one is a number of another kind.
_MOST_CLASSES = 100_000


class LabelledImages(NamedTuple):
    """Images with a class each.

    Attributes
    ----------
    images : ndarray (n, height, width) float32
        Grey, in [0, 1].
    labels : ndarray (n,) int64
        Position of each image's class in `classes`.
    classes : tuple of str
        Names of the classes.
    """

    images: np.ndarray
    labels: np.ndarray
    classes: tuple[str, ...]


def first_images(labelled, share):
    """The first of labelled images.

    Parameters
    ----------
    labelled : LabelledImages
    share : float
        Above 0, at most 1; of n images, the number nearest to share · n, one at least.

    Returns
    -------
    LabelledImages
        Of the same classes.

    Raises
    ------
    ValueError
        `share` is out of range.
    """
    share = check_number("share", share, 0, maximum=1, open_minimum=True)
    n = max(round(share * len(labelled.labels)), 1)
    return labelled._replace(images=labelled.images[:n], labels=labelled.labels[:n])


def read_digits(split, n):
    """Handwritten digits of scikit-learn, one in five of each class for testing."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    testing = np.zeros(len(digits.target), dtype=bool)
    for digit in range(10):
        testing[np.flatnonzero(digits.target == digit)[_ONE_IN - 1 :: _ONE_IN]] = True
    rows = np.flatnonzero(testing == (split == "test"))
    rows = rows[: _count("digits", split, len(rows), n)]
    images = (digits.images[rows] / 16).astype(np.float32)
    return LabelledImages(images, digits.target[rows].astype(np.int64), tuple("0123456789"))


def read_cifar(path, split, n):
    """CIFAR-10 in a folder cifar-10-batches-py, by torchvision, which checks each file's MD5."""
    from torchvision.datasets import CIFAR10

    try:
        cifar = CIFAR10(path.parent, train=split == "train")
    except RuntimeError as error:
        raise DataDamaged(
            f"{path} is not CIFAR-10 as published ({error}): remove it, and it is downloaded again"
        ) from error
    count = _count("cifar10", split, len(cifar.data), n)
    labels = np.array(cifar.targets[:count], dtype=np.int64)
    return LabelledImages(luminance(cifar.data[:count]), labels, tuple(cifar.classes))


def read_npz(path, split, n):
    """Arrays {train,test}_{images,labels} and perhaps classes, as MedMNIST's files have them."""
    wanted = [f"{part}_{kind}" for part in ("train", "test") for kind in ("images", "labels")]
    arrays = read_arrays(path)
    missing = [key for key in wanted if key not in arrays]
    if missing:
        raise ValueError(
            f"{path} must hold the arrays {', '.join(wanted)}: it lacks {', '.join(missing)}"
        )
    labels = {part: _labels(arrays[f"{part}_labels"], path, part) for part in ("train", "test")}
    highest = max(part.max(initial=-1) for part in labels.values())
    if "classes" not in arrays and highest >= _MOST_CLASSES:
        raise ValueError(f"{path} must have labels below {_MOST_CLASSES}, got {highest}")
    names = np.atleast_1d(arrays.get("classes", range(highest + 1)))
    classes = tuple(str(name) for name in names)
    if highest >= len(classes):
        raise ValueError(f"{path} names {len(classes)} classes but has the label {highest}")
    labels = labels[split]
    with subject(f"{path}: {split}_images"):
        images = as_stack(arrays[f"{split}_images"])
    if len(images) != len(labels):
        raise ValueError(f"{path} has {len(images)} {split}_images but {len(labels)} labels")
    count = _count(path, split, len(labels), n)
    with subject(f"{path}: {split}_images"):
        return LabelledImages(luminance(images[:count]), labels[:count], classes)


def _labels(array, path, part):
    labels = array[:, 0] if array.ndim == 2 and array.shape[1] == 1 else array
    if (
        labels.ndim != 1
        or labels.dtype.kind not in "iu"
        or labels.astype(np.int64).min(initial=0) < 0
    ):
        raise ValueError(
            f"{path}: {part}_labels must be integers >= 0, one for each image, got shape "
            f"{array.shape}, dtype {array.dtype}"
        )
    return labels.astype(np.int64)


def read_class_folders(path, split, n):
    """Images of a folder whose subfolders are classes, or hold train/CLASS and test/CLASS."""
    subfolders = {entry.name for entry in path.iterdir() if entry.is_dir()}
    if {"train", "test"} <= subfolders:
        classes = _class_names(path / "train")
        if (others := _class_names(path / "test")) != classes:
            raise ValueError(
                f"{path} must have the same classes for both splits, got {', '.join(classes)} in "
                f"train and {', '.join(others)} in test"
            )
        files = [_class_files(path / split / name) for name in classes]
    else:
        classes = _class_names(path)
        files = [_class_files(path / name) for name in classes]
        chosen = [i % _ONE_IN == _ONE_IN - 1 for i in range(max(map(len, files), default=0))]
        files = [
            [
                file
                for file, testing in zip(some, chosen, strict=False)
                if testing == (split == "test")
            ]
            for some in files
        ]
    if not any(files):
        raise ValueError(f"{path} holds no {split} images in class folders")
    turns = zip_longest(*([(label, *file) for file in some] for label, some in enumerate(files)))
    turns = [turn for turn in chain.from_iterable(turns) if turn is not None]
    _count(path, split, len(turns), n)
    images, labels = [], []
    for label, name, file in with_progress(turns):
        if len(images) == n:
            break
        try:
            image = read_image(file)
        except BadImage as error:
            warnings.warn(f"{path}: skipped {classes[label]}/{name}, which {error}", stacklevel=2)
            continue
        if images and image.shape != images[0].shape:
            raise ValueError(
                f"{path} must hold images of one size: {classes[label]}/{name} is {image.shape}, "
                f"those before it are {images[0].shape}"
            )
        images.append(image)
        labels.append(label)
    _count(path, split, len(images), n)
    if not images:
        raise ValueError(f"{path} holds no {split} images that can be read")
    return LabelledImages(np.stack(images), np.array(labels, dtype=np.int64), classes)


def _class_files(folder):
    """Images of one class: (name, path)."""
    files = list_files(folder, IMAGE_SUFFIXES)
    below = [name for name, _ in files if "/" in name]
    if below:
        raise ValueError(
            f"{folder} must hold the images of a class, got {below[0]} in a folder below it: a "
            f"source is a folder of classes, or one of train and test, with classes in each"
        )
    return files


def _class_names(folder):
    names = (entry.name for entry in folder.iterdir() if entry.is_dir())
    return tuple(sorted(name for name in names if not is_hidden(name)))


def _count(source, split, available, n):
    """Number of images to take: n, if there are as many."""
    if n is not None and n > available:
        raise ValueError(f"n must be <= {available}, the {split} images of {source}, got {n}")
    return available if n is None else n

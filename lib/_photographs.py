"""Readers of photographs and panoramas, one file at a time, skipping what cannot be used."""

import warnings
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from lib._checks import check_choice, check_count
from lib._downloads import DataUnavailable, check_source, list_files, resolve
from lib._images import (
    BadImage,
    as_stack,
    central_square,
    luminance,
    read_arrays,
    read_image,
    subject,
)
from lib._sources import BUNDLED, IMAGE_SUFFIXES

_NAMES = ("bundled", "bsds500", "hd-natural")


def photograph_items(source, size, n, fit):
    """Pairs (name, reader) of a source, and the checked rest of `usable`'s arguments."""
    if size is not None:
        size = check_count("size", size)
    if n is not None:
        n = check_count("n", n)
    check_choice("fit", fit, ("crop", "resize"))
    source = check_source(source)
    if source == "bundled":
        files = bundled_files()
    else:
        path = resolve(source, _NAMES, "a folder of images, an image or an .npz file")
        files = list_files(path, IMAGE_SUFFIXES) if path.is_dir() else [(path.name, path)]
        if not files:
            raise ValueError(
                f"source {str(path)!r} holds no images (files that end in "
                f"{', '.join(IMAGE_SUFFIXES)})"
            )
    single = source != "bundled" and path.is_file()
    if single and path.suffix.lower() == ".npz":
        items = _array_items(path, size)
    else:
        items = [(name, lambda path=path: read_image(path)) for name, path in files]
    if n is not None and n > len(items):
        raise ValueError(f"n must be <= {len(items)}, the photographs of {source}, got {n}")
    return items, (source, size, n, fit, single)


def bundled_files():
    """Pairs (name, path) of the photographs that installed packages hold, sorted by name."""
    files = []
    for image in sorted(BUNDLED, key=lambda image: image.file):
        if image.used:
            spec = find_spec(image.package)
            folders = spec.submodule_search_locations if spec else []
            paths = [Path(folder, "data", image.file) for folder in folders]
            if not any(path.is_file() for path in paths):
                raise DataUnavailable(
                    f"the bundled photograph {image.file} is not there: install {image.package} "
                    "as requirements.txt says"
                )
            files.append((image.file, next(path for path in paths if path.is_file())))
    return files


def _array_items(path, size):
    """Pairs (name, reader) of the images in the one array of an .npz file."""
    arrays = read_arrays(path)
    if len(arrays) != 1:
        raise ValueError(
            f"{path} must hold one array of images, got {len(arrays)}: {', '.join(arrays)}"
        )
    (array,) = arrays.values()
    with subject(f"{path}: the array"):
        stack = as_stack(array)
        first = luminance(stack[0])
        if size is not None:
            central_square(first, size, "crop")
    return [
        (f"image {i}", lambda pixels=pixels: luminance(pixels)) for i, pixels in enumerate(stack)
    ]


def usable(items, source, size, n, fit, strict):
    """Pairs (name, image) of the images that can be used.

    The others are skipped and named in a warning, or are an error if `strict`.
    """
    found = 0
    for name, read in items:
        try:
            image = read()
            if size is not None:
                image = central_square(image, size, fit)
        except BadImage as error:
            if strict:
                raise ValueError(f"{source}: {name} {error}") from error
            warnings.warn(f"{source}: skipped {name}, which {error}", stacklevel=2)
            continue
        found += 1
        yield name, image
        if found == n:
            return
    if not found or n is not None:
        raise ValueError(
            f"{source} holds {len(items)} images, of which {found} can be used, fewer than "
            f"n={1 if n is None else n}: the warnings name the others"
        )


def projection(path):
    """Matrix `projection` of a .mat file, float32."""
    from scipy.io import loadmat

    try:
        contents = loadmat(path, variable_names=["projection"])
    except Exception as error:  # the reader raises whatever it stumbles over
        raise BadImage(f"cannot be read as a .mat file ({error})") from error
    if "projection" not in contents:
        raise BadImage("has no variable projection")
    matrix = contents["projection"]
    if matrix.ndim != 2 or matrix.dtype.kind not in "iuf" or 0 in matrix.shape:
        raise BadImage(f"has a projection of shape {matrix.shape} and type {matrix.dtype}")
    if not np.isfinite(matrix).all():
        raise BadImage("has a projection that is not finite")
    return matrix.astype(np.float32)

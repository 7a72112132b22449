"""Where every image comes from: bundled photographs, pinned downloads, or files of your own.

The environment variable ``LIB_DATA`` is the one setting: a folder, or several separated by
`os.pathsep`, that is looked into before anything is downloaded. `SOURCES` says what a set is
called there (``path``). What is downloaded goes to the operating system's cache folder and is
checked against the SHA-256 in `SOURCES`; so is what LIB_DATA holds. Relative names in LIB_DATA are
relative to the working directory.

Grey values are Rec. 709 luma in [0, 1] of the values as stored (the camera's gamma is not undone).
"""

import hashlib

import numpy as np

from lib._archives import DataDamaged
from lib._checks import check_choice, check_count
from lib._downloads import (
    DataUnavailable,
    check_source,
    download,
    list_files,
    locate,
    manifest_hash,
    resolve,
    sha256_of,
)
from lib._images import with_progress
from lib._labelled import (
    LabelledImages,
    first_images,
    read_cifar,
    read_class_folders,
    read_digits,
    read_npz,
)
from lib._photographs import bundled_files, photograph_items, projection, usable
from lib._sources import BUNDLED, SOURCES, BundledImage, File, Source

__all__ = [
    "BUNDLED",
    "SOURCES",
    "BundledImage",
    "DataDamaged",
    "DataUnavailable",
    "File",
    "LabelledImages",
    "Source",
    "download",
    "fetch",
    "fingerprint",
    "first_images",
    "iter_photographs",
    "labelled_images",
    "panoramas",
    "photographs",
    "source_table",
]

_FETCHED = tuple(source.name for source in SOURCES.values() if source.path)
_LABELLED = ("digits", "cifar10", "cifar10-jpeg")


def photographs(source="bundled", size=None, n=None, fit="crop"):
    """Grey photographs.

    Parameters
    ----------
    source : str or path
        ``"bundled"`` (installed with scikit-image and SPORCO, no download; see `BUNDLED`),
        ``"bsds500"``, ``"hd-natural"``, a folder of images, an image file, or an ``.npz`` file
        with one array (n, height, width[, 3]). Order: by name, or as in the array.
    size : int, optional
        Side of the central square in pixels. Of several files, one that is smaller is skipped
        with a warning that names it, and so is one that is no readable image.
    n : int, optional
        Only the first n of those that are not skipped.
    fit : {"crop", "resize"}
        Cut `size` × `size` pixels out of the centre, or scale the largest central square down to
        them: bilinear, after a Gaussian against aliasing.

    Returns
    -------
    list of ndarray (height, width) float32, or ndarray (n, size, size) float32
        Without and with `size`; values in [0, 1].

    Raises
    ------
    ValueError
        An argument is not allowed, or there are fewer than n usable photographs, or none.
    DataUnavailable, DataDamaged
        The source is not there, or is not what it should be.

    Examples
    --------
    >>> photographs("bundled", size=128, n=3).shape
    (3, 128, 128)
    """
    items, rule = photograph_items(source, size, n, fit)
    images = [image for _, image in usable(with_progress(items), *rule)]
    return images if size is None else np.stack(images)


def iter_photographs(source="bundled", size=None, n=None, fit="crop"):
    """Photographs one by one, as pairs (name, image): for sets that do not fit into memory.

    Arguments, order and errors are those of `photographs`. A name is the file's, relative to its
    folder, or the position in the array.

    Examples
    --------
    >>> [name for name, _ in iter_photographs("bundled", n=3)]
    ['astronaut.png', 'barbara.png', 'camera.png']
    """
    items, rule = photograph_items(source, size, n, fit)
    return usable(items, *rule)


def panoramas(source="meyer2014"):
    """Panoramas of natural scenes as they were measured.

    Parameters
    ----------
    source : str or path
        ``"meyer2014"`` (Meyer et al. 2014; to be unpacked by hand, `fetch` says how) or a folder
        of ``.mat`` files, each with a matrix ``projection`` (elevation, azimuth).

    Returns
    -------
    list of ndarray (height, width) float32
        Luminance in the files' units, in the order of the files' names.

    Raises
    ------
    ValueError
        The folder holds no usable file.
    DataUnavailable
        The panoramas are not there; the message says where to get them and how to unpack them.

    Warns
    -----
    UserWarning
        A file without a usable ``projection`` is skipped and named.
    """
    source = check_source(source)
    folder = resolve(source, ("meyer2014",), "a folder of .mat files")
    files = list_files(folder, (".mat",)) if folder.is_dir() else []
    if not files:
        raise ValueError(f"source {str(folder)!r} is no folder that holds .mat files")
    items = [(name, lambda path=path: projection(path)) for name, path in files]
    return [image for _, image in usable(with_progress(items), source, None, None, "crop", False)]


def labelled_images(source, split, n=None):
    """Grey images with a class each.

    Parameters
    ----------
    source : str or path
        ``"digits"`` (installed with scikit-learn), ``"cifar10"`` (downloaded, read by
        torchvision), ``"cifar10-jpeg"``, an ``.npz`` file with the arrays ``train_images``,
        ``train_labels``, ``test_images``, ``test_labels`` and perhaps ``classes``, as MedMNIST
        has them, or a folder of class folders, perhaps inside folders ``train`` and ``test``.
    split : {"train", "test"}
        Where the source has no split of its own (digits, plain class folders), every fifth image
        of each class is for testing.
    n : int, optional
        Only the first n. Class folders take turns, so that the first n are balanced.

    Returns
    -------
    LabelledImages
        ``images`` (n, height, width) float32 in [0, 1], ``labels`` (n,) int64, ``classes``.

    Raises
    ------
    ValueError
        An argument is not allowed, arrays do not match, or images differ in size.
    DataUnavailable, DataDamaged
        The source is not there, or is not what it should be.

    Examples
    --------
    >>> digits = labelled_images("digits", "test", n=100)
    >>> digits.images.shape, digits.labels.max(), len(digits.classes)
    ((100, 8, 8), np.int64(9), 10)
    """
    source = check_source(source)
    check_choice("split", split, ("train", "test"))
    if n is not None:
        n = check_count("n", n)
    if source == "digits":
        return read_digits(split, n)
    path = resolve(source, _LABELLED, "an .npz file or a folder of class folders")
    if source == "cifar10":
        return read_cifar(path, split, n)
    if path.is_dir():
        return read_class_folders(path, split, n)
    return read_npz(path, split, n)


def fetch(name):
    """Path of a data set on disk, downloaded first if need be.

    Looked for in the folders of LIB_DATA, then in the cache. Wherever it is found, it is checked
    against what `SOURCES` pins. An archive (``BSR_bsds500.tgz``, ``cifar-10-python.tar.gz``,
    ``hd-natural.zip``) in a folder of LIB_DATA saves its download.

    Parameters
    ----------
    name : str
        A key of `SOURCES` other than "bundled" and "digits", which come with packages.

    Returns
    -------
    pathlib.Path
        The file or folder.

    Raises
    ------
    DataUnavailable
        Not on disk, and not to be downloaded; the message says how to get it by hand.
    DataDamaged
        What was found in LIB_DATA, or what the server sent, is not what is pinned.
    """
    check_choice("name", name, _FETCHED)
    return locate(SOURCES[name])


def fingerprint(source):
    """SHA-256 that says which data a result was computed from.

    Parameters
    ----------
    source : str or path
        Whatever the other functions of this module take.

    Returns
    -------
    str
        Of a file, its SHA-256; of a folder, that of the list of its files' names and SHA-256, as
        ``sha256sum NAMES | sha256sum`` prints it with names relative and sorted. Hidden files do
        not count, nor does, where the source says what its files are called, anything else.
    """
    source = check_source(source)
    if source == "bundled":
        return manifest_hash(bundled_files())
    if source == "digits":
        digits = read_digits("train", None), read_digits("test", None)
        return hashlib.sha256(b"".join(a.tobytes() for d in digits for a in d[:2])).hexdigest()
    path = resolve(source, _FETCHED, "a file or folder")
    if path.is_dir():
        suffixes = SOURCES[source].suffixes if source in SOURCES else ()
        return manifest_hash(list_files(path, suffixes))
    return sha256_of(path)


def source_table():
    """Rows for a table of all sources: where they live, their terms, what is pinned of them.

    Returns
    -------
    list of dict of str
        Keys: name, title, home, licence, size, sha256, fingerprint, citation.
    """
    return [
        {
            "name": source.name,
            "title": source.title,
            "home": source.home,
            "licence": source.licence,
            "size": _size(source.files),
            "sha256": ", ".join(
                f"{file.name}: {file.sha256 or 'not pinned'}" for file in source.files
            ),
            "fingerprint": source.fingerprint or "",
            "citation": source.citation,
        }
        for source in SOURCES.values()
    ]


def _size(files):
    if not files or any(file.size is None for file in files):
        return ""
    return f"{sum(file.size for file in files) / 1e6:.1f} MB"

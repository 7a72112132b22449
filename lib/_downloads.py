"""Finding data on disk, fetching it, and checking it: nothing unchecked gets a final name."""

import errno
import hashlib
import os
import shutil
import tempfile
import time
from contextlib import contextmanager, suppress
from pathlib import Path

from lib._archives import DataDamaged, is_hidden, unpack
from lib._sources import SOURCES

# Left by a process that was killed; a running download is younger.
_STALE_SECONDS = 24 * 3600
_ATTEMPTS = 5
# Seconds without a byte after which a server counts as out of reach.
_TIMEOUT = 30


class DataUnavailable(FileNotFoundError):
    """Data is neither on disk nor to be had by download; the message says how to get it."""


def data_folders():
    """Folders that the environment variable LIB_DATA names, in order."""
    names = [name for name in os.environ.get("LIB_DATA", "").split(os.pathsep) if name]
    folders = [Path(name).expanduser() for name in names]
    for folder in folders:
        if not folder.is_dir():
            raise ValueError(
                f"LIB_DATA must name existing folders, separated by {os.pathsep!r}: there is no "
                f"folder {str(folder)!r}"
            )
    return folders


def list_files(folder, suffixes=()):
    """Data files of a folder and those below it: (name, path), sorted by name.

    Names are relative, with slashes. Hidden files and folders and what macOS adds are left out.
    """
    found = []
    for parent, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not is_hidden(name)]
        for file in files:
            path = Path(parent, file)
            if file.startswith(".") or (suffixes and path.suffix.lower() not in suffixes):
                continue
            if path.is_file():
                found.append((path.relative_to(folder).as_posix(), path))
    return sorted(found)


def sha256_of(path):
    """SHA-256 of a file."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def manifest_hash(files):
    """SHA-256 of the manifest of (name, path) pairs: what ``sha256sum NAMES… | sha256sum`` says."""
    lines = (f"{sha256_of(path)}  {name}\n" for name, path in files)
    manifest = "".join(lines).encode("utf-8", "surrogateescape")
    return hashlib.sha256(manifest).hexdigest()


def check(source, path):
    """Raise DataDamaged if `path` is not what is pinned of a source."""
    if source.fingerprint is not None:
        found = list_files(path, source.suffixes)
        if (got := manifest_hash(found)) != source.fingerprint:
            raise DataDamaged(
                f"{path} is not {source.name} as published: its {len(found)} files have the "
                f"fingerprint {got}, expected {source.fingerprint}. Replace the folder, or pass "
                "its path as the source to use it as it is"
            )
    if source.keep is None:
        for file in source.files:
            one = path / file.name if path.is_dir() else path
            if not one.is_file():
                raise DataDamaged(f"{path} is incomplete: it lacks {file.name}")
            _check_file(one, file)


def _is_sound(source, path):
    if not path.exists():
        return False
    try:
        check(source, path)
    except (DataDamaged, FileNotFoundError):  # the second: it is being replaced just now
        return False
    return True


def _check_file(path, file):
    if file.sha256 is not None and (got := sha256_of(path)) != file.sha256:
        raise DataDamaged(
            f"{path} is damaged or another version: its SHA-256 is {got}, expected {file.sha256}"
        )


def cache_folder():
    """Folder for downloads: the one that the operating system has for such things."""
    import pooch

    return Path(pooch.os_cache("features-without-backprop"))


def check_source(source):
    """Return a source's name or path if it is either."""
    if not isinstance(source, str | os.PathLike):
        raise ValueError(f"source must be a name or a path, got {type(source).__name__}")
    if source == "":
        raise ValueError("source must be a name or a path, got an empty one")
    return source


def resolve(source, names, kinds):
    """Path of a source: one of `names`, fetched, or the user's own file or folder."""
    if source in names:
        return locate(SOURCES[source])
    path = Path(source).expanduser()
    if not path.exists():
        raise ValueError(
            f"source must be one of {', '.join(names)}, or the path of {kinds}, got {source!r}"
        )
    return path


def locate(source):
    """Path of a source on disk: in a folder of LIB_DATA, in the cache, or downloaded into it."""
    folders = data_folders()
    for folder in folders:
        path = folder / source.path
        if path.exists():
            check(source, path)
            return path
    cache = cache_folder()
    if _is_sound(source, cache / source.path):
        return cache / source.path
    for folder in folders if source.keep else ():
        archive = folder / source.files[0].name
        if archive.is_file():
            _check_file(archive, source.files[0])
            return _install(source, cache, lambda _, archive=archive: archive)
    return download(source, cache)


def download(source, folder, progress=True):
    """Download a source into a folder, check it, unpack it; return its path there.

    Everything happens in a temporary folder beside the final name, which appears only when all is
    complete and checked. After an interruption the next call starts afresh.

    Parameters
    ----------
    source : Source
        What to download.
    folder : path
        Made if it does not exist.
    progress : bool
        Show a progress bar on standard error.

    Raises
    ------
    DataUnavailable
        No SHA-256 is pinned, or the server cannot be reached or does not have the file.
    DataDamaged
        What came is not what is pinned, or is an unsafe or broken archive.
    OSError
        The disk is full, or the folder cannot be written.
    """
    if not source.files or any(None in (file.url, file.sha256) for file in source.files):
        reason = "it is not downloaded unattended"
        if source.files and source.files[0].url:
            reason = "its SHA-256 is not pinned, so a download could not be checked"
        raise DataUnavailable(f"{source.name} is not on disk and {reason}. {_by_hand(source)}")

    def retrieve(inside):
        for file in source.files:
            _retrieve(source, file, inside, progress)
        return inside / source.files[0].name if len(source.files) == 1 else inside

    return _install(source, Path(folder), retrieve)


def _by_hand(source):
    advice = source.by_hand or (
        f"get it elsewhere and put it into a folder that LIB_DATA names, as {source.path}"
        + (f" or, still packed, as {source.files[0].name}" if source.keep else "")
    )
    return f"Its page is {source.home}; {advice}"


def _install(source, folder, retrieve):
    """Put what `retrieve` brings, unpacked and checked, under its final name in a folder."""
    final = folder / source.path
    final.parent.mkdir(parents=True, exist_ok=True)
    prefix = f".{source.name}-"
    _sweep(final.parent, prefix)
    with (
        _told_when_full(source, folder),
        tempfile.TemporaryDirectory(prefix=prefix, dir=final.parent) as temporary,
    ):
        temporary = Path(temporary)
        (temporary / "came").mkdir()
        ready = retrieve(temporary / "came")
        if source.keep is not None:
            ready = unpack(ready, temporary / "unpacked", source.keep)
        check(source, ready)
        _put(source, ready, final)
    return final


def _put(source, ready, final):
    """Rename to the final name, unless another process was faster."""
    for attempt in range(_ATTEMPTS):
        existed = final.exists()
        if _is_sound(source, final):
            return
        if existed:
            with suppress(FileNotFoundError):  # another process has moved it away
                final.rename(ready.with_name(f"replaced-{attempt}"))
        try:
            ready.rename(final)
            return
        except OSError:  # taken in between by what another process put there; look at that
            if attempt + 1 == _ATTEMPTS:
                raise


def _sweep(folder, prefix):
    """Remove what killed processes left behind."""
    for left in folder.glob(f"{prefix}*"):
        with suppress(FileNotFoundError):
            if time.time() - left.stat().st_mtime > _STALE_SECONDS:
                shutil.rmtree(left, ignore_errors=True)


@contextmanager
def _told_when_full(source, folder):
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        megabytes = sum(file.size or 0 for file in source.files) / 1e6
        raise OSError(
            error.errno,
            f"the disk is full: {source.name} ({megabytes:.0f} MB to download) does not fit into "
            f"{folder}; nothing of it was kept",
        ) from error


def _retrieve(source, file, folder, progress):
    import pooch
    import requests

    downloader = pooch.HTTPDownloader(
        progressbar=progress,
        chunk_size=1 << 16,
        timeout=_TIMEOUT,
        headers={"Accept-Encoding": "identity"},  # the bytes as they lie there, not recompressed
    )
    logger = pooch.get_logger()
    level = logger.level
    logger.setLevel("ERROR")
    try:
        pooch.retrieve(file.url, f"sha256:{file.sha256}", file.name, folder, downloader=downloader)
    except requests.RequestException as error:
        raise DataUnavailable(
            f"{source.name} is not on disk, and {file.url} could not be downloaded "
            f"({type(error).__name__}: {error}). {_by_hand(source)}"
        ) from error
    except ValueError as error:
        raise DataDamaged(
            f"{file.url} did not deliver {source.name} as pinned, and nothing was kept: {error}"
        ) from error
    finally:
        logger.setLevel(level)

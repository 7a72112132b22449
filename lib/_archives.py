"""Unpacking archives from strangers: only what is wanted, nothing outside the folder."""

import gzip
import re
import shutil
import tarfile
import zipfile
import zlib
from pathlib import Path, PureWindowsPath

# An archive that claims to unpack to more than this is a bomb, not data.
_MAX_UNPACKED = 1 << 34
_CHUNK = 1 << 20
# What the readers of archives raise; a RuntimeError for one that wants a password.
_BROKEN = (
    tarfile.TarError,
    zipfile.BadZipFile,
    gzip.BadGzipFile,
    zlib.error,
    EOFError,
    RuntimeError,
)


class DataDamaged(OSError):
    """Data is there but is not what it should be; the message says what differs."""


def unpack(archive, folder, keep):
    """Unpack the members of an archive that `keep` matches; return the folder.

    Parameters
    ----------
    archive : path
        Zip file, or tar file compressed by gzip.
    folder : path
        Made by this function.
    keep : str
        Regular expression of whole member names; its first group is the name inside `folder`.

    Raises
    ------
    DataDamaged
        A member's name or link points outside the folder, it is a device or claims too many
        bytes, or the archive is broken, wants a password or holds nothing that matches.
    """
    folder = Path(folder)
    folder.mkdir(parents=True)
    opened = _zip_members if zipfile.is_zipfile(archive) else _tar_members
    total = kept = 0
    try:
        for name, size, reader in opened(archive, folder):
            total += size
            if total > _MAX_UNPACKED:
                raise DataDamaged(f"{archive} claims to unpack to more than {_MAX_UNPACKED} bytes")
            match = re.fullmatch(keep, name)
            if match is None or is_hidden(name):
                continue
            target = folder / match[1]
            target.parent.mkdir(parents=True, exist_ok=True)
            with reader() as packed, open(target, "wb") as file:
                shutil.copyfileobj(packed, file, _CHUNK)
            kept += 1
    except _BROKEN as error:
        raise DataDamaged(f"{archive} is a broken archive ({error})") from error
    if not kept:
        raise DataDamaged(f"{archive} holds nothing that was expected in it (names like {keep})")
    return folder


def is_hidden(name):
    """Whether a file or folder is hidden, or is what macOS adds, by its path with slashes."""
    return any(part.startswith((".", "__MACOSX")) for part in name.split("/"))


def _zip_members(archive, folder):
    """(name, size, opener) of each file of a zip archive, once all names are known to be safe."""
    with zipfile.ZipFile(archive) as packed:
        members = [member for member in packed.infolist() if not member.is_dir()]
        for member in members:
            path = PureWindowsPath(member.filename)  # which knows both slashes, and drives
            if path.anchor or ".." in path.parts:
                raise DataDamaged(
                    f"{archive} is not safe: its member {member.filename!r} would be written "
                    "outside its folder; nothing was unpacked"
                )
        for member in members:
            yield member.filename, member.file_size, lambda member=member: packed.open(member)


def _tar_members(archive, folder):
    """(name, size, opener) of each file of a tar archive, once all members are known to be safe."""
    with gzip.open(archive) as stream:
        while stream.read(_CHUNK):  # to the very end, where its checksum is
            pass
    with tarfile.open(archive, "r:gz") as packed:
        members = packed.getmembers()
        names = []
        for member in members:
            try:
                names.append(tarfile.data_filter(member, str(folder)).name)
            except tarfile.FilterError as error:
                raise DataDamaged(
                    f"{archive} is not safe: its member {member.name!r} would reach outside its "
                    f"folder ({error}); nothing was unpacked"
                ) from error
        for name, member in zip(names, members, strict=True):
            if member.isfile():
                yield name, member.size, lambda member=member: packed.extractfile(member)

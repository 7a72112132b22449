"""Files that are there whole or not at all."""

import os
import uuid
from pathlib import Path


def write_bytes(path, data):
    """Write a file so that it is never seen half written: to a temporary name, then renamed.

    Raises
    ------
    OSError
        It cannot be written; a file of that name stays as it was, and the error names it.
    """
    path = Path(path)
    # Machines that share a folder may have processes of one number.
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            temporary.write_bytes(data)
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)
    # The system names the temporary file, or none at all where the disk is full.
    except OSError as error:
        told = f"{error.strerror or error}, nothing was written"
        raise type(error)(error.errno, told, str(path)) from error


def check_folder(folder):
    """Make a folder if need be, and raise an OSError that names it if it takes no file.

    To be called before long work whose results go there.
    """
    probe = Path(folder) / ".probe"
    write_bytes(probe, b"")
    probe.unlink(missing_ok=True)

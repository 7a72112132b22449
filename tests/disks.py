"""Python run with a small file system of its own, which is full or takes nothing."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from lib.ledger import ROOT

_NAMESPACE = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c"]


def run_on_disk(folder, options, code):
    """What a Python program prints that finds an empty tmpfs in the place of a folder.

    Parameters
    ----------
    folder : Path
    options : str
        Of mount, such as ``size=128k`` or ``ro``.
    code : str
    """
    mount = f"mount -t tmpfs -o {options} none '{folder}'"
    if (
        not shutil.which("unshare")
        or subprocess.run([*_NAMESPACE, mount], check=False, capture_output=True).returncode
    ):
        pytest.skip("needs the right to mount a small file system in a namespace")
    code = f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r})\n{code}"
    done = subprocess.run(
        [*_NAMESPACE, f'{mount} && exec "$0" -c "$1"', sys.executable, code],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout

"""What made a result: code, versions, hardware, data, date."""

import datetime
import hashlib
import html
import importlib.metadata
import os
import platform
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
_PACKAGES = ("numpy", "scipy", "scikit-image", "torch", "sporco")


def collect(data=None):
    """Describe the code, the machine and the data behind a run.

    Parameters
    ----------
    data : dict of str to str, optional
        Fingerprints of the data used, by name.

    Returns
    -------
    dict
        Keys commit, clean (nothing uncommitted; None outside a git checkout), python, packages,
        hardware, date (UTC), data.
    """
    commit, status = _git("rev-parse", "HEAD"), _git("status", "--porcelain")
    return {
        "commit": commit or "unknown",
        "clean": None if status is None else status == "",
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in _PACKAGES},
        "hardware": _hardware(),
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "data": dict(data or {}),
    }


def badge(chapter, preset, parameters, provenance):
    """Render a run's provenance as a collapsed HTML block."""
    state = {True: "", False: " with uncommitted changes", None: ""}[provenance["clean"]]
    rows = {
        "Code": provenance["commit"][:12] + state,
        "Date": provenance["date"],
        "Hardware": provenance["hardware"],
        "Python": provenance["python"],
        "Packages": _join(provenance["packages"]),
        "Preset": preset,
        "Parameters": _join(parameters),
        "Data": _join(provenance["data"]) or "simulated",
    }
    body = "".join(
        f"<tr><th>{name}</th><td>{html.escape(value)}</td></tr>" for name, value in rows.items()
    )
    return (
        '<details class="provenance"><summary>What made this page: '
        f"{html.escape(chapter)}, preset {html.escape(preset)}</summary>"
        f"<table>{body}</table></details>"
    )


def hash_files(paths):
    """SHA-256 over the contents of files and their names, in the order given."""
    digest = hashlib.sha256()
    for path in paths:
        digest.update(Path(path).name.encode() + b"\0" + Path(path).read_bytes() + b"\0")
    return digest.hexdigest()


def _join(values):
    return ", ".join(f"{name} {value}" for name, value in values.items())


def _version(package):
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def _git(*arguments):
    try:
        return subprocess.run(
            ["git", "-C", str(ROOT), *arguments], capture_output=True, text=True, check=True
        ).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None


def _hardware():
    model = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        names = [
            line.split(":", 1)[1].strip()
            for line in info.read_text().splitlines()
            if line.startswith("model name")
        ]
        model = names[0] if names else model
    return f"{model}, {os.cpu_count()} cores"


def high_water(status=Path("/proc/self/status")):
    """Largest resident set of this process so far, in bytes."""
    if status.exists():
        # On Linux, ru_maxrss starts with the resident set of the process that started this one.
        (line,) = [row for row in status.read_text().splitlines() if row.startswith("VmHWM:")]
        return 1024 * int(line.split()[1])
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak

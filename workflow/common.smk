"""What the sweeps share: a chapter's parameters under a preset, and the command of its rerun."""

import hashlib
import re
from pathlib import Path
from shlex import quote

import yaml


configfile: "workflow/config.yaml"


PRESET = config["preset"]


def chapter_values(chapter):
    """Parameters of a chapter, with those that the command line changes, and the result's name."""
    with open(f"book/presets/{PRESET}.yaml", encoding="utf-8") as file:
        own = yaml.safe_load(file)[chapter]
    changed = config.get("parameters") or {}
    if unknown := sorted(set(changed) - set(own)):
        raise ValueError(f"parameters must be of {', '.join(own)}, got {unknown[0]}")
    # The command line gives numbers as text.
    values = own | {name: type(own[name])(value) for name, value in changed.items()}
    return values, PRESET if values == own else "custom"


def gpus(values):
    """How many GPUs a job holds: one takes one job at a time, see profiles/default."""
    return int(values["device"] != "cpu")


def gres(values):
    """The same, as SLURM is asked for it."""
    return "gpu:1" if gpus(values) else ""


def state(values, *files):
    """Hash of what jobs depend on beside their parameters. They run again when it changes.

    Versions of the coder and of the networks, the contents of files of the book, and names, sizes
    and dates of the files of a source of one's own.
    """
    found = [
        re.search(r"^VERSION = .*$", Path(module).read_text(encoding="utf-8"), re.MULTILINE)[0]
        for module in ("lib/csc.py", "lib/_networks.py")
    ]
    found += [hashlib.sha256(Path(p).read_bytes()).hexdigest() for p in files if Path(p).exists()]
    source = Path(values["source"])
    own = sorted(source.rglob("*")) if source.is_dir() else [source]
    stats = [(str(path), path.stat()) for path in own if path.is_file()]
    found += [f"{name} {stat.st_size} {stat.st_mtime_ns}" for name, stat in stats]
    return hashlib.sha256("\n".join(found).encode()).hexdigest()


def rerun(chapter, values):
    """The chapter's rerun. A job runs again when this changes, so it names what matters alone."""
    given = " ".join(f"-p {name} {quote(str(value))}" for name, value in values.items())
    return f"{config['python']} -m lib.book rerun {chapter} --preset {PRESET} {given} --out "

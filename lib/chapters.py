"""Chapters as programs: their parameters, presets, execution and what they depend on."""

import ast
import contextlib
import math
import sys
from pathlib import Path

import yaml

from lib.provenance import ROOT

BOOK = ROOT / "book"
BUILD = ROOT / "_build"
PRESETS = ("smoke", "default", "paper")
_COLAB_SETUP = """\
# @title Fetch the book and install what it is pinned to (minutes, once a session)
import os, subprocess, sys

if not os.path.exists("the-book"):
    subprocess.run(["git", "clone", "-q", "--depth", "1", "{address}", "the-book"], check=True)
    pip = [sys.executable, "-m", "pip", "install", "-q", "-r", "the-book/requirements.txt"]
    subprocess.run(pip, check=True)
sys.path.insert(0, os.path.abspath("the-book"))
os.chdir("the-book/{folder}")
"""


def chapters():
    """Names of all chapters, such as ``02_gp`` or ``appendix/d_verdicts``, in reading order."""
    paths = [*sorted(BOOK.glob("*.ipynb")), *sorted(BOOK.glob("appendix/*.ipynb"))]
    return [path.relative_to(BOOK).with_suffix("").as_posix() for path in paths]


def read(chapter):
    """Read a chapter's notebook.

    Raises
    ------
    ValueError
        There is no such chapter.
    """
    import nbformat

    if chapter not in chapters():
        raise ValueError(f"chapter must be one of {chapters()}, got {chapter!r}")
    return nbformat.read(BOOK / f"{chapter}.ipynb", as_version=4)


def parameters(chapter):
    """Parameters of a chapter and their defaults, from its cell tagged ``parameters``.

    Returns
    -------
    dict of str to (bool, int, float or str)
        Without `preset`; empty if the chapter takes none.
    """
    cells = [cell for cell in read(chapter).cells if "parameters" in cell.metadata.get("tags", [])]
    found = {}
    for statement in ast.parse(cells[0].source).body if cells else []:
        match statement:
            case ast.Assign(targets=[ast.Name(id=name)], value=value):
                found[name] = ast.literal_eval(value)
            case _:
                raise ValueError(
                    f"the parameters cell of {chapter} must hold plain assignments only, "
                    f"got {ast.unparse(statement)!r}"
                )
    found.pop("preset", None)
    return found


def preset_values(chapter, preset):
    """Parameters of a chapter under a preset, checked against the chapter.

    Raises
    ------
    ValueError
        There is no such preset, or it does not fit the chapter.
    """
    if preset not in PRESETS:
        raise ValueError(f"preset must be one of {list(PRESETS)}, got {preset!r}")
    path = BOOK / "presets" / f"{preset}.yaml"
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8")).get(chapter, {})
    except (yaml.YAMLError, AttributeError) as error:
        raise ValueError(f"{path} must hold chapters and their parameters: {error}") from error
    missing = set(parameters(chapter)) - set(values)
    if missing:
        raise ValueError(f"preset {preset} of {chapter} must also give {sorted(missing)}")
    return check_parameters(chapter, values)


def check_parameters(chapter, values):
    """Return `values` if the chapter has parameters of these names and types.

    A whole number is accepted for a float; nothing else is converted.

    Raises
    ------
    ValueError
        A name is unknown, a type is wrong or a float is not finite; the text lists what exists.
    """
    known = parameters(chapter)
    listing = ", ".join(f"{name} ({type(v).__name__}, {v!r})" for name, v in known.items())
    checked = {}
    for name, value in values.items():
        if name not in known:
            raise ValueError(
                f"parameter must be one of {chapter}'s: {listing or 'none'}; got {name!r}"
            )
        wanted = type(known[name])
        if wanted is float and type(value) is int and abs(value) <= sys.float_info.max:
            value = float(value)
        if type(value) is not wanted:
            raise ValueError(
                f"parameter {name} of {chapter} must be of type {wanted.__name__}, got {value!r}; "
                f"it has: {listing}"
            )
        if wanted is float and not math.isfinite(value):
            raise ValueError(f"parameter {name} of {chapter} must be finite, got {value}")
        checked[name] = value
    return checked


def parse_parameters(chapter, texts):
    """Read parameters given as text, each as the type that the chapter has: ``1e-3`` is a float.

    Raises
    ------
    ValueError
        A name is unknown, or a text cannot be read as its type.
    """
    known = parameters(chapter)
    readers = {bool: {"true": True, "false": False}.__getitem__, int: int, float: float, str: str}
    values = {}
    for name, text in texts.items():
        values[name] = text
        # What is no text is its own value: old versions of NumPy make numbers of small arrays.
        if isinstance(text, str):
            with contextlib.suppress(KeyError, ValueError):
                values[name] = readers[type(known.get(name, ""))](text)
    return check_parameters(chapter, values)


def preset_name(chapter, preset, values):
    """`preset` if the values are the preset's own, else ``custom``: no run poses as another."""
    return preset if preset_values(chapter, preset) == values else "custom"


def script(chapter):
    """A chapter as a Python script: its text as comments, its cells between ``# %%`` marks."""
    parts = []
    for cell in read(chapter).cells:
        lines = cell.source.splitlines()
        if cell.cell_type == "markdown":
            parts.append("\n".join(["# %% [markdown]", *(f"# {line}".rstrip() for line in lines)]))
        else:
            magic = [f"# {line}" if line.startswith("%") else line for line in lines]
            parts.append("\n".join(["# %%", *magic]))
    return "\n\n".join(parts) + "\n"


def for_colab(chapter, address):
    """A chapter as a notebook that first fetches the book and installs what it is pinned to.

    Parameters
    ----------
    chapter : str
    address : str
        Where git clones the book from.

    Returns
    -------
    nbformat.NotebookNode
    """
    import nbformat

    notebook = read(chapter)
    source = _COLAB_SETUP.format(address=address, folder=(Path("book") / chapter).parent)
    cell = nbformat.v4.new_code_cell(source, id="setup")
    cell.metadata["cellView"] = "form"
    notebook.cells.insert(0, cell)
    return notebook


def dependencies(chapter):
    """Files of the library that a chapter's code imports, directly or not, sorted."""
    notebook = read(chapter)
    source = "\n".join(
        line
        for cell in notebook.cells
        if cell.cell_type == "code"
        for line in cell.source.splitlines()
        if not line.startswith("%")
    )
    found, waiting = set(), _imports(source)
    while waiting:
        path = waiting.pop()
        if path not in found:
            found.add(path)
            waiting |= _imports(path.read_text(encoding="utf-8"))
    return sorted(found)


def _imports(source):
    names = set()
    tree = ast.parse(source)
    # What a module does as a program, those who import it do not depend on.
    tree.body = [part for part in tree.body if ast.unparse(part)[:14] != "if __name__ =="]
    for node in ast.walk(tree):
        match node:
            case ast.Import(names=aliases):
                names |= {alias.name for alias in aliases}
            case ast.ImportFrom(module=str() as module, names=aliases):
                names |= {module} | {f"{module}.{alias.name}" for alias in aliases}
    paths = {ROOT.joinpath(*name.split(".")).with_suffix(".py") for name in names if "lib" in name}
    return {path for path in paths if path.parent == ROOT / "lib" and path.exists()}


def options(chapter):
    """What a notebook's metadata says.

    `reads_results` (of all chapters), `uses` (of which), `reads` (other files of the book).
    """
    return read(chapter).metadata.get("book", {})


def option(chapter, name):
    """Whether an option of `options` is set."""
    return bool(options(chapter).get(name, False))


def stored_only(chapter):
    """Whether the site shows the stored outputs, and does not execute the chapter."""
    return read(chapter).metadata.get("mystnb", {}).get("execution_mode") == "off"

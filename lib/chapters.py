"""Chapters as programs: their parameters, presets, execution and what they depend on."""

import ast
import contextlib
import math
import os
import shutil
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

import yaml

from lib.ledger import check_folder, write_bytes
from lib.provenance import ROOT, hash_files

BOOK = ROOT / "book"
BUILD = ROOT / "_build"
PRESETS = ("smoke", "default", "paper")
_CELL_TIMEOUT_S = 1800
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


def rerun(chapter, preset, overrides, folder):
    """Execute a chapter with its own parameters; write notebook and results to `folder`.

    Parameters
    ----------
    chapter, preset : str
    overrides : dict
        Parameters that differ from the preset.
    folder : Path

    Returns
    -------
    Path
        The executed notebook.

    Raises
    ------
    ValueError
        A preset or parameter is not the chapter's.
    OSError
        The folder takes no file. The chapter is not started then.
    """
    import papermill

    values = preset_values(chapter, preset) | check_parameters(chapter, overrides)
    folder = Path(folder).resolve()
    check_folder(folder)
    target = folder / f"{Path(chapter).name}.{preset_name(chapter, preset, values)}.ipynb"
    takes_preset = bool(parameters(chapter))
    with _environment(BOOK_RESULTS=str(folder)):
        notebook = papermill.execute_notebook(
            BOOK / f"{chapter}.ipynb",
            target,
            values | {"preset": preset} if takes_preset else {},
            cwd=(BOOK / chapter).parent,
            progress_bar=sys.stderr.isatty(),
            # A cell may take a night at paper scale.
            execution_timeout=None,
        )
    for cell in notebook.cells:
        if "injected-parameters" in cell.metadata.get("tags", []):
            cell.metadata["tags"].append("hide-input")
    write_notebook(notebook, target)
    return target


def execute(jobs=None):
    """Execute the chapters whose code, library modules or data changed, side by side.

    Outputs go to jupyter-cache (``_build/.jupyter_cache``), from which jupyter-book takes them,
    and results to ``_build/results``. Chapters that read all results come last. Where a chapter
    fails, the others beside it are kept, and its error is raised.

    Returns
    -------
    list of str
        The chapters that were executed.
    """
    cache = _open_cache()
    results = BUILD / "results"
    results.mkdir(parents=True, exist_ok=True)
    executed = []
    for reads_results in (False, True):
        stale = [
            chapter
            for chapter in chapters()
            if _option(chapter, "reads_results") == reads_results
            and not _stored_only(chapter)
            and not _is_cached(cache, chapter)
        ]
        for chapter, notebook in _run_all(stale, results, jobs):
            _to_cache(cache, chapter, notebook)
        executed += stale
    return executed


def refresh(names=(), jobs=None):
    """Execute chapters in place: store their outputs and their default results in the book.

    Chapters that are rendered from stored outputs are left alone unless named.

    Raises
    ------
    ValueError
        A chapter uses the results of another one of them, as they were before.
    """
    wanted = list(names) or [chapter for chapter in chapters() if not _stored_only(chapter)]
    for chapter in wanted:
        for used in set(_options(chapter).get("uses", [])) & set(wanted):
            raise ValueError(
                f"chapters must not hold both {used} and {chapter}, which uses its results: "
                f"refresh and commit {used} first"
            )
    wanted.sort(key=lambda chapter: _option(chapter, "reads_results"))
    first = [chapter for chapter in wanted if not _option(chapter, "reads_results")]
    for group in (first, wanted[len(first) :]):
        done = []
        with tempfile.TemporaryDirectory() as folder:
            try:
                done += _run_all(group, Path(folder), jobs)
            finally:
                # Not sooner: to the others, the checkout would no longer be clean.
                for chapter, notebook in done:
                    write_notebook(notebook, BOOK / f"{chapter}.ipynb")
                    for path in sorted(Path(folder).glob(f"{Path(chapter).name}.*")):
                        write_bytes(BOOK / "results" / path.name, path.read_bytes())
    return wanted


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


def _key(chapter):
    """Hash of all that a chapter's outputs depend on beside its own cells."""
    files = [*dependencies(chapter), ROOT / "requirements.txt"]
    files += [BOOK / "claims.yml", *(BOOK / "presets" / f"{name}.yaml" for name in PRESETS)]
    for used in _options(chapter).get("uses", []):
        files += sorted((BOOK / "results").glob(f"{used}.*"))
    for pattern in _options(chapter).get("reads", []):
        files += sorted(BOOK.glob(pattern))
    if _option(chapter, "reads_results"):
        files += [*sorted((BOOK / "results").glob("*")), *sorted((BUILD / "results").glob("*"))]
    return hash_files(files)


def _options(chapter):
    """What a notebook's metadata says.

    `reads_results` (of all chapters), `uses` (of which), `reads` (other files of the book).
    """
    return read(chapter).metadata.get("book", {})


def _option(chapter, name):
    return bool(_options(chapter).get(name, False))


def _stored_only(chapter):
    return read(chapter).metadata.get("mystnb", {}).get("execution_mode") == "off"


def _key_file(chapter):
    return BUILD / "keys" / chapter.replace("/", "_")


def _open_cache():
    """The cache of executed notebooks; one that is damaged is begun anew."""
    from jupyter_cache import get_cache

    path = BUILD / ".jupyter_cache"
    try:
        cache = get_cache(path)
        cache.list_cache_records()
    # Whatever SQLite or the cache's own checks find wrong.
    except Exception:
        shutil.rmtree(path, ignore_errors=True)
        path.unlink(missing_ok=True)
        cache = get_cache(path)
    return cache


def _is_cached(cache, chapter):
    path = _key_file(chapter)
    if not path.exists() or path.read_text(encoding="utf-8") != _key(chapter):
        return False
    try:
        cache.merge_match_into_notebook(read(chapter))
    # It has none, or its file is damaged.
    except Exception:
        return False
    return True


def _to_cache(cache, chapter, notebook):
    from jupyter_cache.base import CacheBundleIn

    from lib._pictures import slim

    slim(notebook)
    bundle = CacheBundleIn(notebook, str(BOOK / f"{chapter}.ipynb"), data={})
    cache.cache_notebook_bundle(bundle, check_validity=False, overwrite=True)
    write_bytes(_key_file(chapter), _key(chapter).encode())


def _run_all(names, results, jobs):
    """Execute chapters in fresh kernels, `jobs` at a time; yield each with its notebook.

    The first error is raised when all are through, with the name of its chapter.
    """
    from nbclient import NotebookClient

    from lib._checks import check_count

    jobs = os.cpu_count() or 1 if jobs is None else check_count("jobs", jobs)
    threads = max(1, (os.cpu_count() or 1) // min(jobs, max(len(names), 1)))
    environment = {"BOOK_RESULTS": str(results)}
    environment |= {name: str(threads) for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS")}

    def run(chapter):
        notebook = read(chapter)
        folder = str((BOOK / chapter).parent)
        client = NotebookClient(
            notebook,
            # A chapter of long runs is stored, and may take a night.
            timeout=None if _stored_only(chapter) else _CELL_TIMEOUT_S,
            resources={"metadata": {"path": folder}},
            record_timing=False,
        )
        client.execute()
        return notebook

    failed = []
    with _environment(**environment), ThreadPoolExecutor(jobs) as pool:
        running = {pool.submit(run, chapter): chapter for chapter in names}
        for future in as_completed(running):
            if error := future.exception():
                error.add_note(f"This happened in {running[future]}.")
                failed.append(error)
            else:
                yield running[future], future.result()
    if failed:
        raise failed[0]


class _environment:
    """Environment variables set for the kernels that are started inside the block."""

    def __init__(self, **values):
        self.values = values

    def __enter__(self):
        self.before = {name: os.environ.get(name) for name in self.values}
        os.environ.update(self.values)

    def __exit__(self, *_):
        for name, value in self.before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def write_notebook(notebook, path):
    """Write a notebook without what no reader needs: timings, widget states, colours."""
    import nbformat

    from lib._pictures import set_widths, slim

    slim(notebook)
    set_widths(notebook)

    for cell in notebook.cells:
        for name in ("execution", "papermill"):
            cell.metadata.pop(name, None)
    notebook.metadata.pop("widgets", None)
    write_bytes(path, (nbformat.writes(notebook) + "\n").encode())

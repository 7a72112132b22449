"""Execution of chapters: reruns, what the site is made of, and what the book stores."""

import os
import shutil
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

from lib import chapters
from lib._files import check_folder, write_bytes
from lib.provenance import hash_files

_CELL_TIMEOUT_S = 1800


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

    values = chapters.preset_values(chapter, preset) | chapters.check_parameters(chapter, overrides)
    folder = Path(folder).resolve()
    check_folder(folder)
    target = folder / f"{Path(chapter).name}.{chapters.preset_name(chapter, preset, values)}.ipynb"
    takes_preset = bool(chapters.parameters(chapter))
    with _environment(BOOK_RESULTS=str(folder)):
        notebook = papermill.execute_notebook(
            chapters.BOOK / f"{chapter}.ipynb",
            target,
            values | {"preset": preset} if takes_preset else {},
            cwd=(chapters.BOOK / chapter).parent,
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
    results = chapters.BUILD / "results"
    results.mkdir(parents=True, exist_ok=True)
    executed = []
    for reads_results in (False, True):
        stale = [
            chapter
            for chapter in chapters.chapters()
            if chapters.option(chapter, "reads_results") == reads_results
            and not chapters.stored_only(chapter)
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
    wanted = list(names) or [
        chapter for chapter in chapters.chapters() if not chapters.stored_only(chapter)
    ]
    for chapter in wanted:
        for used in set(chapters.options(chapter).get("uses", [])) & set(wanted):
            raise ValueError(
                f"chapters must not hold both {used} and {chapter}, which uses its results: "
                f"refresh and commit {used} first"
            )
    wanted.sort(key=lambda chapter: chapters.option(chapter, "reads_results"))
    first = [chapter for chapter in wanted if not chapters.option(chapter, "reads_results")]
    for group in (first, wanted[len(first) :]):
        done = []
        with tempfile.TemporaryDirectory() as folder:
            try:
                done += _run_all(group, Path(folder), jobs)
            finally:
                # Not sooner: to the others, the checkout would no longer be clean.
                for chapter, notebook in done:
                    write_notebook(notebook, chapters.BOOK / f"{chapter}.ipynb")
                    for path in sorted(Path(folder).glob(f"{Path(chapter).name}.*")):
                        write_bytes(chapters.BOOK / "results" / path.name, path.read_bytes())
    return wanted


def _key(chapter):
    """Hash of all that a chapter's outputs depend on beside its own cells."""
    files = [*chapters.dependencies(chapter), chapters.ROOT / "requirements.txt"]
    files += [
        chapters.BOOK / "claims.yml",
        *(chapters.BOOK / "presets" / f"{name}.yaml" for name in chapters.PRESETS),
    ]
    for used in chapters.options(chapter).get("uses", []):
        files += sorted((chapters.BOOK / "results").glob(f"{used}.*"))
    for pattern in chapters.options(chapter).get("reads", []):
        files += sorted(chapters.BOOK.glob(pattern))
    if chapters.option(chapter, "reads_results"):
        files += [
            *sorted((chapters.BOOK / "results").glob("*")),
            *sorted((chapters.BUILD / "results").glob("*")),
        ]
    return hash_files(files)


def _key_file(chapter):
    return chapters.BUILD / "keys" / chapter.replace("/", "_")


def _open_cache():
    """The cache of executed notebooks; one that is damaged is begun anew."""
    from jupyter_cache import get_cache

    path = chapters.BUILD / ".jupyter_cache"
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
        cache.merge_match_into_notebook(chapters.read(chapter))
    # It has none, or its file is damaged.
    except Exception:
        return False
    return True


def _to_cache(cache, chapter, notebook):
    from jupyter_cache.base import CacheBundleIn

    from lib._pictures import slim

    slim(notebook)
    bundle = CacheBundleIn(notebook, str(chapters.BOOK / f"{chapter}.ipynb"), data={})
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
        notebook = chapters.read(chapter)
        folder = str((chapters.BOOK / chapter).parent)
        client = NotebookClient(
            notebook,
            # A chapter of long runs is stored, and may take a night.
            timeout=None if chapters.stored_only(chapter) else _CELL_TIMEOUT_S,
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

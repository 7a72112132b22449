"""Run, list, compare and print chapters.

``rerun 02_gp --preset paper -p seed 3 --out runs`` reruns a chapter; ``list`` shows chapters,
parameters and presets; ``compare runs`` lays results of a rerun beside the committed ones;
``execute`` fills the cache that the rendered book is made from; ``refresh`` stores outputs and
default results in the book itself.
"""

import argparse
import os
import sys
from pathlib import Path

from lib import chapters, datasets, execution, pages, printing
from lib.ledger import RESULTS, compare, load_claims


def _missing():
    """Data sets that some values need, and that are not at hand."""
    wanted = {name for claim in load_claims().values() for name in (claim.needs_for or {}).values()}
    missing = set()
    for name in wanted:
        try:
            datasets.fetch(name)
        except datasets.DataUnavailable:
            missing.add(name)
    return missing


def describe(chapter):
    """A chapter's title, parameters, types and presets, as aligned text."""
    known = chapters.parameters(chapter)
    heading = f"{chapter}: {pages.title(chapter)}"
    if not known:
        return f"{heading}\n  (no parameters)\n"
    presets = {preset: chapters.preset_values(chapter, preset) for preset in chapters.PRESETS}
    rows = [("parameter", "type", *presets)]
    for name, value in known.items():
        values = (repr(preset[name]) for preset in presets.values())
        rows.append((name, type(value).__name__, *values))
    rows.append(("time, memory", "", *pages.costs(chapter)))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = (
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        for row in rows
    )
    return "\n".join([heading, *(f"  {line}".rstrip() for line in lines), ""])


def _write_for_colab(chapter, options):
    target = options.out / f"{chapter}.ipynb"
    execution.write_notebook(chapters.for_colab(chapter, options.address), target)
    return target


def main(arguments=None):
    """Run the command line; return its exit status."""
    parser = argparse.ArgumentParser(prog="python -m lib.book", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    listing = commands.add_parser("list", help="chapters, their parameters and presets")
    listing.add_argument("chapter", nargs="?", help="only this one")
    rerun = commands.add_parser("rerun", help="execute a chapter with other parameters")
    rerun.add_argument("chapter")
    rerun.add_argument("--preset", default="default", help=", ".join(chapters.PRESETS))
    rerun.add_argument(
        "-p", dest="overrides", nargs=2, action="append", default=[], metavar=("NAME", "VALUE")
    )
    rerun.add_argument("--out", type=Path, required=True, help="folder for notebook and results")
    beside = commands.add_parser("compare", help="results of a rerun beside the committed ones")
    beside.add_argument("folder", type=Path)
    execute = commands.add_parser("execute", help="execute what changed, for the rendered book")
    refresh = commands.add_parser("refresh", help="store outputs and default results in the book")
    colab = commands.add_parser("colab", help="chapters that install the book first, for Colab")
    colab.add_argument("address", help="where git clones the book from")
    colab.add_argument("--out", type=Path, required=True, help="folder for the notebooks")
    refresh.add_argument("chapters", nargs="*")
    for command in (execute, refresh):
        command.add_argument("--jobs", type=int, help="chapters at a time (default: one a core)")
    pdf = commands.add_parser("pdf", help="print a book that is rendered as one page")
    pdf.add_argument("site", type=Path)
    pdf.add_argument("--out", type=Path, required=True, help="the PDF")
    options = parser.parse_args(arguments)
    try:
        if options.command == "rerun":
            # A chapter runs in its own folder: paths are meant from where the command is given,
            # but for the preset's own.
            own = chapters.preset_values(options.chapter, options.preset)
            overrides = {
                name: str(Path(text).resolve())
                if "/" in text and Path(text).exists() and text != own.get(name)
                else text
                for name, text in options.overrides
            }
            overrides = chapters.parse_parameters(options.chapter, overrides)
            done = [execution.rerun(options.chapter, options.preset, overrides, options.out)]
        elif options.command == "list":
            names = [options.chapter] if options.chapter else chapters.chapters()
            done = [describe(chapter) for chapter in names]
        elif options.command == "pdf":
            done = [printing.print_pdf(options.site, options.out)]
        elif options.command == "colab":
            done = [_write_for_colab(name, options) for name in chapters.chapters()]
        elif options.command == "compare":
            text, differing = compare(options.folder, RESULTS, missing=_missing())
            print(text)
            return 1 if differing else 0
        elif options.command == "execute":
            done = execution.execute(options.jobs)
        else:
            done = execution.refresh(options.chapters, options.jobs)
        print("\n".join(str(item) for item in done) or "nothing to do", flush=True)
    except BrokenPipeError:
        # Whoever read the output, such as `head`, has had enough.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0

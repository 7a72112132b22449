"""Pieces of the book's pages that are computed: verdict summary, table of chapters, rerun notes."""

import html
import json
import os
import subprocess
from pathlib import Path

from lib import chapters, ledger

_PAPERS = {
    "resu": "Rectified spectral units",
    "heterogeneity": "Kernel heterogeneity",
}
_ORDER = (
    ledger.HOLDS,
    ledger.FAILS,
    f"{ledger.HOLDS} in a smaller run",
    f"{ledger.FAILS} in a smaller run",
    ledger.REPORTED,
)


def outcome(row):
    """A verdict in words for a reader in a hurry.

    A claim whose chapter, or one that it rests on, has not been run at the paper's scale is
    counted by its smaller run, and says so.

    Parameters
    ----------
    row : lib.ledger.Verdict

    Returns
    -------
    str
    """
    smaller = row.in_part or row.at_default
    if row.verdict == ledger.NOT_AT_SCALE and smaller:
        return f"{smaller} in a smaller run"
    return row.verdict


def summary(folders):
    """Count the verdicts of each paper's claims, as HTML: a bar and its numbers in words.

    Parameters
    ----------
    folders : sequence of Path
        Where results lie; see `lib.ledger.verdicts`.
    """
    rows = ledger.verdicts(folders)
    return "".join(
        _bar(title, [outcome(row) for row in rows if row.claim.paper == paper])
        for paper, title in _PAPERS.items()
    )


def _bar(title, outcomes):
    counts = {name: outcomes.count(name) for name in [*_ORDER, *sorted(set(outcomes))]}
    counts = {name: count for name, count in counts.items() if count}
    parts = "".join(
        f'<span class="{name.replace(" ", "-")}" style="flex-grow: {count}">{count}</span>'
        for name, count in counts.items()
    )
    words = "".join(
        f'<li><span class="key {name.replace(" ", "-")}"></span>{_agree(count, name)}</li>'
        for name, count in counts.items()
    )
    return (
        f'<div class="verdict-bar"><p><strong>{title}</strong>: {len(outcomes)} claims</p>'
        f'<div class="bar" aria-hidden="true">{parts}</div><ul>{words}</ul></div>'
    )


def _agree(count, name):
    if count != 1:
        for one, many in (("holds", "hold"), ("does not", "do not"), ("needs", "need")):
            name = name.replace(one, many)
    return f"{count} {name}"


def table(rows, folders):
    """Tabulate chapters as HTML: question, data, verdicts, time of a default run.

    Parameters
    ----------
    rows : sequence of (str, str, str)
        Chapter, question, data.
    folders : sequence of Path
        Where results lie.
    """
    verdicts = ledger.verdicts(folders)
    results = ledger.load_results(folders)
    body = []
    for chapter, question, data in rows:
        own = [row for row in verdicts if row.claim.chapter == chapter]
        outcomes = [outcome(row) for row in own]
        held = sum(o.startswith(ledger.HOLDS) for o in outcomes)
        judged = held + sum(o.startswith(ledger.FAILS) for o in outcomes)
        smaller = ", in a smaller run" * any(o.endswith("in a smaller run") for o in outcomes)
        cells = {
            "": f'<a href="{chapter}.html">{_number(chapter)}{html.escape(title(chapter))}</a>',
            "Question": html.escape(question),
            "Data": html.escape(data),
            "Claims that hold": f"{held} of {judged}{smaller}" if judged else "–",
            "Time to run": cost(results.get((chapter, "default"), {})).partition(",")[0] or "–",
        }
        body.append(cells)
    head = "".join(f"<th>{name or 'Chapter'}</th>" for name in body[0])
    lines = "".join(
        "<tr>"
        + "".join(f'<td data-label="{name}">{cell}</td>' for name, cell in cells.items())
        + "</tr>"
        for cells in body
    )
    return f'<table class="chapters"><thead><tr>{head}</tr></thead><tbody>{lines}</tbody></table>'


def _number(chapter):
    """A chapter's number as the table of contents gives it; appendices have theirs in the title."""
    digits = chapter.partition("_")[0]
    return f"{int(digits)}. " if digits.isdigit() else ""


def title(chapter):
    """First heading of a chapter, up to a colon."""
    first = next(cell for cell in chapters.read(chapter).cells if cell.cell_type == "markdown")
    return first.source.splitlines()[0].removeprefix("# ").partition(":")[0]


def cost(result):
    """What a saved result says of its run's time and memory; empty if it says nothing."""
    if "cost" not in result:
        return ""
    seconds, peak = result["cost"]["seconds"], result["cost"]["peak_mb"]
    if seconds < 90:
        time = f"{max(seconds, 1):.0f} s"
    elif seconds < 5400:
        time = f"{seconds / 60:.0f} min"
    else:
        time = f"{seconds / 3600:.1f} h"
    return f"{time}, {peak / 1000:.1f} GB"


def costs(chapter):
    """Time and memory of a chapter under each preset; a dash where no whole run was measured."""
    results = ledger.load_results()
    measured = {preset: results.get((chapter, preset), {}) for preset in chapters.PRESETS}
    # Smoke runs are tests: what they measure is kept with what the tests counted.
    tests = chapters.BOOK / "checks" / "tests.json"
    if tests.exists():
        properties = json.loads(tests.read_text(encoding="utf-8"))["properties"]
        measured["smoke"] = properties.get(f"test_smoke_rerun[{chapter}]", {})
    return [cost(result) or "–" for result in measured.values()]


def rerun(chapter):
    """How to run a chapter again, as Markdown: commands, parameters and presets, downloads.

    Parameters
    ----------
    chapter : str

    Returns
    -------
    str
    """
    up = "../" * (chapter.count("/") + 1)
    name = Path(chapter).name
    source = f"{up}_sources/book/{chapter}"
    links = [
        f'<a href="{source}.ipynb" download>notebook</a>',
        f'<a href="{source}.py" download>script</a>',
    ]
    text = ""
    known = chapters.parameters(chapter)
    if known:
        presets = {preset: chapters.preset_values(chapter, preset) for preset in chapters.PRESETS}
        first = next(iter(known))
        text += "## Run this chapter\n\n"
        text += "Edit the parameters and rerun, from a preset or from values of your own:\n\n"
        text += f"```bash\nmake rerun CHAPTER={chapter} PRESET=paper OUT=runs\n"
        text += f".venv/bin/python -m lib.book rerun {chapter} -p {first} {_other(known[first])}"
        text += " --out runs\n.venv/bin/python -m lib.book compare runs\n```\n\n"
        text += f"::::{{admonition}} Parameters and presets of {name}\n:class: dropdown\n\n"
        text += f"| parameter | type | {' | '.join(presets)} |\n|" + "---|" * (len(presets) + 2)
        for key, value in known.items():
            values = " | ".join(f"`{_text(preset[key])}`" for preset in presets.values())
            text += f"\n| `{key}` | {type(value).__name__} | {values} |"
        text += f"\n| *time, memory* | | {' | '.join(costs(chapter))} |\n\n::::\n\n"
    where = repository()
    if where:
        page = f"book%2F{chapter.replace('/', '%2F')}.ipynb"
        links += [
            f'<a href="https://mybinder.org/v2/gh/{where}/HEAD?labpath={page}">open in Binder</a>',
            f'<a href="https://colab.research.google.com/github/{where}/blob/gh-pages/colab/'
            f'{chapter}.ipynb">open in Colab</a>',
        ]
    return text + f'<p class="downloads">Take this chapter along: {" · ".join(links)}</p>\n'


def _other(value):
    """A value of the same type that is not the default: what a command may show."""
    return value + 1 if isinstance(value, int) else value


def _text(value):
    return '""' if value == "" else str(value)


def repository():
    """``owner/name`` of the book's home on GitHub, or None if it has none.

    The environment variable BOOK_REPOSITORY names it; else the checkout's remote does.
    """
    given = os.environ.get("BOOK_REPOSITORY")
    if given is not None:
        return given or None
    done = subprocess.run(
        ["git", "-C", str(chapters.ROOT), "remote", "get-url", "origin"],
        capture_output=True,
        text=True,
    )
    _, found, path = done.stdout.strip().partition("github.com")
    return path.strip(":/").removesuffix(".git") if found else None

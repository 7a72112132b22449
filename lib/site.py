"""What the rendered book adds to its pages, as a Sphinx extension.

- Each chapter ends with its parameters, the command that reruns it, and its downloads.
- ``{finding} fig-name`` shows a chapter's figure on another page, from that chapter's outputs.
- ``{summary}`` and ``{chapter-table}`` show verdicts and costs, computed from saved results.
- Pages load nothing from elsewhere, and the site keeps only what they load.
"""

import copy
import html
import json
import re
from pathlib import Path

from docutils import nodes
from sphinx.util.docutils import SphinxDirective

from lib import chapters, pages
from lib.ledger import RESULTS, Verdict

# What tex-chtml.js asks for: fonts, TeX extensions, and what its menu offers a screen reader.
_MATHJAX = ("tex-chtml.js", "output/chtml/fonts/", "input/tex/extensions/", "a11y/", "ui/")
_SPEECH = ("sre/mathmaps/base.json", "sre/mathmaps/en.json")
_MAPS = ("*.js.map", "*.css.map")
# The type of a named tuple's fields.
_FIELD = type(Verdict.claim)


class _finding(nodes.General, nodes.Element):
    """Stands for a figure of a chapter until all chapters are read."""


class Finding(SphinxDirective):
    """A chapter's figure as a card: the argument is its name, the content what it shows."""

    required_arguments = 1
    has_content = True

    def run(self):  # noqa: D102
        card = _finding(name=self.arguments[0], docname=self.env.docname)
        self.set_source_info(card)
        self.state.nested_parse(self.content, self.content_offset, card)
        return [card]


class Summary(SphinxDirective):
    """Verdicts of both papers' claims, counted."""

    def run(self):  # noqa: D102
        return [nodes.raw("", pages.summary(_results(self.config)), format="html")]


class ChapterTable(SphinxDirective):
    """Chapters of the book: the content gives a line ``chapter: question | data`` for each."""

    has_content = True

    def run(self):  # noqa: D102
        rows = [re.split(r": | \| ", line.strip(), maxsplit=2) for line in self.content if line]
        for row in rows:
            if len(row) != 3 or row[0] not in chapters.chapters():
                raise self.error(f"must be 'chapter: question | data', got {row}")
        return [nodes.raw("", pages.table(rows, _results(self.config)), format="html")]


def _results(config):
    """Folders of results that this build shows: those of a fresh execution replace stored ones."""
    fresh = [] if config.nb_execution_mode == "off" else [chapters.BUILD / "results"]
    return [RESULTS, *fresh]


def setup(app):
    """Register with Sphinx."""
    app.add_node(_finding)
    app.add_directive("finding", Finding)
    app.add_directive("summary", Summary)
    app.add_directive("chapter-table", ChapterTable)
    app.connect("config-inited", _follow_the_readers_colours)
    app.connect("env-get-outdated", _read_again)
    app.connect("source-read", _append_rerun)
    app.connect("autodoc-skip-member", _skip_fields)
    app.connect("doctree-read", _describe_animations)
    app.connect("doctree-resolved", _show_findings)
    app.connect("html-page-context", _drop_live_code)
    # Behind the extension that copies MathJax.
    app.connect("build-finished", _finish, priority=900)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def _follow_the_readers_colours(_app, config):
    config.html_context["default_mode"] = "auto"


def _read_again(_app, env, _added, _changed, _removed):
    """Pages that show results of others are read at every build."""
    return [name for name in env.found_docs if name.endswith("index")]


def _skip_fields(_app, _what, _name, member, _skip, _options):
    """Leave out fields of named tuples: their class describes them."""
    return True if isinstance(member, _FIELD) else None


def _append_rerun(_app, docname, source):
    """Append what a reader needs to rerun the chapter; notebooks on disk stay as they are."""
    chapter = docname.removeprefix("book/")
    if chapter not in chapters.chapters():
        return
    notebook = json.loads(source[0])
    cell = {"cell_type": "markdown", "metadata": {}, "source": pages.rerun(chapter)}
    if notebook["nbformat_minor"] >= 5:
        cell["id"] = "rerun"
    notebook["cells"].append(cell)
    source[0] = json.dumps(notebook)


def _describe_animations(_app, doctree):
    """Give the image inside an animation the alternative text of its cell."""
    for cell in doctree.findall(nodes.container):
        alt = cell.get("cell_metadata", {}).get("mystnb", {}).get("image", {}).get("alt")
        for raw in cell.findall(nodes.raw) if alt else ():
            text = raw.astext().replace(
                '<img id="_anim', f'<img alt="{html.escape(alt)}" id="_anim'
            )
            raw.children = [nodes.Text(text)]
            raw.rawsource = text


def _show_findings(app, doctree, docname):
    for card in list(doctree.findall(_finding)):
        label = nodes.fully_normalize_name(card["name"])
        places = app.env.get_domain("std").anonlabels
        if label not in places:
            raise ValueError(f"finding must name a figure of a chapter, got {card['name']!r}")
        target, anchor = places[label]
        figures = app.env.get_doctree(target).findall(nodes.figure)
        figure = next(figure for figure in figures if anchor in figure["ids"])
        link = app.builder.get_relative_uri(docname, target) + f"#{anchor}"
        reference = nodes.reference("", "", refuri=link, internal=True)
        reference += copy.deepcopy(next(iter(figure.findall(nodes.image))))
        box = nodes.container("", reference, *card.children, classes=["finding"])
        card.replace_self(box)


def _drop_live_code(_app, _page, _template, context, _doctree):
    """Drop a script that jupyter-book adds for code cells run elsewhere, which fails twice."""
    context["script_files"] = [
        script
        for script in context["script_files"]
        if "thebe" not in f"{script.filename} {script.attributes.get('body')}".lower()
    ]


def _finish(app, failure):
    if failure is not None or app.builder.format != "html":
        return
    site = Path(app.outdir)
    for path in (site / "_static" / "mathjax").rglob("*"):
        name = path.relative_to(site / "_static" / "mathjax").as_posix()
        if path.is_file() and not name.startswith(_MATHJAX + _SPEECH):
            path.unlink()
    for pattern in _MAPS:
        for path in (site / "_static").rglob(pattern):
            path.unlink()
    for chapter in chapters.chapters():
        script = site / "_sources" / "book" / f"{chapter}.py"
        if script.parent.exists():
            script.write_text(chapters.script(chapter), encoding="utf-8")

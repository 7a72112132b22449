"""Verdicts as a table, in text and in HTML."""

import html
import re
from pathlib import Path

PAPERS = {"resu": "ReSU", "heterogeneity": "Kernel heterogeneity"}
_A_FEW = 2


class Verdicts(list):
    """A list of `Verdict` that shows itself as a table.

    Attributes
    ----------
    heading : str
        Of the column of verdicts.
    """

    heading = "Verdict"

    def counts(self):
        """Count the verdicts per paper: dict of paper to dict of verdict to number."""
        table = {name: {} for name in PAPERS.values()}
        for row in self:
            paper = table[PAPERS[row.claim.paper]]
            paper[row.verdict] = paper.get(row.verdict, 0) + 1
        return {name: dict(sorted(paper.items())) for name, paper in table.items() if paper}

    def __repr__(self):
        return "\n".join(f"{row.claim.id}: {row.verdict}" for row in self)

    def _repr_html_(self):
        return self.html()

    def html(self, root=""):
        """Render as an HTML table.

        Parameters
        ----------
        root : str
            What links to chapters start with. Without it they stay in the folder of a chapter,
            beside whose text the table stands: it does not say again what was measured.

        Returns
        -------
        str
        """
        columns = {"Claim": [_describe(row, root) for row in self]}
        columns["Paper's value"] = [html.escape(row.claim.paper_value or "–") for row in self]
        columns["Ours, default scale"] = [_cell(row, row.default, row.at_default) for row in self]
        columns["Ours, paper scale"] = [_cell(row, row.paper_scale, _partly(row)) for row in self]
        columns[self.heading] = [
            f'<span class="verdict {row.verdict.replace(" ", "-")}">{row.verdict}</span>'
            for row in self
        ]
        columns = {name: cells for name, cells in columns.items() if set(cells) - {"–"}}
        head = "".join(f"<th>{name}</th>" for name in columns)
        # The labels stand in for the head where a narrow page stacks the cells.
        labels = ["", *(f' data-label="{name}"' for name in list(columns)[1:])]
        rows = (
            "".join(f"<td{label}>{cell}</td>" for label, cell in zip(labels, cells, strict=True))
            for cells in zip(*columns.values(), strict=True)
        )
        body = "".join(f"<tr>{row}</tr>" for row in rows)
        return (
            f'<table class="verdicts"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>'
        )


def _phrases(values):
    """Values as text, intervals behind their value, by its name: ``gain 0.52 [0.5, 0.54]``."""
    phrases = {}
    for name, value in values.items():
        low, high = values.get(f"{name}_low"), values.get(f"{name}_high")
        if _centre(name) in values and _centre(name) != name:
            continue
        text = f"{name.replace('_', ' ')} {value:.4g}" if name != "value" else f"{value:.4g}"
        phrases[name] = text + (f" [{low:.4g}, {high:.4g}]" if None not in (low, high) else "")
    return phrases


def _centre(name):
    """Name of the value of which a name is an end of its interval, or the name."""
    return name.rsplit("_", 1)[0] if name.endswith(("_low", "_high")) else name


def _describe(row, root):
    claim = row.claim
    anchor = f"#{claim.figure}" if claim.figure else ""
    page = f"{root}{claim.chapter}" if root else Path(claim.chapter).name
    name = f'<a href="{page}.html{anchor}"><strong>{claim.id}</strong></a>'
    text = f"{name} <small>{PAPERS[claim.paper]}, {html.escape(claim.place)}</small><br>"
    text += html.escape(claim.claim)
    if root:
        text += f"<br><small>Measured: {html.escape(claim.measured)}.</small>"
    return text + (f"<br><code>{html.escape(claim.rule)}</code>" if claim.rule else "")


def _partly(row):
    other = (row.claim.rests_on or "").partition("_")[0].lstrip("0")
    return f"{row.in_part}, with what chapter {other} gave at default scale" if row.in_part else ""


def _cell(row, values, outcome):
    """Values that the rule compares, all others folded away if they are more than a few."""
    if not values:
        return "–"
    phrases = _phrases(values)
    names = set(re.findall(r"[a-z]\w*", row.claim.rule or ""))
    compared = [name for name in phrases if names & {name, f"{name}_low", f"{name}_high"}]
    others = [name for name in phrases if name not in compared]
    if not compared or len(others) <= _A_FEW:
        compared, others = list(phrases), []
    text = html.escape("; ".join(phrases[name] for name in compared))
    text += f"<br><small>{outcome}</small>" if outcome else ""
    if others:
        rest = html.escape("; ".join(phrases[name] for name in others))
        text += f"<details><summary>{len(others)} more</summary>{rest}</details>"
    return text

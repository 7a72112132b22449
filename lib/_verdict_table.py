"""Verdicts as a table, in text and in HTML."""

import html
from pathlib import Path

PAPERS = {"resu": "ReSU", "heterogeneity": "Kernel heterogeneity"}


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
        columns["Ours, default scale"] = [_cell(row.default, row.at_default) for row in self]
        columns["Ours, paper scale"] = [_cell(row.paper_scale, _partly(row)) for row in self]
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


def format_values(values):
    """Write recorded values as text, intervals behind their value: ``gain 0.52 [0.5, 0.54]``."""
    parts = []
    for name, value in values.items():
        low, high = values.get(f"{name}_low"), values.get(f"{name}_high")
        if name.endswith(("_low", "_high")) and name.rsplit("_", 1)[0] in values:
            continue
        text = f"{name.replace('_', ' ')} {value:.4g}" if name != "value" else f"{value:.4g}"
        parts.append(text + (f" [{low:.4g}, {high:.4g}]" if None not in (low, high) else ""))
    return "; ".join(parts)


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


def _cell(values, outcome):
    if not values:
        return "–"
    return html.escape(format_values(values)) + (f"<br><small>{outcome}</small>" if outcome else "")

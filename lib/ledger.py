"""Claims of the two papers beside what the book measured, with computed verdicts.

``book/claims.yml`` lists the claims. A chapter records values in a `Run` and saves them at its end;
`verdicts` evaluates each claim's rule on the saved values. No verdict is ever typed.
"""

import dataclasses
import io
import json
import math
import time
from numbers import Real
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import yaml

from lib._files import write_bytes
from lib._rules import check_rule, evaluate_rule
from lib._verdict_table import PAPERS, Verdicts
from lib.provenance import high_water

if TYPE_CHECKING:
    import numpy as np

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "book" / "results"
CLAIMS = ROOT / "book" / "claims.yml"

HOLDS = "holds"
FAILS = "does not hold"
REPORTED = "reported"
NOT_AT_SCALE = "not run at paper scale"
NEEDS_DATA = "needs data"


class Claim(NamedTuple):
    """One claim of a paper.

    Attributes
    ----------
    id, paper, place, claim, chapter, measured : str
        Name, paper ("resu" or "heterogeneity"), place in it, the claim in our words, the chapter
        that measures it, and what is measured.
    rule : str or None
        Comparison of recorded values, such as ``"gain > 0.4 and width < 2 * other"``; None if
        the claim is only reported on.
    paper_value : str or None
        The paper's own value.
    needs : str or None
        Data that may be missing, and without which the claim stays unmeasured.
    needs_for : dict of str to str or None
        Data sets without which some values are missing: by how the names of these start.
    if_run : str or None
        What a run may leave out, and the claim with it.
    figure : str or None
        Label of the figure that shows it.
    rests_on : str or None
        Another chapter of whose largest run the values are made, such as learned dictionaries.
    """

    id: str
    paper: str
    place: str
    claim: str
    chapter: str
    measured: str
    rule: str | None = None
    paper_value: str | None = None
    needs: str | None = None
    if_run: str | None = None
    figure: str | None = None
    rests_on: str | None = None
    needs_for: dict | None = None

    def lacks(self, value, missing):
        """Whether a value needs one of the data sets that are missing."""
        needs = (self.needs_for or {}).items()
        return any(value.startswith(start) and name in missing for start, name in needs)


class Verdict(NamedTuple):
    """A claim, the values measured for it at default and at paper scale, and the verdict.

    `default` and `paper_scale` are dicts of named numbers, or None; `at_default` is what the rule
    says of the values at default scale, empty if there are none. `in_part` is what it says of
    values at paper scale that rest on a smaller run of another chapter, empty if they do not.
    """

    claim: Claim
    default: dict | None
    paper_scale: dict | None
    at_default: str
    verdict: str
    in_part: str = ""


@dataclasses.dataclass
class Run:
    """What one execution of a chapter measured, and where it will be saved.

    Attributes
    ----------
    chapter, preset : str
    parameters, provenance : dict
    folder : Path
        Where `save` writes ``<chapter>.<preset>.json``, and ``.npz`` if there are arrays.
    values : dict
        Recorded values by claim.
    rng : numpy.random.Generator or None
        Seeded with the parameter `seed`, if the chapter has one.
    arrays : dict of str to ndarray
        Small arrays, such as learned weights, that others may want to check.
    started : float
        Clock at the start, in seconds: `save` writes how long the run took.
    elsewhere : float
        Seconds that earlier runs spent on results which this one read: they count, too.
    """

    chapter: str
    preset: str
    parameters: dict
    provenance: dict
    folder: Path
    values: dict = dataclasses.field(default_factory=dict)
    rng: "np.random.Generator | None" = None
    arrays: dict = dataclasses.field(default_factory=dict)
    started: float = dataclasses.field(default_factory=time.monotonic)
    elsewhere: float = 0.0


def load_claims(path=CLAIMS):
    """Read and check the list of claims.

    Returns
    -------
    dict of str to Claim

    Raises
    ------
    ValueError
        An id occurs twice, a field is unknown or missing, a rule does not parse.
    """
    entries = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise ValueError(f"{path} must hold a list of claims")
    claims = {}
    for entry in entries:
        name = entry.get("id", "(no id)")
        required = set(Claim._fields) - set(Claim._field_defaults)
        wrong = set(entry) - set(Claim._fields) or required - set(entry)
        if wrong:
            raise ValueError(f"claim {name}: fields {sorted(wrong)} are unknown or missing")
        needs_for = entry.get("needs_for") or {}
        if not isinstance(needs_for, dict):
            raise ValueError(f"claim {name}: needs_for must name values and what they need")
        texts = [value for key, value in entry.items() if key != "needs_for" and value is not None]
        if not all(isinstance(text, str) for text in (*texts, *needs_for, *needs_for.values())):
            raise ValueError(f"claim {name}: every field must be text")
        claim = Claim(**entry)
        if name in claims:
            raise ValueError(f"claim {name} stands twice in {path}")
        if claim.paper not in PAPERS:
            raise ValueError(f"claim {name}: paper must be one of {list(PAPERS)}")
        if claim.rule is not None:
            check_rule(name, claim.rule)
        claims[name] = claim
    return claims


def record(claim, value, run, *, claims=CLAIMS):
    """Record what a chapter measured for a claim.

    Parameters
    ----------
    claim : str
        Its id in claims.yml.
    value : float or dict of str to float
        A number (stored as ``value``) or named numbers; ``x_low`` and ``x_high`` are the 95 %
        interval of ``x``.
    run : Run
        What `lib.book.begin` returned.

    Raises
    ------
    ValueError
        The claim is unknown or belongs to another chapter, a value is not a finite number, or
        the rule names a value that is missing.
    """
    known = load_claims(claims)
    if claim not in known:
        raise ValueError(f"claim must be one of {sorted(known)}, got {claim!r}")
    if known[claim].chapter != run.chapter:
        raise ValueError(f"claim {claim} belongs to {known[claim].chapter}, not {run.chapter}")
    values = dict(value) if isinstance(value, dict) else {"value": value}
    for name, number in values.items():
        try:
            finite = isinstance(number, Real) and math.isfinite(number)
        except OverflowError:
            finite = False
        if not finite:
            raise ValueError(f"value {name!r} of claim {claim} must be finite, got {number!r}")
    values = {name: float(number) for name, number in values.items()}
    judge(known[claim], values)
    run.values[claim] = values


def save(run, *, claims=CLAIMS):
    """Write a finished run's values to its folder and return their verdicts.

    Raises
    ------
    ValueError
        A claim of the chapter has not been recorded, unless it names what data it needs, or what
        a run may leave out.
        Nothing is written then.
    """
    own = {key: claim for key, claim in load_claims(claims).items() if claim.chapter == run.chapter}
    missing = [
        key
        for key, claim in own.items()
        if key not in run.values and not (claim.needs or claim.if_run)
    ]
    if missing:
        raise ValueError(f"chapter {run.chapter} must record every claim it has, misses {missing}")
    result = {name: getattr(run, name) for name in ("chapter", "preset", "parameters")}
    result |= {"provenance": run.provenance, "values": run.values}
    seconds = time.monotonic() - run.started + run.elsewhere
    result["cost"] = {"seconds": round(seconds, 1), "peak_mb": round(high_water() / 1e6)}
    path = Path(run.folder) / f"{Path(run.chapter).name}.{run.preset}.json"
    if run.arrays:
        import numpy as np

        buffer = io.BytesIO()
        np.savez_compressed(buffer, **run.arrays)
        write_bytes(path.with_suffix(".npz"), buffer.getvalue())
    text = json.dumps(result, indent=1, sort_keys=True, ensure_ascii=False) + "\n"
    write_bytes(path, text.encode())
    at_scale = run.preset == "paper"
    results = load_results() | {(run.chapter, run.preset): result}
    rows = Verdicts()
    for key, claim in own.items():
        if (values := run.values.get(key)) and at_scale:
            rows.append(Verdict(claim, None, values, "", *_at_paper_scale(claim, values, results)))
        elif values:
            rows.append(Verdict(claim, values, None, "", judge(claim, values)))
    rows.heading = "Verdict" if at_scale else "Rule, at this scale"
    return rows


def judge(claim, values):
    """Verdict of a claim's rule on recorded values: holds, does not hold, or reported."""
    if claim.rule is None:
        return REPORTED
    return HOLDS if evaluate_rule(claim.id, claim.rule, values) else FAILS


def load_results(folders=(RESULTS,)):
    """Read saved results: dict of (chapter, preset) to what `save` wrote; later folders win."""
    paths = [path for folder in folders for path in sorted(Path(folder).glob("*.json"))]
    results = [json.loads(path.read_text(encoding="utf-8")) for path in paths]
    return {(result["chapter"], result["preset"]): result for result in results}


def verdicts(folders=(RESULTS,), *, claims=CLAIMS, book=ROOT / "book"):
    """Judge every claim on the saved results.

    Parameters
    ----------
    folders : sequence of Path
        Where results lie; those in later folders replace the same chapter and preset of earlier
        ones.
    claims : Path
        The list of claims.
    book : Path
        Where the chapters lie.

    Returns
    -------
    Verdicts
        A list of `Verdict` in the order of claims.yml that renders as a table.

    Raises
    ------
    ValueError
        A claim is of a chapter that is not there.

    Notes
    -----
    A verdict on a paper's claim needs a run at the paper's scale; until there is one it reads
    "not run at paper scale", and `at_default` says what the smaller run gives. It needs one, too,
    of the chapter that the claim rests on, and an earlier one: else `in_part` says what it gives.
    """
    results = load_results(folders)
    rows = Verdicts()
    for claim in load_claims(claims).values():
        default, paper = (
            results.get((claim.chapter, preset), {}).get("values", {}).get(claim.id)
            for preset in ("default", "paper")
        )
        at_default, in_part = judge(claim, default) if default else "", ""
        for chapter in (claim.chapter, claim.rests_on or claim.chapter):
            if not (Path(book) / f"{chapter}.ipynb").exists():
                raise ValueError(f"claim {claim.id}: {book} must have chapter {chapter!r}")
        if paper:
            verdict, in_part = _at_paper_scale(claim, paper, results)
        elif default and claim.rule is None:
            verdict = REPORTED
        else:
            verdict = NEEDS_DATA if claim.needs and not default else NOT_AT_SCALE
        rows.append(Verdict(claim, default, paper, at_default, verdict, in_part))
    return rows


def _at_paper_scale(claim, values, results):
    """Verdict on a run's values, and what the rule says of them if they rest on a smaller run."""
    outcome = judge(claim, values)
    if claim.rests_on is None:
        return outcome, ""
    made, read = (results.get((name, "paper")) for name in (claim.chapter, claim.rests_on))
    if read and read["provenance"]["date"] < made["provenance"]["date"]:
        return outcome, ""
    return REPORTED if claim.rule is None else NOT_AT_SCALE, outcome


def compare(folder, reference=RESULTS, *, missing=(), claims=CLAIMS, rtol=1e-3, atol=1e-9):
    """Lay results in a folder beside reference results of the same chapter.

    A preset that the reference does not have is laid beside its default results.

    Returns
    -------
    text : str
        A table for each result: claim, value, reference, new, difference, and whether they agree;
        then what the claims' rules make of both.
    differing : int
        Values of the same preset that differ by more than ``atol + rtol * |reference|`` or are
        missing on one side. What is missing here for want of data does not count: `missing` names
        the data sets that are not at hand.

    Raises
    ------
    ValueError
        The folder has no results of a chapter that the reference has, too.
    """
    new, old = load_results([folder]), load_results([reference])
    pairs = [
        (key, key if key in old else (key[0], "default"))
        for key in sorted(new)
        if key in old or (key[0], "default") in old
    ]
    if not pairs:
        raise ValueError(f"{folder} must hold results of a chapter that {reference} has")
    known = load_claims(claims)
    lines, differing = [], 0
    for key, beside in pairs:
        lines.append(f"{key[0]}: {beside[1]} in the book, {key[1]} here")
        theirs, mine = old[beside]["values"], new[key]["values"]
        rows = [("claim", "value", "book", "here", "difference", "")]
        for claim in sorted(theirs.keys() | mine.keys()):
            before, now = theirs.get(claim, {}), mine.get(claim, {})
            for name in sorted(before.keys() | now.keys()):
                a, b = before.get(name), now.get(name)
                both = a is not None and b is not None
                agree = both and abs(b - a) <= atol + rtol * abs(a)
                lacked = b is None and claim in known and known[claim].lacks(name, missing)
                differing += key == beside and not agree and not lacked
                numbers = ("-" if x is None else f"{x:.6g}" for x in (a, b))
                difference = f"{b - a:+.2g}" if both else "-"
                told = "same" if agree else NEEDS_DATA if lacked else "DIFFERS"
                rows.append((claim, name, *numbers, difference, told))
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines += [
            "  " + "  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip()
            for row in rows
        ]
        for claim in sorted(mine.keys() & known.keys()):
            before = judge(known[claim], theirs[claim]) if claim in theirs else "not recorded"
            lines.append(
                f"  {claim}: {before} in the book, {judge(known[claim], mine[claim])} here"
            )
    return "\n".join(lines), differing

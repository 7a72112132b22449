import errno
import json
import os
import time
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import numpy as np
import pytest
import yaml

from lib import _files, _verdict_table, ledger, pages
from lib._rules import check_rule, evaluate_rule

CLAIM = {
    "id": "c-one",
    "paper": "resu",
    "place": "Eq. 1",
    "claim": "Ones are one.",
    "chapter": "01_x",
    "measured": "one",
    "rule": "value > 0.5 and abs(value - 1) <= 0.25",
}


@pytest.fixture
def book(tmp_path):
    """A book of four claims and two chapters, the second of which is never run."""
    folder = tmp_path / "book"
    folder.mkdir()
    for chapter in ("01_x", "09_y"):
        (folder / f"{chapter}.ipynb").write_text("{}")
    entries = [
        CLAIM,
        CLAIM | {"id": "c-two", "rule": None},
        CLAIM | {"id": "c-three", "needs": "an archive"},
        CLAIM | {"id": "c-later", "chapter": "09_y", "paper": "heterogeneity"},
    ]
    (folder / "claims.yml").write_text(yaml.safe_dump(entries))
    return folder


def start(book, preset="default", folder=None):
    return ledger.Run("01_x", preset, {"n": 1}, {"commit": "abc"}, folder or book / "results")


def measure(book, value, preset="default", folder=None):
    run = start(book, preset, folder)
    ledger.record("c-one", value, run, claims=book / "claims.yml")
    ledger.record("c-two", {"a": 1, "a_low": 0.5, "a_high": 2}, run, claims=book / "claims.yml")
    return ledger.save(run, claims=book / "claims.yml")


def judged(book, *folders):
    folders = folders or (book / "results",)
    rows = ledger.verdicts(folders, claims=book / "claims.yml", book=book)
    return {row.claim.id: (row.verdict, row.at_default) for row in rows}


@pytest.mark.parametrize(
    ("rule", "values", "expected"),
    [
        ("a > 1", {"a": 2}, True),
        ("a > 1", {"a": 1}, False),
        ("a >= 1 and b < 2", {"a": 1, "b": 2}, False),
        ("min(a, b) > 0", {"a": 1, "b": -1}, False),
        ("max(a, b) > 0", {"a": 1, "b": -1}, True),
        ("a < b < c", {"a": 1, "b": 3, "c": 2}, False),
        ("a >= 2 * b - 1", {"a": 3, "b": 2}, True),
        ("abs(a) / 2 <= 1e-1", {"a": -0.2}, True),
        ("a * b < 0", {"a": -1, "b": 2}, True),
        ("-a == 1", {"a": -1}, True),
    ],
)
def test_rule_compares_as_python_does(rule, values, expected):
    check_rule("c", rule)
    assert evaluate_rule("c", rule, values) is expected


@pytest.mark.parametrize(
    "rule",
    ["a >", "a", "1", "__import__('os') == 1", "a.b > 1", "a[0] > 1", "f(a) > 1", "'x' > 'y'",
     "a > 1 or b > 1", "not a > 1", "(lambda: 1)() > 0", "min() > 0", "a ** 9 > 1", "True > 0"],
)  # fmt: skip
def test_rule_that_is_no_comparison_is_refused(rule):
    with pytest.raises(ValueError, match="claim c"):
        check_rule("c", rule)


def test_rule_refuses_a_value_that_was_not_recorded():
    with pytest.raises(ValueError, match="needs a value named 'b'"):
        evaluate_rule("c", "a > b", {"a": 1})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ([CLAIM, CLAIM], "c-one stands twice"),
        ([CLAIM | {"ruel": "a > 1"}], "ruel"),
        ([{k: v for k, v in CLAIM.items() if k != "chapter"}], "chapter"),
        ([CLAIM | {"paper": "other"}], "paper must be one of"),
        ([CLAIM | {"rule": "value >"}], "claim c-one: .* does not parse"),
        ([CLAIM | {"claim": 3}], "must be text"),
        ({"c-one": CLAIM}, "list of claims"),
        ([CLAIM, "c-two"], "list of claims"),
        (None, "list of claims"),
        ([{"claim": "Ones are one."}], r"claim \(no id\)"),
    ],
)
def test_damaged_claims_are_refused(tmp_path, change, message):
    (tmp_path / "claims.yml").write_text(yaml.safe_dump(change))
    with pytest.raises(ValueError, match=message):
        ledger.load_claims(tmp_path / "claims.yml")


def test_claims_with_yaml_tags_are_not_executed(tmp_path):
    path = tmp_path / "claims.yml"
    path.write_text("- !!python/object/apply:os.mkdir ['" + str(tmp_path / "made") + "']\n")
    with pytest.raises(yaml.YAMLError):
        ledger.load_claims(path)
    assert not (tmp_path / "made").exists()


def test_every_claim_of_the_book_is_well_formed():
    claims = ledger.load_claims()
    assert {"ou-optimal", "gp-exact", "t4-psi2", "het-psnr", "cls-table", "app-hom"} <= set(claims)
    assert len(claims) == 55


def test_verdict_follows_the_recorded_value(book):
    measure(book, 1.0, "paper")
    assert judged(book)["c-one"][0] == "holds"
    measure(book, 0.6, "paper")
    assert judged(book)["c-one"][0] == "does not hold"


def test_default_scale_never_poses_as_paper_scale(book):
    measure(book, 1.0)
    assert judged(book) == {
        "c-one": ("not run at paper scale", "holds"),
        "c-two": ("reported", "reported"),
        "c-three": ("needs data", ""),
        "c-later": ("not run at paper scale", ""),
    }
    measure(book, 1.0, "custom")
    assert judged(book)["c-one"][0] == "not run at paper scale"


@pytest.mark.parametrize(
    ("read", "expected"),
    [
        ({}, "not run at paper scale"),
        ({"default": "2001"}, "not run at paper scale"),
        ({"default": "2001", "paper": "2001"}, "holds"),
        # What is newer has not been read.
        ({"paper": "2003"}, "not run at paper scale"),
    ],
)
def test_a_claim_is_at_paper_scale_if_what_it_rests_on_is(book, read, expected):
    claims = book / "claims.yml"
    entries = yaml.safe_load(claims.read_text())
    for entry in entries[:2]:
        entry["rests_on"] = "09_y"
    claims.write_text(yaml.safe_dump(entries))
    measure(book, 0.1)
    run = start(book, "paper")
    run.provenance["date"] = "2002"
    for name in ("c-one", "c-two"):
        ledger.record(name, 1.0, run, claims=claims)
    # The run's own page says it, too: of the other chapter the book has no run at all.
    told = ledger.save(run, claims=claims)
    assert [row.verdict for row in told] == ["not run at paper scale", "reported"]
    for preset, date in read.items():
        later = ledger.Run("09_y", preset, {}, {"date": date}, book / "results")
        ledger.record("c-later", 1.0, later, claims=claims)
        ledger.save(later, claims=claims)
    one, two, *_ = ledger.verdicts([book / "results"], claims=claims, book=book)
    in_part = "" if expected == "holds" else "holds"
    assert (one.verdict, one.in_part, one.at_default) == (expected, in_part, "does not hold")
    assert two.verdict == "reported"
    table = ledger.verdicts([book / "results"], claims=claims, book=book).html()
    assert ("holds, with what chapter 9 gave at default scale" in table) == (expected != "holds")
    smaller = " in a smaller run" if in_part else ""
    assert pages.outcome(one) == "holds" + smaller


def test_the_table_beside_no_text_says_what_is_measured(book):
    rows = measure(book, 1.0)
    assert ["Measured: one." in text for text in (rows.html(), rows.html("../"))] == [False, True]


def test_what_a_run_may_leave_out_is_not_missing_data(book):
    entries = yaml.safe_load((book / "claims.yml").read_text())
    entries[2] = CLAIM | {"id": "c-three", "if_run": "two seeds"}
    (book / "claims.yml").write_text(yaml.safe_dump(entries))
    measure(book, 1.0)
    assert judged(book)["c-three"] == ("not run at paper scale", "")


def test_a_smaller_run_says_that_its_verdicts_are_at_its_scale(book):
    assert read_table(measure(book, 1.0).html())[0][-1] == "Rule, at this scale"
    assert read_table(measure(book, 1.0, "paper").html())[0][-1] == "Verdict"


def test_fresh_results_replace_committed_ones(book, tmp_path):
    measure(book, 1.0)
    measure(book, 0.1, folder=tmp_path / "fresh")
    assert judged(book, book / "results", tmp_path / "fresh")["c-one"][1] == "does not hold"
    assert judged(book, tmp_path / "fresh", book / "results")["c-one"][1] == "holds"


@pytest.mark.parametrize("value", [float("nan"), float("inf"), "1", None, {"value": float("nan")}])
def test_record_refuses_what_is_not_a_finite_number(book, value):
    with pytest.raises(ValueError, match="must be finite"):
        ledger.record("c-one", value, start(book), claims=book / "claims.yml")


@pytest.mark.parametrize(
    ("claim", "message"), [("c-none", "claim must be one of"), ("c-later", "belongs to 09_y")]
)
def test_record_refuses_a_claim_of_no_or_another_chapter(book, claim, message):
    with pytest.raises(ValueError, match=message):
        ledger.record(claim, 1.0, start(book), claims=book / "claims.yml")


def test_record_refuses_values_that_the_rule_cannot_use(book):
    run = start(book)
    with pytest.raises(ValueError, match="c-one: its rule needs a value named 'value'"):
        ledger.record("c-one", {"other": 1.0}, run, claims=book / "claims.yml")
    assert run.values == {}


def test_save_refuses_an_unfinished_chapter_and_writes_nothing(book):
    run = start(book)
    ledger.record("c-one", 1.0, run, claims=book / "claims.yml")
    with pytest.raises(ValueError, match="c-two"):
        ledger.save(run, claims=book / "claims.yml")
    assert not (book / "results").exists()


def test_saved_file_says_what_made_it_and_what_it_cost(book, monkeypatch):
    """Seconds count from the start of the run, and those of earlier runs whose results it read."""
    monkeypatch.setattr(time, "monotonic", lambda: 107.26)
    monkeypatch.setattr(ledger, "high_water", lambda: 123_600_000)
    run = start(book, folder=book / "new" / "results")
    run.started, run.provenance = 100.0, {"commit": "abc", "author": "Ångström"}
    run.elsewhere = 2.0
    for claim in ("c-two", "c-one"):
        ledger.record(claim, 1.0, run, claims=book / "claims.yml")
    ledger.save(run, claims=book / "claims.yml")
    (path,) = (book / "new" / "results").iterdir()
    assert path.name == "01_x.default.json"
    assert json.loads(path.read_text(encoding="utf-8")) == {
        "chapter": "01_x",
        "preset": "default",
        "parameters": {"n": 1},
        "provenance": {"commit": "abc", "author": "Ångström"},
        "values": {"c-one": {"value": 1.0}, "c-two": {"value": 1.0}},
        "cost": {"seconds": 9.3, "peak_mb": 124},
    }
    # One number a line, always in the same order: what changed shows in a diff.
    lines = path.read_text(encoding="utf-8").splitlines()
    assert lines[1:5] == [' "chapter": "01_x",', ' "cost": {', lines[3], '  "seconds": 9.3']
    assert '  "author": "Ångström",' in lines


@pytest.mark.parametrize(("value", "verdict"), [(0.6, "does not hold"), (1.0, "holds")])
@pytest.mark.parametrize("preset", ["default", "paper", "custom"])
def test_save_returns_verdicts_at_the_scale_of_the_run(book, preset, value, verdict):
    rows = measure(book, value, preset)
    one, two = {"value": value}, {"a": 1.0, "a_low": 0.5, "a_high": 2.0}
    claims = ledger.load_claims(book / "claims.yml")
    scales = ((None, one), (None, two)) if preset == "paper" else ((one, None), (two, None))
    assert rows == [
        (claims["c-one"], *scales[0], "", verdict, ""),
        (claims["c-two"], *scales[1], "", "reported", ""),
    ]
    assert repr(rows) == f"c-one: {verdict}\nc-two: reported"


def test_arrays_are_saved_beside_the_values(book):
    run = start(book)
    run.arrays["weights"] = np.arange(6.0).reshape(2, 3)
    for claim in ("c-one", "c-two"):
        ledger.record(claim, 1.0, run, claims=book / "claims.yml")
    ledger.save(run, claims=book / "claims.yml")
    with np.load(book / "results" / "01_x.default.npz", allow_pickle=False) as arrays:
        np.testing.assert_array_equal(arrays["weights"], run.arrays["weights"])


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "r.json"
    _files.write_bytes(path, b"old")

    def fail(*_):
        raise OSError(errno.ENOSPC, "no space left on device")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="no space") as caught:
        _files.write_bytes(path, b"new")
    assert (caught.value.errno, caught.value.filename) == (errno.ENOSPC, str(path))
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["r.json"]


def test_two_writers_with_one_process_number_do_not_meet(tmp_path, monkeypatch):
    """As on machines that share a folder: one writes while the other is about to rename."""
    path, replace, renamed = tmp_path / "r.json", os.replace, []

    def late(source, target):
        renamed.append(source)
        if len(renamed) == 1:
            _files.write_bytes(path, b"other")
        replace(source, target)

    monkeypatch.setattr(os, "replace", late)
    _files.write_bytes(path, b"one")
    assert path.read_bytes() == b"one"
    assert [p.name for p in tmp_path.iterdir()] == ["r.json"]


def test_a_folder_that_takes_no_file_is_refused_and_a_good_one_left_empty(tmp_path):
    _files.check_folder(tmp_path / "new" / "folder")
    assert list((tmp_path / "new").rglob("*")) == [tmp_path / "new" / "folder"]
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match=r"file.*nothing was written|nothing was written.*file"):
        _files.check_folder(tmp_path / "file")


def test_intervals_stand_behind_their_value():
    values = {"a_b": 1.0, "a_b_low": 0.5, "a_b_high": 2.0, "dc_low_noise": 3.0, "c_low": 4.0}
    text = {"a_b": "a b 1 [0.5, 2]", "dc_low_noise": "dc low noise 3", "c_low": "c low 4"}
    assert _verdict_table._phrases(values) == text
    values = {"value": 0.51239, "value_low": 0.0}
    assert _verdict_table._phrases(values) == {"value": "0.5124"}


@pytest.mark.parametrize(
    ("rule", "n_others", "shown", "folded"),
    [
        (CLAIM["rule"], 1, "1; a 1 [0, 2]; x0 0", None),
        (CLAIM["rule"], 2, "1", "a 1 [0, 2]; x0 0; x1 1"),
        ("a_low > 0 and x1 > 0", 4, "a 1 [0, 2]; x1 1", "1; x0 0; x2 2; x3 3"),
        (None, 3, "1; a 1 [0, 2]; x0 0; x1 1; x2 2", None),
    ],
)
def test_values_that_no_rule_compares_are_folded_away(rule, n_others, shown, folded):
    values = {"value": 1.0, "a": 1.0, "a_low": 0.0, "a_high": 2.0}
    values |= {f"x{i}": float(i) for i in range(n_others)}
    claim = ledger.Claim(**CLAIM | {"rule": rule})
    row = ledger.Verdict(claim, values, None, "holds", "holds")
    _, ((_, (_, _, cell), _),) = read_table(_verdict_table.Verdicts([row]).html())
    assert cell.text == shown
    found = [
        (fold.find("summary").text, fold.find("summary").tail) for fold in cell.iter("details")
    ]
    assert found == ([(f"{len(folded.split('; '))} more", folded)] if folded else [])


def read_table(page):
    """Heads, and for each row the labels, texts and links of its cells."""
    table = ElementTree.fromstring(page.replace("<br>", "<br/>"))
    assert table.attrib == {"class": "verdicts"}
    heads = ["".join(head.itertext()) for head in table.iterfind("thead/tr/th")]
    rows = [
        [(cell.get("data-label", ""), "".join(cell.itertext()), cell) for cell in row]
        for row in table.iterfind("tbody/tr")
    ]
    assert "".join(table.itertext()) == "".join([*heads, *(t for row in rows for _, t, _ in row)])
    return heads, rows


def test_table_shows_values_verdicts_and_links_and_escapes(book):
    entries = yaml.safe_load((book / "claims.yml").read_text())
    entries[0] |= {"figure": "fig-one", "paper_value": "> 1"}
    (book / "claims.yml").write_text(yaml.safe_dump(entries))
    measure(book, 1.0)
    rows = ledger.verdicts([book / "results"], claims=book / "claims.yml", book=book)
    heads, cells = read_table(rows.html("../"))
    assert heads == ["Claim", "Paper's value", "Ours, default scale", "Verdict"]
    assert [label for label, _, _ in cells[0]] == ["", *heads[1:]]
    rule, said = CLAIM["rule"], "Ones are one.Measured: one."
    assert [[text for _, text, _ in row] for row in cells] == [
        [f"c-one ReSU, Eq. 1{said}{rule}", "> 1", "1holds", "not run at paper scale"],
        [f"c-two ReSU, Eq. 1{said}", "–", "a 1 [0.5, 2]reported", "reported"],
        [f"c-three ReSU, Eq. 1{said}{rule}", "–", "–", "needs data"],
        [
            f"c-later Kernel heterogeneity, Eq. 1{said}{rule}",
            *("–", "–", "not run at paper scale"),
        ],
    ]
    links = [[link.get("href") for link in row[0][2].iter("a")] for row in cells]
    assert links == [["../01_x.html#fig-one"], ["../01_x.html"], ["../01_x.html"], ["../09_y.html"]]
    assert cells[0][3][2].find("span").get("class") == "verdict not-run-at-paper-scale"
    # Beside the chapters, as a notebook shows it, links need no folder.
    assert 'href="01_x.html#fig-one"' in rows._repr_html_()
    inner = rows[1]._replace(claim=rows[1].claim._replace(chapter="appendix/a_x"))
    assert 'href="a_x.html"' in _verdict_table.Verdicts([inner]).html()
    assert 'href="../appendix/a_x.html"' in _verdict_table.Verdicts([inner]).html("../")


def test_table_has_a_column_for_each_scale_that_was_run(book):
    measure(book, 0.6, "paper")
    rows = ledger.verdicts([book / "results"], claims=book / "claims.yml", book=book)
    heads, cells = read_table(rows.html())
    assert heads == ["Claim", "Ours, paper scale", "Verdict"]
    assert [row[1][1] for row in cells] == ["0.6", "a 1 [0.5, 2]", "–", "–"]


def test_counts_add_up_to_the_claims(book):
    counts = ledger.verdicts([book / "results"], claims=book / "claims.yml", book=book).counts()
    assert counts["ReSU"] == {"needs data": 1, "not run at paper scale": 2}
    assert counts["Kernel heterogeneity"] == {"not run at paper scale": 1}


def test_a_claim_of_no_chapter_is_refused(book):
    (book / "09_y.ipynb").unlink()
    with pytest.raises(ValueError, match=r"claim c-later: .* must have chapter '09_y'"):
        judged(book)


def laid(folder, book, **tolerances):
    """What compare says: heading, rows as words, verdicts, and how much differs."""
    text, differing = ledger.compare(
        folder, book / "results", claims=book / "claims.yml", **tolerances
    )
    # One word each.
    lines = text.replace(ledger.NEEDS_DATA, "NEEDS").splitlines()
    assert lines[1].split() == ["claim", "value", "book", "here", "difference"]
    rows = [line.split() for line in lines[2:]]
    table = [row for row in rows if not row[0].endswith(":")]
    # Columns stand one below the other.
    assert len({line.rindex(row[-1]) for line, row in zip(lines[2:], table, strict=False)}) == 1
    return lines[0], table, [" ".join(row) for row in rows[len(table) :]], differing


def test_compare_finds_what_differs(book, tmp_path):
    measure(book, 1.0)
    measure(book, 1.0005, folder=tmp_path / "near")
    measure(book, 1.5, folder=tmp_path / "far")
    assert laid(tmp_path / "near", book)[3] == 0
    _, rows, outcomes, differing = laid(tmp_path / "far", book)
    assert differing == 1
    assert rows[0] == ["c-one", "value", "1", "1.5", "+0.5", "DIFFERS"]
    assert outcomes[0] == "c-one: holds in the book, does not hold here"
    measure(book, 1.01, "custom", folder=tmp_path / "own")
    heading, _, _, differing = laid(tmp_path / "own", book)
    assert heading == "01_x: default in the book, custom here"
    assert differing == 0
    with pytest.raises(ValueError, match="must hold results"):
        laid(tmp_path / "none", book)


def test_compare_lays_a_scale_beside_the_same_scale(book, tmp_path):
    """Of the same preset if the reference has it, whether or not it has a default run."""
    measure(book, 2000.0, "paper")
    measure(book, 2001.0, "paper", folder=tmp_path)
    first = ["c-one", "value", "2000", "2001", "+1"]
    rest = [
        ["c-two", name, value, value, "+0", "same"]
        for name, value in (("a", "1"), ("a_high", "2"), ("a_low", "0.5"))
    ]
    told = ["c-one: does not hold in the book, does not hold here"]
    told += ["c-two: reported in the book, reported here"]
    whole = "01_x: paper in the book, paper here", [[*first, "same"], *rest], told
    assert laid(tmp_path, book) == (*whole, 0)
    measure(book, 1.0)
    assert laid(tmp_path, book) == (*whole, 0)
    strict = laid(tmp_path, book, rtol=0, atol=0)
    assert strict[1:] == ([[*first, "DIFFERS"], *rest], told, 1)
    measure(book, 2003.0, "paper", folder=tmp_path)
    assert laid(tmp_path, book)[3] == 1


def test_compare_counts_what_is_missing_on_either_side(book, tmp_path):
    for folder, values in ((book / "results", {"a": 1, "b": 2}), (tmp_path, {"a": 1, "c": 3})):
        run = start(book, folder=folder)
        own = "c-one" if folder == tmp_path else "c-three"
        ledger.record(own, 1.0, run, claims=book / "claims.yml")
        ledger.record("c-two", values, run, claims=book / "claims.yml")
        path = folder / "01_x.default.json"
        _files.write_bytes(path, json.dumps({**vars(run), "folder": "", "rng": 0}).encode())
    _, rows, outcomes, differing = laid(tmp_path, book)
    assert rows == [
        ["c-one", "value", "-", "1", "-", "DIFFERS"],
        ["c-three", "value", "1", "-", "-", "DIFFERS"],
        ["c-two", "a", "1", "1", "+0", "same"],
        ["c-two", "b", "2", "-", "-", "DIFFERS"],
        ["c-two", "c", "-", "3", "-", "DIFFERS"],
    ]
    assert outcomes[0] == "c-one: not recorded in the book, holds here"
    assert differing == 4


def test_compare_does_not_count_what_needs_data_that_are_not_at_hand(book, tmp_path):
    claims = book / "claims.yml"
    entries = yaml.safe_load(claims.read_text(encoding="utf-8"))
    entries[1]["needs_for"] = {"theirs": "archive"}
    claims.write_text(yaml.safe_dump(entries), encoding="utf-8")

    def keep(folder, **values):
        run = start(book, folder=folder)
        ledger.record("c-two", values, run, claims=claims)
        path = folder / "01_x.default.json"
        _files.write_bytes(path, json.dumps({**vars(run), "folder": "", "rng": 0}).encode())

    keep(book / "results", a=1.0, ours=2.0, theirs=3.0)
    keep(tmp_path, a=1.0)
    missing = {"archive"}
    text, differing = ledger.compare(tmp_path, book / "results", missing=missing, claims=claims)
    told = [line.split("  ")[-1].strip() for line in text.splitlines()[2:-1]]
    assert told == ["same", "DIFFERS", ledger.NEEDS_DATA]
    assert differing == 1
    # With the data at hand it counts, and what is there is compared in any case.
    assert ledger.compare(tmp_path, book / "results", claims=claims)[1] == 2
    keep(tmp_path, a=1.0, ours=2.0, theirs=4.0)
    found = ledger.compare(tmp_path, book / "results", missing=missing, claims=claims)
    assert found[1] == 1


@pytest.mark.parametrize("wrong", ["published", {"published": 1}, {1: "an archive"}])
def test_what_some_values_need_is_named_in_words(book, wrong):
    (book / "claims.yml").write_text(yaml.safe_dump([CLAIM | {"needs_for": wrong}]))
    with pytest.raises(ValueError, match="claim c-one: "):
        ledger.load_claims(book / "claims.yml")


def test_results_in_the_repository_belong_to_known_claims_and_chapters():
    claims = ledger.load_claims()
    for (chapter, preset), result in ledger.load_results().items():
        assert preset in ("default", "paper"), chapter
        assert Path(ledger.ROOT / "book" / f"{chapter}.ipynb").exists()
        assert all(claims[claim].chapter == chapter for claim in result["values"])
        assert result["provenance"]["clean"] is True, f"{chapter}.{preset} from uncommitted code"

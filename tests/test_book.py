"""Chapters: parameters, presets, provenance, stored outputs, smoke reruns."""

import base64
import io
import json
import os
import re
import shlex
import shutil
import subprocess
import sys

import nbformat
import numpy as np
import pytest
from nbclient.exceptions import CellTimeoutError
from PIL import Image

from lib import _commands, book, chapters, execution, ledger, pages, provenance

CHAPTERS = chapters.chapters()
PARAMETERISED = [chapter for chapter in CHAPTERS if chapters.parameters(chapter)]
EXECUTED = [c for c in CHAPTERS if not chapters.stored_only(c)]


def code_cells(chapter):
    return [cell for cell in chapters.read(chapter).cells if cell.cell_type == "code"]


def test_there_are_chapters_with_parameters():
    assert {"01_ou", "02_gp"} <= set(PARAMETERISED)


@pytest.mark.parametrize("chapter", PARAMETERISED)
@pytest.mark.parametrize("preset", chapters.PRESETS)
def test_presets_give_exactly_the_chapters_parameters(chapter, preset):
    values = chapters.preset_values(chapter, preset)
    assert set(values) == set(chapters.parameters(chapter))
    if preset == "default":
        assert values == chapters.parameters(chapter)


@pytest.mark.parametrize("preset", chapters.PRESETS)
def test_presets_name_only_chapters_that_exist(preset):
    import yaml

    text = (chapters.BOOK / "presets" / f"{preset}.yaml").read_text()
    assert set(yaml.safe_load(text)) == set(PARAMETERISED)


@pytest.mark.parametrize("chapter", PARAMETERISED)
def test_smoke_rerun(chapter, tmp_path, record_property):
    target = execution.rerun(chapter, "smoke", {}, tmp_path)
    notebook = nbformat.read(target, as_version=4)
    injected = [c for c in notebook.cells if "injected-parameters" in c.metadata.get("tags", [])]
    assert len(injected) == 1
    assert "hide-input" in injected[0].metadata["tags"]
    result = json.loads(next(tmp_path.glob("*.smoke.json")).read_text())
    assert result["preset"] == "smoke"
    record_property("cost", result["cost"])
    assert result["cost"]["seconds"] > 0
    assert 50 < result["cost"]["peak_mb"] < 10_000
    assert result["parameters"] == chapters.preset_values(chapter, "smoke")
    claims = [claim for claim in ledger.load_claims().values() if claim.chapter == chapter]
    assert {claim.id for claim in claims if not (claim.needs or claim.if_run)} <= set(
        result["values"]
    )


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_stored_outputs_are_complete_small_and_clean(chapter):
    for cell in code_cells(chapter):
        assert cell.execution_count is not None, cell.source[:60]
        for output in cell.outputs:
            assert output.output_type != "error"
            assert output.get("name") != "stderr", output.get("text")
            data = output.get("data", {})
            assert len(data.get("image/png", "")) * 3 / 4 <= 150_000
            assert len(data.get("text/html", "")) <= 600_000
            if "image/png" in data:
                assert cell.metadata["mystnb"]["image"]["alt"]
                assert cell.metadata["mystnb"]["figure"]["caption"]
        assert str(ledger.ROOT) not in json.dumps(cell.outputs)


@pytest.mark.parametrize("chapter", EXECUTED)
def test_outputs_that_are_checked_exist(chapter):
    checked = [c for c in code_cells(chapter) if "nbval-check-output" in c.metadata.get("tags", [])]
    assert sum(any(ch.isdigit() for ch in str(cell.outputs)) for cell in checked) >= 1
    assert all(cell.outputs for cell in checked)


def test_every_claim_of_a_chapter_points_at_one_of_its_figures():
    for claim in ledger.load_claims().values():
        if claim.chapter in CHAPTERS:
            cells = code_cells(claim.chapter)
            names = [
                cell.metadata.get("mystnb", {}).get("figure", {}).get("name") for cell in cells
            ]
            assert claim.figure in names, claim.id


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_cells_are_short(chapter):
    for cell in code_cells(chapter):
        # A list of parameters is as long as it is.
        if "parameters" not in cell.metadata.get("tags", []):
            assert len(cell.source.splitlines()) <= 15, cell.source[:60]


@pytest.mark.parametrize("chapter", PARAMETERISED)
def test_a_chapter_opens_with_its_claim_and_closes_as_all_do(chapter):
    texts = [c.source for c in chapters.read(chapter).cells if c.cell_type == "markdown"]
    assert texts[0].split("\n\n")[1].startswith("**Claim.** ")
    heading = texts[-1].splitlines()[0]
    assert re.fullmatch("## What the paper(s say| says), what we found, what to try", heading)
    parts = [texts[-1].index(part) for part in ("**The paper", "**We found", "**To try:** ")]
    assert parts == sorted(parts)
    # A heading without a sentence leaves the reader alone with code.
    assert not [text for text in texts if text.splitlines()[-1].startswith("#")]


def test_every_reference_is_cited_and_has_a_doi():
    from pybtex.database import parse_file

    entries = parse_file(str(chapters.BOOK / "references.bib")).entries
    pages_of_text = [*chapters.BOOK.rglob("*.ipynb"), *chapters.BOOK.rglob("*.md")]
    text = "".join(path.read_text(encoding="utf-8") for path in pages_of_text)
    keys = ",".join(re.findall(r"{cite}`([^`]*)`", text)).split(",")
    assert set(keys) == set(entries)
    assert not [key for key, entry in entries.items() if "doi" not in entry.fields]


def test_all_notebooks_together_are_small():
    sizes = [path.stat().st_size for path in chapters.BOOK.rglob("*.ipynb")]
    assert sum(sizes) <= 10_000_000


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"n_sample": 3}, "n_samples"),
        ({"seed": 1.5}, "type int"),
        ({"seed": True}, "type int"),
        ({"noise_variance": "0.1"}, "type float"),
        ({"seed": None}, "type int"),
    ],
)
def test_unknown_names_and_wrong_types_are_refused_with_what_exists(values, message):
    with pytest.raises(ValueError, match=message):
        chapters.check_parameters("01_ou", values)


def test_whole_numbers_are_fine_for_floats():
    values = chapters.check_parameters("01_ou", {"noise_variance": 1})
    assert values == {"noise_variance": 1.0}
    assert type(values["noise_variance"]) is float


def test_text_is_read_as_the_parameters_type():
    values = chapters.parse_parameters("01_ou", {"noise_variance": "1e-3", "seed": "7"})
    assert values == {"noise_variance": 1e-3, "seed": 7}
    with pytest.raises(ValueError, match="type int"):
        chapters.parse_parameters("01_ou", {"seed": "7.5"})


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["rerun", "99_x", "--out", "o"], "chapter must be one of"),
        (["rerun", "01_ou", "--preset", "papr", "--out", "o"], "preset must be one of"),
        (["rerun", "01_ou", "-p", "n_sampels", "3", "--out", "o"], "got 'n_sampels'"),
        (["compare", "nowhere"], "must hold results"),
    ],
)
def test_command_line_refuses_before_it_starts(arguments, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert _commands.main(arguments) == 2
    assert message in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_relative_paths_are_meant_from_where_the_command_is_given(tmp_path, monkeypatch):
    (tmp_path / "mine").mkdir()
    monkeypatch.chdir(tmp_path)
    seen = []
    monkeypatch.setattr(execution, "rerun", lambda *arguments: seen.append(arguments) or "done")
    assert _commands.main(["rerun", "03_lamina", "-p", "source", "./mine", "--out", "o"]) == 0
    assert _commands.main(["rerun", "03_lamina", "-p", "source", "bundled", "--out", "o"]) == 0
    assert [values["source"] for _, _, values, _ in seen] == [str(tmp_path / "mine"), "bundled"]
    # A preset's own folder, which a sweep names and earlier jobs have made, leaves it that preset.
    own = chapters.preset_values("10_resnet", "smoke")["folder"]
    (tmp_path / own).mkdir(parents=True)
    command = ["rerun", "10_resnet", "--preset", "smoke", "-p", "folder", own, "--out", "o"]
    assert _commands.main(command) == 0
    assert seen[-1][2] == {"folder": own}


def test_a_changed_preset_is_custom():
    values = chapters.preset_values("01_ou", "paper")
    assert chapters.preset_name("01_ou", "paper", values) == "paper"
    assert chapters.preset_name("01_ou", "paper", values | {"n_samples": 50}) == "custom"


def test_begin_checks_and_shows_the_badge(monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("BOOK_RESULTS", str(tmp_path))
    values = chapters.preset_values("01_ou", "default")
    run = book.begin("01_ou", preset="default", **values)
    assert (run.preset, run.parameters, run.folder) == ("default", values, tmp_path)
    assert book.begin("01_ou", preset="paper", **values | {"seed": 5}).preset == "custom"
    with pytest.raises(ValueError, match="misses"):
        book.begin("01_ou", seed=1)
    with pytest.raises(ValueError, match="got 'sed'"):
        book.begin("01_ou", sed=1)


def test_badge_escapes_and_says_whether_the_code_was_committed():
    made = provenance.collect({"set": "<1>"}) | {"clean": False}
    text = provenance.badge("01_ou", "paper", {"n": 3}, made)
    assert "uncommitted changes" in text
    assert "&lt;1&gt;" in text
    assert "n 3" in text
    assert made["commit"][:12] in text


def test_commit_is_the_checkouts(tmp_path):
    commit = subprocess.run(
        ["git", "-C", str(ledger.ROOT), "rev-parse", "HEAD"], capture_output=True, text=True
    ).stdout.strip()
    assert provenance.collect()["commit"] == (commit or "unknown")


def test_dependencies_follow_imports():
    names = {path.name for path in chapters.dependencies("01_ou")}
    assert {"cca.py", "lags.py", "_checks.py", "processes.py", "ledger.py", "_rules.py"} <= names
    assert "datasets.py" not in names
    assert not {"_commands.py", "pages.py", "printing.py"} & names
    assert {path.name for path in chapters.dependencies("appendix/e_data")} >= {"_sources.py"}


@pytest.fixture
def small_book(tmp_path, monkeypatch):
    """A book of two chapters on disk: one prints, one reads all results."""
    folder = tmp_path / "book"
    (folder / "presets").mkdir(parents=True)
    (folder / "results").mkdir()
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib" / "number.py").write_text("NUMBER = 1\n")
    for name in ("requirements.txt", "book/claims.yml"):
        (tmp_path / name).write_text("")
    for preset in chapters.PRESETS:
        (folder / "presets" / f"{preset}.yaml").write_text("{}")
    for name, source, reads in (
        ("01_a", "from lib.number import NUMBER", False),
        ("02_b", "2", True),
    ):
        cell = nbformat.v4.new_code_cell(source if reads else f"if 0:\n    {source}\nprint(1)")
        notebook = nbformat.v4.new_notebook(cells=[cell])
        notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3"}
        notebook.metadata["book"] = {"reads_results": reads}
        nbformat.write(notebook, folder / f"{name}.ipynb")
    for name, path in (("ROOT", tmp_path), ("BOOK", folder), ("BUILD", tmp_path / "_build")):
        monkeypatch.setattr(chapters, name, path)
    return tmp_path


def test_execute_runs_what_changed_and_nothing_else(small_book):
    assert execution.execute() == ["01_a", "02_b"]
    assert execution.execute() == []
    (small_book / "lib" / "number.py").write_text("NUMBER = 2\n")
    assert execution.execute() == ["01_a"]
    (small_book / "_build" / "results" / "new.json").write_text("{}")
    assert execution.execute() == ["02_b"]
    notebook = nbformat.read(small_book / "book" / "01_a.ipynb", as_version=4)
    notebook.cells[0].source += "\nprint(3)"
    nbformat.write(notebook, small_book / "book" / "01_a.ipynb")
    assert execution.execute() == ["01_a"]


def test_executed_outputs_are_where_the_renderer_looks(small_book):
    from jupyter_cache import get_cache

    execution.execute()
    cache = get_cache(small_book / "_build" / ".jupyter_cache")
    _, merged = cache.merge_match_into_notebook(chapters.read("01_a"))
    assert merged.cells[0].outputs[0].text == "1\n"
    assert chapters.read("01_a").cells[0].outputs == []


@pytest.mark.parametrize("damage", ["database", "notebook", "key", "no folder"])
def test_a_damaged_cache_is_made_anew(small_book, damage):
    assert execution.execute() == ["01_a", "02_b"]
    cache = small_book / "_build" / ".jupyter_cache"
    if damage == "database":
        (cache / "global.db").write_bytes(b"not a database" * 99)
    elif damage == "no folder":
        shutil.rmtree(cache)
        cache.write_text("a file in its place")
    else:
        name = "keys/*" if damage == "key" else ".jupyter_cache/executed/*/base.ipynb"
        for path in (small_book / "_build").glob(name):
            path.write_bytes(path.read_bytes()[:20])
    assert execution.execute() == ["01_a", "02_b"]
    test_executed_outputs_are_where_the_renderer_looks(small_book)
    assert execution.execute() == []


def test_a_failing_chapter_takes_no_other_with_it(small_book):
    notebook = chapters.read("02_b")
    notebook.metadata["book"]["reads_results"] = False
    notebook.cells[0].source = "1 / 0"
    nbformat.write(notebook, small_book / "book" / "02_b.ipynb")
    with pytest.raises(Exception, match="ZeroDivisionError") as raised:
        execution.execute()
    assert raised.value.__notes__ == ["This happened in 02_b."]
    notebook.cells[0].source = "2"
    nbformat.write(notebook, small_book / "book" / "02_b.ipynb")
    assert execution.execute() == ["02_b"]


def test_stored_pictures_are_sharp_small_and_shown_at_their_size(small_book):
    notebook = chapters.read("01_a")
    notebook.cells[0].source = (
        "import matplotlib.pyplot as plt\nfrom lib import plotting\nplotting.use_style()\n"
        "plt.figure(figsize=(4, 2))\nplt.imshow([[1, 2], [3, 4]], cmap='viridis')\nplt.show()"
    )
    notebook.cells[0].metadata["mystnb"] = {"figure": {"name": "fig-a"}, "image": {"alt": "a"}}
    nbformat.write(notebook, small_book / "book" / "01_a.ipynb")
    execution.refresh(["01_a"])
    (cell,) = chapters.read("01_a").cells
    data = next(o.data for o in cell.outputs if "data" in o and "image/png" in o.data)
    picture = Image.open(io.BytesIO(base64.b64decode(data["image/png"])))
    assert picture.mode == "P"
    assert picture.info["dpi"][0] == pytest.approx(200, abs=0.1)
    shown = cell.metadata["mystnb"]["image"]
    assert shown["alt"] == "a"
    assert int(shown["width"].removesuffix("px")) == pytest.approx(picture.width / 2, abs=0.6)
    # The four colours are those that were drawn.
    drawn = np.array([(68, 1, 84), (49, 104, 142), (53, 183, 121), (253, 231, 37)])
    found = np.array([c for _, c in picture.convert("RGB").getcolors(1 << 20)])
    assert np.abs(drawn[:, None] - found).sum(axis=2).min(axis=1).max() <= 6


def test_refresh_stores_outputs_in_place(small_book):
    assert execution.refresh() == ["01_a", "02_b"]
    assert chapters.read("01_a").cells[0].outputs[0].text == "1\n"


def test_refresh_refuses_what_would_use_results_of_before(small_book):
    notebook = chapters.read("02_b")
    notebook.metadata["book"]["uses"] = ["01_a"]
    nbformat.write(notebook, small_book / "book" / "02_b.ipynb")
    with pytest.raises(ValueError, match=r"both 01_a and 02_b"):
        execution.refresh(["02_b", "01_a"])
    assert not chapters.read("01_a").cells[0].outputs
    assert execution.refresh(["02_b"]) == ["02_b"]


def test_only_stored_chapters_may_take_long(small_book, monkeypatch):
    monkeypatch.setattr(execution, "_CELL_TIMEOUT_S", 1)
    notebook = chapters.read("01_a")
    notebook.cells[0].source = "import time\n\ntime.sleep(2)\nprint(2)"
    nbformat.write(notebook, small_book / "book" / "01_a.ipynb")
    with pytest.raises(CellTimeoutError):
        execution.refresh(["01_a"])
    notebook.metadata["mystnb"] = {"execution_mode": "off"}
    nbformat.write(notebook, small_book / "book" / "01_a.ipynb")
    execution.refresh(["01_a"])
    assert chapters.read("01_a").cells[0].outputs[0].text == "2\n"


def test_chapters_that_read_learned_dictionaries_say_so():
    using = [name for name in chapters.chapters() if chapters.options(name).get("uses")]
    reading = [
        name
        for name in chapters.chapters()
        if any("learned_dictionaries()" in cell.source for cell in chapters.read(name).cells)
    ]
    assert using == reading


def test_locale_and_working_directory_do_not_matter(tmp_path):
    code = "from lib import chapters; print(chapters.preset_values('01_ou', 'default')['memory'])"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env=os.environ | {"LC_ALL": "C", "TZ": "Asia/Kathmandu"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "25"


def test_list_shows_every_parameter_with_its_type_and_presets(capsys):
    assert _commands.main(["list"]) == 0
    text = capsys.readouterr().out
    for chapter in CHAPTERS:
        assert f"{chapter}: " in text
        for name, value in chapters.parameters(chapter).items():
            line = next(li for li in _commands.describe(chapter).splitlines() if f" {name} " in li)
            assert line.split()[1] == type(value).__name__
            assert line.endswith(f" {chapters.preset_values(chapter, 'paper')[name]!r}")
            assert line.rstrip() in text


def test_list_of_an_unknown_chapter_is_refused(capsys):
    assert _commands.main(["list", "99_x"]) == 2
    assert "chapter must be one of" in capsys.readouterr().err


def test_what_a_page_says_of_rerunning_is_what_the_command_line_takes(tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(execution, "rerun", lambda *arguments: seen.append(arguments) or "done")
    for chapter in PARAMETERISED:
        lines = pages.rerun(chapter).splitlines()
        line = next(line for line in lines if line.startswith(".venv/bin/python -m lib.book rerun"))
        assert _commands.main(shlex.split(line)[3:]) == 0
        name, preset, values, _ = seen[-1]
        assert (name, preset) == (chapter, "default")
        assert values.keys() <= chapters.parameters(chapter).keys()
        assert values != {key: chapters.parameters(chapter)[key] for key in values}


@pytest.mark.parametrize(
    ("remote", "expected"),
    [("https://github.com/a/b.git", "a/b"), ("git@github.com:a/b", "a/b"), ("/disk/b", None)],
)
def test_buttons_lead_to_the_checkouts_home(remote, expected, monkeypatch):
    monkeypatch.delenv("BOOK_REPOSITORY", raising=False)
    done = subprocess.CompletedProcess([], 0, stdout=remote + "\n")
    monkeypatch.setattr(pages.subprocess, "run", lambda *_, **__: done)
    assert pages.repository() == expected
    text = pages.rerun("01_ou")
    assert ("mybinder.org/v2/gh/a/b/" in text) == (expected is not None)
    assert ("blob/gh-pages/colab/01_ou.ipynb" in text) == (expected is not None)


def test_a_smaller_run_is_not_counted_as_the_papers():
    claim = next(iter(ledger.load_claims().values()))
    small = ledger.Verdict(claim, {"value": 1.0}, None, ledger.HOLDS, ledger.NOT_AT_SCALE)
    assert pages.outcome(small) == "holds in a smaller run"
    assert pages.outcome(small._replace(verdict=ledger.FAILS)) == ledger.FAILS


def test_the_table_of_chapters_marks_smaller_runs(tmp_path):
    rows = [("01_ou", "?", "none"), ("10_resnet", "?", "none")]
    table = pages.table(rows, [ledger.RESULTS])
    held = re.findall(r'data-label="Claims that hold">([^<]*)<', table)
    ou, resnet = (
        [v for v in ledger.verdicts([ledger.RESULTS]) if v.claim.chapter == chapter]
        for chapter, _, _ in rows
    )
    judged = [row for row in ou if row.claim.rule]
    assert held[0] == f"{sum(row.verdict == ledger.HOLDS for row in judged)} of {len(judged)}"
    smaller = any(row.verdict == ledger.NOT_AT_SCALE for row in resnet)
    assert held[1].endswith(", in a smaller run") == smaller


def test_the_summary_counts_every_claim_once():
    text = pages.summary([ledger.RESULTS])
    counts = [int(number) for number in re.findall(r"</span>(\d+) ", text)]
    assert sum(counts) == len(ledger.load_claims())


def test_a_script_of_a_chapter_is_its_code():
    text = chapters.script("01_ou")
    compile(text, "01_ou.py", "exec")
    assert all(cell.source.splitlines()[-1] in text for cell in code_cells("01_ou"))


def test_a_chapter_runs_as_in_colab(tmp_path):
    """From an empty folder, with nothing of the book on the path, the first cell fetches it all."""
    from nbclient import NotebookClient

    if not (ledger.ROOT / ".git").exists():
        pytest.skip("the book is not a git checkout, so it cannot be cloned")
    notebook = chapters.for_colab("01_ou", str(ledger.ROOT))
    for cell in notebook.cells:
        if "parameters" in cell.metadata.get("tags", []):
            values = chapters.preset_values("01_ou", "smoke") | {"preset": "smoke"}
            cell.source = "\n".join(f"{name} = {value!r}" for name, value in values.items())
    notebook.cells.append(nbformat.v4.new_code_cell("import lib; print(lib.__file__)"))
    NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(tmp_path)}}).execute()
    assert notebook.cells[-1].outputs[0].text.strip() == f"{tmp_path}/the-book/lib/__init__.py"
    assert (tmp_path / "the-book" / "_build" / "results" / "01_ou.smoke.json").exists()


@pytest.mark.parametrize("lie", [False, True])
def test_a_stored_output_that_lies_is_caught(tmp_path, lie):
    """With the flags of `make test`, on a copy of a chapter whose number was changed by hand."""
    flags = re.search(r"--nbval-lax.*?(?= \$)", (ledger.ROOT / "Makefile").read_text()).group()
    text = (chapters.BOOK / "appendix" / "d_verdicts.ipynb").read_text(encoding="utf-8")
    planted = re.sub(r"\d+ claims:", "1234 claims:", text) if lie else text
    assert (planted != text) == lie
    (tmp_path / "d_verdicts.ipynb").write_text(planted, encoding="utf-8")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *flags.split()]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert done.returncode == lie, done.stdout
    assert ("1234 claims" in done.stdout) == lie


@pytest.mark.parametrize(
    "text", ["- 1", "01_ou: [", "01_ou: !!python/object/apply:os.mkdir ['{folder}/made']"]
)
def test_presets_from_strangers_are_refused_and_run_nothing(tmp_path, monkeypatch, text):
    shutil.copytree(chapters.BOOK / "presets", tmp_path / "presets")
    shutil.copy(chapters.BOOK / "01_ou.ipynb", tmp_path)
    (tmp_path / "presets" / "smoke.yaml").write_text(text.replace("{folder}", str(tmp_path)))
    monkeypatch.setattr(chapters, "BOOK", tmp_path)
    with pytest.raises(ValueError, match=r"smoke\.yaml must hold chapters"):
        chapters.preset_values("01_ou", "smoke")
    assert not (tmp_path / "made").exists()

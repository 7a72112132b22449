"""Recorded responses: the table is checked, resampled without bias, and compared as planted.

All tables here are generated: none holds a measured value.
"""

import csv
import hashlib
import json

import nbformat
import numpy as np
import pytest

from lib import chapters, datasets, execution, ledger, recordings, scenes
from lib.recordings import LaminaRecordings, lamina_recordings, match_cells, resampled
from lib.resu import L1, L2, L3, ReSULayer

HEADER = ["time_s", "luminance", "L1", "L2", "L3"]


def rows(n=200):
    """A table's columns: uneven times, a staircase of luminance, and what filters make of it."""
    rng = np.random.default_rng(0)
    time = 0.02 * np.arange(n) + 0.005 * rng.random(n)
    luminance = 1.0 + np.arange(n) // 50
    change = np.diff(np.log(luminance), prepend=0.0)
    return np.stack(
        [time, luminance, -np.maximum(change, 0), np.maximum(-change, 0) + time, -luminance], axis=1
    )


def write(path, values, header=HEADER):
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(header)
        # Text stands as it is.
        writer.writerows([[v if isinstance(v, str) else repr(float(v)) for v in r] for r in values])
    return path


# --- reading


def test_a_table_is_read_as_it_is(tmp_path):
    values = rows()
    order = [3, 0, 2, 4, 1]  # columns go by their names
    path = write(tmp_path / "lamina.csv", values[:, order], [HEADER[i] for i in order])
    found = lamina_recordings(str(path))
    np.testing.assert_array_equal(found.time, values[:, 0])
    np.testing.assert_array_equal(found.luminance, values[:, 1])
    assert list(found.responses) == ["L1", "L2", "L3"]
    for i, cell in enumerate(found.responses, 2):
        np.testing.assert_array_equal(found.responses[cell], values[:, i])
    assert found.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


def test_what_spreadsheets_add_does_not_matter(tmp_path):
    text = write(tmp_path / "plain.csv", rows()).read_text()
    path = tmp_path / "exported.csv"
    path.write_text("\ufeff" + text.replace(",", ", ").replace("\n", "\r\n"), newline="")
    np.testing.assert_array_equal(lamina_recordings(path).luminance, rows()[:, 1])


def test_the_table_is_found_in_any_folder_of_lib_data(tmp_path, monkeypatch):
    (tmp_path / "empty" / "ketkar2022").mkdir(parents=True)
    write(tmp_path / "full" / "ketkar2022" / "lamina.csv", rows())
    monkeypatch.setenv("LIB_DATA", f"{tmp_path / 'empty'}:{tmp_path / 'full'}")
    np.testing.assert_array_equal(lamina_recordings().time, rows()[:, 0])
    monkeypatch.setenv("LIB_DATA", str(tmp_path / "empty"))
    with pytest.raises(datasets.DataUnavailable) as error:
        lamina_recordings()
    for said in (
        "ketkar2022/lamina.csv",
        "zenodo.6335347",
        "time_s,luminance,L1,L2,L3",
        "LIB_DATA",
    ):
        assert said in str(error.value)


def changed(line, column, value):
    values = rows().tolist()
    values[line - 2][HEADER.index(column)] = value
    return values


@pytest.mark.parametrize(
    ("values", "header", "message"),
    [
        (rows()[:, :4], HEADER[:4], r"must have the columns .* lacks \['L3'\]"),
        (rows()[:, 1:], HEADER[1:], r"lacks \['time_s'\]"),
        (np.hstack([rows(), rows()[:, :1]]), [*HEADER, "L4"], "got .*L4"),
        (rows(), [*HEADER[:4], "L1"], r"lacks \['L3'\]"),
        (rows(99), HEADER, "at least 100 samples, got 99"),
        (changed(7, "L2", "nan"), HEADER, "column L2 .* finite numbers, got 'nan' in line 7"),
        (changed(7, "L1", ""), HEADER, "column L1 .* finite numbers, got '' in line 7"),
        (changed(150, "L3", "inf"), HEADER, "column L3 .* got 'inf' in line 150"),
        (changed(9, "luminance", "high"), HEADER, "column luminance .* got 'high' in line 9"),
        (changed(9, "luminance", 0.0), HEADER, "column luminance .* > 0, got 0 in line 9"),
        (changed(9, "time_s", 0.11), HEADER, "column time_s .* increase, got 0.11 after .* line 9"),
        ([*rows().tolist(), [9.0, 1.0]], HEADER, r"line 202 .* must have 5 values, got \['9.0'"),
        ([*rows().tolist(), []], HEADER, "line 202 .* must have 5 values"),
        (rows() * [1, 1, 0, 1, 1], HEADER, "column L1 .* must vary, got -?0 all over"),
    ],
)
def test_a_wrong_table_is_refused_and_what_is_wrong_is_named(tmp_path, values, header, message):
    path = write(tmp_path / "lamina.csv", values, header)
    with pytest.raises(ValueError, match=message):
        lamina_recordings(path)


@pytest.mark.parametrize("content", [b"", b"\xff\xfe\x00", b"PK\x03\x04\x00binary"])
def test_what_is_no_table_is_refused(tmp_path, content):
    path = tmp_path / "lamina.csv"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"lamina\.csv must"):
        lamina_recordings(path)


@pytest.mark.parametrize("source", ["nowhere.csv", "bsds500", "", "."])
def test_another_source_is_refused(source):
    with pytest.raises(ValueError, match=r"source must be ('ketkar2022'|a name or a path)"):
        lamina_recordings(source)


# --- resampling


def planted(time, luminance):
    responses = {"L1": 2 - luminance, "L2": luminance**2, "L3": np.sin(time)}
    return LaminaRecordings(time, luminance, responses, "sha")


@pytest.mark.parametrize("time_step", [0.013, 0.05, 0.31])
def test_means_of_straight_lines(time_step):
    """Against a Riemann sum of the straight lines, thousands of points in a step."""
    rng = np.random.default_rng(1)
    time = 3 + np.cumsum(rng.uniform(0.01, 0.2, 120))
    given = planted(time, rng.random(120) + 1)
    found = resampled(given, time_step)
    n = int((time[-1] - time[0]) / time_step)
    np.testing.assert_allclose(found.time, time[0] + time_step * (np.arange(n) + 0.5))
    within = (np.arange(4000) + 0.5) / 4000 * time_step
    fine = time[0] + time_step * np.arange(n)[:, None] + within
    pairs = [(given.luminance, found.luminance)]
    pairs += [(given.responses[cell], found.responses[cell]) for cell in recordings.CELLS]
    for values, means in pairs:
        np.testing.assert_allclose(means, np.interp(fine, time, values).mean(axis=1), atol=1e-5)


def test_an_even_recording_of_a_line_keeps_it():
    time = np.arange(0, 10, 0.1)
    for time_step in (0.1, 0.05, 0.3):
        found = resampled(planted(time, 2 + 3 * time), time_step)
        np.testing.assert_allclose(found.luminance, 2 + 3 * found.time, rtol=1e-12)
        assert len(found.time) == round(9.9 / time_step)
        assert found.sha256 == "sha"
    # In floating point 0.7 s hold only 6.999... steps of 0.1 s.
    time = np.linspace(0, 0.7, 20)
    assert len(resampled(planted(time, time + 1), 0.1).time) == 7


@pytest.mark.parametrize("time_step", [0, -1, np.nan, "1", 5.1])
def test_resampling_refuses(time_step):
    with pytest.raises(ValueError, match="time_step must be"):
        resampled(planted(np.linspace(0, 10, 50), np.linspace(1, 2, 50)), time_step)


# --- comparing


def with_correlation(trace, r, rng):
    """A trace whose correlation with another is r, up to rounding."""
    trace = (trace - trace.mean()) / trace.std()
    noise = rng.standard_normal(len(trace))
    noise -= noise.mean() + trace * (noise @ trace) / len(trace)
    return r * trace + np.sqrt(1 - r * r) * noise / noise.std()


def test_correlations_come_out_as_planted_with_the_cells_polarity():
    rng = np.random.default_rng(2)
    model = {cell: rng.standard_normal(300).cumsum() for cell in ("L3", "L1", "L2")}
    wanted = {"L1": 0.8, "L2": -0.35, "L3": 0.999}
    # L1 and L3 hyperpolarise to light, for which the model's are positive.
    sign = {"L1": -4.0, "L2": 0.1, "L3": -1.0}
    recorded = {
        cell: 7 + sign[cell] * with_correlation(model[cell], wanted[cell], rng) for cell in wanted
    }
    matches = match_cells(model, recorded)
    assert list(matches) == ["L1", "L2", "L3"]
    for cell, match in matches.items():
        assert match.correlation == pytest.approx(wanted[cell], abs=1e-12)
        assert np.corrcoef(match.model, match.recorded)[0, 1] == pytest.approx(match.correlation)
        for trace in match[:2]:
            assert (trace.mean(), trace.std()) == pytest.approx((0, 1), abs=1e-12)
        assert np.corrcoef(match.model, model[cell])[0, 1] == pytest.approx(1)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"L2": None}, "misses L2"),
        ({"L1": np.ones(9)}, r"model L1 must have shape \(20\), got \(9,\)"),
        ({"L3": np.ones(20)}, "model and recorded L3 must vary"),
        ({"L3": np.full(20, np.nan)}, "model L3 must be finite"),
    ],
)
def test_comparing_refuses(change, message):
    good = {cell: np.arange(20.0) for cell in recordings.CELLS}
    model = {cell: x for cell, x in (good | change).items() if x is not None}
    with pytest.raises(ValueError, match=message):
        match_cells(model, good)


# --- the chapter


def test_the_chapter_measures_the_claim_where_the_table_is_present(tmp_path, monkeypatch):
    """Plant correlations with the cells that the smoke run learns, through the table."""
    values = chapters.preset_values("03_lamina", "smoke")
    rng = np.random.default_rng(values["seed"])
    scans = [
        series
        for image in datasets.photographs(values["source"], n=values["n_photographs"])
        for series in scenes.scan(
            scenes.local_contrast(image, 1 / 2.575), values["n_rows"], True, values["noise"], rng
        )
    ]
    layer = ReSULayer(values["memory"], values["horizon"], [L1, L2, L3]).fit(scans)
    # Samples at the ends and in the middle of each step of 10 ms: a step's mean is that of the
    # four, the middle counted twice.
    n = 900
    time = 0.005 * np.arange(2 * n + 1)
    luminance = 1.5 + np.abs(np.arange(2 * n + 1) // 300 - 3.0)
    steps = (luminance[:-2:2] + 2 * luminance[1::2] + luminance[2::2]) / 4
    wanted = {"L1": 0.9, "L2": 0.6, "L3": 0.75}
    table = np.zeros((2 * n + 1, 5))
    table[:, 0], table[:, 1] = time, luminance
    responses = layer.transform(np.log(steps)).T
    for i, (cell, trace) in enumerate(zip(wanted, responses, strict=True)):
        answer = with_correlation(trace, wanted[cell], rng)
        table[2 * values["memory"] - 1 :: 2, 2 + i] = 2 * recordings.POLARITY[cell] * answer
    path = write(tmp_path / "data" / "ketkar2022" / "lamina.csv", table)
    monkeypatch.setenv("LIB_DATA", str(tmp_path / "data"))

    notebook = nbformat.read(execution.rerun("03_lamina", "smoke", {}, tmp_path), as_version=4)
    result = json.loads((tmp_path / "03_lamina.smoke.json").read_text())
    found = result["values"]["lamina-cells"]
    assert found == pytest.approx({cell.lower(): r for cell, r in wanted.items()}, abs=1e-6)
    claim = ledger.load_claims()["lamina-cells"]
    assert ledger.judge(claim, found) == ledger.HOLDS
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    assert result["provenance"]["data"]["ketkar2022"] == digest
    (figure,) = [
        cell
        for cell in notebook.cells
        if cell.metadata.get("mystnb", {}).get("figure", {}).get("name") == "fig-lamina-cells"
    ]
    assert sum("image/png" in output.get("data", {}) for output in figure.outputs) == 1

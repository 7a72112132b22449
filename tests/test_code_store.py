"""The store of codes: what it keeps, what it notices, what it makes again."""

import os

import numpy as np
import pytest
import torch

from lib import code_store
from lib.code_store import CodeStore, DamagedChunk, SparseCodes

MAPS = (5, 12, 10)


def _codes(n=7, density=0.02, seed=0):
    rng = np.random.default_rng(seed)
    dense = rng.standard_normal((n, *MAPS)) * (rng.random((n, *MAPS)) < density)
    # An empty code, and its neighbours with long gaps, are what the gaps could get wrong.
    dense[2] = 0
    return torch.from_numpy(dense.astype(np.float16).astype(np.float32))


def _store(folder, codes, settings=None, chunk=3):
    return CodeStore(folder, settings or {"lmbda": 0.1}, len(codes), MAPS, chunk)


@pytest.mark.parametrize("density", [0.001, 0.02, 1])
@pytest.mark.parametrize("sparse", [False, True])
def test_codes_come_back(tmp_path, density, sparse):
    codes = _codes(density=density)
    store = _store(tmp_path, codes)
    assert store.fill(lambda r: codes[r].to_sparse() if sparse else codes[r]) == [0, 1, 2]
    loaded = store.load()
    assert len(loaded) == 7
    for rows in ([0, 1, 2, 3, 4, 5, 6], [6, 2, 2, 0], []):
        torch.testing.assert_close(loaded.dense(rows), codes[rows], rtol=0, atol=0)


def test_arrays_that_torch_does_not_take_are_copied():
    starts, positions, values = np.array([0, 2]), np.array([7, 3]), np.array([1.5, 2.0])
    positions.flags.writeable = False
    codes = code_store.SparseCodes(starts, positions[::-1], values[::-1].astype(">f2"), (1, 2, 4))
    assert codes.nbytes == 2 * (4 + 2)
    assert codes.dense([0]).flatten().tolist() == [0, 0, 0, 2, 0, 0, 0, 1.5]


def test_scaled_codes_are_the_codes_times_a_number(tmp_path):
    codes = _codes()
    store = _store(tmp_path, codes)
    store.fill(lambda r: codes[r])
    loaded = store.load()
    expected = (codes.double() * 5.7).half().float()
    torch.testing.assert_close(loaded.scaled(5.7).dense(range(7)), expected, rtol=0, atol=0)
    torch.testing.assert_close(loaded.dense(range(7)), codes, rtol=0, atol=0)
    for factor, message in ((0, "factor must be a finite number > 0"), (1e6, "half precision")):
        with pytest.raises(ValueError, match=message):
            loaded.scaled(factor)


@pytest.mark.parametrize("gap", [0, 1, 254, 255, 256, 510, 511, 10**6])
def test_gaps_at_their_limits(gap):
    positions = np.array([gap, gap + 1, 2 * gap + 2])
    np.testing.assert_array_equal(code_store._positions(code_store._gaps(positions)), positions)


@pytest.mark.parametrize("damage", ["flip", "cut", "empty", "other", "remove"])
def test_damaged_chunk_is_noticed_and_remade(tmp_path, damage):
    codes = _codes()
    store = _store(tmp_path, codes)
    store.fill(lambda rows: codes[rows])
    path = store.path(1)
    data = bytearray(path.read_bytes())
    data[-20] ^= 1
    if damage == "remove":
        path.unlink()
    else:
        path.write_bytes(
            {"flip": data, "cut": data[:-5], "empty": b"", "other": store.path(0).read_bytes()}[
                damage
            ]
        )
    with pytest.raises(DamagedChunk, match="000001"):
        store.load()
    asked = []
    assert store.fill(lambda rows: (asked.append(rows), codes[rows])[1]) == [1]
    assert asked == [slice(3, 6)]
    torch.testing.assert_close(store.load().dense(range(7)), codes, rtol=0, atol=0)


def test_killed_write_leaves_no_half_file(tmp_path, monkeypatch):
    codes = _codes()
    store = _store(tmp_path, codes)

    def killed(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        store.fill(lambda rows: (patch.setattr(os, "replace", killed), codes[rows])[1])
    assert [p.name for p in store.folder.iterdir()] == ["manifest.json"]
    assert store.fill(lambda rows: codes[rows]) == [0, 1, 2]


def test_killed_run_keeps_what_it_made(tmp_path):
    codes = _codes()
    store = _store(tmp_path, codes)

    def make(rows):
        if rows.start == 6:
            raise KeyboardInterrupt
        return codes[rows]

    with pytest.raises(KeyboardInterrupt):
        store.fill(make)
    assert store.fill(lambda rows: codes[rows]) == [2]


def test_other_settings_make_other_chunks(tmp_path):
    codes = _codes()
    stores = [_store(tmp_path, codes, {"lmbda": lmbda}) for lmbda in (0.1, 0.2)]
    assert [store.fill(lambda r: codes[r]) for store in stores] == [[0, 1, 2]] * 2
    assert _store(tmp_path, codes).fill(None) == []


def test_refuses(tmp_path):
    codes = _codes()
    store = _store(tmp_path, codes)
    with pytest.raises(ValueError, match="codes must have shape"):
        store.fill(lambda rows: codes)
    with pytest.raises(ValueError, match="half precision"):
        store.fill(lambda rows: codes[rows] + 1e6)
    with pytest.raises(ValueError, match="codes must be finite"):
        store.fill(lambda rows: codes[rows] * np.nan)
    with pytest.raises(ValueError, match="settings must be"):
        _store(tmp_path, codes, {"atoms": np.ones(3)})
    with pytest.raises(ValueError, match="maps must be"):
        CodeStore(tmp_path, {}, 3, (2**11, 2**10, 2**10))


def test_largest_of_codes_with_and_without_coefficients():
    codes = SparseCodes(
        np.array([0, 0, 2, 3, 3]),
        np.array([0, 1, 2]),
        np.array([0.5, -2.0, -1.0], dtype=np.float16),
        (1, 2, 2),
    )
    assert codes.largest().tolist() == [0, 2, 1, 0]
    assert codes.largest(signed=True).tolist() == [0, 0.5, 0, 0]
    none = SparseCodes(np.zeros(3, int), np.zeros(0, int), np.zeros(0, np.float16), (1, 2, 2))
    assert none.largest().tolist() == [0, 0]


def test_what_is_complete_is_not_written_to(tmp_path):
    codes = _codes()
    store = _store(tmp_path, codes)
    store.fill(lambda rows: codes[rows])
    times = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    assert store.fill(None) == []
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == times


@pytest.mark.parametrize("positions", [[1, 1, 0], [3, 1, 0]])
def test_positions_ascend_within_an_image(positions):
    values = np.ones(3, np.float16)
    with pytest.raises(ValueError, match=r"^positions must ascend within each image"):
        SparseCodes(np.array([0, 2, 3]), np.array(positions), values, (1, 2, 2))
    # The last of one image may lie behind the first of the next, with empty ones between them.
    codes = SparseCodes(np.array([0, 0, 2, 2, 3, 3]), np.array([1, 3, 0]), values, (1, 2, 2))
    assert codes.dense(range(5)).sum((1, 2, 3)).tolist() == [0, 2, 0, 1, 0]

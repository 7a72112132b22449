"""Work that is killed, or finds the disk full or closed, ends with the result it would have had."""

import contextlib
import hashlib
import importlib
import io
import multiprocessing
import os
import shutil
import threading
import time
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
import torch
from disks import run_on_disk

from lib import _commands, book, chapters, classify, codes, datasets, dictlearn
from lib._downloads import download
from lib._sources import File, Source

# How often each piece of work is killed; more by hand: KILLS=20.
KILLS = int(os.environ.get("KILLS", "3"))


def _digest(arrays):
    content = hashlib.sha256()
    for array in arrays:
        content.update(np.ascontiguousarray(array).tobytes())
    return content.hexdigest()


def _digits(n):
    return datasets.labelled_images("digits", "train", n)


def _encode(folder):
    atoms = np.random.default_rng(0).standard_normal((6, 5, 5))
    settings = {"size": 24, "chunk": 2, "max_iter": 60, "tol": 1e-6}
    codes = classify.encode(_digits(16).images, atoms, "code", folder, **settings).load()
    return _digest([codes.starts, codes.positions, codes.values])


def _train(folder):
    data = _digits(20)
    x = torch.from_numpy(data.images)[:, None]
    settings = {"epochs": 4, "batch": 10, "checkpoint": folder / "training.pt"}
    trained = classify.train(x, data.labels, x[:5], data.labels[:5], 10, **settings)
    return _digest([v.numpy() for v in trained.model.state_dict().values()])


def _learn(folder):
    images = _digits(8).images.repeat(3, 1).repeat(3, 2)
    atoms = np.random.default_rng(0).standard_normal((12, 8, 8))
    settings = {"rng": 0, "max_iter": 20, "checkpoint": folder / "learning.pt"}
    learned = dictlearn.learn_dictionary(images, atoms, 0.05, 30, checkpoint_every=1, **settings)
    return _digest([learned.atoms, learned.objective])


def _code(folder):
    images = _digits(6).images.repeat(2, 1).repeat(2, 2)
    atoms = np.random.default_rng(0).standard_normal((6, 5, 5))
    # Images that are coded together or alone differ by rounding, which must not reach the digits
    # that are compared.
    found = codes.measure(images, atoms, 0.05, store=folder, max_iter=20, precision="float64")
    return _digest([found.psnr.round(4), found.sparseness.round(4)])


CONTENT = np.random.default_rng(0).bytes(3_000_000)


def _fetch(folder):
    class Slow(SimpleHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.send_header("Content-Length", str(len(CONTENT)))
            self.end_headers()
            for part in range(0, len(CONTENT), 100_000):
                self.wfile.write(CONTENT[part : part + 100_000])
                time.sleep(0.02)

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Slow) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        file = File(
            "data.bin",
            f"http://127.0.0.1:{server.server_port}/data.bin",
            len(CONTENT),
            hashlib.sha256(CONTENT).hexdigest(),
        )
        source = Source("toy", "toy", "https://example.org", "none", "", "data.bin", (file,))
        path = download(source, folder)
        server.shutdown()
    return _digest([np.frombuffer(path.read_bytes(), dtype=np.uint8)])


def _run(work, folder, answers):
    torch.set_num_threads(1)
    answers.put(work(folder))


def _attempt(work, folder, seconds):
    """What work answers, or None if it was killed after so many seconds; and how long it took."""
    # Forked: only the work itself takes time, not the imports.
    context = multiprocessing.get_context("fork")
    answers = context.SimpleQueue()
    process = context.Process(target=_run, args=(work, folder, answers))
    start = time.monotonic()
    process.start()
    process.join(seconds)
    if process.is_alive():
        process.kill()
        process.join()
        return None, time.monotonic() - start
    return answers.get() if not answers.empty() else None, time.monotonic() - start


@pytest.mark.parametrize("work", [_encode, _train, _learn, _code, _fetch])
def test_killed_at_random_moments(work, tmp_path, record_property):
    whole, seconds = _attempt(work, tmp_path / "whole", 300)
    assert whole is not None
    folder = tmp_path / "killed"
    rng = np.random.default_rng(0)
    killed = []
    while len(killed) < KILLS:
        answer, after = _attempt(work, folder, rng.uniform(0, seconds))
        if answer is None:
            killed.append(after / seconds)
        else:
            # It was through before it was killed: again from nothing.
            assert answer == whole
            shutil.rmtree(folder)
    answer, _ = _attempt(work, folder, 300)
    assert answer == whole
    record_property("killed_after_share", killed)
    # What killed work leaves is hidden, and nobody takes it for a result.
    left = {path.relative_to(folder) for path in folder.rglob("*") if path.is_file()}
    kept = {p.relative_to(tmp_path / "whole") for p in (tmp_path / "whole").rglob("*")}
    assert all(any(part.startswith(".") for part in path.parts) for path in left - kept)


def fill(name, disk, elsewhere):
    """Do a piece of work on a disk with room for half of it, then with room for all.

    Returns the error, what was left behind, and whether the end was as on a roomy disk.
    """
    work = globals()[name]
    whole = work(elsewhere)
    sizes = [-(-path.stat().st_size // 4096) * 4096 for path in elsewhere.rglob("*.*")]
    room = max(sum(sizes) // 2, 3 * max(sizes) // 2)
    ballast = disk / "ballast"
    ballast.write_bytes(bytes(shutil.disk_usage(disk).free - room))
    with pytest.raises(OSError, match="nothing was written") as raised:
        work(disk / "work")
    left = [path.name for path in (disk / "work").rglob("*.*")]
    ballast.unlink()
    return raised.value, left, work(disk / "work") == whole


@pytest.mark.parametrize("work", ["_encode", "_train", "_learn", "_code"])
def test_a_full_disk_is_named_and_costs_nothing_but_time(work, tmp_path):
    disk, elsewhere = tmp_path / "disk", tmp_path / "elsewhere"
    disk.mkdir()
    code = (
        "from pathlib import Path\n"
        "import errno, test_faults\n"
        f"disk, elsewhere = Path({str(disk)!r}), Path({str(elsewhere)!r})\n"
        f"error, left, same = test_faults.fill({work!r}, disk, elsewhere)\n"
        "print(error.errno == errno.ENOSPC, str(disk / 'work') in error.filename)\n"
        "print(len(left) > 0, any(name.startswith('.') for name in left), same)\n"
    )
    assert run_on_disk(disk, "size=600m", code) == "True True\nTrue False True\n"


@pytest.mark.parametrize("work", ["_encode", "_train", "_learn", "_code", "rerun", "begin"])
def test_a_folder_that_takes_nothing_is_refused_before_work_starts(work, tmp_path):
    code = (
        "from pathlib import Path\n"
        "import test_faults\n"
        f"folder = Path({str(tmp_path)!r})\n"
        "try:\n"
        f"    test_faults.on_closed_disk({work!r}, folder)\n"
        "except OSError as error:\n"
        "    print(error)\n"
    )
    told = run_on_disk(tmp_path, "ro", code)
    assert "Read-only file system" in told
    assert str(tmp_path) in told


def on_closed_disk(name, folder):
    """Begin a piece of work; nothing must be computed before it is refused."""

    def compute(*_, **__):
        raise AssertionError("work was begun")

    for module, function in (("csc", "sparse_code"), ("classify", "_epoch")):
        vars(importlib.import_module(f"lib.{module}"))[function] = compute
    if name == "rerun":
        arguments = ["rerun", "01_ou", "--preset", "smoke", "--out", str(folder / "runs")]
        with contextlib.redirect_stderr(io.StringIO()) as told:
            assert _commands.main(arguments) == 2
        raise OSError(told.getvalue())
    if name == "begin":
        os.environ["BOOK_RESULTS"] = str(folder / "results")
        parameters = chapters.parameters("01_ou")
        book.begin("01_ou", preset="smoke", **parameters)
    else:
        globals()[name](folder / "work")

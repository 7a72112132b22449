"""Work that is killed at random moments, again and again, ends with the same result."""

import hashlib
import multiprocessing
import os
import shutil
import threading
import time
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
import torch

from lib import classify, datasets, dictlearn
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
    atoms = np.random.default_rng(0).standard_normal((6, 5, 5))
    settings = {"rng": 0, "max_iter": 20, "checkpoint": folder / "learning.pt"}
    learned = dictlearn.learn_dictionary(images, atoms, 0.05, 30, checkpoint_every=1, **settings)
    return _digest([learned.atoms, learned.objective])


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


@pytest.mark.parametrize("work", [_encode, _train, _learn, _fetch])
def test_killed_at_random_moments(work, tmp_path):
    whole, seconds = _attempt(work, tmp_path / "whole", 300)
    assert whole is not None
    folder = tmp_path / "killed"
    rng = np.random.default_rng(0)
    killed = 0
    while killed < KILLS:
        answer, _ = _attempt(work, folder, rng.uniform(0, seconds))
        if answer is None:
            killed += 1
        else:
            # It was through before it was killed: again from nothing.
            assert answer == whole
            shutil.rmtree(folder)
    answer, _ = _attempt(work, folder, 300)
    assert answer == whole
    # What killed work leaves is hidden, and nobody takes it for a result.
    left = {path.relative_to(folder) for path in folder.rglob("*") if path.is_file()}
    kept = {p.relative_to(tmp_path / "whole") for p in (tmp_path / "whole").rglob("*")}
    assert all(any(part.startswith(".") for part in path.parts) for path in left - kept)

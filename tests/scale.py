"""Long series and many photographs: speed and memory, for the appendix "How it is tested".

``python tests/scale.py OUT.json [--samples N] [--images N]`` writes what it measures.
"""

import argparse
import json
import multiprocessing
import re
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
from scipy.signal import lfilter, lfiltic

from lib import provenance
from lib._files import write_bytes
from lib.lags import LagCovariance

# Samples read at a time, lags of past and future, and the series: y(t) = A y(t-1) + e(t).
PART, LAGS, A = 1 << 22, 25, 0.95


def write_series(path, n, rng):
    """Write n float64 samples of a first-order autoregressive process of unit variance."""
    last = rng.standard_normal()
    with path.open("wb") as file:
        for start in range(0, n, PART):
            e = np.sqrt(1 - A**2) * rng.standard_normal(min(PART, n - start))
            y = lfilter([1.0], [1.0, -A], e, zi=lfiltic([1.0], [1.0, -A], [last]))[0]
            last = y[-1]
            file.write(y.tobytes())


def parts(path, first, last):
    """Parts of a file of samples that overlap so that no window is lost between two of them."""
    span = 2 * LAGS
    for start in range(first, last, PART):
        count = min(PART, last - start) + span - 1
        yield np.fromfile(path, dtype=float, count=count, offset=8 * start)


def moments(path, first, last):
    """Moments of the windows that begin in a range of samples."""
    covariance = LagCovariance(LAGS, LAGS)
    for part in parts(path, first, last):
        if len(part) >= 2 * LAGS:
            covariance.update(part)
    return covariance


def read(path, first, last):
    """Read a range of a file, and add the samples up so that they are looked at."""
    return sum(part.sum() for part in parts(path, first, last))


def _measured(work, arguments):
    start = time.perf_counter()
    answer = work(*arguments)
    seconds = time.perf_counter() - start
    # Not ru_maxrss, which a new process has from the one that started it.
    peak = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    return answer, seconds, int(peak[1]) / 1000


def alone(work, *arguments):
    """What work answers in a process of its own, its seconds, and its peak memory in MB."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(_measured, work, arguments).result()


def on_workers(path, n, n_workers):
    """Moments of a whole file, its ranges on workers whose parts are added; as `alone`."""
    edges = [n * i // n_workers for i in range(n_workers + 1)]
    start = time.perf_counter()
    with ProcessPoolExecutor(n_workers, mp_context=multiprocessing.get_context("spawn")) as pool:
        ranges = zip([path] * n_workers, edges[:-1], edges[1:], strict=True)
        done = list(pool.map(_measured, [moments] * n_workers, ranges))
    answers, _, peaks = zip(*done, strict=True)
    return sum(answers[1:], answers[0]), time.perf_counter() - start, sum(peaks)


def series(folder, sizes, rng):
    """Speed and memory of the moments of long files."""
    path = Path(folder) / "series.f64"
    write_series(path, max(sizes), rng)
    rows = []
    for n in sizes:
        _, reading, _ = alone(read, path, 0, n)
        one, seconds, peak = alone(moments, path, 0, n)
        two, seconds_two, peak_two = on_workers(path, n, 2)
        exact = A ** np.arange(2 * LAGS)
        blocks = one.blocks(center=True)
        merged = two.blocks(center=True)
        difference = max(
            np.abs(a - b).max() / np.abs(a).max() for a, b in zip(blocks, merged, strict=True)
        )
        rows.append(
            {
                "samples": n,
                "reading_s": reading,
                "seconds": seconds,
                "seconds_two_workers": seconds_two,
                "peak_mb": peak,
                "peak_mb_two_workers": peak_two,
                "merged_difference": float(difference),
                "error_of_first_row": float(np.abs(blocks.past[0] - exact[:LAGS]).max()),
            }
        )
    return rows


def encode(source, n, folder):
    """Code n photographs into a store."""
    # Not above: other work here does not need their memory.
    from lib import classify, datasets, loggabor

    images = datasets.labelled_images(source, "train", n).images
    atoms = loggabor.heterogeneous_dictionary("code").atoms
    store = classify.encode(images, atoms, "code", folder, chunk=50)
    return len(images), store.bytes_per_image()


def photographs(folder, source, sizes):
    """Time, memory and bytes on disk of coding many photographs."""
    rows = []
    for n in sizes:
        (count, size), seconds, peak = alone(encode, source, n, f"{folder}/{n}")
        rows.append({"images": count, "seconds": seconds, "peak_mb": peak, "bytes": size})
    return rows


def main():
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--samples", type=int, nargs="+", default=[10**7, 10**8, 10**9])
    parser.add_argument("--images", type=int, nargs="+", default=[125, 500, 2000])
    parser.add_argument("--source", default="cifar10")
    parser.add_argument("--folder", help="where the series is written; needs 8 bytes a sample")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        result = {
            "provenance": provenance.collect(),
            "lags": LAGS,
            "series": series(folder, options.samples, np.random.default_rng(0)),
            "photographs": photographs(folder, options.source, options.images),
        }
    write_bytes(options.out, (json.dumps(result, indent=1) + "\n").encode())


if __name__ == "__main__":
    main()

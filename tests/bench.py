"""Speed and memory against named peers, measured in one run: ``make bench``.

The solver appendix shows the same in pictures. Nothing here is a test.
"""

import tempfile

import numpy as np
import torch

from lib import benchmarks, classify, datasets, loggabor, training_speed
from lib.cca import PastFutureCCA

SCANS = 10_000, 432


def report(title, seconds):
    """Print times by method, ours first."""
    ours = next(iter(seconds.values()))
    print(title)
    for name, value in seconds.items():
        print(f"  {name:26}{value:10.4f} s {value / ours:8.1f} times ours")


def main():
    """Print the tables."""
    rng = np.random.default_rng(0)
    report(
        "both layers, {} scans of {} samples".format(*SCANS),
        benchmarks.network_seconds(*SCANS, rng),
    )
    for n, m in ((100_000, 25), (1_000_000, 50)):
        moments, analyses = benchmarks.lag_seconds(n, m, rng)
        report(f"second moments, {n} samples, m = h = {m}", moments)
        report(f"analysis, {n} samples, m = h = {m}", analyses)
    x = rng.standard_normal(1_000_000)
    peak = benchmarks.peak_bytes(lambda: PastFutureCCA(50, 50).fit(x)) / x.nbytes
    print(f"peak memory of PastFutureCCA.fit: {peak:.2f} times the series")
    problem = benchmarks.coding_problem()
    names = list(reversed(benchmarks.CODERS))
    seconds = benchmarks.seconds_per_iteration(problem, 6, names=names)
    report("an iteration of sparse coding, 256 x 256, 144 atoms", seconds)
    report("a step of learning, 20 iterations", benchmarks.learning_seconds(problem, 20))
    memory = {name: benchmarks.peak_memory(name, 256) / 1e6 for name in names}
    print("peak memory (MB):", ", ".join(f"{name} {mb:.0f}" for name, mb in memory.items()))
    device = "cuda" if torch.cuda.is_available() else "cpu"
    # What fills the machine: a GPU has more to do with the batches of the released program.
    n, batch, precision = (800, 800, "float16") if device == "cuda" else (32, 8, "float32")
    images = datasets.labelled_images("digits", "train", n).images
    atoms = loggabor.heterogeneous_dictionary("code").atoms
    with tempfile.TemporaryDirectory() as folder:
        codes = classify.encode(images, atoms, "code", folder, device=device).load()
    with tempfile.TemporaryDirectory() as folder:
        training_speed.write_released(codes, folder)
        how = {"batch": batch, "device": device, "precision": precision}
        rates = training_speed.images_per_second(codes, folder, **how)
    report(f"an image of training on {device}", {name: 1 / rate for name, rate in rates.items()})


if __name__ == "__main__":
    main()

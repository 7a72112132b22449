"""How fast networks are trained from codes, beside the released design and without any data."""

import time
from pathlib import Path

import numpy as np
import torch

from lib import classify
from lib._checks import check_choice, check_count
from lib._encoding import MEAN, Inputs, check_reading, read_codes
from lib._tensors import check_device
from lib._training import PRECISIONS, Trainer


def write_released(codes, folder):
    """Write codes as the released program does: a dense single-precision file for each image.

    Parameters
    ----------
    codes : code_store.SparseCodes
    folder : Path
        Of the files ``0.npy`` and on.

    Returns
    -------
    float
        Bytes per image.
    """
    folder = Path(folder)
    for i in range(len(codes)):
        np.save(folder / f"{i}.npy", codes.dense([i])[0].numpy())
    return sum(path.stat().st_size for path in folder.iterdir()) / len(codes)


class _Files:
    """The released design: every batch is read from the files of its images."""

    def __init__(self, folder, reading):
        self.folder, self.reading = Path(folder), reading

    def batch(self, rows, device):
        images = [np.load(self.folder / f"{i}.npy", allow_pickle=False) for i in rows.tolist()]
        dense = torch.from_numpy(np.stack(images)).to(device)
        x = read_codes(dense, **self.reading)
        return x.contiguous(memory_format=torch.channels_last)


class _Random:
    """Random inputs that are on the device already: what the network alone takes."""

    def __init__(self, like, device):
        self.x = torch.randn_like(like.batch(torch.arange(1), device))

    def batch(self, rows, device):
        x = self.x.expand(len(rows), -1, -1, -1)
        return x.contiguous(memory_format=torch.channels_last)


def images_per_second(
    codes,
    folder,
    *,
    batch,
    n_batches=4,
    n_rounds=3,
    size=32,
    device="cpu",
    precision="float32",
):
    """Training images per second from codes in memory, batch by batch, from files, from nothing.

    Parameters
    ----------
    codes : code_store.SparseCodes
        A batch of images at least.
    folder : Path
        With the files of `write_released`.
    batch, n_batches, n_rounds : int
        Images in a batch, batches in a round, and rounds, of which the median counts; the ways
        take turns.
    size : int
        Side of what the network reads.
    device, precision : str
        As for `classify.train`.

    Returns
    -------
    dict of str to float
        By way: ``in memory``, ``batch by batch``, ``a file per image`` (the released design),
        ``random inputs``.
    """
    batch = check_count("batch", batch, 2)
    n_batches, n_rounds = check_count("n_batches", n_batches), check_count("n_rounds", n_rounds)
    if len(codes) < batch:
        raise ValueError(f"codes must be of a batch of {batch} images at least, got {len(codes)}")
    device = check_device(device)
    check_choice("precision", precision, PRECISIONS)
    reading = {"protocol": "code", "cutoff": 0.0, "size": size, "mean": MEAN}
    check_reading(**reading)
    n_steps = (n_rounds + 1) * n_batches * 4
    recipe = classify.RECIPES["code"]
    trainer = Trainer(codes.shape[1], 10, "code", 0, recipe, n_steps, device, precision)
    streamed = Inputs(None, codes.on(device), reading)
    ways = {
        "in memory": Inputs.of(codes, reading, device, np.inf)[0],
        "batch by batch": streamed,
        "a file per image": _Files(folder, reading),
        "random inputs": _Random(streamed, device),
    }
    rng = np.random.default_rng(0)
    seconds = {name: [] for name in ways}
    for _ in range(n_rounds + 1):
        for name, x in ways.items():
            start = time.perf_counter()
            for _ in range(n_batches):
                rows = torch.from_numpy(rng.permutation(len(codes))[:batch])
                trainer.step(x.batch(rows, device), (rows % 10).to(device))
            if device.type == "cuda":
                torch.cuda.synchronize(device)
            seconds[name].append(time.perf_counter() - start)
    # The first round warms up.
    return {name: batch * n_batches / np.median(s[1:]) for name, s in seconds.items()}

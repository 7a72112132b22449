"""How torch computes: threads that share work by the piece, and the precision of products."""

import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import torch


@contextmanager
def one_thread():
    """Let torch's operations use one thread, in a block or a function; then as many as before.

    What workers compute, too: the library that multiplies matrices may keep one number of threads
    for the whole program.
    """
    n = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(n)


@contextmanager
def full_precision():
    """Multiply matrices in single precision as such, in a block or a function; then as before.

    torch can be told to round the factors first. The coder's sums, one of which is carried on
    while others are formed anew, would then drift apart.
    """
    kinds = torch.backends.cuda.matmul, torch.backends.mkldnn.matmul
    before = [kind.fp32_precision for kind in kinds]
    try:
        for kind in kinds:
            kind.fp32_precision = "ieee"
        yield
    finally:
        for kind, precision in zip(kinds, before, strict=True):
            kind.fp32_precision = precision


class Workers:
    """As many threads as torch uses for an operation, each of which runs torch on one core.

    Threads inside an operation wait for each other at its end. Where another program holds one
    of the cores, each of a thousand short operations then waits for that core. These threads meet
    when all pieces are done.

    Parameters
    ----------
    device : torch.device
        Work on a GPU needs no threads: there, and where torch uses one, there are none.
    """

    def __init__(self, device):
        n = torch.get_num_threads()
        self._pool = None
        if n == 1 or device.type != "cpu":
            return
        ready = threading.Barrier(n + 1)

        def start():
            torch.set_num_threads(1)
            ready.wait()

        self._pool = ThreadPoolExecutor(n, initializer=start)
        for _ in range(n):
            self._pool.submit(int)
        ready.wait()
        # torch keeps the number for each thread, but starts new threads with the one set last.
        torch.set_num_threads(n)

    def map(self, function, *pieces):
        """List of a function's values for all pieces, in their order."""
        if self._pool is None:
            return list(map(function, *pieces))
        inference = torch.is_inference_mode_enabled()

        # A mode of each thread: tensors made in it may not be changed outside of it.
        def call(*piece):
            with torch.inference_mode(inference):
                return function(*piece)

        with one_thread():
            return list(self._pool.map(call, *pieces))

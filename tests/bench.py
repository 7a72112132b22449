"""Speed and memory against named peers, measured in one run: ``make bench``.

Each peer gets the same lag vectors or the same series. Times are the best of several repeats and
are printed as ratios beside seconds; nothing here is a test.
"""

import time
import tracemalloc

import numpy as np
from deeptime.decomposition import VAMP
from sklearn.cross_decomposition import CCA

from lib.cca import PastFutureCCA
from lib.lags import LagCovariance, lag_vectors


def best_time(function, repeats=3):
    """Shortest wall time of several calls, in seconds."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return min(times)


def hankel_product(x, memory, horizon):
    """Second moments from Hankel matrices, as the released analysis builds them: list by list."""
    n = len(x) - memory - horizon + 1
    past = np.array([x[memory - 1 - k : memory - 1 - k + n] for k in range(memory)])
    future = np.array([x[memory + j : memory + j + n] for j in range(horizon)])
    return past @ past.T / n, future @ past.T / n, future @ future.T / n


def peak_bytes(function):
    """Peak of NumPy's allocations during a call."""
    tracemalloc.start()
    function()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak


def main():
    """Print the table."""
    rng = np.random.default_rng(0)
    for n, m in ((100_000, 25), (1_000_000, 50)):
        x = rng.standard_normal(n).cumsum() / 100 + rng.standard_normal(n)
        past, future = lag_vectors(x, m, m)
        ours = best_time(lambda x=x, m=m: LagCovariance(m, m).update(x).blocks(), 7)
        fit = best_time(lambda x=x, m=m: PastFutureCCA(m, m).fit(x), 7)
        hankel = best_time(lambda x=x, m=m: hankel_product(x, m, m))
        vamp = best_time(
            lambda pair=(past, future): VAMP(lagtime=1).fit(pair).fetch_model().singular_values
        )
        peak = peak_bytes(lambda x=x, m=m: PastFutureCCA(m, m).fit(x)) / x.nbytes
        print(f"{n} samples, m = h = {m}")
        print(f"  LagCovariance            {ours:8.4f} s")
        print(f"  Hankel product           {hankel:8.4f} s  {hankel / ours:6.1f} times ours")
        print(f"  PastFutureCCA.fit        {fit:8.4f} s  peak {peak:.2f} times the series")
        print(f"  deeptime VAMP            {vamp:8.4f} s  {vamp / fit:6.1f} times ours")
        if n <= 100_000:
            peer = best_time(lambda pair=(past, future): CCA(2).fit(*pair), 1)
            print(f"  scikit-learn CCA, rank 2 {peer:8.4f} s  {peer / fit:6.1f} times ours")


if __name__ == "__main__":
    main()

"""Speed and memory against named peers, measured in one run: ``make bench``.

Each peer gets the same lag vectors or the same series. Times are the best of several repeats and
are printed as ratios beside seconds; nothing here is a test.
"""

import time
import tracemalloc

import numpy as np
from deeptime.decomposition import VAMP
from scipy.linalg import hankel
from sklearn.cross_decomposition import CCA

from lib.cca import PastFutureCCA
from lib.lags import LagCovariance, lag_vectors
from lib.resu import L1, L3, T4, ReSULayer, ReSUNetwork


def best_time(function, repeats=3):
    """Shortest wall time of several calls, in seconds."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return min(times)


def hankel_product(x, memory, horizon):
    """Second moments the usual way: a Hankel matrix, split into past and future, multiplied."""
    lagged = hankel(x[: memory + horizon], x[memory + horizon - 1 :])
    past, future = np.flipud(lagged[:memory]), lagged[memory:]
    n = lagged.shape[1]
    return past @ past.T / n, future @ past.T / n, future @ future.T / n


def tuned_hankel_product(x, memory, horizon):
    """The same from contiguous lag vectors, nothing copied twice: the best that it can do."""
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


def hankel_network(scans, memory=50, shift=13, gap=5):
    """Second moments of both layers from Hankel matrices, recording by recording."""
    moments, pasts = 0, []
    for x in scans:
        lagged = hankel(x[: 2 * memory], x[2 * memory - 1 :])
        past, future = lagged[memory - 1 :: -1], lagged[memory:]
        moments = moments + np.array([past @ past.T, future @ past.T, future @ future.T])
        pasts.append(past)
    past = np.hstack(pasts)
    l3, l1 = PastFutureCCA(memory, memory, rank=2).fit_covariance(*moments).filters_ @ past
    channels = np.array([l3 / l3.std(), np.maximum(l1 / l1.std(), 0)])
    pixels = [channels[:, i : channels.shape[1] - 2 * shift + i] for i in (0, shift, 2 * shift)]
    pooled = np.concatenate(pixels)
    before, after = pooled[:, :-gap], pooled[:, gap:]
    return before @ before.T, after @ before.T, after @ after.T


def bench_network(rng, n_scans=10_000, n_samples=432):
    """Both layers of the T4 network on as many scans as 500 photographs × 20 rows give."""
    smooth = rng.standard_normal((n_scans, n_samples)).cumsum(axis=1)
    scans = list(smooth - smooth.mean(axis=1, keepdims=True) + rng.standard_normal(smooth.shape))
    t4 = ReSULayer(1, 1, [T4], gap=5, center=False)
    network = ReSUNetwork([ReSULayer(50, 50, [L3, L1]), t4])
    ours = best_time(lambda: network.fit(scans))
    peer = best_time(lambda: hankel_network(scans), 1)
    print(f"two layers, {n_scans} scans of {n_samples} samples, m = h = 50")
    print(f"  ReSUNetwork.fit          {ours:8.4f} s")
    print(f"  Hankel matrices          {peer:8.4f} s  {peer / ours:6.1f} times ours")


def main():
    """Print the table."""
    rng = np.random.default_rng(0)
    bench_network(rng)
    for n, m in ((100_000, 25), (1_000_000, 50)):
        x = rng.standard_normal(n).cumsum() / 100 + rng.standard_normal(n)
        past, future = lag_vectors(x, m, m)
        ours = best_time(lambda x=x, m=m: LagCovariance(m, m).update(x).blocks(), 7)
        fit = best_time(lambda x=x, m=m: PastFutureCCA(m, m).fit(x), 7)
        plain = best_time(lambda x=x, m=m: hankel_product(x, m, m))
        tuned = best_time(lambda x=x, m=m: tuned_hankel_product(x, m, m))
        vamp = best_time(
            lambda pair=(past, future): VAMP(lagtime=1).fit(pair).fetch_model().singular_values
        )
        peak = peak_bytes(lambda x=x, m=m: PastFutureCCA(m, m).fit(x)) / x.nbytes
        print(f"{n} samples, m = h = {m}")
        print(f"  LagCovariance            {ours:8.4f} s")
        print(f"  Hankel product           {plain:8.4f} s  {plain / ours:6.1f} times ours")
        print(f"  Hankel product, tuned    {tuned:8.4f} s  {tuned / ours:6.1f} times ours")
        print(f"  PastFutureCCA.fit        {fit:8.4f} s  peak {peak:.2f} times the series")
        print(f"  deeptime VAMP            {vamp:8.4f} s  {vamp / fit:6.1f} times ours")
        if n <= 100_000:
            peer = best_time(lambda pair=(past, future): CCA(2).fit(*pair), 1)
            print(f"  scikit-learn CCA, rank 2 {peer:8.4f} s  {peer / fit:6.1f} times ours")


if __name__ == "__main__":
    main()

"""The coder's kernels for a GPU, against the separate operations that do the same.

On a GPU they run there. Where there is none, Triton interprets them (see conftest.py), and compiles
them for GPUs that are not there.
"""

import contextlib
import os
import subprocess
import sys
from collections import Counter

import numpy as np
import pytest
import torch

from lib import _admm, _atom_bank, csc
from lib._atom_bank import AtomBank

pytest.importorskip("triton", reason="Triton is for Linux")

F32, F64 = torch.float32, torch.float64
LAMBDA = 0.1
KERNELS = _atom_bank._kernels
COMPILE = """
import re, triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from lib import _fused

def compiled(kernel, types, capability, **constants):
    names = kernel.arg_names
    types = [*types, *["constexpr"] * len(constants)]
    # As of addresses from torch, and of sizes that 16 divides.
    aligned = [i for i, type in enumerate(types) if type != "constexpr"]
    source = ASTSource(
        kernel,
        dict(zip(names, types, strict=True)),
        constexprs=constants,
        attrs={(i,): [["tt.divisibility", 16]] for i in aligned},
    )
    return triton.compile(source, target=GPUTarget("cuda", capability, 32)).asm["ptx"]

for number in ("fp32", "fp64"):
    pointer = f"*{number}"
    update = [pointer] * 5 + ["i32"] * 2 + ["i64"]
    fold = [pointer, "*i32", "*i32", pointer] + ["i32"] * 6
    for capability in (75, 80, 90):
        ptx = compiled(_fused._update, update, capability, relax=1.8, block=1024)
        for way in ("ld", "st"):
            vectors = re.findall(rf"{way}\\.global\\.v(\\d)\\.b(\\d+)", ptx)
            print(number, capability, way, sum(int(n) * int(b) for n, b in vectors))
        ptx = compiled(_fused._fold, fold, capability, block=256)
        stores = re.findall(r"st\\.global(?:\\.v(\\d))?\\.b(\\d+)", ptx)
        print(number, capability, "fold st", sum(int(n or 1) * int(b) for n, b in stores))
"""


@pytest.fixture
def device(monkeypatch):
    """A GPU, or the CPU if kernels are interpreted."""
    if torch.cuda.is_available():
        return torch.device("cuda")
    monkeypatch.setattr(torch.cuda, "device", lambda device: contextlib.nullcontext())
    return torch.device("cpu")


def problem(dtype, device, shape=(7, 9), n=3):
    rng = np.random.default_rng(3)
    images = torch.as_tensor(rng.standard_normal((n, *shape)), dtype=dtype, device=device)
    atoms = torch.as_tensor(rng.standard_normal((4, 3, 2)), dtype=dtype, device=device)
    # Pixels that no atom has are left out of the products.
    atoms[:, 0, 1] = 0
    return images, atoms


@pytest.mark.parametrize("dtype", [F32, F64])
@pytest.mark.parametrize(
    "pixels", [1, 21, 126, 1000], ids=["rows", "parts of images", "two images", "all"]
)
@pytest.mark.parametrize("weights", [False, True])
def test_kernels_make_the_same_iterates(device, monkeypatch, dtype, pixels, weights):
    from lib import _fused

    monkeypatch.setattr(_atom_bank, "_TILE", {"cpu": pixels, "cuda": pixels})
    images, atoms = problem(dtype, device)
    threshold = torch.tensor([[0.1], [0.0], [0.3], [0.2]]).to(images) if weights else LAMBDA
    rho = torch.tensor([0.5, 2, 3], dtype=F64, device=device)
    states = []
    for kernels in (None, _fused):
        monkeypatch.setattr(_atom_bank, "_kernels", lambda device, kernels=kernels: kernels)
        bank = AtomBank(atoms, 7, 9)
        states.append(_admm.Iteration(bank, images, threshold, rho, relax=1.7))
    atol = 1e-5 if dtype is F32 else 1e-13
    for step in range(4):
        residuals = [state.step() for state in states]
        for ours, theirs in zip(*residuals, strict=True):
            np.testing.assert_allclose(ours.cpu(), theirs.cpu(), rtol=10 * atol)
        factor = torch.tensor([1, 0.5, 1.5 + step], dtype=F64, device=device)
        if step % 2:
            for state in states:
                state.rescale(factor)
        results = [state.result(slice(0, 3)) for state in states]
        for ours, theirs in zip(*results, strict=True):
            np.testing.assert_allclose(ours.cpu(), theirs.cpu(), atol=atol)
    np.testing.assert_allclose(states[1].w.cpu(), states[0].w.cpu(), atol=10 * atol)


def test_an_update_takes_images_larger_than_its_blocks(device):
    from lib import _fused

    rng = np.random.default_rng(4)
    w, x = torch.as_tensor(rng.standard_normal((2, 2, 2 * 1500)), device=device)
    # A part of a larger state, whose other parts must stay as they are.
    whole = torch.full((2, 3005), torch.nan, dtype=F64, device=device)
    part, y = whole[:, 3:3003], x.clone()
    part.copy_(w)
    level, factor = (torch.tensor(v, dtype=F64, device=device) for v in ([0.3, 0.8], [1, 0.5]))
    sums = _fused.update(part, y, level, factor, 1.8)
    assert int(whole.isnan().sum()) == 10

    def clip(v):
        return torch.clamp(v, -level[:, None], level[:, None])

    rho = factor.repeat_interleave(1500)
    old = (w - clip(w)) * rho
    after = old + clip(w) + 1.8 * (x - clip(w))
    new, rest = after - clip(after), x - clip(w) + old - (after - clip(after))
    torch.testing.assert_close(part, after)
    torch.testing.assert_close(y, new)
    u, change = clip(after), old - new
    pairs = ((u, u), (new, new), (change, change), (rest, rest), (rest, new))
    expected = torch.stack([(a * b).view(2, 2, 1500).sum((0, 2)) for a, b in pairs])
    torch.testing.assert_close(sums, expected)


@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")
def test_numbers_that_are_not_stay_so(device):
    from lib import _fused

    w = torch.tensor([[torch.nan, 1.0, torch.inf]], device=device, dtype=F32)
    one = torch.ones(1, device=device)
    y = torch.zeros_like(w)
    sums = _fused.update(w, y, one, one, 1.8)
    assert w.isfinite().tolist() == [[False, True, False]]
    assert not sums.isfinite().any()
    assert sums.dtype == F64


@pytest.mark.parametrize("dtype", [F32, F64])
def test_planes_are_moved_and_summed(device, dtype):
    from lib import _fused

    rng = np.random.default_rng(5)
    # More pixels than a block has, and less than two.
    taps = torch.as_tensor(rng.standard_normal((11, 2, 15, 17)), dtype=dtype, device=device)
    down = torch.as_tensor(rng.integers(0, 4, 11), dtype=torch.int32, device=device)
    right = torch.as_tensor(rng.integers(0, 6, 11), dtype=torch.int32, device=device)
    out = torch.full((2, 18, 22), torch.nan, dtype=dtype, device=device)
    expected = torch.zeros_like(out)
    for tap, i, j in zip(taps, down.tolist(), right.tolist(), strict=True):
        expected[:, i : i + 15, j : j + 17] += tap
    assert _fused.fold(taps, down, right, out) is out
    torch.testing.assert_close(out, expected)
    assert not _fused.fold(taps[:0], down[:0], right[:0], out).any()


@pytest.mark.skipif(torch.cuda.is_available(), reason="compiled where there is no GPU")
def test_the_state_is_read_and_written_once():
    """Compiled for three generations of GPUs: bits that each of 128 threads reads and writes."""
    environment = {k: v for k, v in os.environ.items() if k != "TRITON_INTERPRET"}
    command = [sys.executable, "-c", COMPILE]
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    expected = []
    for number, bits in (("fp32", 32), ("fp64", 64)):
        for capability in (75, 80, 90):
            # State and coefficients, 8 numbers of each, as whole vectors.
            expected += [f"{number} {capability} {way} {2 * 8 * bits}" for way in ("ld", "st")]
            # Two pixels, each written once.
            expected += [f"{number} {capability} fold st {2 * bits}"]
    assert done.stdout.split("\n")[:-1] == expected


class Interpreted:
    """A kernel for tensors on a pretended GPU."""

    def __init__(self, kernel):
        self.kernel = kernel

    def __getitem__(self, grid):
        return lambda *args: self.kernel[grid](*(getattr(a, "held", a) for a in args))


def test_codes_of_kernels_are_those_of_the_cpu(gpu, monkeypatch):
    from lib import _fused

    used = Counter()
    for name in ("update", "fold"):
        kernel = getattr(_fused, name)
        monkeypatch.setattr(
            _fused,
            name,
            lambda *args, name=name, kernel=kernel: used.update([name]) or kernel(*args),
        )
        if "TRITON_INTERPRET" in os.environ:
            monkeypatch.setattr(_fused, f"_{name}", Interpreted(getattr(_fused, f"_{name}")))
    monkeypatch.setattr(_atom_bank, "_kernels", KERNELS)
    images, atoms = (part.numpy() for part in problem(F64, "cpu"))
    settings = {"max_iter": 5, "tol": 0, "weights": [1, 0.5, 2, 1], "dtype": F64}
    cpu = csc.sparse_code(images, atoms, LAMBDA, **settings)
    assert not used
    far = csc.sparse_code(images, atoms, LAMBDA, device="cuda", **settings)
    # Once to see whether they can be compiled, and in each iteration.
    assert used == {"update": 6, "fold": 6}
    np.testing.assert_allclose(far.coefficients.cpu(), cpu.coefficients, atol=1e-12)
    np.testing.assert_allclose(far.objective, cpu.objective, rtol=1e-12)
    np.testing.assert_allclose(far.primal_residual, cpu.primal_residual, rtol=1e-9)


@pytest.mark.parametrize("name", ["update", "fold"])
def test_where_kernels_cannot_be_compiled_operations_do_their_work(gpu, monkeypatch, name):
    from lib import _fused

    def fail(*args):
        raise RuntimeError("Failed to find C compiler")

    for kernel in ("update", "fold"):
        monkeypatch.setattr(_fused, kernel, fail if kernel == name else lambda *args: None)
    monkeypatch.setattr(_atom_bank, "_kernels", KERNELS)
    images, atoms = (part.numpy() for part in problem(F64, "cpu"))
    settings = {"max_iter": 5, "tol": 0, "dtype": F64}
    with pytest.warns(UserWarning, match="coding will be slow: Failed to find C compiler"):
        far = csc.sparse_code(images, atoms, LAMBDA, device="cuda", **settings)
    cpu = csc.sparse_code(images, atoms, LAMBDA, **settings)
    np.testing.assert_allclose(far.coefficients.cpu(), cpu.coefficients, atol=1e-12)
    monkeypatch.undo()
    if torch.cuda.is_available():
        assert KERNELS(torch.device("cuda")) is _fused
    monkeypatch.setattr(_atom_bank, "find_spec", lambda name: None)
    assert KERNELS(torch.device("cuda")) is None
    assert KERNELS(torch.device("cpu")) is None

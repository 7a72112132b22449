"""What the coder does on a GPU beside matrix products, in kernels that touch each number once.

By torch's separate operations, the state would cross the GPU's memory some forty times more.
"""

import torch
import triton
import triton.language as tl

_UPDATE_BLOCK, _FOLD_BLOCK = 1024, 256


# As images leave, their number changes: no reason to compile again.
@triton.jit(do_not_specialize=["images"])
def _update(
    w, y, levels, factor, sums, images, size, stride, relax: tl.constexpr, block: tl.constexpr
):
    """A block of the pixels of one image, for one atom."""
    blocks = tl.cdiv(size, block)
    part = tl.program_id(0)
    image = part // blocks % images
    atom = part // blocks // images
    at = part % blocks * block + tl.arange(0, block)
    inside = at < size
    at += image * size
    # A state may hold more numbers than 32 bits count.
    w += atom.to(tl.int64) * stride + at
    y += atom.to(tl.int64) * images * size + at
    level, scale = tl.load(levels + atom), tl.load(factor + image)
    before = tl.load(w, inside, 0.0)
    x = tl.load(y, inside, 0.0)

    u = tl.where(before > level, level, tl.where(before < -level, -level, before))
    old = (before - u) * scale
    rest = x - u
    after = tl.where(scale == 1, before, old + u) + relax * rest
    u = tl.where(after > level, level, tl.where(after < -level, -level, after))
    new = after - u
    change = old - new
    rest += change
    tl.store(w, after, inside)
    tl.store(y, new, inside)

    # Beyond the image all of these are zero.
    programs = tl.num_programs(0)
    tl.store(sums + part, tl.sum(u * u))
    tl.store(sums + programs + part, tl.sum(new * new))
    tl.store(sums + 2 * programs + part, tl.sum(change * change))
    tl.store(sums + 3 * programs + part, tl.sum(rest * rest))
    tl.store(sums + 4 * programs + part, tl.sum(rest * new))


def update(w, y, levels, factor, relax):
    """Step x, y and u of a tile in place.

    Parameters
    ----------
    w : Tensor (K, images * size)
        State; rows may be further apart than they are long.
    y : Tensor (K, images * size), contiguous
        Dᵀ g; the coefficients y afterwards.
    levels : Tensor (K,)
        Threshold of each atom.
    factor : Tensor (images,)
        On each image's ρ, before the step.
    relax : float
        Over-relaxation α.

    Returns
    -------
    Tensor (5, images)
        float64; inner products, of which the residuals are made: those of u, y, the change of y,
        and x - y with themselves, and that of x - y with y.
    """
    k, images = len(w), len(factor)
    size = w.shape[1] // images
    # Numbers in a block must be a power of two.
    block = min(_UPDATE_BLOCK, triton.next_power_of_2(size))
    blocks = triton.cdiv(size, block)
    sums = w.new_empty(5, k, images, blocks)
    with torch.cuda.device(w.device):
        _update[(k * images * blocks,)](
            w, y, levels, factor, sums, images, size, w.stride(0), relax, block
        )
    return sums.sum((1, 3), dtype=torch.float64)


@triton.jit(do_not_specialize=["images"])
def _fold(taps, down, right, out, n_taps, images, rows, width, high, wide, block: tl.constexpr):
    """A block of the pixels of one image: what falls there from each plane."""
    blocks = tl.cdiv(high * wide, block)
    image = tl.program_id(0) // blocks
    at = tl.program_id(0) % blocks * block + tl.arange(0, block)
    inside = at < high * wide
    y, x = at // wide, at % wide
    taps += image * rows * width
    total = tl.zeros((block,), out.dtype.element_ty)
    for first in range(0, n_taps, 8):
        # Eight loads under way before the first is waited for.
        found = ()
        for tap in tl.static_range(8):
            known = first + tap < n_taps
            i = y - tl.load(down + first + tap, known, 0)
            j = x - tl.load(right + first + tap, known, 0)
            there = known & inside & (i >= 0) & (i < rows) & (j >= 0) & (j < width)
            one = tl.load(taps + i * width + j, there, 0.0)
            found = found + (one,)  # noqa: RUF005, Triton knows no other way
            taps += images * rows * width
        for tap in tl.static_range(8):
            total += found[tap]
    tl.store(out + image * high * wide + at, total, inside)


def fold(taps, down, right, out):
    """Sum planes, each moved to its place in larger images.

    Parameters
    ----------
    taps : Tensor (planes, images, rows, width), contiguous
    down, right : Tensor (planes,)
        int32; pixels by which each plane is moved.
    out : Tensor (images, rows + ..., width + ...), contiguous
        Set to the sums; no plane is moved out of them.
    """
    n_taps, images, rows, width = taps.shape
    _, high, wide = out.shape
    blocks = triton.cdiv(high * wide, _FOLD_BLOCK)
    with torch.cuda.device(out.device):
        _fold[(images * blocks,)](
            taps, down, right, out, n_taps, images, rows, width, high, wide, _FOLD_BLOCK
        )
    return out

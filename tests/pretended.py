"""A pretended GPU, so that what runs on one is run where there is none.

Its tensors say that they are on the device "cuda:0". The CPU computes with them, by the same
kernels and to the same bit as with its own, and an operation that mixes them with tensors of the
CPU fails as on a GPU. It finds what would fail on a GPU, not how fast or how exact one is.
"""

import contextlib

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

GPU = torch.device("cuda", 0)
ATEN = torch.ops.aten
COPIES = {ATEN._to_copy, ATEN.copy_}
# Views that only mark what is to be computed: the mark is lost on a tensor within another.
MARKS = {ATEN._conj: ATEN.conj_physical.default, ATEN._neg_view: ATEN.neg.default}
# A GPU's tensor takes positions that are on the CPU.
INDEXING = {ATEN.index, ATEN.index_put, ATEN.index_put_, ATEN._index_put_impl_}


def tensors_in(*values):
    return [leaf for leaf in tree_leaves(values) if isinstance(leaf, torch.Tensor)]


def check_devices(operation, args, kwargs):
    """Raise RuntimeError where a GPU would: single numbers of the CPU alone may be mixed in."""
    met = tensors_in(args, kwargs)
    if operation in INDEXING and isinstance(args[0], Pretended):
        met = tensors_in(args[0], args[2:])
    far = [x for x in met if isinstance(x, Pretended)]
    near = [x for x in met if not isinstance(x, Pretended)]
    if far and near and (any(x.ndim for x in near) or not any(x.ndim for x in far)):
        raise RuntimeError(f"Expected all tensors to be on the same device, in {operation}")


def run(operator, args, kwargs):
    """An operation on real tensors, its results where a GPU would leave them."""
    operation, kwargs = operator.overloadpacket, dict(kwargs or {})
    if operation not in COPIES and operator._can_decompose():
        # In inference mode an operation arrives before it is taken apart.
        with Mode():
            return operator.decompose(*args, **kwargs)
    if operation not in COPIES:
        check_devices(operation, args, kwargs)
    known = {id(x.held): x for x in tensors_in(args, kwargs) if isinstance(x, Pretended)}
    far = bool(known)
    if operation is ATEN.copy_:
        far = isinstance(args[0], Pretended)
    elif (device := kwargs.get("device")) is not None:
        far = torch.device(device).type == "cuda"
        kwargs["device"] = torch.device("cpu")
    if operation is ATEN._to_copy:
        # A copy, even between devices that are one.
        known = {}
    operator = MARKS.get(operation, operator)
    args, kwargs = tree_map(lambda x: x.held if isinstance(x, Pretended) else x, (args, kwargs))

    def wrapped(x):
        if not far or not isinstance(x, torch.Tensor):
            return x
        return known[id(x)] if id(x) in known else Pretended(x)

    return tree_map(wrapped, operator(*args, **kwargs))


class Pretended(torch.Tensor):
    """A tensor on the pretended GPU, and the one that holds its numbers."""

    __torch_function__ = torch._C._disabled_torch_function_impl

    @staticmethod
    def __new__(cls, held):
        dense = held.layout == torch.strided
        return torch.Tensor._make_wrapper_subclass(
            cls,
            held.shape,
            strides=held.stride() if dense else None,
            storage_offset=held.storage_offset() if dense else None,
            dtype=held.dtype,
            layout=held.layout,
            device=GPU,
        )

    def __init__(self, held):
        self.held = held

    def __repr__(self):
        return f"Pretended({self.held!r})"

    def tolist(self):
        return self.held.tolist()

    def numpy(self, *, force=False):
        if force:
            return self.held.numpy(force=True)
        raise TypeError("can't convert cuda:0 device type tensor to numpy")

    def __reduce_ex__(self, protocol):
        return self.held.__reduce_ex__(protocol)

    @classmethod
    def __torch_dispatch__(cls, operator, types, args=(), kwargs=None):
        return run(operator, args, kwargs)


class Mode(TorchDispatchMode):
    def __torch_dispatch__(self, operator, types, args=(), kwargs=None):
        return run(operator, args, kwargs)


def backward(loss):
    """In place of `Tensor.backward`, which needs a driver: the gradient of a sum of squares."""
    nodes, seen = [loss.grad_fn], set()
    while nodes:
        node = nodes.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        if hasattr(node, "variable"):
            node.variable.grad = 2 * node.variable.detach()
        nodes += [parent for parent, _ in node.next_functions]


@contextlib.contextmanager
def gpu(monkeypatch):
    """As if there were one GPU, until the end."""
    torch._C._ensureCUDADeviceGuardSet()
    before = torch._C._only_lift_cpu_tensors()
    overwrite = torch.__future__.get_overwrite_module_params_on_conversion()
    for name, result in {
        "_lazy_init": None,
        "is_available": True,
        "device_count": 1,
        "current_device": 0,
        "is_bf16_supported": True,
        "is_current_stream_capturing": False,
        "synchronize": None,
        "manual_seed": None,
        "set_rng_state": None,
        "get_rng_state": torch.get_rng_state(),
        "device": contextlib.nullcontext(),
        "mem_get_info": (10**9, 2 * 10**9),
    }.items():
        monkeypatch.setattr(torch.cuda, name, lambda *args, result=result: result)
    monkeypatch.setattr(torch.Tensor, "backward", backward)
    monkeypatch.setattr(torch.backends.cudnn, "enabled", False)
    try:
        torch._C._set_only_lift_cpu_tensors(True)
        torch.__future__.set_overwrite_module_params_on_conversion(True)
        with Mode():
            yield
    finally:
        torch.__future__.set_overwrite_module_params_on_conversion(overwrite)
        torch._C._set_only_lift_cpu_tensors(before)

"""What runs on a GPU: on a real one where there is one, else on a pretended one."""

import numpy as np
import pytest
import torch
from calls import CALLS, small_networks
from pretended import GPU

from lib import classify, datasets
from lib._tensors import free_bytes
from lib._training import Trainer


def leaves(result):
    """Parts of a result that have no parts, by where they stand in it."""
    if isinstance(result, torch.Tensor):
        result = result.detach().to_dense().cpu().numpy()
    if isinstance(result, tuple | list):
        result = dict(enumerate(result))
    if isinstance(result, dict):
        return {f"{k}.{j}": x for k, part in result.items() for j, x in leaves(part).items()}
    return {"": result}


def assert_same(result, wanted):
    result, wanted = leaves(result), leaves(wanted)
    assert list(result) == list(wanted) != []
    for name, value in wanted.items():
        if isinstance(value, str):
            assert result[name] == value
        else:
            np.testing.assert_allclose(result[name], value, rtol=1e-4, atol=1e-5, err_msg=name)


def test_a_gpu_does_not_mix(gpu):
    """Else none of what follows would find anything."""
    far, near = torch.ones(2, 2, device="cuda"), torch.ones(2, 2)
    there = far, far + 1, far.mT, near.to("cuda"), torch.tensor([1.0]).cuda(), far.sum()
    assert [x.is_cuda for x in (*there, near, far.cpu())] == [True] * len(there) + [False] * 2
    mixtures = {
        "sum": lambda: far + near,
        "product": lambda: far @ near,
        "in place": lambda: near.add_(far),
        "a number of the GPU": lambda: near + far.sum(),
        "put": lambda: far.index_put_((torch.tensor([0]),), near[:1]),
        "positions of the GPU": lambda: near[torch.tensor([0], device="cuda")],
        "stack": lambda: torch.stack([far, near]),
        "NumPy": lambda: np.asarray(far),
        "method": lambda: far.numpy(),
    }
    for name, mixture in mixtures.items():
        with pytest.raises((RuntimeError, TypeError)):
            pytest.fail(f"{name}: {mixture()}")
        with torch.inference_mode(), pytest.raises((RuntimeError, TypeError)):
            pytest.fail(f"{name}: {mixture()}")
    # Single numbers and positions may come from the CPU; copies go either way.
    far[torch.tensor([0])] += near.sum()
    near.copy_(far)
    assert near.tolist() == far.tolist() == [[5, 5], [1, 1]]


WITH_DEVICE = [name for name, call in CALLS.items() if "device" in call.arguments]


@pytest.mark.parametrize("name", WITH_DEVICE)
def test_a_gpu_gives_what_the_cpu_gives(gpu, name):
    call = CALLS[name]
    wanted = call.function(**call.arguments)
    assert_same(call.function(**call.arguments | {"device": "cuda"}), wanted)


ARRAYS = [
    (name, key)
    for name, call in CALLS.items()
    for key, value in call.arguments.items()
    if isinstance(value, np.ndarray | torch.Tensor)
]


@pytest.mark.parametrize(("name", "key"), ARRAYS)
def test_a_tensor_on_a_gpu_is_read_or_refused(gpu, name, key):
    call = CALLS[name]
    value = call.arguments[key]
    near = value if isinstance(value, torch.Tensor) else torch.from_numpy(np.array(value))

    try:
        far = call.function(**call.arguments | {key: near.to("cuda")})
    except ValueError as error:
        # A name of the argument, not an error of NumPy's or torch's.
        if not str(error).startswith(key):
            raise
    else:
        assert_same(far, call.function(**call.arguments | {key: near}))


@pytest.mark.parametrize("memory", [0, "sparse", None])
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("protocol", ["code", "text"])
def test_training_on_a_gpu(gpu, tmp_path, monkeypatch, protocol, precision, memory):
    """As on the CPU, from codes made batch by batch too; and a killed one goes on to the bit."""
    data = datasets.labelled_images("digits", "train", 20)
    atoms = np.random.default_rng(0).standard_normal((3, 5, 5))
    store = classify.encode(data.images, atoms, protocol, tmp_path, size=24, device="cuda")
    codes, path, steps = store.load(), tmp_path / "checkpoint", []
    # Enough for the codes of training, as they are.
    memory = codes.nbytes if memory == "sparse" else memory
    settings = {"precision": precision, "memory": memory, "size": 24, "batch": 8, "epochs": 3}

    def train(device="cuda", checkpoint=None):
        arguments = codes, data.labels, codes, data.labels, 10, protocol
        with small_networks():
            return classify.train(*arguments, device=device, checkpoint=checkpoint, **settings)

    def killed(*arguments):
        steps.append(1)
        if len(steps) == 5:
            raise KeyboardInterrupt
        return step(*arguments)

    whole, step = train(), Trainer.step
    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "step", killed)
        with pytest.raises(KeyboardInterrupt):
            train(checkpoint=path)
    again = train(checkpoint=path)
    weights = [part.model.state_dict() for part in (whole, again)]
    assert all(x.is_cuda and torch.equal(x, weights[1][name]) for name, x in weights[0].items())
    assert_same(again.history, whole.history)
    loss = train("cpu").history["train_loss"]
    np.testing.assert_allclose(whole.history["train_loss"], loss, rtol=0.05)


def test_what_torch_holds_without_need_is_free(monkeypatch):
    for name, result in {
        "mem_get_info": (1000, 5000),
        "memory_reserved": 700,
        "memory_allocated": 400,
    }.items():
        monkeypatch.setattr(torch.cuda, name, lambda device, result=result: result)
    assert free_bytes(GPU) == 1300

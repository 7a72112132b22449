"""Classes from sparse codes: encode labelled images, train a ResNet-18 on the codes, evaluate it.

Ladret et al., Table 1, under the protocol of the text and that of the released code.
"""

import os
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch.nn.functional import cross_entropy

from lib._checks import as_array, check_array, check_choice, check_count, check_flag, check_number
from lib._encoding import (
    MEAN,
    Inputs,
    check_reading,
    digest,
    encode,
    grey_inputs,
    inputs,
    kept_values,
    prepare,
    pruned_share,
    pruning_changes,
)
from lib._files import check_folder
from lib._networks import RECIPES, Recipe, resnet18
from lib._networks import VERSION as NETWORK_VERSION
from lib._tensors import check_device, check_tensor, free_bytes
from lib._training import PRECISIONS, Trainer, autocast, repeatable
from lib.code_store import SparseCodes

__all__ = [
    "RECIPES",
    "Recipe",
    "encode",
    "evaluate",
    "grey_inputs",
    "inputs",
    "kept_values",
    "prepare",
    "pruned_share",
    "pruning_changes",
    "resnet18",
    "train",
]

HISTORY = ("train_loss", "train_accuracy", "test_loss", "test_accuracy")


class Training(NamedTuple):
    """A trained network, and how it got there.

    Attributes
    ----------
    model : torch.nn.Module
        After the last epoch.
    history : dict of ndarray (epochs,)
        ``train_loss`` and ``train_accuracy`` while the epoch ran, ``test_loss`` and
        ``test_accuracy`` after it.
    predictions : ndarray (n_test,) int64
        Class that each test image is put into, after the last epoch.
    """

    model: torch.nn.Module
    history: dict
    predictions: np.ndarray


class Evaluation(NamedTuple):
    """How a network does on images.

    Attributes
    ----------
    loss, accuracy : float
        Mean cross-entropy in nats, and the fraction of images with the right class.
    predictions : ndarray (n,) int64
        Class that each image is put into.
    """

    loss: float
    accuracy: float
    predictions: np.ndarray


def train(
    x,
    labels,
    test_x,
    test_labels,
    n_classes,
    protocol="code",
    *,
    cutoff=0.0,
    size=32,
    mean=MEAN,
    epochs=100,
    seed=42,
    batch=None,
    device="cpu",
    precision="float32",
    memory=None,
    checkpoint=None,
    progress=False,
    **changes,
):
    """Train a ResNet-18.

    Random numbers are drawn anew for each epoch from seed and epoch, so that training that goes
    on from a checkpoint draws what it would have drawn without the stop.

    Parameters
    ----------
    x, test_x : Tensor (n, channels, height, width) or code_store.SparseCodes
        Inputs as they are, or sparse codes of which `inputs` makes the inputs.
    labels, test_labels : ndarray (n,)
        Integers from 0 to n_classes - 1.
    n_classes : int
    protocol : {"code", "text"}
        Network and `RECIPES`.
    cutoff : float
    size : int
    mean : float
        How sparse codes are read: see `inputs`.
    epochs, seed : int
    batch : int, optional
        The recipe's if not given. Images left over at the end of an epoch are a smaller batch;
        a single one is left out.
    device : str
    precision : {"float32", "bfloat16", "float16"}
        Of products and convolutions; weights stay in single precision.
    memory : float, optional
        Bytes for inputs made from sparse codes; half of what is free on a CUDA device, 4 GB on
        the CPU if not given. If they fit in half precision, they are made once, on the device;
        else batch by batch, with the same values.
    checkpoint : Path, optional
        File that holds the state after each epoch, from which training goes on. It knows its
        images, labels and settings.
    progress : bool
        Show a progress bar.
    **changes
        Fields of the recipe to replace.

    Returns
    -------
    Training

    Raises
    ------
    ValueError
        Labels, images or settings do not fit each other; CheckpointError if the checkpoint is
        damaged or of others.
    FloatingPointError
        The network is no longer finite, or no step could be made in float16.
    OSError
        The folder of the checkpoint takes no file.
    """
    check_choice("protocol", protocol, RECIPES)
    recipe = _recipe(protocol, batch, changes)
    epochs, seed = check_count("epochs", epochs), check_count("seed", seed, 0)
    device, progress = check_device(device), check_flag("progress", progress)
    check_choice("precision", precision, PRECISIONS)
    check_reading(protocol, cutoff, size, mean)
    memory = _memory(device) if memory is None else check_number("memory", memory, 0)
    x, labels = _check_data("x", x, "labels", labels, n_classes)
    test_x, test_labels = _check_data("test_x", test_x, "test_labels", test_labels, n_classes)
    if isinstance(x, SparseCodes) != isinstance(test_x, SparseCodes):
        raise ValueError(
            "test_x must be SparseCodes if x is, and a tensor if not, for both to be read alike, "
            f"got {type(test_x).__name__} beside {type(x).__name__}"
        )
    if tuple(x.shape[1:]) != tuple(test_x.shape[1:]):
        raise ValueError(
            f"test_x must have images of shape {tuple(x.shape[1:])}, got {tuple(test_x.shape[1:])}"
        )
    if len(x) < recipe.batch:
        raise ValueError(f"x must hold a batch of {recipe.batch} images at least, got {len(x)}")
    _check_precision(precision, device, protocol, size if _resized(x, protocol) else x.shape[-2:])
    if checkpoint is not None and not isinstance(checkpoint, str | os.PathLike):
        raise ValueError(f"checkpoint must be a path, got {checkpoint!r}")
    if checkpoint is not None and Path(checkpoint).is_dir():
        raise ValueError(f"checkpoint must be a file's path, got {checkpoint!r}, a folder")
    about = [
        NETWORK_VERSION,
        protocol,
        list(map(str, recipe)),
        epochs,
        seed,
        int(n_classes),
        *map(int, x.shape),
    ]
    about += [
        float(cutoff),
        int(size),
        float(mean),
        precision,
        *map(_identity, (x, test_x, labels, test_labels)),
    ]
    about = repr(about)
    n_steps = epochs * (len(x) // recipe.batch + (len(x) % recipe.batch > 1))
    state = Trainer(x.shape[1], n_classes, protocol, seed, recipe, n_steps, device, precision)
    reading = {"protocol": protocol, "cutoff": cutoff, "size": size, "mean": mean}
    x, memory = Inputs.of(x, reading, device, memory)
    test_x, _ = Inputs.of(test_x, reading, device, memory)
    if checkpoint is not None:
        check_folder(Path(checkpoint).parent)
        if Path(checkpoint).exists():
            state.load(checkpoint, about)
    from tqdm.auto import trange

    for epoch in trange(len(state.history), epochs, unit="epoch", disable=not progress):
        with repeatable():
            learnt = _epoch(state, x, labels, recipe, seed, epoch)
            result = _evaluate(state.model, test_x, test_labels, recipe.batch, precision)
        if not np.isfinite([learnt[0], result.loss]).all():
            raise FloatingPointError(
                f"the loss of epoch {epoch} is not finite: lower rate, or scale x down"
            )
        state.history.append([*learnt, result.loss, result.accuracy])
        state.predictions = torch.from_numpy(result.predictions)
        if checkpoint is not None:
            state.save(checkpoint, about)
    if not state.steps:
        raise FloatingPointError(
            f"no step had gradients that are finite in {precision}: take more epochs, or another "
            "precision"
        )
    columns = np.array(state.history).T
    history = dict(zip(HISTORY, columns, strict=True))
    return Training(state.model, history, state.predictions.numpy())


def evaluate(model, x, labels, n_classes, batch=800, precision="float32"):
    """Loss, accuracy and predictions of a network on images.

    Parameters
    ----------
    model : torch.nn.Module
    x : Tensor (n, channels, height, width)
    labels, n_classes, batch, precision
        As for `train`.

    Returns
    -------
    Evaluation

    Raises
    ------
    ValueError
        Images, labels and the network do not fit each other.
    """
    if not isinstance(x, torch.Tensor):
        raise ValueError(f"x must be a tensor, such as `inputs` makes, got {type(x).__name__}")
    if not isinstance(model, torch.nn.Module):
        raise ValueError(f"model must be a torch.nn.Module, got {type(model).__name__}")
    if any(parameter.dtype != torch.float32 for parameter in model.parameters()):
        raise ValueError("model must have parameters in single precision")
    x, labels = _check_data("x", x, "labels", labels, n_classes)
    for name, given, layer, field in (
        ("x", x.shape[1], "conv1", "in_channels"),
        ("n_classes", n_classes, "fc", "out_features"),
    ):
        wanted = getattr(getattr(model, layer, None), field, given)
        if wanted != given:
            raise ValueError(f"{name} must fit the network's {wanted} {field}, got {given}")
    batch = check_count("batch", batch)
    check_choice("precision", precision, PRECISIONS)
    training = model.training
    try:
        return _evaluate(model, Inputs(x), labels, batch, precision)
    finally:
        model.train(training)


def _evaluate(model, x, labels, batch, precision):
    device = next(model.parameters()).device
    total, predictions = 0.0, []
    model.eval()
    with torch.inference_mode():
        for rows in torch.arange(len(labels)).split(batch):
            with autocast(device, precision):
                scores = model(x.batch(rows, device))
            scores = scores.float().cpu()
            total += float(cross_entropy(scores, labels[rows], reduction="sum"))
            predictions.append(scores.argmax(1))
    predictions = torch.cat(predictions)
    accuracy = float((predictions == labels).double().mean())
    return Evaluation(total / len(labels), accuracy, predictions.numpy())


def _epoch(state, x, labels, recipe, seed, epoch):
    """Mean loss and accuracy of one epoch of training."""
    # Two generators: what is drawn for the order must not tell what dropout draws.
    own, other = (int(s) for s in np.random.SeedSequence([seed, epoch]).generate_state(2))
    order = torch.Generator().manual_seed(own)
    state.model.train()
    total, right, seen = 0.0, 0, 0
    cuda = [state.device] if state.device.type == "cuda" else []
    with torch.random.fork_rng(devices=cuda):
        torch.default_generator.manual_seed(other)
        if cuda:
            with torch.cuda.device(state.device):
                torch.cuda.manual_seed(other)
        for rows in torch.randperm(len(labels), generator=order).split(recipe.batch):
            # Batch normalisation needs two.
            if len(rows) < 2:
                break
            some = x.batch(rows, state.device)
            if recipe.flip:
                flipped = torch.rand(len(rows), generator=order) < 0.5
                some = torch.where(flipped.to(some.device)[:, None, None, None], some.flip(3), some)
            truth = labels[rows].to(state.device)
            loss, scores = state.step(some, truth)
            total += loss * len(rows)
            right += (scores.argmax(1) == truth).sum()
            seen += len(rows)
    return float(total) / seen, float(right) / seen


def _resized(x, protocol):
    """Whether what is read is as large as `size` says."""
    return protocol == "code" and isinstance(x, SparseCodes)


def _check_precision(precision, device, protocol, side):
    """Refuse what torch gets wrong: weights' gradients of a strided convolution of one pixel.

    In bfloat16 on the CPU, torch (2.12) leaves those undefined that meet padding alone.
    """
    least = {"text": 17, "code": 5}[protocol]
    if device.type == "cpu" and precision == "bfloat16" and np.min(side) < least:
        raise ValueError(
            f"precision must not be bfloat16 on the CPU for images below {least} pixels a side, "
            f"got it for {int(np.min(side))}"
        )


def _memory(device):
    return free_bytes(device) / 2 if device.type == "cuda" else 4e9


def _identity(x):
    """Hash of what is learned from, or tested on."""
    if isinstance(x, SparseCodes):
        return digest(x.starts) + digest(x.positions) + digest(x.values)
    # NumPy has no bfloat16.
    return digest((x.float() if x.dtype == torch.bfloat16 else x).cpu().numpy())


def _recipe(protocol, batch, changes):
    unknown = sorted(set(changes) - set(Recipe._fields))
    if unknown:
        raise ValueError(f"changes must be of {', '.join(Recipe._fields)}, got {unknown[0]}")
    recipe = RECIPES[protocol]._replace(**changes)
    for name in ("one_cycle", "flip"):
        if not isinstance(value := getattr(recipe, name), bool):
            raise ValueError(f"{name} must be True or False, got {value!r}")
    betas = check_array("betas", recipe.betas, (2,))
    if betas.min() < 0 or betas.max() >= 1:
        raise ValueError(f"betas must be from 0 to below 1, got {betas.tolist()}")
    batch = recipe.batch if batch is None else batch
    return recipe._replace(
        betas=tuple(betas.tolist()),
        rate=check_number("rate", recipe.rate, 0, open_minimum=True),
        weight_decay=check_number("weight_decay", recipe.weight_decay, 0),
        # Batch normalisation needs two.
        batch=check_count("batch", batch, 2),
    )


def _check_data(name, x, other, labels, n_classes):
    """Images, and labels as a tensor, once they are seen to fit."""
    n_classes = check_count("n_classes", n_classes, 2)
    if isinstance(x, torch.Tensor):
        if x.layout != torch.strided or x.ndim != 4 or 0 in x.shape:
            raise ValueError(
                f"{name} must have shape (n, channels, height, width) and be dense, "
                f"got {tuple(x.shape)}, {x.layout}"
            )
        x = x.detach()
        for part in x.split(4096):
            check_tensor(name, part, 4, x.device, torch.float32)
    elif not isinstance(x, SparseCodes):
        raise ValueError(f"{name} must be a tensor or SparseCodes, got {type(x).__name__}")
    labels = as_array(other, labels, "iu")
    if labels.shape != (len(x),):
        raise ValueError(f"{other} must be {len(x)} integers, got shape {labels.shape}")
    if labels.min() < 0 or labels.max() >= n_classes:
        raise ValueError(
            f"{other} must be from 0 to {n_classes - 1}, got {labels.min()} to {labels.max()}"
        )
    return x, torch.from_numpy(labels.astype(np.int64))

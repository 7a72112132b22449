"""A network in training: what its steps change, and how it is written down."""

import contextlib
import hashlib
import io
import pickle
from pathlib import Path

import torch
from torch.nn.functional import cross_entropy
from torch.optim import lr_scheduler

from lib._files import write_bytes
from lib._networks import resnet18
from lib.dictlearn import CheckpointError

PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
_DIGEST = hashlib.sha256().digest_size


def autocast(device, precision):
    dtype = PRECISIONS[precision]
    return torch.autocast(device.type, dtype, enabled=dtype != torch.float32)


@contextlib.contextmanager
def repeatable():
    """Have a GPU choose convolutions that give the same result each time, until the end."""
    cudnn = torch.backends.cudnn
    before = cudnn.deterministic, cudnn.benchmark
    cudnn.deterministic, cudnn.benchmark = True, False
    try:
        yield
    finally:
        cudnn.deterministic, cudnn.benchmark = before


class Trainer:
    """All that training changes, and a step of it.

    Parameters
    ----------
    channels, n_classes, protocol, seed
        Of the network: see `resnet18`.
    recipe : Recipe
    n_steps : int
        Steps of the schedule.
    device : torch.device
    precision : str
        A key of `PRECISIONS`.
    """

    def __init__(self, channels, n_classes, protocol, seed, recipe, n_steps, device, precision):
        model = resnet18(channels, n_classes, protocol, seed)
        self.model = model.to(device, memory_format=torch.channels_last)
        self.device, self.precision = device, precision
        self.history, self.predictions = [], torch.empty(0, dtype=torch.int64)
        self.optimiser = torch.optim.Adam(
            self.model.parameters(),
            lr=recipe.rate,
            betas=recipe.betas,
            eps=1e-8,
            weight_decay=recipe.weight_decay,
        )
        # One-cycle also cycles the first beta, as torch does unless told otherwise. It is a step
        # longer than the training: the last one would be made at a rate of nearly nothing.
        self.schedule = (
            lr_scheduler.OneCycleLR(self.optimiser, recipe.rate, total_steps=n_steps + 1)
            if recipe.one_cycle
            else lr_scheduler.ConstantLR(self.optimiser, 1.0)
        )
        # Small gradients vanish in float16, not in bfloat16, which has float32's exponents.
        self.scaler = torch.amp.GradScaler(device.type, enabled=precision == "float16")

    @property
    def steps(self):
        """Steps that were made; in float16, those whose gradients overflow are not."""
        return self.schedule.last_epoch

    @property
    def _parts(self):
        names = ("model", "optimiser", "schedule", "scaler")
        return {name: getattr(self, name) for name in names}

    def step(self, some, truth):
        """One step on a batch.

        Parameters
        ----------
        some : Tensor (n, channels, height, width)
        truth : Tensor (n,)
            Both on the device.

        Returns
        -------
        loss : Tensor ()
        scores : Tensor (n, n_classes)
        """
        self.optimiser.zero_grad(set_to_none=True)
        with autocast(self.device, self.precision):
            scores = self.model(some)
        loss = cross_entropy(scores.float(), truth)
        self.scaler.scale(loss).backward()
        before = self.scaler.get_scale()
        self.scaler.step(self.optimiser)
        self.scaler.update()
        # Where gradients overflowed, no step was made: the schedule waits for the next.
        if self.scaler.get_scale() >= before:
            self.schedule.step()
        return loss.detach(), scores.detach()

    def save(self, path, about):
        """Write a checkpoint that says what it is about."""
        buffer = io.BytesIO()
        states = {name: part.state_dict() for name, part in self._parts.items()}
        own = {"about": about, "history": self.history, "predictions": self.predictions}
        torch.save(own | states, buffer)
        data = buffer.getvalue()
        # torch does not notice a wrong bit among the weights.
        write_bytes(path, hashlib.sha256(data).digest() + data)

    def load(self, path, about):
        """Go on from a checkpoint; CheckpointError if it is damaged, or about anything else."""
        content = Path(path).read_bytes()
        digest, data = content[:_DIGEST], content[_DIGEST:]
        if hashlib.sha256(data).digest() != digest:
            raise CheckpointError(f"checkpoint {path} is damaged: delete it to start anew")
        # Adam counts its steps on the host; from a device it would fetch them in every step.
        try:
            stored = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
        except (pickle.UnpicklingError, RuntimeError, EOFError) as error:
            raise CheckpointError(f"checkpoint {path} is none of a training: {error}") from error
        if not isinstance(stored, dict) or stored.get("about") != about:
            raise CheckpointError(
                f"checkpoint must be of the same settings and data, {path} is of "
                f"{stored.get('about') if isinstance(stored, dict) else stored}, not {about}"
            )
        for name, part in self._parts.items():
            part.load_state_dict(stored[name])
        self.history, self.predictions = stored["history"], stored["predictions"].cpu()

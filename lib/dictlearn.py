"""Online convolutional dictionary learning, resumable (Liu, Garcia-Cardona & Wohlberg 2018).

At step t = 0, 1, … some images are coded with the atoms of the time; then the atoms move against
the gradient of ½ ‖Σ_k d_k * x_k - s‖², summed over these images, by η_a / (η_b + t), on their own
support, and are scaled to unit norm (as in SPORCO's OnlineConvBPDNDictLearn; the constraint
‖d_k‖ <= 1 of Ladret et al., Eq. 5, is active for each atom that is used).
"""

import hashlib
import io
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from lib import csc
from lib._checks import check_array, check_count, check_flag, check_number, check_rng
from lib._files import check_folder, write_bytes
from lib._tensors import check_coefficients, check_device, check_tensor


class LearnedDictionary(NamedTuple):
    """Atoms and how they were learned.

    Attributes
    ----------
    atoms : ndarray (K, h, w)
        Of unit norm, in the precision of the work.
    objective : ndarray (n_steps,)
        Mean objective of the images of each step, coded before the atoms moved.
    steps : ndarray (m,)
        Steps made when the atoms were evaluated, 0 first.
    snapshots : ndarray (m, K, h, w)
        Atoms at these steps.
    held_out : ndarray (m, n_held_out)
        Objective of the held-out images at these steps.
    """

    atoms: np.ndarray
    objective: np.ndarray
    steps: np.ndarray
    snapshots: np.ndarray
    held_out: np.ndarray


class CheckpointError(ValueError):
    """A checkpoint that cannot be read, or that is of other images or settings."""


def learn_dictionary(
    images,
    atoms,
    lmbda,
    n_steps,
    *,
    rng,
    batch=1,
    eta_a=100.0,
    eta_b=1000.0,
    max_iter=300,
    tol=1e-2,
    rho=10.0,
    auto_rho=False,
    relax=1.8,
    held_out=None,
    evaluate_every=None,
    checkpoint=None,
    checkpoint_every=20,
    device="cpu",
    dtype=torch.float32,
    progress=False,
):
    """Learn atoms from images, some images a step. Defaults are those of Ladret et al.'s code.

    Parameters
    ----------
    images : ndarray (n, height, width)
        In an order that is drawn anew for each pass.
    atoms : ndarray (K, h, w)
        Where learning starts; scaled to unit norm.
    lmbda : float
        λ.
    n_steps : int
        Steps, those in a checkpoint included.
    rng : int or numpy.random.Generator
        For the order of the images.
    batch : int
        Images a step; their gradients add up. Each image has its own stop by the tolerance.
    eta_a, eta_b : float
        Step size η_a / (η_b + t).
    max_iter, tol, rho, auto_rho, relax
        Of the coder: see `csc.sparse_code`.
    held_out : ndarray (m, height, width), optional
        Images on which the atoms are evaluated, coded as the others are.
    evaluate_every : int, optional
        Steps between evaluations and snapshots; only at the start and the end if not given.
    checkpoint : Path, optional
        File that learning goes on from if it is there, and that is rewritten as learning goes on;
        or a folder, where each learning task has a file of its own. The result is then the same,
        bit by bit, as without an interruption, on the same device and number of threads.
    checkpoint_every : int
        Steps between its versions.
    device : str
        Where to work.
    dtype : torch.dtype
        float32 or float64.
    progress : bool
        Show a progress bar.

    Returns
    -------
    LearnedDictionary

    Raises
    ------
    ValueError
        An argument is not allowed; CheckpointError if the checkpoint is damaged or not of these
        images and settings.
    FloatingPointError
        Objective or atoms are no longer finite; says at which step and image.
    OSError
        The folder of the checkpoint takes no file.
    """
    images = _check_images("images", images, dtype)
    atoms = check_array("atoms", atoms, (None, None, None))
    device = check_device(device)
    n_steps = check_count("n_steps", n_steps)
    batch = check_count("batch", batch)
    if batch > len(images):
        raise ValueError(f"batch must be at most the {len(images)} images, got {batch}")
    eta_a = check_number("eta_a", eta_a, 0, open_minimum=True)
    eta_b = check_number("eta_b", eta_b, 0, open_minimum=True)
    if evaluate_every is not None:
        evaluate_every = check_count("evaluate_every", evaluate_every)
    checkpoint_every = check_count("checkpoint_every", checkpoint_every)
    if held_out is not None:
        held_out = _check_images("held_out", held_out, dtype)
    rng = check_rng(rng)
    progress = check_flag("progress", progress)
    coder = {
        "max_iter": check_count("max_iter", max_iter),
        "tol": check_number("tol", tol, 0),
        "rho": None if rho is None else check_number("rho", rho, 0, open_minimum=True),
        "auto_rho": check_flag("auto_rho", auto_rho),
        "relax": check_number("relax", relax, 0, open_minimum=True),
    }

    def code(some, d, t, chosen=None):
        try:
            return csc.sparse_code(some, d, lmbda, device=device, dtype=dtype, **coder)
        except csc.NotFinite as error:
            i = error.image
            which = f"held-out image {i}" if chosen is None else f"image {chosen[i]}"
            raise FloatingPointError(
                f"the objective of {which} is not finite at step {t}: "
                "lower eta_a, raise eta_b, or scale the images down"
            ) from error

    if checkpoint is not None:
        path = Path(checkpoint)
        check_folder(path if path.is_dir() else path.parent)
    norms = np.linalg.norm(atoms, axis=(1, 2), keepdims=True)
    d = torch.as_tensor(atoms / np.where(norms > 0, norms, 1), dtype=dtype, device=device)
    # Refuses what the coder does not take before work starts.
    once = coder | {"max_iter": 1, "dtype": dtype}
    csc.sparse_code(images[:1], d, lmbda, device=device, **once)
    order = _order(len(images), n_steps * batch, rng)
    first, order = order[: len(images)], order[: n_steps * batch].reshape(n_steps, batch)
    settings = (csc.VERSION, float(lmbda), batch, eta_a, eta_b, evaluate_every, coder)
    history = _History(settings, images, atoms, held_out, order, first, evaluate_every)
    if checkpoint is not None and Path(checkpoint).is_dir():
        checkpoint = Path(checkpoint) / history.name
    d = history.resume(checkpoint, d)
    from tqdm.auto import tqdm

    with tqdm(total=n_steps, initial=history.done, unit="step", disable=not progress) as bar:
        for t in range(history.done, n_steps + 1):
            if t not in history.steps and history.due(t):
                values = [] if held_out is None else code(held_out, d, t).objective
                history.evaluate(t, d, values)
            if checkpoint is not None and (t % checkpoint_every == 0 or t == n_steps):
                history.write(checkpoint, d)
            if t == n_steps:
                break
            some = torch.as_tensor(images[order[t]], device=device)
            coded = code(some, d, t, order[t])
            step = eta_a / (eta_b + t)
            moved = d - step * atom_gradient(some, coded.coefficients, d)
            norms = torch.linalg.vector_norm(moved, dim=(1, 2), keepdim=True)
            _check_norms(t, order[t], norms)
            d = moved / torch.where(norms > 0, norms, torch.ones_like(norms))
            history.append(coded.objective.mean())
            bar.update()
    return history.result(d)


def atom_gradient(images, coefficients, atoms):
    """Gradient (K, h, w) of Σ_images ½ ‖Σ_k d_k * x_k - s‖² with respect to the atoms.

    Parameters
    ----------
    images : Tensor (n, height, width)
    coefficients : Tensor (n, K, height, width)
    atoms : Tensor (K, h, w)
    """
    coefficients = check_coefficients(coefficients).to_dense()
    atoms = check_tensor("atoms", atoms, 3, coefficients.device, coefficients.dtype)
    rest = csc.reconstruct(coefficients, atoms)
    images = check_tensor("images", images, 3, rest.device, rest.dtype)
    if images.shape != rest.shape:
        raise ValueError(f"images must have shape {tuple(rest.shape)}, got {tuple(images.shape)}")
    height, width = atoms.shape[1:]
    rest = rest - images
    rest = torch.cat([rest, rest[:, : height - 1]], 1)
    rest = torch.cat([rest, rest[:, :, : width - 1]], 2)
    total = torch.zeros_like(atoms)
    # Correlations are asked for on the atoms' own support only: a matrix product, no spectra.
    for residual, maps in zip(rest, coefficients, strict=True):
        patches = residual.unfold(0, height, 1).unfold(1, width, 1).reshape(-1, height * width)
        total += (maps.flatten(1) @ patches).view_as(total)
    return total


class _History:
    """What has been learned so far, to go on from and to return."""

    def __init__(self, settings, images, atoms, held_out, order, first, every):
        digest = hashlib.sha256(repr(settings).encode())
        for array in (images, atoms, *(() if held_out is None else (held_out,))):
            digest.update(repr(array.shape).encode())
            digest.update(np.ascontiguousarray(array))
        self.key, self.order, self.n_steps = digest.hexdigest(), order.ravel(), len(order)
        self.first, self.every = first, every or self.n_steps
        self.n_held_out = 0 if held_out is None else len(held_out)
        self.objective, self.steps, self.snapshots, self.held_out = [], [], [], []

    @property
    def name(self):
        """A file name of its own for these images, settings and this order."""
        order = hashlib.sha256(self.first.tobytes()).hexdigest()
        return f"{self.key[:16]}-{order[:8]}.npz"

    @property
    def done(self):
        return len(self.objective)

    def due(self, t):
        """Whether the atoms are evaluated after t steps."""
        return t % self.every == 0 or t == self.n_steps

    def append(self, objective):
        self.objective.append(float(objective))

    def evaluate(self, t, d, values):
        self.steps.append(t)
        self.snapshots.append(d.cpu().numpy())
        self.held_out.append(np.asarray(values, dtype=float))

    def _arrays(self, d):
        shape = (len(self.steps), self.n_held_out)
        return LearnedDictionary(
            d.cpu().numpy(),
            np.array(self.objective),
            np.array(self.steps, dtype=np.int64),
            np.array(self.snapshots).reshape(-1, *d.shape),
            np.array(self.held_out, dtype=float).reshape(shape),
        )

    def result(self, d):
        return self._arrays(d)

    def write(self, path, d):
        buffer = io.BytesIO()
        # The order tells a resumed run with another seed apart.
        np.savez(buffer, key=self.key, order=self.order, **self._arrays(d)._asdict())
        write_bytes(Path(path), buffer.getvalue())

    def resume(self, path, d):
        """Atoms of a checkpoint, whose history is taken over; `d` if there is none."""
        if path is None or not Path(path).exists():
            return d
        try:
            with np.load(io.BytesIO(Path(path).read_bytes()), allow_pickle=False) as stored:
                key, order = str(stored["key"]), stored["order"]
                before = LearnedDictionary(*(stored[name] for name in LearnedDictionary._fields))
        # A damaged archive makes its reader raise nearly anything.
        except Exception as error:
            raise CheckpointError(
                f"checkpoint {path} cannot be read ({error}): delete it to start anew"
            ) from error
        common = min(len(order), len(self.order))
        if key != self.key or not np.array_equal(order[:common], self.order[:common]):
            raise CheckpointError(
                f"checkpoint {path} is of other images or settings: name another file, or delete it"
            )
        if len(before.objective) > self.n_steps:
            raise CheckpointError(
                f"checkpoint {path} has {len(before.objective)} steps already, more than n_steps"
            )
        self.objective = list(before.objective)
        # The end of a shorter run is no longer due.
        for t, atoms, values in zip(before.steps, before.snapshots, before.held_out, strict=True):
            if self.due(t):
                self.steps.append(int(t))
                self.snapshots.append(atoms)
                self.held_out.append(values)
        return torch.as_tensor(before.atoms, device=d.device)


def _order(n, count, rng):
    """Indices of `count` images or more: one random permutation after the other."""
    passes = -(-count // n)
    return np.concatenate([rng.permutation(n) for _ in range(passes)])


def _check_images(name, images, dtype):
    if dtype not in (torch.float32, torch.float64):
        raise ValueError(f"dtype must be torch.float32 or torch.float64, got {dtype}")
    images = check_array(name, images, (None, None, None))
    if 0 in images.shape:
        raise ValueError(f"{name} must hold at least one image, got shape {images.shape}")
    return check_tensor(name, images, 3, "cpu", dtype).numpy()


def _check_norms(t, chosen, norms):
    if not bool(torch.isfinite(norms).all()):
        raise FloatingPointError(
            f"the atoms are not finite after step {t} with images {list(map(int, chosen))}: "
            "lower eta_a, raise eta_b, or scale the images down"
        )

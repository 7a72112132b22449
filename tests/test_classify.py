"""Encoding labelled images, training on the codes, and going on where training stopped."""

import hashlib
import io

import numpy as np
import pytest
import torch

from lib import classify, code_store, csc, datasets, loggabor, training_speed
from lib._training import Trainer
from lib.dictlearn import CheckpointError

SMALL = {"batch": 16, "rate": 1e-3}


@pytest.fixture(scope="module")
def digits():
    data = datasets.labelled_images("digits", "train", 96)
    x = torch.from_numpy((data.images - 0.5) / 0.225)[:, None]
    return x, data.labels


def _train(digits, n=32, labels=None, **settings):
    x, truth = digits
    labels = truth if labels is None else labels
    settings = {"epochs": 3, "seed": 1} | SMALL | settings
    return classify.train(x[:n], labels[:n], x[-32:], labels[-32:], 10, **settings)


def _equal(a, b):
    states = a.model.state_dict(), b.model.state_dict()
    same = all(torch.equal(v, states[1][k]) for k, v in states[0].items())
    return same and all(np.array_equal(a.history[k], b.history[k]) for k in a.history)


def test_overfits_64_images(digits):
    x, labels = digits
    # The released recipe has dropout and decay to prevent just this: the other one, with a rate
    # that falls, so that the statistics of batch normalisation come to rest.
    changes = {"epochs": 16, "protocol": "text", "one_cycle": True}
    trained = _train(digits, 64, **changes)
    assert classify.evaluate(trained.model, x[:64], labels[:64], 10).accuracy == 1


def test_permuted_labels_give_chance(digits):
    permuted = np.random.default_rng(0).permutation(digits[1])
    trained = _train(digits, 64, labels=permuted, epochs=4, flip=False, weight_decay=0.0)
    # 32 images, chance 0.1: the binomial's 99.9 % quantile is 9 of 32.
    assert trained.history["test_accuracy"][-1] <= 9 / 32


@pytest.mark.parametrize("protocol", ["text", "code"])
def test_seeds_reproduce_and_leave_the_global_generator(digits, protocol):
    torch.manual_seed(5)
    before = torch.get_rng_state()
    first = _train(digits, protocol=protocol, epochs=1)
    assert torch.equal(before, torch.get_rng_state())
    torch.manual_seed(6)
    assert _equal(first, _train(digits, protocol=protocol, epochs=1))
    assert not _equal(first, _train(digits, protocol=protocol, epochs=1, seed=2))


@pytest.mark.parametrize("protocol", ["text", "code"])
def test_resume_equals_uninterrupted(digits, tmp_path, monkeypatch, protocol):
    whole = _train(digits, protocol=protocol)
    path = tmp_path / "state.pt"
    step, calls = Trainer.step, []

    def killed(*arguments):
        calls.append(1)
        # Two batches an epoch: in the middle of the second.
        if len(calls) == 4:
            raise KeyboardInterrupt
        return step(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "step", killed)
        with pytest.raises(KeyboardInterrupt):
            _train(digits, protocol=protocol, checkpoint=path)
    assert [p.name for p in tmp_path.iterdir()] == ["state.pt"]
    assert _equal(whole, _train(digits, protocol=protocol, checkpoint=path))
    with pytest.raises(ValueError, match="checkpoint must be of the same settings"):
        _train(digits, protocol=protocol, checkpoint=path, seed=3)
    with pytest.raises(ValueError, match="checkpoint must be of the same settings"):
        _train((digits[0] + 1, digits[1]), protocol=protocol, checkpoint=path)


@pytest.mark.parametrize("damage", ["truncated", "empty", "text", "one bit"])
def test_a_damaged_checkpoint_is_refused(digits, tmp_path, damage):
    path = tmp_path / "state.pt"
    _train(digits, checkpoint=path)
    stored = bytearray(path.read_bytes())
    if damage == "one bit":
        # Among the weights, where torch itself would not notice.
        stored[len(stored) // 2] ^= 1
    content = {"truncated": stored[:-1000], "empty": b"", "text": b"no checkpoint"}
    path.write_bytes(content.get(damage, stored))
    with pytest.raises(CheckpointError, match=r"state\.pt is damaged: delete it"):
        _train(digits, checkpoint=path)


def test_evaluate_counts(digits):
    x, labels = digits
    model = classify.resnet18(1, 10)
    result = classify.evaluate(model, x, labels, 10, batch=7)
    with torch.no_grad():
        scores = model.eval()(x)
    guess = scores.argmax(1).numpy()
    assert result.accuracy == np.mean(guess == labels)
    np.testing.assert_array_equal(result.predictions, guess)
    loss = -torch.log_softmax(scores, 1)[range(96), labels].mean()
    assert result.loss == pytest.approx(float(loss), rel=1e-4)


def test_evaluate_refuses_what_does_not_fit_and_leaves_the_mode(digits, stored):
    x, labels = digits
    model = classify.resnet18(1, 10).train()
    classify.evaluate(model, x[:4], labels[:4], 10)
    assert model.training
    for change, message in (
        ({"x": stored[3].load()}, "x must be a tensor"),
        ({"x": x.repeat(1, 2, 1, 1)}, "x must fit the network's 1 in_channels, got 2"),
        ({"n_classes": 12}, "n_classes must fit the network's 10 out_features, got 12"),
        ({"model": "m"}, "model must be a torch.nn.Module, got str"),
        ({"model": classify.resnet18(1, 10).double()}, "model must have parameters in single"),
    ):
        with pytest.raises(ValueError, match=message):
            classify.evaluate(
                **{"model": model, "x": x, "labels": labels, "n_classes": 10} | change
            )


def test_a_checkpoint_is_of_the_same_settings_however_they_are_written(digits, tmp_path):
    path = tmp_path / "state.pt"
    first = _train(digits, checkpoint=path, epochs=1, weight_decay=0.0, cutoff=0.0, size=32)
    same = {"weight_decay": 0, "cutoff": 0, "size": np.int64(32)}
    assert _equal(first, _train(digits, checkpoint=path, epochs=1, **same))


def test_codes_that_differ_in_where_images_start_are_others():
    positions, values = np.array([0, 1, 2]), np.ones(3, dtype=np.float16)
    pair = [
        code_store.SparseCodes(np.array(starts), positions, values, (1, 2, 2))
        for starts in ([0, 1, 3], [0, 2, 3])
    ]
    assert classify._identity(pair[0]) != classify._identity(pair[1])


def test_encode_writes_nothing_before_it_refuses(tmp_path):
    images = np.random.default_rng(0).random((2, 9, 9))
    for change in (
        {"atoms": np.zeros((1, 3, 3))},
        {"atoms": np.ones((1, 50, 50))},
        {"device": "abacus"},
    ):
        arguments = {"images": images, "atoms": np.ones((1, 3, 3)), "protocol": "code"} | change
        with pytest.raises(ValueError, match=r"^atoms|^device"):
            classify.encode(**arguments, store=tmp_path / "codes", size=16)
        assert not (tmp_path / "codes").exists()
    images = np.random.default_rng(0).random((4, 9, 9))
    images[3] = 0.5
    with pytest.raises(ValueError, match="images must not be constant, image 3 is"):
        classify.encode(images, np.ones((1, 3, 3)), "code", tmp_path / "codes", size=16, chunk=2)
    assert not (tmp_path / "codes").exists()


def test_what_is_read_is_counted_of_stored_codes_alone():
    for function in (classify.kept_values, classify.pruned_share, classify.pruning_changes):
        with pytest.raises(ValueError, match="codes must be SparseCodes, got Tensor"):
            function(torch.ones(1, 2, 8, 8), "code", 0.5)


@pytest.mark.parametrize(("protocol", "least"), [("text", 17), ("code", 5)])
def test_bfloat16_is_refused_where_torch_leaves_gradients_undefined(digits, protocol, least):
    labels = digits[1][:4]
    settings = {"protocol": protocol, "epochs": 1, "batch": 4, "precision": "bfloat16"}
    x = torch.ones(4, 1, least - 1, least)
    with pytest.raises(ValueError, match=rf"images below {least} pixels a side, got it for"):
        classify.train(x, labels, x, labels, 10, **settings)
    x = torch.rand(4, 1, least, least, generator=torch.Generator().manual_seed(0))
    first, second = (classify.train(x, labels, x, labels, 10, **settings) for _ in range(2))
    weights = [result.model.layer4[0].conv1.weight for result in (first, second)]
    assert torch.equal(*weights)


def test_seeds_beyond_torch_s_are_named():
    with pytest.raises(ValueError, match=r"^seed must be below 2\*\*63"):
        classify.resnet18(1, 2, seed=2**63)


def test_networks():
    text, code = (classify.resnet18(144, 10, protocol) for protocol in ("text", "code"))
    assert text.conv1.weight.shape == (64, 144, 7, 7)
    assert code.conv1.weight.shape == (64, 144, 3, 3)
    # Released: dropout of maps after batch normalisation and rectification; before them it would
    # drown what differs between images in the variance of its own zeros.
    assert isinstance(code.maxpool, torch.nn.Dropout2d)
    # 11 181 642 with 3 channels, of which the first convolution has 9408.
    n = sum(p.numel() for p in text.parameters())
    assert n == 11_181_642 - 9408 + 64 * 144 * 49
    assert code.layer1[0].conv1.weight.equal(classify.resnet18(144, 10).layer1[0].conv1.weight)
    # Uniform within 1/√(inputs), as PyTorch draws; torchvision's is normal, √2/√(outputs).
    down = code.layer2[0].downsample[0]
    for layer in (code.conv1, code.layer4[1].conv2, down):
        weight = layer.weight.detach()
        fan_in = weight[0].numel()
        assert float(weight.abs().max()) <= fan_in**-0.5
        assert float(weight.std()) == pytest.approx((3 * fan_in) ** -0.5, rel=0.02)
    weight = text.layer1[0].conv1.weight.detach()
    assert float(weight.std()) == pytest.approx((2 / 576) ** 0.5, rel=0.02)


def test_inputs_prune_after_normalisation():
    batch = torch.zeros(2, 1, 4, 4)
    batch[0, 0, 0, :2] = torch.tensor([1.0, 0.6])
    x = classify.inputs(batch, "code", 0, size=4)
    assert x[1].unique().tolist() == pytest.approx([-0.5 / 0.225], rel=2**-11)
    assert torch.equal(x, x.half().float())
    # 0.6 becomes 0.44, a fifth of the maximum: pruned; zeros became -2.22: not.
    pruned = classify.inputs(batch, "code", 0.25, size=4)
    assert pruned[0, 0, 0, 1] == 0
    assert pruned[0, 0, 1, 1] == x[0, 0, 1, 1]
    assert classify.inputs(batch, "text", 0.7)[0, 0, 0].tolist() == [1, 0, 0, 0]


def test_without_a_mean_zeros_stay_zeros_and_magnitudes_are_pruned():
    batch = torch.zeros(2, 1, 4, 4)
    batch[:, 0, 0, :3] = torch.tensor([[0.4, 0.3, -0.15], [0.04, 0.03, -0.015]])
    x = classify.inputs(batch, "code", 0, size=4, mean=0)
    torch.testing.assert_close(x, batch / 0.225, rtol=2**-10, atol=0)
    pruned = classify.inputs(batch, "code", 0.5, size=4, mean=0)
    # Half of 0.4 and of 0.04.
    least = torch.tensor([0.2, 0.02])[:, None, None, None]
    assert torch.equal(pruned, torch.where(batch.abs() >= least, x, 0))


def test_without_a_mean_a_network_reads_what_padding_with_zeros_of_the_code_would_give():
    network = classify.resnet18(3, 4, "code", 0).double()
    codes = torch.randn(4, 3, 8, 8, generator=torch.Generator().manual_seed(0)).double()
    codes[codes.abs() < 1] = 0
    released = (codes - 0.5) / 0.225
    padded = torch.nn.functional.pad(released, (1, 1, 1, 1), value=-0.5 / 0.225)
    weight = network.conv1.weight
    expected = network.bn1(torch.nn.functional.conv2d(padded, weight))
    torch.testing.assert_close(network.bn1(network.conv1(codes / 0.225)), expected)
    assert (network.bn1(network.conv1(released)) - expected).abs().max() > 0.1


@pytest.fixture
def stored(tmp_path):
    """Codes of eight digits by six random atoms, and what they were made of."""
    data = datasets.labelled_images("digits", "train", 8)
    # Small atoms have large coefficients, which pruning under "code" needs to do anything.
    atoms = 0.1 * np.random.default_rng(0).standard_normal((6, 5, 5)).astype(np.float32)
    settings = {"size": 16, "chunk": 4, "max_iter": 30}
    return data, atoms, settings, classify.encode(data.images, atoms, "code", tmp_path, **settings)


def test_encode_is_the_coder_and_keeps_its_codes(stored, tmp_path):
    data, atoms, settings, store = stored
    found = store.load()
    assert found.shape == (8, 6, 16, 16)
    direct = csc.sparse_code(
        classify.prepare(data.images, "code", 16)[:4],
        atoms,
        0.01,
        weights=np.full(6, 0.5),
        tol=0.1,
        max_iter=30,
    )
    torch.testing.assert_close(found.dense(range(4)), direct.coefficients, rtol=1e-3, atol=1e-4)
    files = {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*.codes")}
    classify.encode(data.images, atoms, "code", tmp_path, **settings)
    assert files == {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*.codes")}


@pytest.mark.parametrize("protocol", ["code", "text"])
def test_memory_does_not_change_training(stored, protocol):
    found, labels = stored[3].load(), stored[0].labels
    settings = {"protocol": protocol, "cutoff": 0.25, "size": 8, "epochs": 1, "batch": 4}
    # With no memory, inputs are made batch by batch; with some, of the training images only.
    runs = [
        classify.train(found, labels, found, labels, 10, memory=m, **settings)
        for m in (0, 2 * 8 * 6 * (64 if protocol == "code" else 256), 1e9)
    ]
    assert _equal(runs[0], runs[1])
    assert _equal(runs[0], runs[2])
    other = classify.train(found, labels, found, labels, 10, **settings | {"cutoff": 0.0})
    assert not _equal(runs[0], other)


def test_checkpoint_knows_how_codes_are_read(stored, tmp_path):
    found, labels = stored[3].load(), stored[0].labels
    settings = {"size": 8, "epochs": 1, "batch": 4, "checkpoint": tmp_path / "state.pt"}
    classify.train(found, labels, found, labels, 10, **settings)
    for change in ({"cutoff": 0.5}, {"size": 6}, {"mean": 0.0}, {"precision": "bfloat16"}):
        with pytest.raises(ValueError, match="checkpoint must be of the same settings"):
            classify.train(found, labels, found, labels, 10, **settings | change)


def test_bfloat16_is_near_single_precision(digits):
    results = [_train(digits, epochs=2, precision=p) for p in ("float32", "bfloat16")]
    losses = [r.history["train_loss"] for r in results]
    # Eight bits of mantissa, averaged over a batch: some per cent, and not the same numbers.
    np.testing.assert_allclose(losses[1], losses[0], rtol=0.1)
    assert not np.array_equal(losses[0], losses[1])


def test_kept_values_are_those_of_the_code_or_none(tmp_path):
    dense = torch.zeros(2, 3, 4, 4)
    dense[0, 0, 1, 2], dense[0, 2, 3, 3], dense[1, 1, 0, 0] = 3.0, 0.3, 0.4
    store = code_store.CodeStore(tmp_path, {}, 2, (3, 4, 4))
    store.fill(lambda rows: dense[rows])
    codes = store.load()
    assert classify.kept_values(codes, "text", 0, 4) == 1.5
    assert classify.kept_values(codes, "text", 0.35, 4) == 1.0
    # Normalised: 3 becomes 11.1, 0.3 becomes -0.9, zeros -2.2, and the second image's largest
    # value, -0.4, makes a threshold below zero.
    assert classify.kept_values(codes, "code", 0, 4) == 1.5
    assert classify.kept_values(codes, "code", 0.15, 4) == 1.5
    assert classify.kept_values(codes, "code", 0.25, 4) == 1.0
    # Without a mean, 0.3 is below a quarter of 3, and nothing is below a quarter of 0.4.
    assert classify.kept_values(codes, "code", 0, 4, mean=0) == 1.5
    assert classify.kept_values(codes, "code", 0.25, 4, mean=0) == 1.0


def test_ways_to_feed_a_network_are_all_timed(stored, tmp_path):
    codes = stored[3].load()
    files = tmp_path / "released"
    files.mkdir()
    assert training_speed.write_released(codes, files) > 4 * 6 * 16 * 16
    reading = {"protocol": "code", "cutoff": 0.0, "size": 8, "mean": 0.5}
    rows = torch.tensor([5, 0, 5])
    ways = [classify.Inputs(None, codes, reading), training_speed._Files(files, reading)]
    assert torch.equal(*(way.batch(rows, "cpu") for way in ways))
    settings = {"batch": 4, "n_batches": 1, "n_rounds": 1, "size": 8}
    rates = training_speed.images_per_second(codes, files, **settings)
    assert list(rates) == ["in memory", "batch by batch", "a file per image", "random inputs"]
    assert min(rates.values()) > 0
    with pytest.raises(ValueError, match="batch of 9 images"):
        training_speed.images_per_second(codes, files, **settings | {"batch": 9})


def test_grey_inputs_are_what_the_coder_gets():
    images = datasets.labelled_images("digits", "train", 3).images
    x = classify.grey_inputs(images, "code", 16)
    np.testing.assert_array_equal(x[:, 0], classify.prepare(images, "code", 16))
    assert classify.grey_inputs(images, "code").shape == (3, 1, 32, 32)
    assert classify.grey_inputs(images, "text").shape == (3, 1, 128, 128)


def test_store_is_20_times_smaller_than_the_released_files(tmp_path):
    photographs = datasets.photographs("bundled", 64, 3, "resize")
    atoms = loggabor.heterogeneous_dictionary("code").atoms
    store = classify.encode(photographs, atoms, "code", tmp_path)
    size = sum(p.stat().st_size for p in tmp_path.rglob("*") if p.is_file()) / store.n
    assert size <= 4 * 64 * 64 * 144 / 20


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"labels": np.full(96, 10)}, "labels must be from 0 to 9"),
        ({"labels": np.full(96, -1)}, "labels must be from 0 to 9"),
        ({"labels": np.full(96, 0.5)}, "labels must hold integers"),
        ({"batch": 33}, "batch of 33 images"),
        ({"batch": 1}, "batch must be"),
        ({"epochs": 0}, "epochs must be"),
        ({"protocol": "paper"}, "protocol must be"),
        ({"decay": 1}, "changes must be of"),
        ({"flip": "no"}, "flip must be True or False, got 'no'"),
        ({"one_cycle": 1}, "one_cycle must be True or False, got 1"),
        ({"betas": (0.9, 1.0)}, "betas must be from 0 to below 1"),
        ({"betas": 0.9}, "betas must"),
        ({"device": "tpu"}, "device must be"),
        ({"precision": "float64"}, "precision must be"),
        ({"cutoff": -1}, "cutoff must be"),
        ({"checkpoint": 123}, "checkpoint must be a path, got 123"),
    ],
)
def test_train_refuses(digits, change, message):
    with pytest.raises(ValueError, match=message):
        _train(digits, **change)


def test_train_refuses_images(digits):
    x, labels = digits
    with pytest.raises(ValueError, match="test_x must have images of shape"):
        classify.train(x, labels, x.expand(-1, 2, -1, -1), labels, 10, **SMALL)
    with pytest.raises(ValueError, match="x must be finite"):
        classify.train(x * np.nan, labels, x, labels, 10, **SMALL)
    with pytest.raises(ValueError, match="x must have shape"):
        classify.train(x[:, 0], labels, x, labels, 10, **SMALL)


def test_images_left_over_are_a_smaller_batch(digits, monkeypatch):
    seen = []
    step = Trainer.step

    def spy(self, some, truth):
        seen.append(len(some))
        return step(self, some, truth)

    monkeypatch.setattr(Trainer, "step", spy)
    x, labels = digits
    for n, batches in ((40, [16, 16, 8]), (33, [16, 16])):
        seen.clear()
        classify.train(x[:n], labels[:n], x[:8], labels[:8], 10, epochs=1, batch=16)
        assert seen == batches


def test_a_gpu_is_told_to_repeat_itself_and_left_as_it_was(digits, monkeypatch):
    cudnn = torch.backends.cudnn
    before, seen = (cudnn.deterministic, cudnn.benchmark), []
    step = Trainer.step

    def spy(self, some, truth):
        seen.append((cudnn.deterministic, cudnn.benchmark))
        return step(self, some, truth)

    monkeypatch.setattr(Trainer, "step", spy)
    x, labels = digits
    classify.train(x[:16], labels[:16], x[:8], labels[:8], 10, epochs=1, batch=8)
    assert set(seen) == {(True, False)}
    assert (cudnn.deterministic, cudnn.benchmark) == before


def test_codes_are_tested_on_codes(stored):
    found, labels = stored[3].load(), stored[0].labels
    read = classify.inputs(found.dense(range(len(found))), "code", 0, 8)
    settings = {"size": 8, "epochs": 1, "batch": 4}
    for x, test_x in ((found, read), (read, found), (found, found.dense(range(len(found))))):
        with pytest.raises(ValueError, match=r"^test_x must be SparseCodes if x is"):
            classify.train(x, labels, test_x, labels, 10, **settings)


def test_the_schedule_waits_where_float16_overflows(monkeypatch):
    made, trainers = [], []
    step, make, scaler = torch.optim.Adam.step, classify.Trainer, torch.amp.GradScaler
    monkeypatch.setattr(torch.optim.Adam, "step", lambda *a, **k: made.append(1) or step(*a, **k))
    monkeypatch.setattr(classify, "Trainer", lambda *a: trainers.append(make(*a)) or trainers[-1])
    x = torch.rand(4, 1, 4, 4, generator=torch.Generator().manual_seed(0))

    def run(scale, epochs):
        monkeypatch.setattr(
            torch.amp, "GradScaler", lambda *a, **k: scaler(*a, **k, init_scale=scale)
        )
        labels = np.arange(4)
        classify.train(x, labels, x, labels, 4, batch=4, epochs=epochs, precision="float16")

    run(1.0, 2)
    assert trainers[-1].steps == len(made) == 2
    # Halved each time, until gradients are finite.
    run(2.0**22, 14)
    assert 0 < trainers[-1].steps == len(made) - 2 < 14
    with pytest.raises(
        FloatingPointError, match="no step had gradients that are finite in float16"
    ):
        run(2.0**100, 2)


def test_encode_names_the_image_that_scaling_makes_constant(tmp_path):
    images = np.random.default_rng(0).random((6, 32, 32), dtype=np.float32)
    images[5] = 0
    images[5, 0, 0] = 1
    with pytest.raises(ValueError, match="image 5 is, at 8 × 8 pixels"):
        classify.encode(images, np.ones((1, 3, 3)), "code", tmp_path / "codes", size=8, chunk=2)
    assert not (tmp_path / "codes").exists()
    for wrong in (None, 5):
        with pytest.raises(ValueError, match=r"^store must be a folder's path, got"):
            classify.encode(images, np.ones((1, 3, 3)), "code", wrong, size=8)


def test_a_checkpoint_is_a_file_of_a_training(digits, tmp_path, monkeypatch):
    with pytest.raises(ValueError, match=r"^checkpoint must be a file's path"):
        _train(digits, checkpoint=tmp_path)
    path = tmp_path / "state.pt"
    _train(digits, checkpoint=path, epochs=1)
    with monkeypatch.context() as patch:
        patch.setattr(classify, "NETWORK_VERSION", -1)
        with pytest.raises(CheckpointError, match="must be of the same settings"):
            _train(digits, checkpoint=path, epochs=1)
    for content in (b"not of torch", _saved([1]), _saved({"about": "nothing"})):
        path.write_bytes(hashlib.sha256(content).digest() + content)
        with pytest.raises(CheckpointError, match=r"^checkpoint "):
            _train(digits, checkpoint=path)


def _saved(what):
    buffer = io.BytesIO()
    torch.save(what, buffer)
    return buffer.getvalue()

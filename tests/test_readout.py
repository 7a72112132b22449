"""Pooled coefficients and the linear classifier on them."""

import numpy as np
import pytest
import torch

from lib import classify, readout
from lib.code_store import SparseCodes


def stored(dense):
    flat = dense.reshape(len(dense), -1)
    rows, positions = np.nonzero(flat)
    starts = np.concatenate([[0], np.cumsum(np.bincount(rows, minlength=len(dense)))])
    return SparseCodes(
        starts,
        positions.astype(np.int32),
        flat[rows, positions].astype(np.float16),
        dense.shape[1:],
    )


@pytest.fixture
def dense():
    rng = np.random.default_rng(1)
    values = rng.standard_normal((5, 3, 8, 12)).astype(np.float16).astype(float)
    return values * (rng.random(values.shape) < 0.3)


@pytest.mark.parametrize("cutoff", [0.0, 0.4, 1.0])
def test_pooled_is_what_sums_over_blocks_are(dense, cutoff):
    dense[2] = 0
    magnitudes = np.abs(dense)
    kept = np.where(magnitudes >= cutoff * magnitudes.max((1, 2, 3), keepdims=True), magnitudes, 0)
    blocks = kept.reshape(5, 3, 4, 2, 4, 3).sum((3, 5)).reshape(5, -1)
    np.testing.assert_allclose(readout.pooled(stored(dense), 4, cutoff), blocks, rtol=1e-12)


def test_cells_of_unequal_size_share_all_pixels(dense):
    features = readout.pooled(stored(dense), 5)
    assert features.shape == (5, 3 * 25)
    np.testing.assert_allclose(
        features.reshape(5, 3, 25).sum(2), np.abs(dense).sum((2, 3)), rtol=1e-12
    )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"n_cells": 9}, "n_cells must be at most 8, got 9"),
        ({"n_cells": 0}, "n_cells"),
        ({"cutoff": 1.5}, "cutoff"),
        ({"cutoff": np.nan}, "cutoff"),
        ({"codes": np.zeros((2, 3, 4, 4))}, "codes must be SparseCodes, got ndarray"),
    ],
)
def test_pooled_refuses(dense, changes, message):
    with pytest.raises(ValueError, match=message):
        readout.pooled(**{"codes": stored(dense), **changes})


def test_readout_finds_what_is_linear_and_nothing_in_noise():
    rng = np.random.default_rng(2)
    labels = rng.integers(3, size=600)
    noise = rng.standard_normal((600, 20))
    told = noise + 3 * np.eye(20)[labels]
    for features, low, high in ((told, 0.9, 1.0), (noise, 0.2, 0.47)):
        given = readout.linear_readout(features[:400], labels[:400], features[400:])
        assert low <= (given == labels[400:]).mean() <= high


def test_readout_does_not_mind_units():
    rng = np.random.default_rng(3)
    labels = rng.integers(2, size=100)
    features = rng.standard_normal((150, 6)) + 0.5 * np.r_[labels, np.zeros(50)][:, None]
    scale, offset = 10.0 ** np.arange(-3, 3), np.arange(6.0)
    plain = readout.linear_readout(features[:100], labels, features[100:])
    other = features * scale + offset
    np.testing.assert_array_equal(plain, readout.linear_readout(other[:100], labels, other[100:]))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"labels": np.zeros(4, int)}, "two classes"),
        ({"labels": np.arange(3)}, r"labels must have shape \(4,\), got \(3,\)"),
        ({"labels": np.linspace(0, 1, 4)}, "labels"),
        ({"test": np.zeros((2, 3))}, "test"),
        ({"test": np.zeros((0, 2))}, "one at least"),
        ({"train": np.full((4, 2), np.nan)}, "train"),
    ],
)
def test_readout_refuses(changes, message):
    good = {"train": np.eye(4)[:, :2], "labels": np.array([0, 1, 0, 1]), "test": np.ones((3, 2))}
    with pytest.raises(ValueError, match=message):
        readout.linear_readout(**{**good, **changes})


def test_position_share_is_that_of_the_frame():
    network = classify.resnet18(3, 4, "code", 0)
    rng = np.random.default_rng(2)
    x = rng.standard_normal((6, 3, 8, 9))
    # Its first layer by its definition: 3 x 3, padded with zeros.
    weight = network.conv1.weight.detach().double().numpy()
    padded = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), (2, 3))
    seen = np.einsum("nkyxij,ckij->ncyx", windows, weight)
    expected = seen.mean(0).var((1, 2)).sum() / seen.var((0, 2, 3)).sum()
    found = readout.position_share(torch.tensor(x), network)
    assert found == pytest.approx(expected, rel=1e-5)
    assert 0.1 < found < 0.3
    # A constant beside padding is a frame; what differs between images is next to nothing.
    assert readout.position_share(1e-3 * torch.tensor(x) - 2.22, network) > 0.999
    assert readout.position_share(torch.ones(2, 3, 8, 9), network) == pytest.approx(1)


def test_position_share_refuses_what_does_not_fit():
    network = classify.resnet18(3, 4, "code", 0)
    for x, model, message in (
        (torch.ones(2, 3, 8, 8), torch.nn.Identity(), "model must have a first layer"),
        (torch.ones(1, 3, 8, 8), network, "x must be of two images or more with 3 channels"),
        (torch.ones(2, 4, 8, 8), network, "x must be of two images or more with 3 channels"),
        (torch.zeros(2, 3, 8, 8), network, "x must make the first layer's output vary"),
    ):
        with pytest.raises(ValueError, match=message):
            readout.position_share(x, model)

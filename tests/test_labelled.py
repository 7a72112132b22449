"""Labelled images: which pixels, which label, which split, from each kind of source."""

import dataclasses
import hashlib
import io
import os
import pickle
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from skimage.color import rgb2gray
from sklearn.datasets import load_digits

from lib import _downloads
from lib.datasets import SOURCES, DataDamaged, File, fingerprint, first_images, labelled_images

LOCAL = os.environ.get("LIB_DATA", "")


@pytest.fixture(autouse=True)
def alone(tmp_path_factory, monkeypatch):
    """No local data and an empty cache."""
    monkeypatch.delenv("LIB_DATA", raising=False)
    cache = tmp_path_factory.mktemp("cache")
    monkeypatch.setattr(_downloads, "cache_folder", lambda: cache)


def noise(*shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


def class_folders(root, sizes):
    """Class folders of 4 × 4 images; the first pixel tells the position, the second the class."""
    for label, (name, count) in enumerate(sizes.items()):
        (root / name).mkdir(parents=True)
        for i in range(count):
            pixels = np.full((4, 4), 9, np.uint8)
            pixels[0, :2] = i, label
            Image.fromarray(pixels).save(root / name / f"{i:02d}.png")
    return root


def told(found):
    """(position, class) of each image, read off its pixels, and its label."""
    values = np.round(found.images[:, 0, :2] * 255).astype(int)
    return [
        (int(i), int(c), int(label)) for (i, c), label in zip(values, found.labels, strict=True)
    ]


def test_digits_are_all_there_once_and_split_evenly():
    digits = load_digits()
    train, test = labelled_images("digits", "train"), labelled_images("digits", "test")
    assert train.images.dtype == test.images.dtype == np.float32
    assert train.labels.dtype == np.int64
    assert train.classes == tuple("0123456789")

    def rows(images, labels):
        return sorted((*image.ravel(), label) for image, label in zip(images, labels, strict=True))

    together = np.concatenate([train.images, test.images]), np.r_[train.labels, test.labels]
    assert rows(*together) == rows(digits.images / 16, digits.target)
    for digit in range(10):
        one, other = (train.labels == digit).sum(), (test.labels == digit).sum()
        assert other == (one + other) // 5
    again = labelled_images("digits", "test", n=50)
    np.testing.assert_array_equal(again.images, test.images[:50])
    np.testing.assert_array_equal(again.labels, test.labels[:50])
    assert fingerprint("digits") == SOURCES["digits"].fingerprint


def test_npz_with_and_without_class_names(tmp_path):
    arrays = {
        "train_images": noise(7, 5, 6),
        "train_labels": np.array([0, 1, 2, 1, 0, 2, 1], np.uint8),
        "test_images": noise(3, 5, 6, 3, seed=1),
        "test_labels": np.array([[3], [1], [0]], np.uint8),  # MedMNIST's have a second axis
    }
    np.savez(tmp_path / "a.npz", **arrays)
    train, test = (labelled_images(tmp_path / "a.npz", split) for split in ("train", "test"))
    assert train.classes == test.classes == ("0", "1", "2", "3")
    np.testing.assert_allclose(train.images, arrays["train_images"] / 255, atol=1e-7)
    np.testing.assert_allclose(test.images, rgb2gray(arrays["test_images"]), atol=2e-7)
    assert (test.labels.tolist(), test.labels.dtype) == ([3, 1, 0], np.int64)
    assert labelled_images(tmp_path / "a.npz", "train", n=2).labels.tolist() == [0, 1]
    np.savez(tmp_path / "b.npz", classes=["a", "b", "c", "d"], **arrays)
    assert labelled_images(tmp_path / "b.npz", "train").classes == ("a", "b", "c", "d")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"test_labels": None}, r"it lacks test_labels$"),
        ({"train_labels": np.zeros(3, int)}, "has 4 train_images but 3 labels"),
        ({"train_labels": np.zeros((4, 2), int)}, r"train_labels must be integers >= 0, one for"),
        ({"train_labels": np.zeros(4)}, r"got shape \(4,\), dtype float64"),
        ({"test_labels": np.array([-1, 0])}, "test_labels must be integers >= 0"),
        ({"test_labels": np.array([0, 2**63], np.uint64)}, "test_labels must be integers >= 0"),
        ({"classes": np.array(["a", "b", "c"])}, "names 3 classes but has the label 3"),
        ({"test_labels": np.array([0, 10**11])}, "must have labels below 100000, got 100000000000"),
        ({"train_images": noise(4, 5)}, r"train_images has shape \(4, 5\) where"),
        ({"train_images": noise(4, 5, 5).astype(int)}, "train_images has dtype int64 where uint8"),
        (
            {"classes": np.array([None, {}])},
            r"holds Python objects \(pickles\), which are not load",
        ),
    ],
)
def test_npz_that_does_not_fit_together(tmp_path, change, message):
    arrays = {
        "train_images": noise(4, 5, 5),
        "train_labels": np.arange(4),
        "test_images": noise(2, 5, 5),
        "test_labels": np.arange(2),
    } | change
    path = tmp_path / "a.npz"
    np.savez(path, **{key: value for key, value in arrays.items() if value is not None})
    with pytest.raises(ValueError, match=message):
        labelled_images(path, "train")


def test_class_folders_take_turns_and_every_fifth_image_is_for_testing(tmp_path):
    root = class_folders(tmp_path, {"ant": 11, "bee": 6, ".hidden": 9, "__MACOSX": 9})
    train, test = labelled_images(root, "train"), labelled_images(root, "test")
    assert train.classes == ("ant", "bee")
    assert told(test) == [(4, 0, 0), (4, 1, 1), (9, 0, 0)]
    assert told(train)[:6] == [(0, 0, 0), (0, 1, 1), (1, 0, 0), (1, 1, 1), (2, 0, 0), (2, 1, 1)]
    assert sorted(told(train) + told(test)) == sorted(
        [(i, 0, 0) for i in range(11)] + [(i, 1, 1) for i in range(6)]
    )
    assert told(labelled_images(root, "train", n=3)) == told(train)[:3]


def test_class_folders_with_a_split_of_their_own(tmp_path):
    class_folders(tmp_path / "train", {"ant": 2, "bee": 7})
    class_folders(tmp_path / "test", {"ant": 1, "bee": 1})
    assert len(labelled_images(tmp_path, "train").labels) == 9
    assert told(labelled_images(tmp_path, "test")) == [(0, 0, 0), (0, 1, 1)]
    class_folders(tmp_path / "test", {"cow": 1})
    with pytest.raises(ValueError, match="got ant, bee in train and ant, bee, cow in test"):
        labelled_images(tmp_path, "test")


@pytest.mark.parametrize("parts", [("train", "val"), ("Train", "Test")])
def test_folders_of_class_folders_are_no_classes(tmp_path, parts):
    for part in parts:
        class_folders(tmp_path / part, {"ant": 6, "bee": 6})
    with pytest.raises(ValueError, match=r"must hold the images of a class, got ant/00\.png in a"):
        labelled_images(tmp_path, "train")


def test_class_folders_that_cannot_be_used(tmp_path):
    with pytest.raises(ValueError, match="holds no train images in class folders"):
        labelled_images(tmp_path, "train")
    root = class_folders(tmp_path, {"ant": 3, "bee": 3})
    (root / "ant" / "01.png").write_bytes(b"no image")
    with pytest.warns(UserWarning, match=r"skipped ant/01\.png, which is not an image in one"):
        found = labelled_images(root, "train")
    assert told(found) == [(0, 0, 0), (0, 1, 1), (1, 1, 1), (2, 0, 0), (2, 1, 1)]
    with (
        pytest.warns(UserWarning, match="skipped"),
        pytest.raises(ValueError, match=r"n must be <= 5, the train images of .*, got 6"),
    ):
        labelled_images(root, "train", n=6)
    Image.fromarray(noise(4, 5)).save(root / "bee" / "02.png")
    with (
        pytest.warns(UserWarning, match="skipped"),
        pytest.raises(ValueError, match=r"must hold images of one size: bee/02\.png is \(4, 5\), "),
    ):
        labelled_images(root, "train")
    for path in root.glob("*/*.png"):
        path.write_bytes(b"no image")
    with (
        pytest.warns(UserWarning, match="skipped"),
        pytest.raises(ValueError, match="holds no train images that can be read"),
    ):
        labelled_images(root, "train")


@pytest.fixture
def small_cifar(tmp_path, monkeypatch):
    """CIFAR-10's archive with three images a file, in a folder of LIB_DATA; its MD5s pinned."""
    from torchvision.datasets import CIFAR10

    def entry(seed):
        return {"data": noise(3, 3072, seed=seed), "labels": [seed, 9, 0]}

    names = [f"data_batch_{i}" for i in range(1, 6)] + ["test_batch"]
    files = {name: pickle.dumps(entry(seed)) for seed, name in enumerate(names)}
    files["batches.meta"] = pickle.dumps({"label_names": list("abcdefghij")})
    md5 = {name: hashlib.md5(data).hexdigest() for name, data in files.items()}
    monkeypatch.setattr(CIFAR10, "train_list", [[name, md5[name]] for name in names[:5]])
    monkeypatch.setattr(CIFAR10, "test_list", [["test_batch", md5["test_batch"]]])
    monkeypatch.setattr(CIFAR10, "meta", {**CIFAR10.meta, "md5": md5["batches.meta"]})
    path = tmp_path / "cifar-10-python.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        for name, data in files.items():
            info = tarfile.TarInfo(f"cifar-10-batches-py/{name}")
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    file = File(path.name, None, None, hashlib.sha256(path.read_bytes()).hexdigest())
    monkeypatch.setitem(SOURCES, "cifar10", dataclasses.replace(SOURCES["cifar10"], files=(file,)))
    monkeypatch.setenv("LIB_DATA", str(tmp_path))
    return [entry(seed) for seed in range(6)]


def test_cifar10_is_read_by_torchvision_and_its_files_are_checked(small_cifar):
    train, test = labelled_images("cifar10", "train"), labelled_images("cifar10", "test")
    assert train.images.shape == (15, 32, 32)
    assert train.labels.tolist() == [0, 9, 0, 1, 9, 0, 2, 9, 0, 3, 9, 0, 4, 9, 0]
    assert test.labels.tolist() == [5, 9, 0]
    assert test.classes == tuple("abcdefghij")
    planes = small_cifar[5]["data"].reshape(3, 3, 32, 32)  # image, colour, row, column
    np.testing.assert_allclose(test.images, rgb2gray(np.moveaxis(planes, 1, 3)), atol=2e-7)
    assert len(labelled_images("cifar10", "train", n=4).labels) == 4
    with pytest.raises(ValueError, match="n must be <= 3, the test images of cifar10, got 4"):
        labelled_images("cifar10", "test", n=4)
    batch = _downloads.cache_folder() / "cifar-10-batches-py" / "data_batch_1"
    batch.write_bytes(pickle.dumps({"data": noise(3, 3072), "labels": [1, 1, 1]}))
    with pytest.raises(DataDamaged, match=r"is not CIFAR-10 as published .*: remove it, and it is"):
        labelled_images("cifar10", "train")


def test_jpeg_copy_of_cifar10(monkeypatch):
    monkeypatch.setenv("LIB_DATA", LOCAL)
    if not any(
        Path(folder, SOURCES["cifar10-jpeg"].path).exists() for folder in LOCAL.split(os.pathsep)
    ):
        pytest.skip("no folder of LIB_DATA holds cifar10_gray_jpeg75.npz")
    assert fingerprint("cifar10-jpeg") == SOURCES["cifar10-jpeg"].files[0].sha256
    test = labelled_images("cifar10-jpeg", "test")
    assert test.images.shape == (10_000, 32, 32)
    assert np.bincount(test.labels).tolist() == [1000] * 10
    assert test.classes[0] == "airplane"
    assert labelled_images("cifar10-jpeg", "train", n=7).images.shape == (7, 32, 32)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("digits", "valid"), "split must be one of train, test, got 'valid'"),
        (("digits", None), "split must be one of train, test, got None"),
        (("digits", "test", 0), "n must be an integer >= 1, got 0"),
        (("digits", "test", 356), "n must be <= 355, the test images of digits, got 356"),
        (
            ("bsds500", "test"),
            "source must be one of digits, cifar10, cifar10-jpeg, or the path of",
        ),
        ((3, "test"), "source must be a name or a path, got int"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        labelled_images(*arguments)


@pytest.mark.parametrize(("share", "n"), [(0.25, 5), (0.26, 5), (1, 20), (1e-9, 1)])
def test_first_images_are_a_share(share, n):
    whole = labelled_images("digits", "train", 20)
    some = first_images(whole, share)
    assert len(some.labels) == n
    np.testing.assert_array_equal(some.images, whole.images[:n])
    np.testing.assert_array_equal(some.labels, whole.labels[:n])
    assert some.classes == whole.classes

"""Photographs and panoramas: the right pixels in the right order, and what they come from."""

import doctest
import hashlib
import os
import socket
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import scipy.io
from PIL import Image
from skimage.color import rgb2gray

from lib import _downloads, datasets
from lib.datasets import (
    BUNDLED,
    SOURCES,
    DataUnavailable,
    fetch,
    fingerprint,
    iter_photographs,
    panoramas,
    photographs,
    source_table,
)

ROOT = Path(__file__).resolve().parents[1]
LOCAL = os.environ.get("LIB_DATA", "")

USED = {
    "astronaut.png": (512, 512),
    "barbara.png": (574, 702),
    "camera.png": (512, 512),
    "chelsea.png": (300, 451),
    "coffee.png": (400, 600),
    "coins.png": (303, 384),
    "grass.png": (512, 512),
    "gravel.png": (512, 512),
    "kodim23.png": (512, 768),
    "monarch.png": (512, 768),
    "motorcycle_left.png": (500, 741),
    "rocket.jpg": (427, 640),
    "sail.png": (512, 768),
    "tulips.png": (512, 768),
}


def installed(package, file):
    return Path(find_spec(package).submodule_search_locations[0], "data", file)


@pytest.fixture(autouse=True)
def alone(tmp_path_factory, monkeypatch):
    """No local data, an empty cache, no network."""
    monkeypatch.delenv("LIB_DATA", raising=False)
    cache = tmp_path_factory.mktemp("cache")
    monkeypatch.setattr(_downloads, "cache_folder", lambda: cache)

    def refuse(*_):
        raise OSError("no network in this test")

    monkeypatch.setattr(socket.socket, "connect", refuse)


@pytest.fixture
def local(monkeypatch):
    """Set LIB_DATA as it was, and skip where it does not hold a source."""

    def use(name):
        monkeypatch.setenv("LIB_DATA", LOCAL)
        folders = [Path(folder) for folder in LOCAL.split(os.pathsep) if folder]
        if not any((folder / SOURCES[name].path).exists() for folder in folders):
            pytest.skip(f"no folder of LIB_DATA holds {SOURCES[name].path}")

    return use


def save(path, pixels, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, **options)
    return path


def noise(*shape, dtype=np.uint8, seed=0):
    return np.random.default_rng(seed).integers(0, np.iinfo(dtype).max, shape, dtype, endpoint=True)


def test_bundled_photographs_are_those_listed_in_order_and_unchanged():
    found = dict(iter_photographs())
    assert list(found) == sorted(USED)
    assert {name: image.shape for name, image in found.items()} == USED
    assert all(image.dtype == np.float32 for image in found.values())
    assert all(image.min() >= 0 and image.max() <= 1 for image in found.values())
    assert fingerprint("bundled") == SOURCES["bundled"].fingerprint
    for image, again in zip(found.values(), photographs("bundled"), strict=True):
        np.testing.assert_array_equal(image, again)


def test_luminance_is_that_of_scikit_image():
    found = dict(iter_photographs())
    for package, file in (("skimage", "astronaut.png"), ("sporco", "tulips.png")):
        expected = rgb2gray(np.asarray(Image.open(installed(package, file))))
        np.testing.assert_allclose(found[file], expected, atol=2e-7)
    camera = np.asarray(Image.open(installed("skimage", "camera.png")))
    np.testing.assert_allclose(found["camera.png"], camera / 255, atol=1e-7)


def test_table_of_bundled_images_is_complete_and_gives_reasons():
    listed = {(image.package, image.file) for image in BUNDLED}
    assert len(listed) == len(BUNDLED)
    assert sorted(image.file for image in BUNDLED if image.used) == sorted(USED)
    assert all(image.why for image in BUNDLED)
    suffixes = (".png", ".jpg", ".gif", ".tif", ".tiff", ".jpeg")
    for package in ("skimage", "sporco"):
        files = {(package, path.name) for path in installed(package, "").iterdir()}
        assert {file for file in files if file[1].endswith(suffixes)} <= listed


def test_missing_bundled_photograph_says_what_to_install(monkeypatch):
    monkeypatch.setattr("lib._photographs.find_spec", lambda package: None)
    with pytest.raises(DataUnavailable, match=r"astronaut\.png is not there: install skimage"):
        photographs()


@pytest.mark.parametrize("shape", [(40, 61), (61, 40), (41, 41)])
@pytest.mark.parametrize("size", [8, 13, 40])
def test_crop_is_the_central_square(tmp_path, shape, size):
    pixels = noise(*shape)
    (cropped,) = photographs(save(tmp_path / "a.png", pixels), size=size)
    top, left = (shape[0] - size) // 2, (shape[1] - size) // 2
    expected = pixels[top : top + size, left : left + size] / np.float32(255)
    np.testing.assert_allclose(cropped, expected, atol=1e-7)


def test_resize_scales_the_largest_central_square_without_aliasing(tmp_path):
    x, new = np.arange(400), (np.arange(100) + 0.5) * 4 - 0.5
    wide = np.zeros((400, 500))
    wide[:, :50] = wide[:, -50:] = 1  # just outside the central square

    def resized(pixels):
        file = save(tmp_path / "a.png", np.round(255 * pixels).astype(np.uint8))
        return photographs(file, size=100, fit="resize")[0]

    assert resized(wide).max() == 0
    slow = np.tile(0.5 + 0.5 * np.cos(2 * np.pi * x / 80), (400, 1))
    np.testing.assert_allclose(
        resized(slow)[50, 3:-3], (0.5 + 0.5 * np.cos(2 * np.pi * new / 80))[3:-3], atol=0.01
    )
    fast = np.tile(0.5 + 0.5 * np.cos(2 * np.pi * x / 5), (400, 1))  # beyond the new Nyquist limit
    assert np.ptp(resized(fast)[50, 3:-3]) < 0.2
    np.testing.assert_allclose(resized(slow.T)[:, 50], resized(slow)[50], atol=1e-6)


def test_small_photographs_are_skipped_and_named():
    with pytest.warns(UserWarning, match="bundled: skipped") as warned:
        images = photographs(size=400)
    assert images.shape == (12, 400, 400)
    assert [str(warning.message) for warning in warned] == [
        "bundled: skipped chelsea.png, which is 300 × 451 pixels, smaller than 400 × 400",
        "bundled: skipped coins.png, which is 303 × 384 pixels, smaller than 400 × 400",
    ]
    with pytest.warns(UserWarning, match=r"skipped chelsea\.png"):
        first = photographs(size=400, n=4)
    np.testing.assert_array_equal(first, images[:4])
    with (
        pytest.warns(UserWarning, match="skipped"),
        pytest.raises(ValueError, match=r"^bundled holds 14 images, of which 0 can be used, fewer"),
    ):
        photographs(size=600)
    with (
        pytest.warns(UserWarning, match="skipped"),
        pytest.raises(ValueError, match=r"of which 12 can be used, fewer than n=13: the warnings"),
    ):
        photographs(size=400, n=13)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"size": 0}, "size must be an integer >= 1, got 0"),
        ({"size": 2.5}, r"size must be an integer >= 1, got 2\.5"),
        ({"n": 0}, "n must be an integer >= 1, got 0"),
        ({"n": 15}, "n must be <= 14, the photographs of bundled, got 15"),
        ({"fit": "stretch"}, "fit must be one of crop, resize, got 'stretch'"),
        ({"source": 3}, "source must be a name or a path, got int"),
        ({"source": np.zeros(3)}, "source must be a name or a path, got ndarray"),
        ({"source": "nowhere"}, "source must be one of bundled, bsds500, hd-natural, or the path"),
        ({"source": "cifar10"}, "source must be one of bundled, bsds500, hd-natural, or the path"),
        ({"source": ROOT / "nowhere"}, r"a folder of images, an image or an \.npz file, got "),
        ({"source": ROOT / "lib"}, r"lib' holds no images \(files that end in \.bmp, \.jpeg"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        photographs(**arguments)
    with pytest.raises(ValueError, match=message):
        iter_photographs(**arguments)  # at once, not at the first image


def test_panoramas_are_read_as_they_were_measured(tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    scenes = {f"image{i}.mat": rng.lognormal(size=(25, 93)) * 1e4 for i in (2, 10, 1)}
    folder = tmp_path / "meyer2014" / "part"
    folder.mkdir(parents=True)
    for name, scene in scenes.items():
        scipy.io.savemat(folder / name, {"projection": scene, "other": "x"})
    monkeypatch.setenv("LIB_DATA", str(tmp_path))
    for found in (panoramas("meyer2014"), panoramas(folder)):
        assert [image.dtype for image in found] == [np.float32] * 3
        for name, image in zip(sorted(scenes), found, strict=True):
            np.testing.assert_allclose(image, scenes[name], rtol=1e-7)


def test_unusable_panoramas_are_skipped_and_named(tmp_path):
    scipy.io.savemat(tmp_path / "good.mat", {"projection": np.ones((3, 4))})
    scipy.io.savemat(tmp_path / "other.mat", {"image": np.ones((3, 4))})
    scipy.io.savemat(tmp_path / "nan.mat", {"projection": np.full((3, 4), np.nan)})
    scipy.io.savemat(tmp_path / "cube.mat", {"projection": np.ones((3, 4, 2))})
    whole = (tmp_path / "good.mat").read_bytes()
    (tmp_path / "short.mat").write_bytes(whole[:-40])
    (tmp_path / "text.mat").write_bytes(b"nothing of the kind")
    with pytest.warns(UserWarning, match="skipped") as warned:
        (image,) = panoramas(tmp_path)
    assert image.shape == (3, 4)
    reasons = {str(w.message).split("skipped ")[1][:35] for w in warned}
    assert reasons == {
        "other.mat, which has no variable pr",
        "nan.mat, which has a projection tha",
        "cube.mat, which has a projection of",
        "short.mat, which cannot be read as ",
        "text.mat, which cannot be read as a",
    }
    (tmp_path / "good.mat").unlink()
    with (
        pytest.warns(UserWarning, match="skipped"),
        pytest.raises(ValueError, match=r"holds 5 images, of which 0 can be used, fewer than n=1"),
    ):
        panoramas(tmp_path)


def test_where_panoramas_come_from_is_told(tmp_path):
    with pytest.raises(
        DataUnavailable, match=r"record/2689637; download the \.rar archives .*7z x"
    ):
        panoramas()
    with pytest.raises(ValueError, match=r"is no folder that holds \.mat files"):
        panoramas(tmp_path)
    with pytest.raises(ValueError, match=r"source must be one of meyer2014, or the path of a fold"):
        panoramas("bsds500")


def test_fingerprint_is_what_sha256sum_says(tmp_path):
    files = {"b.png": noise(4, 4), "a/c.png": noise(5, 5), "a.png": noise(6, 6)}
    for name, pixels in files.items():
        save(tmp_path / name, pixels)
    save(tmp_path / ".hidden.png", noise(4, 4))
    manifest = b"".join(
        hashlib.sha256((tmp_path / name).read_bytes()).hexdigest().encode() + f"  {name}\n".encode()
        for name in ("a.png", "a/c.png", "b.png")
    )
    before = fingerprint(tmp_path)
    assert before == hashlib.sha256(manifest).hexdigest()
    assert (
        fingerprint(tmp_path / "b.png")
        == hashlib.sha256((tmp_path / "b.png").read_bytes()).hexdigest()
    )
    (tmp_path / "b.png").rename(tmp_path / "d.png")
    assert fingerprint(tmp_path) != before
    with pytest.raises(
        ValueError, match=r"source must be one of bsds500, hd-natural, .* a file or"
    ):
        fingerprint("nowhere")
    with pytest.raises(ValueError, match="source must be a name or a path, got NoneType"):
        fingerprint(None)


def test_bsds500_is_the_published_set(local):
    local("bsds500")
    assert fingerprint("bsds500") == SOURCES["bsds500"].fingerprint
    names, images = zip(*iter_photographs("bsds500"), strict=True)
    assert names[0] == "test/100007.jpg"
    assert [sum(name.startswith(part) for name in names) for part in ("test", "train", "val")] == [
        200,
        100 * 2,
        100,
    ]
    assert {image.shape for image in images} == {(321, 481), (481, 321)}
    np.testing.assert_array_equal(
        photographs("bsds500", size=256, n=1)[0], images[0][32:288, 112:368]
    )


@pytest.mark.parametrize("name", ["connectome", "ladret2024"])
def test_other_local_data_is_what_is_pinned(local, name):
    local(name)
    assert fetch(name).name == Path(SOURCES[name].path).name


def test_table_of_sources():
    rows = source_table()
    assert [row["name"] for row in rows] == list(SOURCES)
    assert all(row[key] for row in rows for key in ("title", "home", "licence", "citation"))
    assert all(set(row) == set(rows[0]) for row in rows)
    sizes = {row["name"]: row["size"] for row in rows}
    assert sizes["bsds500"] == "70.8 MB"
    assert sizes["hd-natural"] == sizes["meyer2014"] == ""
    pins = {row["name"]: row["sha256"] for row in rows}
    assert pins["hd-natural"] == "hd-natural.zip: not pinned"
    assert pins["connectome"].startswith("fib25-fib19_v2.2.json: bfbb0766")


def test_importing_does_no_work():
    heavy = (
        "pooch",
        "requests",
        "torch",
        "torchvision",
        "skimage",
        "sklearn",
        "scipy",
        "PIL",
        "tqdm",
    )
    code = f"import sys, lib.datasets; print([n for n in {heavy} if n in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout == "[]\n"


def test_examples():
    assert doctest.testmod(datasets).failed == 0

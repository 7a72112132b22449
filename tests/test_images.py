"""Images from strangers: every format to the right grey values, every broken file named."""

import shutil
import struct
import zlib
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from skimage.color import rgb2gray

from lib import _images
from lib.datasets import iter_photographs, photographs

ROCKET = Path(find_spec("skimage").submodule_search_locations[0], "data", "rocket.jpg")


def save(path, pixels, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, **options)
    return path


def noise(*shape, dtype=np.uint8, seed=0):
    return np.random.default_rng(seed).integers(0, np.iinfo(dtype).max, shape, dtype, endpoint=True)


def test_folder_is_read_in_order_of_names_and_hidden_files_do_not_count(tmp_path):
    names = ["b/2.png", "a/10.png", "a/1.JPG", "c.tif"]
    for seed, name in enumerate(names):
        save(
            tmp_path / name, noise(9, 7, seed=seed), **({"format": "PNG"} if "JPG" in name else {})
        )
    save(tmp_path / ".hidden.png", noise(9, 7))
    save(tmp_path / ".folder" / "d.png", noise(9, 7))
    save(tmp_path / "__MACOSX" / "e.png", noise(9, 7))
    (tmp_path / "notes.txt").write_text("no image")
    found = dict(iter_photographs(tmp_path))
    assert list(found) == ["a/1.JPG", "a/10.png", "b/2.png", "c.tif"]
    for seed, name in enumerate(names):
        np.testing.assert_allclose(found[name], noise(9, 7, seed=seed) / 255, atol=1e-7)
    np.testing.assert_array_equal(
        photographs(str(tmp_path), size=7, n=2)[1], found["a/10.png"][1:8]
    )


def bomb(side):
    """A PNG of a few bytes that claims side × side pixels."""

    def chunk(kind, data):
        checksum = zlib.crc32(kind + data)
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", checksum)

    header = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    parts = chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(bytes(100))), chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


STRANGERS = {
    "truncated.jpg": (ROCKET.read_bytes()[:50_000], r"cannot be read \(image file is truncated"),
    "header.jpg": (ROCKET.read_bytes()[:300], "cannot be read|is not an image"),
    "empty.png": (b"", "is not an image in one of the formats BMP, JPEG"),
    "text.png": (b"<html>not found</html>", "is not an image in one of the formats BMP, JPEG"),
    "script.png": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "is not an image in one"),
    "large.png": (bomb(10_000), r"claims too many pixels for a photograph \(Image size \(1000000"),
    "bomb.png": (
        bomb(60_000),
        r"claims too many pixels for a photograph \(Image size \(3600000000",
    ),
}


@pytest.mark.parametrize("name", STRANGERS)
def test_broken_file_among_good_ones_is_skipped_and_named(tmp_path, name):
    data, reason = STRANGERS[name]
    shutil.copy(ROCKET, tmp_path / "good.jpg")
    (tmp_path / name).write_bytes(data)
    with pytest.warns(UserWarning, match=f"skipped {name}, which ({reason})") as warned:
        (image,) = photographs(tmp_path)
    assert len(warned) == 1
    assert image.shape == (427, 640)
    with pytest.raises(ValueError, match=f"{name} ({reason})"):
        photographs(tmp_path / name)


@pytest.mark.parametrize("vanished", ["file", "folder"])
def test_a_file_that_vanishes_is_an_error_with_its_name(tmp_path, vanished):
    folder = tmp_path / "photographs"
    folder.mkdir()
    save(folder / "a.png", noise(4, 4))
    save(folder / "b.png", noise(4, 4))
    images = iter_photographs(folder)
    assert next(images)[0] == "a.png"
    if vanished == "file":
        (folder / "b.png").unlink()
    else:
        shutil.rmtree(folder)
    with pytest.raises(FileNotFoundError, match=r"b\.png"):
        next(images)


def test_pixel_formats(tmp_path):
    grey, colour = noise(6, 5), noise(6, 5, 3, seed=1)
    alpha = np.dstack([colour, noise(6, 5, seed=2)])
    deep = noise(6, 5, dtype=np.uint16)
    expected = {
        "grey.png": (grey, grey / 255),
        "alpha.png": (alpha, rgb2gray(colour)),
        "deep.png": (deep, deep / 65535),
        "binary.png": (grey > 127, (grey > 127) / 1.0),
        "colour.webp": (colour, rgb2gray(colour)),
    }
    for name, (pixels, values) in expected.items():
        options = {"lossless": True} if name.endswith("webp") else {}
        (image,) = photographs(save(tmp_path / name, pixels, **options))
        np.testing.assert_allclose(image, values, atol=2e-7, err_msg=name)
    palette = Image.fromarray(colour).quantize(8)
    palette.save(tmp_path / "palette.png")
    (image,) = photographs(tmp_path / "palette.png")
    np.testing.assert_allclose(image, rgb2gray(np.asarray(palette.convert("RGB"))), atol=2e-7)
    file = save(tmp_path / "float.tif", np.float32(grey))
    with pytest.raises(ValueError, match=r"has pixels of an unknown range \(mode F\)"):
        photographs(file)


def test_photographs_taken_sideways_are_turned_upright(tmp_path):
    pixels = noise(6, 9)
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned: rotate by 90° clockwise to show
    (image,) = photographs(save(tmp_path / "a.png", pixels, exif=exif))
    np.testing.assert_allclose(image, np.rot90(pixels, -1) / 255, atol=1e-7)


@pytest.mark.parametrize(
    ("array", "expected"),
    [
        (noise(3, 6, 7), lambda a: a / 255),
        (noise(3, 6, 7, dtype=np.uint16), lambda a: a / 65535),
        (noise(3, 6, 7).astype(">u2"), lambda a: a / 65535),
        (noise(3, 6, 7) / 255, lambda a: a),
        ((noise(3, 6, 7) / 255).astype(np.float16), lambda a: a),
        (noise(3, 6, 7, 1), lambda a: a[..., 0] / 255),
        (noise(3, 6, 7, 3), rgb2gray),
        (noise(3, 6, 7, 4), lambda a: rgb2gray(a[..., :3])),
    ],
)
def test_npz_of_images(tmp_path, array, expected):
    np.savez(tmp_path / "a.npz", whatever=array)
    images = photographs(tmp_path / "a.npz")
    assert images[0].dtype == np.float32
    np.testing.assert_allclose(images, expected(array), atol=2e-7)
    np.testing.assert_array_equal(
        photographs(tmp_path / "a.npz", size=4, n=2), np.stack(images)[:2, 1:5, 1:5]
    )


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"a": noise(2, 9, 9), "b": noise(2, 9, 9)}, r"a\.npz must hold one array .* got 2: a, b"),
        ({"a": noise(9, 9)}, r"the array has shape \(9, 9\) where \(n, height, width\) or"),
        ({"a": noise(9, 9, 3)}, r"the array has shape \(9, 9, 3\) where"),
        ({"a": noise(0, 9, 9)}, r"the array has shape \(0, 9, 9\) where"),
        ({"a": np.uint8(1)}, r"the array has shape \(\) where"),
        ({"a": noise(2, 9, 9, 2)}, "the array has 2 channels where 1, 3 or 4 are allowed"),
        ({"a": noise(2, 9, 9, dtype=np.int64)}, "has dtype int64 where uint8, uint16 or floats"),
        ({"a": np.array([["x"]])}, r"has shape \(1, 1\)"),
        ({"a": np.full((2, 9, 9), 1.5)}, r"has floats from 1\.5 to 1\.5 where \[0, 1\] is allowed"),
        ({"a": np.full((2, 9, 9), np.nan)}, r"has floats from nan to nan where \[0, 1\]"),
        ({"a": noise(2, 9, 7)}, "the array is 9 × 7 pixels, smaller than 8 × 8"),
        ({"a": np.array([[[{}]]])}, r"a\.npz holds Python objects \(pickles\), which are not load"),
    ],
)
def test_npz_that_cannot_be_used(tmp_path, arrays, message):
    np.savez(tmp_path / "a.npz", **arrays)
    with pytest.raises(ValueError, match=message):
        photographs(tmp_path / "a.npz", size=8)


def test_npz_with_one_bad_image_names_it(tmp_path):
    array = np.full((3, 9, 9), 0.5)
    array[2, 0, 0] = -0.1
    np.savez(tmp_path / "a.npz", array)
    assert photographs(tmp_path / "a.npz", n=2)[1][0, 0] == 0.5
    with pytest.raises(ValueError, match=r"a\.npz: image 2 has floats from -0\.1 to 0\.5 where"):
        photographs(tmp_path / "a.npz")


def test_broken_npz(tmp_path, monkeypatch):
    path = tmp_path / "a.npz"
    np.savez(path, noise(3, 90, 90))
    whole = path.read_bytes()
    for data in (whole[:5000], b"", b"no archive", b"\x80\x04}q\x00."):
        path.write_bytes(data)
        with pytest.raises(ValueError, match=r"a\.npz (cannot be read|is no \.npz file)"):
            photographs(path)
    # A bit of the array, which the archive's own sum tells.
    path.write_bytes(whole[:9000] + bytes([whole[9000] ^ 1]) + whole[9001:])
    with pytest.raises(ValueError, match=r"a\.npz cannot be read"):
        photographs(path)
    path.write_bytes(whole)
    monkeypatch.setattr(_images, "_MAX_ARRAY_BYTES", 24_000)
    with pytest.raises(ValueError, match=r"a\.npz claims to hold 24428 bytes, over 24000"):
        photographs(path)
    np.save(tmp_path / "b.npy", noise(3, 9, 9))
    (tmp_path / "b.npy").rename(tmp_path / "b.npz")
    with pytest.raises(ValueError, match=r"b\.npz holds a single array where an \.npz"):
        photographs(tmp_path / "b.npz")

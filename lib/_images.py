"""Images from files and arrays, some of them broken, as grey float32 in [0, 1]."""

import warnings
import zipfile
from contextlib import contextmanager

import numpy as np

# Rec. 709 weights of red, green and blue.
_LUMA = (0.2125, 0.7154, 0.0721)
# Decoders that only decode; one for PostScript, for example, would run a program.
_FORMATS = ("BMP", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
# A file may claim any size, and reading it would take the memory that it claims. (Of images, Pillow
# says what is too large.)
_MAX_ARRAY_BYTES = 1 << 34
_SCALES = {"u1": 255, "u2": 65535}


class BadImage(ValueError):
    """A file or array that cannot be used; the message says what it is or does, no subject."""


@contextmanager
def subject(name):
    """Say what a BadImage inside is about, as a ValueError."""
    try:
        yield
    except BadImage as error:
        raise ValueError(f"{name} {error}") from error


def with_progress(items, many=200):
    """The items themselves, with a progress bar if there are many and it takes a while."""
    if len(items) <= many:
        return items
    from tqdm.auto import tqdm

    return tqdm(items, unit="image", leave=False, delay=3)


def luminance(array):
    """Grey values in [0, 1] of pixels (..., 1), (..., 3) or (..., 4), alpha ignored; float32.

    Y = 0.2125 R + 0.7154 G + 0.0721 B (Rec. 709) of the values as stored: the camera's or the
    file's gamma is not undone. uint8 and uint16 are divided by their maximum; floats must lie in
    [0, 1] already.
    """
    kind = array.dtype.str[1:]
    if array.dtype.kind == "f":
        low, high = (array.min(), array.max()) if array.size else (0, 0)
        if not (low >= 0 and high <= 1):
            raise BadImage(f"has floats from {low} to {high} where [0, 1] is allowed")
        scale = 1
    elif kind in _SCALES:
        scale = _SCALES[kind]
    else:
        raise BadImage(f"has dtype {array.dtype} where uint8, uint16 or floats are allowed")
    channels = array.shape[-1]
    if channels not in (1, 3, 4):
        raise BadImage(f"has {channels} channels where 1, 3 or 4 are allowed")
    weights = (1.0,) if channels == 1 else _LUMA
    grey = sum(
        array[..., channel] * np.float32(weight / scale) for channel, weight in enumerate(weights)
    )
    return np.minimum(grey, 1, dtype=np.float32)


def read_image(path):
    """Grey image (height, width) float32 of an image file, upright as its EXIF data say."""
    from PIL import Image, ImageOps

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path, formats=_FORMATS) as image:
                pixels = _pixels(ImageOps.exif_transpose(image))
    except (BadImage, FileNotFoundError, PermissionError):
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise BadImage(f"claims too many pixels for a photograph ({error})") from error
    except Image.UnidentifiedImageError as error:
        raise BadImage(f"is not an image in one of the formats {', '.join(_FORMATS)}") from error
    except Exception as error:  # decoders raise whatever they stumble over
        raise BadImage(f"cannot be read ({error})") from error
    return luminance(pixels)


def _pixels(image):
    """Pixels (height, width, channels) of an open image, uint8 or uint16."""
    if image.mode.startswith("I;16"):
        return np.asarray(image).astype(np.uint16)[..., None]
    if image.mode in ("I", "F"):
        raise BadImage(f"has pixels of an unknown range (mode {image.mode})")
    if image.mode in ("1", "L", "LA"):
        return np.asarray(image.convert("L"))[..., None]
    return np.asarray(image.convert("RGB"))


def read_arrays(path):
    """Arrays of an .npz file by name, without pickles."""
    with subject(path):
        try:
            archive = np.load(path, allow_pickle=False)
            if not isinstance(archive, np.lib.npyio.NpzFile):
                raise BadImage("holds a single array where an .npz of named arrays is needed")
            with archive:
                claimed = sum(member.file_size for member in archive.zip.infolist())
                if claimed > _MAX_ARRAY_BYTES:
                    raise BadImage(f"claims to hold {claimed} bytes, over {_MAX_ARRAY_BYTES}")
                return {key: archive[key] for key in archive.files}
        except (BadImage, FileNotFoundError, PermissionError):
            raise
        except Exception as error:  # readers raise whatever they stumble over
            if not zipfile.is_zipfile(path):
                raise BadImage("is no .npz file, or cut short") from error
            if "pickle" in str(error):
                raise BadImage("holds Python objects (pickles), which are not loaded") from error
            raise BadImage(f"cannot be read ({error})") from error


def as_stack(array):
    """View (n, height, width, channels) of images (n, height, width[, channels])."""
    stack = array[..., None] if array.ndim == 3 and array.shape[-1] > 4 else array
    if stack.ndim != 4 or 0 in stack.shape:
        raise BadImage(
            f"has shape {array.shape} where (n, height, width) or (n, height, width, 3) is allowed"
        )
    return stack


def central_square(image, size, fit):
    """Central square of an image as (size, size): cut out ("crop") or scaled down ("resize")."""
    height, width = image.shape
    side = min(height, width)
    if side < size:
        raise BadImage(f"is {height} × {width} pixels, smaller than {size} × {size}")
    cut = size if fit == "crop" else side
    top, left = (height - cut) // 2, (width - cut) // 2
    square = image[top : top + cut, left : left + cut]
    if cut == size:
        return square
    from skimage.transform import resize

    return np.clip(resize(square, (size, size), order=1, anti_aliasing=True), 0, 1)

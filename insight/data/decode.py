"""From an image file to RGB pixels as a person sees them, or one plain reason why not.

A file goes in as a path, a PIL image of mode RGB comes out. Files come from anywhere, so whatever is wrong with one
(cut short, empty, not an image, too large to be meant) becomes a `BadImage` and never another exception.
"""

from __future__ import annotations

import errno
import stat
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from sae.errors import InsightError

# Only these parsers run on files we did not make: Pillow knows others that start programs (EPS) or are hardly tested.
FORMATS = ("JPEG", "PNG", "GIF", "WEBP", "TIFF", "BMP", "PPM")
MAX_PIXELS = 178_956_970  # Pillow's own limit for a decompression bomb (0.5 GB of RGB), stated here so that it holds

_TRANSPOSE = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_ORIENTATION = 0x0112  # the EXIF tag
_MACHINE_TROUBLE = {errno.EMFILE, errno.ENFILE, errno.ENOMEM}  # says nothing about the file


class BadImage(InsightError):
    """A file that cannot be decoded. `reason` says why in a few words, without the path and the same on every run."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"{path}: {reason}")
        self.reason = reason


def decode(path: Path | str) -> Image.Image:
    """The image in the file as RGB, upright; `BadImage` if there is none.

    EXIF orientation is applied, CMYK and YCbCr converted, 16-bit grey scaled to 8 bits, transparency laid on white;
    of an animation or a multi-page file the first frame is taken. A 1×1 image is an image: it decodes, and a
    backbone's transform resizes it like any other.
    """
    path = Path(path)
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise BadImage(path, "not a regular file")
        if status.st_size == 0:
            raise BadImage(path, "empty (zero bytes)")
        with Image.open(path, formats=FORMATS) as image:
            if image.width * image.height > MAX_PIXELS:
                raise BadImage(path, f"too large: {image.width} × {image.height} pixels, expected at most {MAX_PIXELS}")
            image.load()
            turn = _turn(image)
            rgb = _rgb(image, path)
            return rgb if turn is None else rgb.transpose(turn)
    except BadImage:
        raise
    except FileNotFoundError:
        raise BadImage(path, "no such file (it vanished after it was listed, or its name is not UTF-8)") from None
    except PermissionError:
        raise BadImage(path, "permission denied") from None
    except UnidentifiedImageError:
        raise BadImage(path, f"not an image of a format that is read ({', '.join(FORMATS)})") from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise BadImage(path, f"too large: more than {MAX_PIXELS} pixels") from None
    except Exception as error:  # parsers of foreign bytes raise anything: OSError, SyntaxError, struct.error, ...
        if isinstance(error, OSError) and error.errno in _MACHINE_TROUBLE:
            raise InsightError(f"{path}: cannot be opened ({error.strerror}); use fewer workers") from None
        raise BadImage(path, f"damaged ({_first_line(error)})") from None


def _rgb(image: Image.Image, path: Path) -> Image.Image:
    """Any mode that Pillow decodes to → RGB."""
    if image.mode.startswith("I;16") or (image.mode == "I" and image.format in ("PNG", "PPM")):
        wide = np.asarray(image).astype(np.int64).clip(0, 65535)
        return Image.fromarray(((wide * 255 + 32767) // 65535).astype(np.uint8)).convert("RGB")
    if image.mode in ("I", "F"):
        raise BadImage(path, "32-bit pixels have no agreed white; save it with 8 or 16 bits")
    if {"A", "a"} & set(image.getbands()) or "transparency" in image.info:
        white = Image.new("RGBA", image.size, "white")
        return Image.alpha_composite(white, image.convert("RGBA")).convert("RGB")
    return image.convert("RGB")


def _turn(image: Image.Image) -> Image.Transpose | None:
    """What the EXIF orientation asks for, if anything."""
    try:
        return _TRANSPOSE.get(int(image.getexif().get(_ORIENTATION, 1)))
    except Exception:  # broken EXIF data must not cost a photo whose pixels are fine
        return None


def _first_line(error: Exception) -> str:
    lines = str(error).splitlines()
    return lines[0][:160] if lines else type(error).__name__

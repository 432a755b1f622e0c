"""From an image file to RGB pixels as a person sees them, or one plain reason why not.

A file goes in as a path or as its bytes, a PIL image of mode RGB comes out. Files come from anywhere, so whatever is
wrong with one (cut short, empty, not an image, too large to be meant) becomes a `BadImage` and never another exception.
"""

from __future__ import annotations

import errno
import io
import stat
from collections.abc import Iterator
from contextlib import contextmanager
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

    def __init__(self, place: Path | str, reason: str) -> None:
        super().__init__(f"{place}: {reason}")
        self.reason = reason


def decode(path: Path | str) -> Image.Image:
    """The image in the file as RGB, upright; `BadImage` if there is none.

    EXIF orientation is applied, CMYK and YCbCr converted, 16-bit grey scaled to 8 bits, transparency laid on white;
    of an animation or a multi-page file the first frame is taken. A 1×1 image is an image: it decodes, and a
    backbone's transform resizes it like any other.
    """
    with opened(Path(path), str(path)) as image:
        return to_rgb(image, str(path))


def decode_bytes(data: bytes, place: str) -> Image.Image:
    """The image in the bytes of a file, by the rules of `decode`; `place` is what a `BadImage` calls it."""
    with opened(data, place) as image:
        return to_rgb(image, place)


@contextmanager
def opened(file: Path | bytes, place: str) -> Iterator[Image.Image]:
    """The image in a file or in its bytes, loaded as it is stored; errors of the body, too, become `BadImage`."""
    try:
        if isinstance(file, Path):
            status = file.stat()
            if not stat.S_ISREG(status.st_mode):
                raise BadImage(place, "not a regular file")
        if not (len(file) if isinstance(file, bytes) else status.st_size):
            raise BadImage(place, "empty (zero bytes)")
        with Image.open(io.BytesIO(file) if isinstance(file, bytes) else file, formats=FORMATS) as image:
            if image.width * image.height > MAX_PIXELS:
                raise BadImage(
                    place, f"too large: {image.width} × {image.height} pixels, expected at most {MAX_PIXELS}"
                )
            image.load()
            yield image
    except BadImage:
        raise
    except FileNotFoundError:
        raise BadImage(place, "no such file (it vanished after it was listed, or its name is not UTF-8)") from None
    except PermissionError:
        raise BadImage(place, "permission denied") from None
    except UnidentifiedImageError:
        raise BadImage(place, f"not an image of a format that is read ({', '.join(FORMATS)})") from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise BadImage(place, f"too large: more than {MAX_PIXELS} pixels") from None
    except Exception as error:  # parsers of foreign bytes raise anything: OSError, SyntaxError, struct.error, ...
        if isinstance(error, OSError) and error.errno in _MACHINE_TROUBLE:
            raise InsightError(f"{place}: cannot be opened ({error.strerror}); use fewer workers") from None
        raise BadImage(place, f"damaged ({_first_line(error)})") from None


def to_rgb(image: Image.Image, place: str) -> Image.Image:
    """A PIL image of any mode → RGB and upright, by the rules of `decode`; `BadImage` where its pixels have no colours.

    One that was opened and not loaded yet is loaded; `BadImage` if its file turns out to be damaged.
    """
    if not image.width * image.height:
        raise BadImage(place, f"no pixels: {image.width} × {image.height}")
    try:
        image.load()
    except Exception as error:  # as in `opened`
        raise BadImage(place, f"damaged ({_first_line(error)})") from None
    turn = _turn(image)
    rgb = _rgb(image, place)
    return rgb if turn is None else rgb.transpose(turn)


def _rgb(image: Image.Image, place: str) -> Image.Image:
    """Any mode that Pillow decodes to → RGB."""
    if image.mode.startswith("I;16") or (image.mode == "I" and image.format in ("PNG", "PPM")):
        wide = np.asarray(image).astype(np.int64).clip(0, 65535)
        return Image.fromarray(((wide * 255 + 32767) // 65535).astype(np.uint8)).convert("RGB")
    if image.mode in ("I", "F"):
        raise BadImage(place, "32-bit pixels have no agreed white; save it with 8 or 16 bits")
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

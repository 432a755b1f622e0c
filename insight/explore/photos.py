"""Photographs that people drop into the explorer: checked, cut to the square that the encoder sees, and kept a while.

In: the bytes of an image file. Out: `Dropped`, found again by its token. At most `MOST` are kept, in memory alone.
"""

from __future__ import annotations

import hashlib
import io
from dataclasses import dataclass, field
from threading import Semaphore
from typing import TYPE_CHECKING

from PIL import Image

from ..backbones import CentreSquare
from ..data.decode import FORMATS, BadImage, decode_bytes
from ..model import PHOTO_PIXELS
from .images import DECODED_AT_ONCE
from .lru import Lru
from .refusal import Refusal

if TYPE_CHECKING:
    from ..model import EncodedPhoto

MOST = 128
"""Twice as many as people who use it at once, and some: while one waits, each of the others may bring another photo."""
MOST_BYTES = 32 << 20
MOST_PIXELS = 40_000_000
FORGOTTEN = "this photo was forgotten; drop the photo again"


@dataclass(eq=False)
class Dropped:
    """A photo as the explorer keeps it. `encoded`: by the number of the model, what its encoder saw."""

    token: str
    square: Image.Image = field(repr=False)
    encoded: dict[int, EncodedPhoto] = field(default_factory=dict, repr=False)


class Photos:
    """The photographs that were dropped last."""

    def __init__(self, most: int = MOST) -> None:
        self._kept: Lru[str, Dropped] = Lru(most)
        self._decoding = Semaphore(DECODED_AT_ONCE)

    def add(self, data: bytes) -> Dropped:
        """Keep the photo in a file's bytes. `Refusal` where there is none, or too large a one (413)."""
        if len(data) > MOST_BYTES:
            raise Refusal(too_many_bytes(), 413)
        token = hashlib.sha256(data).hexdigest()[:32]
        if (known := self._kept.get(token)) is not None:
            return known
        with self._decoding:
            _check_size(data)
            try:
                square = CentreSquare(PHOTO_PIXELS).view(decode_bytes(data, "the file"), PHOTO_PIXELS)
            except BadImage as bad:
                raise Refusal(f"this is no photo that can be read: {bad.reason}") from None
        return self.keep(token, square)

    def keep(self, token: str, square: Image.Image) -> Dropped:
        """Keep a square that is there already, under a token of its own."""
        dropped = Dropped(token, square)
        self._kept.put(token, dropped)
        return dropped

    def __getitem__(self, token: object) -> Dropped:
        """A photo by its token; `Refusal` (404) once it was forgotten."""
        found = self._kept.get(token) if isinstance(token, str) else None
        if found is None:
            raise Refusal(FORGOTTEN, 404)
        return found

    def get(self, token: str) -> Dropped | None:
        """A photo by its token, if it is still kept."""
        return self._kept.get(token)

    def __len__(self) -> int:
        return len(self._kept)


def too_many_bytes() -> str:
    """The sentence that refuses a file for its size."""
    return f"expected a file of at most {MOST_BYTES >> 20} MB; make the photo smaller"


def jpeg(image: Image.Image, quality: int = 85) -> bytes:
    """An RGB image as the bytes of a JPEG file."""
    buffer = io.BytesIO()
    image.save(buffer, format="JPEG", quality=quality)
    return buffer.getvalue()


def _check_size(data: bytes) -> None:
    """Refuse a picture by what its header says, before its pixels take memory."""
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            width, height = image.size
    except Image.DecompressionBombError:
        raise Refusal(_too_many_pixels(), 413) from None
    except Exception:  # `decode_bytes` says what is wrong with it
        return
    if width * height > MOST_PIXELS:
        raise Refusal(_too_many_pixels(), 413)


def _too_many_pixels() -> str:
    return f"expected a photo of at most {MOST_PIXELS // 1_000_000} megapixels; make the photo smaller"

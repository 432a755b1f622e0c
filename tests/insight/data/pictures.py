"""Pictures and files for the tests of sources."""

import io
from pathlib import Path

import numpy as np
from PIL import Image

from insight.data import BadImage, ImageSource, Item


def picture(colour: int, side: int = 4) -> Image.Image:
    return Image.new("RGB", (side, side + 1), (colour % 256, colour // 256 % 256, 7))


def png(image: Image.Image) -> bytes:
    stream = io.BytesIO()
    image.save(stream, "PNG")
    return stream.getvalue()


def colour(item: Item) -> int:
    """Which `picture` the item is."""
    red, green, blue = np.asarray(item.load())[0, 0].tolist()
    assert blue == 7
    return red + 256 * green


def reason(item: Item) -> str:
    """Why the item is bad."""
    try:
        item.load()
    except BadImage as bad:
        return str(bad)
    raise AssertionError(f"{item.id} is a good image")


def everything(source: ImageSource, size: int = 3) -> list[Item]:
    return [item for part in source.parts(size) for item in source.read(part)]


def check_restarts(source: ImageSource, size: int = 3) -> None:
    """From every image on, a part gives what it gives from its beginning on."""
    for part in source.parts(size):
        whole = [(item.id, item.label, item.split) for item in source.read(part)]
        for start in range(len(whole) + 1):
            assert [(item.id, item.label, item.split) for item in source.read(part, start)] == whole[start:]


def write_classes(folder: Path, *names: str) -> Path:
    path = folder / "classes.txt"
    path.write_text("\n".join(names) + "\n", encoding="utf-8")
    return path

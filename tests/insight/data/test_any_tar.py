"""Whatever bytes are called a tar: images, bad images or an `InsightError`, in bounded memory."""

import contextlib
import io
import tarfile
import tempfile
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from insight.data import BadImage, TarShards
from insight.data.tar_format import DamagedTar, TarReader
from insight.data.tar_samples import TarImage, tar_images
from tests.insight.data.pictures import picture, png

IMAGE = png(picture(1))
NAMES = st.sampled_from(
    [
        "a.png",
        "a.seg.png",
        "a.cls",
        "a.json",
        "b.png",
        "b.2.png",
        "../c.png",
        "/d.png",
        "e",
        "n" * 200 + ".png",
        ".f.png",
    ]
)
KINDS = st.sampled_from([*b"0\0001234567LKxgSDVX"])
FORMATS = st.sampled_from([tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
HEADERS = [b"11 path=a.b\n", b"9 size=1\n", b"99 path=x\n", b"0 path=x\n", b"12 size=9999\n", b"x" * 30, b""]
DATA = st.one_of(st.sampled_from([IMAGE, b"7", b'{"label": 1}', *HEADERS]), st.binary(max_size=600))


@st.composite
def tars(draw: st.DrawFn) -> bytes:
    """A tar of any members, the sizes and kinds in its headers at times others than is true, some bytes exchanged."""
    tar = b""
    for _ in range(draw(st.integers(0, 6))):
        data = draw(DATA)
        info = tarfile.TarInfo()
        info.name, info.type = draw(NAMES), bytes([draw(KINDS)])
        info.size = len(data) if draw(st.booleans()) else draw(st.integers(0, 1 << 40))
        with contextlib.suppress(ValueError):  # a name that does not fit the format
            tar += info.tobuf(draw(FORMATS)) + data + bytes(-len(data) % 512)
    tar += bytes(draw(st.sampled_from([0, 512, 1024, 10240])))
    for _ in range(draw(st.integers(0, 3))):
        if tar:
            at = draw(st.integers(0, len(tar) - 1))
            tar = tar[:at] + draw(st.binary(min_size=1, max_size=9)) + tar[at + 1 :]
    return tar[: draw(st.integers(0, len(tar)))] if draw(st.booleans()) else tar


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as name:
        (Path(name) / "classes.txt").write_text("a\n")
        yield Path(name)


def streamed(data: bytes) -> list[TarImage]:
    """The images by the reader of streams, where one cannot seek."""
    images: list[TarImage] = []
    with contextlib.suppress(DamagedTar):
        images.extend(tar_images(TarReader(io.BytesIO(data), None), masks=True))
    return images


@settings(max_examples=400)
@given(data=st.one_of(st.binary(max_size=3000), tars(), tars(), tars()))
def test_any_bytes_are_images_or_bad_images(folder: Path, data: bytes) -> None:
    (folder / "t.tar").write_bytes(data)
    source = TarShards(folder / "t.tar", classes=folder / "classes.txt")
    tracemalloc.start()
    try:
        items = list(source.read(["t"]))
        images = streamed(data)
        memory = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert memory < (1 << 20) + 8 * len(data)
    assert len({item.id for item in items}) == len(items)
    for item in items:
        with contextlib.suppress(BadImage):
            assert item.load().mode == "RGB"
        with contextlib.suppress(BadImage):
            assert item.load_mask is None or item.load_mask().ndim == 2
    for start in range(len(items) + 2):
        assert [item.id for item in source.read(["t"], start)] == [item.id for item in items[start:]]
    assert len(images) == sum(item.id != "t.tar" for item in items)

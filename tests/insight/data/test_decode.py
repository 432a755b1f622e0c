"""Every kind of image file becomes the RGB picture a person sees, or a reason in words."""

import contextlib
import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from insight.data import BadImage, decode, decode_bytes
from sae.errors import InsightError


@pytest.fixture
def picture() -> Image.Image:
    """A smooth picture with four different corners, 24 wide and 16 high."""
    y, x = np.mgrid[0:16, 0:24]
    return Image.fromarray(np.stack([x * 10, y * 15, 255 - x * 5 - y * 5], -1).astype(np.uint8))


def pixels(image: Image.Image) -> np.ndarray:
    return np.asarray(image).astype(int)


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".ppm", ".tif", ".webp"])
def test_lossless_files_come_out_as_they_went_in(picture: Image.Image, tmp_path: Path, suffix: str) -> None:
    picture.save(tmp_path / f"a{suffix}", **({"lossless": True} if suffix == ".webp" else {}))
    found = decode(tmp_path / f"a{suffix}")
    assert found.mode == "RGB"
    assert np.array_equal(pixels(found), pixels(picture))


def test_bytes_are_decoded_as_their_file_is(picture: Image.Image, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    picture.save(tmp_path / "a.jpg", exif=exif)
    found = decode_bytes((tmp_path / "a.jpg").read_bytes(), "here")
    assert found.size == (16, 24)
    assert np.array_equal(pixels(found), pixels(decode(tmp_path / "a.jpg")))


def test_the_content_counts_and_not_the_suffix(picture: Image.Image, tmp_path: Path) -> None:
    picture.save(tmp_path / "a.jpg", format="PNG")
    assert np.array_equal(pixels(decode(tmp_path / "a.jpg")), pixels(picture))


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_exif_orientation_is_undone(picture: Image.Image, tmp_path: Path, orientation: int, suffix: str) -> None:
    stored = {  # how a camera held so stores the upright picture, by the EXIF standard's words on row 0 and column 0
        1: lambda p: p, 2: lambda p: p[:, ::-1], 3: lambda p: p[::-1, ::-1], 4: lambda p: p[::-1],
        5: lambda p: p.transpose(1, 0, 2), 6: lambda p: p.transpose(1, 0, 2)[::-1],
        7: lambda p: p.transpose(1, 0, 2)[::-1, ::-1], 8: lambda p: p.transpose(1, 0, 2)[:, ::-1],
    }[orientation](np.asarray(picture))  # fmt: skip
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(np.ascontiguousarray(stored)).save(tmp_path / f"a{suffix}", exif=exif)
    assert np.array_equal(pixels(decode(tmp_path / f"a{suffix}")), pixels(picture))


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
@pytest.mark.parametrize("exif", [b"Exif\0\0garbage", b"Exif\0\0MM\0*\0\0\xff\xff", b"Exif\0\0II*\0\x08\0\0\0\xff\xff"])
def test_broken_exif_costs_no_photo(picture: Image.Image, tmp_path: Path, exif: bytes) -> None:
    picture.save(tmp_path / "a.jpg", exif=exif)
    assert decode(tmp_path / "a.jpg").size == picture.size


def test_cmyk_becomes_rgb(picture: Image.Image, tmp_path: Path) -> None:
    picture.convert("CMYK").save(tmp_path / "a.jpg", quality=100)
    assert abs(pixels(decode(tmp_path / "a.jpg")) - pixels(picture)).mean() < 3


def test_sixteen_bits_are_scaled_to_eight(tmp_path: Path) -> None:
    wide = np.random.default_rng().integers(0, 65536, (9, 7)).astype(np.uint16)
    Image.fromarray(wide).save(tmp_path / "a.png")
    Image.fromarray(wide).save(tmp_path / "a.tif")
    expected = np.rint(wide / 257.0).astype(int)
    for name in ("a.png", "a.tif"):
        assert np.array_equal(pixels(decode(tmp_path / name)), np.stack([expected] * 3, -1))


def test_transparency_is_laid_on_white(tmp_path: Path) -> None:
    rgba = np.random.default_rng().integers(0, 256, (8, 8, 4)).astype(np.uint8)
    Image.fromarray(rgba).save(tmp_path / "a.png")
    alpha = rgba[..., 3:] / 255.0
    expected = rgba[..., :3] * alpha + 255 * (1 - alpha)
    assert abs(pixels(decode(tmp_path / "a.png")) - expected).max() <= 1


def test_a_palette_with_a_transparent_colour(tmp_path: Path) -> None:
    image = Image.new("P", (2, 1))
    image.putpalette([200, 10, 20, 30, 40, 50])
    image.putpixel((1, 0), 1)
    image.save(tmp_path / "plain.png")
    image.save(tmp_path / "clear.png", transparency=1)
    image.save(tmp_path / "clear.gif", transparency=1)
    assert pixels(decode(tmp_path / "plain.png")).tolist() == [[[200, 10, 20], [30, 40, 50]]]
    for name in ("clear.png", "clear.gif"):
        assert pixels(decode(tmp_path / name)).tolist() == [[[200, 10, 20], [255, 255, 255]]]


@pytest.mark.parametrize("mode", ["1", "L", "LA", "YCbCr"])
def test_other_modes_become_rgb(picture: Image.Image, tmp_path: Path, mode: str) -> None:
    name = "a.jpg" if mode == "YCbCr" else "a.png"
    picture.convert(mode).save(tmp_path / name)
    assert decode(tmp_path / name).mode == "RGB"


def test_an_animation_gives_its_first_frame(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (5, 5), colour) for colour in ("red", "lime", "blue")]
    for name in ("a.gif", "a.webp", "a.tif"):
        frames[0].save(tmp_path / name, save_all=True, append_images=frames[1:])
        assert abs(pixels(decode(tmp_path / name)) - [255, 0, 0]).max() < 5


def test_one_pixel_is_an_image(tmp_path: Path) -> None:
    Image.new("RGB", (1, 1), "lime").save(tmp_path / "a.png")
    assert pixels(decode(tmp_path / "a.png")).tolist() == [[[0, 255, 0]]]


def jpeg(picture: Image.Image) -> bytes:
    stream = io.BytesIO()
    picture.resize((200, 200)).save(stream, "JPEG")
    return stream.getvalue()


def png_that_claims(width: int, height: int) -> bytes:
    """A PNG file of 60 bytes whose header announces that many pixels."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(b"")), (b"IEND", b"")]
    body = b"".join(struct.pack(">I", len(d)) + n + d + struct.pack(">I", zlib.crc32(n + d)) for n, d in chunks)
    return b"\x89PNG\r\n\x1a\n" + body


def test_what_is_no_image_is_bad_for_a_reason(picture: Image.Image, tmp_path: Path) -> None:
    whole = jpeg(picture)
    floats = io.BytesIO()
    Image.new("F", (3, 3)).save(floats, "TIFF")
    files = {
        "cut short": (whole[: len(whole) // 2], "truncated"),
        "header only": (whole[:30], "not an image|damaged"),
        "empty": (b"", "zero bytes"),
        "text": (b"This is not a picture.", "not an image of a format that is read"),
        "postscript": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "not an image"),
        "bomb": (png_that_claims(60_000, 60_000), "too large"),
        "less of a bomb": (png_that_claims(14_000, 13_000), "too large"),
        "no pixels": (png_that_claims(20, 20), "damaged"),
        "no size": (png_that_claims(0, 0), "damaged|not an image"),
        "floats": (floats.getvalue(), "no agreed white"),
    }
    for name, (data, reason) in files.items():
        path = tmp_path / f"{name}.png"
        path.write_bytes(data)
        with pytest.raises(BadImage, match=reason) as caught:
            decode(path)
        assert isinstance(caught.value, InsightError)
        assert str(path) not in caught.value.reason
        assert "\n" not in str(caught.value)
        with pytest.raises(BadImage) as of_bytes:
            decode_bytes(data, "x.tar: a")
        assert str(of_bytes.value) == f"x.tar: a: {caught.value.reason}"


def test_what_is_no_file_is_bad_for_a_reason(tmp_path: Path) -> None:
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "link.png").symlink_to("nowhere")
    for name, reason in {
        "folder.png": "not a regular file",
        "link.png": "no such file",
        "none": "no such file",
    }.items():
        with pytest.raises(BadImage, match=reason):
            decode(tmp_path / name)


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_any_bytes_are_decoded_or_bad(picture: Image.Image, tmp_path: Path) -> None:
    """Random damage to real files of every format: an RGB image or `BadImage`, never anything else."""
    rng = np.random.default_rng()
    good = 0
    for kind in ("JPEG", "PNG", "GIF", "WEBP", "TIFF", "BMP", "PPM"):
        stream = io.BytesIO()
        picture.save(stream, kind)
        for _ in range(60):
            data = bytearray(stream.getvalue())
            for place in rng.integers(0, len(data), rng.integers(1, 6)):
                data[place] = rng.integers(256)
            (tmp_path / "a.png").write_bytes(data[: rng.integers(1, len(data) + 1)] if rng.random() < 0.3 else data)
            with contextlib.suppress(BadImage):
                good += decode(tmp_path / "a.png").mode == "RGB"
    assert 0 < good < 420

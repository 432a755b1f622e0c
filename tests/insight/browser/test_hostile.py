"""What does a person harm who drops the wrong file, or meets a name made to deceive: nothing, and the page says so."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import expect

from .test_views import sample

NAME = "<img src=x onerror=alert(1)><script>alert(2)</script>"


def bomb(path: Path) -> Path:
    """A PNG of 20,000 × 10,000 black pixels in 200 kB."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 20_000, 10_000, 8, 0, 0, 0, 0)
    pixels = zlib.compress(bytes(20_001) * 10_000, 9)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b""))
    return path


def truncated(path: Path) -> Path:
    buffer = io.BytesIO()
    noise = np.random.default_rng().integers(0, 255, (64, 64, 3), dtype=np.uint8)
    Image.fromarray(noise).save(buffer, format="JPEG")
    path.write_bytes(buffer.getvalue()[:900])
    return path


def written(path: Path, content: str) -> Path:
    path.write_text(content)
    return path


BAD = {
    "text": lambda folder: written(folder / "notes.jpg", "not a photo"),
    "empty": lambda folder: written(folder / "empty.png", ""),
    "svg": lambda folder: written(
        folder / "drawing.svg", '<svg xmlns="http://www.w3.org/2000/svg"><script>alert(3)</script></svg>'
    ),
    "html": lambda folder: written(folder / "page.png", "<html><script>alert(4)</script></html>"),
    "truncated": lambda folder: truncated(folder / "cut.jpg"),
    "bomb": lambda folder: bomb(folder / "bomb.png"),
}


@pytest.mark.parametrize("kind", BAD)
def test_a_bad_file_gives_a_message_and_the_page_lives_on(look, tmp_path: Path, kind: str) -> None:
    page = look().go("photo")
    page.locator('input[type="file"]').set_input_files(BAD[kind](tmp_path))
    expect(page.get_by_role("alert")).to_be_visible()
    assert len(page.get_by_role("alert").inner_text()) > 20
    sample(page)
    expect(page.locator(".item[data-concept]").first).to_be_visible()


def test_a_name_made_of_markup_stays_a_name(look) -> None:
    looking = look()
    page = looking.go("edit?concept=5")
    page.get_by_label("New name").fill(NAME)
    page.get_by_role("button", name="Save").click()
    expect(page.locator(".edits li")).to_contain_text(NAME)
    for view in ("concept/5", "graph/5", "concepts?text=onerror"):
        page = looking.go(view)
        expect(page.locator("main")).to_contain_text(NAME)
    page = looking.go("edit")
    page.get_by_role("button", name="Undo edit").click()
    expect(page.locator(".edits li")).to_have_count(0)


@pytest.mark.parametrize("view", ["concept/99999", "concept/-1", "concept/abc", "graph/..%2F..%2Fetc", "photo/none"])
def test_an_address_of_nothing_says_so(look, view: str) -> None:
    page = look().go("concepts")
    page.evaluate("view => { location.hash = '#/' + view }", view)
    problem = page.locator("main > p.problem")
    expect(problem).to_be_visible()
    assert len(problem.inner_text()) > 20

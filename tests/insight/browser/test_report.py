"""A report, opened from the disk as a person opens it."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import expect

from insight import ConceptModel


def test_every_picture_of_a_report_is_drawn(report, running, picture) -> None:
    page = report()
    expect(page.get_by_role("heading", level=1)).to_be_visible()
    drawn = page.locator("img").evaluate_all("images => images.map(image => image.naturalWidth)")
    assert drawn
    assert all(drawn)
    text = page.locator("body").inner_text()
    named = [concept.name for concept in ConceptModel.from_pretrained(running.model).concepts if concept.name]
    assert any(name in text for name in named)
    assert {"bird", "water", "tree"} <= set(text.split())
    picture(page, "report")


@pytest.mark.parametrize("width", [360, 1280])
def test_a_report_fits_its_window(report, width: int) -> None:
    page = report(viewport={"width": width, "height": 800})
    wide = page.evaluate("document.documentElement.scrollWidth")
    assert wide <= width


def test_a_report_is_printed_whole(report, tmp_path: Path) -> None:
    page = report()
    page.pdf(path=str(tmp_path / "report.pdf"))
    assert (tmp_path / "report.pdf").read_bytes().startswith(b"%PDF")

"""The pictures of the explorer in the documents, taken of the demo's model by Chromium.

    insight demo --out demo && insight explore demo/model
    python scripts/explorer_pictures.py http://127.0.0.1:7860 demo/held-out/s0652.jpg docs/pictures
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

SETTLED = 3000  # milliseconds until crops are drawn and answers shown


def main(address: str, photo: str, folder: Path) -> None:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1280, "height": 860})

        def keep(name: str) -> None:
            page.wait_for_timeout(SETTLED)
            page.screenshot(path=folder / f"explorer-{name}.jpg", type="jpeg", quality=80)

        page.goto(address)
        page.locator(".card").first.wait_for()
        keep("concepts")
        page.goto(f"{address}/#/graph")
        page.locator(".node.self").wait_for()
        keep("graph")
        page.goto(f"{address}/#/photo")
        page.locator('input[type="file"]').set_input_files(photo)
        page.locator(".item").first.click()
        keep("photo")
        _segment(page)
        keep("segment")
        browser.close()


def _segment(page: Page) -> None:
    page.get_by_role("tab", name="Segment").click()
    page.get_by_label("Classes").last.fill("bird, leaf|plant, sky")
    page.get_by_role("button", name="Segment").click()
    page.locator("#panel-Segment .chip").first.wait_for()
    page.locator(".stage canvas").click(position={"x": 250, "y": 250})


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], Path(sys.argv[3]))

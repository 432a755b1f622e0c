"""Every view and a report by the rules of axe-core: no finding that is serious or critical, by day and by night."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from .test_views import open_photo, sample

axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="`pip install -e '.[browser]'`")


def findings(page) -> list[str]:
    answer = axe.Axe().run(page).response
    return [
        f"{found['impact']}: {found['id']}: {found['nodes'][0]['html'][:200]}"
        for found in answer["violations"]
        if found["impact"] in ("serious", "critical")
    ]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("view", ["concepts", "concept/0", "graph", "edit"])
def test_a_view_has_no_serious_finding(look, view: str, scheme: str) -> None:
    page = look(color_scheme=scheme).go(view)
    page.wait_for_load_state("networkidle")
    assert findings(page) == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_photo_view_has_no_serious_finding(look, scheme: str) -> None:
    page = open_photo(look(color_scheme=scheme))
    expect(page.locator(".item[data-concept]").first).to_be_visible()
    assert findings(page) == []
    page.get_by_role("tab", name="Classify").click()
    page.get_by_role("button", name="Classify").click()
    expect(page.locator(".contribution[data-term]").first).to_be_visible()
    assert findings(page) == []
    page.get_by_role("tab", name="Segment").click()
    page.get_by_role("button", name="Segment").click()
    expect(page.locator("#panel-Segment .chip").first).to_be_visible()
    assert findings(page) == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_comparison_has_no_serious_finding(look, scheme: str) -> None:
    page = look(color_scheme=scheme).go("compare")
    sample(page, "Photo A", 0)
    sample(page, "Photo B", 1)
    expect(page.locator(".columns .item").first).to_be_visible()
    assert findings(page) == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_report_has_no_serious_finding(report, scheme: str) -> None:
    assert findings(report(color_scheme=scheme)) == []

"""Every view of the explorer, as a person uses it in a real browser."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import expect

from insight import ConceptModel

expect.set_options(timeout=60_000)


def sample(page, drop: str = "Photo", number: int = 0) -> None:
    """Press one of the model's own photographs."""
    page.locator(f'[data-drop="{drop}"] .samples button').nth(number).click()


def open_photo(looking, number: int = 0):
    page = looking.go("photo")
    sample(page, number=number)
    expect(page.locator(".stage canvas")).to_be_visible()
    return page


def test_concepts_are_listed_and_found(look, running, picture) -> None:
    model = ConceptModel.from_pretrained(running.model)
    page = look().go("concepts")
    expect(page.locator(".card")).to_have_count(48)
    expect(page.locator(".card img").first).to_have_js_property("complete", True)
    picture(page, "concepts")
    page.get_by_label("Name", exact=True).fill("bird")
    known = [c for c in model.concepts if "bird" in " ".join([c.name or "", *c.alternatives]) or c.id == "bird"]
    expect(page.get_by_role("status").first).to_contain_text(f"{len(known)} of ")
    page.get_by_label("Level (0 is coarsest)").select_option("0")
    coarse = [c for c in known if c.level == 0]
    expect(page.locator(".card")).to_have_count(min(48, len(coarse)))
    assert "text=bird" in page.url


def test_more_concepts_come_while_scrolling(look) -> None:
    page = look().go("concepts")
    expect(page.locator(".card")).to_have_count(48)
    page.mouse.wheel(0, 20_000)
    expect(page.locator(".card").nth(60)).to_be_attached()


def test_concepts_are_found_by_meaning(look) -> None:
    page = look().go("concepts")
    page.get_by_label("Name", exact=True).fill("a duck on a lake")
    page.get_by_role("button", name="Search by meaning").click()
    expect(page.locator(".count")).to_contain_text("nearest in meaning to “a duck on a lake”")
    expect(page.locator(".card .meta").first).to_contain_text("fits")


def test_a_concept_shows_where_it_is_strongest_and_what_it_belongs_to(look, running, picture) -> None:
    page = look().go("concepts")
    page.locator(".card h2 a").first.click()
    expect(page.get_by_role("heading", name="Where it is strongest")).to_be_visible()
    page.locator(".examples button").first.click()
    shown = page.locator(".shown-example img")
    expect(shown).to_be_visible()
    expect(shown).to_have_js_property("naturalWidth", 480)
    expect(page.locator(".histogram rect").first).to_be_attached()
    picture(page, "concept")


def test_the_graph_is_walked_by_pressing(look, running, picture) -> None:
    relations = ConceptModel.from_pretrained(running.model).relations
    start = max(range(relations.n_concepts), key=lambda c: len(relations.children(c)) + len(relations.parents(c)))
    page = look().go(f"graph/{start}")
    expect(page.locator(".node.self")).to_have_attribute("data-concept", str(start))
    expect(page.locator("svg .edge").first).to_be_attached()
    picture(page, "graph")
    neighbour = page.locator(".node.child, .node.parent, .node.context").first
    to = neighbour.get_attribute("data-concept")
    neighbour.hover()
    expect(page.locator(".edge.lit").first).to_be_attached()
    neighbour.click()
    expect(page.locator(".node.self")).to_have_attribute("data-concept", str(to))
    expect(page.locator(".trail a").first).to_be_visible()


def test_the_graph_begins_somewhere_by_itself(look) -> None:
    page = look().go("graph")
    expect(page.locator(".node.self")).to_be_visible()


def test_a_photo_is_pointed_at_and_its_concepts_are_shown(look, picture) -> None:
    page = open_photo(look())
    items = page.locator(".item[data-concept]")
    expect(items.first).to_be_visible()
    page.locator(".stage canvas").hover(position={"x": 200, "y": 200})
    expect(page.locator(".legend b").first).to_be_visible()
    items.first.click()
    expect(items.first).to_have_attribute("aria-pressed", "true")
    picture(page, "photo")
    page.get_by_label("Shown").select_option("regions")
    expect(items.first).to_have_attribute("aria-pressed", "false")
    page.mouse.move(5, 5)
    expect(page.locator(".legend .chip").first).to_be_visible()
    picture(page, "photo-regions")


def test_a_photo_is_pointed_at_by_keys(look) -> None:
    page = open_photo(look())
    page.locator(".stage canvas").focus()
    page.keyboard.press("ArrowRight")
    here = page.locator(".legend").inner_text()
    assert "unexplained" not in here
    page.keyboard.press("Enter")
    expect(page.locator('.item[aria-pressed="true"]')).to_have_count(1)


def test_the_class_changes_when_what_decided_is_removed(look, picture) -> None:
    page = open_photo(look())
    page.get_by_role("tab", name="Classify").click()
    page.get_by_role("button", name="Classify").click()
    terms = page.locator(".contribution[data-term]")
    expect(terms.first).to_be_visible()
    sure = page.locator(".classes tbody tr").first.locator("td.number")
    expect(sure).to_have_count(1)
    terms.first.get_by_role("checkbox").check()
    expect(page.get_by_role("columnheader", name="without")).to_be_visible()
    expect(sure).to_have_count(2)
    expect(page.locator("#panel-Classify .lead")).to_contain_text("Without what was removed it ")
    picture(page, "classify")
    page.get_by_role("button", name="Put all back").click()
    expect(page.get_by_role("columnheader", name="without")).to_have_count(0)


def test_any_words_can_be_the_classes(look) -> None:
    page = open_photo(look())
    page.get_by_role("tab", name="Classify").click()
    page.get_by_label("Judged by").select_option("-1")
    page.get_by_label(re.compile("Classes")).first.fill("duck|bird, boat")
    page.get_by_role("button", name="Classify").click()
    expect(page.locator(".classes tbody tr")).to_have_count(2)


def test_regions_say_why(look, picture) -> None:
    page = open_photo(look())
    page.get_by_role("tab", name="Segment").click()
    page.get_by_role("button", name="Segment").click()
    expect(page.locator("#panel-Segment .chip").first).to_be_visible()
    page.locator(".stage canvas").click(position={"x": 250, "y": 260})
    expect(page.get_by_role("heading", name=re.compile("Why “"))).to_be_visible()
    picture(page, "segment")


def test_two_photos_are_compared(look, picture) -> None:
    page = look().go("compare")
    sample(page, "Photo A", 0)
    sample(page, "Photo B", 1)
    for heading in ("In both", "Only in A", "Only in B"):
        expect(page.get_by_role("heading", name=re.compile(heading))).to_be_visible()
    page.locator(".columns .item").first.hover()
    picture(page, "compare")


def test_two_models_are_compared(look, picture) -> None:
    page = look().go("compare")
    page.get_by_role("button", name="Two models").click()
    expect(page.get_by_role("columnheader", name="cosine")).to_be_visible()
    assert page.locator("td.number").first.inner_text() == "1.000"  # the second is the first
    sample(page)
    expect(page.locator(".pair canvas")).to_have_count(2)
    picture(page, "compare-models")


def test_an_edit_is_saved_shown_and_undone(look, picture) -> None:
    looking = look()
    page = looking.go("edit?concept=3")
    page.get_by_label("New name").fill("a wing, half open")
    page.get_by_role("button", name="Save").click()
    expect(page.locator(".edits li")).to_have_count(1)
    expect(page.locator(".edits li")).to_contain_text("a wing, half open")
    picture(page, "edit")
    page = looking.go("concept/3")
    expect(page.locator("main h1")).to_contain_text("a wing, half open")
    expect(page.locator("main h1 .edited")).to_be_visible()
    page = looking.go("edit")
    page.get_by_role("button", name="Undo edit").click()
    expect(page.locator(".edits li")).to_have_count(0)
    page = looking.go("concept/3")
    expect(page.locator("main h1")).not_to_contain_text("a wing, half open")


def test_what_cannot_be_edited_says_why(look) -> None:
    page = look().go("edit?concept=3")
    page.get_by_label("What").select_option("relate")
    page.get_by_label("belongs to (a concept's number)").fill("3")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("alert")).to_contain_text("expected two concepts")


@pytest.mark.parametrize("view", ["concepts", "graph", "photo", "compare", "edit"])
def test_a_view_fits_a_phone(look, picture, view: str) -> None:
    page = look(viewport={"width": 390, "height": 800}).go(view)
    page.wait_for_timeout(500)
    picture(page, f"phone-{view}")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390

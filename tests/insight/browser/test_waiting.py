"""What the page does while answers are on their way: views are left, answers break off or come in another order."""

from __future__ import annotations

from playwright.sync_api import Page, Route, expect

GIVEN_UP = 'options.signal.addEventListener("abort", () => body.error(options.signal.reason));'
BROKEN_OFF = 'setTimeout(() => body.error(new TypeError("network error")), 50);'


def begin_bodies(page: Page, ending: str) -> None:
    """The body of every answer from /api/concepts begins, and never ends but by `ending`."""
    page.add_init_script(
        """const real = window.fetch;
        window.fetch = (path, options = {}) => {
            if (!String(path).startsWith("/api/concepts?")) return real(path, options);
            document.documentElement.dataset.begun = "";
            return Promise.resolve(new Response(new ReadableStream({start(body) {
                body.enqueue(new TextEncoder().encode("{"));
                ENDING
            }})));
        };""".replace("ENDING", ending)
    )


def test_a_view_left_while_its_answer_arrives_is_forgotten(look) -> None:
    looking = look()
    begin_bodies(looking.page, GIVEN_UP)
    page = looking.go("concepts")
    expect(page.locator("html[data-begun]")).to_be_attached()
    page.evaluate("location.hash = '#/edit'")
    expect(page.get_by_role("heading", level=1)).to_have_text("Corrections")
    expect(page.locator(".edits")).to_be_attached()
    expect(page.locator("main > p.problem")).to_have_count(0)
    expect(page.locator("#status")).to_have_text("")


def test_an_answer_that_breaks_off_says_so(look) -> None:
    looking = look()
    begin_bodies(looking.page, BROKEN_OFF)
    page = looking.go("concepts")
    expect(page.locator("main > p.problem")).to_have_text("the answer was cut off; try again")


def test_the_last_question_counts_whatever_comes_late(look) -> None:
    page = look().go("concepts")
    expect(page.locator(".card")).to_have_count(48)
    held: list[Route] = []
    page.route("**/api/concepts?text=w&*", lambda route: held.append(route))
    search = page.get_by_label("Name", exact=True)
    with page.expect_request("**/api/concepts?text=w&*"):
        search.fill("w")
    search.fill("water")
    expect(page.locator(".count")).to_contain_text(" of ")
    of_water = page.locator(".card h2").all_inner_texts()
    assert len(held) == 1
    with page.expect_response("**/api/concepts?text=w&*"):
        held[0].continue_()
    page.wait_for_timeout(200)
    assert page.locator(".card h2").all_inner_texts() == of_water


def test_a_search_by_meaning_is_not_undone_by_the_letters_typed_before(look) -> None:
    page = look().go("concepts")
    page.get_by_label("Name", exact=True).fill("a duck")
    page.get_by_role("button", name="Search by meaning").dispatch_event("click")
    by_meaning = page.locator(".count")
    expect(by_meaning).to_contain_text("nearest in meaning to “a duck”")
    page.wait_for_timeout(400)
    expect(by_meaning).to_contain_text("nearest in meaning to “a duck”")


def test_a_photo_that_is_gone_is_a_message_whichever_answer_is_first(look) -> None:
    looking = look()
    looking.page.route("**/gradio_api/call/explain", lambda route: None)
    page = looking.go("photo/none")
    expect(page.locator("main > p.problem")).to_have_text("the photo cannot be shown any more; drop it again")

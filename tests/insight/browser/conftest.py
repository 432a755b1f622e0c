"""Pages in Chromium: the explorer as a process of its own, and reports. Skipped where Chromium cannot be had.

`INSIGHT_SCREENSHOTS=FOLDER pytest -m browser` keeps a picture of every view.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import pytest

from insight import ConceptModel
from insight.cli import main
from insight.heads import ConceptClassifier

try:
    from playwright import sync_api
except ImportError:  # pip install -e '.[browser]'
    collect_ignore_glob = ["test_*.py"]

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
PATIENCE = 60_000  # milliseconds; a busy machine is no failure


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.browser)


@dataclass(frozen=True)
class Running:
    """An explorer that runs: its address, and the model it shows."""

    address: str
    model: Path


@dataclass
class Looking:
    """A page: what it asked for and what went wrong is kept and checked when the test is over."""

    page: sync_api.Page
    address: str
    requests: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def go(self, view: str) -> sync_api.Page:
        self.page.goto(f"{self.address}/#/{view}")
        self.page.locator("main h1").first.wait_for()
        return self.page


@pytest.fixture(scope="session")
def running(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """The explorer on a copy of the built model, with a head from words and a second model beside it."""
    folder = tmp_path_factory.mktemp("explorer")
    shutil.copytree(built, folder / "model")
    model = ConceptModel.from_pretrained(folder / "model")
    ConceptClassifier.zero_shot(model, ["bird", "water", "tree"]).save(folder / "head", model_place=folder / "model")
    cache = built.with_name(built.name + "-cache")
    command = [sys.executable, "-m", "insight", "explore", str(folder / "model"), "--images", str(cache)]
    command += ["--heads", str(folder / "head"), "--compare", str(built), "--device", "cpu"]
    with (folder / "errors.txt").open("w") as errors:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True)
    assert process.stdout is not None
    said = process.stdout.readline()
    found = re.search(r"http://127\.0\.0\.1:\d+", said)
    if not found:
        process.kill()
        pytest.fail(f"the explorer did not start: {said} {(folder / 'errors.txt').read_text()}")
    yield Running(found[0], folder / "model")
    process.terminate()
    process.wait(timeout=30)
    assert "Traceback" not in (folder / "errors.txt").read_text()


@pytest.fixture(scope="session")
def browser() -> Iterator[sync_api.Browser]:
    if CHROMIUM is None:
        pytest.skip("no Chromium here; `apt-get install chromium` to run this test")
    arguments = ["--no-sandbox"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=arguments)
        yield browser
        browser.close()


@pytest.fixture
def open_page(browser: sync_api.Browser) -> Iterator[Callable[..., Looking]]:
    """Opens a page that may ask for nothing but what lies below an address. No script may fail, no dialog may open."""
    opened: list[Looking] = []
    contexts = []

    def new_page(address: str, **options: object) -> Looking:
        context = browser.new_context(**{"viewport": {"width": 1280, "height": 900}, **options})
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(PATIENCE)
        looking = Looking(page, address)
        page.on("request", lambda request: looking.requests.append(request.url))
        page.on("pageerror", lambda error: looking.problems.append(str(error)))
        page.on("console", lambda line: looking.problems.append(line.text) if line.type == "error" else None)
        page.on("dialog", lambda dialog: (looking.problems.append(f"dialog: {dialog.message}"), dialog.dismiss()))
        opened.append(looking)
        return looking

    yield new_page
    for looking in opened:
        outside = [url for url in looking.requests if not url.startswith((looking.address, "data:", "blob:"))]
        assert outside == []
        refused = [line for line in looking.problems if "status of 4" in line]  # what a test did wrongly on purpose
        assert [line for line in looking.problems if line not in refused] == []
    for context in contexts:
        context.close()


@pytest.fixture
def look(running: Running, open_page: Callable[..., Looking]) -> Callable[..., Looking]:
    """Opens the explorer."""
    return partial(open_page, running.address)


@pytest.fixture(scope="session")
def report_file(running: Running, built: Path, photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report with examples, a head and figures of a cache."""
    file = tmp_path_factory.mktemp("report") / "report.html"
    arguments = ["--photos", str(photos), "--heads", str(running.model.with_name("head")), "--device", "cpu"]
    main(["report", str(running.model), "--out", str(file), "--cache", f"{built}-cache", *arguments])
    return file


@pytest.fixture
def report(report_file: Path, open_page: Callable[..., Looking]) -> Callable[..., sync_api.Page]:
    """Opens the report."""

    def opened(**options: object) -> sync_api.Page:
        page = open_page(report_file.as_uri(), **options).page
        page.goto(report_file.as_uri())
        return page

    return opened


@pytest.fixture
def picture(request: pytest.FixtureRequest) -> Callable[[sync_api.Page, str], None]:
    """Keeps a screenshot where `INSIGHT_SCREENSHOTS` says."""
    folder = os.environ.get("INSIGHT_SCREENSHOTS")

    def keep(page: sync_api.Page, name: str) -> None:
        if folder:
            Path(folder).mkdir(parents=True, exist_ok=True)
            page.screenshot(path=str(Path(folder) / f"{name}.png"))

    return keep

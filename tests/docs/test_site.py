"""The site: it builds without a warning, asks no other machine for anything, and holds every public name.

`mkdocs build --strict` takes some half a minute; marked `docs`.
"""

import importlib
import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

from tests.docs.fences import ROOT

pytestmark = pytest.mark.docs
PACKAGES = ("sae", "naming", "insight")
LOADED = {"script": "src", "link": "href", "img": "src", "iframe": "src", "source": "src", "object": "data"}
NOT_LOADED = {"canonical", "next", "prev", "author", "license", "edit"}
"""Kinds of `<link>` that a browser does not follow by itself."""
ELSEWHERE = re.compile(r"^(https?:)?//")


class Loaded(HTMLParser):
    """Addresses that a browser fetches when it shows the page."""

    def __init__(self) -> None:
        super().__init__()
        self.addresses: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        if tag == "link" and set((values.get("rel") or "").split()) <= NOT_LOADED:
            return
        if address := values.get(LOADED.get(tag, "")):
            self.addresses.append(address)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    for package in ("mkdocs", "mkdocstrings", "mkdocs_jupyter"):
        pytest.importorskip(package, reason="needs `pip install -e '.[test,docs]'`")
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
    )
    assert done.returncode == 0, done.stderr
    return folder


def test_pages_ask_no_other_machine(site: Path) -> None:
    pages = sorted(site.rglob("*.html"))
    assert len(pages) > 30
    for page in pages:
        parser = Loaded()
        parser.feed(page.read_text(encoding="utf-8"))
        outside = [address for address in parser.addresses if ELSEWHERE.match(address)]
        assert outside == [], page.relative_to(site)


def test_scripts_in_pages_name_no_other_machine(site: Path) -> None:
    for page in sorted(site.rglob("*.html")):
        for script in re.findall(r"<script[^>]*>(.*?)</script>", page.read_text(encoding="utf-8"), re.DOTALL):
            assert not re.search(r"""["'`](https?:)?//""", script), page.relative_to(site)


def test_styles_ask_no_other_machine(site: Path) -> None:
    styles = sorted(site.rglob("*.css"))
    assert styles
    for style in styles:
        text = style.read_text(encoding="utf-8")
        found = re.findall(r"""(?:url\(|@import)\s*["']?((?:https?:)?//[^"')]+)""", text)
        assert found == [], style.relative_to(site)


def test_whatever_is_loaded_is_there(site: Path) -> None:
    for page in sorted(site.rglob("*.html")):
        if page.name == "404.html":  # it is served for any path, so its links begin at the root
            continue
        parser = Loaded()
        parser.feed(page.read_text(encoding="utf-8"))
        for address in parser.addresses:
            path = address.partition("?")[0].partition("#")[0]
            if path and not re.match(r"[a-z]+:", path):
                assert (page.parent / path).resolve().exists(), f"{page.relative_to(site)}: {address}"


REFERENCE = re.findall(
    r"^::: (\S+)",
    "\n".join(page.read_text(encoding="utf-8") for page in sorted((ROOT / "docs" / "reference").glob("*.md"))),
    re.MULTILINE,
)


def public_names() -> dict[str, object]:
    """Every public name of the modules in the reference, and what it is."""
    found: dict[str, object] = {}
    for module in filter(_is_module, REFERENCE):
        loaded = importlib.import_module(module)
        found |= {f"{module}.{name}": getattr(loaded, name) for name in getattr(loaded, "__all__", ())}
    return found


def _is_module(name: str) -> bool:
    path = ROOT.joinpath(*name.split("."))
    return (path / "__init__.py").exists()


def test_every_public_name_is_in_the_reference(site: Path) -> None:
    assert set(PACKAGES) <= set(REFERENCE)
    anchors = set()
    for page in (site / "reference").rglob("*.html"):
        anchors |= set(re.findall(r'id="([\w.]+)"', page.read_text(encoding="utf-8")))
    names = public_names()
    assert len(names) > 150
    shown_elsewhere = {id(thing) for name, thing in names.items() if name in anchors}
    lost = [
        name
        for name, thing in names.items()
        if name not in anchors
        and id(thing) not in shown_elsewhere
        and f"{getattr(thing, '__module__', '')}.{name.rpartition('.')[2]}" not in anchors
        and not _constant_is_shown(name, anchors)
    ]
    assert lost == []


def _constant_is_shown(name: str, anchors: set[str]) -> bool:
    """A constant does not know the module it is from: some module below that of `name` must show it."""
    package, _, last = name.rpartition(".")
    return any(anchor.startswith(f"{package}.") and anchor.endswith(f".{last}") for anchor in anchors) and (
        last.isupper() or last == "Mode"
    )


def test_shapes_can_be_read_in_signatures(site: Path) -> None:
    text = re.sub(r"<[^>]+>", "", (site / "reference" / "insight" / "index.html").read_text(encoding="utf-8"))
    assert 'Float[ndarray, "h w"]' in text.replace("&quot;", '"')

"""The page as a real browser shows it (Debian: `apt-get install chromium`); skipped where there is none."""

import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from insight.render.page import ConceptCard, write_page

from .explanations import random_explanation

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


needs_browser = pytest.mark.skipif(
    BROWSER is None, reason="no Chromium here; `apt-get install chromium` to run this test"
)


def shown(page: Path) -> str:
    """The document after its script has run, as the browser holds it."""
    sandbox = ["--no-sandbox"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []
    quiet = ["--disable-gpu", "--disable-background-networking", "--virtual-time-budget=3000"]
    profile = f"--user-data-dir={page.with_name('profile')}"
    command = [str(BROWSER), "--headless", *sandbox, *quiet, profile, "--dump-dom", page.as_uri()]
    return subprocess.run(command, capture_output=True, text=True, timeout=120).stdout


@needs_browser
def test_browser_draws_every_concept(tmp_path: Path) -> None:
    explanation = random_explanation(int(np.random.default_rng().integers(2**31)), concepts=6)
    explanation.save_html(tmp_path / "page.html")
    document = shown(tmp_path / "page.html")
    assert document.count('class="concept"') == 6
    for concept in explanation.concepts:
        assert f'<div class="name">{concept.name}</div>' in document
    assert "made up for a test" in document
    assert f"leave {round(100 * explanation.fvu)} % of this photo" in document


@needs_browser
def test_browser_shows_the_dictionary_with_relatives_by_name(tmp_path: Path) -> None:
    grey = Image.new("RGB", (8, 8), "grey")
    names = {4: "wheel", 9: "car", 11: "spoke"}
    cards = [
        ConceptCard(4, "wheel", 0.61, ["tyre"], 2, 0.01, [9], [11], {9: "part-of"}, names, [grey] * 3),
        ConceptCard(9, "car", None, [], 0, 0.2, [], [4], {4: "part-of"}, names, []),
    ]
    write_page(tmp_path / "page.html", title="Two", explanations=[], cards=cards, facts={"made": "up"}, credits="by X")
    document = shown(tmp_path / "page.html")
    assert document.count('class="card"') == 2
    assert document.count("<img") == 3
    assert '<a class="chip" href="#concept-9">car</a>' in document
    assert '<span class="chip">spoke</span>' in document
    assert 'part of <a class="chip" href="#concept-9">' in document
    assert 'parts <a class="chip" href="#concept-4">' in document
    assert 'holds <span class="chip">spoke' in document
    assert "name fits 0.61, also: tyre" in document
    assert "by X" in document

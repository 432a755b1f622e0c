"""The page as a real browser shows it (Debian: `apt-get install chromium`); skipped where there is none."""

import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from .explanations import random_explanation

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


@pytest.mark.skipif(BROWSER is None, reason="no Chromium here; `apt-get install chromium` to run this test")
def test_browser_draws_every_concept(tmp_path: Path) -> None:
    explanation = random_explanation(int(np.random.default_rng().integers(2**31)), concepts=6)
    explanation.save_html(tmp_path / "page.html")
    sandbox = ["--no-sandbox"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []
    done = subprocess.run(
        [
            str(BROWSER),
            "--headless",
            *sandbox,
            "--disable-gpu",
            "--disable-background-networking",
            f"--user-data-dir={tmp_path / 'profile'}",
            "--virtual-time-budget=3000",
            "--dump-dom",
            (tmp_path / "page.html").as_uri(),
        ],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.stdout.count('class="concept"') == 6
    for concept in explanation.concepts:
        assert f'<div class="name">{concept.name}</div>' in done.stdout
    assert "made up for a test" in done.stdout
    assert f"leave {round(100 * explanation.fvu)} % of this photo" in done.stdout

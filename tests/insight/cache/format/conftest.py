"""Caches to be damaged: one of each kind, and one of everything."""

from pathlib import Path
from typing import Any

import pytest

from ..forged import CLASSES, make

KINDS: dict[str, dict[str, Any]] = {
    "float32": {"dtype": "float32"},
    "int8, classes": {"dtype": "int8", "classes": CLASSES},
    "float16, some patches": {"dtype": "float16", "tokens": 4},
    "int8, all": {"dtype": "int8", "tokens": 5, "classes": CLASSES},
}


@pytest.fixture(scope="module")
def caches(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, dict[str, Any]]]:
    """A folder and its manifest for each kind of cache. Tests must not change them."""
    folder = tmp_path_factory.mktemp("caches")
    return {kind: (folder / kind, make(folder / kind, **settings)) for kind, settings in KINDS.items()}


@pytest.fixture
def room(tmp_path: Path) -> Path:
    """Where a copy is damaged."""
    return tmp_path / "copy"


@pytest.fixture
def forgery(tmp_path: Path) -> tuple[Path, dict[str, Any]]:
    """A cache of int8 with positions and classes, to be changed, and its manifest."""
    return tmp_path / "cache", make(tmp_path / "cache", dtype="int8", tokens=4, classes=CLASSES)

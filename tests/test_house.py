"""The rules of the house: who imports whom, lint, types, no reads that could run code."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
MAY_IMPORT = {"sae": {"sae"}, "naming": {"sae", "naming"}, "insight": {"sae", "naming", "insight"}}


def imported_packages(file: Path) -> set[str]:
    """Top-level names of every absolute import in a file, wherever it stands."""
    names = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            names.add(node.module.split(".")[0])
    return names


@pytest.mark.parametrize("package", MAY_IMPORT)
def test_imports_go_one_way(package: str) -> None:
    files = sorted((ROOT / package).rglob("*.py"))
    assert files
    for file in files:
        wrong = (imported_packages(file) & set(MAY_IMPORT)) - MAY_IMPORT[package]
        assert not wrong, f"{file.relative_to(ROOT)} imports {wrong}"


@pytest.mark.parametrize("package", ["sae", "naming"])
def test_features_and_words_need_no_vision_library(package: str) -> None:
    for file in (ROOT / package).rglob("*.py"):
        assert not imported_packages(file) & {"torchvision", "timm", "open_clip", "PIL"}, file


def test_nothing_is_unpickled() -> None:
    for package in MAY_IMPORT:
        for file in (ROOT / package).rglob("*.py"):
            text = file.read_text(encoding="utf-8")
            assert "allow_pickle=True" not in text, file
            assert "weights_only=False" not in text, file
            assert not imported_packages(file) & {"pickle", "joblib", "dill"}, file


def test_lint() -> None:
    done = subprocess.run([sys.executable, "-m", "ruff", "check", "."], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_types() -> None:
    done = subprocess.run([sys.executable, "-m", "mypy"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout

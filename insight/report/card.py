"""What the folder of a model says of itself: `card.json` as sections, `README.md` as text.

Cards come from anywhere, so whatever is in one becomes short lines of text; what cannot be said in lines is left out.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sae.files import read_json

from .values import Section

LINES, LENGTH, README = 24, 600, 20_000
"""Most lines of a section, characters of a line, and characters of a README that are shown."""


def card_sections(folder: Path) -> tuple[Section, ...]:
    """The entries of `card.json` that are text, lists or tables of plain values; none where there is no card."""
    path = folder / "card.json"
    if not path.exists():
        return ()
    card = read_json(path)
    if not isinstance(card, Mapping):
        return ()
    found = ((str(title), _lines(value)) for title, value in card.items())
    return tuple(Section(title, tuple(lines[:LINES])) for title, lines in found if lines)


def readme_text(folder: Path) -> str | None:
    """`README.md` as it is written, without the settings between dashes at its head."""
    path = folder / "README.md"
    if not path.exists():
        return None
    text = path.read_text(encoding="utf-8", errors="replace")
    if text.startswith("---\n") and (end := text.find("\n---\n", 4)) > 0:
        text = text[end + 5 :]
    return text.strip()[:README] or None


def _lines(value: Any) -> list[str]:
    if isinstance(value, list):
        return [line for entry in value if (line := _line(entry))]
    if isinstance(value, Mapping):
        return [f"{key}: {line}"[:LENGTH] for key, entry in value.items() if (line := _line(entry))]
    return [line] if (line := _line(value)) else []


def _line(value: Any) -> str:
    """Plain values, lists of them and tables of both, on one line; empty for what is deeper."""
    if isinstance(value, Mapping):
        parts = [f"{key} {line}" for key, entry in value.items() if (line := _short(entry))]
        return ", ".join(parts)[:LENGTH]
    return _short(value)


def _short(value: Any) -> str:
    if isinstance(value, list):
        return " · ".join(_short(entry) for entry in value)[:LENGTH] if not any(map(_nested, value)) else ""
    if value is None or _nested(value):
        return ""
    return (f"{value:.4g}" if isinstance(value, float) else str(value))[:LENGTH]


def _nested(value: Any) -> bool:
    return isinstance(value, list | Mapping)

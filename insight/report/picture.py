"""A report as one PNG: unexplained variance, activity, confidence, and the main facts beside them."""

from __future__ import annotations

import textwrap
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .figures import INK, SOFT, draw_activity, draw_confidence, draw_fvu
from .values import Report
from .words import table

if TYPE_CHECKING:
    from matplotlib.axes import Axes

ROWS, WIDE = 16, 62
"""Rows of the table, and characters on a line of it."""


def draw_report(report: Report, path: Path) -> None:
    """Draw into `path` (PNG whatever its suffix), 1,680 pixels wide."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(14, 9.8), dpi=120, facecolor="white")
    figure.suptitle(_cut(f"The concepts of {report.name}", 80), fontsize=16, fontweight="bold", parse_math=False)
    margins = {"left": 0.05, "right": 0.98, "bottom": 0.06, "top": 0.87, "hspace": 0.42, "wspace": 0.14}
    (fvu, activity), (confidence, facts) = figure.subplots(2, 2, gridspec_kw=margins)
    if report.quality:
        draw_fvu(fvu, report.quality)
    _titled(fvu, "Left unexplained, level by level", bool(report.quality))
    if report.activity:
        draw_activity(activity, report.activity)
    _titled(activity, "How often concepts are active", report.activity is not None)
    if report.names:
        draw_confidence(confidence, report.names)
    _titled(confidence, "How sure names are", report.names is not None)
    _facts(facts, report)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")  # an emoji in a name: drawn as a box
        figure.savefig(path, format="png")


def _titled(axes: Axes, title: str, known: bool) -> None:
    axes.set_title(title, fontsize=12, fontweight="bold", loc="left", color=INK, pad=26)
    if not known:
        axes.set_axis_off()
        axes.text(0, 0.9, "not known", transform=axes.transAxes, fontsize=10, color=SOFT, va="top")


def _facts(axes: Axes, report: Report) -> None:
    axes.set_axis_off()
    axes.set_title("What this model is", fontsize=12, fontweight="bold", loc="left", color=INK, pad=26)
    y = 0.99
    for name, text in table(report)[:ROWS]:
        lines = textwrap.wrap(text, WIDE, max_lines=2, placeholder=" …") or [""]
        if y - 0.046 * len(lines) < 0:
            break
        style: Any = {"transform": axes.transAxes, "fontsize": 9, "va": "top", "parse_math": False}
        axes.text(0, y, _cut(name, 24), color=SOFT, **style)
        axes.text(0.26, y, "\n".join(lines), color=INK, linespacing=1.25, **style)
        y -= 0.046 * len(lines) + 0.01


def _cut(text: str, length: int) -> str:
    return text if len(text) <= length else text[: length - 1] + "…"

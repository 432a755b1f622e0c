"""Where texts stand in a photo, as a picture: the photo and a map for each text, drawn by matplotlib."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from .figure import spotlight

COLUMNS = 4
PANEL_INCHES = 2.6


def draw_maps(
    photo: Image.Image, maps: np.ndarray, titles: Sequence[str], notes: Sequence[str], caption: str, path: Path
) -> None:
    """Draw the photo and maps [T, h, w] into `path` (PNG whatever its suffix).

    Each map is lit from its least value that is not below 0, which speaks against the text, to its largest. titles,
    notes: a text for each map; caption: below them all.
    """
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    rows = -(-(len(maps) + 1) // COLUMNS)
    columns = min(COLUMNS, len(maps) + 1)
    height = rows * (PANEL_INCHES + 0.55)
    layout = ConstrainedLayoutEngine(rect=(0, 0, 1, 1 - 0.15 / height))  # it takes no account of padded titles
    figure = Figure(figsize=(columns * PANEL_INCHES, height), dpi=120, layout=layout)
    panels = figure.subplots(rows, columns, squeeze=False).flatten()
    for panel in panels:
        panel.set_axis_off()
    panels[0].imshow(photo)
    for panel, one, title, note in zip(panels[1:], maps, titles, notes):
        low, high = max(float(one.min()), 0.0), float(one.max())
        low = low if high > low else float(one.min())
        panel.imshow(spotlight(photo, (one - low) / max(high - low, 1e-12)))
        panel.set_title(_shorten(title, 26), fontsize=11, fontweight="bold", loc="left", pad=16, parse_math=False)
        text = panel.text(0, 1.015, _shorten(note, 42), transform=panel.transAxes, va="bottom", parse_math=False)
        text.set(fontsize=7.5, color="#555")
    figure.supxlabel(caption, fontsize=8, color="#555")
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")  # an emoji in a name: drawn as a box
        figure.savefig(path, format="png")


def _shorten(text: str, length: int) -> str:
    return text if len(text) <= length else text[: length - 1] + "…"

"""What a query found, as a picture: the photos in rows, the best first, regions framed; drawn by matplotlib."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING

from sae.files import atomic_write

from ..data import find_photo

if TYPE_CHECKING:
    from ..retrieval import Hits

COLUMNS = 5
MOST = 100
"""Hits that a picture should have: 20 rows."""
_INCHES, _PIXELS = 2.2, 320


def draw_found(hits: Hits, photos: Path, path: Path | str) -> None:
    """Write a PNG, whole or not at all: each photo with its score, its id below; a photo that is not there stays empty.

    photos: the folder that ids of images are paths in.
    """
    from matplotlib.figure import Figure
    from matplotlib.patches import Rectangle

    rows = max(1, -(-len(hits) // COLUMNS))
    figure = Figure(figsize=(COLUMNS * _INCHES, rows * (_INCHES + 0.35) + 0.4), dpi=110, layout="constrained")
    figure.suptitle(_shorten(hits.query, 90), fontsize=12, fontweight="bold", parse_math=False)
    panels = figure.subplots(rows, COLUMNS, squeeze=False).flatten()
    for panel in panels:
        panel.set_axis_off()
    for panel, hit in zip(panels, hits):
        panel.set_title(f"{hit.score:.3f}  {_shorten_left(hit.image, 30)}", fontsize=7, loc="left", parse_math=False)
        if (photo := find_photo(photos, hit.image)) is None:
            continue
        width, height = photo.size
        photo.thumbnail((_PIXELS, _PIXELS))
        panel.imshow(photo, extent=(0, width, height, 0))  # so that boxes are in the photo's own pixels
        if hit.region is not None:
            left, top, right, bottom = hit.region.in_photo(width, height)
            for colour, line in (("black", 3.5), ("white", 1.5)):
                frame = (left, top), right - left, bottom - top
                panel.add_patch(Rectangle(*frame, fill=False, edgecolor=colour, linewidth=line))
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        with atomic_write(path) as temporary:
            figure.savefig(temporary, format="png")


def _shorten(text: str, length: int) -> str:
    return text if len(text) <= length else text[: length - 1] + "…"


def _shorten_left(text: str, length: int) -> str:
    return text if len(text) <= length else "…" + text[1 - length :]

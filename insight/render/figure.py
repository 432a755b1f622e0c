"""An explanation as a picture: the photo and the maps of its strongest concepts, drawn by matplotlib."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from ..explanation import Explanation

COLUMNS = 4
PANEL_INCHES = 2.6
AMBER = np.array([255.0, 190.0, 60.0], dtype=np.float32)
NIGHT = np.array([6.0, 9.0, 28.0], dtype=np.float32)


def spotlight(photo: Image.Image, heat: np.ndarray) -> Image.Image:
    """Lay a map [h, w] with values in [0, 1] over a photo: the photo stays bright where the map is high.

    The map is enlarged bilinearly to the photo's size. Amber light on a dark blue ground: it reads the same for
    colour-blind eyes, and a dark object is seen to be lit as well as a bright one.
    """
    field = Image.fromarray(np.asarray(heat, dtype=np.float32)).resize(photo.size, Image.Resampling.BILINEAR)
    weight = np.clip(np.asarray(field), 0, 1)[..., None] ** 0.7
    colour = np.asarray(photo.convert("RGB"), dtype=np.float32)
    lit = 0.8 * colour + 0.2 * AMBER
    unlit = 0.3 * colour.mean(axis=2, keepdims=True) + NIGHT
    return Image.fromarray((weight * lit + (1 - weight) * unlit).clip(0, 255).astype(np.uint8))


def draw_explanation(explanation: Explanation, path: Path, *, most: int) -> None:
    """Draw the photo and its `most` strongest concepts into `path` (PNG whatever its suffix)."""
    figure = explanation_figure(explanation, most=most)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")  # an emoji in a name: drawn as a box
        figure.savefig(path, format="png")


def explanation_figure(explanation: Explanation, *, most: int) -> Figure:
    """The photo and its `most` strongest concepts as a figure that no window belongs to."""
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    from .shown_figure import ShownFigure

    shown = explanation.concepts[:most]
    rows = -(-(len(shown) + 1) // COLUMNS)
    height = rows * (PANEL_INCHES + 0.55)
    layout = ConstrainedLayoutEngine(rect=(0, 0, 1, 1 - 0.15 / height))  # it takes no account of padded titles
    figure = ShownFigure(figsize=(COLUMNS * PANEL_INCHES, height), dpi=120, layout=layout)
    panels = figure.subplots(rows, COLUMNS, squeeze=False).flatten()
    for panel in panels:
        panel.set_axis_off()

    panels[0].imshow(explanation.photo)
    panels[0].set_title(_shorten(Path(explanation.image).name, 30), fontsize=10, loc="left")
    for panel, concept in zip(panels[1:], shown):
        panel.imshow(spotlight(explanation.photo, concept.map / max(concept.activation, 1e-12)))
        title = _shorten(concept.name, 26)  # a name may hold dollar signs
        panel.set_title(title, fontsize=11, fontweight="bold", loc="left", pad=16, parse_math=False)
        parents = ", ".join(explanation.belongs_to(concept)[:2])
        fit = f" · {concept.how_sure}" if concept.how_sure else ""
        mark = " · edited" if concept.edited else ""
        subtitle = f"{concept.activation:.2f}{fit}{mark}" + (f" · {parents}" if parents else "")
        text = panel.text(0, 1.015, _shorten(subtitle, 42), transform=panel.transAxes, va="bottom", parse_math=False)
        text.set(fontsize=7.5, color="#555")
    figure.supxlabel(
        f"{explanation.backbone} · all its concepts leave {explanation.fvu:.0%} of the picture's features unexplained",
        fontsize=8,
        color="#555",
    )
    return figure


def _shorten(text: str, length: int) -> str:
    return text if len(text) <= length else text[: length - 1] + "…"

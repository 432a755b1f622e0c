"""Why a photo is of a class, as a picture: the photo, the contributions as bars, the maps that matter most."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from .figure import spotlight

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from ..heads import ClassExplanation

COLUMNS = 4
PANEL_INCHES = 2.6
BARS, FEWEST_BARS = 12, 8
FOR, AGAINST, PLAIN = "#0072B2", "#D55E00", "#888888"
"""Blue and vermilion are told apart by colour-blind eyes; the sign is written, too."""


def draw_class_explanation(explanation: ClassExplanation, path: Path, *, most: int) -> None:
    """Draw an explanation into `path` (PNG whatever its suffix), with the maps of its `most` strongest concepts."""
    from matplotlib.figure import Figure

    shown = explanation.contributions[:most]
    rows = max(1, -(-len(shown) // COLUMNS))
    above, below = 2 * PANEL_INCHES, rows * (PANEL_INCHES + 0.5)
    figure = Figure(figsize=(COLUMNS * PANEL_INCHES, above + below), dpi=120, layout="constrained")
    halves = figure.add_gridspec(2, height_ratios=(above, below))
    top, bottom = figure.add_subfigure(halves[0]), figure.add_subfigure(halves[1])

    left, right = top.subplots(1, 2)
    left.imshow(explanation.photo)
    left.set_axis_off()
    left.set_title(_shorten(Path(explanation.image).name, 40), fontsize=10, loc="left", parse_math=False)
    _bars(right, explanation)

    panels = bottom.subplots(rows, COLUMNS, squeeze=False).flatten()
    for panel in panels:
        panel.set_axis_off()
    for panel, item in zip(panels, shown):
        panel.imshow(spotlight(explanation.photo, item.map / max(item.activation, 1e-12)))
        title = _shorten(item.guessed, 28)
        panel.set_title(title, fontsize=11, fontweight="bold", loc="left", pad=15, parse_math=False)
        text = panel.text(0, 1.015, f"{item.contribution:+.2f} · activation {item.activation:.2f}", va="bottom")
        text.set(transform=panel.transAxes, fontsize=8, color=_colour(item.contribution))
    said = "the fewest" if explanation.least.exact else "few"
    bottom.supxlabel(
        f"{explanation.backbone} · {said} concepts that alone keep “{explanation.predicted}”:"
        f" {len(explanation.least)} · {explanation.n90} make 90 % of what speaks for “{explanation.target}”",
        fontsize=8,
        color="#555",
    )
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")  # an emoji in a name: drawn as a box
        figure.savefig(path, format="png")


def _bars(panel: Axes, explanation: ClassExplanation) -> None:
    """The strongest contributions, all others as one bar, and the intercept; together they are the logit."""
    items = explanation.contributions[:BARS]
    bars = [(_shorten(item.guessed, 26), item.contribution, _colour(item.contribution)) for item in items]
    rest = [item.contribution for item in explanation.contributions[BARS:]]
    if rest:
        bars.append((f"{len(rest)} others", sum(rest), PLAIN))
    bars.append(("intercept", explanation.intercept, PLAIN))
    names, values, colours = zip(*bars)
    places = np.arange(len(bars))
    drawn = panel.barh(places, values, color=colours)
    panel.bar_label(drawn, [f"{value:+.2f}" for value in values], fontsize=8, padding=3)
    panel.set_yticks(places, names, fontsize=9, parse_math=False)  # a name may hold dollar signs
    panel.set_ylim(max(len(bars), FEWEST_BARS) - 0.4, -0.6)  # the first on top
    panel.margins(x=0.18)
    panel.axvline(0, color="black", linewidth=0.8)
    panel.spines[["top", "right", "left"]].set_visible(False)
    panel.tick_params(left=False)
    title = f"{_shorten(str(explanation.target), 24)} · {explanation.probability:.0%} · logit {explanation.logit:+.2f}"
    panel.set_title(title, fontsize=11, fontweight="bold", loc="left", parse_math=False)


def _colour(contribution: float) -> str:
    return FOR if contribution > 0 else AGAINST


def _shorten(text: str, length: int) -> str:
    return text if len(text) <= length else text[: length - 1] + "…"

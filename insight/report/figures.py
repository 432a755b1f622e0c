"""The figures of a report, by matplotlib: each drawn into axes, so that the page and the picture have the same ones.

Colours are told apart by colour-blind eyes: levels by cividis, coarse dark to fine light, series by Okabe and Ito's
blue and orange, and by a hatch.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from sae.metrics import DENSE_SHARE

from .values import Activity, Names, Quality

if TYPE_CHECKING:
    from matplotlib.axes import Axes

BLUE, ORANGE, INK, SOFT = "#0072B2", "#E69F00", "#16181d", "#5d6472"
_ABOVE: Any = {"loc": "lower left", "bbox_to_anchor": (0, 1), "frameon": False, "columnspacing": 1.2}
_SALT: Any = {"svg.hashsalt": "insight", "svg.fonttype": "path"}  # the same report is the same file


def draw_fvu(axes: Axes, quality: tuple[Quality, ...]) -> None:
    """Unexplained variance by level, a group of bars a level, a colour for each set of patches (two at most)."""
    width = 0.8 / len(quality)
    for number, one in enumerate(quality[:2]):
        heights = [np.nan if share is None else share for share in one.fvu]
        places = np.arange(len(heights)) + (number - (len(quality[:2]) - 1) / 2) * width
        hatch = "//" if number else None
        bars = axes.bar(places, heights, width * 0.92, color=(BLUE, ORANGE)[number], hatch=hatch, edgecolor="white")
        labels = ["" if np.isnan(height) else f"{height:.2f}" for height in heights]
        axes.bar_label(bars, labels, fontsize=8, padding=1, color=INK)
        bars.set_label(_cut(one.where, 34))
    axes.set_xticks(range(len(quality[0].fvu)))
    axes.set_xlabel("finest level used (0 is the coarsest)")
    axes.set_ylabel("share of the variance left")
    highest = max([0.0, *(share for one in quality[:2] for share in one.fvu if share is not None)])
    axes.set_ylim(0, 0.02 + 1.05 * highest)
    if len(quality) > 1:
        axes.legend(fontsize=8, ncols=2, **_ABOVE)
    _plain(axes)


def draw_activity(axes: Axes, activity: Activity) -> None:
    """How many concepts are active how often, levels on top of each other; the dense ones lie right of the line."""
    from matplotlib import colormaps

    edges, counts = np.array(activity.edges), np.array(activity.counts)
    used = np.flatnonzero(counts.sum(0))
    first = min(int(used[0]) if len(used) else 16, 20)
    edges, counts = edges[first:], counts[:, first:]
    lower = np.zeros(counts.shape[1])
    for level, row in enumerate(counts):
        colour = BLUE if len(counts) == 1 else colormaps["cividis"](level / (len(counts) - 1))
        label = None if len(counts) == 1 else f"level {level}"
        axes.bar(
            edges[:-1], row, np.diff(edges), bottom=lower, align="edge", color=colour, label=label,
            edgecolor="white", linewidth=0.4,
        )  # fmt: skip
        lower += row
    axes.set_xscale("log")
    axes.axvline(DENSE_SHARE, color=INK, linewidth=1, linestyle="--")
    axes.text(DENSE_SHARE * 1.12, axes.get_ylim()[1] * 0.99, "dense", fontsize=8, color=INK, va="top")
    axes.set_xlabel("share of patches on which a concept is active")
    axes.set_ylabel("concepts")
    if len(counts) > 1:
        axes.legend(fontsize=8, ncols=6, **_ABOVE)
    _plain(axes)


def draw_confidence(axes: Axes, names: Names) -> None:
    """How sure names are: those that are given, and the guesses of concepts that stay numbers."""
    edges = np.array(names.edges)
    named, guessed = np.array(names.named_counts), np.array(names.guessed_counts)
    width = np.diff(edges)
    axes.bar(edges[:-1], named, width, align="edge", color=BLUE, edgecolor="white", linewidth=0.4, label="named")
    axes.bar(
        edges[:-1], guessed, width, bottom=named, align="edge", color=ORANGE, edgecolor="white", linewidth=0.4,
        hatch="//", label="a guess, not given",
    )  # fmt: skip
    if names.least is not None:
        axes.axvline(names.least, color=INK, linewidth=1, linestyle="--")
    axes.set_xlim(0, 1)
    axes.set_xlabel("confidence: estimated probability that the name is right")
    axes.set_ylabel("concepts")
    axes.legend(fontsize=8, ncols=2, **_ABOVE)
    _plain(axes)


def as_data_uri(draw: Callable[[Axes], None]) -> str:
    """One figure as the data address of an SVG, text as outlines, so that no font is needed."""
    import matplotlib
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 3.4))
    draw(figure.subplots(gridspec_kw={"left": 0.11, "right": 0.98, "bottom": 0.15, "top": 0.9}))
    buffer = io.BytesIO()
    with matplotlib.rc_context(_SALT):
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None}, facecolor="white")
    return "data:image/svg+xml;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")


def _plain(axes: Axes) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=9, colors=INK)
    axes.xaxis.label.set(fontsize=9.5, color=INK)
    axes.yaxis.label.set(fontsize=9.5, color=INK)


def _cut(text: str, length: int) -> str:
    return text if len(text) <= length else text[: length - 1] + "…"

"""A segmentation as a picture: the photo, the classes laid over it, and why its largest regions are what they are."""

from __future__ import annotations

import textwrap
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float
from PIL import Image

from ..heads.regions import ON_PATCHES

if TYPE_CHECKING:
    from ..heads.regions import Region
    from ..heads.segmentation import Segmentation

PHOTO_PIXELS = 900
PANEL_INCHES = 4.6
TALLEST_INCHES = 7.5
NARROWEST_INCHES = 6.5
"""Of the whole, so that reasons have room beside each other."""
OPACITY = 0.6
TOLD = 5
"""Concepts named for each region."""
COLOURS = (
    "#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442", "#332288", "#44AA99", "#882255",
    "#DDCC77", "#117733", "#AA4499", "#999933", "#88CCEE", "#CC6677",
)  # fmt: skip
"""Told apart by colour-blind eyes: those of Okabe and Ito (2008), then of Tol's muted scheme. The classes that take
most of the picture come first; those beyond the last share a grey."""
GREY = "#8c8c8c"
DARK = "#1f1f1f"


def draw_segmentation(segmentation: Segmentation, path: Path, *, most: int) -> None:
    """Draw the photo, its classes and the reasons of its `most` largest regions into `path` (always a PNG)."""
    from matplotlib.figure import Figure

    labels = segmentation.labels
    height, width = labels.shape
    shares, colour = class_colours(segmentation)
    shown = [*colour]
    regions = segmentation.regions()[:most]

    across = min(PANEL_INCHES * min(1.6, max(0.6, (width / height) ** 0.5)), TALLEST_INCHES * width / height)
    down = across * height / width
    total_across = max(2 * across + 0.45, NARROWEST_INCHES)
    legend = -(-(len(shown) + (shares[0] > 0)) // 5) * 0.24 + 0.15
    text = max(1, len(regions)) * 0.52 + 0.35
    total = down + legend + text + 0.55
    figure = Figure(figsize=(total_across, total), dpi=130)
    left, right = 0.15 / total_across, across / total_across
    bottom = (legend + text + 0.12) / total
    photo = figure.add_axes((left, bottom, right, down / total))
    overlay = figure.add_axes((max(2 * left + right, 0.5), bottom, right, down / total))
    for panel in (photo, overlay):
        panel.set_axis_off()
    small = _reduced(segmentation.photo)
    extent = (0, width, height, 0)
    photo.imshow(small, extent=extent)
    photo.set_title(_shorten(Path(segmentation.image).name, 40), fontsize=10, loc="left", parse_math=False)
    overlay.imshow(laid_over(small, labels, colour), extent=extent, interpolation="nearest")
    of = f"{len(shown)} of {len(segmentation.classes)} classes" if len(segmentation.classes) > 1 else "1 class"
    overlay.set_title(f"{of} · {segmentation.backbone}", fontsize=8.5, loc="left", color="#555", parse_math=False)
    for number, region in enumerate(regions, start=1):
        x, y = _middle(region)
        mark = overlay.text(x, y, str(number), ha="center", va="center", fontsize=9, fontweight="bold", color="white")
        mark.set_bbox({"boxstyle": "circle,pad=0.25", "facecolor": DARK, "edgecolor": "white", "linewidth": 0.8})
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        _legend(figure, segmentation, shares, shown, colour, (text + legend) / total)
        _reasons(figure, segmentation, regions, colour, text / total, left)
        figure.savefig(path, format="png")


def class_colours(segmentation: Segmentation) -> tuple[Float[np.ndarray, " C+1"], dict[int, str]]:
    """The share of the picture that background (first) and each class take; a colour for each class that takes any,
    the largest first."""
    labels = segmentation.labels
    shares = np.bincount(labels.ravel() + 1, minlength=len(segmentation.classes) + 1) / labels.size
    shown = sorted(np.flatnonzero(shares[1:]).tolist(), key=lambda number: -shares[1 + number])
    return shares, {number: COLOURS[i] if i < len(COLOURS) else GREY for i, number in enumerate(shown)}


def _legend(
    figure: Any, segmentation: Segmentation, shares: np.ndarray, shown: list[int], colour: dict[int, str], top: float
) -> None:
    from matplotlib.patches import Patch

    entries = [(colour[number], segmentation.classes[number], shares[1 + number]) for number in shown]
    if shares[0] > 0:
        entries.append(("none", "background", shares[0]))
    handles = [
        Patch(facecolor=face, edgecolor="#777", label=f"{_shorten(name, 22)} {_percent(share)}")
        for face, name, share in entries
    ]
    figure.legend(handles=handles, loc="upper center", bbox_to_anchor=(0.5, top), ncols=5, fontsize=9, frameon=False)


def _reasons(
    figure: Any, segmentation: Segmentation, regions: list[Region], colour: dict[int, str], top: float, left: float
) -> None:
    inch = 1 / figure.get_figheight()
    if not regions:
        figure.text(left, top - 0.25 * inch, "no region is large enough to be told of", fontsize=9, color="#555")
        return
    for number, region in enumerate(regions, start=1):
        y = top - (0.2 + 0.52 * (number - 1)) * inch
        face = colour[segmentation.classes.index(region.name)]
        mark = figure.text(left + 0.012, y, str(number), fontsize=9, fontweight="bold", color="white", va="center")
        mark.set_bbox({"boxstyle": "circle,pad=0.25", "facecolor": DARK, "edgecolor": face, "linewidth": 2})
        rather = "" if region.rival is None else f"  rather than {_shorten(region.rival, 26)} (by {region.margin:.1f})"
        head = f"{_shorten(region.name, 30)}, {_percent(region.share)} of the picture{rather}"
        figure.text(left + 0.035, y, head, fontsize=9.5, fontweight="bold", va="center", parse_math=False)
        because = region.because(TOLD)
        line = f"because of: {because}" if because else "no concept that is shown speaks for it"
        line = textwrap.shorten(line, 112, placeholder=" …")
        figure.text(left + 0.035, y - 0.19 * inch, line, fontsize=8.5, color="#333", va="center", parse_math=False)
    if regions and not regions[0].exact_at_pixels:
        note = f"shares are {ON_PATCHES}"
        figure.text(left, 0.06 * inch, note, fontsize=7.5, color="#555")


def laid_over(photo: Image.Image, labels: np.ndarray, colour: dict[int, str]) -> Float[np.ndarray, "H W 3"]:
    """The photo in grey under the colours of its classes, with a thin line between them; background stays a photo."""
    from matplotlib.colors import to_rgb

    here = np.asarray(Image.fromarray(labels).resize(photo.size, Image.Resampling.NEAREST))
    pixels = np.asarray(photo, dtype=np.float64) / 255
    grey = 0.25 + 0.6 * pixels.mean(axis=2, keepdims=True).repeat(3, axis=2)  # so that a colour looks alike everywhere
    found = pixels.copy()
    for number, name in colour.items():
        inside = here == number
        found[inside] = (1 - OPACITY) * grey[inside] + OPACITY * np.array(to_rgb(name))
    edge = np.zeros(here.shape, bool)
    edge[:, 1:] |= here[:, 1:] != here[:, :-1]
    edge[1:] |= here[1:] != here[:-1]
    found[edge] = 1.0
    return found


def _reduced(photo: Image.Image) -> Image.Image:
    scale = PHOTO_PIXELS / max(photo.size)
    size = tuple(max(1, round(side * scale)) for side in photo.size)
    return photo.convert("RGB").resize((size[0], size[1]), Image.Resampling.LANCZOS)


def _middle(region: Region) -> tuple[float, float]:
    """A point well inside a region: the one farthest from its border."""
    from scipy.ndimage import distance_transform_edt

    depth = distance_transform_edt(np.pad(region.mask, 1))
    row, column = np.unravel_index(int(depth.argmax()), depth.shape)
    return region.box[0] + column - 0.5, region.box[1] + row - 0.5


def _percent(share: float) -> str:
    return f"{share * 100:.0f} %" if share >= 0.01 else f"{share * 100:.1f} %"


def _shorten(text: str, length: int) -> str:
    return text if len(text) <= length else text[: length - 1] + "…"

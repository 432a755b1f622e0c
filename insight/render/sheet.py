"""A contact sheet: concepts one below the other in one picture, each with its name, crops and relatives.

In: `SheetRow`s (`sheet_rows` makes them of a model). Out: a PNG, 1600 pixels wide. What kind of relative a line tells
of is said in words; its colour (Okabe and Ito's, told apart by colour-blind eyes) only repeats it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from sae.files import atomic_write

WIDTH = 1600
CROP = 152
CROPS = 5
_EDGE, _GAP, _ROW, _HEAD = 28, 8, 196, 92
_CROPS_AT = 392
_RELATIVES_AT = _CROPS_AT + CROPS * (CROP + _GAP) + 20
INK, SOFT, LINE, PAPER = (24, 24, 27), (96, 96, 104), (222, 222, 226), (255, 255, 255)
BLUE, ORANGE, GREEN, GREY = (0, 114, 178), (176, 74, 0), (0, 120, 88), (96, 96, 104)


@dataclass(frozen=True)
class Relatives:
    """One line of relatives: what they are ("part of"), their names, and how many more there are than are named."""

    label: str
    names: Sequence[str]
    others: int
    colour: tuple[int, int, int]


@dataclass(frozen=True)
class SheetRow:
    """One concept as the sheet shows it.

    `confidence`: the estimated probability that the name is right, None where it is not known; `facts`: what else is
    said of the concept, a line each; `crops`: [CROP, CROP] RGB, the surroundings of its strongest patches.
    """

    name: str
    confidence: float | None
    facts: Sequence[str]
    crops: Sequence[Image.Image]
    relatives: Sequence[Relatives]


def draw_sheet(path: Path | str, rows: Sequence[SheetRow], *, title: str, note: str) -> None:
    """Write the sheet, whole or not at all: 196 pixels a row below the title and, smaller, a note."""
    sheet = Image.new("RGB", (WIDTH, _HEAD + _ROW * len(rows) + _EDGE), PAPER)
    pencil = ImageDraw.Draw(sheet)
    pencil.text((_EDGE, 22), _cut(title, _font(26, bold=True), WIDTH - 2 * _EDGE), INK, _font(26, bold=True))
    pencil.text((_EDGE, 60), _cut(note, _font(16), WIDTH - 2 * _EDGE), SOFT, _font(16))
    for number, row in enumerate(rows):
        top = _HEAD + number * _ROW
        pencil.line((_EDGE, top, WIDTH - _EDGE, top), LINE)
        _draw_name(pencil, row, top + 16)
        for place in range(CROPS):
            left = _CROPS_AT + place * (CROP + _GAP)
            if place < len(row.crops):
                sheet.paste(row.crops[place], (left, top + 18))
            else:
                pencil.rectangle((left, top + 18, left + CROP - 1, top + 17 + CROP), outline=LINE)
        _draw_relatives(pencil, row.relatives, top + 16)
    with atomic_write(path) as temporary:
        sheet.save(temporary, format="PNG")


def _draw_name(pencil: ImageDraw.ImageDraw, row: SheetRow, top: int) -> None:
    """The name in at most two lines, how sure it is as a number and a bar, then the facts."""
    width, large, plain = _CROPS_AT - _EDGE - 16, _font(22, bold=True), _font(15)
    y = top
    for line in _wrap([row.name], " ", large, width, lines=2):
        pencil.text((_EDGE, y), line, INK, large)
        y += 27
    sure = "confidence not known" if row.confidence is None else f"confidence {row.confidence:.2f}"
    pencil.text((_EDGE, y + 3), sure, INK, plain)
    if row.confidence is not None:
        left, right = _EDGE + 144, _EDGE + 144 + 120
        pencil.rectangle((left, y + 7, right, y + 16), outline=SOFT)
        pencil.rectangle((left, y + 7, left + round(120 * min(max(row.confidence, 0), 1)), y + 16), fill=BLUE)
    y += 26
    for fact in row.facts:
        for line in _wrap(fact.split(" "), " ", plain, width, lines=2):
            if y > top + _ROW - 40:
                return
            pencil.text((_EDGE, y), line, SOFT, plain)
            y += 19


def _draw_relatives(pencil: ImageDraw.ImageDraw, relatives: Sequence[Relatives], top: int) -> None:
    """Each group in at most two lines, the label before the names; "…" where there is no room for the next one."""
    width, bold, plain = WIDTH - _EDGE - _RELATIVES_AT, _font(15, bold=True), _font(16)
    y = top
    for group in relatives:
        indent = round(bold.getlength(group.label)) + 10
        names = [*group.names, *([f"and {group.others:,} more"] if group.others else [])]
        lines = _wrap(names, ", ", plain, width, lines=2, indent=indent)
        if y + 21 * len(lines) > top + _ROW - 24:
            pencil.text((_RELATIVES_AT, y), "…", SOFT, bold)
            return
        pencil.text((_RELATIVES_AT, y + 1), group.label, group.colour, bold)
        for number, line in enumerate(lines):
            pencil.text((_RELATIVES_AT + (0 if number else indent), y), line, INK, plain)
            y += 21
        y += 7
    if not relatives:
        pencil.text((_RELATIVES_AT, y), "no relatives found", SOFT, plain)


def _wrap(
    parts: Sequence[str], joint: str, font: ImageFont.FreeTypeFont, width: int, *, lines: int, indent: int = 0
) -> list[str]:
    """The parts joined, as at most so many lines of that width, broken between parts; the last is cut if need be.

    The first line is narrower by `indent`.
    """
    found, room = [""], width - indent
    for part in map(_one_line, parts):
        longer = found[-1] + joint + part if found[-1] else part
        if found[-1] and font.getlength(longer) > room and len(found) < lines:
            found[-1] += joint.rstrip()
            found.append(part)
            room = width
        else:
            found[-1] = longer
    return [_cut(line, font, width if number else width - indent) for number, line in enumerate(found)]


def _cut(text: str, font: ImageFont.FreeTypeFont, width: int) -> str:
    """The text on one line, shortened to a width in pixels."""
    text = _one_line(text)
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(text + "…") > width:
        text = text[:-1]
    return text.rstrip() + "…"


def _one_line(text: str) -> str:
    """Without line breaks, which cannot be laid out, and of a length that is soon measured."""
    return " ".join(text[:400].split())


@cache
def _font(size: int, *, bold: bool = False) -> ImageFont.FreeTypeFont:
    """DejaVu Sans, which matplotlib brings along."""
    import matplotlib

    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    return ImageFont.truetype(str(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / name), size)

"""Cards, heads and edits as markup. In: the values of a `Report`."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

from ..render.markup import facts, folded, grid, paragraph, text
from ..render.page import ConceptCard, data_uri
from ..render.percent import percent
from .values import EditLine, HeadTable, Weight
from .words import head_words

CLASSES, OPEN = 200, 12
"""Classes of a head that the page lists (JSON has all of them), and that it lists without a click."""


def cards_section(cards: Sequence[ConceptCard]) -> str:
    """A contact sheet a level."""
    said = paragraph(
        "Some concepts of each level, evenly from the surest name to the least sure, cut out of the photographs where"
        " they are strongest. The patch itself is framed.",
        soft=True,
    )
    sheets = [
        f"<h3>Level {level}</h3><div class=cards>{''.join(map(_card, group))}</div>"
        for level, group in groupby(cards, key=lambda card: card.level)
    ]
    return said + "".join(sheets)


def _card(card: ConceptCard) -> str:
    sure = "" if card.confidence is None or not card.named else f" · sure {card.confidence:.0%}"
    also = ", ".join(card.alternatives[:4])
    guess = f"<p>{'also' if card.named else 'perhaps'}: {text(also)}</p>" if also else ""
    above = ", ".join(card.names[parent] for parent in card.parents[:3])
    parents = f"<p>belongs to: {text(above)}</p>" if above else ""
    mark = " <span class=mark>edited</span>" if card.edited else ""
    crops = "".join(
        f'<img src="{data_uri(picture, quality=80)}" alt="{text(card.name)}, place {place}" width=96 height=96>'
        for place, picture in enumerate(card.examples, start=1)
    )
    shown = f"<div class=crops>{crops}</div>" if crops else "<p>its photographs are not there</p>"
    return (
        f"<article class=card><h4>{text(card.name)}{mark}</h4>"
        f"<p>concept {card.id} · on {percent(card.share)} of patches{sure}</p>{shown}{guess}{parents}</article>"
    )


def head_section(head: HeadTable) -> str:
    """What the head is, and its classes with their strongest concepts."""
    rows = [
        (one.name, f"{one.concepts:,}", _weights(one.strongest_for), _weights(one.strongest_against))
        for one in head.classes[:CLASSES]
    ]
    names = ("class", "concepts", "speak for it", "speak against it")
    label = f"Classes of {head.place}"
    found = f"<h3>{text(head.place)}, a {text(head.kind)}</h3>{paragraph(head_words(head))}{facts(head.facts.items())}"
    table = f"<div class=head>{grid(names, rows, label, numbers=(1,))}</div>"
    found += table if len(rows) <= OPEN else folded(f"Its {len(head.classes):,} classes", table)
    if len(head.classes) > CLASSES:
        found += paragraph(f"{len(head.classes) - CLASSES:,} more classes: `--format json` lists all.", soft=True)
    return found


def _weights(weights: Sequence[Weight]) -> str:
    return ", ".join(f"{weight.title} ({weight.feature}) {weight.weight:+.2f}" for weight in weights) or "–"


def edits_section(edits: Sequence[EditLine]) -> str:
    """What a person changed; what could not be applied, and why."""
    rows = [
        (
            str(edit.number),
            edit.date or "",
            edit.said,
            edit.note or "",
            "yes" if edit.reason is None else f"no: {edit.reason}",
        )
        for edit in edits
    ]
    return grid(("number", "date", "edit", "note", "applied"), rows, "Edits")

"""What a notebook shows of explanations, models and caches: small HTML without script, every text escaped.

Text takes the notebook's own colour and lines are half-transparent grey, so that all is read on light and dark grounds.
Styles stand in the elements: a notebook that is shown elsewhere loses style sheets.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from .figure import spotlight
from .markup import text
from .page import data_uri
from .percent import percent

if TYPE_CHECKING:
    from ..cache import FeatureCache
    from ..explanation import Explanation
    from ..heads import ClassExplanation, Segmentation
    from ..model import ConceptModel

PIXELS = 144
MAPS, ROWS, BARS = 7, 8, 8
"""Maps of a photo, concepts of a model and contributions to a class that are shown."""
FOR, AGAINST = "#0072B2", "#D55E00"
_LINE = "1px solid rgba(128,128,128,.35)"
_SOFT = "opacity:.75;font-size:12px"


def explanation_html(explanation: Explanation) -> str:
    """The photo, and beside it the maps of its strongest concepts with their names."""
    photo = explanation.photo.convert("RGB").resize((PIXELS, PIXELS), Image.Resampling.LANCZOS)
    panels = [_panel(photo, Path(explanation.image).name, "", "photo")]
    for concept in explanation.concepts[:MAPS]:
        lit = spotlight(photo, concept.map / max(concept.activation, 1e-12))
        said = [f"{concept.activation:.2f}", concept.how_sure, *explanation.belongs_to(concept)[:1]]
        said += ["edited"] if concept.edited else []
        panels.append(_panel(lit, concept.name, " · ".join(filter(None, said)), f"map of {concept.name}"))
    count = len(explanation.concepts)
    more = f"{min(MAPS, count)} of {count} concepts" if count else "no concepts"
    return _block(
        "Explanation",
        f"{explanation.backbone} · {more} · {explanation.fvu:.0%} of the photo's features left unexplained",
        f'<div style="display:flex;flex-wrap:wrap;gap:10px">{"".join(panels)}</div>',
    )


def model_html(model: ConceptModel) -> str:
    """What the model is, and its most frequent concepts. The backbone is not loaded for it."""
    from ..pipeline import describe_model

    shown = [concept for concept in model.concepts if concept.shown]
    named = sum(concept.name is not None for concept in shown)
    config = {"sae": model.sae.config.to_dict(), **model.config}
    facts = {**describe_model(config), "named": f"{named:,} of {len(shown):,} concepts"}
    if edited := sum(concept.edited for concept in model.concepts):
        facts["edited"] = f"{edited:,} concepts"
    rows = [
        (
            str(concept.id),
            concept.guessed,
            str(concept.level),
            percent(concept.frequency / max(model.relations.tokens, 1)),
            "" if concept.confidence is None or not concept.name else f"{concept.confidence:.0%}",
            ", ".join(model.concepts[parent].guessed for parent in model.relations.parents(concept.id)[:2]),
        )
        for concept in sorted(shown, key=lambda concept: -concept.frequency)[:ROWS]
    ]
    heads = ("concept", "name", "level", "of patches", "sure", "belongs to")
    return _block("ConceptModel", "", _facts(facts.items()) + _note("the most frequent concepts") + _table(heads, rows))


def cache_html(cache: FeatureCache) -> str:
    """What the cache is, from its manifest alone."""
    from ..cache.derived.facts import cache_facts

    return _block("FeatureCache", "", _facts(cache_facts(cache).items()))


def class_explanation_html(explanation: ClassExplanation) -> str:
    """The photo, and its strongest contributions as bars that sum to the logit with the rest."""
    items = explanation.contributions[:BARS]
    rest = [item.contribution for item in explanation.contributions[BARS:]]
    values = [(item.guessed, item.contribution) for item in items]
    values += [(f"{len(rest):,} others", sum(rest))] if rest else []
    values.append(("intercept", explanation.intercept))
    longest = max(abs(value) for _, value in values) or 1.0
    bars = "".join(_bar(name, value, value / longest) for name, value in values)
    photo = explanation.photo.convert("RGB").resize((PIXELS, PIXELS), Image.Resampling.LANCZOS)
    said = f"{explanation.target}: {explanation.probability:.0%} · logit {explanation.logit:+.2f}, the sum of the bars"
    inside = f'{_panel(photo, Path(explanation.image).name, "", "photo")}<table style="{_PLAIN}">{bars}</table>'
    return _block("ClassExplanation", said, f'<div style="display:flex;flex-wrap:wrap;gap:16px">{inside}</div>')


def segmentation_html(segmentation: Segmentation) -> str:
    """The photo, the classes laid over it, and the share that each takes."""
    from .segmentation_figure import class_colours, laid_over

    shares, colours = class_colours(segmentation)
    small = segmentation.photo.convert("RGB")
    small.thumbnail((2 * PIXELS, 2 * PIXELS))
    over = Image.fromarray((255 * laid_over(small, segmentation.labels, colours)).round().astype(np.uint8))
    squares = "".join(
        f'<tr><td style="{_CELL}"><span style="display:inline-block;width:12px;height:12px;background:{colour}"></span>'
        f"</td>{_cells([segmentation.classes[number], percent(float(shares[1 + number]))])}</tr>"
        for number, colour in colours.items()
    )
    if shares[0] > 0:
        squares += f"<tr>{_cells(['', 'background', percent(float(shares[0]))])}</tr>"
    panels = _panel(small, Path(segmentation.image).name, "", "photo")
    panels += _panel(over, "classes", "", "classes, coloured")
    inside = f'{panels}<table style="{_PLAIN}">{squares}</table>'
    of = f"{segmentation.backbone} · {len(colours):,} of {len(segmentation.classes):,} classes stand in it"
    return _block("Segmentation", of, f'<div style="display:flex;flex-wrap:wrap;gap:16px">{inside}</div>')


_PLAIN = "border-collapse:collapse;margin:0;font-size:13px;color:inherit;background:transparent;align-self:start"
_CELL = f"padding:2px 12px 2px 0;text-align:left;color:inherit;background:transparent;border:0;border-bottom:{_LINE}"


def _block(title: str, said: str, inside: str) -> str:
    head = f'<div style="margin-bottom:6px"><b>{text(title)}</b> <span style="{_SOFT}">{text(said)}</span></div>'
    return f'<div style="font:13px/1.4 system-ui,sans-serif;color:inherit;max-width:1000px">{head}{inside}</div>'


def _panel(picture: Image.Image, title: str, said: str, alt: str) -> str:
    image = f'<img src="{data_uri(picture)}" alt="{text(alt)}" width={picture.width} height={picture.height}'
    caption = f'<div style="overflow-wrap:anywhere"><b>{text(title)}</b></div><div style="{_SOFT}">{text(said)}</div>'
    style = f"width:{picture.width}px"
    return f'<div style="{style}">{image} style="border-radius:6px;display:block;margin:0">{caption}</div>'


def _bar(name: str, value: float, share: float) -> str:
    colour = FOR if value > 0 else AGAINST
    bar = f'<div style="width:{max(1, round(160 * abs(share)))}px;height:10px;background:{colour}"></div>'
    return (
        f'<tr><td style="{_CELL}">{text(name)}</td><td style="{_CELL};text-align:right">{value:+.2f}</td>'
        f'<td style="{_CELL}">{bar}</td></tr>'
    )


def _facts(rows: Iterable[tuple[str, str]]) -> str:
    lines = "".join(
        f'<tr><td style="{_CELL};opacity:.75;white-space:nowrap">{text(name)}</td>{_cells([value])}</tr>'
        for name, value in rows
    )
    return f'<table style="{_PLAIN}">{lines}</table>'


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    top = "".join(f'<th style="{_CELL};font-weight:600">{text(head)}</th>' for head in heads)
    lines = "".join(f"<tr>{_cells(row)}</tr>" for row in rows)
    return f'<table style="{_PLAIN}"><tr>{top}</tr>{lines}</table>'


def _cells(values: Sequence[str]) -> str:
    return "".join(f'<td style="{_CELL}">{text(value)}</td>' for value in values)


def _note(words: str) -> str:
    return f'<div style="{_SOFT};margin:10px 0 2px">{text(words)}</div>'

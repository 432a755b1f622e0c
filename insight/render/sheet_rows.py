"""From a model to the rows of a contact sheet: names, crops where a concept is strongest, and who belongs to whom."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image

from sae.errors import InsightError

from ..backbones import CentreSquare
from ..data import find_photo
from ..examples import Example, crop, load_examples
from .percent import percent
from .sheet import BLUE, CROP, CROPS, GREEN, GREY, ORANGE, Relatives, SheetRow

if TYPE_CHECKING:
    from ..model import ConceptModel

MOST = 200
"""Rows of a sheet; a longer picture is one that many programs do not open."""
_NAMED = 5
"""Titles a line of children and the like has; the other relatives are counted."""


def sheet_rows(model: ConceptModel, folder: Path, photos: Path, concepts: Iterable[int]) -> list[SheetRow]:
    """Rows for some concepts of the model in `folder`, in the order given.

    `photos` is the folder that the model's examples come from; one that is no longer there leaves a gap.
    `InsightError` for more than `MOST` concepts.
    """
    wanted = list(concepts)
    if len(wanted) > MOST:
        raise InsightError(f"expected at most {MOST} concepts on a contact sheet, found {len(wanted):,}; use --top")
    examples = load_examples(folder / "examples.parquet", wanted)
    height, width = model.config["backbone"]["grid"]
    view = model.backbone.transform
    rows = []
    for concept in wanted:
        entry = model.concepts[concept]
        share = entry.frequency / max(model.relations.tokens, 1)
        facts = [f"concept {concept} · level {entry.level} · on {percent(share)} of patches"]
        if entry.stability is not None:
            facts.append(f"stable in {entry.stability:.0%} of resamples")
        if entry.edited:
            facts.append("edited by a person")
        if entry.alternatives:
            facts.append(f"{'also' if entry.name else 'perhaps'}: {', '.join(entry.alternatives[:4])}")
        crops = _crops(examples[concept], photos, view, (height, width))
        rows.append(SheetRow(entry.title, entry.confidence, facts, crops, _relatives(model, concept)))
    return rows


def _crops(examples: Sequence[Example], photos: Path, view: CentreSquare, grid: tuple[int, int]) -> list[Image.Image]:
    there = ((example, photo) for example in examples if (photo := find_photo(photos, example.image)) is not None)
    return [crop(photo, view, grid, example, CROP) for example, photo in islice(there, CROPS)]


def _relatives(model: ConceptModel, concept: int) -> list[Relatives]:
    """Parents with the share of the concept's activation that lies on them; children; synonyms; context."""
    graph = model.relations
    parents: dict[str | None, list[str]] = {"kind-of": [], "part-of": [], None: []}
    for parent in graph.parents(concept).tolist():
        edge = graph.edge(concept, parent)
        parents[edge.kind].append(f"{model.concepts[parent].title} {edge.weight:.2f}")
    kinds, parts = (graph.children(concept, kind).tolist() for kind in ("kind-of", "part-of"))
    rest = [child for child in graph.children(concept).tolist() if child not in {*kinds, *parts}]
    found = [
        Relatives("a kind of", parents["kind-of"], 0, BLUE),
        Relatives("a part of", parents["part-of"], 0, ORANGE),
        Relatives("belongs to", parents[None], 0, GREY),
        _together(model, "its kinds", kinds, BLUE),
        _together(model, "its parts", parts, ORANGE),
        _together(model, "to it belong", rest, GREY),
        _together(model, "the same as", graph.synonyms_of(concept).tolist(), GREY),
        _together(model, "stands beside", graph.context(concept).tolist(), GREEN),
    ]
    return [group for group in found if group.names]


def _together(model: ConceptModel, label: str, concepts: Sequence[int], colour: tuple[int, int, int]) -> Relatives:
    """Concepts by title, each once with how many have it: those with a name first, then the others by number."""
    named_first = sorted(concepts, key=lambda concept: model.concepts[concept].name is None)
    titles = list(Counter(model.concepts[concept].title for concept in named_first).items())
    shown = [title if count == 1 else f"{title} × {count}" for title, count in titles[:_NAMED]]
    return Relatives(label, shown, sum(count for _, count in titles[_NAMED:]), colour)

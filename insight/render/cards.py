"""The dictionary as cards: each concept with its names, relatives and the places in photos where it is strongest."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image

from ..data import find_photo
from ..examples import Example, crop, load_examples, strongest
from .page import ConceptCard

if TYPE_CHECKING:
    from ..model import ConceptModel

CROP_PIXELS = 96


def concept_cards(
    model: ConceptModel, folder: Path, photos: Path, concepts: Iterable[int], *, most: int = 6
) -> list[ConceptCard]:
    """Cards of some concepts of the model in `folder`, in the order given.

    `photos` is the folder the cache was made from; a photo that is no longer there, or cannot be
    read, leaves a gap. A concept that others
    were merged into is shown where any of them is strongest.
    """
    wanted = list(concepts)
    examples = _merged_examples(model, folder / "examples.parquet", wanted)
    grid = tuple(model.config["backbone"]["grid"])
    view = model.backbone.transform
    opened: dict[str, Image.Image] = {}
    cards = []
    for concept in wanted:
        shown = examples[concept][:most]
        for example in shown:
            if example.image not in opened and (photo := find_photo(photos, example.image)) is not None:
                opened[example.image] = photo
        entry = model.concepts[concept]
        parents, children = model.relations.parents(concept).tolist(), model.relations.children(concept).tolist()
        cards.append(
            ConceptCard(
                id=concept,
                name=entry.title,
                score=None if entry.score is None else round(entry.score, 3),
                alternatives=entry.alternatives,
                level=entry.level,
                share=entry.frequency / max(model.relations.tokens, 1),
                parents=parents,
                children=children,
                kinds=model.relations.kinds_around(concept),
                names={i: model.concepts[i].title for i in (concept, *parents, *children)},
                examples=[
                    crop(opened[example.image], view, (grid[0], grid[1]), example, CROP_PIXELS)
                    for example in shown
                    if example.image in opened
                ],
                named=entry.name is not None,
                confidence=entry.confidence,
                edited=entry.edited,
            )
        )
    return cards


def _merged_examples(model: ConceptModel, table: Path, wanted: list[int]) -> dict[int, list[Example]]:
    """The examples of each concept and of those merged into it, strongest first, one an image."""
    members = {concept: [concept] for concept in wanted}
    for entry in model.concepts:
        if entry.merged_into in members:
            members[entry.merged_into].append(entry.id)
    found = load_examples(table, [member for group in members.values() for member in group])
    return {
        concept: strongest(example for member in group for example in found[member])
        for concept, group in members.items()
    }

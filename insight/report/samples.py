"""Which concepts are shown with crops: some of each level, from the surest name to the least sure, not the best alone.

In: a model and its photographs. Out: `ConceptCard`s. Photographs that cannot be read leave a gap.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..concept import Concept
from ..render.cards import concept_cards
from ..render.page import ConceptCard

if TYPE_CHECKING:
    from ..model import ConceptModel

OF_A_LEVEL = 8
TOGETHER = 4
"""Concepts whose photographs are in memory at a time."""


def sampled(concepts: Sequence[Concept]) -> list[int]:
    """Of each level eight concepts that are ever active, evenly along their confidence, the surest first."""
    levels = sorted({concept.level for concept in concepts})
    chosen: list[int] = []
    for level in levels:
        here = [c for c in concepts if c.level == level and c.shown and c.frequency > 0]
        here.sort(key=lambda c: (c.confidence is None, -(c.confidence or 0), -c.frequency, c.id))
        places = np.unique(np.linspace(0, len(here) - 1, min(OF_A_LEVEL, len(here))).round().astype(int))
        chosen += [here[place].id for place in places]
    return chosen


def sampled_cards(model: ConceptModel, folder: Path, photos: Path) -> tuple[ConceptCard, ...]:
    """The cards of `sampled`, with at most six crops each."""
    wanted = sampled(model.concepts)
    parts = (wanted[first : first + TOGETHER] for first in range(0, len(wanted), TOGETHER))
    return tuple(card for part in parts for card in concept_cards(model, folder, photos, part))

"""One concept with all that is known of it: its row, relatives with evidence, where it stands, how often how strongly.

In: an open model. Out: plain values ready for JSON.
"""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Any

from .neighbours import relatives
from .open_model import OpenModel

EXAMPLES = 16


def concept_card(opened: OpenModel, concept: int) -> dict[str, Any]:
    """The card of a concept; of one that was merged into another, the other's. `Refusal` (404) where none is."""
    row = opened.listed.row(concept)
    entry = opened.listed.concepts[row["id"]]
    histogram = opened.histogram(entry.id)
    why = opened.why_no_histogram or (None if histogram else "It fires in none of the photographs that were counted.")
    return {
        **row,
        "hidden": entry.hidden,
        "score": entry.score,
        "stability": entry.stability,
        "threshold": entry.threshold,
        **relatives(opened.listed, entry.id),
        "examples": [
            {
                "rank": rank,
                "image": PurePosixPath(example.image).name,
                "row": example.row,
                "column": example.column,
                "activation": example.activation,
            }
            for rank, example in enumerate(opened.examples(entry.id)[:EXAMPLES])
        ],
        "histogram": histogram,
        "why_no_histogram": why,
    }

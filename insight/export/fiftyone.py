"""Explanations and segmentations as labels of FiftyOne, which need not be installed for anything else.

In: an `Explanation` or a `Segmentation`. Out: fields of a `fiftyone.Sample`. Concepts stand in the centre square that
the encoder saw; maps and boxes are given for the whole photo, so that FiftyOne lays them where they belong.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float32
from PIL import Image
from scipy.ndimage import find_objects, label

from sae.errors import InsightError

from ..data import decode

if TYPE_CHECKING:
    from ..explanation import ConceptEvidence, Explanation
    from ..heads import Segmentation

SIDE = 256
"""Pixels of a map along the square that the encoder saw."""
STANDS = 0.5
"""A region is where a concept is at least this share of its maximum in the photo."""


def explanation_fields(
    explanation: Explanation, *, size: tuple[int, int] | None = None, top: int = 10
) -> dict[str, Any]:
    """Fields for `fiftyone.Sample(filepath, **fields)`, of the `top` strongest concepts.

    "concepts": `Classifications`, "concept_regions": `Detections` with masks, and "concept_812": a `Heatmap` of each.
    Labels carry the concept's name, the confidence of the name where it is known, and `concept` (id), `level`,
    `activation`. size: (width, height) of the photo in pixels; None: that of the file that was explained.
    `InsightError` without FiftyOne, or where the photo's size is not known.
    """
    fiftyone = _fiftyone()
    width, height = _size_of(explanation) if size is None else size
    fields: dict[str, Any] = {}
    classifications, detections = [], []
    for concept in explanation.concepts[:top]:
        said = {"label": concept.name, "confidence": concept.confidence if concept.named else None}
        said |= {"concept": concept.id, "level": concept.level, "activation": concept.activation}
        classifications.append(fiftyone.Classification(**said))
        heat = in_whole_photo(concept.map, width, height)
        fields[f"concept_{concept.id}"] = fiftyone.Heatmap(map=heat, range=[0.0, concept.activation])
        for box, mask in _regions(concept, width, height):
            detections.append(fiftyone.Detection(bounding_box=box, mask=mask, **said))
    fields["concepts"] = fiftyone.Classifications(classifications=classifications)
    fields["concept_regions"] = fiftyone.Detections(detections=detections)
    return fields


def segmentation_label(segmentation: Segmentation) -> Any:
    """A `fiftyone.Segmentation` of the size of the photo; `mask_targets` says what its numbers mean."""
    fiftyone = _fiftyone()
    kind = np.uint8 if len(segmentation.classes) < 256 else np.uint16
    return fiftyone.Segmentation(mask=(segmentation.labels + 1).astype(kind))


def mask_targets(segmentation: Segmentation) -> dict[int, str]:
    """The class of each number in the mask, for `Dataset.default_mask_targets`; 0 is background."""
    return {0: "background", **dict(enumerate(segmentation.classes, start=1))}


def in_whole_photo(heat: Float32[np.ndarray, "h w"], width: int, height: int) -> Float32[np.ndarray, "H W"]:
    """A map of the centre square as one of the whole photo, in its proportions: 0 where the encoder did not look."""
    side = min(width, height)
    across, down = (max(SIDE, round(SIDE * length / side)) for length in (width, height))
    square = Image.fromarray(np.asarray(heat, np.float32)).resize((SIDE, SIDE), Image.Resampling.BILINEAR)
    found = np.zeros((down, across), np.float32)
    top, left = (down - SIDE) // 2, (across - SIDE) // 2
    found[top : top + SIDE, left : left + SIDE] = np.asarray(square)
    return found


def _regions(concept: ConceptEvidence, width: int, height: int) -> list[tuple[list[float], np.ndarray]]:
    """The 4-connected sets of patches where the concept stands: [x, y, w, h] as shares of the photo, and the mask."""
    marked, _ = label(concept.map >= STANDS * max(concept.activation, 1e-12))
    rows, columns = concept.map.shape
    side = min(width, height)
    left, top = (width - side) / 2, (height - side) / 2
    found = []
    for number, (down, across) in enumerate(find_objects(marked), start=1):
        x, w = left + side * across.start / columns, side * (across.stop - across.start) / columns
        y, h = top + side * down.start / rows, side * (down.stop - down.start) / rows
        found.append(([x / width, y / height, w / width, h / height], marked[down, across] == number))
    return found


def _size_of(explanation: Explanation) -> tuple[int, int]:
    if not Path(explanation.image).is_file():
        raise InsightError(
            f"{explanation.image}: expected the file of the photo, to know its size, found none; give size=(width,"
            " height)"
        )
    return decode(explanation.image).size


def _fiftyone() -> Any:
    try:
        import fiftyone
    except ImportError:
        raise InsightError("labels of FiftyOne need the package fiftyone; pip install fiftyone") from None
    return fiftyone

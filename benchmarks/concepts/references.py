"""What concepts stand on, by masks that nobody named them from: a label, where two halves of the photographs agree.

In: the codes of photographs with masks. Out: `Labelled`, the concepts whose best label is the same on both halves.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from benchmarks.concepts.material import NAMELESS, Masked
from naming import Overlaps
from sae import SparseCodes

SPLIT_SEED = 0


@dataclass(frozen=True)
class Labelled:
    """Concepts with a reference label. `label` holds places in `names`, the labels of the data set."""

    data: str
    names: tuple[str, ...]
    concepts: np.ndarray
    """int64 [n]."""
    label: np.ndarray
    """int64 [n]."""
    on_all: np.ndarray
    """int64 [m]: the best label of every concept on all photographs, be it a name or not; -1 for none."""
    fire: int
    """Concepts that fire on the data set."""
    one_half: int
    """Concepts that have a label on the first half, those that stand on no named thing included."""
    agreed: int
    """Of these, those that have the same on the other half; those with a label that is a name are counted."""

    @property
    def labels(self) -> tuple[str, ...]:
        return tuple(self.names[label] for label in self.label)


def label_concepts(codes: SparseCodes, masked: Masked) -> Labelled:
    """The label of a concept is the best on one half of the photographs, drawn once for all dictionaries.

    It counts if the other half gives the same, and if it is a name. `codes`: of all photographs asked about.
    """
    order = np.random.default_rng(SPLIT_SEED).permutation(len(masked.photos))
    first, second = (best_labels(codes, masked, np.sort(half)) for half in (order[::2], order[1::2]))
    agreed = (first >= 0) & (first == second)
    nameless = [place for place, name in enumerate(masked.labels) if name in NAMELESS]
    kept = np.flatnonzero(agreed & ~np.isin(first, nameless))
    on_all = best_labels(codes, masked, np.arange(len(order)))
    fire = len(np.unique(rows_of(codes, masked, order).concepts.numpy()))
    counts = fire, int((first >= 0).sum()), int(agreed.sum())
    return Labelled(masked.name, masked.labels, kept, first[kept], on_all, *counts)


def best_labels(codes: SparseCodes, masked: Masked, photos: np.ndarray) -> np.ndarray:
    """int64 [m]: the label of best IoU on some of a data set's photographs (places in `masked.photos`), -1 for none.

    Of the set's own labels and those of its groups (`Overlaps.reference` on each level); of equal ones the set's own.
    """
    best, best_iou = np.full(codes.n_concepts, -1, dtype=np.int64), np.zeros(codes.n_concepts)
    rows = rows_of(codes, masked, photos)
    image = torch.from_numpy(photos).repeat_interleave(masked.classes.shape[1])
    for becomes in masked.groupings:
        classes = masked.classes[photos].ravel()
        level = np.where(classes < 0, -1, becomes[classes])
        overlaps = Overlaps(codes.n_concepts, len(masked.labels))
        overlaps.update(rows, torch.from_numpy(level), image)
        reference = overlaps.reference()
        better = reference.iou > best_iou
        best[better], best_iou[better] = reference.label[better], reference.iou[better]
    return best


def rows_of(codes: SparseCodes, masked: Masked, photos: np.ndarray) -> SparseCodes:
    """The codes of some of a data set's photographs (places in `masked.photos`), photograph by photograph."""
    tokens = masked.classes.shape[1]
    rows = (masked.photos[photos, None] * tokens + np.arange(tokens)).ravel()
    return codes[torch.from_numpy(rows)]

"""Which label of the masks each concept stands for: the measure's right answers, from photographs with masks.

In: codes with the class of each patch, image by image. Out: `Reference`, for each concept the label its support
overlaps best, where it overlaps one well; it says nothing of a concept that is seen too little, or whose patches are
of many classes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from sae import SparseCodes
from sae.errors import InsightError


@dataclass(frozen=True)
class Reference:
    """The label of each concept, -1 where none is its own, and how well the two agree."""

    label: Int[np.ndarray, " m"]
    iou: Float[np.ndarray, " m"]
    """|support ∩ label| / |support ∪ label| over the labelled patches, 0 where there is no label."""
    precision: Float[np.ndarray, " m"]
    """Share of the support that carries the label, 0 where there is none."""


class Overlaps:
    """On how many patches m concepts meet L labels; streaming. A concept's support are the patches it fires on.

    Patches without a label (-1) do not count: they may be anything.
    """

    def __init__(self, n_concepts: int, n_labels: int) -> None:
        if n_concepts < 1 or n_labels < 1:
            raise InsightError(f"Overlaps: expected at least one concept and one label, found {n_concepts}, {n_labels}")
        self.intersections: np.ndarray = np.zeros((n_concepts, n_labels), dtype=np.int64)
        """int64 [m, L]: patches of each label on which each concept fires."""
        self.sizes: np.ndarray = np.zeros(n_labels, dtype=np.int64)
        """int64 [L]: patches of each label."""
        self.photos: np.ndarray = np.zeros(n_concepts, dtype=np.int64)
        """int64 [m]: images with a labelled patch on which the concept fires."""
        self._images: set[int] = set()

    @property
    def support(self) -> Int[np.ndarray, " m"]:
        """int64 [m]: labelled patches on which each concept fires."""
        return self.intersections.sum(1)

    def update(self, codes: SparseCodes, classes: Int[Tensor, " n"], images: Int[Tensor, " n"]) -> None:
        """Count the patches of whole images: the class of each row (-1: no label) and the image it is of."""
        n_concepts, n_labels = self.intersections.shape
        if codes.n_concepts != n_concepts or classes.shape != (codes.n,) or images.shape != (codes.n,):
            expected = f"codes of {n_concepts} concepts with a class and an image for each row"
            found = f"{codes.n_concepts} concepts, {codes.n} rows, {len(classes)} classes, {len(images)} images"
            raise InsightError(f"Overlaps: expected {expected}, found {found}")
        if codes.n and not -1 <= int(classes.min()) <= int(classes.max()) < n_labels:
            found = f"{int(classes.min())} to {int(classes.max())}"
            raise InsightError(f"Overlaps: expected classes of -1 to {n_labels - 1}, found {found}")
        distinct, image = torch.unique(images, return_inverse=True)
        again = self._images.intersection(distinct.tolist())
        if again:
            raise InsightError(f"Overlaps: expected all rows of an image at once, found image {min(again)} again")
        self._images.update(distinct.tolist())
        labelled = (classes >= 0).nonzero().squeeze(1)
        codes, classes, image = codes.to("cpu")[labelled], classes[labelled].long(), image[labelled]
        cell = codes.concepts.long() * n_labels + classes[codes.rows()]
        self.intersections += torch.bincount(cell, minlength=n_concepts * n_labels).view(n_concepts, -1).numpy()
        self.sizes += torch.bincount(classes, minlength=n_labels).numpy()
        concepts = codes.max_by_group(image, len(distinct)).concepts
        self.photos += torch.bincount(concepts, minlength=n_concepts).numpy()

    def reference(self, *, min_support: int = 20, min_photos: int = 3, min_precision: float = 0.5) -> Reference:
        """The label of best IoU among those that cover at least `min_precision` of the concept's support.

        None (-1) for a concept that fires on fewer than `min_support` labelled patches, or in fewer than `min_photos`
        images: it has not been seen enough to know what it stands for.
        """
        support = self.support
        precision = self.intersections / np.maximum(support, 1)[:, None]
        union = support[:, None] + self.sizes - self.intersections
        iou = self.intersections / np.maximum(union, 1)
        fits = (precision >= min_precision) & (self.intersections > 0)
        fits &= ((support >= min_support) & (self.photos >= min_photos))[:, None]
        best = np.where(fits, iou, -1).argmax(1)
        row, has = np.arange(len(best)), fits.any(1)
        label = np.where(has, best, -1)
        return Reference(label, np.where(has, iou[row, best], 0.0), np.where(has, precision[row, best], 0.0))

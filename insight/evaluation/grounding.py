"""Grounding: whether concepts stand where labelled parts stand. Locality, consistency and impurity of [DPQ] App. D.6.

In: codes of whole images and the class of each cell. Out: a `Grounding`, which keeps sparse tables of every image, so
that each figure can be had for images drawn anew, for a split, and with best concepts that another split chose.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from scipy.sparse import csr_array, vstack
from torch.nn.functional import interpolate

from sae import SparseCodes
from sae.errors import InsightError

from .supports import Runs, checked_classes, masks_of, of_chosen, runs, sums_of_labels

LEAST_IMAGES = 5
"""Images that a concept is active in before it counts for impurity, as published."""


@dataclass(frozen=True, eq=False)
class Grounding:
    """What concepts and labels have in common in each of n images, and the three measures of it.

    Every measure takes `weights`, float [n], how often each image counts (None: once): a bootstrap's draw.
    """

    labels: tuple[str, ...]
    grid: tuple[int, int]
    """Of the codes' patches, h × w."""
    resolution: tuple[int, int]
    """Of the masks: the grid, or that which maps were drawn out to."""
    mass: float
    dilate: bool
    budget: int | None
    """Concepts of an image that were kept, those with the largest summed activation; None: all."""
    iou: csr_array
    """float64 [n · labels, m], row image · labels + label: IoU of a concept's support and a label's mask, if not 0."""
    entropy: csr_array
    """float64 [n, m]: an entry, also where 0, for each concept active in an image: the entropy of its mass, in nats."""
    present: np.ndarray
    """bool [n, labels]: the image has a cell of the label."""

    @property
    def n(self) -> int:
        return len(self.present)

    @property
    def n_concepts(self) -> int:
        return self.iou.shape[1]

    @property
    def settings(self) -> tuple[object, ...]:
        """Everything that two results must have in common to be of one kind."""
        of_maps = (self.grid, self.resolution, self.mass, self.dilate, self.budget)
        return (self.labels, self.n_concepts, *of_maps)

    def images(self, index: np.ndarray) -> Grounding:
        """That of some of the images: int [k], also repeated, or bool [n]."""
        index = np.flatnonzero(index) if index.dtype == bool else index
        rows = (index[:, None] * len(self.labels) + np.arange(len(self.labels))).ravel()
        return replace(self, iou=self.iou[rows], entropy=self.entropy[index], present=self.present[index])

    def best_iou(self) -> np.ndarray:
        """float64 [n, labels]: the best IoU of each label's mask in each image with any concept's support."""
        return self.iou.max(axis=1).toarray().reshape(self.n, len(self.labels))

    def locality_of_labels(self, weights: np.ndarray | None = None) -> np.ndarray:
        """[labels] mean of `best_iou` over the images that have the label; NaN for a label that none has."""
        where = self.present * self._weights(weights)[:, None]
        return _divided((where * self.best_iou()).sum(0), where.sum(0))

    def locality(self, weights: np.ndarray | None = None) -> float:
        """Mean of `locality_of_labels` over the labels that occur; NaN without any."""
        return _mean(self.locality_of_labels(weights))

    def consistency_of_pairs(self, weights: np.ndarray | None = None) -> np.ndarray:
        """[labels, m] mean IoU of label and concept over the images in which either is present (NaN without any)."""
        weights = self._weights(weights)
        summed = sums_of_labels(self.iou, len(self.labels), weights)
        active = csr_array((np.ones(self.entropy.nnz), self.entropy.indices, self.entropy.indptr), self.entropy.shape)
        where = self.present * weights[:, None]
        either = where.sum(0)[:, None] + weights @ active - (active.T @ where).T
        return _divided(summed, either)

    def best_concepts(self, weights: np.ndarray | None = None) -> np.ndarray:
        """int64 [labels] concept of the largest consistency with each label; -1 where none overlaps it anywhere."""
        of_pairs = np.nan_to_num(self.consistency_of_pairs(weights))
        return np.where(of_pairs.max(1, initial=0) > 0, of_pairs.argmax(1), -1)

    def iou_with(self, best: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """IoU [n, labels] of each label with its concept of `best`, and bool [n, labels]: either of them is present."""
        iou, either = of_chosen(self.iou, best, len(self.labels)), self.present.copy()
        active = self.entropy.tocsc()
        for label in np.flatnonzero(best >= 0):
            either[active.indices[active.indptr[best[label]] : active.indptr[best[label] + 1]], label] = True
        return iou, either

    def consistency_of_labels(self, best: np.ndarray | None = None, weights: np.ndarray | None = None) -> np.ndarray:
        """[labels] consistency of each label with its concept of `best`; NaN for a label that no image has.

        best: int [labels], -1 for none, as `best_concepts` of another split gives it. None: chosen on these images, as
        published, which flatters a dictionary the more, the larger it is.
        """
        weights = self._weights(weights)
        iou, either = self.iou_with(self.best_concepts(weights) if best is None else best)
        counted = either * weights[:, None]
        of_labels = _divided((counted * iou).sum(0), counted.sum(0))
        return np.where(weights @ self.present > 0, of_labels, np.nan)

    def consistency(self, best: np.ndarray | None = None, weights: np.ndarray | None = None) -> float:
        """Mean of `consistency_of_labels` over the labels that occur; NaN without any."""
        return _mean(self.consistency_of_labels(best, weights))

    def impurity_of_concepts(self, weights: np.ndarray | None = None) -> np.ndarray:
        """[m] mean entropy of a concept over the images with a label that it is active in.

        NaN for a concept active in fewer than 5 of these images, however often they are drawn.
        """
        labelled = np.asarray(self.present.any(1))
        image = np.repeat(np.arange(self.n), np.diff(self.entropy.indptr))
        concept = self.entropy.indices
        weight = (self._weights(weights) * labelled)[image]
        often = np.bincount(concept[labelled[image]], minlength=self.n_concepts) >= LEAST_IMAGES
        total = np.bincount(concept, weight, minlength=self.n_concepts)
        summed = np.bincount(concept, weight * self.entropy.data, minlength=self.n_concepts)
        return np.where(often, _divided(summed, total), np.nan)

    def impurity(self, weights: np.ndarray | None = None) -> float:
        """Mean of `impurity_of_concepts` over the concepts that have one; NaN without any."""
        return _mean(self.impurity_of_concepts(weights))

    def to_dict(self, best: np.ndarray | None = None) -> dict[str, Any]:
        """The figures with grid, budget and the rest they depend on; `best` adds the consistency it gives."""
        figures: dict[str, Any] = {
            "locality": self.locality(),
            "consistency": self.consistency(),
            "impurity": self.impurity(),
            "images": self.n,
            "labels": int(self.present.any(0).sum()),
            "impurity_concepts": int(np.isfinite(self.impurity_of_concepts()).sum()),
            "concepts_an_image": self.entropy.nnz / max(1, self.n),
            "grid": list(self.grid),
            "resolution": list(self.resolution),
            "budget": self.budget,
            "mass": self.mass,
            "dilate": self.dilate,
        }
        return figures if best is None else figures | {"consistency_of_given_concepts": self.consistency(best)}

    def _weights(self, weights: np.ndarray | None) -> np.ndarray:
        return np.ones(self.n) if weights is None else weights.astype(np.float64)


class GroundingMeter:
    """Gathers a `Grounding`, image by image or many at once.

    labels: names of the classes 0, 1, ...; grid: h × w patches of an image; mass: share of a map's mass that its
    support holds; dilate: masks grown by a 3 × 3 maximum; budget: concepts of an image that are kept (None: all);
    resolution: of the masks where it is not the grid: maps are then drawn out bilinearly, which is slow.
    """

    def __init__(
        self,
        n_concepts: int,
        labels: Sequence[str],
        grid: tuple[int, int],
        *,
        mass: float = 0.9,
        dilate: bool = True,
        budget: int | None = None,
        resolution: tuple[int, int] | None = None,
    ) -> None:
        if not labels:
            raise InsightError("labels: expected at least one, found none")
        if not 0 < mass <= 1:
            raise InsightError(f"mass: expected more than 0 and at most 1, found {mass}")
        if budget is not None and budget < 1:
            raise InsightError(f"budget: expected at least 1 concept an image, or None for all, found {budget}")
        empty = csr_array((0, n_concepts))
        nothing = np.zeros((0, len(labels)), dtype=bool)
        self._drawn_out = resolution is not None
        of_masks = resolution or grid
        self._empty = Grounding(tuple(labels), grid, of_masks, mass, dilate, budget, empty, empty, nothing)
        self._parts: list[Grounding] = []

    def update(self, codes: SparseCodes, classes: np.ndarray | torch.Tensor) -> None:
        """Adds images: codes [n · h · w, m], and the class of each cell, int [n, h, w] (or of `resolution`), -1 none.

        `InsightError` when shapes or classes do not fit, or an activation is not finite.
        """
        settings = self._empty
        classes = checked_classes(classes, len(settings.labels))
        tokens = settings.grid[0] * settings.grid[1]
        if codes.n_concepts != settings.n_concepts:
            raise InsightError(f"codes: expected {settings.n_concepts} concepts, found {codes.n_concepts}")
        if classes.shape[1:] != settings.resolution or len(classes) * tokens != codes.n:
            expected = f"[n, {settings.resolution[0]}, {settings.resolution[1]}] for {codes.n / tokens:g} images"
            raise InsightError(f"classes: expected {expected}, found {list(classes.shape)}")
        active = runs(codes, tokens)
        if settings.budget is not None:
            active = active.strongest(settings.budget)
        if not self._drawn_out:
            self._parts.append(self._measured(active.support(settings.mass), classes))
            return
        for image in range(len(classes)):  # one at a time: a drawn out map has an entry in nearly every pixel
            fine = _drawn_out(active, image, settings.grid, settings.resolution)
            self._parts.append(self._measured(fine.support(settings.mass), classes[image : image + 1]))

    def merge(self, other: GroundingMeter) -> None:
        """Adds the images of another meter of the same settings after one's own."""
        if self._empty.settings != other._empty.settings:
            raise InsightError("meters: expected the same concepts, labels, grid and settings, found others")
        self._parts += other._parts

    def result(self) -> Grounding:
        """Of all images so far."""
        parts = [self._empty, *self._parts]
        iou, entropy = (csr_array(vstack([getattr(p, f) for p in parts], format="csr")) for f in ("iou", "entropy"))
        return replace(self._empty, iou=iou, entropy=entropy, present=np.concatenate([p.present for p in parts]))

    def _measured(self, support: Runs, classes: np.ndarray) -> Grounding:
        """Of images with the supports of their concepts."""
        n, cells, labels, m = len(classes), classes.size, len(self._empty.labels), self._empty.n_concepts
        masks = masks_of(classes, labels, self._empty.dilate)
        ones = np.ones(len(support.cell))
        common = masks @ support.table(ones, cells, m)
        shared = masks @ support.table(support.activation, cells, m)  # the same cells, their mass
        row, run = _rows_and_runs(common, support, labels)
        size = np.bincount(support.run, minlength=len(support))[run] + np.diff(masks.indptr)[row]
        iou = csr_array((common.data / (size - common.data), common.indices, common.indptr), common.shape)
        outside = np.bincount(masks.indices, minlength=cells)[support.cell] == 0
        background = np.bincount(support.run[outside], support.activation[outside], minlength=len(support))
        row = np.repeat(np.arange(n * labels), np.diff(shared.indptr))
        run = np.searchsorted(support.image * m + support.concept, row // labels * m + shared.indices)
        entropy = _entropy(np.concatenate([run, np.arange(len(support))]), np.concatenate([shared.data, background]))
        starts = np.searchsorted(support.image, np.arange(n + 1))
        table = csr_array((entropy, support.concept, starts), shape=(n, m))
        present = np.diff(masks.indptr).reshape(n, labels) > 0
        return replace(self._empty, iou=iou, entropy=table, present=present)


def _rows_and_runs(table: csr_array, support: Runs, labels: int) -> tuple[np.ndarray, np.ndarray]:
    """Of each entry of a table [n · labels, m]: its row, and the run of its image and concept."""
    row = np.repeat(np.arange(table.shape[0]), np.diff(table.indptr))
    m = table.shape[1]
    return row, np.searchsorted(support.image * m + support.concept, row // labels * m + table.indices)


def _entropy(group: np.ndarray, mass: np.ndarray) -> np.ndarray:
    """Entropy in nats of the masses of each group (every group has one), normalised to sum to 1."""
    part = mass / np.bincount(group, mass)[group]
    return np.abs(np.bincount(group, -part * np.log(np.where(part > 0, part, 1))))  # abs: no negative zero


def _drawn_out(active: Runs, image: int, grid: tuple[int, int], resolution: tuple[int, int]) -> Runs:
    """The maps of one image's concepts at a finer resolution, bilinear, as runs of a single image."""
    first, last = np.searchsorted(active.image, [image, image + 1])
    entry = slice(*np.searchsorted(active.run, [first, last]))
    tokens, cells = grid[0] * grid[1], resolution[0] * resolution[1]
    maps = np.zeros((last - first, tokens))
    maps[active.run[entry] - first, active.cell[entry] - image * tokens] = active.activation[entry]
    coarse = torch.from_numpy(maps.reshape(-1, 1, *grid))
    fine = interpolate(coarse, size=resolution, mode="bilinear", align_corners=False).numpy().reshape(-1, cells)
    run, cell = np.nonzero(fine)
    order = np.lexsort((-fine[run, cell], run))
    run, cell = run[order], cell[order]
    concept = active.concept[first:last]
    return Runs(cell, fine[run, cell], run, np.zeros(len(concept), dtype=np.int64), concept)


def _divided(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    """Quotient, NaN where nothing is counted."""
    return np.divide(above, below, out=np.full(np.shape(below), np.nan), where=below > 0)


def _mean(values: np.ndarray) -> float:
    known = values[np.isfinite(values)]
    return float(known.mean()) if len(known) else float("nan")

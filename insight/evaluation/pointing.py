"""Pointing game and energy in mask: whether a concept's strongest patch, and its mass, lie on a label.

In: codes of whole images and masks, of patches or of pixels. Out: a `Pointing`, sparse tables of every image, so that a
concept can be chosen for each label on one split and scored on another.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from scipy.sparse import csr_array, vstack

from sae import SparseCodes
from sae.errors import InsightError

from .supports import checked_classes, of_chosen, runs, sums_of_labels


@dataclass(frozen=True, eq=False)
class Pointing:
    """Where concepts point in each of n images. Scores are of images that have the label; `weights` as in `Grounding`.

    An image in which the label's concept is silent is a miss, and has no energy in the mask.
    """

    labels: tuple[str, ...]
    grid: tuple[int, int]
    budget: int | None
    hits: csr_array
    """float64 [n · labels, m], row image · labels + label: 1 where the concept's strongest patch is on the label."""
    energy: csr_array
    """float64 [n · labels, m]: share of the concept's mass in the image that is on the label."""
    area: np.ndarray
    """float64 [n, labels]: share of the image that the label covers, which is what chance hits."""
    centre: np.ndarray
    """bool [n, labels]: the image's centre point is on the label."""

    @property
    def n(self) -> int:
        return len(self.area)

    def best_concepts(self) -> np.ndarray:
        """int64 [labels] concept with the most hits (of equals the one with more energy in the mask); -1 for none."""
        labels, m = len(self.labels), self.hits.shape[1]
        hits, energy = (sums_of_labels(table, labels, np.ones(self.n)) for table in (self.hits, self.energy))
        if not m:
            return np.full(labels, -1)
        order = np.lexsort((-np.broadcast_to(np.arange(m), hits.shape), energy, hits))
        best = order[:, -1]
        return np.where(hits[np.arange(labels), best] > 0, best, -1)

    def hits_of(self, best: np.ndarray) -> np.ndarray:
        """float64 [n, labels]: 1 where the label's concept of `best` points at it."""
        return of_chosen(self.hits, best, len(self.labels))

    def energy_of(self, best: np.ndarray) -> np.ndarray:
        """float64 [n, labels]: share of the mass of the label's concept of `best` that is on it."""
        return of_chosen(self.energy, best, len(self.labels))

    def accuracy(self, best: np.ndarray, weights: np.ndarray | None = None) -> float:
        """Pointing game (Zhang et al. 2016): share of the images with a label that are hit, mean over labels.

        best: int [labels], from `best_concepts` of other images: chosen on these, the score flatters.
        """
        return self._mean(self.hits_of(best), weights)

    def centre_accuracy(self, weights: np.ndarray | None = None) -> float:
        """The same for who always points at the centre."""
        return self._mean(self.centre, weights)

    def chance(self, weights: np.ndarray | None = None) -> float:
        """The same for who points anywhere: share of the area. It is the energy of an even map, too."""
        return self._mean(self.area, weights)

    def energy_in_mask(self, best: np.ndarray, weights: np.ndarray | None = None) -> float:
        """Share of the mass on the label (Wang et al. 2020, energy-based pointing game), as `accuracy`."""
        return self._mean(self.energy_of(best), weights)

    def _mean(self, values: np.ndarray, weights: np.ndarray | None) -> float:
        """Over the images that have a label, then over the labels that occur."""
        counted = (self.area > 0) * (np.ones(self.n) if weights is None else weights)[:, None]
        occurs = counted.sum(0) > 0
        return float(((counted * values).sum(0)[occurs] / counted.sum(0)[occurs]).mean()) if occurs.any() else np.nan


class PointingMeter:
    """Gathers a `Pointing`. grid: h × w patches of an image; budget: concepts of an image that are kept (None: all)."""

    def __init__(
        self, n_concepts: int, labels: Sequence[str], grid: tuple[int, int], *, budget: int | None = None
    ) -> None:
        empty, nothing = csr_array((0, n_concepts)), np.zeros((0, len(labels)))
        self._empty = Pointing(tuple(labels), grid, budget, empty, empty, nothing, nothing > 0)
        self._parts: list[Pointing] = []

    def update(self, codes: SparseCodes, classes: np.ndarray | torch.Tensor) -> None:
        """Adds images: codes [n · h · w, m], and the class of each patch or pixel, int [n, H, W], -1 none.

        The photo's own pixels of the square that the grid lies over give the finer answer: a patch points at the pixel
        its centre falls in (on a border the one to the right or below). Of equally strong patches the first points.
        """
        (h, w), labels, m = self._empty.grid, len(self._empty.labels), self._empty.hits.shape[1]
        classes = checked_classes(classes, labels)
        if codes.n_concepts != m or len(classes) * h * w != codes.n:
            expected = f"{m} concepts and classes [{codes.n / (h * w):g}, H, W]"
            raise InsightError(f"pointing: expected {expected}, found {codes.n_concepts} and {list(classes.shape)}")
        n, height, width = classes.shape
        if not n:
            return
        row, column = _pixels(height, h), _pixels(width, w)
        if height < h or width < w:
            raise InsightError(f"classes: expected at least the grid of {h} × {w}, found {height} × {width}")
        active = runs(codes, h * w)
        if self._empty.budget is not None:
            active = active.strongest(self._empty.budget)
        parts = _shares(classes, (h, w), labels)
        mass = parts @ active.table(active.activation / active.mass()[active.run], codes.n, m)
        first = np.searchsorted(active.run, np.arange(len(active)))
        patch = active.cell[first] % (h * w)
        at = classes[active.image, row[patch // w], column[patch % w]].astype(np.int64)
        on = at >= 0
        places = (active.image[on] * labels + at[on], active.concept[on])
        hits = csr_array((np.ones(on.sum()), places), shape=(n * labels, m))
        area = parts.sum(1).reshape(n, labels) / (h * w)
        centre = classes[:, height // 2, width // 2, None] == np.arange(labels)
        self._parts.append(replace(self._empty, hits=hits, energy=mass, area=area, centre=centre))

    def merge(self, other: PointingMeter) -> None:
        """Adds the images of another meter of the same settings after one's own."""
        mine, its = ((m.labels, m.grid, m.budget, m.hits.shape) for m in (self._empty, other._empty))
        if mine != its:
            raise InsightError("meters: expected the same concepts, labels, grid and budget, found others")
        self._parts += other._parts

    def result(self) -> Pointing:
        """Of all images so far."""
        parts = [self._empty, *self._parts]
        hits, energy = (csr_array(vstack([getattr(p, f) for p in parts], format="csr")) for f in ("hits", "energy"))
        area, centre = (np.concatenate([getattr(p, f) for p in parts]) for f in ("area", "centre"))
        return replace(self._empty, hits=hits, energy=energy, area=area, centre=centre)


def _pixels(pixels: int, cells: int) -> np.ndarray:
    """Along one side: the pixel that the centre of each cell falls in."""
    return (2 * np.arange(cells) + 1) * pixels // (2 * cells)


def _shares(classes: np.ndarray, grid: tuple[int, int], n_labels: int) -> csr_array:
    """CSR [n · labels, n · h · w]: share of the pixels of each cell that are of the label."""
    (n, height, width), (h, w) = classes.shape, grid
    down, right = ((2 * np.arange(size) + 1) * cells // (2 * size) for size, cells in ((height, h), (width, w)))
    cell = down[:, None] * w + right
    pixels = np.bincount(cell.ravel(), minlength=h * w)
    places, shares = [np.zeros((2, 0), dtype=np.int64)], [np.zeros(0)]
    for image, of_pixel in enumerate(classes):
        key = of_pixel.astype(np.int64) * (h * w) + cell
        counts = np.bincount(key[of_pixel >= 0], minlength=n_labels * h * w)
        label, at = np.divmod(np.flatnonzero(counts), h * w)
        places.append(np.stack([image * n_labels + label, image * h * w + at]))
        shares.append(counts[counts > 0] / pixels[at])
    return csr_array((np.concatenate(shares), tuple(np.hstack(places))), shape=(n * n_labels, n * h * w))

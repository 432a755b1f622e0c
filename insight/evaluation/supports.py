"""Where concepts and labels stand, sparse: the runs of a concept's activations in an image, their support, masks.

In: codes of whole images and their class maps. Out: flat arrays and CSR, never an [images, concepts, patches] array.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_array

from sae import SparseCodes
from sae.errors import InsightError

ROUNDING = 1e-9
"""Share of a map's mass by which a cumulative sum may fall short of what it is to reach."""


@dataclass(frozen=True)
class Runs:
    """Activations of images [e] grouped in runs, one a concept active in an image, each falling; runs by image."""

    cell: np.ndarray
    """int64 [e]: the row of the codes, image · tokens + patch."""
    activation: np.ndarray
    """float64 [e], > 0."""
    run: np.ndarray
    """int64 [e]: the run, never falling."""
    image: np.ndarray
    """int64 [r] of each run."""
    concept: np.ndarray
    """int64 [r] of each run."""

    def __len__(self) -> int:
        return len(self.image)

    def mass(self) -> np.ndarray:
        """float64 [r]: the summed activation of each run."""
        return np.bincount(self.run, self.activation, minlength=len(self))

    def strongest(self, budget: int) -> Runs:
        """Of each image only the `budget` concepts with the largest mass; of equal ones those of the smaller number."""
        order = np.lexsort((self.concept, -self.mass(), self.image))
        place = np.empty(len(self), dtype=np.int64)
        place[order] = np.arange(len(self)) - np.searchsorted(self.image, self.image)
        return self._of_runs(place < budget)

    def support(self, mass: float) -> Runs:
        """Of each run what is at least the cutoff at which the sum from the top reaches `mass` of it, ties included."""
        if not len(self):
            return self
        part = self.activation / self.mass()[self.run]
        start = np.searchsorted(self.run, np.arange(len(self)))
        before = np.cumsum(part) - part
        needed = before - before[start][self.run] < mass - ROUNDING
        cutoff = np.minimum.reduceat(np.where(needed, self.activation, np.inf), start)
        keep = self.activation >= cutoff[self.run]
        return Runs(self.cell[keep], self.activation[keep], self.run[keep], self.image, self.concept)

    def table(self, values: np.ndarray, cells: int, n_concepts: int) -> csr_array:
        """CSR [cells, concepts] of a value for each entry."""
        return csr_array((values, (self.cell, self.concept[self.run])), shape=(cells, n_concepts))

    def _of_runs(self, keep: np.ndarray) -> Runs:
        number = np.cumsum(keep) - 1
        entry = keep[self.run]
        run = number[self.run[entry]]
        return Runs(self.cell[entry], self.activation[entry], run, self.image[keep], self.concept[keep])


def runs(codes: SparseCodes, tokens: int) -> Runs:
    """The runs of codes [n · tokens, m] of whole images. `InsightError` when they are none, or not finite."""
    if tokens < 1 or codes.n % tokens:
        raise InsightError(f"codes: expected rows of whole images of {tokens} patches, found {codes.n} rows")
    activation = codes.activations.detach().cpu().numpy().astype(np.float64)
    if not np.isfinite(activation).all():
        raise InsightError("codes: expected finite activations, found others; look for NaN in the features")
    cell = codes.rows().cpu().numpy()
    key = cell // tokens * codes.n_concepts + codes.concepts.cpu().numpy()
    order = np.lexsort((-activation, key))
    pair, run = np.unique(key[order], return_inverse=True)
    return Runs(cell[order], activation[order], run, pair // codes.n_concepts, pair % codes.n_concepts)


def checked_classes(classes: object, n_labels: int) -> np.ndarray:
    """A class map [n, H, W] of an array or tensor; `InsightError` when it is none of these labels, -1 for none."""
    found = np.asarray(classes)
    if found.ndim != 3:
        raise InsightError(f"classes: expected [n, H, W], found {list(found.shape)}")
    low, high = int(found.min(initial=0)), int(found.max(initial=0))
    if found.dtype.kind not in "iu" or not -1 <= low <= high < n_labels:
        raise InsightError(f"classes: expected integers from -1 to {n_labels - 1}, found {found.dtype} {low} to {high}")
    return found


def of_chosen(table: csr_array, best: np.ndarray, n_labels: int) -> np.ndarray:
    """float64 [n, labels]: of a table [n · labels, m] the entries of each label's concept of `best`; 0 for -1."""
    m = table.shape[1]
    if best.shape != (n_labels,) or best.max(initial=-1) >= m:
        given = f"{list(best.shape)}, up to {best.max(initial=-1)}"
        raise InsightError(f"best concepts: expected one below {m} for each of {n_labels} labels, found {given}")
    row = np.repeat(np.arange(table.shape[0]), np.diff(table.indptr))
    chosen = table.indices == best[row % n_labels]
    found = np.zeros(table.shape[0])
    found[row[chosen]] = table.data[chosen]
    return found.reshape(-1, n_labels)


def sums_of_labels(table: csr_array, n_labels: int, weights: np.ndarray) -> np.ndarray:
    """float64 [labels, m]: sums over images of a table [n · labels, m], each image by its weight [n]."""
    row = np.repeat(np.arange(table.shape[0]), np.diff(table.indptr))
    m = table.shape[1]
    place = row % n_labels * m + table.indices
    return np.bincount(place, table.data * weights[row // n_labels], minlength=n_labels * m).reshape(n_labels, m)


def masks_of(classes: np.ndarray, n_labels: int, dilate: bool) -> csr_array:
    """float64 CSR [n · labels, n · h · w] of ones: the cells of each label in each image, row image · labels + label.

    classes: int [n, h, w], -1 for none. dilate: each mask grown by a 3 × 3 maximum, so that masks may overlap.
    """
    n, h, w = classes.shape
    image, row, column = np.nonzero(classes >= 0)
    label = classes[image, row, column].astype(np.int64)
    reach = (-1, 0, 1) if dilate else (0,)
    mask_of, cells = [], []
    for down in reach:
        for right in reach:
            y, x = row + down, column + right
            inside = (y >= 0) & (y < h) & (x >= 0) & (x < w)
            mask_of.append((image * n_labels + label)[inside])
            cells.append(((image * h + y) * w + x)[inside])
    table = csr_array(
        (np.ones(sum(map(len, cells))), (np.concatenate(mask_of), np.concatenate(cells))),
        shape=(n * n_labels, n * h * w),
    )
    table.data[:] = 1  # not how many of the label's cells reach here
    return table

"""Best-threshold IoU: for each label the concept and the cutoff that fit it best on one split, scored on another.

In: codes of patches and their classes. Out: the choice, and its intersections and unions in each image.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sae import SparseCodes
from sae.errors import InsightError


@dataclass(frozen=True, eq=False)
class Cutoffs:
    """For each label a concept and the activation from which on a patch counts as the label's."""

    concept: np.ndarray
    """int64 [labels], -1 where no concept is ever active on the label."""
    threshold: np.ndarray
    """float64 [labels]: a patch is the label's where the activation is at least this."""
    iou: np.ndarray
    """float64 [labels]: IoU over all patches that they were chosen on, which flatters; NaN for a label without one."""


def choose_cutoffs(codes: SparseCodes, classes: np.ndarray, n_labels: int) -> Cutoffs:
    """The best concept and cutoff of each label, of all that differ: the largest IoU over all patches together.

    codes: [n, m]; classes: int [n], -1 for none, where an active concept counts against it. Intersection and union are
    summed over patches before they are divided, as in Network Dissection (Bau et al. 2017). Of equals, the smaller
    concept and the higher cutoff. `InsightError` when the two do not fit.
    """
    classes = _classes(codes, classes, n_labels)
    activation = codes.activations.detach().cpu().numpy().astype(np.float64)
    concept = codes.concepts.cpu().numpy().astype(np.int64)
    order = np.lexsort((-activation, concept))
    activation, concept, row = activation[order], concept[order], codes.rows().cpu().numpy()[order]
    number = np.arange(len(order))
    level = np.diff(activation, prepend=np.nan) != 0
    level |= np.diff(concept, prepend=-1) != 0
    last = np.append(np.flatnonzero(level)[1:], len(order))[np.cumsum(level) - 1]  # ends of equal activations
    active = last - np.searchsorted(concept, concept)  # patches at least as active
    label = classes[row]
    on = np.flatnonzero(label >= 0)  # the best cutoff is always that of a patch of the label
    on = on[np.lexsort((number[on], label[on], concept[on]))]
    pair = concept[on] * n_labels + label[on]
    key = pair * (len(order) + 1) + last[on]
    hits = np.searchsorted(key, key, side="right") - np.searchsorted(pair, pair)
    size = np.bincount(classes[classes >= 0], minlength=n_labels)
    iou = hits / (size[label[on]] + active[on] - hits)
    best = np.lexsort((-activation[on], concept[on], -iou, label[on]))
    chosen = on[best]
    found, first = np.unique(label[chosen], return_index=True)
    cutoffs = Cutoffs(np.full(n_labels, -1), np.full(n_labels, np.inf), np.where(size > 0, 0.0, np.nan))
    cutoffs.concept[found] = concept[chosen[first]]
    cutoffs.threshold[found] = activation[chosen[first]]
    cutoffs.iou[found] = iou[best[first]]
    return cutoffs


@dataclass(frozen=True, eq=False)
class CutoffScores:
    """How chosen concepts and cutoffs do on n images."""

    common: np.ndarray
    """int64 [n, labels]: patches of the label at which the concept reaches the cutoff."""
    either: np.ndarray
    """int64 [n, labels]: patches of the label, or at which the concept reaches the cutoff."""
    present: np.ndarray
    """bool [n, labels]: the image has a patch of the label."""

    def iou_of_labels(self, weights: np.ndarray | None = None) -> np.ndarray:
        """float64 [labels]: IoU over the patches of all images together; NaN for a label that none has."""
        weights = np.ones(len(self.common)) if weights is None else weights
        union = weights @ self.either
        occurs = weights @ self.present > 0
        return np.divide(weights @ self.common, union, out=np.full(len(union), np.nan), where=occurs)

    def mean_iou(self, weights: np.ndarray | None = None) -> float:
        """Mean over the labels that occur; NaN without any."""
        found = self.iou_of_labels(weights)
        return float(np.nanmean(found)) if np.isfinite(found).any() else float("nan")


def score_cutoffs(codes: SparseCodes, classes: np.ndarray, tokens: int, cutoffs: Cutoffs) -> CutoffScores:
    """Scores on images other than those chosen on: codes [n · tokens, m], classes int [n · tokens], -1 none."""
    labels = len(cutoffs.concept)
    classes = _classes(codes, classes, labels)
    if tokens < 1 or codes.n % tokens:
        raise InsightError(f"codes: expected rows of whole images of {tokens} patches, found {codes.n} rows")
    if cutoffs.concept.max(initial=-1) >= codes.n_concepts:
        found = f"{codes.n_concepts} and concept {cutoffs.concept.max()}"
        raise InsightError(f"cutoffs: expected concepts below the codes' number, found {found}")
    table = codes.to_scipy().tocsc()
    sums = np.zeros((3, codes.n // tokens, labels), dtype=np.int64)
    for label, (concept, threshold) in enumerate(zip(cutoffs.concept, cutoffs.threshold)):
        of_label = classes == label
        answered = np.zeros(codes.n, dtype=bool)
        if concept >= 0:
            entries = slice(table.indptr[concept], table.indptr[concept + 1])
            answered[table.indices[entries][table.data[entries] >= threshold]] = True
        for kind, patches in enumerate((of_label & answered, of_label | answered, of_label)):
            sums[kind, :, label] = patches.reshape(-1, tokens).sum(1)
    return CutoffScores(sums[0], sums[1], sums[2] > 0)


def _classes(codes: SparseCodes, classes: np.ndarray, n_labels: int) -> np.ndarray:
    classes = np.asarray(classes).ravel().astype(np.int64)
    if not bool(codes.activations.isfinite().all()):
        raise InsightError("codes: expected finite activations, found others; look for NaN in the features")
    if len(classes) != codes.n:
        raise InsightError(f"classes: expected one for each of {codes.n} patches, found {len(classes)}")
    if len(classes) and not -1 <= classes.min() <= classes.max() < n_labels:
        found = f"{classes.min()} to {classes.max()}"
        raise InsightError(f"classes: expected -1 to {n_labels - 1}, found {found}")
    return classes

"""Faithfulness: what a decision loses when the concepts said to make it are removed, and what they make of it alone.

In: images as rows of features, any head that decides on them, and how much each concept is said to contribute. Out: the
decision's logit and probability after every removal, against as many random active concepts of the same images.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_array
from scipy.special import softmax

from sae.errors import InsightError

Decide = Callable[[csr_array], np.ndarray]
"""Rows [n, F] to logits [n, C], or [n] (or [n, 1]) for two classes: the log-odds of the second."""
STEPS = (0, 1, 2, 3, 5, 10, 20)


@dataclass(frozen=True, eq=False)
class Curve:
    """The decided class of each image with more and more concepts removed (or put back)."""

    steps: np.ndarray
    """int64 [k], rising from 0: concepts removed or put back."""
    logit: np.ndarray
    """float64 [n, k]: of two classes the log-odds of the decided one."""
    probability: np.ndarray
    """float64 [n, k]"""

    def area(self, weights: np.ndarray | None = None) -> float:
        """Area under the mean probability over the steps, the last step being 1."""
        mean = np.average(self.probability, axis=0, weights=weights)
        return float(((mean[1:] + mean[:-1]) / 2 * np.diff(self.steps)).sum() / self.steps[-1])


@dataclass(frozen=True, eq=False)
class Faithfulness:
    """Curves of n images, by the contributions and of random concepts (mean over draws)."""

    targets: np.ndarray
    """int64 [n]: the class that the head decided for, with all concepts there."""
    deletion: Curve
    """All concepts, less the first ones."""
    insertion: Curve
    """No concept, and the first ones. A low area under `deletion` and a high one here speak for the contributions."""
    random_deletion: Curve
    random_insertion: Curve

    def drop(self, n: int) -> tuple[np.ndarray, np.ndarray]:
        """float64 [images] each: by how much the logit falls without the first n concepts, and without n random ones.

        `InsightError` when n is none of the steps.
        """
        steps = self.deletion.steps
        if n not in steps:
            raise InsightError(f"faithfulness: expected one of the steps {steps.tolist()}, found {n}")
        top, random = (
            curve.logit[:, 0] - curve.logit[:, int(np.searchsorted(steps, n))]
            for curve in (self.deletion, self.random_deletion)
        )
        return top, random

    def ratio(self, n: int, weights: np.ndarray | None = None) -> float:
        """Mean fall without the first n concepts over that without n random ones; infinite if the latter is no fall."""
        top, random = (float(np.average(drop, weights=weights)) for drop in self.drop(n))
        return top / random if random > 0 else float("inf") if top > 0 else float("nan")


def faithfulness(
    decide: Decide,
    x: csr_array,
    contributions: csr_array,
    *,
    steps: Sequence[int] = STEPS,
    draws: int = 10,
    seed: int = 0,
) -> Faithfulness:
    """Removes concepts from images and asks the head again.

    x: [n, F] features that are 0 where a concept is not active; feature f is of concept f mod m, so that "max+mean"
    pooling loses both of its features at once. contributions: [n, m] to the decided class, which order the concepts of
    an image: largest first, of equals the smaller number. Random concepts are drawn, without repeats, from those that
    are active in the image. An image with fewer active concepts than a step has none left there. Nothing is assumed of
    the head: it is asked anew at every step, always of all n rows in their order. Deletion and insertion as RISE has
    them for pixels (Petsiuk et al. 2018). `InsightError` when shapes do not fit, or a contribution or logit is not
    finite.
    """
    x, contributions = csr_array(x), csr_array(contributions)
    (n, n_features), m = x.shape, contributions.shape[1]
    if contributions.shape[0] != n or not n or not m or n_features % m:
        expected = "rows of features, and contributions of as many rows and F, or F / 2, concepts"
        raise InsightError(f"faithfulness: expected {expected}, found {list(x.shape)} and {list(contributions.shape)}")
    if not np.isfinite(contributions.data).all():
        raise InsightError("contributions: expected finite numbers, found others; look for NaN in codes or weights")
    at = np.unique(np.asarray([0, *steps], dtype=np.int64))
    if at[0] < 0 or at[-1] < 1 or draws < 1:
        found = f"{list(steps)} and {draws}"
        raise InsightError(f"faithfulness: expected steps from 0 up, one above, and at least 1 draw; found {found}")
    targets = _logits(decide, x).argmax(1)
    row = np.repeat(np.arange(n), np.diff(x.indptr))
    active = x.data != 0
    pairs, pair_of_active = np.unique(row[active] * m + x.indices[active] % m, return_inverse=True)
    pair_of_entry = np.zeros(len(row), dtype=np.int64)  # entries of 0 are removed with whatever, and stay 0
    pair_of_entry[active] = pair_of_active
    image, concept = np.divmod(pairs, m)
    said = _looked_up(contributions, pairs)

    def curve(kept: np.ndarray) -> Curve:
        """kept: bool [steps, entries]."""
        logits = [_logits(decide, csr_array((x.data * k, x.indices, x.indptr), shape=x.shape)) for k in kept]
        every = np.arange(n)
        chances = [softmax(one, axis=1)[every, targets] for one in logits]
        own = [one[every, targets] - (0 if one.shape[1] > 2 else one[every, 1 - targets]) for one in logits]
        return Curve(at, np.stack(own, axis=1), np.stack(chances, axis=1))

    def curves(order: np.ndarray) -> tuple[Curve, Curve]:
        """Deletion and insertion; order: of the pairs, image by image, the first to go first."""
        place = np.empty(len(pairs), dtype=np.int64)
        place[order] = np.arange(len(pairs)) - np.searchsorted(image, image)
        place_of_entry = place[pair_of_entry] if len(pairs) else pair_of_entry
        return curve(place_of_entry >= at[:, None]), curve(place_of_entry < at[:, None])

    random = np.random.default_rng(seed)
    deletion, insertion = curves(np.lexsort((concept, -said, image)))
    drawn = [curves(np.lexsort((random.random(len(pairs)), image))) for _ in range(draws)]
    means = [
        Curve(at, *(np.mean([getattr(of[kind], field) for of in drawn], axis=0) for field in ("logit", "probability")))
        for kind in (0, 1)
    ]
    return Faithfulness(targets, deletion, insertion, *means)


def _logits(decide: Decide, x: csr_array) -> np.ndarray:
    """float64 [n, C]; of two classes 0 and the log-odds of the second."""
    logits = np.asarray(decide(x), dtype=np.float64).reshape(x.shape[0], -1)
    if not np.isfinite(logits).all():
        raise InsightError("faithfulness: expected finite logits, found others; look for NaN in features or weights")
    return logits if logits.shape[1] > 1 else np.column_stack([np.zeros(len(logits)), logits])


def _looked_up(table: csr_array, pairs: np.ndarray) -> np.ndarray:
    """Entries of a table [n, m] at row · m + column; 0 where it has none."""
    m = table.shape[1]
    key = np.repeat(np.arange(table.shape[0]), np.diff(table.indptr)) * m + table.indices
    keys, of = np.unique(key, return_inverse=True)
    values = np.append(np.bincount(of, table.data, minlength=len(keys)), 0.0)
    place = np.searchsorted(keys, pairs)
    found = np.append(keys, -1)[place] == pairs
    return np.where(found, values[place], 0.0)

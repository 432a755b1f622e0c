"""Doubly right: whether the class is right, and right for a reason that is right too (Mao et al. 2023).

In: the best (class, rationale) pairs of each image, and the gold ones. Out: an outcome for each image, and shares.
`top_pairs` gives the best pairs of a model of P(rationale) * P(class | rationale).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor

from sae.errors import InsightError

OUTCOMES = ("RR", "RW", "WR", "WW")
"""Class right for the right reason, class right for a wrong one, class wrong though the reason is right, both wrong."""


class PairNames(NamedTuple):
    """Names of classes, as keys of the released files, and of rationales."""

    classes: Sequence[str]
    rationales: Sequence[str]


@dataclass(frozen=True, eq=False)
class DoublyRight:
    """Outcomes of n images."""

    outcome: np.ndarray
    """int64 [n]: places in `OUTCOMES`."""
    predicted: np.ndarray
    """int64 [n]: the class most of the best pairs are of."""

    def shares(self, weights: np.ndarray | None = None) -> dict[str, float]:
        """Shares of the images by outcome, which sum to 1, and "accuracy", which is RR + RW. weights: [n]."""
        weights = np.ones(len(self.outcome)) if weights is None else weights
        counts = np.bincount(self.outcome, weights, minlength=len(OUTCOMES)) / weights.sum()
        return {**dict(zip(OUTCOMES, counts.tolist())), "accuracy": float(counts[0] + counts[1])}


class TopPairs(NamedTuple):
    """The best pairs of each image."""

    pairs: Int64[Tensor, "B k 2"]
    """(class, rationale), the best first."""
    exact: np.ndarray
    """bool [B]: no rationale that was not kept could have made a better pair."""


def doubly_right(
    top: Int64[Tensor, "n k 2"] | np.ndarray,
    gold_class: Int64[Tensor, " n"] | np.ndarray,
    gold_rationale: Tensor | np.ndarray,
    *,
    rule: Literal["strict", "released"] = "strict",
    names: PairNames | None = None,
) -> DoublyRight:
    """Outcome of each image from its k best pairs (class, rationale), the best first (k = 5 in the paper).

    gold_rationale: int [n], or bool [n, R] where several are right. The predicted class c is that of most of the k
    pairs, of equals the better ranked. RR: c is the gold class, and a pair of it with a gold rationale is there; RW: c
    is the gold class otherwise; WR: c is another class, and a pair of c with a gold rationale is there; WW: the rest.

    rule "strict": by number, exactly. "released": as the published evaluator decides on text, with its defects, to
    compare with its figures; needs `names` and one gold rationale. There the gold class is looked for with "_" turned
    into " " in a text that has the key as it is, so a key with "_" is never RR; names are found inside longer names;
    and votes end with the first pair that matches. `InsightError` for numbers and shapes that do not fit, or a pair
    that is twice among the best of an image.
    """
    top, gold_class, gold_rationale = (
        one.detach().cpu().numpy() if isinstance(one, Tensor) else np.asarray(one)
        for one in (top, gold_class, gold_rationale)
    )
    _check(top, gold_class, gold_rationale)
    if rule == "released":
        if names is None or gold_rationale.ndim > 1:
            raise InsightError('rule "released": expected names and one gold rationale an image, found otherwise')
        return _released(top, gold_class, gold_rationale, names)
    if rule != "strict":
        raise InsightError(f'rule: expected "strict" or "released", found {rule!r}')
    classes, rationales = top[..., 0], top[..., 1]
    votes = (classes[:, :, None] == classes[:, None]).sum(2)
    every = np.arange(len(top))
    predicted = classes[every, votes.argmax(1)]  # argmax: of equals the first, which is the better ranked
    if gold_rationale.ndim > 1:
        reason = gold_rationale[every[:, None], rationales]
    else:
        reason = rationales == gold_rationale[:, None]
    right = predicted == gold_class
    backed = (reason & (classes == predicted[:, None])).any(1)
    return DoublyRight(np.where(right, 0, 2) + ~backed, predicted)


def top_pairs(
    log_p_r: Float[Tensor, "B R"],
    kept: Int64[Tensor, "B m"],
    log_p_c_given_r: Float[Tensor, "B m C"],
    *,
    k: int = 5,
) -> TopPairs:
    """The k best pairs by log P(r) + log P(c | r), over the m rationales kept of each image; C x R are never there.

    Of equals, the rationale that was kept first, then the smaller class. `InsightError` when shapes do not fit, there
    are less than k pairs, or a rationale is kept twice.
    """
    if log_p_c_given_r.ndim != 3 or kept.shape != log_p_c_given_r.shape[:2] or log_p_r.shape[:1] != kept.shape[:1]:
        found = f"{list(log_p_r.shape)}, {list(kept.shape)} and {list(log_p_c_given_r.shape)}"
        raise InsightError(f"top pairs: expected [B, R], kept [B, m] and [B, m, C], found {found}")
    m, n_classes = log_p_c_given_r.shape[1:]
    ordered = kept.sort(dim=1).values
    if bool((ordered[:, 1:] == ordered[:, :-1]).any()):
        raise InsightError("kept: expected each rationale once for each image, found one twice")
    if not 1 <= k <= m * n_classes:
        raise InsightError(f"k: expected 1 to {m * n_classes}, the pairs there are, found {k}")
    joint = (log_p_r.gather(1, kept)[..., None] + log_p_c_given_r).detach().flatten(1)
    best, at = joint.sort(dim=1, descending=True, stable=True)
    at = at[:, :k]
    pairs = torch.stack([at % n_classes, kept.gather(1, at // n_classes)], dim=2)
    left = log_p_r.detach().scatter(1, kept, -torch.inf).amax(1)  # P(c, r) is at most P(r)
    return TopPairs(pairs, (best[:, k - 1] >= left).cpu().numpy())


def _released(top: np.ndarray, gold_class: np.ndarray, gold_rationale: np.ndarray, names: PairNames) -> DoublyRight:
    """The published evaluator (whyprompt/eval_clip_fulldoublyright.py of cvlab-columbia/DoubleRight) on names."""
    outcome, predicted = [], []
    for pairs, c, r in zip(top.tolist(), gold_class.tolist(), gold_rationale.tolist()):
        folder = names.classes[c].replace("/", "__")  # images of the class lie in a folder of this name
        wanted, reason = folder.replace("__", "/").replace("_", " "), names.rationales[r]
        texts = [f"This is a photo of a {names.classes[i]} because there is {names.rationales[j]}" for i, j in pairs]
        matches = [wanted in text and reason in text for text in texts]
        counted = [i for i, _ in pairs][: matches.index(True) + 1 if any(matches) else len(pairs)]
        chosen = max(counted, key=lambda i: (counted.count(i), -counted.index(i)))
        key = names.classes[chosen]
        predicted.append(chosen)
        if key == folder:
            outcome.append(0 if any(matches) else 1)
        else:
            outcome.append(2 if any(key in text and reason in text for text in texts) else 3)
    return DoublyRight(np.array(outcome, dtype=np.int64), np.array(predicted, dtype=np.int64))


def _check(top: np.ndarray, gold_class: np.ndarray, gold_rationale: np.ndarray) -> None:
    shaped = top.ndim == 3 and top.shape[2] == 2 and top.shape[0] and top.shape[1]
    if not shaped or gold_class.shape != top.shape[:1] or gold_rationale.shape[:1] != top.shape[:1]:
        found = f"{list(top.shape)}, {list(gold_class.shape)} and {list(gold_rationale.shape)}"
        raise InsightError(
            f"doubly right: expected pairs [n, k, 2], gold classes [n] and rationales of n, found {found}"
        )
    several = gold_rationale.ndim == 2
    kinds = (top.dtype.kind, gold_class.dtype.kind, gold_rationale.dtype.kind)
    if kinds[0] not in "iu" or kinds[1] not in "iu" or kinds[2] not in ("b" if several else "iu"):
        found = f"{top.dtype}, {gold_class.dtype} and {gold_rationale.dtype}"
        raise InsightError(f"doubly right: expected integers, gold rationales int [n] or bool [n, R], found {found}")
    if top.min() < 0 or (several and top[..., 1].max() >= gold_rationale.shape[1]):
        raise InsightError(f"pairs: expected classes and rationales from 0 up, found {top.min()} to {top.max()}")
    key = np.sort(top[..., 0].astype(np.int64) * (int(top[..., 1].max()) + 1) + top[..., 1], axis=1)
    if (key[:, 1:] == key[:, :-1]).any():
        raise InsightError("pairs: expected each pair once among the best of an image, found one twice; deduplicate")

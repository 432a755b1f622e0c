"""The whole table of pairs in float64, as methods never have it, to check them by; and how to ask them in float64."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from insight.backbones import Backbone
from insight.methods import Batch, FineTuned, Output
from insight.methods.bank import ConceptBank
from insight.methods.towers import PhotoVectors

CONCEPTS = {
    "robin": ["a red breast", "a thin beak"],
    "kit_fox": ["large ears", "a long tail", "four legs"],
    "cat": ["four legs", "whiskers"],
}
WORDS = ("robin", "kit fox", "cat")
RATIONALES = ("a red breast", "a thin beak", "large ears", "a long tail", "four legs", "whiskers")
OF_CLASS = ((0, 1), (2, 3, 4), (4, 5))


def pairs_bank() -> ConceptBank:
    """Three classes of 2, 3 and 2 rationales; the last two share one."""
    return ConceptBank.of(CONCEPTS)


class Table:
    """log softmaxes of cosines times the scale, of unit vectors [n, d]."""

    def __init__(self, backbone: Backbone, pooled: Tensor) -> None:
        with torch.no_grad():
            both = [f"This is a photo of a {c} because there is {r}" for c in WORDS for r in RATIONALES]
            pairs, rationales, classes = (
                backbone.encode_text(texts).double().numpy()
                for texts in (
                    both,
                    [f"This is a photo of something because there is {r}" for r in RATIONALES],
                    [f"a photo of a {c}" for c in WORDS],
                )
            )
        photos = pooled.double().numpy()
        photos = photos / np.linalg.norm(photos, axis=1, keepdims=True)
        self.pairs = backbone.logit_scale * np.einsum("bd,crd->bcr", photos, pairs.reshape(3, 6, -1))
        self.rationales = log_softmax(backbone.logit_scale * photos @ rationales.T, 1)
        self.classes = log_softmax(backbone.logit_scale * photos @ classes.T, 1)

    def joint(self, order: str) -> np.ndarray:
        """log P(c, r | I), [n, C, R]."""
        if order == "r->c":
            return self.rationales[:, None] + log_softmax(self.pairs, 1)
        if order == "c->r":
            return self.classes[:, :, None] + log_softmax(self.pairs, 2)
        if order == "independent":
            return self.classes[:, :, None] + self.rationales[:, None]
        return self.pairs - np.log(np.exp(self.pairs).sum((1, 2), keepdims=True))  # one softmax over all


def log_softmax(scores: np.ndarray, axis: int) -> np.ndarray:
    return scores - np.log(np.exp(scores).sum(axis, keepdims=True))


def log_sum(scores: np.ndarray, axis: int) -> np.ndarray:
    return np.log(np.exp(scores).sum(axis))


def ask(method: FineTuned, pooled: Tensor) -> Output:
    """In float64."""
    return method.output(PhotoVectors(pooled.double(), pooled.double()))


def batch_of(pooled: Tensor, labels: list[int], right: list[list[int]] | None) -> Batch:
    """For a method whose encoder is frozen, in float64. right: the gold rationales of each photo."""
    concepts = None
    if right is not None:
        concepts = torch.zeros(len(right), len(RATIONALES))
        for row, own in zip(concepts, right, strict=True):
            row[own] = 1
    kept = torch.stack([pooled.double()] * 2, 1)
    return Batch(kept, torch.tensor(labels), concepts, torch.Generator())

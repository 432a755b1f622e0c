"""Photographs named by their concepts: a sparse head on pooled codes, what its decisions rest on, and nulls.

In: a `Named` set and the codes of its images. Out: `HeadAnswers`: what `Answers` has, and for every photograph tested
how many concepts make up its decision, and what is lost with its five foremost concepts and with five others.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy.sparse import csr_array
from sklearn.exceptions import ConvergenceWarning
from torch import Tensor
from torch.nn.functional import normalize

from benchmarks.heads.named import Named
from benchmarks.heads.pooled import Pooled
from benchmarks.heads.probes import Answers, all_classes
from benchmarks.heads.settings import DRAW, HEAD, REMOVED
from insight.evaluation import concepts_to_reach, faithfulness
from insight.heads import ConceptClassifier
from sae import SparseCodes


@dataclass(frozen=True)
class HeadAnswers(Answers):
    """Each float64 [tested]: concepts that reach 90 % of what speaks for the decision; the logit lost when
    the `REMOVED` concepts that speak most for it are taken away, and when as many of the image's others are."""

    concepts: np.ndarray
    lost: np.ndarray
    lost_by_chance: np.ndarray
    weights: float
    """Concepts that the head uses for a class, mean over classes and folds."""


def head_answers(named: Named, pooled: Sequence[Pooled], names: np.ndarray | None) -> HeadAnswers:
    """On each fold a head fitted on its training photographs alone, its strength included. pooled: the codes that each
    fold is read by; names: bool [m], which concepts have a name, where they were named."""
    parts = [_on_fold(named, codes, names, *fold) for codes, fold in zip(pooled, named.folds, strict=True)]
    scores, concepts, lost, by_chance, strengths, inner, weights = zip(*parts, strict=True)
    return HeadAnswers(
        np.concatenate(scores),
        tuple(strengths),
        float(np.mean(inner)),
        concepts=np.concatenate(concepts).astype(np.float64),
        lost=np.concatenate(lost),
        lost_by_chance=np.concatenate(by_chance),
        weights=float(np.mean(weights)),
    )


def lost_without(
    head: ConceptClassifier, rows: csr_array, found: csr_array, named: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray]:
    """How far each image's logit falls without the `REMOVED` concepts that add most to it, and without as many of its
    active concepts drawn at random. rows: [n, F]; found: [n, m], what each concept adds; named: bool [m], where only
    concepts with a name may be taken away first."""
    order = found.copy()
    if named is not None:
        order.data[~named[order.indices]] = -1 - np.abs(order.data).max(initial=0)
    return faithfulness(head.decision_function, rows, order, steps=(REMOVED,), seed=DRAW).drop(REMOVED)


def shuffled_accuracy(named: Named, pooled: Sequence[Pooled], strengths: Sequence[float]) -> float:
    """Accuracy of heads fitted on training labels dealt anew, with the strengths that the true ones led to."""
    rng = np.random.default_rng(DRAW)
    right = []
    for codes, (train, test), strength in zip(pooled, named.folds, strengths, strict=True):
        rows = codes.codes.to_scipy()
        head = _head(codes, DRAW).set_params(alpha=strength).fit(rows[train], rng.permutation(named.truth[train]))
        right.append(head.predict(rows[test]) == named.truth[test])
    return float(np.concatenate(right).mean())


def by_text(images: Tensor, texts: Tensor, named: Named) -> Answers:
    """The class whose text is nearest to each image's vector [n, d]: no label is used."""
    scores = normalize(images, dim=1) @ texts.T
    return Answers(scores[torch.from_numpy(named.tested)].numpy(), (), float("nan"))


def decoded_means(pooled: Pooled) -> Tensor:
    """[n, d]: what a dictionary of patches reconstructs of the mean patch of each image: the mean of reconstructions.

    Of codes pooled to "max+mean", whose second half are means.
    """
    codes, m = pooled.codes, pooled.made.dictionary.n_concepts
    mean = codes.concepts >= m
    parts = codes.rows()[mean], codes.concepts[mean] - m, codes.activations[mean]
    return pooled.made.dictionary.decode(SparseCodes.from_entries(*parts, codes.n, m))


def _on_fold(
    named: Named, pooled: Pooled, names: np.ndarray | None, train: np.ndarray, test: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, float, float, float]:
    rows, m = pooled.codes.to_scipy(), pooled.made.dictionary.n_concepts
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # steps of the path may stop after `max_iter`
        head = _head(pooled, pooled.made.seed).fit(rows[train], named.truth[train])
    scores = all_classes(head, rows[test], named)
    found, _ = head.contributions(rows[test])
    lost, by_chance = lost_without(head, rows[test], found, names)
    used = float(np.mean([len(np.unique(np.flatnonzero(row) % m)) for row in head.coef_]))
    return (
        scores,
        concepts_to_reach(found),
        lost,
        by_chance,
        head.alpha_,
        float(head.path_.accuracy[head.path_.chosen]),
        used,
    )


def _head(pooled: Pooled, seed: int) -> ConceptClassifier:
    """Codes of image vectors are features as they are: one a concept, as of a maximum."""
    settings = HEAD if pooled.made.spec.of == "patches" else {**HEAD, "pooling": "max"}
    return ConceptClassifier(**settings, random_state=seed)

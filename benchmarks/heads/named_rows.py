"""Rows of `benchmarks.classification` for one set: accuracy by every method, and what concept heads rest on.

A row: {"part", "data", "images", "by", "figure", "against", "value", "interval", "each"}. `against` says what a
difference is taken from or what null a figure is of; `each` has the figure of every dictionary of a kind.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from benchmarks.concepts.draws import Figure, quotient, share
from benchmarks.heads.classified import HeadAnswers, by_text, decoded_means, head_answers, shuffled_accuracy
from benchmarks.heads.figures import Row, auc, difference_row, of_photos, row
from benchmarks.heads.named import Named
from benchmarks.heads.pooled import MEAN, POOLED, WHOLE, Pooled, opaque
from benchmarks.heads.probes import Answers, linear_probe, neighbours
from benchmarks.heads.settings import CHOSEN, DRAW, OURS

PART = "classification"
ACCURACY, AUC, CONCEPTS, WEIGHTS, LOST, ACTIVE = (
    "accuracy",
    "AUC",
    "concepts to 90 % of the logit",
    "concepts a class weighs",
    "logit lost without the 5 foremost concepts, of that without 5 others",
    "concepts active",
)
PROBE, NEAREST, HEADS, TEXT = "linear probe", "k-NN", "concept head", "texts alone"
BEST_PROBE = "the linear probe"
SHUFFLED, COMMONEST = "training labels shuffled", "always the commonest class"


class NamedRows:
    """The rows of one set of photographs."""

    def __init__(self, named: Named) -> None:
        self.named = named
        self.tested = len(named.tested)
        self.truth = named.truth[named.tested]
        self.base: Row = {"part": PART, "data": named.name, "images": self.tested, "against": None}

    def opaque(self, texts: Tensor) -> tuple[list[Row], Answers, str]:
        """The rows of opaque features; and the probe on pooled patches that is best on training photographs."""
        features, rows, probes = opaque(self.named.cache), [], {}
        for by, found in features.items():
            probes[by] = linear_probe(found, self.named)
            rows += self._measured(f"{PROBE}, {by}", [probes[by]])
            rows += self._measured(f"{NEAREST}, {by}", [neighbours(found, self.named)])
        for by in (MEAN, WHOLE):
            rows += self._measured(f"{TEXT}, {by}", [by_text(torch.from_numpy(features[by]), texts, self.named)])
        best = max(POOLED, key=lambda by: probes[by].inner)
        mixed = replace(self.named, truth=np.random.default_rng(DRAW).permutation(self.named.truth))
        null = linear_probe(features[best], mixed, probes[best].chosen)
        rows.append(self._null(f"{PROBE}, {best}", SHUFFLED, float(null.right(self.named).mean())))
        commonest = float((self.truth == np.bincount(self.truth).argmax()).mean())
        rows.append(self._null(HEADS, COMMONEST, commonest))
        return rows, probes[best], best

    def of_kind(
        self,
        kind: Sequence[Sequence[Pooled]],
        names: Sequence[np.ndarray | None],
        probe: Answers,
        texts: Tensor,
    ) -> tuple[list[Row], list[HeadAnswers]]:
        """The rows of one kind of dictionary, and what its heads answered.

        kind: of every seed the codes that each fold is read by; probe: what the heads are held against; names: of each
        seed which concepts have a name (None: they were not named).
        """
        spec = kind[0][0].made.spec
        by = f"{HEADS}, {spec.name}"
        answers = [head_answers(self.named, *one) for one in zip(kind, names, strict=True)]
        rows = [*self._measured(by, answers), *self._against(by, answers, probe), *self._reasons(by, answers)]
        if spec.of == "patches" and not spec.own:
            decoded = [by_text(decoded_means(pooled[0]), texts, self.named) for pooled in kind]
            rows += self._measured(f"{TEXT}, {spec.name}", decoded)
        if spec.name == OURS:
            rows.append(self._null(by, SHUFFLED, shuffled_accuracy(self.named, kind[0], answers[0].chosen)))
        active = [float(np.mean([fold.active for fold in pooled])) for pooled in kind]
        return [*rows, self._plain(by, ACTIVE, active)], answers

    def better(self, general: Sequence[HeadAnswers], own: Sequence[HeadAnswers], probe: Answers) -> list[Row]:
        """The rows of heads on the dictionary that is the better on held-out training photographs, seed by seed."""
        by = f"{HEADS}, {CHOSEN}"
        answers = [max(pair, key=lambda one: one.inner) for pair in zip(general, own, strict=True)]
        return [*self._measured(by, answers), *self._against(by, answers, probe), *self._reasons(by, answers)]

    def _measured(self, by: str, answers: Sequence[Answers]) -> list[Row]:
        draws = of_photos(self.tested, len(answers))
        base = {**self.base, "by": by, "chosen": [list(map(str, one.chosen)) for one in answers]}
        return [row({**base, "figure": name}, draws, of) for name, of in self._figures(answers).items()]

    def _against(self, by: str, answers: Sequence[Answers], probe: Answers) -> list[Row]:
        draws = of_photos(self.tested, len(answers))
        ours, other = self._figures(answers), self._figures([probe] * len(answers))
        base = {**self.base, "by": by, "against": BEST_PROBE}
        return [difference_row({**base, "figure": name}, draws, ours[name], other[name]) for name in ours]

    def _figures(self, answers: Sequence[Answers]) -> dict[str, Figure]:
        found = {ACCURACY: share([one.right(self.named) for one in answers])}
        if len(self.named.classes) == 2:
            found[AUC] = auc([one.scores[:, 1] - one.scores[:, 0] for one in answers], self.truth == 1)
        return found

    def _reasons(self, by: str, answers: Sequence[HeadAnswers]) -> list[Row]:
        draws, base = of_photos(self.tested, len(answers)), {**self.base, "by": by}
        lost, others = [one.lost for one in answers], [one.lost_by_chance for one in answers]
        return [
            row({**base, "figure": CONCEPTS}, draws, share([one.concepts for one in answers])),
            self._plain(by, WEIGHTS, [one.weights for one in answers]),
            row({**base, "figure": LOST}, draws, quotient(lost, others)),
            row({**base, "figure": "logit lost without the 5 foremost concepts"}, draws, share(lost)),
            row({**base, "figure": "logit lost without 5 others"}, draws, share(others)),
        ]

    def _plain(self, by: str, figure: str, each: list[float]) -> Row:
        value = float(np.mean(each))
        return {**self.base, "by": by, "figure": figure, "value": value, "interval": None, "each": each}

    def _null(self, by: str, against: str, value: float) -> Row:
        return {**self.base, "by": by, "figure": ACCURACY, "against": against, "value": value, "interval": None}

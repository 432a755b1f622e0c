"""Rows of figures from the answers of a mode over several dictionaries, each with its interval.

In: `Answers`, one for each dictionary, of all modes on one set of concepts with one vocabulary. Out: rows
{"part", "data", "vocabulary", "mode", "against", "figure", "value", "interval", "each", "concepts"}: `each` has the
figure of every dictionary, `concepts` how many were asked, `against` what a ratio is over.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from benchmarks.concepts.answers import KIND, STRICT, Answers
from benchmarks.concepts.draws import Draws, Figure, Values, interval, quotient, ratio, share, surest
from insight.defaults import MIN_CONFIDENCE
from naming import calibration_error

Row = dict[str, Any]
OfModes = Mapping[str, Sequence[Answers]]
"""For each mode the answers of each dictionary, all on the same concepts."""
BOTH, EVIDENCE, SEEDS = "both sets", "halves of the evidence", "another seed's dictionary"
OPEN, CLOSED = "all words", "the set's own labels"
SHARES = tuple(part / 10 for part in range(1, 11))
HALF = 0.5
OVER_LABELS = ", labels drawn anew"
ABSTAINED = (f"top-1 {KIND}", f"top-1 {STRICT}")


class Table:
    """The figures of one set of concepts and one vocabulary."""

    def __init__(self, data: str, vocabulary: str, answers: OfModes, seed: int) -> None:
        self.answers = answers
        some = next(iter(answers.values()))
        self.draws = Draws.of_concepts([one.concepts for one in some], seed)
        self.over_labels = Draws.of_labels([one.labels for one in some], seed)
        self._base: Row = {"part": "names", "data": data, "vocabulary": vocabulary, "against": None}
        self._base["concepts"] = [len(one.concepts) for one in some]

    def shares(self) -> list[Row]:
        """The mean of every figure of every mode."""
        return [
            self._row(mode, figure, self._mean(mode, figure))
            for mode, answers in self.answers.items()
            for figure in answers[0].values
        ]

    def ratios(self, figures: Sequence[str], modes: Sequence[str], against: Sequence[str]) -> list[Row]:
        """Each mode's figure over those of others, paired; also with labels drawn anew in place of concepts."""
        rows = []
        for figure in figures:
            for mode in modes:
                for other in (other for other in against if other != mode):
                    pair = self._mean(mode, figure), self._mean(other, figure)
                    for suffix, draws in (("", self.draws), (OVER_LABELS, self.over_labels)):
                        value, bounds = ratio(draws, *pair)
                        each = [a / b if b else None for a, b in zip(*(draws.each(side) for side in pair), strict=True)]
                        rows.append({**self._base, "part": "ratio", "mode": mode, "against": other})
                        rows[-1] |= {"figure": figure + suffix, "value": value, "interval": bounds, "each": each}
        return rows

    def abstention(self) -> list[Row]:
        """How right the surest share of names is, and the surest half over all."""
        rows = []
        for mode, answers in self.answers.items():
            confidence = [one.confidence for one in answers]
            for figure in ABSTAINED:
                values = [one.values[figure] for one in answers]
                for part in SHARES:
                    rows.append(self._row(mode, f"{figure}, surest {part:.0%}", surest(values, confidence, part)))
                value, bounds = ratio(self.draws, surest(values, confidence, HALF), share(values))
                rows.append({**self._base, "part": "abstention", "mode": mode, "against": "all", "each": None})
                rows[-1] |= {"figure": f"{figure}, surest half", "value": value, "interval": bounds}
                if all(one.believed for one in answers):
                    rows += self._believed(mode, figure, confidence, values)
        return rows

    def _believed(self, mode: str, figure: str, confidence: Values, values: Values) -> list[Row]:
        """Where confidence is a chance of being right: how many names are likely enough, how right those are, and how
        far confidence is from the share that is right."""
        sure = [(one >= MIN_CONFIDENCE).astype(np.float64) for one in confidence]
        right = [one * of for one, of in zip(sure, values, strict=True)]
        rows = [self._row(mode, f"{figure}, named", quotient(right, sure)), self._row(mode, "named", share(sure))]
        value, bounds = ratio(self.draws, quotient(right, sure), share(values))
        rows.append({**self._base, "part": "abstention", "mode": mode, "against": "all", "each": None})
        rows[-1] |= {"figure": f"{figure}, named", "value": value, "interval": bounds}
        named = [np.isfinite(one) for one in confidence]
        each = [calibration_error(one[n], of[n]) for one, of, n in zip(confidence, values, named, strict=True)]
        rows.append({**self._base, "part": "calibration", "mode": mode, "figure": f"{figure}, calibration error"})
        rows[-1] |= {"value": float(np.mean(each)), "interval": None, "each": each}
        return rows

    def _mean(self, mode: str, figure: str) -> Figure:
        return share([one.values[figure] for one in self.answers[mode]])

    def _row(self, mode: str, figure: str, of: Figure) -> Row:
        drawn = interval(self.draws.drawn(of))
        found = {"value": self.draws.value(of), "interval": drawn, "each": self.draws.each(of)}
        return {**self._base, "mode": mode, "figure": figure, **found}

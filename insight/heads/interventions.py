"""What a head would say if concepts were removed or set: its rows edited, its logits summed again.

An intervention acts on the sum: taking a concept out of a photo takes exactly its contribution out of every logit. The
length ‖x̂‖ that a text head divides by stays that of the photo.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from copy import copy
from dataclasses import replace
from numbers import Integral
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

import numpy as np
from jaxtyping import Float64, Int64
from scipy.sparse import csr_array

from sae.errors import InsightError

from .head import Head, class_probabilities, predicted

if TYPE_CHECKING:
    from ..concept import Concept
    from .text_head import TextHead

ConceptName: TypeAlias = int | str
"""A concept's number, or with a model its title (every concept with that title is meant)."""
T = TypeVar("T", bound="Interventions")
Value: TypeAlias = float | Sequence[float]
"""What a concept is set to: a number for each of its features, or one for all of them."""


class Interventions(ABC):
    """The part of a fitted classifier that edits concepts. A concept stands for those that were merged into it."""

    coef_: Float64[np.ndarray, "rows F"]
    intercept_: Float64[np.ndarray, " rows"]
    classes_: np.ndarray
    text_: TextHead | None
    model: Any

    @abstractmethod
    def _head(self) -> Head: ...

    @abstractmethod
    def _rows(self, X: Any) -> csr_array: ...

    @abstractmethod
    def _fit_intercept(self, X: Any, y: Any) -> Float64[np.ndarray, " rows"]: ...

    def decision_with(
        self, X: Any, remove: Iterable[ConceptName] = (), set: Mapping[ConceptName, Value] | None = None
    ) -> Float64[np.ndarray, "n ..."]:
        """`decision_function`, with concepts silent (`remove`) or as strong as said (`set`) in every image.

        `set`: {concept: activation}; a number is the value of all features of the concept, as if it stood so strongly
        on every patch; with pooling "max+mean" a pair (maximum, mean) is told apart. `InsightError` for concepts that
        are not there and values below 0.
        """
        scores = self._scores_with(X, remove, set)
        return scores if scores.shape[1] > 1 else scores[:, 0]

    def predict_proba_with(
        self, X: Any, remove: Iterable[ConceptName] = (), set: Mapping[ConceptName, Value] | None = None
    ) -> Float64[np.ndarray, "n C"]:
        """`predict_proba`, with concepts removed or set; see `decision_with`."""
        return class_probabilities(self._scores_with(X, remove, set))

    def predict_with(
        self, X: Any, remove: Iterable[ConceptName] = (), set: Mapping[ConceptName, Value] | None = None
    ) -> np.ndarray:
        """`predict`, with concepts removed or set; see `decision_with`."""
        return self.classes_[predicted(self._scores_with(X, remove, set))]

    def debias(self: T, concepts: Iterable[ConceptName], X: Any = None, y: Any = None) -> T:
        """A copy that pays no heed to these concepts: their weights are 0, of the text too.

        With X and y (as for `fit`) the intercepts are fitted anew to what is left; else they stay.
        """
        head = self._head()
        named = self.concept_numbers(concepts)
        other = copy(self)
        other.coef_ = self.coef_.copy()
        other.coef_[:, np.isin(np.arange(head.n_features) % head.n_concepts, named)] = 0
        if self.text_ is not None:
            other.text_ = replace(self.text_, silenced=(*self.text_.silenced, *named.tolist()))
        if X is not None:
            other.intercept_ = other._fit_intercept(X, y)
        return other

    def concept_numbers(self, concepts: Iterable[ConceptName]) -> Int64[np.ndarray, " k"]:
        """Numbers of concepts given by number or title, each followed by those that were merged into it."""
        if isinstance(concepts, str | Integral):
            raise InsightError(f"concepts: expected several, found {concepts!r}; give a list")
        n = self._head().n_concepts
        known: Sequence[Concept] = () if self.model is None else self.model.concepts
        found: list[int] = []
        for concept in concepts:
            if isinstance(concept, str):
                numbers = [entry.id for entry in known if entry.title == concept and entry.shown]
                if not numbers:
                    raise InsightError(f"expected the number or title of a concept, found {concept!r}")
            elif isinstance(concept, Integral) and 0 <= concept < n:
                numbers = [int(concept)]
            else:
                raise InsightError(f"expected concepts of 0 to {n - 1}, found {concept!r}")
            for number in numbers:
                found += [number, *(entry.id for entry in known if entry.merged_into == number)]
        return np.array(list(dict.fromkeys(found)), dtype=np.int64)

    def _scores_with(
        self, X: Any, remove: Iterable[ConceptName], to: Mapping[ConceptName, Value] | None
    ) -> Float64[np.ndarray, "n rows"]:
        head, rows = self._head(), self._rows(X)
        per_concept = head.n_features // head.n_concepts
        gone = [*self.concept_numbers(remove)]
        values: dict[int, float] = {}
        for name, value in (to or {}).items():
            first, *merged = self.concept_numbers([name])
            gone += merged
            for place, number in enumerate(_values(name, value, per_concept)):
                values[place * head.n_concepts + int(first)] = number
        return head.scores(edited(rows, np.array(gone, dtype=np.int64), values, head.n_concepts), head.lengths(rows))


def edited(rows: csr_array, remove: Int64[np.ndarray, " k"], values: Mapping[int, float], n_concepts: int) -> csr_array:
    """Rows [n, F] without the concepts `remove`, and with the features of `values` set to these in every row."""
    touched = np.isin(np.arange(n_concepts), remove)[np.arange(rows.shape[1]) % n_concepts]
    touched[list(values)] = True
    entry_row = np.repeat(np.arange(rows.shape[0]), np.diff(rows.indptr))
    kept = ~touched[rows.indices]
    placed = [feature for feature, value in values.items() if value]
    row = np.concatenate([entry_row[kept], np.repeat(np.arange(rows.shape[0]), len(placed))])
    column = np.concatenate([rows.indices[kept], np.tile(placed, rows.shape[0]).astype(np.int64)])
    data = np.concatenate([rows.data[kept], np.tile([values[feature] for feature in placed], rows.shape[0])])
    return csr_array((data, (row, column)), shape=rows.shape)


def _values(name: ConceptName, value: Value, features: int) -> list[float]:
    numbers = [float(value)] * features if np.ndim(value) == 0 else [float(number) for number in value]  # type: ignore[arg-type, union-attr]
    if len(numbers) != features or not all(0 <= number < np.inf for number in numbers):
        raise InsightError(
            f"set: expected for concept {name} 0 or more, or {features} such numbers, one a feature; found {value!r}"
        )
    return numbers

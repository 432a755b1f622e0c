"""Whether what a concept fires on is alike. In: codes and an outside encoder's embeddings, streamed. Out: MS scores."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..codes import SparseCodes
from ..errors import InsightError


@dataclass(frozen=True, eq=False)
class Monosemanticity:
    """MS of m concepts (Pach et al. 2025)."""

    score: Tensor
    """float64 [m]: mean cosine of the embeddings of two samples, weighted by the concept's activation in both.

    NaN where no two samples have weight: a dead concept, one that fires once, one that never changes.
    """
    baseline: float
    """Mean cosine of any two samples: what a concept scores that fires on everything alike."""

    @property
    def mean(self) -> float:
        """Mean score of the concepts that have one."""
        return float(self.score.nanmean())


class MonosemanticityMeter:
    """MS in one pass: O(nnz · D) work and 8 · m · D bytes for embeddings of width D.

    ã = (a - min a) / (max a - min a) per concept; MS = Σ_{i<j} ã_i ã_j cos(e_i, e_j) / Σ_{i<j} ã_i ã_j over samples.
    The range cancels. The minimum is 0 unless the concept is always on, and then it is subtracted at the end, from the
    sums: so the minimum and how many samples have it are kept beside Σa, Σa², Σa ê and Σê. With b = a - min and ê unit,
    MS = (‖Σ b ê‖² - Σ b²) / ((Σ b)² - Σ b²).
    """

    def __init__(self, n_concepts: int, width: int) -> None:
        self.samples = 0
        self._fired = torch.zeros(n_concepts, dtype=torch.int64)
        self._least = torch.full((n_concepts,), torch.inf, dtype=torch.float64)
        self._at_least = torch.zeros(n_concepts, dtype=torch.int64)
        self._sums = torch.zeros(n_concepts, dtype=torch.float64)
        self._squares = torch.zeros(n_concepts, dtype=torch.float64)
        self._vectors = torch.zeros(n_concepts, width, dtype=torch.float64)
        self._vector = torch.zeros(width, dtype=torch.float64)

    def update(self, codes: SparseCodes, embeddings: Tensor) -> None:
        """Take in samples: row i of `codes` and of `embeddings` [n, D] are of one image, or of one patch.

        Pool patches to images first (`SparseCodes.max_by_group`) where the embeddings are of images. `InsightError`
        on other shapes and on embeddings that are zero, NaN or infinite: they have no direction.
        """
        shape = (codes.n, self._vectors.shape[1])
        if codes.n_concepts != len(self._sums) or embeddings.shape != shape:
            expected = f"codes of {len(self._sums)} concepts and embeddings {list(shape)}"
            found = f"{codes.n_concepts} and {list(embeddings.shape)}"
            raise InsightError(f"MonosemanticityMeter: expected {expected}, found {found}")
        norms = torch.linalg.vector_norm(embeddings.double(), dim=1, keepdim=True)
        if not bool(((norms > 0) & (norms < torch.inf)).all()):
            found = "zero, NaN or infinite ones; leave those samples out"
            raise InsightError(f"MonosemanticityMeter: expected finite embeddings with a direction, found {found}")
        self._to(codes.device)
        unit = embeddings.to(codes.device).double() / norms.to(codes.device)
        concepts, activations = codes.concepts.long(), codes.activations.double()
        least = torch.full_like(self._least, torch.inf).scatter_reduce(0, concepts, activations, "amin")
        at_least = torch.bincount(concepts[activations == least[concepts]], minlength=codes.n_concepts)
        self._add_minimum(least, at_least)
        self.samples += codes.n
        self._fired += torch.bincount(concepts, minlength=codes.n_concepts)
        self._sums.index_add_(0, concepts, activations)
        self._squares.index_add_(0, concepts, activations.square())
        by_concept = torch.sparse_coo_tensor(
            torch.stack([concepts, codes.rows()]), activations, (codes.n_concepts, codes.n), check_invariants=False
        )
        self._vectors.addmm_(by_concept, unit)
        self._vector += unit.sum(0)

    def merge(self, other: MonosemanticityMeter) -> None:
        """Add another pass over other samples; `other` keeps its own."""
        if other._vectors.shape != self._vectors.shape:
            shapes = f"{list(self._vectors.shape)}, found {list(other._vectors.shape)}"
            raise InsightError(f"MonosemanticityMeter: expected a meter of [concepts, width] {shapes}")
        self._to(other._sums.device)
        self._add_minimum(other._least, other._at_least)
        self.samples += other.samples
        for name in ("_fired", "_sums", "_squares", "_vectors", "_vector"):
            getattr(self, name).add_(getattr(other, name))

    def result(self) -> Monosemanticity:
        """The scores so far; `InsightError` before the second sample."""
        n = self.samples
        if n < 2:
            raise InsightError(f"monosemanticity: expected at least two samples, found {n}; give the meter more")
        always = self._fired == n
        least = torch.where(always, self._least, 0.0)
        sums = self._sums - n * least
        squares = self._squares - 2 * least * self._sums + n * least.square()
        lengths = torch.linalg.vector_norm(self._vectors, dim=1).square()
        shifted = self._vectors[always] - least[always, None] * self._vector
        lengths[always] = shifted.square().sum(1)
        weighted = self._fired - torch.where(always, self._at_least, 0)
        score = torch.where(weighted >= 2, (lengths - squares) / (sums.square() - squares), torch.nan)
        return Monosemanticity(score, float((self._vector.square().sum() - n) / (n * (n - 1))))

    def _add_minimum(self, least: Tensor, at_least: Tensor) -> None:
        """Of two minima and how often each was met, the smaller, or both counts where they are equal."""
        count = torch.where(self._least <= least, self._at_least, 0) + torch.where(least <= self._least, at_least, 0)
        self._least, self._at_least = torch.minimum(self._least, least), count

    def _to(self, device: torch.device) -> None:
        for name in ("_fired", "_least", "_at_least", "_sums", "_squares", "_vectors", "_vector"):
            setattr(self, name, getattr(self, name).to(device))

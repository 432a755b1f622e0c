"""The segmenter as mathematics: from the codes of patches to a logit for every word, and to what each concept put in.

In: a dictionary with text vectors, or a linear fit. Out: `TokenHead`, whose logits are sums over concepts, patch by
patch. Knows nothing of pixels.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float64, Int64
from scipy.sparse import csr_array

from sae import SparseCodes
from sae.dictionary import Dictionary
from sae.errors import InsightError

from .linear import LinearFit
from .surroundings import mean_around

SHORTEST = 1e-12
ROWS = 1 << 14
"""Patches that are reconstructed at a time."""


@dataclass(frozen=True, eq=False)
class TokenHead:
    """logit_v(p) = s_p · (Σ_k a_k(p) · weights[k, v] + constants[v]); a class has the logit of its best word.

    Open vocabulary: weights[k, v] = W_dec[k] · t_v, constants[v] = b_dec · t_v and
    s_p = 1 / (temperature · ‖x̂_p‖), so that a logit is the cosine of the reconstruction with the word over the
    temperature. Trained: weights and constants of a linear fit, one word a class, s_p = 1; and where the fit saw what
    stands around a patch, Σ_k ā_k(p) · around[k, v] is added, ā(p) the mean codes of the 3 × 3 patches with p in the
    middle (`surroundings`).
    """

    weights: Float64[np.ndarray, "m v"]
    constants: Float64[np.ndarray, " v"]
    class_of_word: Int64[np.ndarray, " v"]
    """The class of each word, all classes from 0 on, words of one class side by side."""
    directions: Float64[np.ndarray, "m d"] | None = None
    """W_dec, where logits are cosines."""
    bias: Float64[np.ndarray, " d"] | None = None
    temperature: float = 1.0
    around: Float64[np.ndarray, "m v"] | None = None
    """Weights of what stands around a patch, where it counts."""

    @classmethod
    def of_text(
        cls,
        dictionary: Dictionary,
        vectors: Float64[np.ndarray, "v d"],
        class_of_word: Int64[np.ndarray, " v"],
        temperature: float,
    ) -> TokenHead:
        """The head of words with these unit vectors, on any dictionary. `InsightError` for vectors of another width."""
        directions, bias = _affine(dictionary)
        vectors = np.asarray(vectors, np.float64)
        if vectors.shape[1:] != directions.shape[1:]:
            raise InsightError(
                f"segmenter: the dictionary is of features of {directions.shape[1]} values, the texts of"
                f" {vectors.shape[1]}; use the text encoder of the same backbone"
            )
        words = np.asarray(class_of_word, np.int64)
        return cls(directions @ vectors.T, vectors @ bias, words, directions, bias, temperature)

    @classmethod
    def of_fit(cls, fit: LinearFit, n_concepts: int) -> TokenHead:
        """The head of a linear fit on codes [n, m], or on those with the mean codes around them, [n, 2m].

        The one row of two classes becomes two, each half of it: their softmax is the same, and what speaks for one
        speaks against the other."""
        coef, intercept = fit.coef, fit.intercept
        if len(coef) == 1:
            coef, intercept = np.vstack([-coef, coef]) / 2, np.concatenate([-intercept, intercept]) / 2
        weights = coef.T.copy()
        around = weights[n_concepts:] if len(weights) > n_concepts else None
        return cls(weights[:n_concepts], intercept.copy(), np.arange(len(coef)), around=around)

    @property
    def n_concepts(self) -> int:
        """m."""
        return len(self.weights)

    @property
    def n_classes(self) -> int:
        """C."""
        return int(self.class_of_word[-1]) + 1

    def words_of(self, number: int) -> slice:
        """The words of a class."""
        first, last = np.searchsorted(self.class_of_word, [number, number + 1])
        return slice(int(first), int(last))

    def scales(self, codes: csr_array) -> Float64[np.ndarray, " n"]:
        """s_p of patches with codes [n, m]; ‖x̂‖ is taken of the reconstruction from all concepts."""
        if self.directions is None or self.bias is None:
            return np.ones(codes.shape[0])
        lengths = [np.linalg.norm(part @ self.directions + self.bias, axis=1) for _, part in in_parts(codes)]
        return 1 / (self.temperature * np.maximum(np.concatenate([np.empty(0), *lengths]), SHORTEST))

    def word_logits(self, codes: csr_array, grid: tuple[int, int] | None = None) -> Float64[np.ndarray, "n v"]:
        """The logits of all words on patches with codes [n, m]; `grid`: of the whole images that they are, which a head
        with `around` needs."""
        logits = self.scales(codes)[:, None] * (np.asarray(codes @ self.weights) + self.constants)
        if self.around is not None:
            assert grid is not None
            told = np.asarray(codes @ self.around).reshape(-1, *grid, len(self.constants))
            logits += np.moveaxis(mean_around(np.moveaxis(told, -1, 1)), 1, -1).reshape(logits.shape)
        return logits

    def best_words(self, logits: Float64[np.ndarray, "n v"]) -> Float64[np.ndarray, "n C"]:
        """The logits of all classes, from those of their words."""
        starts = np.flatnonzero(np.diff(self.class_of_word, prepend=-1))
        return logits if len(starts) == logits.shape[1] else np.maximum.reduceat(logits, starts, axis=1)


def as_rows(codes: SparseCodes | csr_array, n_concepts: int) -> csr_array:
    """Codes as float64 rows on the CPU. `InsightError` for another number of concepts, NaN or infinity."""
    rows = codes.to_scipy() if isinstance(codes, SparseCodes) else csr_array(codes)
    if rows.shape[1] != n_concepts:
        raise InsightError(f"codes: expected {n_concepts} concepts, found {rows.shape[1]}; are they of another model?")
    rows = rows.astype(np.float64)
    if not np.isfinite(rows.data).all():
        raise InsightError("codes: expected finite activations, found NaN or infinity")
    return rows


def in_parts(codes: csr_array, together: int = 1) -> Iterator[tuple[int, csr_array]]:
    """Codes a few thousand rows at a time, with the number of the first row of each part; so many stay together."""
    step = max(1, ROWS // together) * together
    for first in range(0, codes.shape[0], step):
        yield first, codes[first : first + step]


def _affine(dictionary: Dictionary) -> tuple[Float64[np.ndarray, "m d"], Float64[np.ndarray, " d"]]:
    """W_dec and b_dec, the latter as what a patch without any concept is reconstructed as."""
    directions = dictionary.directions.detach()
    none = SparseCodes(
        torch.zeros(2, dtype=torch.int64, device=directions.device),
        torch.empty(0, dtype=torch.int32, device=directions.device),
        torch.empty(0, device=directions.device),
        dictionary.n_concepts,
    )
    bias = dictionary.decode(none)[0].detach()
    return directions.cpu().numpy().astype(np.float64), bias.cpu().numpy().astype(np.float64)

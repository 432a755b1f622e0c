"""Mean features of the patches on which each concept fires, weighted by its activation; by fold of images.

In: codes and features of the same tokens. Out: per fold and concept Σ a x / Σ a. A resample of the evidence leaves
folds out. Memory: 8 · FOLDS · m · d bytes (2 GiB at m = 65,536, d = 1,024).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from scipy.sparse import csr_array
from torch import Tensor
from torch.nn.functional import embedding_bag

from sae import SparseCodes
from sae.errors import InsightError

from ..npz import read_npz, write_npz

FOLDS = 4
"""Image i belongs to fold i % FOLDS."""


class FeatureMeans:
    """Streaming sums of activation-weighted features of m concepts."""

    def __init__(self, n_concepts: int, dim: int) -> None:
        if n_concepts < 1 or dim < 1:
            raise InsightError(f"FeatureMeans: expected at least one concept and feature, found {n_concepts}, {dim}")
        self.n_concepts, self.dim = n_concepts, dim
        self.tokens = 0
        self.weight: np.ndarray = np.zeros((FOLDS, n_concepts))
        self._sums: np.ndarray = np.zeros((FOLDS * n_concepts, dim))
        self._all: np.ndarray = np.zeros(dim)

    def update(self, codes: SparseCodes, features: Tensor, image_of_row: Tensor) -> None:
        """Add tokens: their codes, features float [n, d], and the number of each one's image, int64 [n]."""
        if codes.n_concepts != self.n_concepts or features.shape != (codes.n, self.dim):
            expected = f"codes of {self.n_concepts} concepts and as many rows of {self.dim} features"
            found = f"{codes.n_concepts} concepts, {codes.n} rows and features {list(features.shape)}"
            raise InsightError(f"FeatureMeans: expected {expected}, found {found}")
        x = features.detach().float()
        fold = (image_of_row.cpu() % FOLDS).numpy()
        columns = codes.concepts.cpu().numpy() + self.n_concepts * fold[codes.rows().cpu().numpy()]
        activations = codes.activations.detach().cpu().float().numpy()
        shape = (codes.n, FOLDS * self.n_concepts)
        by_concept = csr_array((activations, columns, codes.offsets.cpu().numpy()), shape=shape).tocsc()
        rows = np.flatnonzero(np.diff(by_concept.indptr))
        arrays = (by_concept.indices.astype(np.int64), by_concept.indptr[rows].astype(np.int64), by_concept.data)
        tokens, starts, strength = (torch.from_numpy(array).to(x.device) for array in arrays)
        sums = embedding_bag(tokens, x, starts, mode="sum", per_sample_weights=strength)  # the fastest sparse @ dense
        self._sums[rows] += sums.cpu().numpy()
        weights = np.bincount(columns, weights=activations, minlength=shape[1])
        self.weight += weights.reshape(self.weight.shape)
        self._all += (x.new_ones(len(x)) @ x).cpu().numpy()
        self.tokens += codes.n

    def merge(self, other: FeatureMeans) -> None:
        """Add the sums of a pass over other tokens."""
        if (other.n_concepts, other.dim) != (self.n_concepts, self.dim):
            expected, found = f"{self.n_concepts} x {self.dim}", f"{other.n_concepts} x {other.dim}"
            raise InsightError(f"FeatureMeans: expected sums of {expected}, found {found}")
        self.tokens += other.tokens
        self.weight += other.weight
        self._sums += other._sums
        self._all += other._all

    def means(self) -> np.ndarray:
        """float32 [FOLDS, m, d]: mean feature of each concept in each fold; zeros where it never fires."""
        folds = np.split(self._sums, FOLDS)
        return np.stack([_divided(sums, weight) for sums, weight in zip(folds, self.weight)])

    def mean(self) -> np.ndarray:
        """float32 [m, d]: mean feature of each concept over all images; zeros where it never fires."""
        return _divided(self._sums.reshape(FOLDS, self.n_concepts, self.dim).sum(0), self.weight.sum(0))

    @property
    def centre(self) -> np.ndarray:
        """float32 [d]: mean feature of all tokens, zeros before the first."""
        return (self._all / max(self.tokens, 1)).astype(np.float32)

    def save(self, path: Path | str) -> None:
        """Write an npz: `means` float32, `weight`, `total` (sum of all features), `tokens`."""
        arrays = {"means": self.means(), "weight": self.weight, "total": self._all, "tokens": np.array(self.tokens)}
        write_npz(path, arrays)

    @classmethod
    def load(cls, path: Path | str) -> FeatureMeans:
        """Read what `save` wrote."""
        remedy = "count the codes again (`insight relate`)"
        arrays = read_npz(path, ["means", "weight", "total", "tokens"], remedy)
        means, weight = arrays["means"], arrays["weight"]
        found = f"{means.shape}, {weight.shape}, {arrays['total'].shape}"
        if means.ndim != 3 or found != f"{(FOLDS, *means.shape[1:])}, {means.shape[:2]}, {means.shape[2:]}":
            raise InsightError(f"{path}: expected means [{FOLDS}, m, d], weights and a total, found {found}; {remedy}")
        loaded = cls(*means.shape[1:])
        loaded.tokens, loaded.weight, loaded._all = int(arrays["tokens"]), weight, arrays["total"]
        loaded._sums = (means * weight[..., None]).reshape(loaded._sums.shape)  # float32 times float64: float64
        return loaded


def _divided(sums: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """float32 rows sums / weight, zeros where the weight is 0."""
    return (sums / np.where(weight > 0, weight, 1.0)[:, None]).astype(np.float32)

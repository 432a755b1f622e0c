"""Classes told apart by text alone: the logits of a photo's mean reconstruction against the words, concept by concept.

In: unit vectors of the classes, and the dictionary. Out: for every photo a linear function of its mean-pooled codes.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Float64
from scipy.sparse import csr_array

from sae.dictionary import Dictionary

_SHORTEST = 1e-12


@dataclass(frozen=True, eq=False)
class TextHead:
    """logit_c = (Σ_k ā_k · W_dec[k] · t_c + b_dec · t_c) / (temperature · ‖x̂‖), x̂ = Σ_k ā_k W_dec[k] + b_dec.

    ā [m] is the mean of a photo's codes over its patches, so x̂ is the mean of its reconstructions (of the features as
    encoded), and the logit its cosine with the text over the temperature. With two classes
    there is one row, the second logit minus the first.
    """

    vectors: Float64[np.ndarray, "C d"]
    """t: a unit vector a class."""
    directions: Float64[np.ndarray, "m d"]
    """W_dec."""
    bias: Float64[np.ndarray, " d"]
    """b_dec."""
    temperature: float
    silenced: tuple[int, ...] = ()
    """Concepts whose weights are 0. They still count in ‖x̂‖: the photo holds them."""

    @classmethod
    def of(cls, dictionary: Dictionary, vectors: np.ndarray, temperature: float) -> TextHead:
        """The head of classes with these vectors [C, d] on a dictionary."""
        import torch

        from sae import SparseCodes

        directions = dictionary.directions.detach()
        none = SparseCodes.from_dense(torch.zeros(1, dictionary.n_concepts, device=directions.device))
        bias = dictionary.decode(none)[0].detach()  # what a token without any concept is reconstructed as
        return cls(
            vectors=np.asarray(vectors, np.float64),
            directions=directions.cpu().numpy().astype(np.float64),
            bias=bias.cpu().numpy().astype(np.float64),
            temperature=temperature,
        )

    @property
    def n_concepts(self) -> int:
        """m."""
        return len(self.directions)

    @cached_property
    def weights(self) -> Float64[np.ndarray, "m rows"]:
        """What an activation of 1 adds to each logit of a photo with ‖x̂‖ = 1."""
        weights = self.directions @ self._rows.T / self.temperature
        weights[list(self.silenced)] = 0
        return weights

    @cached_property
    def intercept(self) -> Float64[np.ndarray, " rows"]:
        """The logits of b_dec, for ‖x̂‖ = 1."""
        return self._rows @ self.bias / self.temperature

    def lengths(self, mean: csr_array) -> Float64[np.ndarray, " n"]:
        """‖x̂‖ of photos with mean-pooled codes [n, m]."""
        reconstructed = np.asarray(mean @ self.directions) + self.bias
        return np.maximum(np.linalg.norm(reconstructed, axis=1), _SHORTEST)

    def logits(self, mean: csr_array, lengths: Float64[np.ndarray, " n"]) -> Float64[np.ndarray, "n rows"]:
        """The logits of photos; their lengths apart, because an intervention leaves them as they are."""
        return (np.asarray(mean @ self.weights) + self.intercept) / lengths[:, None]

    def offset(self, x: csr_array) -> Float64[np.ndarray, "n C"]:
        """The logits of rows [n, F], whose last m features are the means; with two classes 0 for the first."""
        mean = x[:, -self.n_concepts :]
        logits = self.logits(mean, self.lengths(mean))
        return logits if logits.shape[1] > 1 else np.hstack([np.zeros_like(logits), logits])

    @property
    def _rows(self) -> Float64[np.ndarray, "rows d"]:
        return self.vectors[1:] - self.vectors[:1] if len(self.vectors) == 2 else self.vectors

"""Archetypal dictionaries: atoms that are mixtures of data points, and so look like data and come out alike every time.

    D = (W C + Λ) e^s        W [m, c] row-stochastic, ‖Λ_i‖ ≤ δ        (RA-SAE, arXiv 2502.12892)

C [c, d] are data points or centroids, seen from the decoder bias that training starts from and scaled to a mean norm of
1: an atom is a direction in the cone over the data's hull there, up to δ. W is the softmax of what is trained, so that
every point keeps a gradient (published: a ReLU, divided by its sum).
In: C and the gradient of D. Out: D and the gradients of what is trained.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

_OWN_SHARE = 0.5
"""How much of an atom is a single point when training starts."""


class Archetypal:
    """The parameters of a dictionary [m, d], changed in place."""

    step_scales: ClassVar[Mapping[str, float]] = {"logits": 10.0}
    """Step sizes as multiples of Adam's for the weights: a logarithm has further to go than a weight."""

    def __init__(self, points: Tensor, radius: float, logits: Tensor, slack: Tensor, log_scale: Tensor) -> None:
        """points C [c, d], radius δ, logits [m, c] of W, slack Λ [m, d], log_scale s [1]."""
        self.points, self.radius = points, radius
        self._logits, self._slack, self._log_scale = logits, slack, log_scale

    @classmethod
    def start(cls, tokens: Tensor, n_concepts: int, n_points: int, slack: float, seed: int) -> Archetypal:
        """Each atom near a point of its own, as far as there are enough. tokens [n, d]: a batch less the first bias.

        `slack` is δ.
        """
        points = _archetypes(tokens, n_points, seed)
        points = points / torch.linalg.vector_norm(points, dim=1).mean().clamp_min(1e-12)
        random = np.random.default_rng([seed % 2**64, n_concepts])
        order = np.concatenate([random.permutation(len(points)) for _ in range(-(-n_concepts // len(points)))])
        noise = torch.from_numpy(random.standard_normal((n_concepts, len(points)), dtype=np.float32))
        logits = 0.1 * noise
        if len(points) > 1:
            own = float(np.log(_OWN_SHARE / (1 - _OWN_SHARE) * (len(points) - 1)))
            logits[torch.arange(n_concepts), torch.from_numpy(order[:n_concepts])] += own
        zeros = tokens.new_zeros(n_concepts, tokens.shape[1])
        return cls(points, slack, logits.to(tokens), zeros, tokens.new_zeros(1))

    @classmethod
    def restore(cls, tensors: dict[str, Tensor]) -> Archetypal:
        """From its parameters and `tensors`, as they were when saved."""
        own = (tensors[name] for name in ("logits", "slack", "log_scale"))
        return cls(tensors["points"], float(tensors["radius"]), *own)

    @property
    def parameters(self) -> dict[str, Tensor]:
        """What is trained."""
        return {"logits": self._logits, "slack": self._slack, "log_scale": self._log_scale}

    def tensors(self) -> dict[str, Tensor]:
        """What else a later process needs."""
        return {"points": self.points, "radius": torch.tensor(self.radius, dtype=torch.float64)}

    def decoder(self) -> Tensor:
        """D [m, d]."""
        return (self._logits.softmax(1) @ self.points).add_(self._slack).mul_(self._log_scale.exp())

    def first_encoder(self) -> Tensor:
        """[m, d]: directions in which the atoms themselves have activation 1."""
        decoder = self.decoder()
        return decoder / decoder.square().sum(1, keepdim=True).clamp_min(1e-12)

    def gradients(self, decoder: Tensor, gradient: Tensor) -> dict[str, Tensor]:
        """Gradients of the parameters from D [m, d] and its `gradient`."""
        scale, shares = self._log_scale.exp(), self._logits.softmax(1)
        of_atoms = gradient * scale
        of_shares = of_atoms @ self.points.t()
        of_logits = shares * (of_shares - (shares * of_shares).sum(1, keepdim=True))
        return {"logits": of_logits, "slack": of_atoms, "log_scale": (gradient * decoder).sum().view(1)}

    def hold(self) -> None:
        """Bring Λ back into its balls."""
        norms = torch.linalg.vector_norm(self._slack, dim=1, keepdim=True)
        self._slack.mul_((self.radius / norms.clamp_min(1e-30)).clamp(max=1.0))


def _archetypes(tokens: Tensor, n_points: int, seed: int) -> Tensor:
    """[c, d]: k-means centroids of tokens [n, d], or the different ones among them, if they are no more."""
    different = torch.unique(tokens, dim=0)
    if len(different) <= n_points:
        return different
    from sklearn.cluster import MiniBatchKMeans

    means = MiniBatchKMeans(n_points, random_state=seed % 2**32, n_init=1, batch_size=1024)
    return torch.from_numpy(means.fit(tokens.cpu().numpy()).cluster_centers_).to(tokens)

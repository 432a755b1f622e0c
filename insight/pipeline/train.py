"""From features to a dictionary of concepts."""

from __future__ import annotations

import math
from pathlib import Path

from sae import SaeConfig, SparseAutoencoder, TrainConfig, train
from sae.config import Selection
from sae.monitor import Monitor

from ..cache import FeatureCache, StreamedFeatures
from ..defaults import FEWEST_STEPS, LR, PASSES, PATCHES_PER_CONCEPT, SHARE_OF_DECAY, K


def fitting_size(n_tokens: int) -> int:
    """Concepts for a cache of that many patches: the power of two nearest below one in 400, from 256 to 8,192."""
    return 2 ** min(13, max(8, int(math.log2(max(n_tokens // PATCHES_PER_CONCEPT, 1)))))


def train_dictionary(
    features: FeatureCache | StreamedFeatures,
    out: Path,
    *,
    concepts: int | None = None,
    k: int | None = None,
    level_k: tuple[int, ...] = (),
    steps: int | None = None,
    batch_size: int = 4096,
    lr: float = LR,
    seed: int = 0,
    selection: Selection = "batch_topk",
    monitor: Monitor | None = None,
    device: str = "cpu",
) -> SparseAutoencoder:
    """Train a Matryoshka autoencoder on the features of images; `out` becomes a model without relations and names.

    `concepts` defaults to `fitting_size`, `k` to 8 or the sum of `level_k`, `steps` to three passes over the features,
    at least 1,000 steps.
    """
    n_concepts = fitting_size(features.n_tokens) if concepts is None else concepts
    k = (sum(level_k) or K) if k is None else k
    config = SaeConfig(dim=features.dim, n_concepts=n_concepts, k=k, selection=selection, level_k=level_k)
    if steps is None:
        steps = max(FEWEST_STEPS, -(-PASSES * features.n_tokens // max(batch_size, 1)))
    settings = TrainConfig(
        steps=steps, batch_size=batch_size, lr=lr, seed=seed, decay_steps=int(SHARE_OF_DECAY * steps)
    )
    extra = {"backbone": features.encoder, "images": features.n_images}
    return train(features, config, settings, out, extra=extra, device=device, monitor=monitor)

"""Dictionaries of a set's own photographs: trained on those that a fold trains on, so that no tested one was seen.

In: a `Named` set and a seed. Out: a `Made` for each fold, kept in `WORK/dictionaries-SET`.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from benchmarks.heads.dictionaries import Made, folder_name, is_finished
from benchmarks.heads.named import Named
from benchmarks.heads.settings import ACTIVE, Spec
from insight.defaults import FEWEST_STEPS, LR, PASSES, SHARE_OF_DECAY
from insight.pipeline.train import fitting_size
from sae import SaeConfig, SparseAutoencoder, TensorSource, TrainConfig, train

BATCH = 4096


def own_dictionaries(named: Named, spec: Spec, seed: int, work: Path, steps: int | None) -> tuple[Made, ...]:
    """One for each fold, by the sizes and settings of `insight train`; `steps` None: as many as that takes."""
    made = []
    for fold, (train_on, _) in enumerate(named.folds):
        folder = work / f"dictionaries-{named.cache.folder.name}" / f"{folder_name(spec)}-{seed}-{fold}"
        if not is_finished(folder):
            source = TensorSource(_patches(named, train_on))
            length = steps or max(FEWEST_STEPS, -(-PASSES * source.n_tokens // BATCH))
            config = SaeConfig(named.cache.dim, fitting_size(source.n_tokens), k=ACTIVE)
            settings = TrainConfig(length, BATCH, LR, decay_steps=int(SHARE_OF_DECAY * length), seed=seed)
            train(source, config, settings, folder, extra={"backbone": named.cache.encoder})
        made.append(Made(spec, seed, SparseAutoencoder.from_pretrained(folder).eval()))
    return tuple(made)


def _patches(named: Named, images: np.ndarray) -> torch.Tensor:
    """All patches of these images, [n, d]."""
    wanted = np.zeros(named.cache.n_images, dtype=bool)
    wanted[images] = True
    parts = []
    for first, features in named.cache.scan():
        of_image = features.unflatten(0, (-1, named.cache.tokens_per_image))
        start = first // named.cache.tokens_per_image
        parts.append(of_image[torch.from_numpy(wanted[start : start + len(of_image)])].flatten(0, 1))
    return torch.cat(parts)

"""All steps in one."""

from __future__ import annotations

from pathlib import Path

from naming import load_phrases
from sae import SaeConfig
from sae.errors import InsightError

from ..backbones import load as load_backbone
from ..cache import write_cache
from ..data import open_source
from ..defaults import LR, K
from .name import name_concepts
from .relate import relate_concepts
from .train import train_dictionary


def build_model(
    photos: Path,
    out: Path,
    cache_folder: Path,
    *,
    backbone: str = "small",
    concepts: int | None = None,
    k: int = K,
    steps: int | None = None,
    lr: float = LR,
    seed: int = 0,
    vocabulary: Path | None = None,
    device: str = "cpu",
) -> None:
    """All steps: cache the photos, train, relate, name. What is finished is not done again."""
    load_phrases(vocabulary)  # a wrong file is said now, not after an hour of training
    if concepts is not None:
        SaeConfig(dim=1, n_concepts=concepts, k=k)  # and so are sizes that do not go together, whatever the features
    images = open_source(str(photos))
    print(f"1/4 patch features of the photos in {photos}", flush=True)
    encoder = load_backbone(backbone, device=device)
    if not encoder.has_text:
        raise InsightError(
            f"backbone {backbone} has no text space to name concepts in; use `insight cache write`, `train` and"
            " `relate`"
        )
    cache = write_cache(images, encoder, cache_folder)
    print(f"2/4 a dictionary of concepts from {cache.n_tokens:,} patches", flush=True)
    train_dictionary(cache, out, concepts=concepts, k=k, steps=steps, lr=lr, seed=seed, device=device)
    print("3/4 which concept belongs to which", flush=True)
    relate_concepts(out, cache, device=device)
    print("4/4 what the concepts are called", flush=True)
    name_concepts(out, vocabulary=vocabulary, device=device)

"""Our dictionaries as whole models: related and named like any other model, once; and what explaining a photo costs.

In: a dictionary and the general cache. Out: `ConceptModel`s in `WORK/models`, and rows of time.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from benchmarks.heads.dictionaries import Made, folder_name
from benchmarks.heads.figures import Row
from benchmarks.heads.named import Named
from benchmarks.heads.pooled import pooled_codes
from benchmarks.heads.settings import HEAD
from benchmarks.heads.speed import cost_rows
from benchmarks.probes.photos import open_rgb
from insight import ConceptModel
from insight.backbones import Backbone
from insight.cache import FeatureCache
from insight.heads import ConceptClassifier
from insight.pipeline import name_concepts, relate_concepts
from sae import SparseAutoencoder

PHOTOS = 10


def make_model(made: Made, work: Path, cache: FeatureCache, backbone: Backbone) -> ConceptModel:
    """The dictionary with relations and names from its training photographs, as `insight build` makes them."""
    folder = work / "models" / f"{folder_name(made.spec)}-{made.seed}"
    own = made.dictionary
    assert isinstance(own, SparseAutoencoder)
    if not (folder / "embeddings.npz").exists():
        own.save_pretrained(folder, {"backbone": cache.encoder, "images": cache.n_images})
        relate_concepts(folder, cache)
        name_concepts(folder)
    return ConceptModel.from_pretrained(folder, backbone=backbone)


def named_concepts(model: ConceptModel) -> np.ndarray:
    """bool [m]: which concepts have a name."""
    return np.array([concept.name is not None for concept in model.concepts])


def cost_of(model: ConceptModel, made: Made, named: Named, data: Path, work: Path) -> list[Row]:
    """What explaining a photograph costs with a head on a set: photographs of MSRC-v2, one at a time."""
    pooled = pooled_codes(named.cache, [made], work / "pooled")[0]
    train, _ = named.folds[0]
    classes = np.array(named.classes)[named.truth[train]]
    head = ConceptClassifier(model, **HEAD, alpha=0.01).fit(pooled.codes.to_scipy()[train], classes)
    files = sorted((data / "msrc" / "images").iterdir())[:PHOTOS]
    return cost_rows(named.name, model.backbone, head.explain, [open_rgb(file) for file in files])

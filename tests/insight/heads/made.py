"""A made-up model, photos and a cache of them, for tests of heads; the model's parts are of `random_models`."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from PIL import Image

from insight import ConceptModel
from insight.cache import FeatureCache, write_cache
from insight.concept import Concept

from ..random_models import CONCEPTS, Pixels, random_dictionary, random_graph


class HashedPixels(Pixels):
    """The made-up backbone with a fingerprint that caches take."""

    fingerprint = "ab" * 32


CONFIG = {"backbone": {"name": "pixels", "fingerprint": HashedPixels.fingerprint, "description": "", "grid": [4, 4]}}
NAMES = ("cat", "dog", "tree")


def random_model(
    rng: np.random.Generator, edits: Mapping[int, Mapping[str, Any]] = MappingProxyType({})
) -> ConceptModel:
    """A model whose concept i is called "word i", but for what `edits` {concept: {field: value}} says."""
    plain = [Concept(i, 0, f"word {i}", (), (0.5,), 9, 0.0) for i in range(CONCEPTS)]
    concepts = [replace(concept, **edits.get(concept.id, {})) for concept in plain]
    return ConceptModel(random_dictionary(rng), concepts, random_graph(rng), CONFIG, backbone=HashedPixels())


def random_photos(rng: np.random.Generator, count: int) -> list[Image.Image]:
    """Photos of 16 × 16 pixels, each with blocks of its own."""
    blocks = rng.integers(0, 256, (count, 8, 8, 3), dtype=np.uint8)
    return [Image.fromarray(block.repeat(2, 0).repeat(2, 1)) for block in blocks]


def cached(folder: Path, photos: list[Image.Image], labels: list[str]) -> FeatureCache:
    """A float32 cache of the photos, in their order; an empty label is none."""
    for number, (photo, label) in enumerate(zip(photos, labels, strict=True)):
        place = folder / "photos" / label
        place.mkdir(parents=True, exist_ok=True)
        photo.save(place / f"{number:03d}.png")
    lines = [f'"{(folder / "photos" / label / f"{i:03d}.png").resolve()}",{label}' for i, label in enumerate(labels)]
    (folder / "list.csv").write_text("\n".join(["path,label", *lines]))
    return write_cache(folder / "list.csv", HashedPixels(), folder / "cache", dtype="float32")


def dense_codes(model: ConceptModel, photo: Image.Image) -> np.ndarray:
    """float64 [16, m]: ReLU of the affine functions of a photo's patches, without any of the code under test."""
    pixels = np.asarray(photo, dtype=np.float32).astype(np.float64) / 255
    patches = pixels.reshape(4, 4, 4, 4, 3).transpose(0, 2, 4, 1, 3).reshape(16, 48)
    weights = {name: value.detach().numpy().astype(np.float64) for name, value in model.sae.state_dict().items()}
    centred = patches - weights["decoder_bias"]
    return np.maximum(centred @ weights["encoder"].T + weights["encoder_bias"], 0)


def text_vectors(names: tuple[str, ...]) -> np.ndarray:
    """float64 [C, d]: what the made-up backbone says of "a photo of NAME"."""
    with torch.no_grad():
        return Pixels().encode_text([f"a photo of {name}" for name in names]).numpy().astype(np.float64)

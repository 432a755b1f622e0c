"""Every kind of dictionary in `SPECS`, trained once for each seed on the same cache, and kept.

In: the general cache. Out: `Made`, a dictionary with the name of its kind and its seed. A folder
`WORK/dictionaries/NAME-SEED` holds each; one that is there is read.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from benchmarks.concepts.texts import TextSpace
from benchmarks.heads.settings import CONCEPTS, FIT_TOKENS, SEEDS, SPECS, WORDS, Spec
from insight.backbones.base import hash_tensors
from insight.cache import FeatureCache
from insight.pipeline import train_dictionary
from naming import load_phrases
from sae import SparseAutoencoder, TensorSource, train
from sae.dictionary import Dictionary
from sae.presets import preset


@dataclass(frozen=True)
class Made:
    """A dictionary of one kind and seed."""

    spec: Spec
    seed: int
    dictionary: Dictionary

    @property
    def key(self) -> str:
        """Tells its codes from those of any other: kind, seed and a hash of its directions."""
        return f"{folder_name(self.spec)}-{self.seed}-{hash_tensors({'directions': self.dictionary.directions})[:12]}"


@dataclass(frozen=True)
class Maker:
    """What dictionaries are made from, and how large: `concepts` and `steps` None are what `insight train` takes."""

    folder: Path
    cache: FeatureCache
    texts: TextSpace
    concepts: int | None = None
    steps: int | None = None
    seeds: int = SEEDS

    def make(self, names: Sequence[str]) -> list[Made]:
        """All seeds of these kinds, kind by kind."""
        kinds = [spec for spec in SPECS if spec.name in names]
        return [
            Made(spec, seed, self._made(spec, seed))
            for spec in kinds
            for seed in range(self.seeds if spec.seeded else 1)
        ]

    def _made(self, spec: Spec, seed: int) -> Dictionary:
        folder = self.folder / f"{folder_name(spec)}-{seed}"
        if spec.kind == "ours":
            own = train_dictionary(self.cache, folder, concepts=self.concepts, steps=self.steps, seed=seed)
            return own.eval()
        if spec.kind == "autoencoder":
            return self._autoencoder(spec, seed, folder)
        raise NotImplementedError(spec.kind)

    def _autoencoder(self, spec: Spec, seed: int, folder: Path) -> SparseAutoencoder:
        """Published settings but for size, steps and seed, which are those of ours."""
        config, settings = preset(spec.options["preset"], self.cache.dim, steps=self.steps or 1000)
        config = replace(config, n_concepts=self.concepts or CONCEPTS)
        settings = replace(settings, seed=seed)
        source = self.cache if spec.of == "patches" else TensorSource(self.cache.pooled().float())
        extra = {"backbone": self.cache.encoder, "images": self.cache.n_images}
        return train(source, config, settings, folder, extra=extra, device="cpu").eval()

    def words(self) -> Tensor:
        """Unit vectors [v, d] of the commonest phrases of the shipped list."""
        words = load_phrases()
        order = sorted(range(len(words)), key=lambda i: -words.zipf[i])[:WORDS]
        return self.texts.vectors([words.phrases[i] for i in sorted(order)])

    def sample(self, seed: int) -> Tensor:
        """Patches [n, d] drawn from all over the cache."""
        batches = self.cache.batches(min(FIT_TOKENS, self.cache.n_tokens), seed=seed)
        return next(batches)


def folder_name(spec: Spec) -> str:
    """The name of a kind as part of a path."""
    return "".join(letter if letter.isalnum() else "-" for letter in spec.name.lower()).strip("-")


_ = torch

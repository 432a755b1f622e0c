"""Every kind of dictionary in `SPECS`, trained once for each seed on the same cache, and kept.

In: the general cache. Out: `Made`, a dictionary with the name of its kind and its seed. A folder
`WORK/dictionaries/NAME-SEED` holds each; one that is there is read.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from torch import Tensor

from benchmarks.concepts.texts import TextSpace
from benchmarks.heads.settings import ACTIVE, CONCEPTS, FIT_TOKENS, SEEDS, SPECS, STEPS, WORDS, Spec
from insight.backbones.base import hash_tensors
from insight.cache import FeatureCache
from insight.defaults import SHARE_OF_DECAY
from insight.pipeline import train_dictionary
from naming import load_phrases
from sae import SparseAutoencoder, TensorSource, train
from sae.baselines import (
    Centroids,
    Parts,
    SparseCoding,
    fit_kmeans,
    fit_nmf,
    fit_pca,
    fit_sparse_coding,
    load_dictionary,
    random_dictionary,
    save_dictionary,
)
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
    words: int = WORDS

    def make(self, names: Sequence[str], once: Sequence[str] = ()) -> list[Made]:
        """All seeds of these kinds, kind by kind; of those in `once` the first alone."""
        kinds = [spec for spec in SPECS if spec.name in names and not spec.own]
        return [
            Made(spec, seed, self._made(spec, seed))
            for spec in kinds
            for seed in range(self.seeds if spec.seeded and spec.name not in once else 1)
        ]

    def _made(self, spec: Spec, seed: int) -> Dictionary:
        folder = self.folder / f"{folder_name(spec)}-{seed}"
        if not is_finished(folder):
            self._make(spec, seed, folder)
        found = load_dictionary(folder)
        if isinstance(found, SparseAutoencoder):
            return _read_with(found, spec.options.get("read_k")).eval()
        return found

    def _make(self, spec: Spec, seed: int, folder: Path) -> None:
        if spec.kind == "ours":
            own = {"k": ACTIVE, "steps": self.steps, "seed": seed, **spec.options}
            train_dictionary(self.cache, folder, concepts=self.concepts, **own)
        elif spec.kind == "autoencoder":
            self._train(spec, seed, folder)
        else:
            save_dictionary(self._fitted(spec, seed), folder)

    def _fitted(self, spec: Spec, seed: int) -> Centroids | Parts | SparseCoding | SparseAutoencoder:
        """A decomposition without gradient descent."""
        source, size = self._source(spec), self.concepts or CONCEPTS
        if spec.kind == "pca":
            return fit_pca(source, k=ACTIVE, seed=seed)
        if spec.kind == "kmeans":
            return fit_kmeans(source, size, k=ACTIVE, n_tokens=FIT_TOKENS, seed=seed)
        if spec.kind == "nmf":
            return fit_nmf(source, size, k=ACTIVE, seed=seed)
        if spec.kind == "random":
            return random_dictionary(source, size, k=ACTIVE, seed=seed)
        most = self.cache.dim // 3  # a Lasso has hardly more active than that
        return fit_sparse_coding(source, self._word_vectors(), k=min(spec.options["k"], most), seed=seed)

    def _train(self, spec: Spec, seed: int, folder: Path) -> None:
        """Published settings but for size, steps, seed and what the table replaces."""
        steps = self.steps or STEPS
        steps = min(steps, spec.options.get("most_steps", steps))
        config, settings = preset(
            spec.options["preset"], self.cache.dim, steps=steps, n_concepts=self.concepts or CONCEPTS
        )
        config = replace(config, **spec.options.get("sae", {}))
        settings = replace(settings, **spec.options["train"])
        if spec.of == "patches":
            settings = replace(settings, decay_steps=int(SHARE_OF_DECAY * steps))
        extra = {"backbone": self.cache.encoder, "images": self.cache.n_images}
        seeded = replace(settings, seed=seed)
        train(self._source(spec), config, seeded, folder, extra=extra, device="cpu")

    def _source(self, spec: Spec) -> TokenSource:
        return self.cache if spec.of == "patches" else TensorSource(self.cache.pooled().float())

    def _word_vectors(self) -> Tensor:
        """Unit vectors [v, d] of the commonest phrases of the shipped list."""
        words = load_phrases()
        commonest = sorted(range(len(words)), key=lambda i: -words.zipf[i])[: self.words]
        return self.texts.vectors([words.phrases[i] for i in commonest])


def folder_name(spec: Spec) -> str:
    """The name of a kind as part of a path."""
    return "".join(letter if letter.isalnum() else "-" for letter in spec.name.lower()).strip("-")


def is_finished(folder: Path) -> bool:
    """Whether a dictionary lies there whole: of every kind, the last file that is written."""
    autoencoder = (folder / "sae.safetensors").exists() and not (folder / "checkpoint").exists()
    return autoencoder or ((folder / "dictionary.safetensors").exists() and (folder / "config.json").exists())


def _read_with(sae: SparseAutoencoder, k: int | None) -> SparseAutoencoder:
    """The same weights with at most the k largest concepts of a token active (None: as it was trained)."""
    if k is None or k >= sae.config.k:
        return sae
    other = SparseAutoencoder(replace(sae.config, k=k))
    other.load_state_dict(sae.state_dict())
    return other

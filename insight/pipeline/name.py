"""From a related model to one whose concepts have names."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from jaxtyping import Float
from torch import Tensor

from naming import (
    TEMPLATES,
    ConceptGraph,
    Confidence,
    FeatureMeans,
    Namer,
    Names,
    Vocabulary,
    WordList,
    ask_names,
    clues_of,
    compose,
    concept_embeddings,
    load_phrases,
    name_signals,
    name_stability,
    region_embeddings,
    resampled_embeddings,
    titles_of,
)
from naming import name_concepts as nearest_phrases
from sae import SparseAutoencoder
from sae.errors import InsightError
from sae.files import write_json

from ..backbones import Backbone
from ..backbones import load as load_backbone
from ..backbones.weights import cache_root
from ..concept import Concept, load_concepts, save_concepts
from ..defaults import MIN_CONFIDENCE, PRIOR
from ..embeddings import load_embeddings, save_embeddings
from ..model import check_fingerprint
from .folder import read_config

NameMode = Literal["regions", "parents", "bias", "vanilla"]


def name_concepts(
    folder: Path,
    *,
    vocabulary: Path | str | None = None,
    mode: NameMode = "regions",
    templates: tuple[str, ...] = TEMPLATES,
    prior: float = PRIOR,
    min_confidence: float = MIN_CONFIDENCE,
    attributes: Path | str | None = None,
    namer: Namer | None = None,
    device: str = "cpu",
) -> int:
    """Name the concepts of a related model; returns how many have a name.

    `mode`: "regions" compares words with the mean feature of the patches on which a concept stands, the others are as
    published. `prior` is added to a word's cosine for each unit of its Zipf frequency. A concept whose best phrase is
    right with less than `min_confidence` stays without a name; its phrases are kept as alternatives.

    Concepts that share a name are told apart by what they are part of, by an attribute where `attributes` gives a list
    of them and one fits more than chance would (`compose`), and by what they are a kind of. `namer`: a language model
    that gives the names instead, from phrases and relations (`command_namer`); what it declines has none.

    Writes `concepts.parquet`, `embeddings.npz` (where each concept stands in text space) and the "names" of
    `config.json`. Text vectors of a vocabulary are kept in the local cache, so that naming again is quick.
    """
    words = load_phrases(vocabulary)
    listed = None if attributes is None else load_phrases(attributes)
    if not 0 <= min_confidence <= 1:
        raise InsightError(f"min_confidence is a probability: expected 0 to 1, found {min_confidence}")
    if not math.isfinite(prior):
        raise InsightError(f"prior: expected a number, found {prior}")
    config = read_config(folder)
    if not (folder / "relations.npz").exists():
        raise InsightError(f"{folder}: has no relations.npz yet; run `insight relate {folder} CACHE`")
    sae = SparseAutoencoder.from_pretrained(folder)
    graph = ConceptGraph.load(folder / "relations.npz")
    concepts = load_concepts(folder / "concepts.parquet", sae.config.n_concepts)
    features = _features(folder)
    embeddings = _embeddings(folder, config, sae, graph, features, mode)
    backbone = load_backbone(config["backbone"]["name"], device=device)
    check_fingerprint(backbone, config)

    embedded = _embed(backbone, words, templates)
    names = nearest_phrases(embeddings, embedded, prior=prior)
    decoded = _decoded(sae, graph, "parents")
    confidence = Confidence.load()(name_signals(embeddings, names, embedded, decoded, prior=prior))
    stability = np.full(len(names), np.nan)
    if features is not None:
        stability = name_stability(resampled_embeddings(features), names, embedded, prior=prior)
    if namer is not None:
        chosen = ask_names(namer, clues_of(names, graph))
    else:
        chosen = [phrases[0] if sure else None for phrases, sure in zip(names.phrases, confidence >= min_confidence)]
    composed = None
    if listed is not None:
        found = compose(embeddings, names, listed, lambda phrases: _of_phrases(backbone, phrases, templates))
        composed = found.accepted()
    titles = titles_of(chosen, graph, composed)
    save_embeddings(folder / "embeddings.npz", embeddings)
    save_concepts(folder / "concepts.parquet", _named(concepts, titles, names, confidence, stability))
    source = Path(vocabulary).name if vocabulary else "english"
    config["names"] = {"vocabulary": source, "phrases": len(words), "mode": mode, "templates": list(templates)}
    config["names"] |= {"prior": prior, "min_confidence": min_confidence, "language_model": namer is not None}
    write_json(folder / "config.json", config)
    return sum(title is not None for title in titles)


def _features(folder: Path) -> FeatureMeans | None:
    """The mean features of a model that has its evidence; a model that was shared may have come without."""
    path = folder / "evidence" / "features.npz"
    return FeatureMeans.load(path) if path.exists() else None


def _embeddings(
    folder: Path,
    config: dict[str, Any],
    sae: SparseAutoencoder,
    graph: ConceptGraph,
    features: FeatureMeans | None,
    mode: NameMode,
) -> Float[Tensor, "m d"]:
    if mode != "regions":
        return _decoded(sae, graph, mode)
    if features is not None:
        return region_embeddings(features)
    if config.get("names", {}).get("mode") != "regions":
        raise InsightError(
            f"{folder}: expected evidence/features.npz, or names by regions from before, found neither; run"
            f" `insight relate {folder} CACHE`, or give --mode parents"
        )
    return load_embeddings(folder / "embeddings.npz", sae.config.n_concepts)


def _decoded(
    sae: SparseAutoencoder, graph: ConceptGraph, mode: Literal["parents", "bias", "vanilla"]
) -> Float[Tensor, "m d"]:
    return concept_embeddings(sae.decoder.detach().cpu(), sae.decoder_bias.detach().cpu(), graph, mode)


def _embed(backbone: Backbone, words: WordList, templates: tuple[str, ...], progress: bool = True) -> Vocabulary:
    return Vocabulary.embed(
        words,
        backbone.encode_text,
        templates,
        cache=cache_root() / "vocabularies",
        fingerprint=backbone.fingerprint,
        progress=progress,
    )


def _of_phrases(backbone: Backbone, phrases: list[str], templates: tuple[str, ...]) -> Float[Tensor, "n d"]:
    return _embed(backbone, WordList(tuple(phrases), (0.0,) * len(phrases)), templates, progress=False).vectors


def _named(
    concepts: Sequence[Concept],
    titles: Sequence[str | None],
    names: Names,
    confidence: Float[np.ndarray, " m"],
    stability: Float[np.ndarray, " m"],
) -> list[Concept]:
    """The table's rows. A title that is no phrase of the vocabulary has no cosine; its phrases are alternatives."""
    named = []
    for concept, title, phrases, scores in zip(concepts, titles, names.phrases, names.scores, strict=True):
        bare = bool(phrases) and title == phrases[0]
        named.append(
            replace(
                concept,
                name=title,
                alternatives=phrases[1:] if bare else phrases,
                scores=scores,
                confidence=_known(confidence[concept.id]),
                stability=_known(stability[concept.id]),
            )
        )
    return named


def _known(value: float) -> float | None:
    return None if math.isnan(value) else float(value)

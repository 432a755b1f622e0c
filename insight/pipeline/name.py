"""From a related model to one whose concepts have names."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Literal

from torch import Tensor

from naming import (
    TEMPLATES,
    ConceptGraph,
    Confidence,
    FeatureMeans,
    Names,
    Vocabulary,
    concept_embeddings,
    load_phrases,
    name_signals,
    name_stability,
    region_embeddings,
    resampled_embeddings,
)
from naming import name_concepts as nearest_phrases
from sae import SparseAutoencoder
from sae.errors import InsightError
from sae.files import write_json

from ..backbones import load as load_backbone
from ..backbones.weights import cache_root
from ..concept import Concept, load_concepts, save_concepts
from ..defaults import MIN_CONFIDENCE, PRIOR
from ..embeddings import save_embeddings
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
    device: str = "cpu",
) -> int:
    """Name the concepts of a related model; returns how many have a name.

    `mode`: "regions" compares words with the mean feature of the patches on which a concept stands, the others are as
    published. `prior` is added to a word's cosine for each unit of its Zipf frequency. A concept whose best phrase is
    right with less than `min_confidence` stays without a name; its phrases are kept as alternatives.

    Writes `concepts.parquet`, `embeddings.npz` (where each concept stands in text space) and the "names" of
    `config.json`. Text vectors of a vocabulary are kept in the local cache, so that naming again is quick.
    """
    words = load_phrases(vocabulary)
    if not 0 <= min_confidence <= 1:
        raise InsightError(f"min_confidence is a probability: expected 0 to 1, found {min_confidence}")
    config = read_config(folder)
    if not (folder / "relations.npz").exists():
        raise InsightError(f"{folder}: has no relations.npz yet; run `insight relate {folder} CACHE`")
    sae = SparseAutoencoder.from_pretrained(folder)
    graph = ConceptGraph.load(folder / "relations.npz")
    concepts = load_concepts(folder / "concepts.parquet", sae.config.n_concepts)
    features = FeatureMeans.load(folder / "evidence" / "features.npz")
    backbone = load_backbone(config["backbone"]["name"], device=device)
    check_fingerprint(backbone, config)
    embedded = Vocabulary.embed(
        words,
        backbone.encode_text,
        templates,
        cache=cache_root() / "vocabularies",
        fingerprint=backbone.fingerprint,
    )
    embeddings = _embeddings(sae, graph, features, mode)
    names = nearest_phrases(embeddings, embedded, prior=prior)
    decoded = _embeddings(sae, graph, features, "parents")
    confidence = Confidence.load()(name_signals(embeddings, names, embedded, decoded, prior=prior))
    stability = name_stability(resampled_embeddings(features), names, embedded, prior=prior)
    named = [
        _named(concept, names, confidence[concept.id], stability[concept.id], min_confidence) for concept in concepts
    ]
    save_embeddings(folder / "embeddings.npz", embeddings)
    save_concepts(folder / "concepts.parquet", named)
    source = Path(vocabulary).name if vocabulary else "english"
    config["names"] = {"vocabulary": source, "phrases": len(words), "mode": mode, "templates": list(templates)}
    config["names"] |= {"prior": prior, "min_confidence": min_confidence}
    write_json(folder / "config.json", config)
    return sum(concept.name is not None for concept in named)


def _embeddings(sae: SparseAutoencoder, graph: ConceptGraph, features: FeatureMeans, mode: NameMode) -> Tensor:
    if mode == "regions":
        return region_embeddings(features)
    return concept_embeddings(sae.decoder.detach().cpu(), sae.decoder_bias.detach().cpu(), graph, mode)


def _named(concept: Concept, names: Names, confidence: float, stability: float, least: float) -> Concept:
    phrases, scores = names.phrases[concept.id], names.scores[concept.id]
    sure = bool(phrases) and confidence >= least
    return Concept(
        id=concept.id,
        level=concept.level,
        name=phrases[0] if sure else None,
        alternatives=phrases[1:] if sure else phrases,
        scores=scores,
        frequency=concept.frequency,
        threshold=concept.threshold,
        confidence=_known(confidence),
        stability=_known(stability),
    )


def _known(value: float) -> float | None:
    return None if math.isnan(value) else float(value)

"""From a related model to one whose concepts have names."""

from __future__ import annotations

from pathlib import Path

from naming import TEMPLATES, ConceptGraph, Mode, Vocabulary, concept_embeddings, load_phrases
from naming import name_concepts as nearest_phrases
from sae import SparseAutoencoder
from sae.errors import InsightError
from sae.files import write_json

from ..backbones import load as load_backbone
from ..backbones.weights import cache_root
from ..concept import Concept, load_concepts, save_concepts
from ..defaults import PRIOR
from ..model import check_fingerprint
from .folder import read_config


def name_concepts(
    folder: Path,
    *,
    vocabulary: Path | None = None,
    mode: Mode = "parents",
    templates: tuple[str, ...] = TEMPLATES,
    prior: float = PRIOR,
    device: str = "cpu",
) -> int:
    """Name the concepts of a related model; returns how many have a name: those that fire.

    `mode` and `templates` as published; `prior` is added to a word's cosine for each unit of its Zipf frequency.

    Writes `concepts.parquet` and the "names" of `config.json`. Text vectors of a vocabulary are kept in the local
    cache, so that naming again is quick.
    """
    words = load_phrases(vocabulary)
    config = read_config(folder)
    if not (folder / "relations.npz").exists():
        raise InsightError(f"{folder}: has no relations.npz yet; run `insight relate {folder} CACHE`")
    sae = SparseAutoencoder.from_pretrained(folder)
    graph = ConceptGraph.load(folder / "relations.npz")
    concepts = load_concepts(folder / "concepts.parquet", sae.config.n_concepts)
    backbone = load_backbone(config["backbone"]["name"], device=device)
    check_fingerprint(backbone, config)
    embedded = Vocabulary.embed(
        words,
        backbone.encode_text,
        templates,
        cache=cache_root() / "vocabularies",
        fingerprint=backbone.fingerprint,
    )
    embeddings = concept_embeddings(sae.decoder, sae.decoder_bias, graph, mode)
    names = nearest_phrases(embeddings, embedded, prior=prior)
    named = [
        Concept(c.id, c.level, found[0] if found else None, found[1:], scores, c.frequency, c.threshold)
        for c, found, scores in zip(concepts, names.phrases, names.scores, strict=True)
    ]
    save_concepts(folder / "concepts.parquet", named)
    config["names"] = {"vocabulary": vocabulary.name if vocabulary else "english", "phrases": len(words)}
    config["names"] |= {"mode": mode, "templates": list(templates), "prior": prior}
    write_json(folder / "config.json", config)
    return sum(concept.name is not None for concept in named)

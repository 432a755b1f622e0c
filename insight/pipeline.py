"""The steps from photographs to a named model. Each reads what the step before left on disk and adds to the folder."""

from __future__ import annotations

import json
import math
from itertools import pairwise
from pathlib import Path
from typing import Any

from torch import Tensor
from tqdm import tqdm

from naming import (
    TEMPLATES,
    ConceptGraph,
    Cooccurrence,
    Exemplars,
    Mode,
    Vocabulary,
    build_graph,
    concept_embeddings,
    load_phrases,
)
from naming import name_concepts as nearest_phrases
from sae import Evaluation, SaeConfig, SparseAutoencoder, SparseCodes, TrainConfig, evaluate, train
from sae.config import Selection
from sae.errors import InsightError
from sae.files import read_json, write_json
from sae.monitor import Monitor

from .backbones import load as load_backbone
from .backbones.weights import cache_root
from .cache import FeatureCache, StreamedFeatures, write_cache
from .concept import Concept, load_concepts, save_concepts, unnamed
from .defaults import FEWEST_STEPS, LR, PASSES, PATCHES_PER_CONCEPT, PRIOR, SHARE_OF_DECAY, K
from .examples import Example, save_examples, strongest_of_image
from .model import check_fingerprint


def fitting_size(n_tokens: int) -> int:
    """Concepts for a cache of that many patches: the power of two nearest below one in 400, from 256 to 8,192."""
    return 2 ** min(13, max(8, int(math.log2(max(n_tokens // PATCHES_PER_CONCEPT, 1)))))


def train_dictionary(
    features: FeatureCache | StreamedFeatures,
    out: Path,
    *,
    concepts: int | None = None,
    k: int = K,
    steps: int | None = None,
    batch_size: int = 4096,
    lr: float = LR,
    seed: int = 0,
    selection: Selection = "batch_topk",
    monitor: Monitor | None = None,
    device: str = "cpu",
) -> SparseAutoencoder:
    """Train a Matryoshka autoencoder on the features of images; `out` becomes a model without relations and names.

    `concepts` defaults to `fitting_size`, `steps` to three passes over the features, at least 1,000 steps.
    """
    n_concepts = concepts or fitting_size(features.n_tokens)
    config = SaeConfig(dim=features.dim, n_concepts=n_concepts, k=k, selection=selection)
    steps = steps or max(FEWEST_STEPS, -(-PASSES * features.n_tokens // batch_size))
    settings = TrainConfig(
        steps=steps, batch_size=batch_size, lr=lr, seed=seed, decay_steps=int(SHARE_OF_DECAY * steps)
    )
    extra = {"backbone": features.encoder, "images": features.n_images}
    return train(features, config, settings, out, extra=extra, device=device, monitor=monitor)


def relate_concepts(
    folder: Path,
    cache: FeatureCache,
    *,
    threshold: float = 0.75,
    min_support: int = 20,
    min_lift: float = 2.0,
    device: str = "cpu",
) -> ConceptGraph:
    """One pass over the cache: how well the dictionary does, the concept graph, each concept's strongest patches.

    Writes `relations.npz`, `examples.parquet`, `concepts.parquet` (without names) and the "quality" and "relations"
    of `config.json` into the model's folder.
    """
    sae = SparseAutoencoder.from_pretrained(folder).to(device).eval()
    config = _config(folder)
    cache.require(config["backbone"]["fingerprint"])
    cooccurrence = Cooccurrence(sae.config.n_concepts)
    exemplars = Exemplars(sae.config.n_concepts)  # the strongest patches, for naming as published …
    examples = Exemplars(sae.config.n_concepts)  # … and the strongest patch of each image, to be looked at
    with tqdm(total=cache.n_tokens, desc="relating", unit="tok", unit_scale=True) as bar:

        def encode_and_count(features: Tensor) -> SparseCodes:
            codes = sae.encode(features)
            on_cpu = codes.to("cpu")
            exemplars.update(on_cpu, cooccurrence.tokens)
            examples.update(strongest_of_image(on_cpu, cache.tokens_per_image), cooccurrence.tokens)
            cooccurrence.update(on_cpu)
            bar.update(codes.n)
            return codes

        quality = evaluate(sae, (features for _, features in cache.scan()), encode_and_count)
    graph = build_graph(cooccurrence, exemplars, threshold=threshold, min_support=min_support, min_lift=min_lift)
    graph.save(folder / "relations.npz")
    save_examples(folder / "examples.parquet", _located(examples, cache))
    levels = [int(sae.level_of(concept)) for concept in range(sae.config.n_concepts)]
    thresholds = sae.threshold.expand(sae.config.n_concepts).tolist()
    save_concepts(folder / "concepts.parquet", unnamed(levels, graph.frequency.tolist(), thresholds))
    config["quality"] = _without_nan(quality)
    config["relations"] = {"threshold": threshold, "min_support": min_support, "min_lift": min_lift}
    config.pop("names", None)
    write_json(folder / "config.json", config)
    return graph


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
    config = _config(folder)
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
    print(f"1/4 patch features of the photos in {photos}", flush=True)
    encoder = load_backbone(backbone, device=device)
    if not encoder.has_text:
        raise InsightError(
            f"backbone {backbone} has no text space to name concepts in; use `insight cache write`, `train` and"
            " `relate`"
        )
    cache = write_cache(photos, encoder, cache_folder)
    print(f"2/4 a dictionary of concepts from {cache.n_tokens:,} patches", flush=True)
    train_dictionary(cache, out, concepts=concepts, k=k, steps=steps, lr=lr, seed=seed, device=device)
    print("3/4 which concept belongs to which", flush=True)
    relate_concepts(out, cache, device=device)
    print("4/4 what the concepts are called", flush=True)
    name_concepts(out, vocabulary=vocabulary, device=device)


def describe_model(config: dict[str, Any]) -> dict[str, str]:
    """What a model is, from its `config.json`, as lines for a person."""
    backbone, sae, settings = config.get("backbone"), config["sae"], config.get("train", {})
    facts = {}
    if backbone:
        facts["backbone"] = f"{backbone['name']}: {backbone['description']}"
        schedule = f"{settings['steps']:,} steps of {settings['batch_size']:,} patches"
        facts["trained on"] = f"{config['images']:,} photos, {schedule}"
    facts["dictionary"] = f"{sae['n_concepts']:,} concepts on features of {sae['dim']} values"
    if quality := config.get("quality"):
        per_level = ", ".join("–" if share is None else f"{share:.3f}" for share in quality["fvu"])
        facts["left unexplained"] = f"{per_level} of the variance of its training patches, level by level"
        facts["concepts on a patch"] = f"{quality['l0']:.1f} (trained for {sae['k']})"
        facts["never active"] = f"{quality['dead']:.1%} of the concepts"
    if relations := config.get("relations"):
        share, lift = relations["threshold"], relations["min_lift"]
        facts["parents"] = f"active on over {share:.0%} of the child, {lift} times as often as anywhere"
    if names := config.get("names"):
        facts["names"] = f"nearest of {names['phrases']:,} phrases ({names['vocabulary']}, mode {names['mode']})"
    return facts


def _config(folder: Path) -> dict[str, Any]:
    config = read_json(folder / "config.json")
    if "backbone" not in config:
        raise InsightError(f"{folder}: an autoencoder without a backbone; train by `insight train CACHE --out MODEL`")
    return dict(config)


def _located(exemplars: Exemplars, cache: FeatureCache) -> dict[int, list[Example]]:
    """Tokens → image id and place on the grid."""
    offsets, tokens, activations = (part.tolist() for part in exemplars.table())
    ids = cache.index["id"].to_pylist()
    found: dict[int, list[Example]] = {}
    for concept, (start, stop) in enumerate(pairwise(offsets)):
        places = [cache.locate(token) for token in tokens[start:stop]]
        found[concept] = [
            Example(ids[image], row, column, activation)
            for (image, row, column), activation in zip(places, activations[start:stop])
        ]
    return found


def _without_nan(quality: Evaluation) -> dict[str, Any]:
    """JSON has no NaN: features that do not vary leave None."""
    return json.loads(json.dumps(quality).replace("NaN", "null"))

"""From a dictionary and its cache to the concept graph and the strongest patches of each concept."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

from torch import Tensor
from tqdm import tqdm

from naming import ConceptGraph, Cooccurrence, Exemplars, strongest_of_image
from naming.relations.before import build_graph
from sae import Evaluation, SparseAutoencoder, SparseCodes, evaluate
from sae.files import write_json

from ..cache import FeatureCache
from ..concept import save_concepts, unnamed
from ..examples import Example, save_examples
from .folder import read_config


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
    config = read_config(folder)
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

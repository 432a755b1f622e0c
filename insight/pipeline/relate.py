"""From a dictionary and its cache to the evidence on its concepts, their graph and the strongest patches of each."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from naming import ConceptGraph, Evidence, Exemplars, build_graph, check_rules
from sae import Evaluation, SparseAutoencoder, SparseCodes, evaluate
from sae.distributed import Group, local_device
from sae.files import write_json

from ..cache import FeatureCache
from ..cache.writing.ranks import everyone
from ..concept import save_concepts, unnamed
from ..examples import Example, save_examples
from .folder import read_config

LARGE, PARTNERS_OF_LARGE = 16_384, 512
"""Dictionaries of more concepts keep so many partners of each: all pairs that ever meet could be tens of gigabytes."""


def relate_concepts(
    folder: Path,
    cache: FeatureCache,
    *,
    threshold: float = 0.75,
    min_support: int = 20,
    q: float = 0.05,
    min_lift: float = 2.0,
    most_partners: int | None = None,
    device: str = "cpu",
) -> ConceptGraph:
    """One pass over the cache: how well the dictionary does, the concept graph, each concept's strongest patches.

    Writes `evidence/`, `relations.npz`, `examples.parquet`, `concepts.parquet` (without names) and the "quality" and
    "relations" of `config.json` into the model's folder. Processes that torchrun started share the images; the first
    one writes, the same as one process alone.

    What makes an edge: see `naming.build_graph`. `most_partners`: partners kept of each concept; by default all, in
    dictionaries of more than `LARGE` concepts `PARTNERS_OF_LARGE`. `InsightError` for a cache of another backbone, a
    model without one and rules outside their range.
    """
    place = local_device(torch.device(device))
    group = everyone(place)
    rules: dict[str, Any] = {"threshold": threshold, "min_support": min_support, "q": q, "min_lift": min_lift}
    with group.together():
        check_rules(**rules)
        sae = SparseAutoencoder.from_pretrained(folder).to(place).eval()
        config = read_config(folder)
        cache.require(config["backbone"]["fingerprint"])
        if most_partners is None and sae.config.n_concepts > LARGE:
            most_partners = PARTNERS_OF_LARGE
        evidence = Evidence(sae.config.n_concepts, cache.grid, cache.dim, most_partners=most_partners)
        if group.rank == 0:
            for left in (folder / "evidence").glob("part-*"):  # by a run that was killed
                shutil.rmtree(left)
    quality = _gather(sae, cache, evidence, group)
    with group.together():
        if group.rank > 0:
            evidence.save(_part(folder, group.rank))
    with group.together():
        if group.rank == 0:
            for rank in range(1, group.size):
                evidence.merge(Evidence.load(_part(folder, rank)))
                shutil.rmtree(_part(folder, rank))
            evidence.save(folder / "evidence")
            levels = np.array([sae.level_of(concept) for concept in range(sae.config.n_concepts)])
            graph = build_graph(evidence, levels, **rules)
            graph.save(folder / "relations.npz")
            save_examples(folder / "examples.parquet", _located(evidence.examples, cache))
            thresholds = sae.threshold.expand(sae.config.n_concepts).tolist()
            save_concepts(folder / "concepts.parquet", unnamed(levels.tolist(), graph.frequency.tolist(), thresholds))
            config["quality"] = _without_nan(quality)
            config["relations"] = rules
            config.pop("names", None)
            write_json(folder / "config.json", config)
    return ConceptGraph.load(folder / "relations.npz")


def _gather(sae: SparseAutoencoder, cache: FeatureCache, evidence: Evidence, group: Group) -> Evaluation:
    """Fill `evidence` from this process's share of the images; the quality over all images."""
    first_image = 0
    shown = tqdm(total=cache.n_tokens, desc="relating", unit="tok", unit_scale=True, disable=group.rank > 0)
    with shown as bar:

        def pieces() -> Iterator[Tensor]:
            nonlocal first_image
            for first_token, features in cache.scan(group=group):
                first_image = first_token // cache.tokens_per_image
                yield features

        def encode_and_gather(features: Tensor) -> SparseCodes:
            codes = sae.encode(features)
            evidence.update(codes, features, first_image)
            bar.update(codes.n * group.size)
            return codes

        return evaluate(sae, pieces(), encode_and_gather, group)


def _part(folder: Path, rank: int) -> Path:
    return folder / "evidence" / f"part-{rank}"


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

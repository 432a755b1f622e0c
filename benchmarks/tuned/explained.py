"""How fitted models explain themselves: DEAL's concept maps, and every explainer on every fitted model.

In: fitted methods and test photographs. Out: rows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from benchmarks.heads.settings import SIDE
from benchmarks.maps.rows import CHANGES, PLACES, rows_of
from benchmarks.maps.settings import CELL, RISE_MASKS, STEPS
from benchmarks.probes.metrics import pixel_classes
from benchmarks.tuned.sets import TunedSet
from benchmarks.tuned.settings import JUDGED_CHANGED
from insight import ConceptModel
from insight.attribution import Explainable, scorer_of
from insight.attribution.concepts import ConceptMaps
from insight.attribution.explainers import explainer
from insight.attribution.relevance import Relevance
from insight.backbones import Backbone, CentreSquare
from insight.data.decode import decode
from insight.evaluation import Case, mean_over_images
from insight.evaluation.concept_maps import consistency, overlap, separation
from insight.evaluation.insertion_deletion import fidelity
from insight.evaluation.judging import Row as Judged
from insight.evaluation.judging import judge
from insight.methods.deal import Deal


def photos_of(tuned: TunedSet, index: Sequence[int], transform: CentreSquare) -> Tensor:
    """[k, 3, S, S] of some of the set."""
    return torch.stack([transform(decode(tuned.files[i])) for i in index])


def map_values(method: Deal, tuned: TunedSet, index: Sequence[int]) -> dict[str, np.ndarray]:
    """Of each photograph: relevance maps of its class's concepts and of the class, by the measures that DEAL has."""
    few = tuned.bank.first(method.settings.concepts)
    found: dict[str, list[float]] = {"separation": [], "overlap": [], "consistency": [], "fidelity": []}
    for i in index:
        label = int(tuned.photos.labels[i])
        texts = [*few.concepts_of(label), few.classes[label]]
        image = photos_of(tuned, [i], method.backbone.transform)
        scorer = scorer_of(method, texts)
        maps = Relevance().maps(scorer, image)
        found["separation"].append(float(separation(maps[:, :-1])[0]))
        found["overlap"].append(float(overlap(maps[:, :-1])[0]))
        found["consistency"].append(float(consistency(maps[:, :-1], maps[:, -1], of="mean")[0]))
        large = Relevance()(method, image, texts)
        found["fidelity"].append(float(np.nanmean(fidelity(scorer, image, large)[0, :-1])))
    return {name: np.array(values) for name, values in found.items()}


def map_rows(data: str, values: Mapping[str, dict[str, np.ndarray]], controls: Mapping[str, str | None]) -> list[dict]:
    """Means, and differences to the control."""
    rows: list[dict[str, Any]] = []
    for by, own in values.items():
        for figure, value in own.items():
            base = {"part": "concept maps", "data": data, "images": len(value), "by": by, "figure": figure}
            rows.append({**base, "against": None, **_mean(value)})
            control = values.get(controls[by] or "")
            if control is not None:
                rows.append({**base, "against": controls[by], **_mean(value - control[figure])})
    return rows


def judged_rows(
    tuned: TunedSet,
    models: Mapping[str, Explainable | Backbone],
    concepts: ConceptModel,
    masks: Path,
    index: Sequence[int],
    target: str,
    quick: bool,
) -> list[dict]:
    """Every explainer on every fitted model: maps of one class against masks `STEM.png`, and changed photographs.

    Two compare patches with vectors of the texts: they are asked of models that have such, on the encoder as it was.
    """
    few: dict[str, dict[str, Any]] = {"rise": {"masks": 2 if quick else RISE_MASKS}}
    if quick:
        few["m2ib"] = {"steps": 2, "samples": 1}
    names = ("m2ib", "relevance", "gradcam", "rise", "captum:saliency", "centre", "random")
    explainers = {name: explainer(name, **few.get(name, {})) for name in names}
    comparing = {"similarity": explainer("similarity"), "concepts": ConceptMaps(concepts)}
    view = CentreSquare(SIDE)
    cases = []
    for i in index:
        with Image.open(masks / f"{tuned.files[i].stem}.png") as image:
            lesion = Image.fromarray((np.asarray(image.convert("L")) > 0).astype(np.uint8))
        mask = pixel_classes(lesion, view, 2) == 1
        cases.append(Case(view(decode(tuned.files[i])), (target,), mask[None]))
    placed: list[Judged] = []
    changed: list[Judged] = []
    for name, model in models.items():
        scorer = scorer_of(model, (target,))
        compares = scorer.vectors is not None and scorer.backbone is concepts.backbone
        asked = {**explainers, **(comparing if compares else {})}
        placed += judge(asked, {name: model}, cases, perturb=False)
        changed += judge(asked, {name: model}, cases[:JUDGED_CHANGED], steps=STEPS, cell=CELL)
        print(f"{tuned.name}: {name} explained", flush=True)
    data = f"{tuned.name}, {target}"
    found = rows_of("explainers, masks", data, placed, PLACES)
    found += rows_of("explainers, changes", data, changed, CHANGES)
    return [{**row, "each": None} for row in found]


def _mean(values: np.ndarray) -> dict[str, Any]:
    found = mean_over_images(values)
    return {"value": found.value, "interval": [found.low, found.high], "each": None}

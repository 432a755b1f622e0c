"""Which concept of one model is which of another: cosines of their directions, where both models have one encoder.

In: two open models. Out: plain values ready for JSON. The cosines of all pairs are taken once, some rows at a time.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F

from .concept_list import ConceptList
from .explorer import Explorer
from .open_model import OpenModel
from .refusal import Refusal

NEAREST = 10
"""Kept of each concept, so that five are left where some are hidden."""
TOLD = 5
SAME = 0.7
"""Cosine from which two concepts count as found again."""
ROWS = 1024
MOST = 2000


@dataclass(frozen=True, eq=False)
class Nearest:
    """Of each concept [m] of a model the `NEAREST` of another: concepts and cosines [m, n], the best first.

    −1 where there are none: of concepts that never fire.
    """

    concepts: np.ndarray
    cosines: np.ndarray


def why_not_comparable(explorer: Explorer) -> str | None:
    """Why the two models cannot be compared; None where they can."""
    if len(explorer.models) < 2:
        return "One model is open. To compare it with another: insight explore MODEL --compare OTHER."
    first, second = (opened.model.config["backbone"] for opened in explorer.models)
    if first["fingerprint"] != second["fingerprint"]:
        return (
            f"The models have different encoders ({first['name']} and {second['name']}), so their directions are not in"
            " one space. A photo can be compared in the Photo view."
        )
    return None


def matches(explorer: Explorer, limit: int) -> dict[str, Any]:
    """The best match of each listed concept of the first model, the surest pairs first."""
    if not 0 <= limit <= MOST:
        raise Refusal(f"limit: expected 0 to {MOST}, found {limit}")
    why = why_not_comparable(explorer)
    if why is not None:
        return {"comparable": False, "why": why, "pairs": [], "share": None}
    ours, theirs = (opened.listed for opened in explorer.models)
    nearest = _nearest(explorer, 0)
    pairs, living = [], 0
    for concept in range(len(ours.concepts)):
        if not ours.is_listed(concept) or not ours.concepts[concept].frequency:
            continue
        living += 1
        if best := _shown(theirs, nearest, concept, 1):
            pairs.append((concept, *best[0]))
    pairs.sort(key=lambda pair: -pair[2])
    return {
        "comparable": True,
        "why": f"Both models read {explorer.models[0].model.config['backbone']['name']}: directions are in one space.",
        "pairs": [{"a": ours.rows[a], "b": theirs.rows[b], "cosine": cosine} for a, b, cosine in pairs[:limit]],
        "share": sum(cosine >= SAME for _, _, cosine in pairs) / max(living, 1),
    }


def matches_of(explorer: Explorer, concept: int, m: int) -> dict[str, Any]:
    """The nearest concepts of the other model."""
    explorer.model(m)
    if (why := why_not_comparable(explorer)) is not None:
        raise Refusal(why)
    own, other = explorer.models[m].listed, explorer.models[1 - m].listed
    concept = own.row(concept)["id"]
    found = _shown(other, _nearest(explorer, m), concept, TOLD)
    return {"matches": [other.rows[k] | {"cosine": cosine} for k, cosine in found]}


def _nearest(explorer: Explorer, m: int) -> Nearest:
    with explorer.matching:
        if m not in explorer.nearest:
            explorer.nearest[m] = nearest(explorer.models[m], explorer.models[1 - m])
        return explorer.nearest[m]


def nearest(first: OpenModel, second: OpenModel) -> Nearest:
    """The nearest concepts of `second` to each of `first`, among those that fire."""
    a, b = (F.normalize(opened.model.sae.decoder.detach().float().cpu(), dim=1) for opened in (first, second))
    living = [torch.tensor([c.frequency > 0 for c in opened.model.concepts]) for opened in (first, second)]
    count = min(NEAREST, int(living[1].sum()))
    concepts, cosines = np.full((len(a), count), -1), np.zeros((len(a), count), np.float32)
    others = living[1].nonzero()[:, 0]
    for start in range(0, len(a), ROWS):
        rows = torch.arange(start, min(start + ROWS, len(a)))
        rows = rows[living[0][rows]]
        if not len(rows) or not count:
            continue
        best = (a[rows] @ b[others].T).topk(count, dim=1)
        concepts[rows], cosines[rows] = others[best.indices].numpy(), best.values.numpy()
    return Nearest(concepts, cosines)


def _shown(listed: ConceptList, found: Nearest, concept: int, most: int) -> list[tuple[int, float]]:
    """The nearest that are shown, merged ones as what they are now, each once."""
    kept: dict[int, float] = {}
    for other, cosine in zip(found.concepts[concept].tolist(), found.cosines[concept].tolist(), strict=True):
        if other >= 0 and listed.is_listed(target := listed.row(other)["id"]):
            kept.setdefault(target, cosine)
    return [*kept.items()][:most]

"""What storing features in a dtype costs: a dictionary's FVU, and a linear probe's accuracy on mean patches.

Everything is compared within a seed or a split: the same features, images, first weights and batches, exact in one case
and packed and unpacked in the other.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor

from benchmarks.peers.process import Peers
from benchmarks.sae_quality import OUR_LR, task_of
from insight.cache.format.dtypes import DTYPES, pack, unpack

Row = dict[str, Any]
EXACT = "float32"
HELD_OUT = 0.2
FOLDS = 5
SPLITS = 10
"""Of a probe's images, each into so many folds."""
RIDGE = 100.0
"""Penalty of a probe on standardised features."""


def stored_as(features: Tensor, dtype: str) -> Tensor:
    """float32 [..., d] as it comes out of a cache of that dtype."""
    out = torch.empty_like(features)
    unpack(*pack(features, dtype), out)
    return out


def dictionary_rows(features: Tensor, sizes: dict[str, Any], steps: int, seeds: int, folder: Path) -> list[Row]:
    """FVU on held-out images: trained on exact features and measured on those of each dtype, and the other way round.

    features: [images, tokens, d], exact; sizes: m, k, batch, threads.
    """
    order = torch.randperm(len(features), generator=torch.Generator().manual_seed(0))
    n_held_out = max(1, int(HELD_OUT * len(features)))
    parts = {"test": features[order[:n_held_out]].flatten(0, 1), "training": features[order[n_held_out:]].flatten(0, 1)}
    shuffled = torch.randperm(len(parts["training"]), generator=torch.Generator().manual_seed(1))
    files = {}
    for name, part in parts.items():
        for dtype in DTYPES:
            files[name, dtype] = str(folder / f"{name}-{dtype}.safetensors")
            stored = stored_as(part, dtype)
            save_file({"features": stored[shuffled] if name == "training" else stored}, files[name, dtype])
    tasks, trained = [], []
    for seed in range(seeds):
        for dtype in DTYPES:
            measured = DTYPES if dtype == EXACT else [EXACT]
            base = sizes | {
                "data": files["training", dtype],
                "measure": {name: files["test", name] for name in measured},
            }
            k = base.pop("k")
            tasks.append(task_of(base, "matryoshka", k, seed, steps, OUR_LR))
            trained.append((dtype, seed))
    rows: list[Row] = []
    for (dtype, seed), found in zip(trained, Peers([], folder, {}).run("insight", tasks, folder), strict=True):
        row = {"part": "fidelity", "trained_on": dtype, "seed": seed}
        if "error" in found:
            rows.append({**row, "error": found["error"]})
        rows += [{**row, "measured_on": name, "fvu": found[name]["fvu"]} for name in DTYPES if name in found]
    return rows


def probe_rows(features: Tensor, labels: Sequence[str | None]) -> list[Row]:
    """Accuracy of a linear probe from an image's mean patch to its label, in each dtype, cross-validated several times.

    The probe is solved in closed form: one that is iterated moves single images about at the least change of rounding,
    and an image is half a per cent of a fold here. Of classes with at least as many images as there are folds; no rows
    where there are not two of them.
    """
    from sklearn.linear_model import RidgeClassifier
    from sklearn.model_selection import StratifiedKFold, cross_val_score
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    names, of_image = np.unique([label or "" for label in labels], return_inverse=True)
    counts = np.bincount(of_image)
    keep = (counts >= FOLDS)[of_image] & (names != "")[of_image]
    target = of_image[keep]
    if len(np.unique(target)) < 2:
        return []
    probe = make_pipeline(StandardScaler(), RidgeClassifier(alpha=RIDGE))
    rows: list[Row] = []
    for dtype in DTYPES:
        x = stored_as(features[torch.from_numpy(keep)], dtype).mean(1).numpy()
        for number in range(SPLITS):
            folds = StratifiedKFold(FOLDS, shuffle=True, random_state=number)
            accuracy = float(cross_val_score(probe, x, target, cv=folds).mean())
            rows.append({"part": "probe", "dtype": dtype, "split": number, "accuracy": accuracy})
    return rows

"""Arms, fitted and asked: logits and concept scores of the tested photographs.

In: a `TunedSet` and an `Arm`. Out: `Answers`, seed by seed.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.heads.named import Fold
from benchmarks.tuned.kept import Kept, kept_of
from benchmarks.tuned.sets import TunedSet
from benchmarks.tuned.settings import Arm
from insight.backbones import Backbone
from insight.backbones.base import fingerprint_of
from insight.methods import FineTuned, load_method, method_class, save_method
from insight.methods.towers import FrozenTower, TunedTower
from insight.methods.training import fit
from sae.files import atomic_write

BATCH = 256
ANSWERS = "answers.npz"


@dataclass(frozen=True, eq=False)
class Answers:
    """Of n tested photographs, in the order of the folds. logits: [n, C]; concepts: [n, R] or None; pairs: int64
    [n, k, 2], the best (class, rationale), or None; seconds: of training."""

    logits: np.ndarray
    concepts: np.ndarray | None
    pairs: np.ndarray | None
    seconds: float

    @property
    def probabilities(self) -> np.ndarray:
        return torch.from_numpy(self.logits).double().softmax(1).numpy()


def made(tuned: TunedSet, arm: Arm, backbone: Backbone, seed: int) -> FineTuned:
    """The method of an arm, not trained yet."""
    kind = method_class(arm.kind)
    known = {field.name for field in fields(kind.Settings)}
    own: dict[str, Any] = {**arm.settings, **({"seed": seed} if "seed" in known else {})}
    return kind(backbone, tuned.bank_with(arm.concepts), kind.Settings(**own))


def examples_for(tuned: TunedSet, method: FineTuned, work: Path) -> Kept:
    """What its tower keeps of every photograph; the same for all arms that train from the same block on."""
    tower = method.tower
    if isinstance(tower, FrozenTower):
        return kept_of(tuned.features, tower, work / "tuned" / f"{tuned.name}, {len(tuned.features)}, vectors.npy")
    assert isinstance(tower, TunedTower)
    file = f"{tuned.name}, {len(tuned.photos)}, tokens into block {tower.first}.npy"
    return kept_of(tuned.photos, tower, work / "tuned" / file)


def trained(method: FineTuned, arm: Arm, kept: Kept, seed: int, often: dict[str, Any]) -> float:
    """Train it as the arm says, and the seconds it took. often: of `FitConfig` what the set asks for."""
    if arm.fit is None:
        return 0.0
    start = time.perf_counter()
    fit(method, kept, replace(method.fit_config, **{**often, **arm.fit}, seed=seed), progress=False)
    return time.perf_counter() - start


def answers(
    tuned: TunedSet,
    arm: Arm,
    backbone: Backbone,
    folds: tuple[Fold, ...],
    seed: int,
    work: Path,
    often: dict[str, Any],
) -> tuple[Answers, FineTuned]:
    """Fitted on each fold's training photographs and asked about its test ones; and the last fold's method.

    Both are kept in the work folder: a benchmark that was stopped goes on with the next arm.
    """
    said = [tuned.name, len(tuned.photos), arm, [(len(a), len(b)) for a, b in folds], seed, sorted(often.items())]
    key = fingerprint_of([backbone.fingerprint, repr(said), tuned.bank_with(arm.concepts).fingerprint])
    place = work / "tuned" / "fitted" / key[:16]
    if (place / ANSWERS).exists():
        return read_answers(place / ANSWERS), load_method(place, backbone=backbone)
    parts, seconds = [], 0.0
    for train, test in folds:
        method = made(tuned, arm, backbone, seed)
        kept = examples_for(tuned, method, work)
        seconds += trained(method, arm, kept.at(train), seed, often)
        parts += asked(method, kept.at(test))
    logits, concepts, pairs = (
        None if any(part[kind] is None for part in parts) else np.concatenate([part[kind] for part in parts])
        for kind in range(3)
    )
    assert logits is not None
    found = Answers(logits, concepts, pairs, seconds)
    save_method(method, place)
    write_answers(found, place / ANSWERS)
    return found, method


def write_answers(found: Answers, file: Path) -> None:
    """As NPZ, whole or not at all."""
    arrays = {name: value for name, value in vars(found).items() if value is not None}
    with atomic_write(file) as temporary, temporary.open("wb") as opened:
        np.savez(opened, **arrays)


def read_answers(file: Path) -> Answers:
    """What `write_answers` wrote."""
    with np.load(file, allow_pickle=False) as arrays:
        logits, concepts, pairs = (arrays.get(name) for name in ("logits", "concepts", "pairs"))
        return Answers(logits, concepts, pairs, float(arrays["seconds"]))


@torch.no_grad()
def asked(method: FineTuned, kept: Kept) -> list[tuple[np.ndarray, np.ndarray | None, np.ndarray | None]]:
    """Logits, concept scores and best pairs, some photographs at a time."""
    method.eval()
    found = []
    for part in kept.kept.split(BATCH):
        output = method.decide(part)
        scores, pairs = output.concept_scores, output.extras.get("joint_pairs")
        found.append(
            (
                output.logits.numpy(),
                None if scores is None else scores.numpy(),
                None if pairs is None else pairs.numpy(),
            )
        )
    return found

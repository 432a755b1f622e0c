"""Whether concepts are named rightly and related truly, on photographs that neither names nor relations were made from.

    python -m benchmarks.naming --json FILE --data DIR --work DIR [--birds DIR] [--cache DIR] [--test-cache DIR]
        [--seeds N] [--dev] [--quick]

DIR of --data holds `imagenet-200x5`, `coco-captions`, `msrc` and `clothing-parts` in the layouts of this project's
documents. Dictionaries are trained on the training photographs, one for each seed, and asked about the test splits of
the two masked sets, the held-out photographs of COCO with their captions, and those of ImageNet. Caches, models and
their evidence are kept in --work; caches of the same photographs can be given instead. --dev asks about training
photographs: modes and thresholds are chosen by it, and nothing that it prints is a result.

What a concept is: the label of best IoU on one half of the masked photographs, if the other half agrees. The headline,
fixed before any test photograph was looked at: how often the first of 20,000 words is that label or a kind of it.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import torch

import insight.backbones
from benchmarks.concepts.claims import claims_of
from benchmarks.concepts.dictionary import make_dictionary
from benchmarks.concepts.material import Part, ask, link_photos
from benchmarks.concepts.modes import BEST, MODES, PUBLISHED
from benchmarks.concepts.questions import Questions, Replies, by_table
from benchmarks.concepts.related import edge_rows
from benchmarks.concepts.rows import ABSTAINED, Row, Table
from benchmarks.concepts.texts import TextSpace
from benchmarks.record import write_record
from insight.cache import FeatureCache, write_cache


def name_rows(replies: list[Replies], seed: int) -> list[Row]:
    """All rows of figures of names."""
    rows = []
    for (data, vocabulary), answers in by_table(replies).items():
        table = Table(data, vocabulary, answers, seed)
        rows += table.shares()
        if all(figure in answers[BEST][0].values for figure in ABSTAINED):
            rows += [*table.ratios(ABSTAINED, list(MODES), PUBLISHED), *table.abstention()]
    return rows


def concept_rows(replies: list[Replies]) -> list[Row]:
    """How many concepts fire, have a label, and keep it on the other half."""
    return [
        {
            "part": "concepts",
            "seed": seed,
            "data": some.data,
            "fire": some.fire,
            "labelled": some.one_half,
            "agreed": some.agreed,
            "asked": len(some.concepts),
            "labels": len(set(some.labels)),
        }
        for seed, of_seed in enumerate(replies)
        for some in of_seed.labelled
    ]


def show(row: Row) -> None:
    """One row for a person; curves of abstention are left to the file."""
    if "value" not in row:
        print(", ".join(f"{key} {value}" for key, value in row.items()), flush=True)
    elif "surest" not in row["figure"] or row["part"] == "abstention":
        bounds = "" if row["interval"] is None else "[{:.3f}, {:.3f}]".format(*row["interval"])
        keys = ("data", "vocabulary", "mode", "against", "graph", "kind", "judge", "figure")
        print(" | ".join(row[key] for key in keys if row.get(key)), f"{row['value']:.3f}", bounds, flush=True)


def options_of(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True, help="folder of the four sets of photographs")
    parser.add_argument("--work", type=Path, required=True, help="folder for what is made once")
    parser.add_argument("--birds", type=Path, help="the photographs of the demo, to train on as well")
    parser.add_argument("--cache", type=Path, help="cache of the training photographs, in place of one in --work")
    parser.add_argument("--test-cache", type=Path, help="cache of the held-out photographs, in place of one in --work")
    parser.add_argument("--backbone", default="small")
    parser.add_argument("--concepts", type=int, help="of a dictionary (default: as many as `insight train` takes)")
    parser.add_argument("--steps", type=int, help="of training (default: as many as `insight train` takes)")
    parser.add_argument("--seeds", type=int, help="dictionaries (default: 3, 1 with --quick)")
    parser.add_argument("--dev", action="store_true", help="ask about training photographs, to choose modes by")
    parser.add_argument("--quick", action="store_true", help="20 photographs of each set, one small dictionary")
    options = parser.parse_args(arguments)
    options.seeds = options.seeds or (1 if options.quick else 3)
    if options.quick:
        options.concepts, options.steps = options.concepts or 256, options.steps or 100
    return options


def cache_of(options: argparse.Namespace, part: Part, given: Path | None) -> FeatureCache:
    """The cache of the training or the held-out photographs: the one given, or one that is made once."""
    if given is not None:
        return FeatureCache.open(given)
    few = 20 if options.quick else None
    photos = link_photos(options.data, options.work / f"photos-{part}", part, birds=options.birds, few=few)
    backbone = insight.backbones.load(options.backbone)
    return write_cache(photos, backbone, options.work / f"cache-{part}")


def main(arguments: list[str] | None = None) -> None:
    options = options_of(arguments)
    cache = cache_of(options, "train", options.cache)
    asked = ask(options.data, cache if options.dev else cache_of(options, "test", options.test_cache))
    asked.cache.require(cache.fingerprint)
    texts = TextSpace(insight.backbones.load(cache.backbone), options.work / "vocabularies")
    questions = Questions(asked, texts, 500 if options.quick else None)
    replies = []
    for seed in range(options.seeds):
        made = make_dictionary(options.work, cache, asked, seed, concepts=options.concepts, steps=options.steps)
        replies.append(questions.ask(made))
    rows = [*concept_rows(replies), *name_rows(replies, seed=0)]
    rows += edge_rows([one.verdicts for one in replies], seed=0)
    for row in rows:
        show(row)
    write_record(
        options.json,
        benchmark="naming",
        data={
            "name": ", ".join(f"{name} ({photos:,})" for name, photos in asked.counts.items()),
            "images": sum(asked.counts.values()),
            "split": "training photographs, to choose modes by" if options.dev else "test or held out",
        },
        settings=settings_of(options, cache, len(questions.open)),
        rows=rows,
        claims=claims_of(rows),
        packages=["faiss-cpu"],
    )


def settings_of(options: argparse.Namespace, cache: FeatureCache, phrases: int) -> dict[str, Any]:
    """What was run."""
    return {
        "backbone": cache.backbone,
        "training_photos": cache.n_images,
        "seeds": options.seeds,
        "concepts": options.concepts,
        "steps": options.steps,
        "phrases": phrases,
        "best": BEST,
        "quick": options.quick,
        "threads": torch.get_num_threads(),
    }


if __name__ == "__main__":
    main()

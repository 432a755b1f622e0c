"""Train the model that comes with the package: a general dictionary of concepts for the backbone `small`.

In: `--data`, the folder with `coco-captions`, `imagenet-200x5`, `msrc` and `clothing-parts`; the demo's photographs and
the weights are fetched. Out: `--out`, a model folder of under 10 MB without a photograph in it, with its card. `--work`
keeps links to the photographs, caches, checkpoints and the full model; the same command goes on after any stop.

    python scripts/train_small_model.py --data DIR --work DIR

What is held out (`small_model/photos.py`) is only measured on. Caches that were made before are taken by `--cache` and
`--held-out-cache`, if they are of exactly these photographs. Two cores take about ten minutes, six of them for caches.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from pathlib import Path
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from insight.cache import FeatureCache
from insight.concept import load_concepts
from insight.pipeline import name_concepts, relate_concepts, train_dictionary
from naming import ConceptGraph
from sae import Evaluation, SparseAutoencoder, evaluate
from sae.errors import InsightError
from sae.files import read_json, write_json
from scripts.small_model.card import card_of, contents, write_markdown
from scripts.small_model.photos import cached, counts, held_out_photos, linked, training_photos

ROOT = Path(__file__).resolve().parents[1]
STEPS, LR = 3000, 2e-3  # by scripts/small_model/trials.py
SHIPPED = ("config.json", "sae.safetensors", "relations.npz", "examples.parquet", "concepts.parquet", "embeddings.npz")
LARGEST = 10_000_000  # bytes


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--cache", type=Path, help="default: WORK/cache")
    parser.add_argument("--held-out-cache", type=Path, help="default: WORK/held-out-cache")
    parser.add_argument("--out", type=Path, default=ROOT / "insight" / "models" / "small")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="cpu")
    arguments = parser.parse_args()
    work, device = arguments.work, arguments.device
    work.mkdir(parents=True, exist_ok=True)

    photos, held_out = training_photos(arguments.data, work), held_out_photos(arguments.data)
    print(f"photographs: {counts(photos)}; held out: {counts(held_out)}", flush=True)
    links, others = linked(photos, work / "photos"), linked(held_out, work / "held-out")
    cache = cached(photos, links, arguments.cache or work / "cache", device)
    unseen = cached(held_out, others, arguments.held_out_cache or work / "held-out-cache", device)

    whole = train_dictionary(cache, work / "dictionary", steps=STEPS, lr=LR, seed=arguments.seed, device=device)
    model = work / "model"
    whole.save_pretrained(model, read_json(work / "dictionary" / "config.json"), dtype=torch.float16)
    relate_concepts(model, cache, device=device)
    name_concepts(model, device=device)

    before, after = (measure(sae, unseen, device) for sae in (whole, SparseAutoencoder.from_pretrained(model)))
    rounding = after["fvu"][-1] / before["fvu"][-1] - 1
    concepts = load_concepts(model / "concepts.parquet", whole.config.n_concepts)
    holds = contents(concepts, ConceptGraph.load(model / "relations.npz"))
    sizes = {name: (model / name).stat().st_size for name in SHIPPED}
    card = card_of(read_json(model / "config.json"), counts(photos), counts(held_out), after, rounding, holds, sizes)
    ship(model, arguments.out, card)


def measure(sae: SparseAutoencoder, cache: FeatureCache, device: str) -> Evaluation:
    """How well a dictionary does on a whole cache."""
    return evaluate(sae.to(device), (features for _, features in cache.scan()))


def ship(model: Path, out: Path, card: dict[str, Any]) -> None:
    """Put what is shipped of `model`, and its card, in the place of `out`; `InsightError` when that is too large."""
    scratch = out.with_name(f".{out.name}.part")
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True)
    for name in SHIPPED:
        shutil.copyfile(model / name, scratch / name)
    write_json(scratch / "card.json", card)
    write_markdown(scratch / "README.md", card)
    size = sum(file.stat().st_size for file in scratch.iterdir())
    if size > LARGEST:
        raise InsightError(f"{scratch}: expected a model of at most {LARGEST:,} bytes, found {size:,}")
    shutil.rmtree(out, ignore_errors=True)
    scratch.replace(out)
    print(f"{out}: {size:,} bytes: {card['bytes']}")


if __name__ == "__main__":
    main()

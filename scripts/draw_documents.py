"""Draw the pictures of the documents and write the credits of their photographs.

In: `--demo`, the folder that `insight demo --out demo` made, with its photographs (Open Images, CC BY 2.0) and its
cache. Out: docs/pictures/*.jpg, drawn with the model `small`, and docs/credits.md. No other photographs are used.

    insight demo --out demo && python scripts/draw_documents.py --demo demo
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from insight import ConceptModel
from insight.cache import FeatureCache
from scripts.documents import figures
from scripts.documents.credits import credits_page

ROOT = Path(__file__).resolve().parents[1]


@torch.no_grad()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--demo", type=Path, required=True)
    demo = parser.parse_args().demo
    pictures = ROOT / "docs" / "pictures"
    pictures.mkdir(exist_ok=True)

    model = ConceptModel.from_pretrained("small")
    cache = FeatureCache.open(demo / "cache")
    mallard, houses = demo / "held-out" / "s0268.jpg", demo / "held-out" / "s0178.jpg"
    figures.patches(model, mallard, pictures / "patches.jpg")
    figures.concepts(model, mallard, pictures / "concepts.jpg")
    figures.levels(model, mallard, pictures / "levels.jpg")
    figures.relations(model, cache, demo / "photos", pictures / "relations.jpg")
    figures.sum_of_concepts(model, houses, pictures / "sum.jpg")
    figures.without_a_concept(model, houses, pictures / "without.jpg")
    attribution = (demo / "ATTRIBUTION.md").read_text(encoding="utf-8")
    (ROOT / "docs" / "credits.md").write_text(credits_page(attribution), encoding="utf-8")


if __name__ == "__main__":
    main()

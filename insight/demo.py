"""The demo: 919 photographs of birds and where they live, from download to explanation."""

from __future__ import annotations

import time
from pathlib import Path

from .data.demo import fetch_photos
from .model import ConceptModel
from .pipeline import build_model, describe_model
from .render.cards import concept_cards
from .render.page import write_page

HELD_OUT = ("s0268", "s0892", "s0481", "s0652", "s0178", "s0928")
"""Photos kept out of training and explained: a mallard, penguins, a parrot among leaves, a hen, houses, an egret."""


def run_demo(out: Path, *, device: str) -> None:
    """Write `out`/model, cache, photos, held-out, explanation.json, explanation.png, report.html, ATTRIBUTION.md."""
    start = time.monotonic()
    photos, held_out, credits = fetch_photos(out, HELD_OUT)
    model_folder = out / "model"
    build_model(photos, model_folder, out / "cache", device=device)

    model = ConceptModel.from_pretrained(model_folder, device=device)
    explanations = [model.explain(held_out / f"{stem}.jpg") for stem in HELD_OUT]
    explanations[0].save_json(out / "explanation.json")
    explanations[0].save_png(out / "explanation.png")
    shown = sorted({c.id for explanation in explanations for c in explanation.concepts})
    relatives = {i for c in shown for i in (*model.relations.parents(c), *model.relations.children(c))}
    cards = concept_cards(model, model_folder, photos, sorted({*shown, *(int(i) for i in relatives)}))
    write_page(
        out / "report.html",
        title="What a vision model sees in 919 photographs of birds",
        explanations=explanations,
        cards=cards,
        facts=describe_model(model.config),
        credits=credits,
    )
    minutes = (time.monotonic() - start) / 60
    print(f"\nDone in {minutes:.1f} minutes. Open {out / 'report.html'} in a browser; the model is in {model_folder}.")
    print(f"Next: insight explain {model_folder} PHOTO --html photo.html, or insight build FOLDER --out MODEL.")

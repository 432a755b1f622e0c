"""What is asked of a photo: its concepts, its class, its segments. The encoder sees a photo once.

In: an `Explorer`, the token of a photo, and what a person chose. Out: plain values ready for JSON. Whoever calls one of
these functions waits for a turn at the encoder.
"""

from __future__ import annotations

import math
import time
from typing import Any

import numpy as np
from PIL import Image

from ..heads import ConceptClassifier, ConceptSegmenter, Segmentation
from ..heads.class_explanation import ClassExplanation, ClassPrediction
from ..model import EncodedPhoto
from .classes import read_classes
from .explorer import Explorer
from .opened_heads import head_at
from .photos import Dropped
from .refusal import Refusal

CONTRIBUTIONS = 40
AT_PIXEL = 20
SIDE = 448
"""Of a segmented photo, in pixels."""
MOST_FOUND = 200


def explain(explorer: Explorer, photo: str, m: int) -> dict[str, Any]:
    """All concepts that are shown on every patch, as CSR by patch, and what there is to say of each."""
    opened = explorer.model(m)
    dropped = explorer.photos[photo]
    start = time.monotonic()
    with explorer.turns.take():
        encoded = encoded_photo(explorer, dropped, m)
        shown = opened.model.shown(encoded.codes)
        listed, graph = opened.listed, opened.model.relations
    table = {}
    relatives: set[int] = set()
    for concept in np.unique(shown.concepts.numpy()).tolist():
        row = listed.rows[concept]
        kept = ("name", "named", "guessed", "how_sure", "alternatives", "level", "edited")
        parents, children = graph.parents(concept).tolist(), graph.children(concept).tolist()
        relatives |= {*parents, *children}
        kinds = {str(other): kind for other, kind in graph.kinds_around(concept).items()}
        table[str(concept)] = {key: row[key] for key in kept} | {
            "parents": parents,
            "children": children,
            "kinds": kinds,
        }
    return {
        "photo": photo,
        "m": m,
        "grid": list(encoded.features.grid),
        "fvu": encoded.fvu,
        "offsets": shown.offsets.tolist(),
        "concepts": shown.concepts.tolist(),
        "activations": [round(value, 4) for value in shown.activations.tolist()],
        "table": table,
        "names": {str(other): listed.rows[other]["name"] for other in sorted(relatives)},
        "seconds": round(time.monotonic() - start, 3),
    }


def search(explorer: Explorer, text: str, m: int, top: int) -> dict[str, Any]:
    """The concepts nearest to a text in meaning, best first."""
    opened = explorer.model(m)
    if not text.strip():
        raise Refusal("text: expected a word or a sentence, found none")
    if len(text) > 1000 or not 1 <= top <= MOST_FOUND:
        raise Refusal(f"expected a text of at most 1,000 characters and 1 to {MOST_FOUND} to find")
    with explorer.turns.take():
        found = opened.model.search(text, top=top)
        listed = opened.listed
    return {"items": [listed.rows[concept.id] | {"similarity": score} for concept, score in found]}


def classify(explorer: Explorer, photo: str, classes: str, head: int, remove: list[int]) -> dict[str, Any]:
    """The class of a photo by text or by a head, and each concept's exact share in its logit.

    constant + Σ contributions + others = logit; `without` is what the head would say without some concepts.
    """
    dropped = explorer.photos[photo]
    with explorer.turns.take():
        chosen = _classifier(explorer, classes, head)
        explanation = chosen.explain(encoded_photo(explorer, dropped, 0))
    listed, told = explanation.contributions[:CONTRIBUTIONS], explanation.contributions
    return {
        "classes": _classes(explanation.prediction),
        "target": str(explanation.target),
        "constant": explanation.intercept,
        "logit": explanation.logit,
        "contributions": [
            {
                "id": item.id,
                "title": item.title,
                "guessed": item.guessed,
                "contribution": item.contribution,
                "activation": item.activation,
            }
            for item in listed
        ],
        "others": math.fsum(item.contribution for item in told[CONTRIBUTIONS:]),
        "without": _without(explanation, remove) if remove else None,
    }


def segment(explorer: Explorer, photo: str, classes: str, head: int) -> dict[str, Any]:
    """The class of every pixel, as run lengths row by row, and the share of each class."""
    with explorer.turns.take():
        segmentation = _segmentation(explorer, photo, classes, head)
        labels = segmentation.labels
    flat = labels.ravel()
    starts = np.flatnonzero(np.diff(flat, prepend=flat[0] - 1))
    lengths = np.diff(starts, append=len(flat))
    return {
        "classes": list(segmentation.classes),
        "shares": [float((labels == number).mean()) for number in range(len(segmentation.classes))],
        "size": list(labels.shape),
        "runs": np.column_stack([flat[starts], lengths]).ravel().tolist(),
        "exact": segmentation.exact_at_pixels,
    }


def segment_at(explorer: Explorer, photo: str, classes: str, head: int, row: int, column: int) -> dict[str, Any]:
    """Why a pixel is of its class: constant + Σ concepts + others = logit."""
    with explorer.turns.take():
        found = _segmentation(explorer, photo, classes, head).contributions(row, column)
    concepts = zip(found.concepts.tolist(), found.titles, found.values.tolist(), strict=True)
    told = [
        {"id": concept, "title": title or f"concept {concept} (hidden)", "contribution": value}
        for concept, title, value in concepts
    ]
    return {
        "name": found.name,
        "logit": found.logit,
        "constant": found.constant,
        "concepts": told[:AT_PIXEL],
        "others": math.fsum(item["contribution"] for item in told[AT_PIXEL:]),
    }


def encoded_photo(explorer: Explorer, dropped: Dropped, m: int) -> EncodedPhoto:
    """What the encoder of a model saw of a photo; it looks once. Needs a turn."""
    if m not in dropped.encoded:
        dropped.encoded[m] = explorer.model(m).model.encode_photo(dropped.square)
        dropped.square = dropped.encoded[m].view  # the same picture, held once
    return dropped.encoded[m]


def _classifier(explorer: Explorer, classes: str, head: int) -> ConceptClassifier:
    if head >= 0:
        return head_at(explorer.heads, head, "classifier")
    key = ("classify", classes)
    if (known := explorer.heads_of_text.get(key)) is None:
        read = read_classes(classes)
        if len(read) < 2:
            raise Refusal("classes: expected at least two to choose from, found one; add another after a comma")
        known = ConceptClassifier.zero_shot(explorer.models[0].model, read)
        explorer.heads_of_text.put(key, known)
    return known


def _segmenter(explorer: Explorer, classes: str, head: int) -> ConceptSegmenter:
    if head >= 0:
        return head_at(explorer.heads, head, "segmenter")
    key = ("segment", classes)
    if (known := explorer.heads_of_text.get(key)) is None:
        known = ConceptSegmenter(explorer.models[0].model, read_classes(classes))
        explorer.heads_of_text.put(key, known)
    return known


def _segmentation(explorer: Explorer, photo: str, classes: str, head: int) -> Segmentation:
    """Kept for a while, so that pixels of it can be asked for."""
    dropped = explorer.photos[photo]
    key = (photo, classes if head < 0 else "", head, explorer.models[0].version)
    if (known := explorer.segmentations.get(key)) is None:
        segmenter = _segmenter(explorer, classes, head)
        square = dropped.square
        if square.width > SIDE:
            square = square.resize((SIDE, SIDE), Image.Resampling.LANCZOS)
        own = explorer.models[0].model.backbone.image_size
        plain = segmenter.size in (None, own) and segmenter.window is None and segmenter.stride is None
        features = encoded_photo(explorer, dropped, 0).features if plain else None
        known = segmenter.predict(square, features)
        explorer.segmentations.put(key, known)
    return known


def _without(explanation: ClassExplanation, remove: list[int]) -> dict[str, Any]:
    prediction = explanation.without(remove)
    return {"removed": remove, "classes": _classes(prediction), "target": str(prediction.predicted)}


def _classes(prediction: ClassPrediction) -> list[dict[str, Any]]:
    """The likeliest first."""
    order = np.argsort(-prediction.probabilities, kind="stable").tolist()
    logits, probabilities = prediction.logits.tolist(), prediction.probabilities.tolist()
    return [
        {"name": str(prediction.classes[i]), "logit": logits[i], "probability": probabilities[i]} for i in order
    ]

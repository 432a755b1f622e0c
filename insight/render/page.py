"""One self-contained HTML page: explained photos, the concepts behind them, and what the model is.

Everything the page needs (pictures, maps, names, style, script) is inside it; it makes no request when opened.
"""

from __future__ import annotations

import base64
import html
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image

from naming.relations.edges import Kind
from sae.files import atomic_write

if TYPE_CHECKING:
    from ..explanation import Explanation

PHOTO_PIXELS = 640


@dataclass(frozen=True)
class ConceptCard:
    """One concept of the dictionary as the page shows it.

    `named`: it has a name; else `name` is its number and `alternatives` are guesses. `confidence` that the first of
    them is right, and `score`, the name's cosine: None where not known. `share`: of the patches it is active on.
    `names`: of itself, its parents and children. `kinds`: what the child is to the parent, where it is known.
    `examples`: crops around its strongest patches. `edited`: a person changed it.
    """

    id: int
    name: str
    score: float | None
    alternatives: Sequence[str]
    level: int
    share: float
    parents: Sequence[int]
    children: Sequence[int]
    kinds: Mapping[int, Kind]
    names: Mapping[int, str]
    examples: Sequence[Image.Image]
    named: bool = True
    confidence: float | None = None
    edited: bool = False


def write_page(
    path: Path | str,
    *,
    title: str,
    explanations: Sequence[Explanation],
    cards: Sequence[ConceptCard] = (),
    facts: Mapping[str, str] | None = None,
    credits: str = "",
) -> None:
    """Write the page, whole or not at all.

    `cards` fill the dictionary part, `facts` the table of what the model is, `credits` (plain text) the attribution
    of the photographs; each part is left out when empty.
    """
    names: dict[int, str] = {}
    for explanation in explanations:
        names.update(explanation.names)
    for card in cards:
        names.update(card.names)
    data = {
        "title": title,
        "names": names,
        "explanations": [_explanation_data(explanation) for explanation in explanations],
        "cards": [_card_data(card) for card in cards],
        "facts": dict(facts or {}),
        "credits": credits,
    }
    template = files("insight.render").joinpath("page.html").read_text(encoding="utf-8")
    # "<" never appears inside the script element, so no name can close it; `textContent` writes everything else.
    payload = json.dumps(data, ensure_ascii=False, allow_nan=False).replace("<", "\\u003c")
    page = template.replace("@TITLE@", html.escape(title)).replace("@DATA@", payload)
    with atomic_write(path) as temporary:
        temporary.write_text(page, encoding="utf-8")


def data_uri(image: Image.Image, quality: int = 85) -> str:
    """A JPEG data address of an image."""
    buffer = io.BytesIO()
    image.convert("RGB").save(buffer, format="JPEG", quality=quality)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")


def _explanation_data(explanation: Explanation) -> dict[str, Any]:
    photo = explanation.photo
    if max(photo.size) > PHOTO_PIXELS:
        photo = photo.resize((PHOTO_PIXELS, PHOTO_PIXELS), Image.Resampling.LANCZOS)
    values = explanation.to_dict()
    values["image"] = Path(explanation.image).name
    values["description"] = explanation.description
    values["photo"] = data_uri(photo, quality=90)
    return values


def _card_data(card: ConceptCard) -> dict[str, Any]:
    return {
        "id": card.id,
        "name": card.name,
        "named": card.named,
        "confidence": card.confidence,
        "score": card.score,
        "alternatives": list(card.alternatives),
        "level": card.level,
        "share": card.share,
        "parents": list(card.parents),
        "children": list(card.children),
        "kinds": dict(card.kinds),
        "edited": card.edited,
        "examples": [data_uri(image, quality=80) for image in card.examples],
    }

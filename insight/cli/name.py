"""`insight name`: what each concept is called."""

from pathlib import Path
from typing import Literal

from ..defaults import PRIOR
from .options import Device, Model, pick_device


def name(
    model: Model,
    /,
    vocabulary: Path | None = None,
    mode: Literal["parents", "bias", "vanilla"] = "parents",
    templates: tuple[str, ...] = ("a photo of {}",),
    prior: float = PRIOR,
    device: Device = None,
) -> None:
    """Name every concept by the nearest words of a vocabulary and write them to MODEL/concepts.parquet.

    Args:
        vocabulary: Text file with a word or phrase a line (default: the shipped list of over 20,000).
        mode: What of a concept is compared with words: it and its parents as they fire together, its direction and
            the dictionary's bias, or its direction alone.
        templates: Sentences around each word; their text vectors are averaged.
        prior: What a word gains in cosine for each tenfold of its frequency in English; 0 is the published rule.
    """
    from ..pipeline import name_concepts

    names = name_concepts(
        model, vocabulary=vocabulary, mode=mode, templates=templates, prior=prior, device=pick_device(device)
    )
    print(f"{model}: named {names} concepts; next: insight explain {model} PHOTO --html explanation.html")

"""`insight name`: what each concept is called."""

import shlex
from typing import Literal

from ..defaults import MIN_CONFIDENCE, PRIOR
from .options import Device, MaybeText, Model, Templates, pick_device


def name(
    model: Model,
    /,
    vocabulary: MaybeText = None,
    mode: Literal["regions", "parents", "bias", "vanilla"] = "regions",
    templates: Templates = ("a photo of {}",),
    prior: float = PRIOR,
    min_confidence: float = MIN_CONFIDENCE,
    attributes: MaybeText = None,
    namer: MaybeText = None,
    device: Device = None,
) -> None:
    """Name every concept by the nearest words of a vocabulary and write them to MODEL/concepts.parquet.

    Example: insight name model --vocabulary lvis+my-words.txt

    Args:
        vocabulary: Text file with a word or phrase a line, or the name of a list that comes with Insight, or several
            joined by "+" (default: english, over 20,000 things that can be seen).
        mode: What of a concept is compared with words: what the encoder says where it stands, or as published, it and
            its parents as they fire together, its direction and the dictionary's bias, or its direction alone.
        templates: Sentences around each word; their text vectors are averaged.
        prior: What a word gains in cosine for each tenfold of its frequency in English; 0 is the published rule.
        min_confidence: Concepts whose best word is right with less than this probability stay without a name, and keep
            it as a guess; 0 names all.
        attributes: List of adjectives (attributes: the one that comes with Insight, or a text file) by which concepts
            that share a name are told apart where one fits more than chance would; with `small` hardly any does.
        namer: Program with its arguments that asks a language model: it reads JSON lines {"id", "prompt"} and answers
            {"id", "name"} for each (docs/concepts.md). Its answers are kept in MODEL/namer.jsonl.
    """
    from naming import command_namer

    from ..models import own_folder

    folder = own_folder(model)
    program = None if namer is None else command_namer(_words(namer), answers=folder / "namer.jsonl")

    from ..pipeline import name_concepts

    names = name_concepts(
        folder,
        vocabulary=vocabulary,
        mode=mode,
        templates=templates,
        prior=prior,
        min_confidence=min_confidence,
        attributes=attributes,
        namer=program,
        device=pick_device(device),
    )
    print(f"{model}: named {names} concepts; next: insight explain {model} PHOTO --html explanation.html")


def _words(namer: str) -> list[str]:
    """A program and its arguments, as a shell splits them."""
    from sae.errors import InsightError

    try:
        words = shlex.split(namer)
    except ValueError as error:
        raise InsightError(f"--namer: expected a program and its arguments, found {namer!r} ({error})") from None
    if not words:
        raise InsightError("--namer: expected a program and its arguments, found nothing")
    return words

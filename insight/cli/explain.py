"""`insight explain`: which concepts stand in a photo, and where."""

from pathlib import Path
from typing import Annotated

import tyro

from ..defaults import MODEL
from .options import Device, MaybeFile, pick_device

Words = Annotated[
    tyro.conf.Positional[tuple[str, ...]],
    tyro.conf.arg(
        metavar="[MODEL] PHOTO...",
        help="Photographs; before them the folder of a model, or else `small` is asked, which comes with the package.",
        help_behavior_hint="(required)",
    ),
]


def explain(
    words: Words,
    /,
    top: int = 20,
    json: MaybeFile = None,
    png: MaybeFile = None,
    html: MaybeFile = None,
    device: Device = None,
) -> None:
    """Say which concepts each photo holds, how strongly and where. Without a file to write, a table is printed.

    Example: insight explain photo.jpg --html photo.html

    Args:
        top: Most concepts of a photo, strongest first.
        json: File to write everything to: one object, or a list of them for several photos.
        png: File to draw to; with several photos each gets its own, FILE-<photo>.png.
        html: File to write one self-contained page with all photos to.
    """
    from sae.files import write_json

    from .inputs import check_at_least
    from .outputs import check_file

    check_at_least(1, top=top)
    check_file("--json", json, ".json")
    check_file("--png", png, ".png")
    check_file("--html", html, ".html")
    model, images = _told_apart(words)

    from ..model import ConceptModel
    from ..render.page import write_page

    loaded = ConceptModel.from_pretrained(model, device=pick_device(device))
    explanations = [loaded.explain(image, top=top) for image in images]
    if json:
        values = [explanation.to_dict() for explanation in explanations]
        write_json(json, values[0] if len(values) == 1 else values)
    if png:
        for image, explanation in zip(images, explanations):
            several = len(images) > 1
            explanation.save_png(png.with_name(f"{png.stem}-{image.stem}{png.suffix}") if several else png)
    if html:
        title = images[0].name if len(images) == 1 else f"{len(images)} photos explained"
        write_page(html, title=title, explanations=explanations)
    if not (json or png or html):
        for explanation in explanations:
            print(f"{explanation.image}: {explanation.fvu:.0%} of its features unexplained")
            for concept in explanation.concepts:
                parents = ", ".join(explanation.belongs_to(concept))
                name = f"{concept.name} (edited)" if concept.edited else concept.name
                name += "" if concept.named or not concept.how_sure else f", {concept.how_sure}"
                print(f"  {concept.activation:8.3f}  {name}" + (f"  ({parents})" if parents else ""))


def _told_apart(words: tuple[str, ...]) -> tuple[str, list[Path]]:
    """The model and the photos: the first word is a photo if it looks like one and no model has that name."""
    from sae.errors import InsightError

    from ..data.folder import SUFFIXES
    from ..data.place import FILE, found_at
    from ..models import is_model, model_folder
    from .inputs import check_photos

    usage = "usage: insight explain [MODEL] PHOTO..."
    if not words:
        raise InsightError(f"expected at least one photo to explain, found none; {usage}")
    first, *others = words
    here, named = found_at(first), is_model(first)
    if not named and (here == FILE or Path(first).suffix.lower() in SUFFIXES):
        model, photos = MODEL, [*words]
    else:
        model, photos = first, others
    if not photos:
        what = here if not named else f"the name of a model; ./{first} is the file" if here == FILE else "a model"
        raise InsightError(f"expected at least one photo to explain, found only {first} ({what}); {usage}")
    images = [Path(photo) for photo in photos]
    check_photos(images)
    model_folder(model)  # that there is none is said before torch is loaded
    return model, images

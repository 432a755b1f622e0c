"""`insight segment`: the class of every pixel of a photo, and the concepts that made it so."""

from pathlib import Path
from typing import Annotated, Any

import tyro

from .options import Device, MaybeFile, MaybeFloat, MaybeFolder, MaybeInt, MaybeText, ReadModel, Templates, pick_device

Photo = Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="IMAGE", help="A photograph, of any size.")]


def segment(
    model: ReadModel,
    image: Photo,
    /,
    classes: MaybeText = None,
    head: MaybeFolder = None,
    background: MaybeFloat = None,
    size: MaybeInt = None,
    upsampling: str = "bilinear",
    templates: Templates = ("a photo of {}",),
    json: MaybeFile = None,
    png: MaybeFile = None,
    device: Device = None,
) -> None:
    """Say which class each pixel of a photo is of, and why. Without a file to write, shares and reasons are printed.

    Example: insight segment small photo.jpg --classes "sky,tree,car|bus" --png classes.png

    Args:
        classes: Names of the classes, with commas between: "sky,boat,water". A class may have several words, of which
            the best counts; the first is its name: "sky,boat|ship|canoe,water".
        head: Folder of a trained segmenter (`ConceptSegmenter.save`), in place of --classes.
        background: Probability (0 to 1) below which a pixel is background. Without it every pixel gets a class.
        size: Short side in pixels that the photo is seen at (default: the side of the encoder's square).
        upsampling: From patches to pixels: bilinear, jbu (along the edges of the photo), or a learned way.
        templates: Sentences around each word of a class; their text vectors are averaged.
        json: File to write masks (run lengths), regions and reasons to.
        png: File to draw to.
    """
    from sae.errors import InsightError

    from ..models import model_folder
    from .inputs import check_at_least, check_photos, check_within
    from .outputs import check_file

    if (classes is None) == (head is None):
        given = "neither" if head is None else "both"
        raise InsightError(f'expected --classes "sky,boat,water" or --head FOLDER, found {given}')
    check_within(0, 1, background=background)
    check_at_least(1, size=size)
    check_file("--json", json, ".json")
    check_file("--png", png, ".png")
    check_photos([image])
    words = {} if classes is None else _words(classes)
    if len(words) == 1 and "" not in words and background is None:
        raise InsightError("--classes: expected at least two, or --background too, found one: all pixels would be it")

    folder = model_folder(model)  # that there is none is said before torch is loaded

    from ..heads import ConceptSegmenter
    from ..model import ConceptModel

    loaded = ConceptModel.from_pretrained(folder, device=pick_device(device))
    settings: dict[str, Any] = {"background": background, "size": size, "upsampling": upsampling}
    if head is None:
        segmenter = ConceptSegmenter(loaded, words, templates=templates, **settings)
    else:
        defaults = {"background": None, "size": None, "upsampling": "bilinear"}
        given_settings = {name: value for name, value in settings.items() if value != defaults[name]}
        segmenter = ConceptSegmenter.load(head, loaded, **given_settings)
    found_classes = segmenter.predict(image)
    if json:
        found_classes.save_json(json)
    if png:
        found_classes.save_png(png)
    if not (json or png):
        shares = sorted(((found_classes.share(name), name) for name in found_classes.classes), reverse=True)
        shares.append((float((found_classes.labels == -1).mean()), "background"))
        print(f"{image}: " + ", ".join(f"{name} {share:.1%}" for share, name in shares if share))
        for region in found_classes.regions():
            left, top, right, bottom = region.box
            print(f"  {region.share:6.1%}  {left}-{right} × {top}-{bottom}: {region.sentence}")


def _words(classes: str) -> dict[str, tuple[str, ...]]:
    """Classes and their words from "sky,boat|ship"; `InsightError` for a name that is given twice."""
    from sae.errors import InsightError

    listed = [tuple(word.strip() for word in group.split("|")) for group in classes.split(",")]
    names = [words[0] for words in listed]
    again = next((name for i, name in enumerate(names) if name in names[:i]), None)
    if again:
        raise InsightError(f"--classes: {again!r} is given twice; keep one of them")
    return {words[0]: words for words in listed}

"""`insight find`: images or regions of a cache, by text, by concept or by example."""

import re
from pathlib import Path
from typing import Annotated

import tyro

from .options import Cache, Device, Flag, MaybeFile, MaybeFolder, MaybeText, ReadModel, Texts, pick_device

Text = Annotated[
    tyro.conf.Positional[str | None],
    tyro.conf.arg(
        metavar="[TEXT]",
        help="A word or sentence to look for; or else --concept or --like.",
        help_behavior_hint="",
    ),
]


def find(
    model: ReadModel,
    cache: Cache,
    text: Text = None,
    /,
    concept: Texts = (),
    without: Texts = (),
    like: MaybeText = None,
    top: int = 20,
    regions: Flag = False,
    index: MaybeFolder = None,
    json: MaybeFile = None,
    png: MaybeFile = None,
    photos: MaybeFolder = None,
    device: Device = None,
) -> None:
    """Find images of CACHE, or regions of them, by a text, by concepts of MODEL or by an example.

    The first query of a cache makes an index of it, which takes one pass; further ones use it.

    Example: insight find model model-cache "a wet dog" --png found.png

    Args:
        concept: Names or ids of concepts that must all be there; "car|bus" is there where one of the two is.
        without: Names or ids of concepts that must not be there.
        like: A photo to find others like it; PHOTO:ROW,COLUMN is one patch of it, counted from 0 on the encoder's grid.
        top: How many to find, best first.
        regions: Find connected patches and not whole images.
        index: Folder of the index (default: beside CACHE, named after both).
        json: File to write what was found to.
        png: File to draw it to: the photos, regions framed.
        photos: Folder of the photographs, for `--png` (default: the one that CACHE was made from).
    """
    import sys

    from sae.errors import InsightError
    from sae.files import write_json

    from ..models import model_folder
    from .inputs import check_at_least, check_folder_of_photos, check_photos
    from .outputs import check_file, check_folder

    given = {"TEXT": text is not None, "--concept": bool(concept or without), "--like": like is not None}
    asked = [flag for flag, there in given.items() if there]
    if len(asked) != 1:
        raise InsightError(
            f"expected one thing to look for, {' or '.join(given)}, found {' and '.join(asked) or 'none'}"
        )
    if text is not None and not text.strip():
        raise InsightError("TEXT: expected a word or sentence to look for, found nothing")
    check_at_least(1, top=top)
    check_file("--json", json, ".json")
    check_file("--png", png, ".png")
    if index:
        check_folder("--index", index)
    check_folder_of_photos("--photos", photos)
    photo, at = _example(like) if like is not None else (None, None)
    check_photos([] if photo is None else [photo])
    folder_of_model = model_folder(model)  # that there is none is said before torch is loaded

    from ..cache import FeatureCache
    from ..model import ConceptModel
    from ..render.found import MOST, draw_found
    from ..retrieval import ConceptIndex
    from ..retrieval.fingerprint import folder_beside
    from ..retrieval.wanted import Wanted

    opened = FeatureCache.open(cache)
    folder_of_photos = photos or opened.manifest.photo_folder
    if png and folder_of_photos is None:
        raise InsightError(f"{png}: expected --photos FOLDER with the photographs of {cache}, found none")
    if png and top > MOST:
        raise InsightError(f"{png}: expected at most {MOST} hits in a picture, found --top {top}")
    loaded = ConceptModel.from_pretrained(folder_of_model, device=pick_device(device))
    opened.require(loaded.config["backbone"]["fingerprint"])
    wanted, unwanted = [_alternatives(name) for name in concept], [_id_or_name(name) for name in without]
    if concept or without:
        Wanted.read(loaded.concepts, wanted, unwanted)  # a wrong name is said before a cache is indexed
    folder = index or folder_beside(loaded.sae, opened)
    if not folder.exists():
        print(f"{folder}: indexing {cache} once; later queries use it", file=sys.stderr, flush=True)
    searched = ConceptIndex.build(loaded, opened, folder)
    found = (searched.regions if regions else searched.images)(
        concepts=wanted,
        without=unwanted,
        text=text,
        like=photo,
        at=at,
        top=top,
    )
    if json:
        write_json(json, found.to_dict())
    if png and folder_of_photos:
        if len(found) and not any((folder_of_photos / hit.image).is_file() for hit in found):
            raise InsightError(
                f"--photos {folder_of_photos}: expected the photographs of {cache}, such as"
                f" {next(iter(found)).image}, found none of them; check the path"
            )
        draw_found(found, folder_of_photos, png)
    if json or png:
        return
    print(f"{found.query}: {len(found)} found" + ("" if found.exact else ", perhaps not the very best"))
    for hit in found:
        place = "" if hit.region is None else f"  row {hit.region.row}, column {hit.region.column}"
        print(f"  {hit.score:8.3f}  {hit.image}{place}" + (f", {hit.region.patches} patches" if hit.region else ""))


def _id_or_name(word: str) -> int | str:
    return int(word) if word.isdecimal() else word


def _alternatives(words: str) -> tuple[int | str, ...]:
    return tuple(_id_or_name(word.strip()) for word in words.split("|"))


def _example(like: str) -> tuple[Path, tuple[int, int] | None]:
    """PHOTO or PHOTO:ROW,COLUMN."""
    found = re.fullmatch(r"(.+):(\d+),(\d+)", like)
    return (Path(found[1]), (int(found[2]), int(found[3]))) if found else (Path(like), None)

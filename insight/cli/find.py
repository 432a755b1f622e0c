"""`insight find`: images or regions of a cache, by text, by concept or by example."""

import re
from pathlib import Path
from typing import Annotated

import tyro

from .options import Cache, Device, ReadModel, pick_device

Text = Annotated[
    tyro.conf.Positional[str | None],
    tyro.conf.arg(metavar="[TEXT]", help="A word or sentence to look for; or else --concept or --like."),
]


def find(
    model: ReadModel,
    cache: Cache,
    text: Text = None,
    /,
    concept: tuple[str, ...] = (),
    without: tuple[str, ...] = (),
    like: str | None = None,
    top: int = 20,
    regions: bool = False,
    index: Path | None = None,
    json: Path | None = None,
    png: Path | None = None,
    photos: Path | None = None,
    device: Device = None,
) -> None:
    """Find images of CACHE, or regions of them, by a text, by concepts of MODEL or by an example.

    The first query of a cache makes an index of it, which takes one pass; further ones use it.

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

    from ..cache import FeatureCache
    from ..model import ConceptModel
    from ..render.found import MOST, draw_found
    from ..retrieval import ConceptIndex
    from ..retrieval.fingerprint import folder_beside

    opened = FeatureCache.open(cache)
    folder_of_photos = photos or _photos_of(opened.manifest.sources)
    if png and folder_of_photos is None:
        raise InsightError(f"{png}: expected --photos FOLDER with the photographs of {cache}, found none")
    if png and top > MOST:
        raise InsightError(f"{png}: expected at most {MOST} hits in a picture, found --top {top}")
    loaded = ConceptModel.from_pretrained(model, device=pick_device(device))
    folder = index or folder_beside(loaded.sae, opened)
    if not folder.exists():
        print(f"{folder}: indexing {cache} once; later queries use it", file=sys.stderr, flush=True)
    searched = ConceptIndex.build(loaded, opened, folder)
    photo, at = _example(like) if like is not None else (None, None)
    found = (searched.regions if regions else searched.images)(
        concepts=[_alternatives(name) for name in concept],
        without=[_id_or_name(name) for name in without],
        text=text,
        like=photo,
        at=at,
        top=top,
    )
    if json:
        write_json(json, found.to_dict())
    if png and folder_of_photos:
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


def _photos_of(sources: tuple[dict[str, str], ...]) -> Path | None:
    """The folder of photographs that a cache was made from, if it was one folder and that is still there."""
    places = [Path(source["place"]) for source in sources if source["kind"] == "folder"]
    return places[0] if len(places) == len(sources) == 1 and places[0].is_dir() else None

"""`insight report`: what a model is, in one page, one picture or JSON."""

from pathlib import Path
from typing import Annotated, Literal, get_args

import tyro

from ..defaults import MODEL
from .options import Device, MaybeFolder, MaybeModel, pick_device

Form = Literal["html", "png", "json"]
Chosen = Annotated[Form | None, tyro.conf.arg(name="format", help_behavior_hint="")]
File = Annotated[Path, tyro.conf.arg(metavar="FILE")]
Heads = Annotated[tuple[Path, ...], tyro.conf.arg(metavar="FOLDER...", help_behavior_hint="")]


def report(
    model: MaybeModel = MODEL,
    /,
    *,
    out: File,
    form: Chosen = None,
    photos: MaybeFolder = None,
    heads: Heads = (),
    cache: MaybeFolder = None,
    device: Device = None,
) -> None:
    """Report on a model: what is left unexplained, how often concepts are active, how sure names are, the concept tree.

    The page is one file that needs no network and no script.

    Example: insight report model --out report.html --photos photos

    Args:
        out: File to write to.
        form: What to write: a page, a picture, or plain values (default: by the suffix of --out).
        photos: Folder of the photographs that the model was built from, to cut examples out of.
        heads: Folders of classifiers or segmenters of the model, to list their classes and strongest concepts.
        cache: Feature cache to measure the dictionary on, such as one of photographs held out.
    """
    from .inputs import check_folder_of_photos
    from .outputs import check_file

    check_file("--out", out, *([out.suffix.lower()] if form else [f".{kind}" for kind in get_args(Form)]))
    check_folder_of_photos("--photos", photos)

    from ..report import collect, write_report

    chosen = next(kind for kind in get_args(Form) if kind == (form or out.suffix.lower().removeprefix(".")))
    found = collect(model, photos=photos, heads=heads, cache=cache, device=pick_device(device))
    write_report(found, out, chosen)
    print(f"{out}: {found.facts['dictionary']}")
    for line in found.missing:
        print(f"  {line}")

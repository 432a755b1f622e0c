"""ConceptIndex: images and regions of a cache, found by concept, by text or by example.

A query goes two steps. What lies in the folder (postings of concepts, vectors of images and patches) names candidates;
their features are read from the cache and scored, so that every score and every region is of the features themselves.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from sae.errors import InsightError
from sae.files import read_json

from ..cache import FeatureCache
from ..data.decode import decode, to_rgb
from ..model import ConceptModel
from . import build, fingerprint
from .hits import Hit, Hits, Region
from .postings import Postings
from .regions import near_peak, regions_in
from .vectors import Vectors
from .wanted import AllOf, AnyOf, Wanted

Photo: TypeAlias = Path | str | Image.Image
FLAT = 1 << 18
"""Vectors up to which all are kept and compared: 0.4 GB of 384 dimensions, some 30 ms a query on one core."""
OF_EACH = 16
"""Vectors that stand for the patches of an image where candidates are looked for (`representatives`)."""
PART, PARTS = 1 << 13, 64
"""Images of a part, of many images as many more as make no more parts than that: 10 million make 64 of 156,250."""
_MOST_READ = 4096  # images that a query for regions of concepts encodes, at most
_TOGETHER = 32
_SAID = {"dictionary", "cache", "place", "images", "concepts", "patches", "flat", "parts", "files"}
_MORE = 4  # candidates for each hit where an index is not exact


class ConceptIndex:
    """An index of a cache by the concepts of a model. Made by `build`, opened by `open`.

    A query is one of: `concepts`, ids or names that must all be there, or a group of them of which any will do, as in
    `concepts=["wheel", ("car", "bus")]`, and none of `without`; `text`, which needs a backbone with text; `like`, an
    example photo, with `at=(row, column)` one patch of it, or any vector [d] of the backbone's space.

    `images` ranks by the activation of the concepts anywhere in the image (the least of those that must all be there,
    the largest of a group), by the cosine of the image vector, or, for a patch, by that of the best patch. `regions`
    gives connected patches, ranked by their best one: for concepts those where the score of the patch is above 0 (so
    `without` leaves out patches, not images), else those that are closer to the image's best cosine than to its mean.
    """

    def __init__(self, folder: Path, model: ConceptModel, cache: FeatureCache, about: dict[str, Any]) -> None:
        self.folder, self.model, self.cache, self.about = folder, model, cache, about
        self._postings = Postings(folder)
        self._photos = Vectors(build.parts_of(folder, about, build.PHOTOS), 1)
        self._patches = Vectors(build.parts_of(folder, about, build.PATCHES), about["patches"])
        self._id_offsets = np.load(folder / build.ID_OFFSETS, mmap_mode="r", allow_pickle=False)
        self._ids: np.ndarray = np.memmap(folder / build.IDS, dtype=np.uint8, mode="r")

    @classmethod
    def build(
        cls,
        model: ConceptModel,
        cache: FeatureCache | Path | str,
        folder: Path | str,
        *,
        patches: int = OF_EACH,
        flat: int = FLAT,
        part_images: int | None = None,
        progress: bool = True,
    ) -> ConceptIndex:
        """Make the index in one pass over the cache; a folder that is already there is opened.

        patches: with how many vectors of each image text and examples are compared to find candidates: means of
        clusters of its patches, or all patches where it has no more; flat: up to so many vectors are kept as they are,
        more are compressed; part_images: images between two savings (default: 8,192, or a 64th of all). A run that was
        stopped, in whatever way, goes on when the same is asked for again. `InsightError` for a cache of another
        backbone.
        """
        folder, cache = Path(folder), cache if isinstance(cache, FeatureCache) else FeatureCache.open(cache)
        cache.require(model.config["backbone"]["fingerprint"])
        part_images = max(PART, -(-cache.n_images // PARTS)) if part_images is None else part_images
        for name, value in (("patches", patches), ("part_images", part_images)):
            if value < 1:
                raise InsightError(f"{name}: expected 1 or more, found {value}")
        if not (folder / build.FILE).exists():
            about = {
                "format": build.FORMAT,
                "format_version": build.VERSION,
                "dictionary": fingerprint.of_dictionary(model.sae),
                "cache": fingerprint.of_cache(cache),
                "place": str(cache.folder.resolve()),
                "images": cache.n_images,
                "concepts": model.sae.n_concepts,
                "patches": min(patches, cache.tokens_per_image),
                "flat": flat,
                "parts": -(-cache.n_images // part_images),
            }
            build.write_index(folder, model.sae, cache, about, progress=progress)
        return cls.open(folder, model, cache)

    @classmethod
    def open(
        cls, folder: Path | str, model: ConceptModel, cache: FeatureCache | Path | str | None = None
    ) -> ConceptIndex:
        """Open what `build` made; cache: where it lies now, if not where it was.

        `InsightError` if there is no whole index, or it is of another dictionary or of another state of the cache.
        """
        folder = Path(folder)
        about = _read_about(folder)
        if cache is None or not isinstance(cache, FeatureCache):
            cache = FeatureCache.open(about["place"] if cache is None else cache)
        for what, found in (
            ("dictionary", fingerprint.of_dictionary(model.sae)),
            ("cache", fingerprint.of_cache(cache)),
        ):
            if about[what] != found:
                raise InsightError(
                    f"{folder}: expected an index of the {what} with fingerprint {found[:12]}, found one of"
                    f" {about[what][:12]}; delete it and build it again, or build another beside it"
                )
        return cls(folder, model, cache, about)

    @property
    def bytes_per_image(self) -> float:
        """Size of the folder by the number of images."""
        return sum(self.about["files"].values()) / self.cache.n_images

    def images(
        self,
        *,
        concepts: AllOf = (),
        without: AnyOf = (),
        text: str | None = None,
        like: Photo | Tensor | None = None,
        at: tuple[int, int] | None = None,
        top: int = 20,
    ) -> Hits:
        """The `top` images, best first. The class says how a query is put and scored."""
        query, asked = self._read(concepts, without, text, like, at, top)
        if isinstance(asked, Wanted):
            numbers, scores = asked.in_images(self._postings)
            return Hits(query, self._named(_best(numbers, scores, top)), exact=True)
        vectors = self._patches if at else self._photos
        numbers = np.sort(vectors.images_near(asked.numpy(), top if vectors.exact else _MORE * top))
        if at:
            found = np.array([float((self._tokens(i) @ asked).max()) for i in numbers.tolist()])
        else:
            found = np.array([float(F.normalize(self.cache.pooled(i, 1), dim=1)[0] @ asked) for i in numbers.tolist()])
        return Hits(query, self._named(_best(numbers, found, top)), exact=vectors.exact and (not at or self._all_kept))

    def regions(
        self,
        *,
        concepts: AllOf = (),
        without: AnyOf = (),
        text: str | None = None,
        like: Photo | Tensor | None = None,
        at: tuple[int, int] | None = None,
        top: int = 20,
    ) -> Hits:
        """The `top` regions, best first; several may be of one image.

        Of an example photo without `at`, its image vector is looked for.
        """
        query, asked = self._read(concepts, without, text, like, at, top)
        if isinstance(asked, Wanted):
            found, exact = self._of_concepts(asked, top)
        else:
            exact = self._patches.exact and self._all_kept
            numbers = self._patches.images_near(asked.numpy(), top if exact else _MORE * top)
            found = [region for i in numbers.tolist() for region in self._near(i, asked)]
        found.sort(key=lambda hit: (-hit[1], hit[0]))  # stable: of one image, equal ones by first patch
        return Hits(query, self._named(found[:top]), exact)

    @property
    def _all_kept(self) -> bool:
        return bool(self.about["patches"] == self.cache.tokens_per_image)

    def _read(
        self,
        concepts: AllOf,
        without: AnyOf,
        text: str | None,
        like: Photo | Tensor | None,
        at: tuple[int, int] | None,
        top: int,
    ) -> tuple[str, Wanted | Float[Tensor, " d"]]:
        """A query in words, and as what it means: concepts, or a unit vector."""
        by_concept = concepts not in ((), []) or without not in ((), [])
        if by_concept + (text is not None) + (like is not None) != 1 or (at is not None and like is None) or top < 1:
            raise InsightError(
                "expected one thing to look for (concepts, a text, or an example; `at` goes with an example) and at"
                " least one hit to ask for"
            )
        if by_concept:
            wanted = Wanted.read(self.model.concepts, concepts, without)
            return wanted.describe(self.model.concepts), wanted
        if text is not None:
            if not text.strip():
                raise InsightError("text: expected a word or a sentence, found nothing")
            return f"“{text}”", self._unit(self.model.backbone.encode_text([text])[0])
        if isinstance(like, Tensor):
            return "a vector", self._unit(like)
        assert like is not None
        name = "an image" if isinstance(like, Image.Image) else str(like)
        vector = self._seen(like, name, at)
        return f"like {name}" + (f" at row {at[0]}, column {at[1]}" if at else ""), self._unit(vector)

    def _unit(self, vector: Tensor) -> Float[Tensor, " d"]:
        vector = vector.detach().float().cpu()
        if vector.shape != (self.cache.dim,) or not bool(vector.isfinite().all()) or not bool(vector.any()):
            raise InsightError(
                f"expected a finite vector of {self.cache.dim} numbers, not all 0, found {list(vector.shape)}"
            )
        return F.normalize(vector, dim=0)

    @torch.no_grad()
    def _seen(self, photo: Photo, name: str, at: tuple[int, int] | None) -> Tensor:
        rgb = to_rgb(photo, name) if isinstance(photo, Image.Image) else decode(Path(photo))
        features = self.model.backbone.encode_image(self.model.backbone.transform(rgb)[None].to(self.model.device))
        if at is None:
            return features.pooled[0]
        (row, column), (height, width) = at, features.grid
        if not (0 <= row < height and 0 <= column < width):
            raise InsightError(f"{name}: expected a patch of its {height} × {width}, found row {row}, column {column}")
        return features.patches[0, row * width + column]

    def _of_concepts(self, wanted: Wanted, top: int) -> tuple[list[tuple[int, float, Region]], bool]:
        """Regions by concepts, and whether they are surely the best.

        No region is stronger than the score of its image (`without` left aside), so images are encoded by falling
        score until the next one could not be among the `top` any more.
        """
        numbers, bounds = wanted.in_images(self._postings, without=False)
        order = bounds.argsort(kind="stable")[::-1]
        found: list[tuple[int, float, Region]] = []
        for start in range(0, min(len(order), _MOST_READ), _TOGETHER):
            if len(found) >= top:
                least = np.partition([score for _, score, _ in found], -top)[-top]
                if least > bounds[order[start]] * (1 + 1e-4):  # codes of other batches differ by rounding
                    return found, True
            images = numbers[order[start : min(start + _TOGETHER, _MOST_READ)]].tolist()
            features = torch.cat([self.cache.image(image) for image in images])
            scores = wanted.on_patches(self.model.sae.encode(features)).cpu().numpy()
            for image, of_image in zip(images, np.split(scores, len(images))):
                found += self._regions(image, of_image, of_image > 0)
        return found, len(order) <= _MOST_READ

    def _near(self, image: int, query: Tensor) -> list[tuple[int, float, Region]]:
        """The regions of an image that are near a vector."""
        cosines = (self._tokens(image) @ query).numpy()
        return self._regions(image, cosines, near_peak(cosines, np.ones(len(cosines), dtype=bool)))

    def _regions(self, image: int, scores: np.ndarray, active: np.ndarray) -> list[tuple[int, float, Region]]:
        """From the scores of an image's tokens, of which some count: its regions on the grid."""
        height, width = self.cache.grid
        places = self.cache.positions(image, 1)[0].numpy()
        on_grid: np.ndarray = np.zeros(height * width, dtype=np.float32)
        there: np.ndarray = np.zeros(height * width, dtype=bool)
        on_grid[places], there[places] = scores, active
        side = self.cache.encoder["image_size"]
        regions = regions_in(on_grid.reshape(height, width), there.reshape(height, width), side)
        return [(image, score, region) for score, region in regions]

    def _tokens(self, image: int) -> Float[Tensor, "t d"]:
        return F.normalize(self.cache.image(image), dim=1)

    def _named(self, found: Sequence[tuple[int, float] | tuple[int, float, Region]]) -> tuple[Hit, ...]:
        return tuple(Hit(self._id(image), image, score, *region) for image, score, *region in found)

    def _id(self, image: int) -> str:
        start, stop = self._id_offsets[image : image + 2]
        return bytes(self._ids[start:stop]).decode()


def _best(numbers: np.ndarray, scores: np.ndarray, top: int) -> list[tuple[int, float]]:
    """The images of the largest scores, equal ones by number, which ascend."""
    if len(scores) > top:
        kept = scores >= np.partition(scores, -top)[-top]
        numbers, scores = numbers[kept], scores[kept]
    order = np.argsort(-scores, kind="stable")[:top]
    return list(zip(numbers[order].tolist(), scores[order].tolist()))


def _read_about(folder: Path) -> dict[str, Any]:
    """`index.json`, after a look at the sizes of the files that it lists."""
    path = folder / build.FILE
    if not path.exists():
        begun = folder.with_name(f"{folder.name}.unfinished").exists()
        found = "one that is not finished" if begun else "none"
        raise InsightError(f"{folder}: expected an index, found {found}; build it by ConceptIndex.build")
    about = read_json(path)
    kind = (about.get("format"), about.get("format_version")) if isinstance(about, dict) else None
    if kind != (build.FORMAT, build.VERSION):
        raise InsightError(f"{path}: expected {build.FORMAT} version {build.VERSION}, found {kind}; build it again")
    lacking = _SAID - about.keys()
    if lacking or not isinstance(about["files"], dict):
        raise InsightError(f"{path}: damaged: expected {', '.join(sorted(lacking) or ['files'])}; build it again")
    for name, size in about["files"].items():
        file = folder / name
        if not file.is_file() or file.stat().st_size != size:
            raise InsightError(f"{file}: damaged: expected a file of {size} bytes; delete {folder}, build it again")
    return dict(about)

"""One model as the explorer holds it: its concepts as a list, where they stand in photographs, and its edits.

In: the name of a model and the photographs behind it. Out: everything that is answered without an encoder.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np

from sae.errors import InsightError

from ..backbones.base import fingerprint_of
from ..backbones.weights import cache_root
from ..cache import FeatureCache
from ..data.place import FILE, found_at
from ..edits import Edits
from ..examples import Example, ExampleTable, strongest
from ..model import ConceptModel
from ..models import model_folder, shipped_models
from ..pipeline import describe_model
from ..retrieval.fingerprint import of_cache, of_dictionary
from .concept_list import ConceptList
from .images import Images
from .survey import Survey
from .thumbnails import Thumbnails

NO_IMAGES = (
    "No photographs were given. For pictures of where concepts stand: insight cache write FOLDER --out CACHE, then"
    " insight explore {model} --images CACHE."
)
OTHER_IMAGES = (
    "The model was not made from these photographs. To find its concepts in them: insight cache write {folder} --out"
    " CACHE, then insight explore {model} --images CACHE."
)
GONE_IMAGES = "The photographs that the cache was made from are no longer in one folder on this machine."


class OpenModel:
    """A model that was read, ready to be asked. `listed` is replaced after each edit and after the survey."""

    def __init__(
        self, name: str, images: Images | None, *, device: str = "cpu", cache_home: Path | None = None
    ) -> None:
        self.asked = name
        self.folder = model_folder(name)
        self.name = self.folder.resolve().name
        self.model = ConceptModel.from_pretrained(name, device=device)
        self.grid: tuple[int, int] = tuple(self.model.config["backbone"]["grid"])
        self.fingerprint = of_dictionary(self.model.sae)
        self.images = Images(None) if images is None else images
        self.why_not_editable = _why_not_editable(name, self.folder)
        self.edits = Edits(self.folder)
        home = (cache_root() / "explore") if cache_home is None else cache_home
        self.home = home / fingerprint_of([self.fingerprint, _of_images(self.images)])[:16]
        self.thumbnails = Thumbnails(None if self.images.folder is None else self.home / "thumbnails")
        self._table = self._own_examples()
        self.survey: Survey | None = None
        if self.images.cache is not None:
            self.images.cache.require(self.model.config["backbone"]["fingerprint"])
            self.survey = Survey.load(self.home / "survey.npz", self.model.sae.n_concepts)
        self.changing = Lock()
        self.refresh()

    @property
    def why_no_pictures(self) -> str | None:
        """Why no place in a photograph can be shown; None where some can."""
        if self.images.folder is None:
            return NO_IMAGES.format(model=self.asked) if self.images.cache is None else GONE_IMAGES
        if self._table is None and self.images.cache is None:
            return OTHER_IMAGES.format(model=self.asked, folder=self.images.folder.name)
        return None

    @property
    def why_no_histogram(self) -> str | None:
        """Why there are no histograms (yet); None where there are."""
        if self.survey is not None:
            return None
        if self.images.cache is None:
            return "A histogram takes a feature cache: insight explore MODEL --images CACHE."
        return "The photographs are being counted; the histogram is there in a while."

    def refresh(self) -> None:
        """Make the list of concepts anew, from what the model shows now."""
        m = self.model.sae.n_concepts
        if self.why_no_pictures is not None:
            counts = np.zeros(m, np.int64)
        elif self._table is not None:
            counts = self._table.count(m)
        else:
            counts = np.zeros(m, np.int64) if self.survey is None else self.survey.count()
        for concept in self.model.concepts:
            if concept.merged_into is not None:
                counts[concept.merged_into] = max(counts[concept.merged_into], counts[concept.id])
        self.listed = ConceptList(self.model.concepts, self.model.relations, counts.tolist())
        state = [str([edit.to_dict() for edit in self.edits.entries]), str(self.survey is not None)]
        self.version = fingerprint_of([self.fingerprint, *state])[:12]

    def surveyed(self, survey: Survey) -> None:
        """Keep a survey, here and on disk; a disk that is full or read-only costs the next start a pass."""
        self.survey = survey
        try:
            survey.save(self.home / "survey.npz")
        except OSError as error:
            print(f"{self.home}: the survey could not be kept ({error.strerror})", flush=True)
        self.refresh()

    def examples(self, concept: int) -> list[Example]:
        """Where a concept is strongest, one place a photograph; of a concept that others were merged into, of all."""
        if self.why_no_pictures is not None:
            return []
        members = self.listed.members(concept)
        if self._table is not None:
            return strongest(example for member in members for example in self._table[member])
        return [] if self.survey is None else self.survey.examples(members, self.images, self.grid)

    def histogram(self, concept: int) -> dict[str, Any] | None:
        """Photographs by how strongly the concept stands in them; None before the survey, and where it never fires."""
        return None if self.survey is None else self.survey.histogram(self.listed.members(concept))

    def _own_examples(self) -> ExampleTable | None:
        """The model's own examples, where their photographs are among the images."""
        path = self.folder / "examples.parquet"
        if self.images.folder is None or not path.exists():
            return None
        table = ExampleTable.read(path)
        return table if self.images.has(table.images(64)) else None

    def facts(self) -> dict[str, Any]:
        """What the model is, ready for JSON."""
        config = self.model.config
        fvu = (config.get("quality") or {}).get("fvu") or []
        sizes = np.diff(self.model.sae.config.levels, prepend=0).tolist()
        why = self.why_no_pictures
        return {
            "name": self.name,
            "backbone": config["backbone"]["name"],
            "description": config["backbone"]["description"],
            "n_concepts": self.model.sae.n_concepts,
            "levels": [
                {"level": level, "concepts": size, "fvu": fvu[level] if level < len(fvu) else None}
                for level, size in enumerate(sizes)
            ],
            "named": sum(row["named"] for row in self.listed.rows),
            "related": sum(1 for row in self.listed.rows if row["parents"] or row["children"]),
            "images": {"available": why is None, "what": why or self.images.what},
            "facts": describe_model(config),
            "editable": self.why_not_editable is None,
            "why_not": self.why_not_editable,
            "grid": list(self.grid),
        }


def images_beside(folder: Path, fingerprint: str) -> Images | None:
    """The cache of a model where `insight build` or `insight demo` puts it, if its photographs are there."""
    place = folder.resolve()
    for cache in (place.with_name(f"{place.name}-cache"), place.with_name("cache")):
        try:
            images = Images.open(cache)
        except InsightError:
            continue
        found = images.cache
        if isinstance(found, FeatureCache) and found.fingerprint == fingerprint and images.folder is not None:
            return images
    return None


def _why_not_editable(name: str, folder: Path) -> str | None:
    if found_at(Path(name) / "config.json") != FILE:
        if name in shipped_models():
            return f"{name} comes with the package and is not written to; copy its folder and explore the copy"
        return f"{name} comes from the hub and is not written to; copy its folder and explore the copy"
    if not os.access(folder, os.W_OK):
        return "the folder of the model cannot be written to; copy it and explore the copy"
    return None


def _of_images(images: Images) -> str:
    if images.cache is not None:
        return of_cache(images.cache)
    return hashlib.sha256(str(images.folder).encode("utf-8", "backslashreplace")).hexdigest()

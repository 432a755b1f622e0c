"""The explorer's state: models, heads, photographs, and whose turn it is at the encoder.

In: the places a person names. Out: `Explorer`, which the server asks.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from threading import Event, Lock, Thread
from typing import TYPE_CHECKING, Any

from sae.errors import InsightError

from ..backbones.base import fingerprint_of
from ..models import model_folder
from ..pipeline.folder import read_config
from .encoder import Turns
from .images import Images
from .lru import Lru
from .open_model import OpenModel, images_beside
from .opened_heads import OpenHead, kind_of_head, open_head
from .photos import Photos
from .refusal import Refusal
from .survey import survey_cache

if TYPE_CHECKING:
    from .matching import Nearest

PATIENCE = 2.0
"""Seconds that `close` waits."""
SEGMENTATIONS = 32
HEADS_OF_TEXT = 32


class Explorer:
    """One or two models, opened. `start` loads encoders and surveys caches in the background; `close` ends that."""

    def __init__(self, models: Sequence[OpenModel], heads: Sequence[OpenHead] = ()) -> None:
        self.models = list(models)
        self.heads = list(heads)
        self.photos = Photos()
        self.turns = Turns([opened.model for opened in models])
        self.segmentations: Lru[tuple[Any, ...], Any] = Lru(SEGMENTATIONS)
        self.heads_of_text: Lru[tuple[Any, ...], Any] = Lru(HEADS_OF_TEXT)
        self.nearest: dict[int, Nearest] = {}
        self.matching = Lock()
        self._stop = Event()
        self._threads: list[Thread] = []

    @classmethod
    def open(
        cls,
        model: str,
        *,
        images: Path | None = None,
        heads: Sequence[Path] = (),
        compare: str | None = None,
        device: str = "cpu",
        cache_home: Path | None = None,
    ) -> Explorer:
        """Read everything but the encoders. All places are looked at before the first is read.

        `images`: a folder of photographs or a feature cache (None: the cache beside a model, where there is one);
        `heads`: folders of heads of `model`; `compare`: a second model; `cache_home`: folder for thumbnails and
        surveys (None: in `~/.cache/insight`). `InsightError` for a place that is not what it should be.
        """
        names = [model] if compare is None else [model, compare]
        folders = [model_folder(name) for name in names]
        for folder in heads:
            kind_of_head(folder)
        given = None if images is None else Images.open(images)
        prints = [read_config(folder)["backbone"]["fingerprint"] for folder in folders]
        if given is not None and given.cache is not None:
            given.cache.require(prints[0])
        opened = []
        for name, folder, fingerprint in zip(names, folders, prints, strict=True):
            behind = given if given is not None else images_beside(folder, fingerprint)
            if behind is not None and behind.cache is not None and behind.cache.fingerprint != fingerprint:
                behind = None
            opened.append(OpenModel(name, behind, device=device, cache_home=cache_home))
        if compare is not None and opened[0].name == opened[1].name:
            opened[1].name += " (2)"
        return cls(opened, [open_head(folder, opened[0].model) for folder in heads])

    def start(self) -> None:
        """Load the encoders, list the photographs and survey the caches, in the background."""
        self._threads = [self.turns.load()]
        for opened in self.models:
            thread = Thread(target=self._look_around, args=(opened,), name="survey", daemon=True)
            thread.start()
            self._threads.append(thread)

    def close(self) -> bool:
        """End what runs in the background; False where something cannot be ended soon, as an encoder being loaded."""
        self._stop.set()
        return self.wait(PATIENCE)

    def wait(self, seconds: float) -> bool:
        """Wait for what runs in the background, so long at most; whether it is done."""
        end = time.monotonic() + seconds
        for thread in self._threads:
            thread.join(timeout=max(0.0, end - time.monotonic()))
        return not any(thread.is_alive() for thread in self._threads)

    def model(self, number: int) -> OpenModel:
        """The model of that number; `Refusal` (404) where there is none."""
        if not 0 <= number < len(self.models):
            raise Refusal(f"m: expected a model of 0 to {len(self.models) - 1}, found {number}", 404)
        return self.models[number]

    @property
    def version(self) -> str:
        """Changes with every edit and when a survey is done."""
        return fingerprint_of([opened.version for opened in self.models])[:12]

    def sentence(self, error: BaseException) -> str:
        """What an error says, for people elsewhere: folders of this machine by their last name alone."""
        text = str(error)
        for opened in self.models:
            cache = opened.images.cache
            of_cache = None if cache is None else cache.folder
            for folder in (opened.folder, opened.images.folder, opened.home, of_cache):
                if folder is not None and folder.name:
                    text = text.replace(str(folder), folder.name).replace(str(folder.resolve()), folder.name)
        return text

    def facts(self) -> dict[str, Any]:
        """What is open, ready for JSON."""
        return {
            "models": [opened.facts() for opened in self.models],
            "heads": [head.facts(number) for number, head in enumerate(self.heads)],
            "version": self.version,
            "text": self._has_text,
            "encoder": self.sentence(self.turns.failed) if self.turns.failed else self.turns.state,
        }

    @property
    def _has_text(self) -> bool:
        """Whether the encoder has text. Before it is loaded: names come from a text space."""
        model = self.models[0].model
        if "backbone" in model.__dict__:
            return model.backbone.has_text
        return "names" in model.config

    def _look_around(self, opened: OpenModel) -> None:
        try:
            _ = opened.images.ids
            cache = opened.images.cache
            if cache is not None and opened.survey is None:
                survey = survey_cache(opened.model.sae, cache, self.turns.take, self._stop.is_set)
                if survey is not None:
                    opened.surveyed(survey)
        except InsightError as error:
            print(f"insight: {error}", flush=True)

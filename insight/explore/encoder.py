"""Turns at the encoder: who runs it waits until nobody else does. It is loaded in the background.

In: models. Out: `Turns`, which also says whether the encoder is there yet.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from threading import RLock, Thread

from sae.errors import InsightError

from ..model import ConceptModel


class Turns:
    """Turns at the encoders of some models. `state`: "loading", "ready" or "failed", then `failed` says why."""

    def __init__(self, models: list[ConceptModel]) -> None:
        self.state = "loading"
        self.failed: InsightError | None = None
        self._models = models
        self._lock = RLock()

    @contextmanager
    def take(self) -> Iterator[None]:
        """A turn: nobody else runs an encoder or changes a model meanwhile."""
        with self._lock:
            yield

    def load(self) -> Thread:
        """Begin to load the encoders; returns the thread that does."""
        thread = Thread(target=self._load, name="encoder", daemon=True)
        thread.start()
        return thread

    def _load(self) -> None:
        try:
            with self.take():
                for model in self._models:
                    _share(model, self._models)
                    _ = model.backbone
            self.state = "ready"
        except InsightError as error:
            self.state, self.failed = "failed", error


def _share(model: ConceptModel, others: list[ConceptModel]) -> None:
    """Two models of one encoder hold it once."""
    for other in others:
        same = other.config["backbone"]["fingerprint"] == model.config["backbone"]["fingerprint"]
        if other is not model and same and "backbone" in other.__dict__ and "backbone" not in model.__dict__:
            model.backbone = other.backbone

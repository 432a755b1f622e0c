"""A fine-tuned model: a backbone, a bank of concepts and what was trained; every method of this package is one.

Photos go in, an `Output` comes out. A sub-class writes `output` (what the photos' vectors mean) and `losses`, and
keeps what it trains as parameters that require gradients; nothing else of it changes, and only that is saved.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from sae.errors import InsightError

from ..attribution import Scorer
from ..backbones import Backbone, DenseFeatures
from ..backbones.base import fingerprint_of, hash_tensors
from .output import Output
from .towers import PhotoVectors, Tower

if TYPE_CHECKING:
    from .bank import ConceptBank
    from .training.fit_config import FitConfig


@dataclass(frozen=True, eq=False)
class Batch:
    """Photos to learn from: what the tower keeps of them, their classes, their concepts where these are known.

    random: for whatever noise a method adds; seeded by run and epoch.
    """

    kept: Float[Tensor, "B ..."]
    labels: Int64[Tensor, " B"]
    concepts: Float[Tensor, "B R"] | None
    random: torch.Generator


class FineTuned(nn.Module, ABC):
    """`kind`: the method's name, as on the command line; `Settings`: its frozen dataclass of plain values;
    `fit_config`: how it is trained when nothing else is said."""

    kind: ClassVar[str]
    Settings: ClassVar[type]
    fit_config: ClassVar[FitConfig]

    tower: Tower

    def __init__(self, backbone: Backbone, bank: ConceptBank, settings: Any) -> None:
        super().__init__()
        self.base_name, self.base_fingerprint = backbone.name, backbone.fingerprint
        self.bank = bank
        self.settings = settings
        self.scale = backbone.logit_scale

    @property
    def classes(self) -> tuple[str, ...]:
        """In the order of the logits."""
        return self.bank.classes

    @property
    def backbone(self) -> Backbone:
        """The encoder as it is now, tuned or not."""
        return self.tower.backbone

    @abstractmethod
    def output(self, photos: PhotoVectors) -> Output:
        """What the photos' vectors mean."""

    @abstractmethod
    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """Every term of the loss, weighted, by name; their sum is minimised."""

    def parameter_groups(self) -> list[tuple[list[nn.Parameter], float]]:
        """What is trained, and by which share of the learning rate."""
        return [([parameter for parameter in self.parameters() if parameter.requires_grad], 1.0)]

    def forward(self, images: Float[Tensor, "B 3 S S"]) -> Output:
        """Photos in [0, 1], made by `backbone.transform`."""
        return self.decide(self.tower.keep(images))

    def decide(self, kept: Float[Tensor, "B ..."]) -> Output:
        """From what the tower kept of photos."""
        return self.output(self.tower.vectors(kept))

    def scorer(self, texts: Sequence[str]) -> Scorer:
        """Scores of some of the classes, by name: their logits. `InsightError` for other texts."""
        if unknown := [text for text in texts if text not in self.classes]:
            raise InsightError(
                f"{self.kind} scores its classes alone, found {unknown[0]!r}; it has {', '.join(self.classes[:8])}"
            )
        columns = [self.classes.index(text) for text in texts]

        def score(features: DenseFeatures) -> Tensor:
            return self.output(PhotoVectors.of(features)).logits[:, columns]

        return Scorer(self.backbone, tuple(texts), score)

    def trained(self) -> dict[str, nn.Parameter]:
        """What is trained, by name: all that a file of the method holds."""
        return {name: parameter for name, parameter in self.named_parameters() if parameter.requires_grad}

    @property
    def fingerprint(self) -> str:
        """SHA-256 (hex) over the backbone, the method, its bank and settings, and what was trained."""
        parts = [self.base_fingerprint, self.kind, self.bank.fingerprint, repr(self.settings)]
        return fingerprint_of([*parts, hash_tensors({name: value.data for name, value in self.trained().items()})])

"""What Ecor and WhyPrompt share: an encoder with an adapter, a frozen text side, scores of classes and rationales."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from sae.errors import InsightError

from ...attribution import Scorer
from ...backbones import Backbone, DenseFeatures
from ...backbones.text_towers import TextTower
from ..bank import ConceptBank, because
from ..fine_tuned import FineTuned
from ..towers import AdapterSettings, PhotoVectors, adapted_tower
from ..towers.adapters import RATE_SHARES

PAIRS = 10
"""How many of the best pairs an output names; Doubly Right asks for 5."""


@dataclass(frozen=True)
class PairSettings(AdapterSettings):
    """room_mb: mebibytes of text vectors of pairs that are kept; others are made again whenever they are read."""

    room_mb: int = 1024

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.room_mb < 0:
            raise InsightError(f"room_mb: expected 0 or more, found {self.room_mb}")

    @property
    def room(self) -> int:
        """In bytes."""
        return self.room_mb << 20


class ChoosesPairs(FineTuned):
    """Its concepts are the bank's rationales. `InsightError` for a bank with a class that has none, and for a pair of
    the bank whose prompt is longer than the text tower reads."""

    membership: Tensor

    def __init__(self, backbone: Backbone, bank: ConceptBank, settings: PairSettings) -> None:
        super().__init__(backbone, bank, settings)
        bank.require_concepts()
        if (tower := _text_tower(backbone)) is not None:
            bank.check_length(tower, lambda words, rationale: because(rationale, words))
        self.tower = adapted_tower(backbone, settings)
        self.register_buffer("membership", bank.membership.to(backbone.colour_mean.device), persistent=False)

    def parameter_groups(self) -> list[tuple[list[nn.Parameter], float]]:
        return [([*self.trained().values()], RATE_SHARES[self.settings.adapter])]

    def scorer(self, texts: Sequence[str]) -> Scorer:
        """Scores of classes, by name: log P(class); and of rationales of the bank: log P(rationale). A text that is
        both is the class. `InsightError` for other texts."""
        columns = [self._column(text) for text in texts]

        def score(features: DenseFeatures) -> Float[Tensor, "B T"]:
            return self.log_p(PhotoVectors.of(features), columns)

        return Scorer(self.backbone, tuple(texts), score, self.text_vectors(columns))

    def log_p(self, photos: PhotoVectors, columns: list[int]) -> Float[Tensor, "B T"]:
        """Of classes, counted from 0, and of rationales, counted from C."""
        out = self.output(photos)
        assert out.concept_scores is not None
        return torch.cat([out.logits, out.concept_scores], dim=1)[:, columns]

    def text_vectors(self, columns: list[int]) -> Float[Tensor, "T d"] | None:
        """Unit vectors by which these are scored, where each is scored by one."""
        return None

    def _column(self, text: str) -> int:
        if text in self.classes:
            return self.classes.index(text)
        if text in self.bank.concepts:
            return len(self.classes) + self.bank.concepts.index(text)
        raise InsightError(
            f"{self.kind} scores the classes and rationales of its bank, found {text!r}; its classes are"
            f" {', '.join(self.classes[:8])}"
        )


def _text_tower(backbone: Backbone) -> TextTower | None:
    """None where texts can be encoded, but their tokens not counted."""
    try:
        return backbone.text_tower
    except InsightError:
        return None

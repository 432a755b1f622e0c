"""Why Prompt: one softmax over all pairs of a class and a rationale, by learnt visual tokens (Mao et al., CVPR 2023).

The baseline of ECOR. All C * R pairs count, as published, not those of the bank alone; their texts are read row by row.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from ..backbones import Backbone
from .bank import ConceptBank
from .fine_tuned import Batch
from .output import Output
from .pairs import ChoosesPairs, Marginals, PairSettings, PairTexts, all_pairs, pair_scores, right_rationales
from .pairs.chooses_pairs import PAIRS
from .towers import PhotoVectors
from .training.fit_config import FitConfig


class WhyPrompt(ChoosesPairs):
    """P(c, r | I) = softmax over all pairs of s f·g("This is a photo of a {c} because there is {r}").

    The published tokens stay to the end of the encoder; those of `VisualTokens` do not see its last block. Published
    training is SGD from a learning rate of 40 over 100 epochs; AdamW here, whose steps do not hang on the size of the
    tokens. Where `room_mb` does not hold all pairs, each step encodes the others twice.
    """

    kind = "why"
    Settings = PairSettings
    fit_config = FitConfig(epochs=50, lr=2e-3)

    settings: PairSettings

    def __init__(self, backbone: Backbone, bank: ConceptBank, settings: PairSettings | None = None) -> None:
        settings = settings or PairSettings()
        super().__init__(backbone, bank, settings)
        self._texts = PairTexts(bank, "class", settings.room)

    def output(self, photos: PhotoVectors) -> Output:
        """logits: log P(c | I); concept_scores: log P(r | I), both summed over all of the other.

        extras: joint_pairs, int64 [B, p, 2]: the best p = 10 pairs (class, rationale), the best first; joint_log_p
        [B, p]: their log P(c, r | I).
        """
        sums = self._sums(photos.unit, PAIRS)
        whole = sums.by_row.logsumexp(1, keepdim=True)
        extras = {"joint_pairs": sums.best, "joint_log_p": sums.best_scores - whole.detach()}
        return Output(sums.by_row - whole, sums.by_column - whole, extras)

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """-log Σ_r P(c*, r | I) over the rationales r that are right for the photo: with one, the published
        cross-entropy. Right are those in `batch.concepts`, or where it says none, those of the class in the bank."""
        unit = self.tower.vectors(batch.kept).unit
        right = right_rationales(batch, self.membership)
        of_class = pair_scores(unit, batch.labels, self._texts, self.backbone, self.scale)
        gold = of_class.masked_fill(~right, -torch.inf).logsumexp(1)
        return {"pairs": (self._sums(unit, 1).by_row.logsumexp(1) - gold).mean()}

    def _sums(self, unit: Float[Tensor, "B d"], best: int) -> Marginals:
        return all_pairs(unit, self._texts, self.backbone, self.scale, best)

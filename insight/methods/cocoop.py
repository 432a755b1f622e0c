"""CoCoOp: a learnt context that every photo moves by a vector of its own (Zhou et al., CVPR 2022, arXiv 2203.05557)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from ..backbones import Backbone
from .bank import ConceptBank
from .fine_tuned import Batch, FineTuned
from .output import Output
from .prompts import PromptLearner
from .towers import FrozenTower, PhotoVectors
from .training.fit_config import FitConfig

NARROWER = 16
"""By how much the net's hidden layer is narrower than the photo's vector (§3.2)."""


@dataclass(frozen=True)
class CoCoOpSettings:
    """n_ctx: vectors in the context; words: what it says at first; seed: of the net, and of places without a word."""

    n_ctx: int = 4
    words: str = "a photo of a"
    seed: int = 0


class CoCoOp(FineTuned):
    """Like CoOp, with context v + net(unit photo vector) for every v of the one context. Of the bank only names count.

    Every photo has texts of its own: C passes through the text tower a photo, so it is slow with many classes, and
    there are no vectors of the classes that photos share. The net's last layer starts at zero (the authors' at random),
    so that an untrained model is zero-shot CLIP.
    """

    kind = "cocoop"
    Settings = CoCoOpSettings
    fit_config = FitConfig(epochs=10, batch_size=8, lr=2e-3)

    settings: CoCoOpSettings

    def __init__(self, backbone: Backbone, bank: ConceptBank, settings: CoCoOpSettings | None = None) -> None:
        settings = settings or CoCoOpSettings()
        super().__init__(backbone, bank, settings)
        self.tower = FrozenTower(backbone)
        self.prompts = PromptLearner(
            backbone.text_tower, bank.classes, n_ctx=settings.n_ctx, words=settings.words, seed=settings.seed
        )
        self.net = _net(backbone.dim, self.prompts.contexts, settings.seed)

    def output(self, photos: PhotoVectors) -> Output:
        """As far as the photo moves its own prompts, gradients reach it through these too. extras: none."""
        return Output(self._logits(photos))

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """Cross-entropy of the logits."""
        return {"classes": F.cross_entropy(self._logits(self.tower.vectors(batch.kept)), batch.labels)}

    def _logits(self, photos: PhotoVectors) -> Float[Tensor, "B C"]:
        unit = photos.unit
        contexts = self.prompts.contexts + self.net(unit)[:, None, None]
        return self.scale * torch.einsum("bd,bcd->bc", unit, self.prompts.encode(contexts))


def _net(dim: int, like: Tensor, seed: int) -> nn.Sequential:
    """dim to a sixteenth of it, ReLU, to the width of the text tower; of the kind and place of `like`."""
    first, last = nn.Linear(dim, max(1, dim // NARROWER)), nn.Linear(max(1, dim // NARROWER), like.shape[-1])
    with torch.no_grad():
        random = torch.Generator().manual_seed(seed)
        first.weight.copy_(torch.randn(first.weight.shape, generator=random) / dim**0.5)
        first.bias.zero_()
        last.weight.zero_()
        last.bias.zero_()
    return nn.Sequential(first, nn.ReLU(), last).to(like)

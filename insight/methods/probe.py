"""LinearProbe: one linear layer on the frozen photo vector; what any method must beat (Radford et al. 2021, §3.2)."""

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
from .towers import FrozenTower, PhotoVectors
from .training.fit_config import FitConfig


@dataclass(frozen=True)
class ProbeSettings:
    """local: the mean of the patches' unit vectors is read too, behind the unit photo vector."""

    local: bool = False


class LinearProbe(FineTuned):
    """Logits are weights times the unit photo vector, and a bias. It starts at zero; L2 is the weight decay of `fit`.

    Of the bank only the names count, and texts not at all, so a backbone that only sees will do.
    """

    kind = "probe"
    Settings = ProbeSettings
    fit_config = FitConfig(epochs=100, lr=0.1, weight_decay=1e-4, clip=10.0)

    settings: ProbeSettings

    def __init__(self, backbone: Backbone, bank: ConceptBank, settings: ProbeSettings | None = None) -> None:
        settings = settings or ProbeSettings()
        super().__init__(backbone, bank, settings)
        self.tower = FrozenTower(backbone)
        self.linear = nn.Linear(backbone.dim * (2 if settings.local else 1), len(bank.classes))
        self.linear.to(backbone.colour_mean)
        nn.init.zeros_(self.linear.weight)
        nn.init.zeros_(self.linear.bias)

    def output(self, photos: PhotoVectors) -> Output:
        """extras: none."""
        return Output(self.linear(self._read(photos)))

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """Cross-entropy of the logits."""
        logits = self.linear(self._read(self.tower.vectors(batch.kept)))
        return {"classes": F.cross_entropy(logits, batch.labels)}

    def _read(self, photos: PhotoVectors) -> Float[Tensor, "B k"]:
        return torch.cat([photos.unit, photos.local], dim=1) if self.settings.local else photos.unit

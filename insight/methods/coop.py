"""CoOp: the words around the classes' names are learnt, as vectors (Zhou et al., IJCV 2022, arXiv 2109.01134)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from ..attribution import Scorer
from ..backbones import Backbone
from .bank import ConceptBank
from .fine_tuned import Batch, FineTuned
from .output import Output
from .prompts import PromptLearner
from .towers import FrozenTower, PhotoVectors
from .training.fit_config import FitConfig


@dataclass(frozen=True)
class CoOpSettings:
    """n_ctx: vectors in the context; class_specific: each class has a context of its own (§3.2; the paper's "CSC");
    words: what contexts say at first; seed: of the places that the words leave free."""

    n_ctx: int = 4
    class_specific: bool = False
    words: str = "a photo of a"
    seed: int = 0


class CoOp(FineTuned):
    """Logits are `scale` times the cosine of the photo's vector and a class's prompt. Of the bank only the names count.

    The paper trains 16 places from noise by SGD (rate 0.002, up to 200 epochs). Here contexts start from words,
    and AdamW trains them, for the size of word vectors, and so of the right steps of SGD, differs between text towers.
    """

    kind = "coop"
    Settings = CoOpSettings
    fit_config = FitConfig(epochs=50, lr=2e-3)

    settings: CoOpSettings

    def __init__(self, backbone: Backbone, bank: ConceptBank, settings: CoOpSettings | None = None) -> None:
        settings = settings or CoOpSettings()
        super().__init__(backbone, bank, settings)
        self.tower = FrozenTower(backbone)
        self.prompts = PromptLearner(
            backbone.text_tower,
            bank.classes,
            n_ctx=settings.n_ctx,
            shared=not settings.class_specific,
            words=settings.words,
            seed=settings.seed,
        )

    def output(self, photos: PhotoVectors) -> Output:
        """No gradient goes to the contexts: `losses` asks for that. extras: none."""
        return Output(self._logits(photos, self.prompts.fixed()[0]))

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """Cross-entropy of the logits."""
        logits = self._logits(self.tower.vectors(batch.kept), self.prompts()[0])
        return {"classes": F.cross_entropy(logits, batch.labels)}

    def scorer(self, texts: Sequence[str]) -> Scorer:
        """Classes by name, with the vectors of their prompts."""
        scorer = super().scorer(texts)
        columns = [self.classes.index(text) for text in texts]
        return replace(scorer, vectors=self.prompts.fixed()[0, columns])

    def _logits(self, photos: PhotoVectors, prompts: Float[Tensor, "C d"]) -> Float[Tensor, "B C"]:
        return self.scale * photos.unit @ prompts.T

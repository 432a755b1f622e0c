"""XCoOp as a method: N learnt prompts a class, of which the loss says what they ought to mean."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from sae.errors import InsightError

from ...attribution import Scorer
from ...backbones import Backbone
from ..bank import ConceptBank
from ..fine_tuned import Batch, FineTuned
from ..output import Output
from ..prompts import PromptLearner
from ..towers import FrozenTower, PhotoVectors, TunedTower
from ..training.fit_config import FitConfig
from . import hard_prompts
from .alignment import by_class, by_concept, by_place

NOISY = 0.5
"""Share of the steps in which hard vectors are noisy."""
NORMS_SHARE = 0.1
"""Learning rate of the norms, as a share of the contexts'."""


@dataclass(frozen=True)
class XCoOpSettings:
    """n_prompts: N, prompts a class; n_ctx: vectors in a context; words: what contexts say at first; local_weight: of
    the mean over patches in the logits; prompt_weight, token_weight: of the two alignments; noise: standard deviation
    of what is added to hard vectors in half the steps; train_norms: the image tower's layer norms are trained, as
    published; seed: of starts.

    pairing: "concepts", where prompt n is held to concept n of its class; "hard", as published, where their mean is
    held to a text with all concepts, and tokens are compared place by place, of which contexts feel nothing
    (`by_place`).
    """

    n_prompts: int = 4
    n_ctx: int = 4
    words: str = "a photo of a"
    local_weight: float = 0.01
    prompt_weight: float = 5.0
    token_weight: float = 5.0
    noise: float = 0.05
    pairing: Literal["concepts", "hard"] = "concepts"
    train_norms: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        if self.pairing not in ("concepts", "hard"):
            raise InsightError(f'xcoop: expected pairing "concepts" or "hard", found {self.pairing!r}')
        for name in ("local_weight", "prompt_weight", "token_weight", "noise"):
            if getattr(self, name) < 0:
                raise InsightError(f"xcoop: expected {name} of 0 or more, found {getattr(self, name)}")


class XCoOp(FineTuned):
    """Logits: scale ( mean_n cos(f, g[n, c]) + local_weight mean_t mean_n cos(f_t, g[n, c]) ), g the learnt prompts.

    Loss: cross-entropy + prompt_weight (`by_concept`, or `by_class`) + token_weight (the mean context against the words
    of concept n, or `by_place`). Unlike the authors' code: prompts start at different places and so stay different (the
    authors' N are one prompt for ever); means are means for any N, where a constant .125 holds for N = 4 alone; there
    is one view of a photo (their second is the same); g are unit vectors before they are averaged; any bank will do.
    Concepts of classes that have fewer than N are taken again from the first. `InsightError` for a class without any.

    Concepts teach the prompts and are not asked when a photo is judged. So `concept_scores`, cosines of the photo's
    vector with the concepts' texts, say what the photo is like in this model's space, not what the logits came from.
    """

    kind = "xcoop"
    Settings = XCoOpSettings
    fit_config = FitConfig(epochs=50, lr=2e-3)

    settings: XCoOpSettings
    _hard: Tensor
    _hard_tokens: Tensor
    _concepts: Tensor

    def __init__(self, backbone: Backbone, bank: ConceptBank, settings: XCoOpSettings | None = None) -> None:
        settings = settings or XCoOpSettings()
        super().__init__(backbone, bank, settings)
        bank.require_concepts()
        self.tower = _tower(backbone, settings.train_norms)
        text_tower = self.backbone.text_tower
        self.prompts = PromptLearner(
            text_tower,
            bank.classes,
            n_prompts=settings.n_prompts,
            n_ctx=settings.n_ctx,
            shared=False,
            words=settings.words,
            seed=settings.seed,
        )
        if settings.pairing == "concepts":
            concepts = hard_prompts.nth_concepts(bank, settings.n_prompts)
            hard = hard_prompts.encoded(backbone, hard_prompts.with_concepts(bank, concepts))
            tokens = hard_prompts.mean_words(text_tower, concepts)
        else:
            texts = hard_prompts.whole(bank)
            hard = hard_prompts.encoded(backbone, [texts])
            tokens = hard_prompts.unit_tokens(text_tower, texts)
        self.register_buffer("_hard", hard, persistent=False)
        self.register_buffer("_hard_tokens", tokens, persistent=False)
        self.register_buffer("_concepts", hard_prompts.encoded(backbone, [list(bank.concepts)])[0], persistent=False)

    def output(self, photos: PhotoVectors) -> Output:
        """No gradient goes to the contexts: `losses` asks for that. concept_scores: cosines. extras: `local`, the part
        of the logits that comes from the patches. [B, C]"""
        prompts = self.prompts.fixed().mean(0)
        local = self._local(photos, prompts)
        return Output(self.scale * photos.unit @ prompts.T + local, photos.unit @ self._concepts.T, {"local": local})

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """`classes`: cross-entropy of the logits; `prompts` and `tokens`: the alignments, weighted."""
        photos, prompts = self.tower.vectors(batch.kept), self.prompts()
        mean = prompts.mean(0)
        logits = self.scale * photos.unit @ mean.T + self._local(photos, mean)
        return {
            "classes": F.cross_entropy(logits, batch.labels),
            "prompts": self.settings.prompt_weight * self._prompt_loss(prompts, batch.random),
            "tokens": self.settings.token_weight * self._token_loss(),
        }

    def parameter_groups(self) -> list[tuple[list[nn.Parameter], float]]:
        norms = [parameter for parameter in self.tower.parameters() if parameter.requires_grad]
        return [([self.prompts.contexts], 1.0)] + ([(norms, NORMS_SHARE)] if norms else [])

    def scorer(self, texts: Sequence[str]) -> Scorer:
        """Classes by name, with the unit mean of the vectors of their prompts."""
        scorer = super().scorer(texts)
        columns = [self.classes.index(text) for text in texts]
        return replace(scorer, vectors=F.normalize(self.prompts.fixed().mean(0)[columns], dim=-1))

    def _local(self, photos: PhotoVectors, prompts: Float[Tensor, "C d"]) -> Float[Tensor, "B C"]:
        return self.settings.local_weight * self.scale * photos.local @ prompts.T

    def _prompt_loss(self, prompts: Float[Tensor, "N C d"], random: torch.Generator) -> Float[Tensor, ""]:
        hard = self._hard.expand_as(prompts)
        if torch.rand((), generator=random) < NOISY:
            hard = hard + self.settings.noise * torch.randn(hard.shape, generator=random).to(hard)
        if self.settings.pairing == "concepts":
            return by_concept(prompts, hard, self.scale)
        return by_class(prompts, hard.mean(0), self.scale)  # noise for each copy, and their mean, as published

    def _token_loss(self) -> Float[Tensor, ""]:
        if self.settings.pairing == "concepts":
            return by_concept(F.normalize(self.prompts.contexts, dim=-1).mean(2), self._hard_tokens, self.scale)
        soft = hard_prompts.unit_where_real(self.prompts.soft_tokens(), self.prompts.tokens)
        return by_place(soft, self._hard_tokens, self.scale)


def _tower(backbone: Backbone, train_norms: bool) -> FrozenTower | TunedTower:
    if not train_norms:
        return FrozenTower(backbone)
    tower = TunedTower(backbone)
    tower.train_norms()
    return tower

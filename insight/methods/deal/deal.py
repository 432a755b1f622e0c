"""DEAL: contrastive fine-tuning of a CLIP model with rich captions, and with losses on where its concepts stand.

In: photos by class and a bank of concepts. Out: the tuned model, whose relevance maps of concepts are apart from each
other (separation) and together where the class's is (consistency). Source: Li et al., "DEAL: Disentangle and Localize
Concept-level Explanations for VLMs" (ECCV 2024, arXiv 2407.14412) and its published code. That code detaches the maps,
so that its losses never reach the weights; here they do, by second derivatives inside the last block. Also other than
there: the aggregate of `consistency`, same-class photos of a batch (see `contrastive`), the caption's grammar, float32
weights; and the temperature, the patch embedding and what stands behind the last block stay as they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor
from torch.nn import functional as F

from sae.errors import InsightError

from ...attribution import Scorer
from ...attribution.relevance import relevance_maps
from ...attribution.scaling import standardised
from ...attribution.scorer import cosine_scorer
from ...backbones import Backbone, DenseFeatures
from ..bank import ConceptBank, caption, check_length, photo_of, which
from ..fine_tuned import Batch, FineTuned
from ..output import Output
from ..towers import PhotoVectors, TunedTower
from ..training.fit_config import FitConfig
from .contrastive import contrastive
from .losses import AGGREGATES, Aggregate, consistency, separation, sparsity
from .texts import TextTable, text_parameters


@dataclass(frozen=True)
class DealSettings:
    """separation, consistency, sparsity: weights of the losses on maps (published: 0.1, 0.01, and in the code alone
    5e-4 of the sum over the batch); aggregate: see `consistency`; concepts: how many of each class's concepts are
    learnt from, the first of the bank; captions: "rich" names them behind the class, "plain", the control, the class
    alone; blocks: how many last blocks of the image tower are trained (None: all); train_text: the text tower too."""

    separation: float = 0.1
    consistency: float = 0.01
    sparsity: float = 0.0
    aggregate: Aggregate = "max"
    concepts: int = 5
    captions: Literal["rich", "plain"] = "rich"
    blocks: int | None = None
    train_text: bool = False

    def __post_init__(self) -> None:
        for name in ("separation", "consistency", "sparsity"):
            if not getattr(self, name) >= 0:
                raise InsightError(f"deal: {name} must be at least 0, found {getattr(self, name)}")
        if self.concepts < 1:
            raise InsightError(f"deal: concepts must be at least 1, found {self.concepts}")
        for name, known in (("aggregate", AGGREGATES), ("captions", ("rich", "plain"))):
            if getattr(self, name) not in known:
                raise InsightError(f"deal: {name} must be one of {', '.join(known)}, found {getattr(self, name)!r}")

    @property
    def explains(self) -> bool:
        """Whether any loss on maps counts: else none are computed, and this is plain fine-tuning."""
        return self.separation > 0 or self.consistency > 0 or self.sparsity > 0


class Deal(FineTuned):
    """Logits are those of "a photo of a {class}", concept scores the cosines with the concepts of the whole bank.

    `extras["concept_logits"]` [B, C]: the mean over the class's prompts "{class}, which has {concept}", of the concepts
    that are learnt from: the published way to classify by descriptions.

    `InsightError` for a class without concepts, for texts longer than the text tower reads, for a backbone without
    texts or blocks, and for more `blocks` than it has.
    """

    kind = "deal"
    Settings = DealSettings
    fit_config = FitConfig(epochs=5, batch_size=32, lr=1e-5, weight_decay=1e-3)

    tower: TunedTower
    settings: DealSettings
    texts: TextTable
    class_names: Int64[Tensor, " C"]
    captions: Int64[Tensor, " C"]
    prompts: Int64[Tensor, " C"]
    concepts: Int64[Tensor, " R"]
    learnt_concepts: Int64[Tensor, "C K"]
    described: Int64[Tensor, "C K"]
    """Numbers of texts in `texts`, as are all of these."""
    real: Bool[Tensor, "C K"]
    """Which of the last two are there; the others are padding."""

    def __init__(self, backbone: Backbone, bank: ConceptBank, settings: DealSettings | None = None) -> None:
        settings = settings or DealSettings()
        super().__init__(backbone, bank, settings)
        bank.require_concepts()
        blocks = backbone.depth if settings.blocks is None else settings.blocks
        if not 1 <= blocks <= max(backbone.depth, 1):
            raise InsightError(
                f"deal: blocks must be from 1 to the {backbone.depth} of backbone {backbone.name}, found {blocks}"
            )
        self.tower = TunedTower(backbone, first=max(backbone.depth, 1) - max(blocks, 1))
        learnt = text_parameters(self.tower.backbone) if settings.train_text else []
        for parameter in learnt:
            parameter.requires_grad_(True)
        self.tower.train_blocks()
        self._set_texts(bank.first(settings.concepts), learnt)

    def _set_texts(self, few: ConceptBank, learnt: Sequence[torch.nn.Parameter]) -> None:
        rich = self.settings.captions == "rich"
        lists = [few.concepts_of(number) for number in range(len(few.classes))]
        captions = [caption(words, said if rich else ()) for words, said in zip(few.classes, lists, strict=True)]
        prompts = [photo_of(words) for words in few.classes]
        places, real = few.padded()
        described = [which(words, said) for words, own in zip(few.classes, lists, strict=True) for said in own]
        texts = [*few.classes, *self.bank.concepts, *captions, *prompts, *described]
        _check_length(self.tower.backbone, texts)
        self.texts = TextTable(self.tower.backbone, texts, learnt)
        numbers = self.texts.numbers
        self._keep("class_names", numbers(few.classes))
        self._keep("captions", numbers(captions))
        self._keep("prompts", numbers(prompts))
        self._keep("concepts", numbers(self.bank.concepts))
        self._keep("real", real)
        self._keep("learnt_concepts", numbers(few.concepts)[places])
        self._keep("described", torch.zeros_like(places).masked_scatter(real, numbers(described)))

    def _keep(self, name: str, value: Tensor) -> None:
        self.register_buffer(name, value.to(self.tower.backbone.colour_mean.device), persistent=False)

    def output(self, photos: PhotoVectors) -> Output:
        vectors, unit = self.texts.fixed(), photos.unit
        described = vectors[self.described] * self.real[..., None]
        mean = described.sum(1) / self.real.sum(1, keepdim=True)
        return Output(
            self.scale * unit @ vectors[self.prompts].T,
            unit @ vectors[self.concepts].T,
            {"concept_logits": self.scale * unit @ mean.T},
        )

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        settings, labels = self.settings, batch.labels
        captions, found = self.texts(self.captions[labels]), {}
        if settings.explains:
            numbers = torch.cat([self.learnt_concepts[labels], self.class_names[labels, None]], dim=1)
            pooled, maps = self._maps(batch.kept, self.texts(numbers))
            concepts, class_map, real = maps[:, :-1], maps[:, -1], self.real[labels]
            if settings.separation:
                found["separation"] = settings.separation * separation(concepts, real)
            if settings.consistency:
                apart = consistency(concepts, class_map, real, settings.aggregate)
                found["consistency"] = settings.consistency * apart
            if settings.sparsity:
                found["sparsity"] = settings.sparsity * sparsity(concepts, real)
        else:
            pooled = self.tower.features(batch.kept).pooled
        logits = self.scale * F.normalize(pooled, dim=-1) @ captions.T
        return {"contrastive": contrastive(logits, labels), **found}

    def _maps(
        self, kept: Float[Tensor, "B N width"], texts: Float[Tensor, "B T d"]
    ) -> tuple[Float[Tensor, "B d"], Float[Tensor, "B T h w"]]:
        """Image vectors and, by the same pass of the last block, maps in [0, 1] of each photo's own texts."""
        backbone, first, last = self.tower.backbone, self.tower.first, self.tower.backbone.depth - 1
        z = kept if first == last else backbone.between(kept, first, last)[0]
        seen: list[Tensor] = []

        def score(features: DenseFeatures) -> Tensor:
            seen.append(features.pooled)
            return self.scale * torch.einsum("bd,btd->bt", F.normalize(features.pooled, dim=-1), texts)

        grid = backbone.grid_of(z.shape[1] - backbone.n_prefix)
        maps = relevance_maps(backbone, z, score, texts.shape[1], grid, create_graph=True)
        return seen[0], standardised(maps)

    def scorer(self, texts: Sequence[str]) -> Scorer:
        """Scores of any texts, classes, concepts or others, as they are: the cosine by the tuned towers, of which the
        maps are that are trained."""
        return cosine_scorer(self.backbone, texts)


def _check_length(backbone: Backbone, texts: Sequence[str]) -> None:
    try:
        tower = backbone.text_tower
    except InsightError:
        return  # an encoder of texts that cannot be asked how long they are
    check_length(tower, texts)

"""ECOR: a class and a rationale, chosen one after the other (Rasekh et al., arXiv 2404.12839).

P(class, rationale | photo) is a product of two softmaxes over cosines with prompts, of which the second is given the
choice of the first. Only the best choices of the first are followed, so that of C classes and R rationales never C * R
are scored for a photo. The paper has no public code; what it leaves open is chosen here and said so.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from jaxtyping import Float, Int64
from torch import Tensor
from torch.nn import functional as F

from sae.errors import InsightError

from ..backbones import Backbone
from .bank import ConceptBank, because, photo_of
from .fine_tuned import Batch
from .output import Output
from .pairs import ChoosesPairs, PairSettings, PairTexts, pair_scores, right_rationales
from .pairs.chooses_pairs import PAIRS
from .towers import PhotoVectors
from .training.fit_config import FitConfig

Order = Literal["r->c", "c->r", "independent"]


@dataclass(frozen=True)
class EcorSettings(PairSettings):
    """order: what is chosen first, "r->c" as published, "c->r" or "independent" as its ablations; kept: how many first
    choices are followed (all, where there are no more)."""

    order: Order = "r->c"
    kept: int = 32

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.order not in get_args(Order):
            raise InsightError(f"order: expected one of {', '.join(get_args(Order))}, found {self.order!r}")
        if self.kept < 1:
            raise InsightError(f"kept: expected at least 1, found {self.kept}")


class Ecor(ChoosesPairs):
    """With g the unit vector of a prompt, f the photo's and s the backbone's scale:

    - "r->c": P(r | I) = softmax_r s f·g("This is a photo of something because there is {r}") and
      P(c | r, I) = softmax_c s f·g("This is a photo of a {c} because there is {r}");
    - "c->r": P(c | I) = softmax_c s f·g("a photo of a {c}") and P(r | c, I) = softmax_r of the second prompt;
    - "independent": P(c | I) P(r | I), by the prompts that say one of the two.

    Not trained, with adapter "none", it is the zero-shot control. Which weights the paper trains is not known: here
    those of the adapter, while all texts stand still (its prompts are not learnt). `InsightError` as of `ChoosesPairs`.
    """

    kind = "ecor"
    Settings = EcorSettings
    fit_config = FitConfig(epochs=20, lr=2e-3)

    settings: EcorSettings
    rationale_vectors: Float[Tensor, "R d"]
    class_vectors: Float[Tensor, "C d"]

    def __init__(self, backbone: Backbone, bank: ConceptBank, settings: EcorSettings | None = None) -> None:
        settings = settings or EcorSettings()
        super().__init__(backbone, bank, settings)
        self._texts = PairTexts(bank, "class" if settings.order == "c->r" else "rationale", settings.room)
        with torch.no_grad():
            rationales = backbone.encode_text([because(rationale) for rationale in bank.concepts])
            classes = backbone.encode_text([photo_of(words) for words in bank.classes])
        self.register_buffer("rationale_vectors", rationales, persistent=False)
        self.register_buffer("class_vectors", classes, persistent=False)

    def output(self, photos: PhotoVectors) -> Output:
        """logits: log P(c | I); concept_scores: log P(r | I). What is chosen second is summed over the `kept` best
        first choices, so its probabilities sum to 1 less `missing_mass`; what is chosen first is exact.

        extras: joint_pairs, int64 [B, p, 2]: the best p = 10 pairs (class, rationale) among those followed, the best
        first, so that joint_pairs[:, 0, 0] is the class by the joint argmax; joint_log_p [B, p]: their log P(c, r | I);
        missing_mass [B]: probability of the first choices that were not followed.
        """
        order, unit = self.settings.order, photos.unit
        if order == "independent":
            log_c, log_r = self._log_c(unit), self._log_r(unit)
            (best_c, c), (best_r, r) = (one.topk(min(PAIRS, one.shape[1]), dim=1) for one in (log_c, log_r))
            joint = best_c[:, :, None] + best_r[:, None]  # the best pairs are of the best of both
            extras = {**_best(joint, c, r[:, None].expand(joint.shape)), "missing_mass": unit.new_zeros(len(unit))}
            return Output(log_c, log_r, extras)
        log_first = self._log_r(unit) if order == "r->c" else self._log_c(unit)
        kept = log_first.detach().topk(min(self.settings.kept, log_first.shape[1]), dim=1).indices
        given = self._log_second(unit.repeat_interleave(kept.shape[1], dim=0), kept.flatten())
        followed = log_first.gather(1, kept)
        joint = followed[..., None] + given.unflatten(0, kept.shape)
        log_second = joint.logsumexp(1)
        pairs = _best(joint, kept, torch.arange(joint.shape[2], device=joint.device).expand(joint.shape))
        missing = (1 - followed.detach().exp().sum(1)).clamp_min(0)
        if order == "r->c":
            return Output(log_second, log_first, {**_swapped(pairs), "missing_mass": missing})
        return Output(log_first, log_second, {**pairs, "missing_mass": missing})

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """-log Σ_r P(c*, r | I) over the rationales r that are right for the photo, in two terms whose sum it is.

        With one right rationale these are the published -log P(r* | I) and -log P(c* | r*, I). Right are those in
        `batch.concepts`, or where it says none, those of the photo's class in the bank.
        """
        unit, labels = self.tower.vectors(batch.kept).unit, batch.labels
        right = right_rationales(batch, self.membership)
        order, every = self.settings.order, torch.arange(len(labels), device=labels.device)
        if order == "r->c":
            log_r = self._log_r(unit)
            of_right = _log_sum(log_r, right)
            photo, rationale = right.nonzero(as_tuple=True)
            log_c = self._log_second(unit[photo], rationale).gather(1, labels[photo, None])[:, 0]
            pairs = torch.full_like(log_r, -torch.inf).index_put((photo, rationale), log_r[photo, rationale] + log_c)
            return {"rationale": -of_right.mean(), "class": (of_right - pairs.logsumexp(1)).mean()}
        log_r = self._log_second(unit, labels) if order == "c->r" else self._log_r(unit)
        return {
            "class": -self._log_c(unit)[every, labels].mean(),
            "rationale": -_log_sum(log_r, right).mean(),
        }

    def log_p(self, photos: PhotoVectors, columns: list[int]) -> Float[Tensor, "B T"]:
        """As of every method of pairs; pairs are scored only if what is chosen second is asked for."""
        alone = self._alone(columns)
        return super().log_p(photos, columns) if alone is None else alone[0](photos.unit)[:, alone[2]]

    def text_vectors(self, columns: list[int]) -> Float[Tensor, "T d"] | None:
        """Of classes or rationales that are chosen first."""
        alone = self._alone(columns)
        return None if alone is None else alone[1][alone[2]]

    def _alone(self, columns: list[int]) -> tuple[Callable[[Tensor], Tensor], Tensor, list[int]] | None:
        """What scores these columns without pairs, its vectors, and the columns there; None if nothing does."""
        n_classes, order = len(self.classes), self.settings.order
        if order != "c->r" and min(columns) >= n_classes:
            return self._log_r, self.rationale_vectors, [column - n_classes for column in columns]
        if order != "r->c" and max(columns) < n_classes:
            return self._log_c, self.class_vectors, columns
        return None

    def _log_r(self, unit: Float[Tensor, "n d"]) -> Float[Tensor, "n R"]:
        return F.log_softmax(self.scale * unit @ self.rationale_vectors.to(unit.dtype).T, dim=1)

    def _log_c(self, unit: Float[Tensor, "n d"]) -> Float[Tensor, "n C"]:
        return F.log_softmax(self.scale * unit @ self.class_vectors.to(unit.dtype).T, dim=1)

    def _log_second(self, unit: Float[Tensor, "n d"], first: Int64[Tensor, " n"]) -> Float[Tensor, "n S"]:
        """log P of the second choice, given the first one of each."""
        return F.log_softmax(pair_scores(unit, first, self._texts, self.backbone, self.scale), dim=1)


def _log_sum(log_p: Float[Tensor, "B n"], of: Tensor) -> Float[Tensor, " B"]:
    return log_p.masked_fill(~of, -torch.inf).logsumexp(1)


def _best(
    joint: Float[Tensor, "B m n"], rows: Int64[Tensor, "B m"], columns: Int64[Tensor, "B m n"]
) -> dict[str, Tensor]:
    """The best pairs, and their scores. rows, columns: what each entry of `joint` is a pair of."""
    scores, at = joint.detach().flatten(1).topk(min(PAIRS, joint[0].numel()), dim=1)
    pairs = torch.stack([rows.gather(1, at // joint.shape[2]), columns.flatten(1).gather(1, at)], dim=2)
    return {"joint_pairs": pairs, "joint_log_p": scores}


def _swapped(pairs: dict[str, Tensor]) -> dict[str, Tensor]:
    return {**pairs, "joint_pairs": pairs["joint_pairs"].flip(2)}

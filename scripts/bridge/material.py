"""What there is to learn from on the side of the photos: what trunk and teacher say of them, put in order.

In: the photos. Out: `Material`, computed once and kept in a folder (`features.py`).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from .features import views, whole_tokens
from .photos import Photos, Texts

EVERY = 2  # of the captioned photos, one in so many is also seen in views


@dataclass(frozen=True)
class Material:
    """Trunk tokens, and what image vectors are made of: class token and mean patch side by side, less their means.

    captioned, named: tokens [n, 257, 384] float16 of the photos' centre squares, the class token first;
    pooled_mean: [768], over the captioned photos; the rest has had it taken off:
    whole_captioned, whole_named: [n, k, 768], of each photo the square as it is and enlarged from a small one (where
    it was not seen so, as it is twice);
    views: [v, 768], the squares and crops, sharp and small, with the teacher's posteriors [v, 1000];
    teacher_named: [n, 1000], its posteriors of the named photos' squares.
    """

    captioned: Tensor
    named: Tensor
    pooled_mean: Tensor
    whole_captioned: Tensor
    whole_named: Tensor
    views: Tensor
    posteriors: Tensor
    teacher_named: Tensor

    @property
    def patch_mean(self) -> Tensor:
        """[384], over the patches of the captioned photos."""
        return self.pooled_mean[len(self.pooled_mean) // 2 :]

    @property
    def sharp(self) -> Tensor:
        """[n, 768]: of all photos the squares as they are, captioned ones first."""
        return torch.cat([self.whole_captioned[:, 0], self.whole_named[:, 0]])

    def words_shown(self, texts: Texts, least: float) -> Tensor:
        """Bool [n, w]: WordNet's nouns of each named photo's class, and those that the teacher gives over `least`."""
        by_teacher = self.teacher_named @ texts.teacher_word.to(self.teacher_named.dtype)
        return texts.class_word[texts.photo_name] | (by_teacher > least)


def gather(photos: Photos, features: Path, seed: int) -> Material:
    """Everything that trunk and teacher say of the photos, kept in the folder `features`."""
    captioned = whole_tokens(photos.captioned, features / "captioned.safetensors")
    named = whole_tokens(photos.named, features / "named.safetensors")
    sharp_captioned, sharp_named = class_and_mean(captioned), class_and_mean(named)
    mean = sharp_captioned.mean(0)

    def seen(files: list[Path], sharp: Tensor, kept: Path) -> tuple[Tensor, Tensor]:
        """The sharp square and all views [n, k, 768], and the teacher's posteriors of them [n, k, 1000]."""
        found, logits = views(files, seed, kept)
        inputs = torch.cat([sharp[:, None], found.float().flatten(2)], dim=1) - mean
        return inputs, torch.cat([logits[:, :1], logits], dim=1).float().softmax(-1)

    some, posteriors_of_some = seen(
        photos.captioned[::EVERY], sharp_captioned[::EVERY], features / "captioned-views.safetensors"
    )
    all_named, posteriors_of_named = seen(photos.named, sharp_named, features / "named-views.safetensors")
    whole_captioned = (sharp_captioned - mean)[:, None].repeat(1, 2, 1)
    whole_captioned[::EVERY, 1] = some[:, 1]
    return Material(
        captioned=captioned,
        named=named,
        pooled_mean=mean,
        whole_captioned=whole_captioned,
        whole_named=all_named[:, :2],
        views=torch.cat([some.flatten(0, 1), all_named.flatten(0, 1)]),
        posteriors=torch.cat([posteriors_of_some.flatten(0, 1), posteriors_of_named.flatten(0, 1)]),
        teacher_named=posteriors_of_named[:, 0],
    )


def class_and_mean(tokens: Tensor) -> Tensor:
    """[n, 768]: class token and mean patch of tokens [n, 257, 384], side by side."""
    return torch.cat([torch.cat([part[:, 0].float(), part[:, 1:].float().mean(1)], 1) for part in tokens.split(256)])

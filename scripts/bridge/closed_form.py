"""The two bridges that need no training loop: ridge regression from the mean patch to a mean text.

In: mean patches and the texts' vectors. Out: a map [384, 384].
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import normalize

from .photos import Texts


def ridge(inputs: Tensor, targets: Tensor, strength: float) -> Tensor:
    """W [d_out, d_in] with the least  |inputs W' - targets|^2 + strength |W|^2."""
    gram = inputs.T @ inputs + strength * torch.eye(inputs.shape[1])
    return torch.linalg.solve(gram, inputs.T @ targets).T


def caption_targets(texts: Texts, n_captioned: int) -> Tensor:
    """[n_captioned + n_named, 384]: each photo's mean caption, and each named photo's name, as unit vectors."""
    sums = torch.zeros(n_captioned, texts.captions.shape[1]).index_add_(0, texts.caption_photo, texts.captions)
    return torch.cat([normalize(sums, dim=1), texts.names[0][texts.photo_name]])


def teacher_targets(texts: Texts, posteriors: Tensor) -> Tensor:
    """[n, 384]: the names of the teacher's classes, weighted by its posteriors [n, 1000], as unit vectors."""
    return normalize(posteriors @ texts.teacher[0], dim=1)

"""The contrastive term of DEAL: photos against the captions of their batch."""

from __future__ import annotations

from jaxtyping import Float, Int64
from torch import Tensor


def contrastive(logits: Float[Tensor, "B B"], captions: Int64[Tensor, " B"]) -> Float[Tensor, ""]:
    """Symmetric cross-entropy of photos (rows) and captions (columns) of a batch.

    captions: which caption each photo has, as a number. Photos of one caption are no negatives of each other: the
    target is shared between them. Where all captions differ this is the loss of CLIP, which DEAL's code uses throughout
    and which, with photos of a class twice in a batch, pushes these apart.
    """
    same = (captions[:, None] == captions[None]).to(logits.dtype)
    target = same / same.sum(1, keepdim=True)
    rows, columns = logits.log_softmax(1), logits.log_softmax(0)
    return -(target * (rows + columns)).sum() / (2 * len(logits))

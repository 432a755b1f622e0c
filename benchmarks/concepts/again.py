"""Concepts that two dictionaries have in common: what one seed found and another found again.

In: two decoders. Out: pairs of concepts that are each other's nearest.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize

ALIKE = 0.7
"""Cosine of two decoder rows that are taken for one concept; of 2,048 random directions in 384 dimensions the nearest
two are at about 0.3."""


@torch.no_grad()
def found_again(decoder: Tensor, other: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Rows of the first and of the second ([n] each) that are each other's nearest, with a cosine of 0.7 at least."""
    cosines = normalize(decoder.float(), dim=1) @ normalize(other.float(), dim=1).T
    nearest = cosines.argmax(1)
    mutual = cosines.argmax(0)[nearest] == torch.arange(len(decoder))
    rows = (mutual & (cosines.amax(1) >= ALIKE)).nonzero().squeeze(1)
    return rows.numpy(), nearest[rows].numpy()

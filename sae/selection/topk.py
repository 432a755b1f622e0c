"""TopK: the k largest pre-activations of each token."""

from __future__ import annotations

import torch

from ..codes import SparseCodes
from ..distributed.slices import keep_largest_of_slices
from ..preactivations import Preactivations
from .largest import Largest
from .threshold import kept


class TopK(Largest):
    """Keeps exactly the k largest positive pre-activations of each token (fewer if fewer are positive).

    The screen leaves hardly more than k of each token, among which the k are settled. Where processes share the
    concepts, a token's candidates are those of all.
    """

    def __call__(self, pre: Preactivations) -> SparseCodes:
        """Codes [n, m]: the ReLU of the pre-activations, kept or not."""
        found = pre.largest(min(self.k, pre.n_concepts))
        offsets, counts = found.pattern.offsets, found.pattern.offsets.diff()
        width = int(counts.max()) if len(counts) else 0
        places = torch.arange(len(found.values), device=counts.device)
        places -= torch.repeat_interleave(
            offsets[:-1] - width * torch.arange(pre.n, device=counts.device), counts, output_size=len(places)
        )
        padded = found.values.new_zeros(pre.n, width)
        padded.view(-1)[places] = found.values.clamp_min(0)
        keep_largest_of_slices(padded, self.k, self.ranks.concepts)
        return kept(found, padded.view(-1)[places] > 0)

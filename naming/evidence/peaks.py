"""Where in each image a concept is strongest, and the image's own code: two views of one maximum.

In: codes of whole images. Out: codes with one entry an image and concept.
"""

from __future__ import annotations

import torch

from sae import SparseCodes


def strongest_of_image(codes: SparseCodes, tokens_per_image: int) -> SparseCodes:
    """Of each image and concept the one entry of largest activation (at a tie, of the first patch); same rows.

    `codes`: whole images one after the other, `tokens_per_image` rows each.
    """
    image = torch.div(codes.rows(), tokens_per_image, rounding_mode="floor")
    pair = image * codes.n_concepts + codes.concepts
    by_activation = codes.activations.argsort(descending=True, stable=True)
    order = by_activation[pair[by_activation].argsort(stable=True)]
    first = torch.ones(codes.nnz, dtype=torch.bool, device=codes.device)
    first[1:] = pair[order].diff() != 0
    keep = torch.zeros_like(first)
    keep[order[first]] = True
    kept = torch.cat([keep.new_zeros(1, dtype=torch.int64), keep.cumsum(0)])
    return SparseCodes(kept[codes.offsets], codes.concepts[keep], codes.activations[keep], codes.n_concepts)

"""From the concepts of an image's patches to the concepts of the image. In: codes of whole images. Out: a row an image.

The published head takes the maximum over patches, later work of the same group maximum and mean
side by side. All stay sparse: a concept that stands nowhere in an image has no entry in its row.
"""

from __future__ import annotations

from typing import Literal, TypeAlias, get_args

import torch

from sae import SparseCodes
from sae.errors import InsightError

Pooling: TypeAlias = Literal["max", "mean", "max+mean", "top"]
TOP_SHARE = 0.1
"""Of an image's patches, those strongest in a concept that pooling "top" averages."""


def pool(codes: SparseCodes, tokens: int, pooling: Pooling) -> SparseCodes:
    """Codes of images [n, F] from those of their patches [n · tokens, m], whole images one after the other.

    "max": the largest activation of each concept; "mean": the mean over all patches; "top": the mean over the
    `TOP_SHARE` of the patches where the concept is strongest, silent ones counted as 0; "max+mean": features 0 to m - 1
    are the maximum, m to 2m - 1 the mean. `InsightError` when the rows are no whole images.
    """
    if pooling not in get_args(Pooling):
        raise InsightError(f"pooling: expected one of {', '.join(get_args(Pooling))}, found {pooling!r}")
    if tokens < 1 or codes.n % tokens:
        raise InsightError(f"pooling: expected rows of whole images of {tokens} patches, found {codes.n} rows")
    images = codes.n // tokens
    image = torch.arange(images, device=codes.device).repeat_interleave(tokens)
    if pooling == "max":
        return codes.max_by_group(image, images)
    if pooling == "mean":
        return _divided(codes.sum_by_group(image, images), tokens)
    if pooling == "top":
        count = max(1, round(TOP_SHARE * tokens))
        return _divided(_strongest(codes, image, count).sum_by_group(image, images), count)
    return _side_by_side(codes.max_by_group(image, images), _divided(codes.sum_by_group(image, images), tokens))


def n_features(n_concepts: int, pooling: Pooling) -> int:
    """F: how many features an image has."""
    return 2 * n_concepts if pooling == "max+mean" else n_concepts


def _divided(codes: SparseCodes, by: int) -> SparseCodes:
    return SparseCodes(codes.offsets, codes.concepts, codes.activations / by, codes.n_concepts)


def _strongest(codes: SparseCodes, image: torch.Tensor, count: int) -> SparseCodes:
    """Of every image and concept the `count` largest activations."""
    rows = codes.rows()
    order = codes.activations.argsort(descending=True, stable=True)
    cell = image[rows] * codes.n_concepts + codes.concepts
    order = order[cell[order].argsort(stable=True)]  # by image and concept, the strongest first
    starts = torch.cat([order.new_zeros(1), (cell[order].diff() != 0).nonzero()[:, 0] + 1]) if len(order) else order
    lengths = torch.cat([starts, starts.new_tensor([len(order)])]).diff()
    place = torch.arange(len(order), device=order.device) - starts.repeat_interleave(lengths)
    kept = order[place < count].sort().values
    activations, concepts = codes.activations[kept], codes.concepts[kept]
    return SparseCodes.from_entries(rows[kept], concepts, activations, codes.n, codes.n_concepts)


def _side_by_side(left: SparseCodes, right: SparseCodes) -> SparseCodes:
    """The features of both: [n, 2m]."""
    rows = torch.cat([left.rows(), right.rows()])
    features = torch.cat([left.concepts.long(), right.concepts.long() + left.n_concepts])
    values = torch.cat([left.activations, right.activations])
    return SparseCodes.from_entries(rows, features, values, left.n, left.n_concepts + right.n_concepts)

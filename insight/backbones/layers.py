"""`NAME@BLOCK`: the tokens inside an encoder as patches, and several layers of one encoder in one forward pass.

A `Layer` is a `Backbone` whose patches are the tokens that go into block BLOCK of its base, counted from 0, as they
are: no norm, no projection, no text. What comes out of the last block has no number: the base itself gives it, with
the final norm that every later reader of those tokens applies. `encode_together` runs each block once, however many
layers of it are asked for.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from itertools import pairwise

from torch import Tensor

from sae.errors import InsightError

from .base import Backbone, DenseFeatures, fingerprint_of

CODE_VERSION = "layer 1"  # change it when the same base begins to give other vectors


class Layer(Backbone):
    """What goes into one block of `base`; its own blocks are those before, so `depth` is the number of that block.

    `pooled` is the class token there if the base has one, else the mean patch. `InsightError` if the base has no such
    block.
    """

    has_text = False

    def __init__(self, base: Backbone, block: int) -> None:
        super().__init__()
        base.check_block(block)
        self.base = base
        self.name = f"{base.name}@{block}"
        self.description = f"The tokens that go into block {block} (counted from 0) of {base.name}, vision only."
        self.dim = self.width = base.width
        self.patch = base.patch
        self.grid = base.grid
        self.image_size = base.image_size
        self.depth = block
        self.n_prefix = base.n_prefix
        self.has_class_token = base.has_class_token
        self.set_colours(base.colour_mean.flatten().tolist(), base.colour_std.flatten().tolist())

    @cached_property
    def fingerprint(self) -> str:
        """From the base's and the number of the block."""
        return fingerprint_of([self.base.fingerprint, CODE_VERSION, str(self.depth)])

    def encode_image(self, images: Tensor) -> DenseFeatures:
        return self.features(self.base.prefix(images, self.depth), self.grid_for(images))

    def features(self, tokens: Tensor, grid: tuple[int, int] | None = None) -> DenseFeatures:
        """The layer's features, from the tokens [B, n_prefix + h*w, width] that go into its block of the base."""
        patches = tokens[:, self.n_prefix :]
        pooled = tokens[:, 0] if self.has_class_token else patches.mean(1)
        return DenseFeatures(patches, pooled, self.grid_of(patches.shape[1], grid))

    def prefix(self, images: Tensor, block: int) -> Tensor:
        self.check_block(block)
        return self.base.prefix(images, block)

    def suffix(
        self, z: Tensor, block: int, need_attention: bool = False, grid: tuple[int, int] | None = None
    ) -> tuple[DenseFeatures, Tensor | None]:
        self.check_block(block)
        tokens, attention = self.base.between(z, block, self.depth, need_attention, grid)
        return self.features(tokens, grid), attention

    def between(
        self, z: Tensor, block: int, to: int, need_attention: bool = False, grid: tuple[int, int] | None = None
    ) -> tuple[Tensor, Tensor | None]:
        self.check_span(block, to)
        return self.base.between(z, block, to, need_attention, grid)


def encode_together(backbones: Sequence[Backbone], images: Sequence[Tensor]) -> list[DenseFeatures]:
    """What each backbone's `encode_image` gives for its photos, in the order of the backbones.

    By the same operations in the same order, so on a CPU the numbers are equal bit for bit.

    images: for each backbone a batch [B, 3, S, S] of its `transform` on its device. Layers of the same base (and the
    base) that are given the same tensor, the object itself and not an equal one, run each block once: `load_together`
    makes them share the base. `InsightError` when there are not as many batches as backbones.
    """
    if len(images) != len(backbones):
        raise InsightError(
            f"expected a batch of images for each of {len(backbones)} backbones, found {len(images)}; give one for"
            " each, the same tensor to all that see the same photos"
        )
    passes: dict[tuple[int, int], list[int]] = {}
    for number, (backbone, batch) in enumerate(zip(backbones, images, strict=True)):
        base = backbone.base if isinstance(backbone, Layer) else backbone
        passes.setdefault((id(base), id(batch)), []).append(number)
    found: dict[int, DenseFeatures] = {}
    for numbers in passes.values():
        features = _one_pass([backbones[number] for number in numbers], images[numbers[0]])
        found.update(zip(numbers, features, strict=True))
    return [found[number] for number in range(len(backbones))]


def _one_pass(backbones: list[Backbone], images: Tensor) -> list[DenseFeatures]:
    """Layers of one base, or the base itself, in any order and as often as they like."""
    layers = [backbone for backbone in backbones if isinstance(backbone, Layer)]
    if not layers:
        return [backbones[0].encode_image(images)] * len(backbones)
    base, stops = layers[0].base, sorted({layer.depth for layer in layers})
    grid = base.grid_for(images)
    tokens = {stops[0]: base.prefix(images, stops[0])}
    for block, to in pairwise(stops):
        tokens[to], _ = base.between(tokens[block], block, to, grid=grid)
    features = {layer.depth: layer.features(tokens[layer.depth], grid) for layer in layers}
    if len(layers) < len(backbones):
        features[base.depth], _ = base.suffix(tokens[stops[-1]], stops[-1], grid=grid)
    return [features[backbone.depth] for backbone in backbones]

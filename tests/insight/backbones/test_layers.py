"""`NAME@BLOCK`: tokens inside an encoder as a backbone of its own, and many layers in one pass over the blocks."""

import json
import random
import re
from collections import Counter
from collections.abc import Iterable

import pytest
import torch
from torch import Tensor, nn

from insight.backbones import Backbone, encode_together, load, load_together
from insight.backbones.layers import Layer
from insight.backbones.small import Small
from sae.errors import InsightError

# Untrained towers. The first has a class token, the second a register and no class token, the third a class token and
# a projection to vectors narrower than its tokens.
NAMES = ["timm:test_vit/", "timm:test_vit2/", "openclip:insight-layers/"]
SIDES = {"timm:test_vit/": 160, "timm:test_vit2/": 160, "openclip:insight-layers/": 64}
DEPTHS = {"timm:test_vit/": 6, "timm:test_vit2/": 8, "openclip:insight-layers/": 5}
CLIP = {
    "embed_dim": 24,
    "vision_cfg": {"image_size": 64, "layers": 5, "width": 48, "head_width": 16, "patch_size": 16},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 2},
}


@pytest.fixture(scope="module")
def towers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Backbone]:
    """The three, with every weight moved off its start so that no block passes its tokens on unchanged."""
    import open_clip

    folder = tmp_path_factory.mktemp("configs")
    (folder / "insight-layers.json").write_text(json.dumps(CLIP))
    open_clip.add_model_config(folder)
    found = dict(zip(NAMES, load_together(NAMES), strict=True))
    with torch.no_grad():
        for parameter in (parameter for tower in found.values() for parameter in tower.parameters()):
            parameter += 0.1 * torch.randn_like(parameter)
    return found


def photos(name: str, count: int = 2) -> Tensor:
    return torch.rand(count, 3, SIDES[name], SIDES[name])


def blocks_of(backbone: Backbone) -> nn.ModuleList:
    model = backbone.vit if isinstance(backbone, Small) else backbone.model
    return model.blocks if hasattr(model, "blocks") else model.visual.transformer.resblocks


def inputs_of_blocks(backbone: Backbone, images: Tensor) -> list[Tensor]:
    """What goes into each block when the model's own code encodes the photos."""
    seen: list[Tensor] = []
    hooks = [
        block.register_forward_pre_hook(lambda module, args: seen.append(args[0])) for block in blocks_of(backbone)
    ]
    model = backbone.vit if isinstance(backbone, Small) else backbone.model
    own = model.encode_image if hasattr(model, "encode_image") else model.forward_features
    own(backbone.normalise_colours(images))
    for hook in hooks:
        hook.remove()
    return seen


class BlockRuns:
    """How often each block of a backbone is run while the `with` lasts: its first norm, the way in, is counted."""

    def __init__(self, backbone: Backbone) -> None:
        self.blocks = blocks_of(backbone)
        self.count: Counter[int] = Counter()

    def __enter__(self) -> Counter[int]:
        self.hooks = [
            (block.norm1 if hasattr(block, "norm1") else block.ln_1).register_forward_hook(
                lambda module, args, output, number=number: self.count.update([number])
            )
            for number, block in enumerate(self.blocks)
        ]
        return self.count

    def __exit__(self, *error: object) -> None:
        for hook in self.hooks:
            hook.remove()


def assert_identical(found: Iterable[object], expected: Iterable[object]) -> None:
    for one, other in zip(found, expected, strict=True):
        assert torch.equal(one.patches, other.patches)
        assert torch.equal(one.pooled, other.pooled)
        assert one.grid == other.grid


@pytest.mark.parametrize("name", NAMES)
def test_the_patches_are_what_goes_into_the_block(towers: dict[str, Backbone], name: str) -> None:
    base, images = towers[name], photos(name)
    seen = inputs_of_blocks(base, images)
    assert len(seen) == base.depth == DEPTHS[name]
    for block, tokens in enumerate(seen):
        layer = Layer(base, block)
        found = layer.encode_image(images)
        torch.testing.assert_close(found.patches, tokens[:, 1:], atol=1e-4, rtol=1e-4)
        assert found.patches.shape == (2, found.grid[0] * found.grid[1], layer.dim)
        assert found.grid == layer.grid == base.grid
        if block:
            assert not torch.allclose(tokens, seen[block - 1], atol=1e-2)  # a neighbouring block would be noticed


def test_the_image_vector_is_the_class_token_where_there_is_one(towers: dict[str, Backbone]) -> None:
    for name, has_class_token in zip(NAMES, (True, False, True), strict=True):
        images = photos(name)
        tokens = inputs_of_blocks(towers[name], images)[3]
        expected = tokens[:, 0] if has_class_token else sum(tokens[:, 1:].unbind(1)) / (tokens.shape[1] - 1)
        found = Layer(towers[name], 3).encode_image(images).pooled
        torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("name", NAMES)
def test_a_layer_says_what_it_is(towers: dict[str, Backbone], name: str) -> None:
    base = towers[name]
    layer = Layer(base, 3)
    assert layer.name == f"{name}@3"
    assert f"block 3 (counted from 0) of {name}" in layer.description
    assert (layer.image_size, layer.transform, layer.depth) == (base.image_size, base.transform, 3)
    assert not layer.has_text
    with pytest.raises(InsightError, match="no text space"):
        layer.encode_text(["a dog"])
    images = photos(name)
    assert torch.equal(layer.normalise_colours(images), base.normalise_colours(images))


def test_fingerprints_differ_between_blocks_and_with_the_weights(towers: dict[str, Backbone]) -> None:
    name = NAMES[0]
    untouched = [load(f"{name}@{block}") for block in (2, 3, 3)] + [load(name)]
    disturbed = [Layer(towers[name], block) for block in (2, 3)]
    found = [backbone.fingerprint for backbone in (*untouched, *disturbed)]
    assert found[1] == found[2]
    assert len(set(found)) == 5
    assert all(re.fullmatch("[0-9a-f]{64}", fingerprint) for fingerprint in found)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("block", [0, 2, 3])
def test_a_layer_can_be_cut_before_its_block(towers: dict[str, Backbone], name: str, block: int) -> None:
    layer = Layer(towers[name], 4)
    images = photos(name).requires_grad_()
    whole = layer.encode_image(images)
    z = layer.prefix(images, block)
    for need_attention in (False, True):
        part, attention = layer.suffix(z, block, need_attention=need_attention)
        torch.testing.assert_close(part.patches, whole.patches, atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(part.pooled, whole.pooled, atol=1e-4, rtol=1e-4)
    assert attention is not None
    n_tokens = 1 + layer.grid[0] * layer.grid[1]
    assert attention.shape[0] == 2
    assert attention.shape[2:] == (n_tokens, n_tokens)
    torch.testing.assert_close(attention.sum(-1), torch.ones(attention.shape[:3]))
    gradients = torch.autograd.grad(part.pooled.square().sum(), [attention, images])
    assert all(gradient.abs().max() > 0 for gradient in gradients)


@pytest.mark.parametrize("name", NAMES)
def test_going_on_between_blocks_leads_to_the_same_tokens(towers: dict[str, Backbone], name: str) -> None:
    images, last = photos(name), DEPTHS[name] - 1
    for backbone in (towers[name], Layer(towers[name], last)):
        for block, to in [(0, 1), (0, last), (1, 3), (last - 1, last)]:
            if to < backbone.depth:
                found, attention = backbone.between(backbone.prefix(images, block), block, to)
                assert attention is None
                torch.testing.assert_close(found, towers[name].prefix(images, to), atol=1e-4, rtol=1e-4)
        z = backbone.prefix(images, 2)
        for block, to in [(2, 2), (2, 1), (2, backbone.depth), (-1, 2), (2, -1)]:
            with pytest.raises(InsightError, match="block"):
                backbone.between(z, block, to)


def test_a_layer_takes_larger_photos(towers: dict[str, Backbone]) -> None:
    found = Layer(towers[NAMES[0]], 2).encode_image(torch.rand(1, 3, 320, 320))
    assert found.grid == (20, 20)
    assert found.patches.shape == (1, 400, 64)


@pytest.mark.parametrize("name", NAMES)
def test_there_is_no_layer_outside_the_model(towers: dict[str, Backbone], name: str) -> None:
    depth = DEPTHS[name]
    for block in (depth, depth + 1, 9999):
        with pytest.raises(InsightError, match=f"blocks 0 to {depth - 1}, found block={block}"):
            load(f"{name}@{block}")


def test_a_model_without_blocks_has_no_layers() -> None:
    with pytest.raises(InsightError, match="no transformer blocks"):
        load("timm:test_convnext/@1")


@pytest.mark.parametrize("name", ["small@", "small@x", "small@-1", "small@6@3", "small@1.5", "@3", "clip@3", "small@²"])
def test_other_names_with_an_at_end_in_one_line_that_says_what_is_possible(name: str) -> None:
    with pytest.raises(InsightError, match=r"timm:MODEL.*@BLOCK.*small@6") as caught:
        load(name)
    assert "\n" not in str(caught.value)


def test_backbones_loaded_together_share_their_weights() -> None:
    first, base, second, other = load_together([f"{NAMES[0]}@1", NAMES[0], f"{NAMES[0]}@4", NAMES[1]])
    assert [backbone.name for backbone in (first, base, second, other)] == [
        f"{NAMES[0]}@1",
        NAMES[0],
        f"{NAMES[0]}@4",
        NAMES[1],
    ]
    weights = {id(parameter) for parameter in base.parameters()}
    assert {id(parameter) for parameter in first.parameters()} == weights
    assert {id(parameter) for parameter in second.parameters()} == weights
    assert weights.isdisjoint(id(parameter) for parameter in other.parameters())
    for backbone in (first, base, second, other):
        assert not backbone.training
        assert not any(parameter.requires_grad for parameter in backbone.parameters())
    assert load_together([]) == []


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("with_base", [True, False])
def test_together_gives_what_each_gives_and_runs_each_block_once(
    towers: dict[str, Backbone], name: str, with_base: bool
) -> None:
    base, images = towers[name], photos(name)
    blocks = random.sample(range(base.depth), 3)
    backbones: list[Backbone] = [Layer(base, block) for block in [*blocks, blocks[0]]] + [base] * with_base
    random.shuffle(backbones)
    with BlockRuns(base) as runs:
        found = encode_together(backbones, [images] * len(backbones))
    assert runs == Counter(range(base.depth if with_base else max(blocks)))
    assert_identical(found, [backbone.encode_image(images) for backbone in backbones])


def test_together_takes_backbones_with_other_photos(towers: dict[str, Backbone]) -> None:
    convolutional = load("timm:test_convnext/")
    bases = [*towers.values(), convolutional]
    backbones = [*bases, *(Layer(base, block) for base in towers.values() for block in (1, 4))]
    random.shuffle(backbones)
    by_size = {size: torch.rand(2, 3, size, size) for size in {backbone.image_size for backbone in bases}}
    assert len(by_size) > 1
    images = [by_size[backbone.image_size] for backbone in backbones]
    found = encode_together(backbones, images)
    assert_identical(found, [backbone.encode_image(batch) for backbone, batch in zip(backbones, images, strict=True)])


def test_layers_given_different_photos_see_their_own(towers: dict[str, Backbone]) -> None:
    base = towers[NAMES[0]]
    backbones = [Layer(base, 2), Layer(base, 4), Layer(base, 2), base]
    batches = [photos(NAMES[0], count) for count in (1, 2, 3)]
    images = [batches[0], batches[1], batches[2], batches[1]]
    with BlockRuns(base) as runs:
        found = encode_together(backbones, images)
    assert runs == Counter([*range(2), *range(6), *range(2)])
    assert_identical(found, [backbone.encode_image(batch) for backbone, batch in zip(backbones, images, strict=True)])


def test_together_needs_a_batch_for_each(towers: dict[str, Backbone]) -> None:
    base = towers[NAMES[0]]
    with pytest.raises(InsightError, match="each of 2 backbones, found 1"):
        encode_together([base, Layer(base, 1)], [photos(NAMES[0])])
    assert encode_together([], []) == []


@pytest.mark.parametrize("name", NAMES)
def test_gradients_of_a_shared_pass_are_the_sum_of_each_ones(towers: dict[str, Backbone], name: str) -> None:
    base = towers[name]
    backbones: list[Backbone] = [Layer(base, 1), Layer(base, 3), base]
    shared = photos(name, 1).double().requires_grad_()
    weights = [torch.randn(1, *backbone.grid, backbone.dim).double() for backbone in backbones]
    base.double()
    try:
        together = encode_together(backbones, [shared] * 3)
        loss = sum((w.flatten(1, 2) * found.patches).sum() for w, found in zip(weights, together, strict=True))
        (gradient,) = torch.autograd.grad(loss, shared)
        alone = [
            torch.autograd.grad((w.flatten(1, 2) * backbone.encode_image(shared).patches).sum(), shared)[0]
            for w, backbone in zip(weights, backbones, strict=True)
        ]
    finally:
        base.float()
    assert all(part.abs().max() > 0 for part in alone)
    torch.testing.assert_close(gradient, sum(alone), atol=1e-8, rtol=1e-6)


def test_layers_of_small(small: Small, photos: Tensor) -> None:
    layers = [Layer(small, block) for block in (6, 11)]
    with torch.no_grad():
        seen = inputs_of_blocks(small, photos)
        with BlockRuns(small) as runs:
            found = encode_together([*layers, small], [photos] * 3)
        assert runs == Counter(range(12))
        assert_identical(found, [backbone.encode_image(photos) for backbone in (*layers, small)])
    for features, tokens in zip(found, (seen[6], seen[11])):
        torch.testing.assert_close(features.patches, tokens[:, 1:], atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(features.pooled, tokens[:, 0], atol=1e-4, rtol=1e-4)
        assert features.grid == (16, 16)

"""Relevance equals its definition with derivatives by differences, and can itself be differentiated."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from insight.attribution import Scorer, scorer_of
from insight.attribution.relevance import Relevance, relevance_maps
from insight.backbones import Backbone, DenseFeatures, load
from insight.backbones.small import load_small
from sae.errors import InsightError

from ..backbones.timm_models import toys
from ..random_models import Pixels
from ..tiny_clip import tiny_clip
from .by_hand import ByHand, slope

TEXTS = ["a cat", "a dog on grass"]
POOLER = {"attentional_pool": True, "attn_pooler_queries": 4, "attn_pooler_heads": 2}


def cosines(vectors: Tensor) -> Callable[[DenseFeatures], Tensor]:
    return lambda features: F.normalize(features.pooled, dim=-1) @ vectors.T


def by_differences(hand: ByHand, x: Tensor, queries: range) -> Tensor:
    """[T, h*w]: over heads and queries, entry by entry, what the definition says. x: tokens into the last block."""
    attention = hand.attention(x)
    maps = torch.zeros(len(hand.vectors), attention.shape[2], dtype=torch.float64)
    for head in range(len(attention)):
        for query in queries:
            for key in range(attention.shape[2]):
                one = torch.zeros_like(attention)
                one[head, query, key] = 1
                gain = slope(lambda a: hand.from_attention(x, a), attention, one)
                maps[:, key] += (gain * attention[head, query, key]).clamp_min(0) / len(attention)
    return maps[:, 1:]


def test_a_tower_pooled_by_its_class_token_has_the_class_token_s_row_as_published() -> None:
    backbone, photos = tiny_clip(seed=3), torch.rand(2, 3, 64, 64)
    hand = ByHand(backbone, backbone.encode_text(TEXTS))
    maps = Relevance().maps(scorer_of(backbone, TEXTS), photos)
    wanted = torch.stack([by_differences(hand, hand.tokens_into(photo, hand.last), range(1)) for photo in photos])
    assert maps.shape == (2, 2, 4, 4)
    torch.testing.assert_close(maps.flatten(2).double(), wanted, rtol=1e-3, atol=1e-6)


def test_a_tower_pooled_by_the_mean_has_the_rows_of_all_that_is_pooled() -> None:
    backbone, photo = tiny_clip(seed=4, pool_type="avg"), torch.rand(1, 3, 32, 48)
    hand = ByHand(backbone, backbone.encode_text(TEXTS), pool_type="avg")
    maps = Relevance().maps(scorer_of(backbone, TEXTS), photo)
    x = backbone.prefix(photo, hand.last)[0].double()
    wanted = by_differences(hand, x, range(7))
    torch.testing.assert_close(maps[0].flatten(1).double(), wanted, rtol=1e-3, atol=1e-6)
    assert bool((by_differences(hand, x, range(1)) == 0).all())  # its class token's row says nothing


def test_small_has_the_rows_of_its_class_token_and_its_patches() -> None:
    """Entry by entry of the attention that the block itself uses, changed on its way to the values."""
    backbone = load_small().freeze().double()
    vector = F.normalize(torch.randn(1, backbone.dim, dtype=torch.float64), dim=1)
    photo, last = torch.rand(1, 3, 28, 28, dtype=torch.float64), backbone.depth - 1
    z = backbone.prefix(photo, last)
    maps = relevance_maps(backbone, z, cosines(vector), 1, (2, 2))
    added = torch.zeros(1, 6, 5, 5, dtype=torch.float64)
    hook = backbone.vit.blocks[-1].attn.attn_drop.register_forward_hook(lambda module, args, out: out + added)
    try:
        attention = backbone.suffix(z, last, need_attention=True)[1]
        assert attention is not None

        def score(change: Tensor) -> Tensor:
            added.copy_(change)
            return cosines(vector)(backbone.suffix(z, last, need_attention=True)[0])

        for key in (1, 4):
            wanted = 0.0
            for head in range(6):
                for query in range(5):
                    one = torch.zeros_like(added)
                    one[0, head, query, key] = 1
                    gain = float(slope(score, torch.zeros_like(added), one))
                    wanted += max(0.0, gain * float(attention[0, head, query, key])) / 6
            assert float(maps.flatten()[key - 1]) == pytest.approx(wanted, rel=1e-4)
    finally:
        hook.remove()


@pytest.mark.parametrize("name", sorted([*toys.VITS, *toys.EVAS]))
def test_every_timm_tower_s_scores_depend_on_the_attention_it_gives(name: str) -> None:
    backbone = load(f"timm:{name}/")
    with torch.no_grad():
        for parameter in backbone.parameters():
            parameter += 0.1 * torch.randn_like(parameter)
    scorer = Scorer(backbone, ("it",), cosines(torch.randn(1, backbone.dim)))
    maps = Relevance().maps(scorer, torch.rand(1, 3, 32, 64))
    assert maps.shape == (1, 1, 2, 4)
    assert float(maps.max()) > 0


def test_the_maps_follow_what_goes_into_the_last_block_and_its_weights() -> None:
    """The gradient of a map, which is of second order in the score, equals differences of maps."""
    backbone = tiny_clip(seed=5, image_size=32).double()
    vectors = F.normalize(torch.randn(2, 24, dtype=torch.float64), dim=1)
    block = backbone.blocks[-1]
    weights = [block.ln_1.weight, block.attn.in_proj_weight, block.attn.out_proj.bias, block.ln_2.bias]
    z = backbone.prefix(torch.rand(1, 3, 32, 32, dtype=torch.float64), 3).requires_grad_()
    for weight in weights:
        weight.requires_grad_()

    def maps(z: Tensor, *weights: Tensor) -> Tensor:
        return 1e3 * relevance_maps(backbone, z, cosines(vectors), 2, (2, 2), create_graph=True)

    assert float(maps(z).detach().max()) > 0.01  # differences would not see a wrong gradient of nothing
    assert torch.autograd.gradcheck(maps, (z, *weights), eps=1e-6, atol=1e-5, fast_mode=True)


@pytest.mark.parametrize("vision", [{}, {"pool_type": "avg"}, POOLER], ids=["token", "mean", "pooler"])
def test_maps_that_are_trained_move_weights_before_and_in_the_last_block(vision: dict[str, Any]) -> None:
    backbone, photos = tiny_clip(**vision), torch.rand(2, 3, 64, 64)
    vectors = backbone.encode_text(TEXTS)
    backbone.requires_grad_(True)
    z = backbone.prefix(photos, 3)
    maps = relevance_maps(backbone, z, cosines(vectors), 2, (4, 4), create_graph=True)
    shown = relevance_maps(backbone, z, cosines(vectors), 2, (4, 4))
    torch.testing.assert_close(maps, shown)  # what is trained is what is shown
    assert not shown.requires_grad
    maps.sum().backward()
    for block in (0, 3):
        gradient = backbone.blocks[block].attn.in_proj_weight.grad
        assert gradient is not None
        assert float(gradient.abs().max()) > 0


def test_texts_may_differ_from_photo_to_photo() -> None:
    backbone, photos = tiny_clip(), torch.rand(2, 3, 64, 64)
    vectors = backbone.encode_text(["a", "b", "c", "d"]).view(2, 2, -1)
    z = backbone.prefix(photos, 3)
    maps = relevance_maps(backbone, z, lambda f: (F.normalize(f.pooled, dim=-1)[:, None] * vectors).sum(2), 2, (4, 4))
    for number, texts in enumerate((["a", "b"], ["c", "d"])):
        alone = Relevance().maps(scorer_of(backbone, texts), photos[number : number + 1])
        torch.testing.assert_close(maps[number : number + 1], alone)


def test_backbones_without_attention_are_refused() -> None:
    with pytest.raises(InsightError, match="pixels has no blocks"):
        Relevance()(Pixels(), torch.rand(1, 3, 16, 16), TEXTS)


def test_scores_that_do_not_depend_on_the_attention_are_refused() -> None:
    backbone: Backbone = tiny_clip()  # its patches pass the last block each alone
    scorers = {
        "attention did not mix": lambda features: features.patches.mean(1)[:, :2],
        "do not depend": lambda features: torch.zeros(len(features.pooled), 2),
    }
    for said, score in scorers.items():
        with pytest.raises(InsightError, match=said):
            Relevance().maps(Scorer(backbone, ("a", "b"), score), torch.rand(1, 3, 64, 64))


def test_scores_of_patches_that_the_attention_mixed_have_maps() -> None:
    backbone = load("timm:insight_mean/")
    scorer = Scorer(backbone, ("a",), lambda features: features.patches[:, 5, :1])
    maps = Relevance().maps(scorer, torch.rand(1, 3, 64, 64))
    assert float(maps.max()) > 0


def test_a_score_that_stands_still_has_a_map_of_nothing() -> None:
    scorer = Scorer(tiny_clip(), ("a",), lambda features: (features.pooled[:, :1] - 1e6).relu())
    assert not Relevance().maps(scorer, torch.rand(1, 3, 64, 64)).any()


def test_scores_of_another_number_are_refused() -> None:
    backbone = tiny_clip()
    z = backbone.prefix(torch.rand(1, 3, 64, 64), 3)
    with pytest.raises(InsightError, match=r"expected scores \[1, 3\], found \[1, 2\]"):
        relevance_maps(backbone, z, cosines(backbone.encode_text(TEXTS)), 3, (4, 4))

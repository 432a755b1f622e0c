"""Drop and Increase of words: what a score loses, or gains, when a text keeps only the words its map favours.

In: a backbone with a text tower, photos, a text of each, and maps over the tokens. Out: a `DropIncrease` of the pairs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional as F

from sae.errors import InsightError

from ..backbones import Backbone
from ..backbones.text_towers import TextTokens
from .drop_increase import DropIncrease
from .maps import check_finite


@torch.no_grad()
def text_drop_increase(
    backbone: Backbone, images: Float[Tensor, "n 3 H W"], texts: Sequence[str], maps: Float[Tensor, "n L"]
) -> DropIncrease:
    """Cosines of photo i and text i, before and after text i loses every token that is not above the median of its map.

    maps: over `backbone.text_tower.tokens(texts)`, larger is more; start, end and padding do not count and stay. The
    tokens that are left close up, so the text is a shorter one. M2IB (Wang et al. 2023) puts "!" in place of the others
    instead, a token with a meaning of its own: figures of the two do not compare. `InsightError` for shapes that do not
    fit, or a backbone without a text tower.
    """
    tower = backbone.text_tower
    tokens = tower.tokens(list(texts))
    if len(images) != len(texts) or maps.shape != tokens.ids.shape:
        expected = f"{len(texts)} photos and maps {list(tokens.ids.shape)}"
        raise InsightError(f"text maps: expected {expected}, found {len(images)} and {list(maps.shape)}")
    maps = maps.detach().to(tokens.ids.device)
    check_finite("text maps", maps[tokens.content])
    medians = maps.double().masked_fill(~tokens.content, torch.nan).nanquantile(0.5, dim=1, keepdim=True)
    short = _only(tokens, tokens.content & (maps > medians), tower.tokens([""]).ids[0, -1])
    pooled = F.normalize(backbone.encode_image(images).pooled, dim=-1)
    before, after = ((pooled * tower.encode(tower.embed(some), some)).sum(1) for some in (tokens, short))
    return DropIncrease(before.double().cpu().numpy(), after.double().cpu().numpy())


def _only(tokens: TextTokens, kept: Bool[Tensor, "n L"], padding: Tensor) -> TextTokens:
    """The texts with only these tokens, and start and end, in their order; then padding."""
    stay = kept | (tokens.real & ~tokens.content)
    order = (~stay).long().argsort(dim=1, stable=True)
    count = stay.sum(1)
    real = torch.arange(stay.shape[1], device=stay.device) < count[:, None]
    return replace(tokens, ids=torch.where(real, tokens.ids.gather(1, order), padding), real=real, end=count - 1)

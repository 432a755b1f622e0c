"""Texts that keep half of their words, against the encoder asked about the shorter text."""

import pytest
import torch
from torch.nn import functional as F

from insight.backbones import Backbone
from insight.evaluation.text_drop_increase import text_drop_increase
from sae import InsightError

from ..tiny_clip import tiny_clip
from .toy import Colours


@pytest.fixture(scope="module")
def clip() -> Backbone:
    return tiny_clip()


def test_half_of_the_words_are_kept_in_their_order(clip: Backbone) -> None:
    texts = ["a red dog runs", "cat", "two dogs and a cat"]
    kept = ["red runs", "", "two a"]
    tokens = clip.text_tower.tokens(texts)
    assert tokens.content.sum(1).tolist() == [4, 1, 5]
    maps = torch.zeros(tokens.ids.shape)
    maps[0, 1:5] = torch.tensor([0.1, 0.9, 0.2, 0.5])
    maps[2, 1:6] = torch.tensor([0.8, 0.1, 0.5, 0.6, 0.5])
    maps[:, 0] = 99  # start and padding have no say
    maps[~tokens.real] = torch.nan
    images = torch.rand(3, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    got = text_drop_increase(clip, images, texts, maps)
    pooled = F.normalize(clip.encode_image(images).pooled, dim=1)
    for scores, said in ((got.before, texts), (got.after, kept)):
        wanted = (pooled * clip.encode_text(said)).sum(1)
        assert scores == pytest.approx(wanted.detach().numpy(), abs=1e-5)
    assert abs(got.before - got.after).min() > 1e-3


def test_what_does_not_fit_is_said(clip: Backbone) -> None:
    images = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with pytest.raises(InsightError, match=r"expected 1 photos and maps \[1, 3\], found 1 and \[1, 9\]"):
        text_drop_increase(clip, images, ["dog"], torch.zeros(1, 9))
    with pytest.raises(InsightError, match="no text tower"):
        text_drop_increase(Colours(), images, ["dog"], torch.zeros(1, 3))

"""What XCoOp's learnt prompts are held to: texts that say a class with its concepts, and these as vectors.

In: a bank and a backbone. Out: fixed tensors; nothing here is trained.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from ...backbones import Backbone
from ...backbones.text_towers import TextTokens, TextTower
from ..bank import ConceptBank
from ..bank.prompts import check_length, clinical


def nth_concepts(bank: ConceptBank, n_prompts: int) -> list[list[str]]:
    """For each n, concept n of every class; a class of fewer concepts begins again with its first. [N][C]"""
    own = [bank.concepts_of(number) for number in range(len(bank.classes))]
    return [[concepts[n % len(concepts)] for concepts in own] for n in range(n_prompts)]


@torch.no_grad()
def encoded(backbone: Backbone, texts: list[list[str]]) -> Float[Tensor, "N C d"]:
    """Unit vectors; `InsightError` for a text that is longer than the tower reads."""
    flat = [text for row in texts for text in row]
    check_length(backbone.text_tower, flat)
    return backbone.encode_text(flat).unflatten(0, (len(texts), -1))


def with_concepts(bank: ConceptBank, concepts: list[list[str]]) -> list[list[str]]:
    """ "a photo of an owl, two wings", for each concept of each row."""
    return [[clinical(words, [said]) for words, said in zip(bank.classes, row, strict=True)] for row in concepts]


def whole(bank: ConceptBank) -> list[str]:
    """One text a class, with all its concepts: the published clinical prompt."""
    return [clinical(words, bank.concepts_of(number)) for number, words in enumerate(bank.classes)]


@torch.no_grad()
def unit_tokens(tower: TextTower, texts: list[str]) -> Float[Tensor, "C M width"]:
    """The tokens' unit vectors, start and end among them; zero for padding."""
    tokens = tower.tokens(texts)
    return unit_where_real(tower.embed(tokens), tokens)


@torch.no_grad()
def mean_words(tower: TextTower, texts: list[list[str]]) -> Float[Tensor, "N C width"]:
    """Of each text, the mean of its tokens' unit vectors, start and end left out."""
    tokens = tower.tokens([text for row in texts for text in row])
    inside = tokens.content[..., None]
    mean = (F.normalize(tower.embed(tokens), dim=-1) * inside).sum(1) / inside.sum(1).clamp_min(1)
    return mean.unflatten(0, (len(texts), -1))


def unit_where_real(embedded: Float[Tensor, "*N C L width"], tokens: TextTokens) -> Float[Tensor, "*N C L width"]:
    """Each token's vector at unit length, zero for padding."""
    return F.normalize(embedded, dim=-1) * tokens.real[..., None]

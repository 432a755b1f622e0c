"""The texts that a method compares photos with, by number, and their vectors: encoded once, or when they change."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from sae.errors import InsightError

from ...backbones import Backbone


class TextTable(nn.Module):
    """Unit vectors of different texts by a text encoder of which nothing, or `learnt`, is trained.

    No part of what is saved: the encoder and the texts give the vectors again.
    """

    vectors: Tensor

    def __init__(self, backbone: Backbone, texts: Iterable[str], learnt: Sequence[nn.Parameter] = ()) -> None:
        super().__init__()
        self.texts = tuple(dict.fromkeys(texts))
        self._numbers = {text: number for number, text in enumerate(self.texts)}
        self._encode = backbone.encode_text  # not the backbone, which would be a part of this module then
        self._learnt = tuple(learnt)
        self.register_buffer("vectors", self._encoded(), persistent=False)
        self._encoded_at = self._now()

    def numbers(self, texts: Iterable[str]) -> Int64[Tensor, " n"]:
        """Where these texts are."""
        return torch.tensor([self._numbers[text] for text in texts], dtype=torch.int64)

    def forward(self, numbers: Int64[Tensor, "*n"]) -> Float[Tensor, "*n d"]:
        """Vectors to learn from: with gradients to the encoder if it is trained."""
        if not self._learnt:
            return self.vectors[numbers]
        used, places = numbers.unique(return_inverse=True)
        return self._encode([self.texts[number] for number in used.tolist()])[places]

    def fixed(self) -> Float[Tensor, "texts d"]:
        """Vectors of all texts as the encoder is now, without gradients."""
        if self._encoded_at != self._now():
            self.vectors, self._encoded_at = self._encoded(), self._now()
        return self.vectors

    @torch.no_grad()
    def _encoded(self) -> Tensor:
        return self._encode(list(self.texts))

    def _now(self) -> tuple[tuple[int, int], ...]:
        """Changes with every step of an optimiser and with every load of the encoder's weights."""
        return tuple((parameter.data_ptr(), parameter._version) for parameter in self._learnt)


def text_parameters(backbone: Backbone) -> list[nn.Parameter]:
    """What `encode_text` of a frozen backbone reads, found by what a gradient reaches, as families name it each their
    own way. `InsightError` where none does."""
    parameters = [*backbone.parameters()]
    backbone.requires_grad_(True)
    try:
        with torch.enable_grad():
            vectors = backbone.encode_text(["a photo"])
        if not vectors.requires_grad:
            raise InsightError(
                f"backbone {backbone.name} gives no gradients to its text encoder, which was to be trained; leave it"
                " frozen (train_text=False), or use an `openclip:` model"
            )
        found = torch.autograd.grad(vectors.sum(), parameters, allow_unused=True)
    finally:
        backbone.requires_grad_(False)
    return [parameter for parameter, gradient in zip(parameters, found, strict=True) if gradient is not None]

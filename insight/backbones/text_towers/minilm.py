"""MiniLM, the sentence encoder of `small`, as a `TextTower`: its vectors are those of `small.encode_text`."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int64
from torch import Tensor
from torch.nn import functional as F

from ..small.bridge import Bridge
from ..small.minilm import DIM, MAX_TOKENS, MiniLM
from .base import TextTokens, TextTower


class MiniLMText(TextTower):
    """`text` with the bridge behind it: the unit mean of the real tokens, less the mean caption, to unit length."""

    dim = width = DIM
    context_length = MAX_TOKENS

    def __init__(self, text: MiniLM, bridge: Bridge) -> None:
        self._text = text
        self._bridge = bridge
        self.depth = len(text.bert.encoder.layer)

    def tokens(self, texts: list[str]) -> TextTokens:
        rows = [torch.tensor(encoding.ids) for encoding in self._text.tokenizer.encode_batch(list(texts))]
        device = self._text.bert.embeddings.word_embeddings.weight.device
        ids = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True).to(device)
        end = torch.tensor([len(row) - 1 for row in rows], device=device)
        return TextTokens(ids, torch.arange(ids.shape[1], device=device) <= end[:, None], end)

    def length(self, text: str) -> int:
        encoding = self._text.tokenizer.encode(text)
        return len(encoding.ids) + sum(len(rest.ids) - 2 for rest in encoding.overflowing)

    def pieces(self, ids: Int64[Tensor, " k"]) -> list[str]:
        return [(self._text.tokenizer.id_to_token(number) or "").removeprefix("##") for number in ids.tolist()]

    def embed(self, tokens: TextTokens) -> Float[Tensor, "n L width"]:
        return self._text.bert.embeddings.word_embeddings(tokens.ids)

    def place(self, embedded: Float[Tensor, "n L width"]) -> Float[Tensor, "n L width"]:
        return self._text.bert.embeddings(inputs_embeds=embedded)

    def run(
        self, z: Float[Tensor, "n L width"], tokens: TextTokens, block: int, to: int
    ) -> Float[Tensor, "n L width"]:
        mask = torch.zeros(tokens.real.shape, dtype=z.dtype, device=z.device)
        mask = mask.masked_fill(~tokens.real, torch.finfo(z.dtype).min)[:, None, None]
        for layer in self._text.bert.encoder.layer[block:to]:
            out = layer(z, mask)
            z = out[0] if isinstance(out, tuple) else out  # some versions of transformers give a tuple
        return z

    def finish(self, z: Float[Tensor, "n L width"], tokens: TextTokens) -> Float[Tensor, "n dim"]:
        real = tokens.real[..., None]
        mean = (z * real).sum(1) / real.sum(1)
        return self._bridge.text(F.normalize(mean, dim=1))

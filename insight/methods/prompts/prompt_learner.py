"""PromptLearner: learnt context vectors in front of each class's words, through a frozen text tower to unit vectors.

In: a text tower and the classes in words. Out: [N, C, d], for N prompts a class. Source: CoOp (Zhou et al., IJCV 2022,
§3.2, "unified" and "class-specific" contexts), CoCoOp (Zhou et al., CVPR 2022) and XCoOp (Bie et al., MICCAI 2024).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from sae.errors import InsightError

from ...backbones.text_towers import TextTokens, TextTower
from .placeholders import with_placeholders

SPREAD = 0.5
"""How far the second and later prompts start from the words, in standard deviations of the words' own values."""
AT_A_TIME = 256
"""Prompts in one pass through the text tower; of more, what the gradient needs is computed again, chunk by chunk."""


class PromptLearner(nn.Module):
    """`contexts` [N, C or 1, n_ctx, width] is the only parameter: the text tower belongs to the backbone.

    n_prompts: N; n_ctx: vectors in a context; shared: one context for all classes, or each class its own; words: what
    the contexts say at first. Their tokens fill the last places; places before them start as noise. The first prompt
    starts from the words, each later one from the words and noise of its own (of `seed`), for prompts that start equal
    under a loss that treats them alike stay equal for ever, and are one prompt. All classes start alike.

    `InsightError`: N or n_ctx below 1; words of more than n_ctx tokens; a class too long for the tower; a tokenizer
    with no place for contexts.
    """

    _ids: Tensor
    _real: Tensor
    _end: Tensor
    _embedded: Tensor

    def __init__(
        self,
        tower: TextTower,
        classes: Sequence[str],
        *,
        n_prompts: int = 1,
        n_ctx: int = 4,
        shared: bool = True,
        words: str = "a photo of a",
        seed: int = 0,
    ) -> None:
        super().__init__()
        for name, value in (("n_prompts", n_prompts), ("n_ctx", n_ctx)):
            if value < 1:
                raise InsightError(f"prompts: expected {name} of 1 or more, found {value}")
        self.tower = tower
        tokens, self.first = with_placeholders(tower, classes, n_ctx)
        with torch.no_grad():
            embedded = tower.embed(tokens)
            start = _starts(_embedding_of(tower, words, n_ctx), n_prompts, n_ctx, seed)
        for name, tensor in (("_ids", tokens.ids), ("_real", tokens.real), ("_end", tokens.end)):
            self.register_buffer(name, tensor, persistent=False)
        self.register_buffer("_embedded", embedded, persistent=False)
        self.contexts = nn.Parameter(start[:, None].repeat(1, 1 if shared else len(classes), 1, 1))
        self._known: tuple[Tensor, Tensor] | None = None

    @property
    def n_ctx(self) -> int:
        return self.contexts.shape[2]

    def forward(self) -> Float[Tensor, "N C d"]:
        """Unit vectors of all prompts, as a function of the contexts."""
        return self.encode(self.contexts)

    def fixed(self) -> Float[Tensor, "N C d"]:
        """The same without gradients, and computed once for as long as the contexts stay what they are.

        Explainers ask a model some hundred times about one photo; almost all of that would be spent on its prompts.
        """
        now = self.contexts.detach()
        if self._known is not None:
            then, vectors = self._known
            if then.device == now.device and then.dtype == now.dtype and torch.equal(then, now):
                return vectors
        with torch.inference_mode(False), torch.no_grad():  # or a gradient could not be taken through it later
            self._known = now.clone(), self()
        return self._known[1]

    def encode(self, contexts: Float[Tensor, "n C_or_1 n_ctx width"]) -> Float[Tensor, "n C d"]:
        """Unit vectors of the classes' prompts with these contexts. Memory is bounded by some hundred prompts."""
        count = len(self._ids)
        chunks = torch.arange(len(contexts) * count, device=contexts.device).split(AT_A_TIME)
        recompute = len(chunks) > 1 and torch.is_grad_enabled() and contexts.requires_grad
        found = [
            checkpoint(self._some, contexts, chunk, use_reentrant=False, preserve_rng_state=False)
            if recompute
            else self._some(contexts, chunk)
            for chunk in chunks
        ]
        return torch.cat(found).unflatten(0, (len(contexts), count))

    def soft_tokens(self) -> Float[Tensor, "N C L width"]:
        """What goes into the text tower, before positions: start, context, class, end, padding."""
        n, count = len(self.contexts), len(self._ids)
        rows = torch.arange(n * count, device=self.contexts.device)
        return self._filled(self.contexts, rows).unflatten(0, (n, count))

    @property
    def tokens(self) -> TextTokens:
        """The classes' prompts as tokens, with placeholders where contexts stand. [C, L]"""
        return TextTokens(self._ids, self._real, self._end)

    def _some(self, contexts: Tensor, rows: Int64[Tensor, " k"]) -> Float[Tensor, "k d"]:
        """Of the prompts, counted class by class and then context by context, those with these numbers."""
        classes = rows % len(self._ids)
        tokens = TextTokens(self._ids[classes], self._real[classes], self._end[classes])
        return self.tower.encode(self._filled(contexts, rows), tokens)

    def _filled(self, contexts: Tensor, rows: Int64[Tensor, " k"]) -> Float[Tensor, "k L width"]:
        number, classes = rows // len(self._ids), rows % len(self._ids)
        context = contexts[number, classes if contexts.shape[1] > 1 else torch.zeros_like(classes)]
        embedded = self._embedded[classes]
        last = self.first + context.shape[1]
        return torch.cat([embedded[:, : self.first], context, embedded[:, last:]], dim=1)


def _embedding_of(tower: TextTower, words: str, n_ctx: int) -> Float[Tensor, "k width"]:
    """The vectors of the words' tokens, start and end left out."""
    tokens = tower.tokens([words])
    found = tower.embed(tokens)[0, tokens.content[0]]
    if not 1 <= len(found) <= n_ctx:
        raise InsightError(
            f"prompts: expected 1 to {n_ctx} tokens of words to start from, found {len(found)} in {words!r}; change the"
            " words or n_ctx"
        )
    return found


def _starts(words: Float[Tensor, "k width"], n_prompts: int, n_ctx: int, seed: int) -> Float[Tensor, "N n_ctx width"]:
    random = torch.Generator().manual_seed(seed)
    noise = torch.randn(n_prompts, n_ctx, words.shape[1], generator=random).to(words) * words.std()
    empty = n_ctx - len(words)
    start = torch.cat([noise[:, :empty], words + SPREAD * noise[:, empty:]], dim=1)
    start[0, empty:] = words
    return start

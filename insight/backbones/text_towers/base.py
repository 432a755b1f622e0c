"""The contract of a text tower: texts to tokens, tokens to vectors, vectors through the blocks to a unit vector.

`encode_text` of a backbone is `encode(embed(tokens(texts)), tokens(texts))`; whoever learns prompts puts vectors of his
own in place of some of `embed`'s, whoever asks which words counted cuts the tower at a block. Nothing here detaches.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

from jaxtyping import Bool, Float, Int64
from torch import Tensor

from sae.errors import InsightError


@dataclass(frozen=True)
class TextTokens:
    """n texts of up to L tokens.

    ids: the tokens' numbers; real: the tokens of the text, its start and its end among them (False: padding); end: the
    place of each text's end token. Padding comes last.
    """

    ids: Int64[Tensor, "n L"]
    real: Bool[Tensor, "n L"]
    end: Int64[Tensor, " n"]

    @property
    def content(self) -> Bool[Tensor, "n L"]:
        """The tokens of the text without its start and its end."""
        inside = self.real.clone()
        inside[:, 0] = False
        return inside.scatter(1, self.end[:, None], False)

    def __len__(self) -> int:
        return len(self.ids)


class TextTower(ABC):
    """A text encoder. It holds no weights of its own: those of the backbone that gave it.

    dim: of the unit vectors; width: of the tokens; depth: number of blocks; context_length: tokens a text may have,
    start and end counted.
    """

    dim: int
    width: int
    depth: int
    context_length: int

    @abstractmethod
    def tokens(self, texts: list[str]) -> TextTokens:
        """The texts' tokens, padded to the longest at least; what is beyond `context_length` is cut off."""

    @abstractmethod
    def length(self, text: str) -> int:
        """Tokens of a text with start and end, before anything is cut off."""

    @abstractmethod
    def pieces(self, ids: Int64[Tensor, " k"]) -> list[str]:
        """What each of some tokens says, as a person reads it."""

    @abstractmethod
    def embed(self, tokens: TextTokens) -> Float[Tensor, "n L width"]:
        """The vector of each token by itself, before positions are added: what a learnt prompt stands in place of."""

    @abstractmethod
    def place(self, embedded: Float[Tensor, "n L width"]) -> Float[Tensor, "n L width"]:
        """What goes into block 0: the vectors with their positions."""

    @abstractmethod
    def run(
        self, z: Float[Tensor, "n L width"], tokens: TextTokens, block: int, to: int
    ) -> Float[Tensor, "n L width"]:
        """Tokens after blocks `block` to `to` - 1, 0 <= block <= to <= depth."""

    @abstractmethod
    def finish(self, z: Float[Tensor, "n L width"], tokens: TextTokens) -> Float[Tensor, "n dim"]:
        """Unit vectors, from the tokens that come out of the last block."""

    def encode(self, embedded: Float[Tensor, "n L width"], tokens: TextTokens) -> Float[Tensor, "n dim"]:
        """Unit vectors of texts whose tokens have these vectors; `tokens` says which are real and where texts end."""
        return self.suffix(self.prefix(embedded, tokens, 0), tokens, 0)

    def prefix(
        self, embedded: Float[Tensor, "n L width"], tokens: TextTokens, block: int
    ) -> Float[Tensor, "n L width"]:
        """What goes into block `block`, counted from 0."""
        self.check_block(block)
        return self.run(self.place(embedded), tokens, 0, block)

    def suffix(self, z: Float[Tensor, "n L width"], tokens: TextTokens, block: int) -> Float[Tensor, "n dim"]:
        """Go on from `prefix(..., block)` to unit vectors."""
        self.check_block(block)
        return self.finish(self.run(z, tokens, block, self.depth), tokens)

    def check_block(self, block: int) -> None:
        """`InsightError` unless `block` is one where this tower can be cut."""
        if not 0 <= block < self.depth:
            raise InsightError(f"the text tower has blocks 0 to {self.depth - 1}, found block={block}")

"""Texts with room for learnt vectors: "X X X X {class}." as tokens, and the place of the first X.

In: a text tower and words. Out: `TextTokens` and one number, the same for all texts. Made by the tower's own tokenizer,
so that it is right for byte pairs, word pieces and whatever splits words otherwise.
"""

from __future__ import annotations

from collections.abc import Sequence

from sae.errors import InsightError

from ...backbones.text_towers import TextTokens, TextTower
from ..bank.prompts import check_length

PLACEHOLDER = "X"
FIRST = (1, 0)
"""Where the text begins: behind a start token, or at once (SigLIP has none)."""


def with_placeholders(tower: TextTower, names: Sequence[str], count: int) -> tuple[TextTokens, int]:
    """Tokens of "X … X {name}." with `count` placeholders, and the place of the first one.

    Placeholders are `count` equal tokens, and without them the tokens are those of "{name}.": that is checked, and
    `InsightError` if it is not so for a text, or if one has more tokens than the tower reads.
    """
    bare = [f"{name}." for name in names]
    texts = [" ".join([PLACEHOLDER] * count + [text]) for text in bare]
    check_length(tower, texts)
    tokens, without = tower.tokens(texts), tower.tokens(bare)
    rows, bare_rows = _rows(tokens), _rows(without)
    for first in FIRST:
        last = first + count
        if all(
            len({*row[first:last]}) == 1 and row[:first] + row[last:] == other
            for row, other in zip(rows, bare_rows, strict=True)
        ):
            return tokens, first
    pieces = tower.pieces(tokens.ids[0])
    raise InsightError(
        f"expected {count} placeholders of one token each in {texts[0]!r}, found the tokens {pieces[:12]}; this"
        " tokenizer has no place for learnt prompts, use `small` or openclip:ViT-B-16/laion2b_s34b_b88k"
    )


def _rows(tokens: TextTokens) -> list[list[int]]:
    """Each text's real tokens."""
    ends = tokens.end.tolist()
    return [row[: end + 1] for row, end in zip(tokens.ids.tolist(), ends, strict=True)]

"""Words in the text space of a backbone: the vocabularies that concepts are named from, and vectors of any names.

In: a backbone with a text space. Out: embedded vocabularies (kept in a folder) and unit vectors of phrases.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from insight.backbones import Backbone
from naming import Vocabulary, WordList


class TextSpace:
    """The text side of a backbone; every phrase is embedded once."""

    def __init__(self, backbone: Backbone, kept: Path) -> None:
        self._backbone, self._kept, self._dim = backbone, kept, backbone.dim
        self._vectors: dict[str, Tensor] = {}

    def vocabulary(self, words: WordList) -> Vocabulary:
        """The list, embedded as `insight name` does it."""
        embedded = self._embed(words, cache=self._kept)
        self._vectors.update(zip(embedded.phrases, embedded.vectors, strict=True))
        return embedded

    def vectors(self, phrases: Sequence[str]) -> Tensor:
        """[n, d] unit vectors; also of phrases that no vocabulary holds."""
        new = tuple(dict.fromkeys(phrase for phrase in phrases if phrase not in self._vectors))
        if new:
            embedded = self._embed(WordList(new, (0.0,) * len(new)))
            self._vectors.update(zip(new, embedded.vectors, strict=True))
        return torch.stack([self._vectors[phrase] for phrase in phrases]) if phrases else torch.zeros(0, self._dim)

    @torch.no_grad()
    def _embed(self, words: WordList, cache: Path | None = None) -> Vocabulary:
        fingerprint = self._backbone.fingerprint
        return Vocabulary.embed(words, self._backbone.encode_text, cache=cache, fingerprint=fingerprint, progress=False)

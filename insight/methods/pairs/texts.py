"""Text vectors of all pairs of a class and a rationale, made a row at a time; never all of them at once.

A row is one class with all rationales, or one rationale with all classes. 997 classes and 4,248 rationales (Doubly
Right's ImageNet) would be 13 GB in float32; so rows are kept while there is room and made again where there is not.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from ...backbones import Backbone
from ..bank import ConceptBank, because

AT_ONCE = 1024
"""Prompts encoded together, unless one row has more."""


class PairTexts:
    """Rows "by" one of the two, of the prompts "This is a photo of a {class} because there is {rationale}".

    room: bytes of rows that are kept. Rows are never put out again: methods that go through all rows in order would
    find none of the latest. The text side of the backbone must be frozen.
    """

    def __init__(self, bank: ConceptBank, by: Literal["class", "rationale"], room: int) -> None:
        self._classes, self._rationales, self._by = bank.classes, bank.concepts, by
        self._room = room
        self._kept: dict[int, Tensor] = {}

    def __len__(self) -> int:
        """How many rows there are."""
        return len(self._classes if self._by == "class" else self._rationales)

    @property
    def width(self) -> int:
        """How many prompts a row has."""
        return len(self._rationales if self._by == "class" else self._classes)

    @property
    def bytes_kept(self) -> int:
        """At most `room`."""
        return sum(row.numel() * row.element_size() for row in self._kept.values())

    def prompts(self, number: int) -> list[str]:
        """Row `number` in words."""
        if self._by == "class":
            return [because(rationale, self._classes[number]) for rationale in self._rationales]
        return [because(self._rationales[number], words) for words in self._classes]

    def rows(self, backbone: Backbone, numbers: Iterable[int]) -> Iterator[Float[Tensor, "width d"]]:
        """Unit vectors of these rows, one row after the other, in the order given, on the backbone's device."""
        device = backbone.colour_mean.device
        waiting = iter(numbers)
        while group := list(islice(waiting, max(1, AT_ONCE // self.width))):
            missing = [number for number in dict.fromkeys(group) if number not in self._kept]
            made = dict(zip(missing, self._encoded(backbone, missing)))
            self._keep(made)
            for number in group:
                row = made[number] if number in made else self._kept[number]
                yield row.to(device)

    def _encoded(self, backbone: Backbone, numbers: list[int]) -> list[Tensor]:
        if not numbers:
            return []
        prompts = [prompt for number in numbers for prompt in self.prompts(number)]
        with torch.inference_mode(False), torch.no_grad():  # what is kept must serve training later
            return list(backbone.encode_text(prompts).split(self.width))

    def _keep(self, made: dict[int, Tensor]) -> None:
        for number, row in made.items():
            size = row.numel() * row.element_size()
            if size > self._room:
                return
            self._kept[number] = row.clone()  # a part of what was encoded together would keep all of it
            self._room -= size

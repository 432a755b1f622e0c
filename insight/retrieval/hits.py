"""What a query finds: images or regions, best first, each with its score. `Hits.to_dict` is the JSON of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, overload

from ..backbones import CentreSquare


@dataclass(frozen=True)
class Region:
    """4-connected patches of one image.

    row, column: the strongest patch on the grid; patches: how many there are; box: (left, top, right, bottom) around
    them in pixels of the square of `side` × `side` pixels that the encoder saw.
    """

    row: int
    column: int
    patches: int
    box: tuple[float, float, float, float]
    side: int

    def in_photo(self, width: int, height: int) -> tuple[float, float, float, float]:
        """The box in pixels of the photo itself, whose centre square the encoder saw; give its size upright."""
        left, top, right, _ = CentreSquare(self.side).box(width, height)
        scale = (right - left) / self.side
        x0, y0, x1, y1 = self.box
        return left + x0 * scale, top + y0 * scale, left + x1 * scale, top + y1 * scale

    def to_dict(self) -> dict[str, Any]:
        box = [round(edge, 2) for edge in self.box]
        return {"row": self.row, "column": self.column, "patches": self.patches, "box": box, "side": self.side}


@dataclass(frozen=True)
class Hit:
    """One image, or one region of it. image: its id in the cache; number: its place there; score: see `Hits`."""

    image: str
    number: int
    score: float
    region: Region | None = None

    def to_dict(self) -> dict[str, Any]:
        found: dict[str, Any] = {"image": self.image, "number": self.number, "score": round(self.score, 5)}
        return found if self.region is None else found | {"region": self.region.to_dict()}


@dataclass(frozen=True)
class Hits(Sequence[Hit]):
    """What was found, best first; equal scores by image, then patch.

    Scores are activations where concepts were asked for, else cosines; both are computed from the stored features and
    not from what an index keeps of them. exact: whether these are surely the best there are. It is not so where
    candidates came from a compressed index, from a few patches of each image, or from part of the images only.
    """

    query: str
    found: tuple[Hit, ...]
    exact: bool

    def __len__(self) -> int:
        return len(self.found)

    @overload
    def __getitem__(self, index: int) -> Hit: ...

    @overload
    def __getitem__(self, index: slice) -> tuple[Hit, ...]: ...

    def __getitem__(self, index: int | slice) -> Hit | tuple[Hit, ...]:
        return self.found[index]

    def __iter__(self) -> Iterator[Hit]:
        return iter(self.found)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        return {"query": self.query, "exact": self.exact, "hits": [hit.to_dict() for hit in self.found]}

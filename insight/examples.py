"""Where each concept is strongest: its top patches as a Parquet table, and the pictures cut out around them.

Of an image only the strongest patch counts: thirty neighbours in one photo would say nothing about a concept.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from PIL import Image, ImageDraw

from sae.errors import InsightError
from sae.files import atomic_write

from .backbones import CentreSquare

SCHEMA = pa.schema(
    [
        ("concept", pa.int32()),
        ("rank", pa.int32()),
        ("image", pa.string()),
        ("row", pa.int32()),
        ("column", pa.int32()),
        ("activation", pa.float32()),
    ]
)


@dataclass(frozen=True)
class Example:
    """One patch: the image's id in the cache (its path relative to the photo folder), place on the grid, activation."""

    image: str
    row: int
    column: int
    activation: float


def save_examples(path: Path, examples: Mapping[int, Sequence[Example]]) -> None:
    """Write the table {concept: its examples, strongest first}, whole or not at all."""
    flat = [(concept, rank, example) for concept in sorted(examples) for rank, example in enumerate(examples[concept])]
    columns = {
        "concept": [concept for concept, _, _ in flat],
        "rank": [rank for _, rank, _ in flat],
        "image": [example.image for _, _, example in flat],
        "row": [example.row for _, _, example in flat],
        "column": [example.column for _, _, example in flat],
        "activation": [example.activation for _, _, example in flat],
    }
    with atomic_write(path) as temporary:
        pq.write_table(pa.table(columns, schema=SCHEMA), temporary)


class ExampleTable:
    """The examples of all concepts, held as columns: one concept's are made into `Example`s when they are asked for."""

    def __init__(self, table: pa.Table) -> None:
        self._table = table.sort_by([("concept", "ascending"), ("rank", "ascending")]).combine_chunks()
        self._concept = self._table["concept"].to_numpy()

    @classmethod
    def read(cls, path: Path) -> ExampleTable:
        """Read what `save_examples` wrote; `InsightError` for anything else."""
        return cls(_read_table(path))

    def __getitem__(self, concept: int) -> list[Example]:
        """Of one concept, strongest first; none where it never fires."""
        start, stop = np.searchsorted(self._concept, [concept, concept + 1]).tolist()
        rows = self._table.slice(start, stop - start).to_pylist()
        return [Example(row["image"], row["row"], row["column"], row["activation"]) for row in rows]

    def count(self, concepts: int) -> np.ndarray:
        """int64 [concepts]: how many each has."""
        inside = self._concept[(self._concept >= 0) & (self._concept < concepts)]
        return np.bincount(inside, minlength=concepts)

    def images(self, most: int) -> list[str]:
        """Ids of at most so many images, out of all of the table."""
        step = max(1, len(self._table) // most)
        return list(dict.fromkeys(self._table["image"][::step].to_pylist()))[:most]


def load_examples(path: Path, concepts: Iterable[int]) -> dict[int, list[Example]]:
    """The examples of some concepts, strongest first; a concept that never fires has an empty list."""
    wanted = list(concepts)
    table = _read_table(path)
    held = ExampleTable(table.filter(pc.is_in(table["concept"], value_set=pa.array(wanted, pa.int32()))))
    return {concept: held[concept] for concept in wanted}


def strongest(examples: Iterable[Example]) -> list[Example]:
    """Examples of concepts that are shown as one: the strongest first, one an image."""
    kept: dict[str, Example] = {}
    for example in sorted(examples, key=lambda example: -example.activation):
        kept.setdefault(example.image, example)
    return list(kept.values())


def _read_table(path: Path) -> pa.Table:
    try:
        table = pq.read_table(path)
    except FileNotFoundError:
        raise InsightError(f"{path}: no such file; run `insight relate` again") from None
    except (OSError, pa.ArrowInvalid) as error:
        raise InsightError(
            f"{path}: expected a Parquet table of examples, found {error}; run `insight relate` again"
        ) from None
    if not table.schema.equals(SCHEMA):
        raise InsightError(f"{path}: expected columns {', '.join(SCHEMA.names)}; run `insight relate` again")
    return table


def crop(photo: Image.Image, view: CentreSquare, grid: tuple[int, int], example: Example, pixels: int) -> Image.Image:
    """The surroundings of one patch, five patches wide, the patch itself framed; [pixels, pixels] RGB.

    At the border the window moves inward, so that it never leaves what the backbone saw.
    """
    left, top, right, bottom = view.box(*photo.size)
    height, width = grid
    cell_w, cell_h = (right - left) / width, (bottom - top) / height
    span = min(5, width, height)
    first_column = min(max(example.column - span // 2, 0), width - span)
    first_row = min(max(example.row - span // 2, 0), height - span)
    x, y = left + first_column * cell_w, top + first_row * cell_h
    window = photo.resize((pixels, pixels), Image.Resampling.BICUBIC, box=(x, y, x + span * cell_w, y + span * cell_h))
    side = pixels / span
    a, b = (example.column - first_column) * side, (example.row - first_row) * side
    pencil = ImageDraw.Draw(window)
    pencil.rectangle((a, b, a + side, b + side), outline=(0, 0, 0), width=3)
    pencil.rectangle((a + 1, b + 1, a + side - 1, b + side - 1), outline=(255, 255, 255), width=1)
    return window

"""Rows of `benchmarks.segmentation` for one set: mIoU over pixels by every reader of patches, and over the opaque ones.

A row: {"part", "data", "images", "by", "how", "figure", "against", "value", "interval", "each"}; "each" has the figure
of every dictionary of a kind.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from benchmarks.heads.dictionaries import Made
from benchmarks.heads.figures import Row, iou, of_photos, ratio_row, row
from benchmarks.heads.masked import Masked
from benchmarks.heads.segmented import AROUND, OPAQUE, OPEN, SHUFFLED, TRAINED, Reader, segment
from benchmarks.heads.settings import DEALS, DRAW, OURS
from benchmarks.probes.metrics import accuracy, mean_iou

PART, FIGURE, PIXELS = "segmentation", "mIoU", "pixel accuracy"
DEALT, COMMONEST = "names dealt anew", "always the commonest class"


def readers_of(dictionaries: Sequence[Made], texts: Tensor) -> list[Reader]:
    """The opaque features, their null, and all dictionaries; of others than ours heads on patches alone."""
    null = Reader(SHUFFLED, None, None)
    of_dictionaries = [
        Reader(made.spec.name, made, texts, (TRAINED, AROUND) if made.spec.name == OURS else (TRAINED,))
        for made in dictionaries
    ]
    return [Reader(OPAQUE, None, texts), null, *of_dictionaries]


def rows_of(masked: Masked, dictionaries: Sequence[Made], texts: Tensor) -> list[Row]:
    """All rows of one set."""
    readers = readers_of(dictionaries, texts)
    tables = segment(masked, readers)
    base = {"part": PART, "data": masked.name, "images": len(masked.test), "against": None, "figure": FIGURE}
    rows: list[Row] = []
    for how in (OPEN, TRAINED, AROUND):
        opaque = next(found[how] for reader, found in zip(readers, tables, strict=True) if reader.name == OPAQUE)
        for name in dict.fromkeys(reader.name for reader in readers):
            kind = [
                (one, found[how])
                for one, found in zip(readers, tables, strict=True)
                if one.name == name and how in found
            ]
            if kind:
                own = {**base, "by": name, "how": how}
                own["strengths"] = [one.heads[how].strength for one, _ in kind if how in one.heads]
                rows += _of_kind(own, [table.numpy() for _, table in kind], opaque.numpy())
        rows += _nulls({**base, "by": OPAQUE, "how": how}, opaque)
    return rows


def _of_kind(base: Row, tables: Sequence[np.ndarray], opaque: np.ndarray) -> list[Row]:
    draws = of_photos(len(opaque), len(tables))
    pixels = [float(accuracy(torch.from_numpy(table.sum(0)))) for table in tables]
    rows = [
        row(base, draws, iou(tables)),
        {**base, "figure": PIXELS, "value": float(np.mean(pixels)), "interval": None, "each": pixels},
    ]
    if base["by"] != OPAQUE:
        rows.append(ratio_row({**base, "against": OPAQUE}, draws, iou(tables), iou([opaque] * len(tables))))
    return rows


def _nulls(base: Row, table: Tensor) -> list[Row]:
    """What answers with their names dealt anew would give, and one class everywhere."""
    random = torch.Generator().manual_seed(DRAW)
    total = table.sum(0)
    dealt = [float(mean_iou(total[:, torch.randperm(len(total), generator=random)])) for _ in range(DEALS)]
    constant = torch.zeros_like(total)
    constant[:, total.sum(1).argmax()] = total.sum(1)
    return [
        {**base, "against": DEALT, "value": float(np.mean(dealt)), "interval": None, "each": dealt},
        {**base, "against": COMMONEST, "value": float(mean_iou(constant)), "interval": None, "each": None},
    ]

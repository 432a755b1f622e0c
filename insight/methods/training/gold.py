"""Which concepts photos really show, as people wrote it down: a CSV file in, a row of concepts a photo out."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from jaxtyping import Bool
from torch import Tensor

from sae.errors import InsightError

if TYPE_CHECKING:
    from ..bank import ConceptBank


def read_gold(path: Path, bank: ConceptBank) -> dict[str, Bool[Tensor, " R"]]:
    """By photo, as its column of names has it. `InsightError` as of `Examples.with_concepts`."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            head, *lines = list(csv.reader(file)) or [[]]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise InsightError(f"{path}: expected a CSV file of photos and concepts, found none ({reason})") from None
    if len(head) < 2:
        raise InsightError(f"{path}: expected a column of photos and one a concept, found {len(head)} columns")
    try:
        columns = [bank.concept_index(name) for name in head[1:]]
    except InsightError as error:
        raise InsightError(f"{path}: {error}") from None
    gold = {}
    for number, line in enumerate(lines, 2):
        if not line:
            continue
        if len(line) != len(head) or not {*line[1:]} <= {"0", "1"}:
            found = next((value for value in line[1:] if value not in ("0", "1")), f"{len(line)} values")
            raise InsightError(f"{path}: line {number}: expected {len(columns)} values of 0 or 1, found {found!r}")
        row = torch.zeros(len(bank.concepts), dtype=torch.bool)
        row[columns] = torch.tensor([value == "1" for value in line[1:]])
        gold[line[0]] = row
    return gold

"""Examples whose kept part was computed before: fold by fold and arm by arm it is the same.

In: photographs or a cache, and a tower. Out: something that `fit` and `predict` take for examples.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from insight.methods.towers import Tower
from insight.methods.training import Examples


@dataclass(frozen=True, eq=False)
class Kept:
    """labels: int64 [n]; kept: [n, ...], what a tower keeps of each; concepts: bool [n, R] or None."""

    labels: Tensor
    kept: Tensor
    concepts: Tensor | None = None
    left_out: Mapping[str, str] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.labels)

    def at(self, index: np.ndarray) -> Kept:
        """Those of these places."""
        chosen = torch.as_tensor(index)
        return Kept(self.labels[chosen], self.kept[chosen], None if self.concepts is None else self.concepts[chosen])

    def kept_by(self, tower: Tower, *, progress: bool = True) -> tuple[Kept, Tensor]:
        """As of `Examples`; the caller answers for the tower."""
        return self, self.kept


def kept_of(examples: Examples, tower: Tower, file: Path) -> Kept:
    """Computed once and read from `file` (NPY) from then on."""
    if file.exists():
        kept = torch.from_numpy(np.load(file, allow_pickle=False))
    else:
        examples, kept = examples.kept_by(tower)
        file.parent.mkdir(parents=True, exist_ok=True)
        partial = file.with_suffix(".part.npy")
        np.save(partial, kept.numpy())
        partial.replace(file)
    return Kept(examples.labels, kept, examples.concepts)

"""Where each concept of a model stands in its backbone's text space: `embeddings.npz`, written with the names."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from naming.npz import read_npz, write_npz
from sae.errors import InsightError


def save_embeddings(path: Path, embeddings: Float[Tensor, "m d"]) -> None:
    """Write unit vectors (zero rows: the concept never fires) as float16 `embeddings`."""
    write_npz(path, {"embeddings": embeddings.cpu().numpy().astype(np.float16)})


def load_embeddings(path: Path, n_concepts: int) -> Float[Tensor, "m d"]:
    """Read what `save_embeddings` wrote, as float32."""
    remedy = f"name the concepts again: `insight name {path.parent}`"
    found = read_npz(path, ["embeddings"], remedy)["embeddings"]
    if found.ndim != 2 or len(found) != n_concepts or not np.isfinite(found).all():
        raise InsightError(f"{path}: expected finite vectors of {n_concepts} concepts, found {found.shape}; {remedy}")
    return torch.from_numpy(found.astype(np.float32))

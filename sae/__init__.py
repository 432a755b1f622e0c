"""Sparse autoencoders on any [n, d] features; knows nothing of images or words.

Names are imported when first used: whoever only asks for `sae.errors` or `sae.config` does not wait for torch.
"""

import warnings
from typing import TYPE_CHECKING

from .lazy import names_of

if TYPE_CHECKING:
    from .autoencoder import SparseAutoencoder
    from .codes import SparseCodes
    from .config import SaeConfig, TrainConfig
    from .errors import InsightError
    from .metrics import Evaluation, evaluate
    from .presets import preset
    from .sources import SharedSource, TensorSource, TokenSource
    from .trainer import Job, train, train_many

# torch says so once a process whenever a CSR tensor is made; it tells a user of this package nothing.
warnings.filterwarnings("ignore", message="Sparse CSR tensor support is in beta state")

__all__ = [
    "Evaluation",
    "InsightError",
    "Job",
    "SaeConfig",
    "SharedSource",
    "SparseAutoencoder",
    "SparseCodes",
    "TensorSource",
    "TokenSource",
    "TrainConfig",
    "evaluate",
    "preset",
    "train",
    "train_many",
]

__getattr__ = names_of(
    __name__,
    {
        "autoencoder": ["SparseAutoencoder"],
        "codes": ["SparseCodes"],
        "config": ["SaeConfig", "TrainConfig"],
        "errors": ["InsightError"],
        "metrics": ["Evaluation", "evaluate"],
        "presets": ["preset"],
        "sources": ["SharedSource", "TensorSource", "TokenSource"],
        "trainer": ["Job", "train", "train_many"],
    },
)

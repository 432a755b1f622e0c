"""Sparse autoencoders on any [n, d] features; knows nothing of images or words."""

import warnings

# torch says so once a process whenever a CSR tensor is made; it tells a user of this package nothing.
warnings.filterwarnings("ignore", message="Sparse CSR tensor support is in beta state")

from .autoencoder import SparseAutoencoder  # noqa: E402
from .codes import SparseCodes  # noqa: E402
from .config import SaeConfig, TrainConfig  # noqa: E402
from .errors import InsightError  # noqa: E402
from .metrics import Evaluation, evaluate  # noqa: E402
from .presets import preset  # noqa: E402
from .sources import SharedSource, TensorSource, TokenSource  # noqa: E402
from .trainer import Job, train, train_many  # noqa: E402

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

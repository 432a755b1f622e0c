"""Sparse autoencoders on any [n, d] features; knows nothing of images or words."""

import warnings

# torch says so once a process whenever a CSR tensor is made; it tells a user of this package nothing.
warnings.filterwarnings("ignore", message="Sparse CSR tensor support is in beta state")

from .codes import SparseCodes  # noqa: E402
from .errors import InsightError  # noqa: E402

__all__ = ["InsightError", "SparseCodes"]

"""How good an autoencoder and its dictionary are: streamed, sparse measures, one family a file."""

from .reconstruction import DENSE_SHARE, Evaluation, evaluate

__all__ = ["DENSE_SHARE", "Evaluation", "evaluate"]

"""The steps from photographs to a named model. Each reads what the step before left on disk and adds to the folder."""

from .build import build_model
from .describe import describe_model
from .name import name_concepts
from .relate import relate_concepts
from .train import fitting_size, train_dictionary

__all__ = ["build_model", "describe_model", "fitting_size", "name_concepts", "relate_concepts", "train_dictionary"]

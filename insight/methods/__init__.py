"""Fine-tuning that explains itself: concept banks, and the methods that learn from them, on one interface."""

from .fine_tuned import Batch, FineTuned
from .output import Output

__all__ = ["Batch", "FineTuned", "Output"]

"""Fine-tuning that explains itself: concept banks, and the methods that learn from them, on one interface.

Methods are in modules of their own: probe, coop, cocoop, xcoop, deal, ecor, why_prompt; `method_class` finds one.
"""

from .files import load_method, save_method
from .fine_tuned import Batch, FineTuned
from .output import Output
from .registry import METHODS, method_class

__all__ = ["METHODS", "Batch", "FineTuned", "Output", "load_method", "method_class", "save_method"]

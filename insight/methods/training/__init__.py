"""Training of fine-tuned models: labelled photos in, the same model out, whatever interrupts it."""

from .examples import Examples
from .fit import fit, predict
from .fit_config import FitConfig

__all__ = ["Examples", "FitConfig", "fit", "predict"]

"""The kernels in Triton, for CUDA; imported only where a tensor is there, or Triton's interpreter takes its place.

`floors` is left to torch. Beside the interface of `sae.kernels`: `largest`, BatchTopK that never waits for the device
(`selection.batch_topk_cuda`).
"""

from ..pytorch import floors
from .largest import Largest, estimated_cut, largest
from .nested import nested
from .rounding import rounded
from .select import Shortlist, above, above_within, keep_largest
from .sparse import add_product, inner_products, sampled

__all__ = [
    "Largest",
    "Shortlist",
    "above",
    "above_within",
    "add_product",
    "estimated_cut",
    "floors",
    "inner_products",
    "keep_largest",
    "largest",
    "nested",
    "rounded",
    "sampled",
]

"""What the tests of measures share: random codes, and the size of the arrays that a measure makes."""

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from sae import SparseCodes


def random_codes(n: int, m: int, share: float, generator: torch.Generator) -> SparseCodes:
    """Codes of n tokens over m concepts, each pair active with probability `share`; activations 0.1 to 2.1."""
    active = torch.rand(n, m, generator=generator) < share
    return SparseCodes.from_dense(torch.where(active, 0.1 + 2 * torch.rand(n, m, generator=generator), 0.0))


class LargestArray(TorchDispatchMode):
    """While it is entered: the number of values of the largest array that torch made."""

    numel = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        arrays = [leaf for leaf in tree_leaves(out) if isinstance(leaf, Tensor)]
        self.numel = max([self.numel, *(array._nnz() if array.is_sparse else array.numel() for array in arrays)])
        return out

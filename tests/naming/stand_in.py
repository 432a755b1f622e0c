"""Codes with structure, as dense float64 arrays and as `SparseCodes`, and the graph arrays that tests need."""

import torch
from hypothesis import strategies as st

from sae import SparseCodes


def random_dense(generator: torch.Generator, n: int, m: int, density: float = 0.2) -> torch.Tensor:
    """float32 [n, m] >= 0; the concepts differ in how often they fire, and the last never does."""
    often = density * 2 * torch.rand(m, generator=generator)
    often[-1] = 0
    values = torch.rand(n, m, generator=generator) + 0.01
    return values * (torch.rand(n, m, generator=generator) < often)


def nested_dense(generator: torch.Generator, n: int, m: int) -> torch.Tensor:
    """float32 [n, m]: concepts fire only where a chosen coarser one does, so there are parents and mutual pairs."""
    active = torch.zeros(n, m, dtype=torch.bool)
    for concept in range(m):
        share = 0.2 + 0.75 * torch.rand(1, generator=generator)
        inside = torch.rand(n, generator=generator) < share
        if concept >= 3:
            parent = int(torch.randint(concept, (1,), generator=generator))
            inside &= active[:, parent]
        active[:, concept] = inside
    active[0] = True  # none is dead
    return (torch.rand(n, m, generator=generator) + 0.01) * active


def chunks(dense: torch.Tensor, sizes: list[int]) -> list[tuple[int, SparseCodes]]:
    """The rows of `dense` cut into pieces of the given sizes (the last takes the rest): first row, codes."""
    pieces, first = [], 0
    for size in [*sizes, len(dense)]:
        size = min(size, len(dense) - first)
        pieces.append((first, SparseCodes.from_dense(dense[first : first + size])))
        first += size
    return pieces


@st.composite
def dense_codes(draw, fewest_concepts: int = 1) -> torch.Tensor:
    """float32 [n, m] with few distinct values, so that activations are often equal."""
    n, m = draw(st.integers(0, 40)), draw(st.integers(fewest_concepts, 10))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**31)))
    values = torch.randint(0, draw(st.integers(2, 6)), (n, m), generator=generator) / 4
    return values * (torch.rand(n, m, generator=generator) < draw(st.floats(0, 1)))

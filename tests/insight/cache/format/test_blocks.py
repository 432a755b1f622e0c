"""Blocks cover an image once, none too long; their checks are plain integer arithmetic, and no bit flips unseen."""

import random
from itertools import pairwise

import pytest
import torch

from insight.cache.format.blocks import LONGEST, block_checks, block_edges, image_checks, rest_checks
from insight.cache.format.shard import bytes_of

DTYPES = [torch.float32, torch.bfloat16, torch.float16, torch.int8]


def sum_of_words(row: torch.Tensor) -> int:
    """Of one row's bytes, by Python's integers."""
    raw = bytes_of(row).tobytes()
    width = next(width for width in (8, 4, 2, 1) if len(raw) % width == 0)
    return sum(int.from_bytes(raw[i : i + width], "little", signed=True) for i in range(0, len(raw), width))


def wrapped(number: int) -> int:
    return (number + 2**63) % 2**64 - 2**63


def random_patches(n: int, t: int, d: int, dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor | None]:
    if dtype == torch.int8:
        return torch.randint(-127, 128, (n, t, d), dtype=dtype), torch.rand(n, t)
    return torch.randn(n, t, d).to(dtype), None


@pytest.mark.parametrize("tokens", [1, 2, 63, 64, 65, 196, 256, 257, 1369])
def test_blocks_cover_all_tokens_once(tokens: int) -> None:
    edges = block_edges(tokens)
    sizes = edges[1:] - edges[:-1]
    assert edges[0] == 0
    assert edges[-1] == tokens
    assert 1 <= sizes.min() <= sizes.max() <= LONGEST
    assert sizes.max() - sizes.min() <= 1


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("n", "t", "d"), [(2, 130, 8), (1, 64, 3), (3, 5, 6), (2, 1, 1)])
def test_checks_are_those_of_integer_arithmetic(dtype: torch.dtype, n: int, t: int, d: int) -> None:
    patches, scales = random_patches(n, t, d, dtype)
    others = [torch.randn(n, d), torch.randint(0, 900, (n, t), dtype=torch.int32)]
    edges = block_edges(t).tolist()
    found = image_checks(patches, scales, others)
    assert found.shape == (n, len(edges))
    for i in range(n):
        tokens = [sum_of_words(patches[i, j]) for j in range(t)]
        if scales is not None:
            tokens = [token + (2**32 + 1) * sum_of_words(scales[i, j]) for j, token in enumerate(tokens)]
        expected = [
            wrapped(sum((2 * j + 1) * token for j, token in enumerate(tokens[begin:end])))
            for begin, end in pairwise(edges)
        ]
        rest = wrapped(sum((2 * k + 1) * sum_of_words(other[i]) for k, other in enumerate(others)))
        assert found[i].tolist() == [*expected, rest]


@pytest.mark.parametrize("dtype", DTYPES)
def test_every_flipped_bit_changes_a_check(dtype: torch.dtype) -> None:
    patches, scales = random_patches(1, 40, 5, dtype)
    stored, sizes = patches[0], torch.tensor([17, 23])
    of_tokens = None if scales is None else scales[0]
    pooled = torch.randn(1, 5)
    before, rest_before = block_checks(stored, of_tokens, sizes), rest_checks([pooled])
    for part in (stored, of_tokens, pooled):
        if part is None:
            continue
        raw = part.view(torch.uint8).view(-1)  # the same memory
        for _ in range(50):
            place, bit = random.randrange(len(raw)), 1 << random.randrange(8)
            raw[place] ^= bit
            changed = (block_checks(stored, of_tokens, sizes) != before).sum()
            assert (changed, (rest_checks([pooled]) != rest_before).sum()) == ((0, 1) if part is pooled else (1, 0))
            raw[place] ^= bit
    assert torch.equal(block_checks(stored, of_tokens, sizes), before)

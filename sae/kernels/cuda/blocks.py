"""How a row of d numbers is cut into blocks of a power of two, as Triton wants them, and who works on a block."""

from __future__ import annotations

import triton

_SMALLEST, _LARGEST = 128, 512
_MOST_WASTE = 0.15


def block_of(d: int, largest: int = _LARGEST) -> int:
    """The largest power of two up to `largest` whose blocks overhang d by at most 15 % (else the smallest, 128)."""
    block = min(largest, triton.next_power_of_2(d))
    while block > _SMALLEST and -d % block > _MOST_WASTE * d:
        block //= 2
    return block


def warps_of(block: int, numbers: int = 4) -> int:
    """Warps that hold a row of a block at `numbers` a thread: sums over several rows then stay within threads."""
    return max(1, block // (32 * numbers))

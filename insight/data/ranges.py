"""Parts of a source whose images are numbered: ranges such as `1024:1280`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from sae.errors import InsightError


def ranges(count: int, size: int, place: str) -> Iterator[list[str]]:
    """All numbers below `count` in ranges of `size`; `InsightError` when there is none."""
    if not count:
        raise InsightError(f"{place}: expected images, found an empty dataset")
    for start in range(0, count, size):
        yield [f"{start}:{min(start + size, count)}"]


def read_range(part: Sequence[str], count: int, place: str) -> range:
    """The numbers of a part; `InsightError` when it is no range of numbers below `count`."""
    first, colon, last = part[0].partition(":") if len(part) == 1 else ("", "", "")
    if not (colon and first.isdecimal() and last.isdecimal() and int(first) <= int(last) <= count):
        raise InsightError(
            f"{place}: expected a range of its {count} images, found {list(part)}; has the dataset changed since the"
            " run began?"
        )
    return range(int(first), int(last))

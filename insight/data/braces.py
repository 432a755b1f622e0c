"""Patterns with braces: `{000..099}` counts, `{train,val}` lists, and a pattern stands for all it can be."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import islice

from sae.errors import InsightError

MAX_NAMES = 1_000_000
_RANGE = re.compile(r"(\d{1,18})\.\.(\d{1,18})", re.ASCII)


def expand_braces(pattern: str) -> list[str]:
    """All that the pattern stands for, in its order, as a shell has it; other braces are text.

    Numbers are filled up with zeros where an end is written so. `InsightError` for more than a million names.
    """
    names = list(islice(_expand(pattern), MAX_NAMES + 1))
    if len(names) > MAX_NAMES:
        raise InsightError(f"{pattern}: expected at most {MAX_NAMES} names, found a pattern of more; check its ranges")
    return names


def _expand(pattern: str) -> Iterator[str]:
    for start, stop in _groups(pattern):
        options = _options(pattern[start + 1 : stop])
        if options is not None:
            for option in options:
                for rest in _expand(pattern[stop + 1 :]):
                    yield pattern[:start] + option + rest
            return
    yield pattern


def _groups(pattern: str) -> Iterator[tuple[int, int]]:
    """Where the outermost pairs of braces open and close."""
    depth, start = 0, 0
    for at, character in enumerate(pattern):
        if character == "{":
            start = at if depth == 0 else start
            depth += 1
        elif character == "}" and depth:
            depth -= 1
            if depth == 0:
                yield start, at


def _options(inside: str) -> Iterator[str] | None:
    """What a pair of braces stands for, None if it is text."""
    if between := _RANGE.fullmatch(inside):
        first, last = between.groups()
        width = max(map(len, between.groups())) if any(end[0] == "0" and len(end) > 1 for end in (first, last)) else 0
        step = 1 if int(first) <= int(last) else -1
        return (f"{number:0{width}d}" for number in range(int(first), int(last) + step, step))
    inner = [range(start, stop) for start, stop in _groups(inside)]
    commas = [at for at, c in enumerate(inside) if c == "," and not any(at in group for group in inner)]
    if not commas:
        return None
    pieces = [inside[start + 1 : stop] for start, stop in zip([-1, *commas], [*commas, len(inside)])]
    return (name for piece in pieces for name in _expand(piece))

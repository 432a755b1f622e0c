"""How numbers are read from a command line: what is none gets a plain answer, and `None` is no number."""

from __future__ import annotations

from types import NoneType, UnionType
from typing import Union, get_args, get_origin

from tyro.constructors import ConstructorRegistry, PrimitiveConstructorSpec, PrimitiveTypeInfo

_CALLED: dict[type, str] = {int: "a whole number", float: "a number"}
NUMBERS = ConstructorRegistry()


@NUMBERS.primitive_rule
def _number(info: PrimitiveTypeInfo) -> PrimitiveConstructorSpec | None:
    """int and float, and either with None as its default."""
    union = get_origin(info.type) in (Union, UnionType)
    kinds = {*(get_args(info.type) if union else [info.type])} - {NoneType}
    if len(kinds) != 1 or not kinds <= _CALLED.keys():
        return None
    (kind,) = kinds
    return PrimitiveConstructorSpec(
        nargs=1,
        metavar=kind.__name__.upper(),
        instance_from_str=lambda words: _read(kind, words[0]),
        is_instance=lambda value: value is None or isinstance(value, kind),
        str_from_instance=lambda value: [str(value)],
    )


def _read(kind: type[int] | type[float], word: str) -> float:
    try:
        return kind(word)
    except ValueError:
        raise ValueError(f"expected {_CALLED[kind]}, found {word!r}") from None

"""The functions that wait in gradio's queue for a turn at the encoder, and a check of what they are called with.

In: an `Explorer` and a `gradio.Server`. Out: the functions on it, by name, for the page and for `gradio_client`. Calls
are checked before gradio sees them: it would copy files that an argument names, and answer mistakes with a traceback.
"""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, get_type_hints

from sae.errors import InsightError

from . import answers
from .explorer import Explorer

if TYPE_CHECKING:
    import gradio

JOIN = "/gradio_api/queue/join"
CALL = re.compile(r"/gradio_api/call/(\w+)/?")
FAILED = "the explorer failed at this; its terminal says why"
LARGEST = 2**31
SESSION = re.compile(r"[\w-]{1,64}")
Types = dict[str, Any]
"""Type by parameter."""


def add_calls(app: gradio.Server, explorer: Explorer) -> dict[str, Types]:
    """Add the functions; returns the types of each one's parameters, in gradio's order of functions."""
    import gradio

    def told(answer: Callable[..., dict[str, Any]], *arguments: Any) -> dict[str, Any]:
        try:
            return answer(explorer, *arguments)
        except InsightError as error:
            raise gradio.Error(explorer.sentence(error), print_exception=False) from None
        except Exception as error:  # a defect: gradio prints it, and whoever asked is not left without an answer
            raise gradio.Error(FAILED) from error

    def explain(photo: str, m: int) -> dict[str, Any]:
        """All concepts on every patch of a photo."""
        return told(answers.explain, photo, m)

    def search(text: str, m: int, top: int) -> dict[str, Any]:
        """The concepts nearest to a text in meaning."""
        return told(answers.search, text, m, top)

    def classify(photo: str, classes: str, head: int, remove: list[int]) -> dict[str, Any]:
        """The class of a photo, and each concept's share in it."""
        return told(answers.classify, photo, classes, head, remove)

    def segment(photo: str, classes: str, head: int) -> dict[str, Any]:
        """The class of every pixel of a photo."""
        return told(answers.segment, photo, classes, head)

    def segment_at(photo: str, classes: str, head: int, row: int, column: int) -> dict[str, Any]:
        """Why a pixel of a photo is of its class."""
        return told(answers.segment_at, photo, classes, head, row, column)

    types = {}
    for function in (explain, search, classify, segment, segment_at):
        name = function.__name__
        app.api(function, name=name, concurrency_limit=1, concurrency_id="encoder")
        hints = get_type_hints(function)
        types[name] = {parameter: hints[parameter] for parameter in inspect.signature(function).parameters}
    return types


def refused_call(path: str, body: bytes, types: Mapping[str, Types]) -> tuple[int, str] | None:
    """Status and sentence for a call that is not as it should be; None for one that is, and for other paths."""
    called = CALL.fullmatch(path)
    if called is None and path != JOIN:
        return None
    if called is not None and called[1] not in types:
        return 404, f"expected one of the functions {', '.join(types)}, found {called[1][:40]}"
    value = json.loads(body or b"null")
    if not isinstance(value, dict) or not isinstance(value.get("data"), list):
        return 422, 'expected {"data": [the values of the parameters]}'
    if value.get("session_hash") is not None and not _is_session(value["session_hash"]):
        return 422, "session_hash: expected letters and digits"
    if called is not None:
        name = called[1]
    else:
        number = value.get("fn_index")
        if type(number) is not int or not 0 <= number < len(types):
            return 422, f"fn_index: expected the number of a function, 0 to {len(types) - 1}"
        name = [*types][number]
    wrong = _wrong(value["data"], types[name])
    return None if wrong is None else (422, f"{name}: {wrong}")


def _wrong(data: list[Any], types: Types) -> str | None:
    if len(data) != len(types):
        return f"expected {len(types)} values ({', '.join(types)}), found {len(data)}"
    for (parameter, kind), value in zip(types.items(), data, strict=True):
        if kind is str and not isinstance(value, str):
            return f"{parameter}: expected a text"
        if kind is int and not _is_number(value):
            return f"{parameter}: expected a whole number"
        if kind == list[int] and not (isinstance(value, list) and all(map(_is_number, value))):
            return f"{parameter}: expected a list of whole numbers"
    return None


def _is_number(value: Any) -> bool:
    return type(value) is int and -LARGEST < value < LARGEST


def _is_session(value: Any) -> bool:
    return isinstance(value, str) and SESSION.fullmatch(value) is not None

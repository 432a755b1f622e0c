"""A bank's JSON file as Python has it: an object, in the file's order, none of its keys lost."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from sae.errors import InsightError


def read_object(path: Path | str) -> dict[str, Any]:
    """The object in a JSON file (UTF-8, with or without a byte order mark).

    `InsightError` names the file that is missing, not JSON or no object, and a key that stands there twice with
    different values: Python would keep the last one silently. Beside another value an empty one does not count (a
    published file has "coyote" so).
    """
    path = Path(path)

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key, value in pairs:
            if found.get(key) and value and value != found[key]:
                raise InsightError(f"{path}: expected every key once, found {key!r} twice; join the two, or rename one")
            found[key] = value or found.get(key, value)
        return found

    try:
        value = json.loads(path.read_text(encoding="utf-8-sig"), object_pairs_hook=once)
    except OSError as error:
        raise InsightError(f"{path}: cannot be read ({error.strerror}); give the JSON file of a bank") from None
    except (json.JSONDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InsightError(f"{path}: expected JSON, found something else ({error}); make it again") from None
    if not isinstance(value, dict):
        raise InsightError(
            f'{path}: expected an object {{"class": ["descriptor", ...]}}, found {type(value).__name__}; give each'
            " class its list"
        )
    return value

"""Class names and descriptors as texts: cleaned, and known again however they are written.

In: what a file or a person says. Out: one line of text, its case kept, and a key that is the same for "Red  beak" and
"red beak".
"""

from __future__ import annotations

import unicodedata

from naming.words.phrases import clean_phrase
from sae.errors import InsightError


def cleaned(text: object, place: str) -> str:
    """The text with single spaces and nothing that cannot be seen; slashes and all other signs are kept.

    `InsightError` begins with `place`: it is no text, it is empty, or `clean_phrase` refuses it.
    """
    if not isinstance(text, str):
        raise InsightError(f"{place}: expected a text, found {text!r}; put it in quotation marks, or take it out")
    found = clean_phrase(" ".join(text.split()), place)
    if not found:
        raise InsightError(f"{place}: expected a text, found an empty one; write it, or take it out")
    return found


def in_words(key: str) -> str:
    """A class's key as prompts say it: "kit_fox" is "kit fox"."""
    return " ".join(key.replace("_", " ").split())


def same(text: str) -> str:
    """Equal for two cleaned texts that differ by case alone."""
    return unicodedata.normalize("NFC", text.casefold())

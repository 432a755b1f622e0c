"""Lists of phrases that concepts may be called by, as text files hold them.

In: a text file, UTF-8, one phrase a line, optionally `phrase<TAB>zipf` (log10 of its occurrences per 10^9 words).
Out: `WordList`, the distinct phrases in the file's order, in any script. Two phrases are one when a reader could not
tell them apart: by case, by spaces, by how an accent is encoded, or by characters that cannot be seen.
"""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from sae.errors import InsightError

LONGEST = 200
"""Characters. A name is read at a glance; text encoders cut at 77 tokens, and would name by the beginning alone."""
UNSEEN = dict.fromkeys(
    [0x00AD, 0x034F, 0x061C, 0x200B, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2060, 0x2070), 0xFEFF]
)
"""Soft hyphens, zero-width spaces, marks and overrides of direction: they guide how a line is set, and letters tell
their direction themselves. Left out. Joiners (U+200C, U+200D) make one emoji of several and shape letters: kept."""
JOINERS = "\u200c\u200d"
REFUSED = {"Cc": "a control character", "Cs": "half a character", "Co": "a private character"}
REFUSED |= {"Zl": "a line separator", "Zp": "a paragraph separator"}


@dataclass(frozen=True)
class WordList:
    """Phrases with their Zipf frequencies, 0 where nothing is known."""

    phrases: tuple[str, ...]
    zipf: tuple[float, ...]
    repeats: int = 0
    """Lines of the file that were left out, because an earlier one has their phrase."""

    def __len__(self) -> int:
        return len(self.phrases)


def merge(lists: Iterable[WordList]) -> WordList:
    """The phrases of all lists, each once and as first written, with the first frequency that is known for it."""
    kept: dict[str, tuple[str, float]] = {}
    for words in lists:
        for phrase, zipf in zip(words.phrases, words.zipf, strict=True):
            first, known = kept.get(phrase.casefold(), (phrase, 0.0))
            kept[phrase.casefold()] = first, known or zipf
    return WordList(tuple(phrase for phrase, _ in kept.values()), tuple(zipf for _, zipf in kept.values()))


def clean_phrase(text: str, place: str) -> str:
    """The phrase in the one form that stands for all that look the same; empty where nothing can be seen.

    `InsightError` begins with `place`: something in it is no text, or it is longer than 200 characters.
    """
    if not (text.isascii() and text.isprintable()):
        for character in text:
            if (kind := REFUSED.get(unicodedata.category(character))) or character == "\ufffd":
                kind = kind or "what stands for a character lost in conversion"
                raise InsightError(
                    f"{place}: expected a phrase, found {kind} (U+{ord(character):04X}); take it out, or save as UTF-8"
                )
        words = unicodedata.normalize("NFC", text.translate(UNSEEN)).split()
        text = " ".join(stripped for word in words if (stripped := word.strip(JOINERS)))
        if text and unicodedata.category(text[0]).startswith("M"):
            raise InsightError(f"{place}: expected a letter first, found an accent alone (U+{ord(text[0]):04X})")
    phrase = " ".join(text.split())
    if len(phrase) > LONGEST:
        raise InsightError(
            f"{place}: expected a phrase of at most {LONGEST} characters, found"
            f" {len(phrase)} ({phrase[:20]!a}...); shorten or drop it"
        )
    return phrase


def read_phrases(path: Path) -> WordList:
    """Read a list of phrases from a text file.

    Spaces at the ends and blank lines do not count, and of phrases that differ by case alone the first is kept.
    `InsightError` names the file, and the line, that is missing, not UTF-8, without any phrase, longer than 200
    characters, holds what is no text, or has a second column that is no number.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise InsightError(f"{path}: expected UTF-8 text, found other bytes ({error}); save it as UTF-8") from None
    except OSError as error:
        raise InsightError(f"{path}: cannot be read ({error.strerror}); give a text file of phrases") from None
    kept: dict[str, tuple[str, float]] = {}
    repeats = 0
    for number, line in enumerate(text.split("\n"), start=1):
        if not line or line.isspace():
            continue
        raw, _, column = line.partition("\t")
        phrase = clean_phrase(raw, f"{path}, line {number}")
        if not phrase:
            continue
        zipf = _zipf(column.strip(), f"{path}, line {number}")
        if phrase.casefold() in kept:
            repeats += 1
        else:
            kept[phrase.casefold()] = phrase, zipf
    if not kept:
        raise InsightError(f"{path}: expected phrases, one a line, found none")
    phrases, frequencies = zip(*kept.values())
    return WordList(phrases, frequencies, repeats)


def _zipf(column: str, place: str) -> float:
    if not column:
        return 0.0
    try:
        value = float(column)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise InsightError(f"{place}: expected a Zipf frequency behind the tab, found {column[:20]!a}")
    return value

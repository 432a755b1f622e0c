"""Lists of phrases that concepts may be called by: the shipped one and a user's file.

In: a text file, UTF-8, one phrase a line, optionally `phrase<TAB>zipf` (log10 of its occurrences per 10^9 words).
Out: the distinct phrases in the file's order. The shipped list holds 20,000 visible things, from WordNet 3.0; it is
made by `scripts/build_vocabulary.py`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from sae.errors import InsightError

LONGEST = 200
"""Characters. A name is read at a glance; text encoders cut at 77 tokens, and would name by the beginning alone."""


@dataclass(frozen=True)
class WordList:
    """Phrases with their Zipf frequencies, 0 where nothing is known."""

    phrases: tuple[str, ...]
    zipf: tuple[float, ...]

    def __len__(self) -> int:
        return len(self.phrases)


def load_phrases(path: Path | str | None = None) -> WordList:
    """Read a list of phrases; None: the shipped one.

    Spaces at the ends and blank lines do not count, and of phrases that differ by case alone the first is kept.
    `InsightError` names the file, and the line, that is missing, not UTF-8, without any phrase, longer than 200
    characters, or with a second column that is no number.
    """
    source = Path(path) if path is not None else files("naming") / "vocabularies" / "english.txt"
    try:
        text = source.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise InsightError(f"{source}: expected UTF-8 text, found other bytes ({error}); save it as UTF-8") from None
    except OSError as error:
        raise InsightError(f"{source}: cannot be read ({error.strerror}); give a text file of phrases") from None
    kept: dict[str, tuple[str, float]] = {}
    for number, line in enumerate(text.split("\n"), start=1):
        phrase, _, column = line.partition("\t")
        phrase = " ".join(phrase.split())
        if not phrase:
            continue
        if len(phrase) > LONGEST or not phrase.isprintable():
            raise InsightError(
                f"{source}, line {number}: expected a phrase of at most {LONGEST} printable characters, found"
                f" {len(phrase)} ({phrase[:20]!a}...); shorten or drop it"
            )
        kept.setdefault(phrase.casefold(), (phrase, _zipf(column.strip(), f"{source}, line {number}")))
    if not kept:
        raise InsightError(f"{source}: expected phrases, one a line, found none")
    phrases, zipf = zip(*kept.values())
    return WordList(phrases, zipf)


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

"""Readable names of classes that are folders: from a file of the set, or WordNet where folders are its numbers."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from naming.words.wordnet import WordNet
from sae.errors import InsightError

from ..place import FILE, found_at
from .layout import read_lines

FILES = ("classes.tsv", "classes.txt", "LOC_synset_mapping.txt", "synset_words.txt", "words.txt")
"""Looked for in this order: a folder's name a line and behind a tab or a space what it is called."""
_SYNSET = re.compile(r"n\d{8}")


def class_names(root: Path, folders: Iterable[str]) -> dict[str, str]:
    """What the class of each folder is called.

    The name that a file of `FILES` in `root` gives it, of synonyms ("tench, Tinca tinca") the first; else, for a folder
    such as n01440764, WordNet's first word for that number; else the folder's own name. Where several folders would be
    called the same ("crane"), each has its folder's name added in brackets: "crane (n02012849)".
    """
    folders = list(folders)
    listed = next((_read(root / file) for file in FILES if found_at(root / file) == FILE), {})
    names = {folder: listed.get(folder) or _synset(folder) or folder for folder in folders}
    shared = Counter(names.values())
    return {folder: name if shared[name] == 1 else f"{name} ({folder})" for folder, name in names.items()}


def _read(path: Path) -> dict[str, str]:
    pairs = (re.split(r"\t|\s+", line.strip(), maxsplit=1) for line in read_lines(path))
    return {pair[0]: pair[1].split(",")[0].strip() for pair in pairs if len(pair) == 2}


def _synset(folder: str) -> str | None:
    if not _SYNSET.fullmatch(folder):
        return None
    wordnet = WordNet.load()
    try:
        return wordnet.synset(wordnet.numbered(folder)).lemmas[0]
    except InsightError:
        return None

"""Readable names of classes that are folders: from a file of the set, or WordNet where folders are its numbers."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from naming import word_key
from naming.words.lists import load_phrases
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
    such as n01440764, a word of WordNet's for that number, one that ImageNet's list has or else the most frequent;
    else the folder's own name. Where several folders would be called by forms of one word ("crane", "sunglass" and
    "sunglasses"), each has its folder's name added in brackets: "crane (n02012849)".
    """
    folders = list(folders)
    listed = next((_read(root / file) for file in FILES if found_at(root / file) == FILE), {})
    synsets = _synsets([folder for folder in folders if folder not in listed and _SYNSET.fullmatch(folder)])
    names = {folder: listed.get(folder) or synsets.get(folder) or folder for folder in folders}
    shared = Counter(map(word_key, names.values()))
    return {folder: name if shared[word_key(name)] == 1 else f"{name} ({folder})" for folder, name in names.items()}


def _read(path: Path) -> dict[str, str]:
    pairs = (line.strip().split(maxsplit=1) for line in read_lines(path))
    return {pair[0]: pair[1].split(",")[0].strip() for pair in pairs if len(pair) == 2}


def _synsets(numbers: list[str]) -> dict[str, str]:
    """A word for each of WordNet's numbers that there is."""
    if not numbers:
        return {}
    wordnet, classes, english = WordNet.load(), set(load_phrases("imagenet").phrases), load_phrases("english")
    frequency = dict(zip(english.phrases, english.zipf))
    words = {}
    for number in numbers:
        try:
            lemmas = wordnet.synset(wordnet.numbered(number)).lemmas
        except InsightError:
            continue
        words[number] = max(lemmas, key=lambda lemma: (lemma in classes, frequency.get(lemma, -1.0)))
    return words

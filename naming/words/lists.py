"""The shipped lists of phrases, by name, and a user's file beside them.

In: the name of a list, the path of a text file, or several of these joined by "+". Out: a `WordList`.
The lists are text files in `naming/vocabularies`, whose README says where each is from; WordNet's nouns come from the
package's own copy of WordNet.
"""

from __future__ import annotations

import difflib
import sys
from functools import lru_cache
from importlib.resources import as_file, files
from pathlib import Path

from tqdm import tqdm

from sae.errors import InsightError

from .phrases import WordList, merge, read_phrases
from .wordnet import WordNet

LISTS = {
    "english": "20,000 things, scenes, actions, colours and patterns that photographs show; the default",
    "wordnet-nouns": "every noun of WordNet 3.0, 118,000, seen or not",
    "attributes": "adjectives for what can be seen: colours, materials, patterns, shapes, states, sizes, light",
    "ade150": "the 150 classes of ADE20K's scene parsing",
    "cityscapes": "19 classes of streets",
    "coco": "the 80 classes of COCO",
    "coco-stuff": "those and 91 of stuff",
    "dtd": "47 textures",
    "imagenet": "the 1,000 classes of ImageNet",
    "lvis": "the 1,203 classes of LVIS",
    "openimages": "500 classes of Open Images",
    "places365": "the 365 scenes of Places365",
    "voc": "the 20 classes of Pascal VOC",
}
"""Name and content of each list. Those of a data set stand in its own order, a class a line."""


def load_phrases(source: Path | str | None = None) -> WordList:
    """Read a list of phrases: one of `LISTS`, a text file (`read_phrases`), or several of either ("coco+attributes").

    None: "english". Of lists joined by "+", phrases that several have are taken once. A file that is called like a
    list is reached by its path ("./coco"). Repeated lines of a file are counted, and said. `InsightError` names what
    is neither a list nor a file, with what comes near it.
    """
    if source is None:
        return _shipped("english")
    if str(source) in LISTS:
        return _shipped(str(source))
    if "+" in str(source) and not Path(source).exists():
        return merge([load_phrases(part.strip()) for part in str(source).split("+")])
    if str(source) and Path(source).exists():
        words = read_phrases(Path(source))
        if words.repeats:
            lines = len(words) + words.repeats
            tqdm.write(f"{source}: {words.repeats} of {lines} lines repeat an earlier one, left out", file=sys.stderr)
        return words
    near = difflib.get_close_matches(str(source), LISTS, n=2)
    hint = f"did you mean {' or '.join(near)}?" if near else f"the lists are {', '.join(LISTS)}"
    raise InsightError(f"{source or repr('')}: cannot be read (no such file and no such list of words); {hint}")


@lru_cache
def _shipped(name: str) -> WordList:
    """A list of this package; where it says no frequency, that of the English one."""
    if name == "wordnet-nouns":
        wordnet = WordNet.load()
        nouns = {lemma: None for sense in range(len(wordnet)) for lemma in wordnet.synset(sense).lemmas}
        words = WordList(tuple(nouns), (0.0,) * len(nouns))
    else:
        with as_file(files("naming") / "vocabularies" / f"{name}.txt") as path:
            words = read_phrases(path)
    if name == "english":
        return words
    english = _shipped("english")
    known = {phrase.casefold(): zipf for phrase, zipf in zip(english.phrases, english.zipf, strict=True)}
    zipf = (zipf or known.get(phrase.casefold(), 0.0) for phrase, zipf in zip(words.phrases, words.zipf, strict=True))
    return WordList(words.phrases, tuple(zipf))

"""Whether captions speak of what a concept is called, on the photographs where it is strongest.

In: how strongly each concept fires on each captioned photograph, its name, and the captions. Out: for each concept the
share of its strongest photographs of which some caption has the name, beside the share of all photographs. Nobody who
wrote the captions knew of the names, and no text vector has a part in it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
from scipy.sparse import csr_array

from naming import word_key

STRONGEST = 5
LONGEST = 3
"""Words of a name that captions are searched for; a longer name counts as mentioned nowhere."""


def mentions(captions: Sequence[str]) -> frozenset[str]:
    """The keys (`word_key`) of all runs of one to three words of some captions."""
    found: set[str] = set()
    for caption in captions:
        words = re.findall(r"[^\W_]+(?:['’-][^\W_]+)*", caption)
        for n in range(1, LONGEST + 1):
            found.update(word_key(" ".join(words[i : i + n])) for i in range(len(words) - n + 1))
    return frozenset(found)


def captioned(
    activations: csr_array, names: Sequence[str | None], said: Sequence[frozenset[str]]
) -> tuple[np.ndarray, np.ndarray]:
    """([n], [n]) share of each concept's five strongest photographs that mention its name, and of all photographs.

    activations: [photos, n] of concepts that fire on five photographs at least, the strongest of each photograph; None
    is no name, and is mentioned nowhere.
    """
    columns = csr_array(activations.T)
    there, everywhere = np.zeros(len(names)), np.zeros(len(names))
    known: dict[str, np.ndarray] = {}
    for i, name in enumerate(names):
        if name is None:
            continue
        key = word_key(name)
        if key not in known:
            known[key] = np.array([key in words for words in said], dtype=np.float64)
        row = slice(columns.indptr[i], columns.indptr[i + 1])
        strongest = columns.indices[row][np.argsort(-columns.data[row], kind="stable")[:STRONGEST]]
        there[i], everywhere[i] = known[key][strongest].mean(), known[key].mean()
    return there, everywhere

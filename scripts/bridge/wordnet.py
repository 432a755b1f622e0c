"""Which words hold for a class: its own WordNet nouns and those above it (a sports car is a car and a vehicle).

In: WordNet 3.0's `data.noun` and `index.noun` (Debian: wordnet-base). Out: words for noun synsets ("n02084071").
"""

from __future__ import annotations

from pathlib import Path


class WordNet:
    """The nouns of a folder with WordNet's dictionary files."""

    def __init__(self, folder: Path) -> None:
        self.nouns: dict[str, list[str]] = {}
        self.above: dict[str, list[str]] = {}
        for line in _entries(folder / "data.noun"):
            fields = line.split(" | ")[0].split()
            synset, count = "n" + fields[0], int(fields[3], 16)
            pointers = fields[4 + 2 * count :]
            self.nouns[synset] = [noun.replace("_", " ") for noun in fields[4 : 4 + 2 * count : 2]]
            steps = zip(pointers[1::4], pointers[2::4], strict=False)
            self.above[synset] = ["n" + number for kind, number in steps if kind in ("@", "@i")]
        # A noun's senses stand in the order of their use.
        index = (line.split() for line in _entries(folder / "index.noun"))
        self.first = {fields[0].replace("_", " "): "n" + fields[-int(fields[2])] for fields in index}

    def words(self, synset: str, known: set[str]) -> set[str]:
        """Nouns of the synset and of all above it that `known` has and whose commonest sense is that very one."""
        found, waiting = set(), [synset]
        while waiting:
            one = waiting.pop()
            if one not in found:
                found.add(one)
                waiting += self.above[one]
        return {n for one in found for n in self.nouns[one] if n in known and self.first.get(n) == one}


def _entries(path: Path) -> list[str]:
    """The lines after the licence, which is set in."""
    return [line for line in path.read_text(encoding="ascii").splitlines() if not line.startswith(" ")]

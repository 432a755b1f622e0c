"""Make the shipped nouns of WordNet, `naming/wordnet/nouns.npz`, from WordNet 3.0's dictionary files.

In: a folder with `data.noun`, `index.noun`, `noun.exc` and `cntlist.rev` (Debian: wordnet-base). Out: one compressed
npz that `naming.WordNet` reads, and WordNet's licence beside it. The same files give the same arrays.
Run: `python scripts/build_wordnet.py --wordnet FOLDER`.
"""

import argparse
import re
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from sae.files import atomic_write

HERE = Path(__file__).resolve().parent
HYPERNYMS = ("@", "@i")
MERONYMS = ("%p", "%m", "%s")


def entries(path: Path) -> list[str]:
    """The lines after the licence, which is set in."""
    return [line for line in path.read_text(encoding="ascii").splitlines() if not line.startswith(" ")]


def noun_pointers(entry: str) -> list[tuple[str, str]]:
    """(kind, synset number) of a data line's pointers to other nouns."""
    fields = entry.split(" | ")[0].split()
    pointers = fields[5 + 2 * int(fields[3], 16) :]
    steps = zip(pointers[::4], pointers[1::4], pointers[2::4], strict=False)
    return [(kind, number) for kind, number, part_of_speech in steps if part_of_speech == "n"]


def text(lines: Iterable[str]) -> np.ndarray:
    """uint8: the lines as UTF-8, one after the other."""
    return np.frombuffer("\n".join(lines).encode(), dtype=np.uint8)


def nouns(folder: Path) -> dict[str, np.ndarray]:
    """The arrays of `nouns.npz`; `naming.words.wordnet` says what each holds."""
    data = entries(folder / "data.noun")
    place = {line[:8]: i for i, line in enumerate(data)}
    pointers = [noun_pointers(line) for line in data]
    senses = {}
    for line in entries(folder / "index.noun"):
        fields = line.split()
        senses[fields[0].replace("_", " ")] = [place[number] for number in fields[-int(fields[2]) :]]
    lemmas = sorted(senses)
    uses = dict.fromkeys(((lemma, i) for lemma in lemmas for i in range(len(senses[lemma]))), 0)
    for line in (folder / "cntlist.rev").read_text(encoding="ascii").splitlines():
        key, sense, count = line.split()
        lemma, kind = key.split("%")
        one = lemma.replace("_", " "), int(sense) - 1
        if kind.startswith("1:") and one in uses:  # a noun
            uses[one] = int(count)
    plurals = {}
    for line in (folder / "noun.exc").read_text(encoding="ascii").splitlines():
        plural, *singulars = [word.replace("_", " ") for word in line.split()]
        plurals[plural] = next((word for word in singulars if word in senses), None)
    kept = sorted((plural, word) for plural, word in plurals.items() if word)
    above = [[place[number] for kind, number in steps if kind in HYPERNYMS] for steps in pointers]
    parts = [[place[number] for kind, number in steps if kind in MERONYMS] for steps in pointers]
    return {
        "numbers": np.array([int(line[:8]) for line in data], np.int32),
        "lemmas": text(lemmas),
        "sense_counts": np.array([len(senses[lemma]) for lemma in lemmas], np.uint8),
        "senses": np.array([synset for lemma in lemmas for synset in senses[lemma]], np.int32),
        "uses": np.array(list(uses.values()), np.uint16),
        "hypernym_counts": np.array([len(row) for row in above], np.uint8),
        "hypernyms": np.array([synset for row in above for synset in row], np.int32),
        "meronym_counts": np.array([len(row) for row in parts], np.uint16),
        "meronyms": np.array([synset for row in parts for synset in row], np.int32),
        "plurals": text(plural for plural, _ in kept),
        "singulars": text(singular for _, singular in kept),
    }


def licence(folder: Path) -> str:
    """The text at the head of `data.noun`, without its line numbers."""
    head = [line for line in (folder / "data.noun").read_text(encoding="ascii").splitlines() if line.startswith(" ")]
    return "".join(re.sub(r"^ *\d+ ?", "", line).rstrip() + "\n" for line in head)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--wordnet", type=Path, required=True, help="folder with WordNet 3.0's dictionary files")
    parser.add_argument("--out", type=Path, default=HERE.parent / "naming" / "wordnet")
    args = parser.parse_args()
    arrays = nouns(args.wordnet)
    with atomic_write(args.out / "nouns.npz") as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, allow_pickle=False, **arrays)
    (args.out / "LICENSE.txt").write_text(licence(args.wordnet), encoding="utf-8")
    print(f"{args.out}: {len(arrays['numbers'])} synsets, {len(arrays['sense_counts'])} lemmas")


if __name__ == "__main__":
    main()

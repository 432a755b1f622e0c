"""Make the shipped list of attributes, `naming/vocabularies/attributes.txt`: adjectives for what can be seen.

In: a folder with WordNet 3.0's dictionary files (`data.adj`, `index.adj`, `cntlist.rev`; Debian: wordnet-base), the
package `wordfreq`, and `attribute_rules.toml` and `vocabulary_rules.toml` beside this script. Out: one adjective a
line, `adjective<TAB>zipf`, the most frequent first.
Run: `python scripts/build_attributes.py --wordnet FOLDER` (Python >= 3.11).

An adjective is taken when it is a word of a listed synset, or of one that WordNet calls similar to a listed one, can
stand before a noun (WordNet marks those that cannot), is no rarer than the rules say, and has a share of its use as an
adjective in such senses. Senses are weighted as in `build_vocabulary.py`. Added by hand: what WordNet lacks.
"""

import argparse
import re
from dataclasses import dataclass
from pathlib import Path

import tomllib
from build_vocabulary import read_senses, zipf

HERE = Path(__file__).resolve().parent
NAME = re.compile(r"[A-Za-z]+")
BEHIND = re.compile(r"\((p|ip)\)$")  # "ablaze": after its noun alone
MARK = re.compile(r"\(\w+\)$")


@dataclass(frozen=True)
class Synset:
    words: list[str]  # that can stand before a noun
    similar: list[str]


def read_adjectives(path: Path) -> dict[str, Synset]:
    """Synsets by offset."""
    synsets = {}
    for line in path.open(encoding="ascii"):
        if line.startswith(" "):
            continue
        field = line.split(" | ")[0].split()
        n_words = int(field[3], 16)
        words = [MARK.sub("", word) for word in field[4 : 4 + 2 * n_words : 2] if not BEHIND.search(word)]
        pointers = field[5 + 2 * n_words :]
        similar = [to for kind, to in zip(pointers[::4], pointers[1::4], strict=False) if kind == "&"]
        synsets[field[0]] = Synset(words, similar)
    return synsets


def read_counts(path: Path) -> dict[tuple[str, int], int]:
    """Tagged occurrences of (lemma, number of its adjective sense)."""
    counts = {}
    for line in path.open(encoding="ascii"):
        key, number, count = line.split()
        lemma, rest = key.rsplit("%", 1)
        if rest[0] in "35":
            counts[lemma, int(number)] = int(count)
    return counts


def share(lemma: str, offsets: list[str], listed: set[str], counts: dict[tuple[str, int], int]) -> float:
    """Share of the adjective's use that falls on listed senses."""
    weights = [counts.get((lemma, i + 1), 0) + 0.5 ** (i + 1) for i in range(len(offsets))]
    return sum(w for w, offset in zip(weights, offsets, strict=True) if offset in listed) / sum(weights)


def words_of(block: str) -> list[str]:
    return [word.strip() for word in re.split(r"[,\n]", block) if word.strip()]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--wordnet", type=Path, required=True, help="folder with WordNet 3.0's dictionary files")
    parser.add_argument("--out", type=Path, default=HERE.parent / "naming" / "vocabularies" / "attributes.txt")
    args = parser.parse_args()
    rules = tomllib.loads((HERE / "attribute_rules.toml").read_text(encoding="utf-8"))
    vocabulary = tomllib.loads((HERE / "vocabulary_rules.toml").read_text(encoding="utf-8"))
    synsets, senses = read_adjectives(args.wordnet / "data.adj"), read_senses(args.wordnet / "index.adj")
    counts = read_counts(args.wordnet / "cntlist.rev")
    heads = [senses[lemma][int(n) - 1] for g in rules["heads"].values() for lemma, n in re.findall(r"(\S+)#(\d+)", g)]
    listed = {*heads, *(to for head in heads for to in synsets[head].similar)}
    least = rules["least"]
    found = {
        word
        for offset in listed
        for word in synsets[offset].words
        if NAME.fullmatch(word)
        and zipf(word) >= least["zipf"]
        and share(word.lower(), senses[word.lower()], listed, counts) >= least["share"]
    }
    found |= {*words_of(vocabulary["words"]["added"]["adjectives"]), *words_of(rules["words"]["added"])}
    found -= {*words_of(rules["words"]["dropped"]), *rules["words"]["dropped"].replace(",", " ").split()}
    found -= set(vocabulary["words"]["unseemly"].split())
    ranked = sorted(((zipf(name), name) for name in found), key=lambda pair: (-pair[0], pair[1]))
    args.out.write_text("".join(f"{name}\t{z:.2f}\n" for z, name in ranked), encoding="utf-8")
    print(f"{args.out}: {len(ranked)} attributes")


if __name__ == "__main__":
    main()

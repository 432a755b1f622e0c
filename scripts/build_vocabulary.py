"""Make the shipped vocabulary, `naming/vocabularies/english.txt`, from WordNet 3.0 and word frequencies.

In: a folder with WordNet 3.0's dictionary files (`data.noun`, `index.noun`, `cntlist.rev`, `verb.exc`; Debian:
wordnet-base), the package `wordfreq`, and `vocabulary_rules.toml` beside this script. Out: one phrase a line,
`phrase<TAB>zipf`, the most frequent first, and WordNet's licence beside it.
Run: `python scripts/build_vocabulary.py --wordnet FOLDER` (Python >= 3.11).

A noun is taken when the senses that can be seen carry enough of its use. Senses are weighted by WordNet's counts of
tagged text, plus 1/2, 1/4, ... in WordNet's order, which decide where nothing was tagged.
"""

import argparse
import re
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import tomllib
from wordfreq import zipf_frequency

HERE = Path(__file__).resolve().parent
# the noun files of WordNet, 03 to 28
FILES = re.findall(
    r"\w+",
    "Tops act animal artifact attribute body cognition communication event feeling food group location motive object "
    "person phenomenon plant possession process quantity relation shape state substance time",
)
NounCounts = dict[tuple[str, int], int]
LEAST_SHARE = 0.3  # of a word's use that must fall on visible senses
NAME = re.compile(r"[a-z][a-z'_-]*[a-z][a-z'_-]*[a-z]|ox")
PARTICLE = re.compile(r"-(up|in|off|on|out|by|over|through|down|to|for|back|again)$|^(at|in|by|on|off)_")  # "take-up"
UNSEEMLY = re.compile(r"offensive|disparag|derogat|obscene|vulgar|\bslur\b|contemptuous|insult", re.IGNORECASE)


@dataclass(frozen=True)
class Synset:
    file: str
    words: list[str]
    hypernyms: list[str]
    instance: bool
    gloss: str


def zipf(phrase: str) -> float:
    """Zipf frequency: log10 of occurrences per 10^9 words.

    wordfreq knows words alone. A phrase gets what wordfreq infers from its words (their harmonic mean), less 1 for each
    further word, so that it stands below its parts as phrases do; 0 where a word is unknown.
    """
    parts = re.split(r"[ -]", phrase)
    return round(max(zipf_frequency(" ".join(parts), "en") - (len(parts) - 1), 0.0), 2)


def read_synsets(path: Path) -> dict[str, Synset]:
    """Noun synsets by offset, words as written (capitals kept, spaces for underscores)."""
    synsets = {}
    for line in path.open(encoding="ascii"):
        if line.startswith(" "):
            continue
        head, gloss = line.split(" | ", 1)
        field = head.split()
        n_words = int(field[3], 16)
        words = [field[4 + 2 * i].replace("_", " ") for i in range(n_words)]
        pointers = field[5 + 2 * n_words :]
        kinds = [(pointers[i], pointers[i + 1]) for i in range(0, len(pointers) - 3, 4)]
        hypernyms = [to for kind, to in kinds if kind == "@"]
        instance = any(kind == "@i" for kind, _ in kinds)
        synsets[field[0]] = Synset(FILES[int(field[1]) - 3], words, hypernyms, instance, gloss.strip())
    return synsets


def read_senses(path: Path) -> dict[str, list[str]]:
    """Offsets of a lemma's senses, in WordNet's order."""
    senses = {}
    for line in path.open(encoding="ascii"):
        if not line.startswith(" "):
            field = line.split()
            senses[field[0]] = field[-int(field[2]) :]
    return senses


def read_counts(path: Path) -> tuple[NounCounts, dict[str, int]]:
    """Tagged occurrences of (lemma, noun sense number), and of the lemma as another part of speech."""
    nouns: NounCounts = {}
    others: dict[str, int] = defaultdict(int)
    for line in path.open(encoding="ascii"):
        key, number, count = line.split()
        lemma, rest = key.rsplit("%", 1)
        if rest[0] == "1":
            nouns[lemma, int(number)] = int(count)
        else:
            others[lemma] += int(count)
    for line in (path.parent / "verb.exc").open(encoding="ascii"):
        others[line.split()[0]] += 3  # "felt", "drove", "saw": mostly the verb, which no count tells
    return nouns, others


class Rules:
    """`vocabulary_rules.toml`, with senses resolved to synsets."""

    def __init__(self, path: Path, synsets: dict[str, Synset], senses: dict[str, list[str]]) -> None:
        table = tomllib.loads(path.read_text(encoding="utf-8"))

        def offset(sense: str) -> str:
            lemma, number = sense.split("#")
            return senses[lemma][int(number) - 1]

        self.files: dict[str, list[float]] = table["files"]
        self.listed: dict[str, list[float] | None] = {offset(s): least for s, least in table["kept"].items()}
        self.listed |= {offset(s): None for s in table["dropped"]["senses"]}
        self.unseemly = set(table["words"]["unseemly"].split())
        self.useless = set(table["words"]["useless"].split())
        blocks = table["words"]["added"].values()
        self.added = [w.strip() for block in blocks for w in re.split(r"[,\n]", block) if w.strip()]
        self.synsets = synsets

    def is_blocked(self, name: str) -> bool:
        """Whether the name must not, or is not worth to, label what is in a photograph."""
        name = name.lower()
        return not self.unseemly.isdisjoint(re.split(r"[ -]", name)) or name.replace(" ", "_") in self.useless

    def least(self, offset: str) -> list[float] | None:
        """Least Zipf of (word, phrase) that lets a lemma of this synset in; None if it is not to be named."""
        front, seen = [offset], {offset}
        while front:
            verdicts = [self.listed[o] for o in front if o in self.listed]
            if verdicts:
                return None if None in verdicts else verdicts[0]
            front = [h for o in front for h in self.synsets[o].hypernyms if h not in seen]
            seen.update(front)
        return self.files.get(self.synsets[offset].file)


def visible_share(lemma: str, offsets: list[str], rules: Rules, nouns: NounCounts, others: dict[str, int]) -> float:
    """Share of the lemma's use, all parts of speech, that falls on senses which can be named."""
    weights = [nouns.get((lemma, i + 1), 0) + 0.5 ** (i + 1) for i in range(len(offsets))]
    seen = sum(w for w, offset in zip(weights, offsets, strict=True) if rules.least(offset) is not None)
    return seen / (sum(weights) + others.get(lemma, 0))


def spelling(lemma: str, synset: Synset) -> tuple[str, int]:
    """How WordNet writes the lemma in this synset, and its place among the synset's words."""
    for i, word in enumerate(synset.words):
        if word.lower() == lemma.replace("_", " "):
            return word, i
    raise ValueError(f"{lemma} is not a word of its synset")


def name_of(lemma: str, offsets: list[str], rules: Rules, nouns: NounCounts, others: dict[str, int]) -> str | None:
    """The lemma as a name, or None: no visible sense, a proper name, unseemly, or too rare."""
    if not NAME.fullmatch(lemma) or PARTICLE.search(lemma):
        return None
    if visible_share(lemma, offsets, rules, nouns, others) < LEAST_SHARE:
        return None
    for offset in offsets:
        synset, least = rules.synsets[offset], rules.least(offset)
        if UNSEEMLY.search(synset.gloss):
            return None
        if least is None or synset.instance:
            continue
        word, place = spelling(lemma, synset)
        parts = re.split(r"[ -]", word)
        capitals = any(part[0].isupper() for part in parts)  # "German shepherd" is a name, "Dalmatian" not
        if capitals and (len(parts) == 1 or parts[-1][0].isupper() or synset.file == "person"):
            continue
        # of a synset's phrases the first alone: the others are mostly names that nobody uses
        if len(parts) > 1 and place > 0 and not nouns.get((lemma, offsets.index(offset) + 1)):
            continue
        if zipf(word) >= least[len(parts) > 1]:
            return word
    return None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--wordnet", type=Path, required=True, help="folder with WordNet 3.0's dictionary files")
    parser.add_argument("--out", type=Path, default=HERE.parent / "naming" / "vocabularies" / "english.txt")
    args = parser.parse_args()
    synsets, senses = read_synsets(args.wordnet / "data.noun"), read_senses(args.wordnet / "index.noun")
    nouns, others = read_counts(args.wordnet / "cntlist.rev")
    rules = Rules(HERE / "vocabulary_rules.toml", synsets, senses)
    names = {name for lemma, offsets in senses.items() if (name := name_of(lemma, offsets, rules, nouns, others))}
    names = {n for n in names | set(rules.added) if not rules.is_blocked(n)}
    ranked = sorted(((zipf(name), name) for name in names), key=lambda pair: (-pair[0], pair[1]))
    if len({name.lower() for _, name in ranked}) < len(ranked):
        raise SystemExit("two names differ by capitals alone; add one of them to `useless` in vocabulary_rules.toml")
    args.out.write_text("".join(f"{name}\t{z:.2f}\n" for z, name in ranked), encoding="utf-8")
    header = [line for line in (args.wordnet / "data.noun").open(encoding="ascii") if line.startswith(" ")]
    licence = "".join(re.sub(r"^ *\d+ ?", "", line).rstrip() + "\n" for line in header)
    args.out.with_name("WORDNET-LICENSE.txt").write_text(licence, encoding="utf-8")
    print(f"{args.out}: {len(ranked)} phrases")


if __name__ == "__main__":
    main()

"""When two phrases are one word in another form: plural and singular, hyphen and space, British and American spelling.

In: a phrase. Out: a key, equal for forms of one word. It is meant for comparing, not for showing: rules, no dictionary.
"""

import re
import unicodedata

IRREGULAR = {
    "men": "man", "women": "woman", "people": "person", "children": "child", "feet": "foot", "teeth": "tooth",
    "geese": "goose", "mice": "mouse", "oxen": "ox", "leaves": "leaf", "wolves": "wolf", "knives": "knife",
    "wives": "wife", "shelves": "shelf", "halves": "half", "loaves": "loaf", "calves": "calf", "hooves": "hoof",
    "scarves": "scarf", "elves": "elf", "tomatoes": "tomato", "potatoes": "potato", "mangoes": "mango",
    "mosquitoes": "mosquito", "volcanoes": "volcano", "buffaloes": "buffalo", "grey": "gray",
    "lens": "lens", "lenses": "lens",
}  # fmt: skip
ENDINGS = (
    (re.compile(r"(\w\w)ies$"), r"\1y"),
    (re.compile(r"(ch|sh|x|z|ss)es$"), r"\1"),
    (re.compile(r"([^sui'])s$"), r"\1"),
)
ALIKE = ((re.compile(r"(\w\w)ie$"), r"\1y"), (re.compile(r"se$"), "s"))
"""Ends that plurals do not keep apart: "cookies" may be of "cookie" or "cooky", "buses" of "bus" or "buse"."""
SPELLINGS = ((re.compile(r"(\w\w)our$"), r"\1or"), (re.compile(r"(\w)tre$"), r"\1ter"))


def word_key(phrase: str) -> str:
    """The same key for "palm trees", "Palm tree" and "palm-tree"; for "colour" and "color"."""
    words = re.split(r"[\s-]+", unicodedata.normalize("NFKC", phrase).casefold().strip())
    return "".join([*map(_spelling, words[:-1]), _spelling(_singular(words[-1]))])


def _singular(word: str) -> str:
    if word in IRREGULAR:
        return IRREGULAR[word]
    for ending, replacement in ENDINGS:
        word, found = ending.subn(replacement, word)
        if found:
            break
    for ending, replacement in ALIKE:
        word = ending.sub(replacement, word)
    return word


def _spelling(word: str) -> str:
    for ending, replacement in SPELLINGS:
        word = ending.sub(replacement, word)
    return IRREGULAR.get(word, word)

"""Titles that say what a concept is part of, and that tell concepts of one name apart: "wheel of a car", "of a bus".

In: names of concepts, of what they are part of and of what they are a kind of. Out: titles. English, by rules and
short lists; what they get wrong is an article.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence

from .wordforms import word_key

UNCOUNTED = set(
    "air art asphalt bacon bamboo bread broccoli butter cardboard cement chalk champagne cheese chocolate clay "
    "cloth clothing coal coffee concrete coral corn cotton cream denim dirt dough dust equipment fabric flesh "
    "flour foam fog foliage food fruit fur furniture garlic gear gold graffiti grain grass gravel hail hair hay "
    "honey ice iron ivory ivy jewelry juice lace land lava leather lettuce lightning linen litter lumber luggage "
    "makeup marble meat metal milk mist moss mud music oil paint paper pasta pavement plastic plywood pollen "
    "porcelain pottery rain rice rubber rust salad salt sand sauce scenery seafood seaweed seating shade silk "
    "silver skin smoke snow soap soil soup sport steam steel straw sugar surf tar tea text thread timber tissue "
    "traffic turf undergrowth underwear vegetation velvet water weather wheat wicker wine wood wool "
    "writing yarn".split()
)
"""Stuff: words that stand without an article."""
ONLY_ONE = set("sky sea ocean ground sun moon earth world horizon background foreground".split())
"""There is one in a picture: words that stand with "the"."""
PLURAL = set("cattle children deer feet geese men mice oxen people police sheep teeth women".split())
NO_PLURAL = re.compile(r"(ss|us|is|lens|canvas|atlas|gas|news|christmas)$")
THINGS = re.compile(
    r"(build|ceil|paint|rail|awn|earr|wedd|dwell|cross|draw|carv|engrav|mould|mold|dress|pudd|duckl|dumpl)ing$"
)
"""Things in -ing of more than six letters; the others are what is done, and stand without an article."""
VOWEL_SOUND = re.compile(r"hour|honest|heir|honou?r|x-?ray|8")
CONSONANT_SOUND = re.compile(r"uni(?![nmd])|us[eu]|ut[ei]|uk|ur[aeiu]|eu|ewe|one(s|\b)|once")
LETTERS_WITH_VOWEL = "AEFHILMNORSX"
PREPOSITION = re.compile(r" (?:of|in|on|at|with|for|from|by|near|under|over|behind|without|to) ")


def with_article(phrase: str) -> str:
    """The phrase as it stands in a sentence: "a car", "an owl", "the sky"; plurals, stuff and actions as they are."""
    words = PREPOSITION.split(phrase)[0].casefold().split()
    head = words[-1] if words else ""
    if head in ONLY_ONE:
        return f"the {phrase}"
    plural = head in PLURAL or (head.endswith("s") and not NO_PLURAL.search(head))
    action = head.endswith("ing") and len(head) > 6 and not THINGS.search(head)
    if plural or action or head in UNCOUNTED or not head[:1].isascii() or not head:
        return phrase
    return f"{'an' if _sounds_like_vowel(phrase) else 'a'} {phrase}"


def _sounds_like_vowel(phrase: str) -> bool:
    first = re.split(r"[\s-]", phrase)[0]
    if len(first) > 1 and first.isupper():  # said letter by letter
        return first[0] in LETTERS_WITH_VOWEL
    said = phrase.casefold()
    return bool(VOWEL_SOUND.match(said)) or (said[0] in "aeiou" and not CONSONANT_SOUND.match(said))


def of_parent(name: str, parent: str) -> str:
    """What a part is called by its whole: of_parent("wheel", "car") is "wheel of a car".

    The name as it is where it says the whole already ("car wheel" of a car), or is the same word.
    """
    inside = {word_key(word) for word in re.split(r"[\s-]+", name) if word}
    if word_key(parent) in {*inside, word_key(name)} or word_key(name) == word_key(parent.split()[-1]):
        return name
    return f"{name} of {with_article(parent)}"


def tell_apart(
    names: Sequence[str | None],
    wholes: Sequence[Sequence[str]],
    kinds: Sequence[Sequence[str]],
    phrases: Sequence[Sequence[str]],
) -> list[str | None]:
    """Titles for concepts of which several may have one name; all arguments have an entry a concept.

    Concepts whose names are forms of one word are told apart by the first of these that makes them differ: what they
    are part of (`wholes`: "wheel of a car"), more exact phrases (`phrases`, such as `compose` finds: "rusty wheel"),
    what they are a kind of (`kinds`: "bass (fish)"). A title that another concept has already is not taken, and where
    nothing differs, the name stays.
    """
    titles = list(names)
    groups = defaultdict(list)
    for concept, name in enumerate(names):
        if name is not None:
            groups[word_key(name)].append(concept)
    taken = set(groups)
    for group in groups.values():
        if len(group) > 1:
            ways = {c: _ways(names[c] or "", wholes[c], phrases[c], kinds[c]) for c in group}
            _tell_group_apart(group, ways, titles, taken)
    return titles


def _ways(name: str, wholes: Sequence[str], phrases: Sequence[str], kinds: Sequence[str]) -> list[list[str]]:
    """Titles by each way of telling apart, the best first."""
    return [
        [of_parent(name, whole) for whole in wholes],
        list(phrases),
        [f"{name} ({kind})" for kind in kinds if word_key(kind) != word_key(name)],
    ]


def _tell_group_apart(
    group: list[int], ways: dict[int, list[list[str]]], titles: list[str | None], taken: set[str]
) -> None:
    """Give each of the group the first title, way after way, that no other concept has or could have by that way."""
    left = list(group)
    for way in range(3):
        shared: dict[str, set[int]] = defaultdict(set)
        for concept in left:
            for title in ways[concept][way]:
                shared[word_key(title)].add(concept)
        for concept in list(left):
            for title in ways[concept][way]:
                key = word_key(title)
                if len(shared[key]) == 1 and key not in taken:
                    titles[concept] = title
                    taken.add(key)
                    left.remove(concept)
                    break
        if len(left) < 2:  # one may keep the bare name
            return

"""Prompts: how classes and descriptors are said to a text encoder, each form as the method that it comes from has it.

In: a class in words ("kit fox"), and descriptors ("two wings"). Out: a text. English, by rules and short lists.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Literal, TypeAlias

from naming import with_article
from sae.errors import InsightError

if TYPE_CHECKING:
    from ...backbones.text_towers import TextTower

Rule: TypeAlias = Literal["grammatical", "published"]
"""How "which is" and "which has" are told apart; see `which`."""

COUNTED = re.compile(r"(?:an?|the|one|two|three|four|five|six|eight|many|several|some|no|its|their) ")
KIND = re.compile(
    r"\b(?:animal|mammal|bird|fish|insect|reptile|amphibian|arachnid|creature|predator|herbivore|carnivore|rodent|feline|"
    r"canine|primate|vehicle|aircraft|machine|device|instrument|tool|weapon|building|structure|plant|shrub|vegetable|"
    r"fungus|dish|dessert|drink|garment|breed|species|type|kind|member|lesion|mole|tumou?r)$"
)
"""What a class is rather than has, where a descriptor with an article ends in it: "a small mammal"."""
VERB = re.compile(
    r"(?:is|are|has|have|can(?! of )|may|might|must|will|lives?|grows?|looks?|comes?|contains?|consists?|belongs?|"
    r"occurs?|appears?|resembles?|eats?|swims?|hangs?|includes?) "
)
ADVERB = re.compile(
    r"(?:often|usually|typically|sometimes|generally|commonly|mostly|normally|rarely|always|frequently|possibly) ", re.I
)
LOOKS = frozenset(
    "red orange yellow green blue purple violet pink brown black white grey gray golden silver dark light pale bright "
    "large small big little tall short long thin thick wide narrow round square oval flat sharp soft hard smooth rough "
    "shiny furry fluffy hairy scaly slimy wet dry hollow heavy curly tiny huge made found worn seen built grown".split()
)
LOOK_ENDING = re.compile(r"(?:ed|ous|ish|ic|ical|ular|less|ful|able|ible|-like)$")
NOUNS = frozenset(
    "bed seabed flatbed seed reed weed seaweed sled shed feed speed steed fabric music attic plastic mosaic comic "
    "clinic tunic relic ceramic traffic table cable stable radish handful".split()
)
"""Nouns that end as adjectives do."""
BEHIND_HEAD = re.compile(
    r",? (?:of|in|on|at|with|for|from|by|near|under|over|behind|without|to|than|as|like|around|across|into|that|which) "
)
BETWEEN_LOOKS = re.compile(r",? (?:and|or) |, ")


def photo_of(words: str) -> str:
    """ "a photo of an owl"; a plural, stuff and a name that has an article stand as they are."""
    return f"a photo of {_with_article(words)}"


def which(words: str, descriptor: str, rule: Rule = "grammatical") -> str:
    """ "owl, which has two wings": the prompt of Menon and Vondrick (2023), of DEAL's evaluation too.

    rule: "published" says "is" before whatever begins with the letter a or with "used", and nothing before has, often,
    typically, may and can; so "antlers" become "which is antlers", and "a tail" "which is a tail". "grammatical" says
    "is" before looks ("asymmetric") and kinds ("a small mammal"), nothing before a verb, and "has" before the rest.
    `InsightError` for another rule.
    """
    if rule == "published":
        return f"{words}, which {_published(descriptor)}"
    if rule == "grammatical":
        verbs = ("are", "have") if _is_plural(words) else ("is", "has")
        return f"{words}, which {_grammatical(descriptor, *verbs)}"
    raise InsightError(f'rule: expected "grammatical" or "published", found {rule!r}')


def caption(words: str, descriptors: Sequence[str]) -> str:
    """ "owl. It may contain two wings, a beak.": DEAL's rich caption, whose own words are "It may contains"."""
    return f"{words}. It may contain {', '.join(descriptors)}." if descriptors else f"{words}."


def clinical(words: str, descriptors: Sequence[str]) -> str:
    """ "a photo of a pneumonia, alveolar consolidation, air bronchograms": XCoOp's hard prompt."""
    return ", ".join([photo_of(words), *descriptors])


def because(descriptor: str, words: str | None = None) -> str:
    """ "This is a photo of an owl because there is a beak": Why Prompt and ECOR; without a class "of something"."""
    return f"This is a photo of {_with_article(words) if words else 'something'} because there is {descriptor}"


def check_length(tower: TextTower, texts: Iterable[str]) -> None:
    """`InsightError`, with the longest, if a text has more tokens than the tower reads: it would be cut silently."""
    lengths = {text: tower.length(text) for text in texts}
    over = [text for text, length in lengths.items() if length > tower.context_length]
    if over:
        worst = max(over, key=lengths.__getitem__)
        raise InsightError(
            f"expected prompts of at most {tower.context_length} tokens, found {len(over)} longer ones, the longest of"
            f" {lengths[worst]}: {worst!r}; shorten its descriptors, or take fewer"
        )


def _with_article(words: str) -> str:
    return words if re.match(r"(?:an?|the) ", words, re.IGNORECASE) else with_article(words)


def _is_plural(words: str) -> bool:
    return words.endswith("s") and not words.endswith("ss") and with_article(words) == words


def _published(descriptor: str) -> str:
    """The rule as published: it looks at letters, not at words."""
    if descriptor.startswith(("a", "used")):
        return f"is {descriptor}"
    return descriptor if descriptor.startswith(("has", "often", "typically", "may", "can")) else f"has {descriptor}"


def _grammatical(descriptor: str, is_: str, has: str) -> str:
    """The descriptor with a verb, which is `is_`, `has` or its own."""
    said = descriptor.casefold()
    if VERB.match(said):
        return descriptor
    if adverb := ADVERB.match(descriptor):  # "is often striped", but "often has stripes"
        often, rest = adverb.group(), descriptor[adverb.end() :]
        stands = _is_said_of(rest.casefold()) and not VERB.match(rest.casefold())
        return f"{is_} {descriptor}" if stands else often + _grammatical(rest, is_, has)
    return f"{is_ if _is_said_of(said) else has} {descriptor}"


def _is_said_of(descriptor: str) -> bool:
    """Whether a descriptor is what the class is, a kind or a look, and not what it has."""
    head = BEHIND_HEAD.split(descriptor)[0].rstrip(".")
    if COUNTED.match(descriptor):
        return bool(KIND.search(head))
    return all(_is_look(part.split()[-1]) for part in BETWEEN_LOOKS.split(head) if part.split())


def _is_look(word: str) -> bool:
    return word in LOOKS or (bool(LOOK_ENDING.search(word)) and word not in NOUNS and not word.endswith("fish"))

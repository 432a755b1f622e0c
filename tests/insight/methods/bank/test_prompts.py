"""Prompts are said as the papers say them, with the right article and the right verb."""

import pytest

from insight.methods.bank import because, caption, clinical, photo_of, which
from sae.errors import InsightError


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("owl", "a photo of an owl"),
        ("kit fox", "a photo of a kit fox"),
        ("pneumonia", "a photo of a pneumonia"),
        ("healthy lungs", "a photo of healthy lungs"),
        ("unicorn", "a photo of a unicorn"),
        ("The Shire", "a photo of The Shire"),
        ("an owl", "a photo of an owl"),
        ("atypical nevus", "a photo of an atypical nevus"),
    ],
)
def test_a_photo_has_the_right_article(words: str, said: str) -> None:
    assert photo_of(words) == said


HAS = [
    "two wings",
    "a long tail",
    "antlers",
    "asymmetric ears",
    "black, grey, white, or brown fur",
    "large, round eyes",
    "a bed for carrying cargo",
    "bed for carrying cargo",
    "cans of food",
    "can of soda",
    "island nearby",
    "the head of a lion",
    "an unusual colour",
    "webbed feet",
    "short fur that is black and red",
]
IS = [
    "asymmetric",
    "green, brown, or grey",
    "brown or reddish brown",
    "a small mammal",
    "a large, four-legged mammal",
    "an animal with hooves",
    "covered in feathers",
    "used to carry water",
    "made of metal",
    "Red",
]
NOTHING = ["is red", "can fly", "has two wings", "may have a black tip", "lives in water"]


@pytest.mark.parametrize(
    ("descriptor", "verb"), [*((d, "has ") for d in HAS), *((d, "is ") for d in IS), *((d, "") for d in NOTHING)]
)
def test_which_has_the_verb_that_the_descriptor_needs(descriptor: str, verb: str) -> None:
    assert which("owl", descriptor) == f"owl, which {verb}{descriptor}"


def test_which_puts_often_where_it_belongs() -> None:
    assert which("bird", "often brightly colored") == "bird, which is often brightly colored"
    assert which("bird", "often a red beak") == "bird, which often has a red beak"
    assert which("bird", "typically has a red beak") == "bird, which typically has a red beak"


def test_which_agrees_with_plurals() -> None:
    assert which("healthy lungs", "ribs") == "healthy lungs, which have ribs"
    assert which("scissors", "asymmetric") == "scissors, which are asymmetric"
    assert which("moss", "thin stems") == "moss, which has thin stems"
    assert which("cypress", "thin stems") == "cypress, which has thin stems"


@pytest.mark.parametrize(
    ("descriptor", "clause"),
    [
        ("antlers", "is antlers"),
        ("asymmetric outline", "is asymmetric outline"),
        ("a tail", "is a tail"),
        ("used to carry", "is used to carry"),
        ("often red", "often red"),
        ("candles", "candles"),
        ("hastate leaves", "hastate leaves"),
        ("two wings", "has two wings"),
        ("is red", "has is red"),
        ("Antlers", "has Antlers"),
    ],
)
def test_the_published_rule_looks_at_letters(descriptor: str, clause: str) -> None:
    assert which("owl", descriptor, rule="published") == f"owl, which {clause}"


def test_a_rule_that_is_none_is_refused() -> None:
    with pytest.raises(InsightError, match='expected "grammatical" or "published", found \'other\''):
        which("owl", "wings", rule="other")  # type: ignore[arg-type]


def test_a_caption_lists_the_concepts() -> None:
    assert caption("owl", ["a beak", "two wings"]) == "owl. It may contain a beak, two wings."
    assert caption("owl", []) == "owl."


def test_a_clinical_prompt_lists_the_concepts_after_the_photo() -> None:
    assert clinical("pneumonia", ["hazy shadows", "fluid"]) == "a photo of a pneumonia, hazy shadows, fluid"
    assert clinical("owl", []) == "a photo of an owl"


def test_a_rationale_is_said_with_and_without_its_class() -> None:
    assert because("a beak") == "This is a photo of something because there is a beak"
    assert because("a beak", "owl") == "This is a photo of an owl because there is a beak"

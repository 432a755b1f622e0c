"""word_key joins the forms of one word and leaves different words apart."""

import pytest

from naming import word_key


@pytest.mark.parametrize(
    "forms",
    [
        ("dog", "dogs", "Dogs", " dog "),
        ("palm tree", "palm trees", "palm-tree", "palmtree"),
        ("church", "churches"),
        ("berry", "berries"),
        ("fox", "foxes"),
        ("glass", "glasses"),
        ("leaf", "leaves"),
        ("woman", "women"),
        ("bird feeder", "bird feeders"),
        ("colour", "color", "colours"),
        ("theatre", "theater"),
        ("gray wolf", "grey wolf", "grey wolves"),
        ("potato", "potatoes"),
        ("hoodie", "hoodies"),
        ("bus", "buses"),
        ("lens", "lenses"),
        ("horse", "horses"),
    ],
)
def test_forms_of_one_word_share_a_key(forms):
    assert len({word_key(form) for form in forms}) == 1


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("dog", "cat"),
        ("bus", "bush"),
        ("tie", "ties up"),
        ("cactus", "cacti top"),
        ("palm", "palm tree"),
        ("ox", "fox"),
        ("hors", "horn"),
        ("lens", "len"),
    ],
)
def test_different_words_have_different_keys(one, other):
    assert word_key(one) != word_key(other)


@pytest.mark.parametrize("phrase", ["s", "🦜", "שלום", "a" * 10_000, "-", "ss", "ies"])
def test_any_phrase_has_a_key(phrase):
    assert isinstance(word_key(phrase), str)

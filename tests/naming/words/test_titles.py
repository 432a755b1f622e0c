"""Titles: articles as people write them, parts by their wholes, concepts of one name told apart where they differ."""

import pytest

from naming import of_parent, tell_apart, with_article


@pytest.mark.parametrize(
    "phrase",
    "an apple|an hour|an honest man|a university|a unicorn|a uniform|an umbrella|an unmade bed|"
    "a used car|a one-way street|a European bison|an x-ray|an LED light|an SUV|a TV|a USB stick|a ewe|"
    "an heirloom|a honeycomb|a urinal|an urn|an 8-ball|the sky|the night sky|a bunch of bananas|"
    "scissors|grass|tall grass|a bus|a dress|a lens|glasses|people|a gray wolf|a painting|"
    "a building|skateboarding|a ring|sheep|an oil painting|feet|an octopus|clothes|man in a suit".split("|"),
)
def test_a_phrase_stands_with_its_article(phrase):
    bare = phrase.removeprefix("an ").removeprefix("a ").removeprefix("the ")
    expected = phrase if phrase != "man in a suit" else "a man in a suit"
    assert with_article(bare) == expected


@pytest.mark.parametrize(
    ("name", "parent", "title"),
    [
        ("wheel", "car", "wheel of a car"),
        ("leaf", "trees", "leaf of trees"),
        ("blade", "grass", "blade of grass"),
        ("cloud", "sky", "cloud of the sky"),
        ("car wheel", "car", "car wheel"),
        ("wheel", "wheels", "wheel"),
        ("wheel", "bicycle wheel", "wheel"),
        ("🛞", "🚗", "🛞 of 🚗"),
        ("גלגל", "מכונית", "גלגל of מכונית"),
    ],
)
def test_a_part_is_called_by_its_whole(name, parent, title):
    assert of_parent(name, parent) == title


def apart(*rows):
    """Titles of concepts given as (name, wholes, kinds, phrases)."""
    names, wholes, kinds, phrases = zip(*rows)
    return tell_apart(names, wholes, kinds, phrases)


def test_a_name_that_only_one_has_stays():
    assert apart(("wheel", ["car"], [], []), ("dog", [], ["animal"], ["old dog"])) == ["wheel", "dog"]


def test_what_a_concept_is_part_of_comes_first():
    assert apart(("wheel", ["car"], ["part"], ["old wheel"]), ("wheels", ["bus"], [], [])) == [
        "wheel of a car",
        "wheels of a bus",
    ]


def test_one_of_several_may_keep_the_name():
    assert apart(("wheel", ["car"], [], []), ("wheel", [], [], [])) == ["wheel of a car", "wheel"]


def test_a_shared_whole_does_not_tell_apart_and_the_next_way_may():
    rows = [
        ("wheel", ["car"], [], ["rusty wheel"]),
        ("wheel", ["car"], [], []),
        ("wheel", ["car", "bus"], ["toy"], []),
        ("wheel", ["car"], ["wheel", "toy"], []),
    ]
    assert apart(*rows) == ["rusty wheel", "wheel", "wheel of a bus", "wheel (toy)"]


def test_no_title_is_another_concepts_name():
    rows = [("wheel", [], [], ["rusty wheel"]), ("wheel", [], [], []), ("rusty wheels", [], [], [])]
    assert apart(*rows) == ["wheel", "wheel", "rusty wheels"]


def test_unnamed_concepts_stay_unnamed():
    assert apart((None, ["car"], [], []), (None, [], [], ["x"])) == [None, None]
    assert tell_apart([], [], [], []) == []

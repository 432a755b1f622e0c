"""What relations add to names: told apart by what WordNet knows as a whole or a kind; clues for a language model."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.sparse import csr_array

from naming import KINDS, ConceptGraph, Names, clues_of, prompt_of, titles_of
from naming.relations.edges import Edges

WHEEL, CAR, OTHER_WHEEL, TRAIN, DOG, STREET, SILENT = range(7)
NAMES = ["wheel", "car", "wheels", "train", "dog", "street", None]


@pytest.fixture
def graph() -> ConceptGraph:
    """A wheel of a car, another wheel, which is a kind of train and a part of nothing, and a dog, part of a street."""
    child, parent = np.array([WHEEL, OTHER_WHEEL, DOG]), np.array([CAR, TRAIN, STREET])
    kinds = np.array([KINDS.index(kind) for kind in ("part-of", "kind-of", "part-of")], dtype=np.int8)
    edges = replace(Edges.unmeasured(child, parent, np.full(3, 0.9)), kind=kinds)
    nothing = csr_array((7, 7), dtype=np.float32)
    return ConceptGraph.from_edges(
        edges, direct=np.ones(3, bool), frequency=np.arange(7, 0, -1), tokens=100, mean_codes=nothing
    )


def test_names_that_two_concepts_share_are_told_apart_by_what_is_so(graph):
    assert titles_of(NAMES, graph) == ["wheel of a car", "car", "wheels", "train", "dog", "street", None]


def test_a_whole_without_a_name_tells_nothing_apart(graph):
    unsure = [name if i != CAR else None for i, name in enumerate(NAMES)]
    assert titles_of(unsure, graph) == unsure


def test_where_a_thing_stands_is_not_what_it_is_part_of(graph):
    two_dogs = [*NAMES[:CAR], "dog", *NAMES[CAR + 1 :]]
    assert titles_of(two_dogs, graph)[DOG] == "dog"  # of a street, by the graph


def test_another_word_for_the_same_thing_is_no_kind_of_it(graph):
    two_trains = ["railroad train" if i == OTHER_WHEEL else name for i, name in enumerate(NAMES)]
    two_trains[DOG] = "railroad train"
    assert titles_of(two_trains, graph)[OTHER_WHEEL] == "railroad train"  # a kind of "train", by the graph


def test_composed_phrases_tell_apart_what_relations_do_not(graph):
    two_dogs = [*NAMES[:CAR], "dog", *NAMES[CAR + 1 :]]
    composed = [None, None, None, None, "wet dog", None, None]
    titles = titles_of(two_dogs, graph, composed)
    assert (titles[CAR], titles[DOG]) == ("dog", "wet dog")


def test_a_language_model_is_told_of_phrases_and_relatives(graph):
    phrases = tuple((name, f"old {name}") if name else () for name in NAMES)
    names = Names(phrases, tuple((0.5, 0.25) if row else () for row in phrases))
    clues = clues_of(names, graph)
    assert [clue.candidates for clue in clues] == list(phrases)
    assert (clues[WHEEL].parents, clues[CAR].children) == (("car",), ("wheel",))
    assert '"car"' in prompt_of(clues[WHEEL])
    assert (clues[SILENT].candidates, clues[SILENT].parents) == ((), ())

"""Edits of concepts that relating had found to be synonyms, or to stand beside each other."""

from pathlib import Path

import numpy as np
import pytest
from scipy.sparse import csr_array, eye_array

from insight import ConceptModel, Edits
from naming import ConceptGraph
from naming.relations.context import ContextPairs
from naming.relations.edges import Edges

from .random_models import CONCEPTS, random_dictionary, write_model


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """10 belongs to 3, 3 to 0; 4 and 5 are synonyms of 3; 9 stands beside 1, 2 and 8, and 6 beside 7."""
    synonyms = np.arange(CONCEPTS, dtype=np.int32)
    synonyms[[4, 5]] = 3
    pairs = np.array([[1, 9], [2, 9], [8, 9], [6, 7]], np.int32)
    graph = ConceptGraph.from_edges(
        Edges.unmeasured(np.array([10, 3]), np.array([3, 0]), np.array([0.8, 0.9])),
        direct=np.ones(2, bool),
        frequency=np.arange(100, 100 + CONCEPTS),
        tokens=10_000,
        mean_codes=csr_array(eye_array(CONCEPTS, dtype=np.float32)),
        synonyms=synonyms,
        contexts=ContextPairs(pairs, np.float32([[0.3, 0.4]] * 4), np.float32([9, 8, 7, 6]), np.zeros(4)),
    )
    write_model(tmp_path / "model", random_dictionary(np.random.default_rng()), graph)
    return tmp_path / "model"


def relations(folder: Path) -> ConceptGraph:
    return ConceptModel.from_pretrained(folder).relations


def test_a_merged_synonym_stands_for_its_group(folder: Path) -> None:
    edits = Edits(folder)
    edits.relate(12, 11, "kind-of")
    edits.merge(4, 12)
    graph = relations(folder)
    assert graph.parents(10).tolist() == [4]
    for concept in (3, 4, 5, 12):
        assert sorted(graph.parents(concept).tolist()) == [0, 11]
        assert graph.children(concept).tolist() == [10]
    assert graph.synonyms_of(4).tolist() == [3, 5, 12]
    assert sorted(graph.children(0).tolist() + graph.children(11).tolist()) == [4, 4]


def test_the_relations_of_a_group_stay_when_one_of_it_is_hidden(folder: Path) -> None:
    edits = Edits(folder)
    edits.hide(3)
    graph = relations(folder)
    assert graph.parents(10).tolist() == [5]  # the most frequent that is left
    assert graph.parents(4).tolist() == [0]
    assert graph.synonyms_of(4).tolist() == [5]
    assert graph.parents(3).tolist() == graph.children(3).tolist() == []
    edits.hide(4)
    edits.hide(5)
    assert relations(folder).parents(10).tolist() == []


def test_an_edge_of_a_synonym_is_one_of_its_group(folder: Path) -> None:
    Edits(folder).relate(4, 13, "part-of")
    graph = relations(folder)
    assert graph.parents(3, "part-of").tolist() == [13]
    assert graph.edge(5, 13).kind == "part-of"


def test_context_follows_what_is_merged_and_hidden(folder: Path) -> None:
    edits = Edits(folder)
    edits.merge(2, 1)
    edits.merge(6, 7)
    graph = relations(folder)
    assert graph.context(9).tolist() == [2, 8]
    assert graph.context(2).tolist() == [9]
    assert graph.context(6).tolist() == []
    edits.hide(9)
    graph = relations(folder)
    assert graph.context(2).tolist() == graph.context(8).tolist() == []


def test_context_keeps_which_share_is_whose(folder: Path) -> None:
    Edits(folder).merge(20, 1)
    contexts = relations(folder).contexts
    rows = {tuple(pair): beside.tolist() for pair, beside in zip(contexts.pairs.tolist(), contexts.beside)}
    assert rows[9, 20] == pytest.approx([0.4, 0.3])
    assert rows[2, 9] == pytest.approx([0.3, 0.4])

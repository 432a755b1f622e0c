"""`relations.npz`: what is saved is read back, and what is not as it should be is refused in one line."""

import re

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

from naming import ConceptGraph, build_graph, published_graph
from naming.relations.context import ContextPairs
from sae import InsightError

from ..stand_in import nested_dense
from .material import gathered, graphs, related
from .worlds import world

ARRAYS = ["offsets", "parent_ids", "weights", "direct", "kind", "lift", "q_value", "support", "cover", "cover_spread"]


def same(one: ConceptGraph, other: ConceptGraph) -> bool:
    names = (*ARRAYS, "frequency", "synonyms")
    return all(np.array_equal(getattr(one, n), getattr(other, n), equal_nan=True) for n in names) and all(
        np.array_equal(getattr(one.contexts, n), getattr(other.contexts, n))
        for n in ("pairs", "beside", "lift", "q_value")
    )


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(graphs())
def test_a_saved_graph_is_read_back(tmp_path, graph):
    graph.save(tmp_path / "relations.npz")
    assert same(ConceptGraph.load(tmp_path / "relations.npz"), graph)


def test_context_pairs_mean_codes_and_counts_are_read_back(generator, tmp_path):
    planted = world(generator, 400)
    graph = build_graph(gathered(planted.codes, planted.grid), planted.levels)
    assert len(graph.contexts) > 0
    graph.save(tmp_path / "relations.npz")
    loaded = ConceptGraph.load(tmp_path / "relations.npz")
    assert same(loaded, graph)
    assert loaded.tokens == len(planted.codes)
    assert np.array_equal(loaded.mean_codes.toarray(), graph.mean_codes.toarray())
    assert loaded.titles is None


@pytest.fixture
def saved(generator, tmp_path):
    path = tmp_path / "relations.npz"
    published_graph(*related(nested_dense(generator, 200, 8)), threshold=0.2).save(path)
    with np.load(path, allow_pickle=False) as file:
        return path, dict(file)


def test_the_file_is_plain_arrays_under_the_documented_names(saved):
    _, arrays = saved
    assert {"format_version", "offsets", "parents", "weights", "direct", "kind", "frequency", "tokens"} <= set(arrays)
    assert {"mean_offsets", "mean_concepts", "mean_activations", "synonyms", "context_pairs"} <= set(arrays)


def test_a_file_of_an_earlier_version_says_what_to_do(saved):
    path, arrays = saved
    old = ["offsets", "parents", "weights", "direct", "frequency", "tokens"]
    np.savez(path, **{name: arrays[name] for name in (*old, "mean_offsets", "mean_concepts", "mean_activations")})
    with pytest.raises(InsightError, match=r"relations\.npz: .*earlier version.*insight relate MODEL CACHE"):
        ConceptGraph.load(path)
    np.savez(path, **{**arrays, "format_version": np.array(99)})
    with pytest.raises(InsightError, match=r"format 2, found 99; .*insight relate"):
        ConceptGraph.load(path)


def test_a_file_at_odds_with_itself_is_refused(saved):
    path, arrays = saved
    wrong = {
        "parents": arrays["parents"] + 100,
        "offsets": arrays["offsets"][:-1],
        "direct": np.array([True]),
        "kind": arrays["kind"] + 7,
        "lift": arrays["lift"][:-1],
        "synonyms": np.roll(arrays["synonyms"], 1),
        "context_pairs": np.array([[0, 1]], np.int32),
        "mean_concepts": arrays["mean_concepts"] - 5,
    }
    for name, values in wrong.items():
        np.savez(path, **{**arrays, name: values})
        with pytest.raises(InsightError, match=r"relations\.npz.*8 concepts") as caught:
            ConceptGraph.load(path)
        assert not re.search(r"\n", str(caught.value))


def test_a_missing_and_a_damaged_file_are_refused(saved, tmp_path):
    path, _ = saved
    path.write_bytes(path.read_bytes()[:200])
    for broken in (path, tmp_path / "nothing.npz"):
        with pytest.raises(InsightError, match="insight relate"):
            ConceptGraph.load(broken)


def test_no_context_pairs_are_an_empty_table():
    assert len(ContextPairs.none()) == 0
    assert ContextPairs.none().of(3).tolist() == []

"""Exports are read again by other tools, whatever a name holds."""

import re
from dataclasses import replace

import networkx
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from naming import ConceptGraph, build_graph
from naming.relations.export import plain
from naming.relations.mermaid import label

from .material import gathered, graphs
from .worlds import World, world

NASTY = [
    'say "beak"',
    "a [b] {c} (d) <e> |f|",
    "]]> <!-- & &amp; -->",
    "%% comment; end\nsubgraph x",
    "```mermaid",
    "🦆🏽‍♀️",
    "מקור של ברווז",
    "\u202eturned round",
    "null\x00bell\x07\ud800\uffff\ufdd0",
    "\r\n\t\u2028two lines\x85",
    "`code` $formula$ #35;",
    "",
    "x" * 10_000,
]
anything = st.one_of(st.sampled_from(NASTY), st.text(max_size=20), st.characters(codec=None))

LABEL = r'[^"\[\]{}|<>`\n\r&#;]*(?:#\d+;[^"\[\]{}|<>`\n\r&#;]*)*'
NODE = re.compile(rf'  c(\d+)\["({LABEL})"\]')
EDGE = re.compile(r"  c(\d+) -->\|(kind of|part of|in)\| c(\d+)")
CONTEXT = re.compile(r"  c(\d+) -\.- c(\d+)")


def parse(text: str) -> tuple[dict[int, str], list[tuple[int, str, int]], list[tuple[int, int]]]:
    """Nodes with their labels read back, edges and context lines of a flowchart; every line has to be one of them."""
    first, *lines = text.split("\n")
    assert first == "flowchart BT"
    assert lines.pop() == ""
    nodes, edges, contexts = {}, [], []
    for line in lines:
        if match := NODE.fullmatch(line):
            nodes[int(match[1])] = re.sub(r"#(\d+);", lambda m: chr(int(m[1])), match[2])
        elif match := EDGE.fullmatch(line):
            edges.append((int(match[1]), match[2], int(match[3])))
        else:
            match = CONTEXT.fullmatch(line)
            assert match, f"no line of a flowchart: {line!r}"
            contexts.append((int(match[1]), int(match[2])))
    return nodes, edges, contexts


@st.composite
def titled(draw) -> ConceptGraph:
    graph = draw(graphs())
    return replace(graph, titles=tuple(draw(anything) for _ in range(graph.n_concepts)))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(titled())
def test_graphml_is_read_again_with_titles_edges_and_evidence(tmp_path, graph):
    graph.save_graphml(tmp_path / "graph.graphml")
    read = networkx.read_graphml(tmp_path / "graph.graphml", node_type=int)
    assert sorted(read.nodes) == np.flatnonzero(graph.frequency > 0).tolist()
    for concept, data in read.nodes(data=True):
        assert data.get("title", "") == plain(graph.titles[concept])
        assert data["frequency"] == graph.frequency[concept]
    assert set(read.edges) == set(zip(graph.child_ids.tolist(), graph.parent_ids.tolist(), strict=True))
    for child, parent, data in read.edges(data=True):
        edge = graph.edge(child, parent)
        assert (data["kind"], data["direct"], data["support"]) == (edge.kind or "in", edge.direct, edge.support)
        assert data["weight"] == pytest.approx(edge.weight)


@given(titled())
def test_every_line_of_mermaid_is_a_node_or_an_edge(graph):
    nodes, edges, contexts = parse(graph.to_mermaid())
    verbs = {"kind-of": "kind of", "part-of": "part of", None: "in"}
    expected = [graph.edge_at(row) for row in np.flatnonzero(graph.direct)]
    assert sorted(edges) == sorted((e.child, verbs[e.kind], e.parent) for e in expected)
    assert set(nodes) == {concept for child, _, parent in edges for concept in (child, parent)}
    assert contexts == []
    for concept, text in nodes.items():
        assert (plain(graph.titles[concept]) or " ").split(" ")[0] in text


@pytest.mark.parametrize("name", NASTY)
def test_a_label_is_one_line_that_reads_as_the_name(name):
    written = label(name)
    assert re.fullmatch(LABEL, written)
    assert re.sub(r"#(\d+);", lambda match: chr(int(match[1])), written) == (plain(name) or " ")


def test_plain_names_stay_as_they_are():
    for name in ("beak", "wheel of a car", 'the "beak"', "Küche", "🦆🏽‍♀️", "מקור", "x" * 10_000):
        assert plain(name) == name


def test_a_name_cannot_turn_what_stands_behind_it():
    assert plain("\u202eabc") == "\u202eabc\u202c"
    assert plain("\u2067abc\u2069") == "\u2067abc\u2069"


@pytest.fixture(scope="module")
def planted() -> tuple[World, ConceptGraph]:
    import torch

    seed = torch.Generator()
    print(f"seed {seed.seed()}")
    made = world(seed, 400)
    return made, build_graph(gathered(made.codes, made.grid), made.levels)


def test_networkx_holds_an_acyclic_graph_with_all_that_is_known(planted):
    made, graph = planted
    found = graph.to_networkx()
    assert networkx.is_directed_acyclic_graph(found)
    assert set(found) == set(range(graph.n_concepts))
    child, parent = min(made.parts)
    edge = graph.edge(child, parent)
    assert found.edges[child, parent] == {
        name: getattr(edge, name)
        for name in ("kind", "weight", "direct", "lift", "q_value", "support", "cover", "cover_spread")
    }
    low, high = min(made.doubles)
    leader, other = (low, high) if graph.synonyms[high] == low else (high, low)
    assert found.nodes[leader]["synonyms"] == f"concept {other}"


def test_some_concepts_come_with_the_edges_they_are_an_end_of(planted):
    made, graph = planted
    child, parent = min(made.parts)
    assert set(graph.to_networkx([child])) == {child, parent}
    whole_family = {c for c, number in made.family.items() if number == made.family[parent]}
    assert set(graph.to_networkx([parent])) == whole_family
    nodes, edges, _ = parse(graph.to_mermaid([parent]))
    assert set(nodes) == whole_family
    assert len(edges) == len(whole_family) - 1


def test_mermaid_draws_dotted_lines_between_neighbours(planted):
    made, graph = planted
    pair = min(made.neighbours)
    _, edges, contexts = parse(graph.to_mermaid(pair))
    assert contexts == [pair]
    assert edges == []


def test_a_graph_without_edges_is_exported_too(tmp_path, planted):
    _, graph = planted
    assert graph.to_mermaid([]) == "flowchart BT\n"
    graph.save_graphml(tmp_path / "none.graphml", [])
    assert len(networkx.read_graphml(tmp_path / "none.graphml")) == 0

"""Files of every published form become the bank that a reader of them would write down."""

import json
from pathlib import Path
from typing import Any

import pytest

from insight.methods.bank import ConceptBank, form_of, import_bank
from sae.errors import InsightError

FLAT = {"kit_fox": ["large ears", "fur"], "stone": []}
NESTED_LIST = {"airplane": [{"wings": ["flat", "metal"]}, {"a tail": []}], "stone": []}
NESTED_OBJECT = {"airplane": {"wings": ["flat", "metal"], "a tail": []}, "bird": {"a beak": ["curved"]}}


def graph(nodes: list[str], edges: list[tuple[str, str]], **labels: str) -> dict[str, Any]:
    return {
        "nodes": [{"id": node, "label": labels.get(node, node)} for node in nodes],
        "edges": [{"source": source, "target": target, "relation": "has"} for source, target in edges],
    }


GRAPH = {
    "tench": graph(
        ["Tench", "Body", "Fins", "Eyes", "Olive Green", "Small", "Round", "Sharp"],
        [
            ("Body", "Olive Green"),
            ("Tench", "Body"),
            ("Tench", "Fins"),
            ("Tench", "Eyes"),
            ("Fins", "Small"),
            ("Fins", "Round"),
            ("Round", "Sharp"),
        ],
    ),
    "loop": graph(["Loop", "A"], [("Loop", "A"), ("A", "Loop"), ("Loop", "Loop")], A="Ring"),
    "no edge": graph(["Stone"], []),
}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "bank.json"


def imported(file: Path, value: Any) -> dict[str, list[str]]:
    file.write_text(json.dumps(value))
    return import_bank(file).to_dict()


def test_a_flat_file_is_read_as_it_is(file: Path) -> None:
    assert imported(file, FLAT) == FLAT
    assert import_bank(file) == ConceptBank.read(file)
    assert form_of(file) == "flat"


@pytest.mark.parametrize(
    ("value", "bank"),
    [
        pytest.param(NESTED_LIST, {"airplane": ["wings", "a tail"], "stone": []}, id="list"),
        pytest.param(NESTED_OBJECT, {"airplane": ["wings", "a tail"], "bird": ["a beak"]}, id="object"),
    ],
)
def test_of_a_nested_file_the_concepts_are_kept(value: Any, bank: dict[str, list[str]], file: Path) -> None:
    assert imported(file, value) == bank
    assert form_of(file) == "nested"


def test_an_empty_list_before_the_others_decides_nothing(file: Path) -> None:
    assert imported(file, {"stone": [], **NESTED_OBJECT})["airplane"] == ["wings", "a tail"]
    assert form_of(file) == "nested"
    assert imported(file, {"stone": []}) == {"stone": []}
    assert form_of(file) == "flat"


def test_a_graph_says_each_part_with_its_looks(file: Path) -> None:
    assert imported(file, GRAPH) == {
        "tench": ["olive green body", "small round fins", "eyes"],
        "loop": ["ring"],
        "no edge": [],
    }
    assert form_of(file) == "graph"


def test_an_edge_without_an_end_is_left_out(file: Path) -> None:
    value = graph(["Tench", "Body", "Fins"], [("Tench", "Body"), ("Tench", "Fins")])
    value["edges"][0] = {"source": "Tench", "taget": "Body"}
    assert imported(file, {"tench": value}) == {"tench": ["fins"]}


@pytest.mark.parametrize(
    ("value", "said"),
    [
        pytest.param({"owl": "a beak"}, "class 'owl': expected \"flat\" .*\"graph\".*found 'a beak'", id="text"),
        pytest.param({"owl": [1]}, r"class 'owl': expected .*found \[1\]", id="numbers"),
        pytest.param({"owl": {"a beak": "curved"}}, "class 'owl': expected .*found {'a beak'", id="shallow"),
        pytest.param(
            {**FLAT, **NESTED_OBJECT}, "class 'airplane': .*one form for all as the others, \"flat\"", id="mixed"
        ),
        pytest.param({"owl": {"nodes": [1], "edges": []}}, "class 'owl': expected nodes", id="nodes"),
        pytest.param({"owl": {"nodes": [], "edges": 3}}, "class 'owl': expected nodes", id="edges"),
        pytest.param({}, "expected at least one class", id="none"),
        pytest.param([1], "expected an object", id="list"),
    ],
)
def test_a_file_of_no_known_form_is_refused(value: Any, said: str, file: Path) -> None:
    file.write_text(json.dumps(value))
    with pytest.raises(InsightError, match=f"^{file}: {said}"):
        import_bank(file)

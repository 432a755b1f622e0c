"""Edits made in the explorer are in the model's folder, and the running model shows them at once."""

import base64
import re
from collections.abc import Callable
from pathlib import Path

import httpx
import numpy as np
import pytest
from starlette.testclient import TestClient

from insight.edits import Edits
from insight.explore import Explorer

from ..random_models import CONCEPTS
from .world import World, call, make_world, photo_bytes, served

LAST = [CONCEPTS - 3, CONCEPTS - 2, CONCEPTS - 1]
"""Concepts that can be merged whatever the relations are: none of them leads to another."""
Ask = Callable[[Explorer], TestClient]


@pytest.fixture
def mine(own: World, ask: Ask) -> TestClient:
    """A client of a world to change."""
    return ask(own.open(images=own.photos))


def edit(client: httpx.Client, action: str, *concepts: int, **more: str) -> dict:
    answer = client.post("/api/edits", json={"action": action, "concepts": list(concepts)} | more)
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_a_new_name_is_shown_at_once_and_is_in_the_file(own: World, mine: TestClient) -> None:
    before = mine.get("/api/model").json()["version"]
    answer = edit(mine, "rename", 7, name="Schnabel <b>", note="it is one")
    card = mine.get("/api/concepts/7").json()
    assert (card["name"], card["alternatives"][0], card["edited"]) == ("Schnabel <b>", "word 7", True)
    assert [row["id"] for row in mine.get("/api/concepts?text=schnabel").json()["items"]] == [7]
    assert answer["version"] == mine.get("/api/model").json()["version"] != before
    (entry,) = Edits(own.model).entries
    assert (entry.action, entry.name, entry.note) == ("rename", "Schnabel <b>", "it is one")
    listed = mine.get("/api/edits").json()
    assert listed["edits"] == [answer["edit"]]
    assert answer["edit"]["sentence"] == "concept 7 is called “Schnabel <b>”"
    assert answer["edit"]["concepts"] == [7]
    assert listed["editable"] is True


def test_hidden_and_merged_concepts_are_not_listed_and_come_back(own: World, mine: TestClient) -> None:
    edit(mine, "hide", 3)
    edit(mine, "merge", *LAST)
    listed = mine.get("/api/concepts?limit=500").json()
    assert listed["total"] == CONCEPTS - 3
    assert not {3, *LAST[1:]} & {row["id"] for row in listed["items"]}
    assert mine.get(f"/api/concepts/{LAST[2]}").json()["id"] == LAST[0]
    assert mine.get("/api/concepts/3").json()["hidden"] is True
    nodes = {node["id"] for k in range(CONCEPTS) for node in mine.get(f"/api/graph/{k}").json()["nodes"] if k != 3}
    assert not {3, *LAST[1:]} & nodes
    edit(mine, "show", 3)
    assert mine.delete("/api/edits/2").status_code == 200
    assert mine.get("/api/concepts?limit=500").json()["total"] == CONCEPTS
    assert [entry.action for entry in Edits(own.model).entries] == ["hide", "show"]


def test_merged_concepts_have_the_strongest_examples_of_all(own: World, mine: TestClient) -> None:
    apart = [mine.get(f"/api/concepts/{k}").json()["examples"] for k in LAST[:2]]
    edit(mine, "merge", *LAST[:2])
    together = mine.get(f"/api/concepts/{LAST[0]}").json()["examples"]
    strongest: dict[str, float] = {}
    for example in sorted(apart[0] + apart[1], key=lambda e: -e["activation"]):
        strongest.setdefault(example["image"], example["activation"])
    assert [(e["image"], e["activation"]) for e in together] == [*strongest.items()]


def test_relations_are_added_and_removed(own: World, mine: TestClient) -> None:
    # 0, 1 and 2 are a chain; nothing leads between the last three concepts
    edit(mine, "unrelate", 2, 1)
    assert 1 not in [rel["id"] for rel in mine.get("/api/concepts/2").json()["parents"]]
    edit(mine, "relate", CONCEPTS - 1, CONCEPTS - 2, kind="part-of")
    (added,) = [r for r in mine.get(f"/api/concepts/{CONCEPTS - 1}").json()["parents"] if r["id"] == CONCEPTS - 2]
    assert added["kind"] == "part-of"
    assert "A person said so" in added["evidence"]
    refused = mine.post("/api/edits", json={"action": "relate", "concepts": [0, 1], "kind": "kind-of"})
    assert refused.status_code == 400
    assert "cycle" in refused.json()["error"]


def test_photos_are_explained_as_edited(tmp_path: Path, rng: np.random.Generator) -> None:
    own = make_world(tmp_path, rng, density=0)
    explorer = own.open(images=own.photos)
    with served(explorer) as client:
        photo = client.post("/api/photos", content=photo_bytes(rng)).json()["photo"]
        before = call(client, "explain", photo, 0)
        segmented = call(client, "segment_at", photo, "cat, dog", -1, 3, 3)
        first, second, third = [int(k) for k in before["table"]][:3]
        edit(client, "rename", first, name="renamed")
        edit(client, "hide", second)
        after = call(client, "explain", photo, 0)
        assert after["table"][str(first)]["name"] == "renamed"
        assert str(second) not in after["table"]
        assert second not in after["concepts"]
        assert second not in [row["id"] for row in call(client, "search", "cat", 0, 200)["items"]]
        again = call(client, "segment_at", photo, "cat, dog", -1, 3, 3)
        renamed = {item["id"]: item["title"] for item in again["concepts"]}
        assert {k: renamed[k] for k in renamed if k not in (first, second)} == {
            item["id"]: item["title"] for item in segmented["concepts"] if item["id"] not in (first, second)
        }
        assert renamed.get(first, "renamed") == "renamed"
        edit(client, "merge", first, third)
        merged = call(client, "explain", photo, 0)
        assert str(third) not in merged["table"]
        classified = call(client, "classify", photo, "cat, dog", -1, [first])
        assert third not in [item["id"] for item in classified["contributions"]]
        assert classified["without"]["removed"] == [first]
    reopened = own.open(images=own.photos)
    assert reopened.models[0].listed.rows[first]["name"] == "renamed"
    assert reopened.version == explorer.version


def test_an_edit_that_finds_no_concept_is_told_of(own: World, ask: Ask) -> None:
    edits = Edits(own.model)
    edits.rename(4, "lost")
    text = (own.model / "edits.json").read_text()
    vector = np.zeros(48, "<f2")
    vector[0] = 1  # no random direction is near to it
    lost = base64.b64encode(vector.tobytes()).decode()
    (own.model / "edits.json").write_text(re.sub(r'"direction": "[^"]+"', f'"direction": "{lost}"', text))
    client = ask(own.open())
    answer = client.get("/api/edits").json()
    assert [*answer["not_applied"]] == ["1"]
    assert client.get("/api/concepts/4").json()["name"] == "word 4"


@pytest.mark.parametrize(
    "asked",
    [
        {"action": "rename", "concepts": [CONCEPTS], "name": "x"},
        {"action": "rename", "concepts": [-1], "name": "x"},
        {"action": "rename", "concepts": [1], "name": ""},
        {"action": "rename", "concepts": [1], "name": "a\u202eb"},
        {"action": "rename", "concepts": [1], "name": "x" * 5000},
        {"action": "rename", "concepts": [1], "name": 7},
        {"action": "rename", "concepts": [1, 2], "name": "x"},
        {"action": "rename", "concepts": [True], "name": "x"},
        {"action": "rename", "concepts": ["1"], "name": "x"},
        {"action": "merge", "concepts": [1]},
        {"action": "merge", "concepts": [1, 1]},
        {"action": "merge", "concepts": list(range(101))},
        {"action": "relate", "concepts": [1, 2], "kind": "friend-of"},
        {"action": "show", "concepts": [1]},
        {"action": "unrelate", "concepts": [CONCEPTS - 1, CONCEPTS - 2]},
        {"action": "undo", "concepts": [1]},
        {"action": "__init__", "concepts": [1]},
        {"concepts": []},
        {"action": ["rename"], "concepts": [1]},
        [1, 2],
        "rename",
        None,
    ],
)
def test_an_edit_that_cannot_be_made_is_refused_with_a_sentence(
    world: World, client: httpx.Client, asked: object
) -> None:
    answer = client.post("/api/edits", json=asked)
    assert answer.status_code == 400
    assert answer.json()["error"]
    assert str(world.model.parent) not in answer.text
    assert not (world.model / "edits.json").exists()


def test_only_an_edit_that_is_there_can_be_undone(client: httpx.Client) -> None:
    for number in (0, 1, -3, 10**30):
        assert client.delete(f"/api/edits/{number}").status_code in (404, 422)
    assert client.delete("/api/edits/x").status_code == 422


def test_a_model_that_comes_with_the_package_is_not_edited(ask: Ask, tmp_path: Path) -> None:
    client = ask(Explorer.open("small", cache_home=tmp_path))
    (model,) = client.get("/api/model").json()["models"]
    assert model["editable"] is False
    assert "copy its folder" in model["why_not"]
    answer = client.post("/api/edits", json={"action": "hide", "concepts": [1]})
    assert answer.json()["error"] == client.get("/api/edits").json()["why_not"] == model["why_not"]


"""The plain routes say what the Python API says."""

import io

import httpx
import numpy as np
import pytest
from PIL import Image

from insight.backbones import CentreSquare
from insight.examples import load_examples
from insight.explore import Explorer
from insight.pipeline import describe_model

from ..random_models import CONCEPTS, GRID
from .world import EXAMPLES, PHOTOS, World, graph_of, photo_bytes


def rows(client: httpx.Client, **asked: object) -> list[dict]:
    return client.get("/api/concepts", params={"limit": 500} | asked).json()["items"]


def test_the_page_and_its_files_are_there(client: httpx.Client) -> None:
    page = client.get("/")
    assert page.status_code == 200
    assert page.headers["content-type"].startswith("text/html")
    assert client.get("/app/api.js").headers["content-type"].startswith("text/javascript")
    assert client.get("/app/nothing.js").status_code == 404


def test_the_model_is_described(client: httpx.Client, world: World, explorer: Explorer) -> None:
    answer = client.get("/api/model").json()
    (model,) = answer["models"]
    loaded = world.loaded()
    assert model["name"] == "model"
    assert model["n_concepts"] == model["named"] == CONCEPTS
    assert model["levels"] == [{"level": 0, "concepts": CONCEPTS, "fvu": None}]
    assert model["images"] == {"available": True, "what": f"{PHOTOS} photographs"}
    assert model["facts"] == describe_model(loaded.config)
    assert model["grid"] == list(GRID)
    assert (model["editable"], model["why_not"]) == (True, None)
    assert answer["heads"] == []
    assert answer["text"] is True
    assert answer["encoder"] == "ready"
    graph = graph_of(world)
    related = [c for c in range(CONCEPTS) if len(graph.parents(c)) or len(graph.children(c))]
    assert model["related"] == len(related)
    assert str(world.model.parent) not in client.get("/api/model").text


def test_a_row_holds_what_is_known_of_a_concept(client: httpx.Client, world: World) -> None:
    loaded, graph = world.loaded(), graph_of(world)
    listed = rows(client)
    assert sorted(row["id"] for row in listed) == list(range(CONCEPTS))
    for row in listed:
        concept = loaded.concepts[row["id"]]
        assert (row["name"], row["named"], row["guessed"]) == (concept.title, True, concept.guessed)
        assert row["how_sure"] == "sure 50%"
        assert row["alternatives"] == list(concept.alternatives)
        assert row["share"] == concept.frequency / graph.tokens
        assert row["parents"] == len(graph.parents(concept.id))
        assert row["children"] == len(graph.children(concept.id))


def test_concepts_are_sorted_filtered_and_cut_into_pages(client: httpx.Client) -> None:
    every = rows(client)
    frequencies = [row["frequency"] for row in every]
    assert frequencies == sorted(frequencies, reverse=True)
    assert [row["name"] for row in rows(client, sort="name")] == sorted(row["name"] for row in every)
    assert rows(client, offset=3, limit=4) == every[3:7]
    least = every[9]["share"]
    assert rows(client, frequency=least) == every[:10]
    assert rows(client, confidence=0.6) == []
    assert len(rows(client, confidence=0.5)) == CONCEPTS
    assert rows(client, level=1) == []
    assert {row["id"] for row in rows(client, text="WORD 2")} == {k for k in range(CONCEPTS) if "2" in str(k)}
    assert {row["id"] for row in rows(client, text="7 c word")} == {7, 17}
    assert [row["id"] for row in rows(client, by="ids", ids="5,2,5,9")] == [5, 2, 9]
    answer = client.get("/api/concepts", params={"limit": 0}).json()
    assert (answer["total"], answer["items"]) == (CONCEPTS, [])


def test_a_card_has_relatives_with_evidence_and_examples(client: httpx.Client, world: World) -> None:
    graph = graph_of(world)
    examples = load_examples(world.model / "examples.parquet", range(CONCEPTS))
    for concept in range(CONCEPTS):
        card = client.get(f"/api/concepts/{concept}").json()
        assert [rel["id"] for rel in card["parents"]] == graph.parents(concept).tolist()
        assert [rel["id"] for rel in card["children"]] == graph.children(concept).tolist()
        for rel in card["parents"]:
            edge = graph.edge(concept, rel["id"])
            assert rel["kind"] == edge.kind
            assert f"{edge.weight:.0%}" in rel["evidence"]
            assert f"{edge.support:,} photographs" in rel["evidence"]
        told = [(e["row"], e["column"], pytest.approx(e["activation"])) for e in card["examples"]]
        assert told == [(e.row, e.column, e.activation) for e in examples[concept]]
        assert [e["image"] for e in card["examples"]] == [e.image.split("/")[-1] for e in examples[concept]]
        assert (card["score"], card["stability"], card["threshold"]) == (0.75, 0.5, 0.0)


def test_a_histogram_counts_photographs_by_their_strongest_patch(client: httpx.Client, world: World) -> None:
    for concept in range(CONCEPTS):
        peaks = world.peaks[:, concept]
        peaks = peaks[peaks > 0]
        card = client.get(f"/api/concepts/{concept}").json()
        if not len(peaks):
            assert card["histogram"] is None
            assert "none of the photographs" in card["why_no_histogram"]
            continue
        found = card["histogram"]
        assert sum(found["counts"]) == len(peaks)
        edges = np.array(found["edges"])
        assert np.allclose(np.diff(np.log(edges)), np.log(edges[-1] / edges[0]) / 24)
        if len(peaks) > 1:
            assert np.allclose(edges[[0, -1]], [peaks.min(), peaks.max()], rtol=1e-5)
            above = np.cumsum(found["counts"][::-1])[:-1][::-1]  # of each inner edge; roundings may fall either way
            surely, perhaps = ((peaks[None] >= edges[1:-1, None] * by).sum(1) for by in (1.00001, 0.99999))
            assert (surely <= above).all()
            assert (above <= perhaps).all()
        assert found["of"].startswith(f"{len(peaks)} of {PHOTOS} photographs")


def test_an_example_is_cut_out_of_its_photograph_with_the_map_over_it(client: httpx.Client, world: World) -> None:
    concept = int(world.peaks.max(0).argmax())
    crop = client.get(f"/api/concepts/{concept}/examples/0.jpg")
    assert crop.headers["content-type"] == "image/jpeg"
    assert Image.open(io.BytesIO(crop.content)).size == (160, 160)
    whole = client.get(f"/api/concepts/{concept}/examples/0.jpg", params={"of": "photo", "v": "now"})
    picture = Image.open(io.BytesIO(whole.content))
    assert picture.size == (480, 480)
    loaded = world.loaded()
    example = load_examples(world.model / "examples.parquet", [concept])[concept][0]
    heat = loaded.explain(world.photos / example.image, top=None)
    own = next(item for item in heat.concepts if item.id == concept)
    shown = np.asarray(picture.resize((4, 4), Image.Resampling.BOX)).astype(float).sum(2)
    plain = CentreSquare(640).view(Image.open(world.photos / example.image), 640).resize((4, 4), Image.Resampling.BOX)
    share = shown / np.asarray(plain).astype(float).sum(2)
    lit, unlit = own.map >= own.activation, own.map == 0
    if unlit.any():
        assert share[lit].min() > share[unlit].mean()
    assert whole.headers["cache-control"] == "private, max-age=86400"
    again = client.get(crop.request.url, headers={"if-none-match": crop.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert client.get(f"/api/concepts/{concept}/examples/{EXAMPLES}.jpg").status_code == 404


def test_the_graph_shows_relatives_by_role_and_edges_between_them(client: httpx.Client, world: World) -> None:
    graph = graph_of(world)
    for concept in range(CONCEPTS):
        answer = client.get(f"/api/graph/{concept}", params={"limit": 200}).json()
        roles = {node["id"]: node["role"] for node in answer["nodes"]}
        parents, children = graph.parents(concept).tolist(), graph.children(concept).tolist()
        assert answer["centre"] == concept
        assert roles[concept] == "self"
        assert [k for k, role in roles.items() if role == "parent"] == parents
        assert [k for k, role in roles.items() if role == "child"] == children
        above = {g for parent in parents for g in graph.parents(parent).tolist()} - {*parents, *children, concept}
        assert {k for k, role in roles.items() if role == "grandparent"} == above
        expected = {(k, parent) for k in roles for parent in graph.parents(k).tolist() if parent in roles}
        assert {(edge["child"], edge["parent"]) for edge in answer["edges"]} == expected
        assert answer["more"] == {"parents": 0, "children": 0, "context": 0}


def test_a_small_graph_says_what_it_left_out(client: httpx.Client, world: World) -> None:
    graph = graph_of(world)
    concept = max(range(CONCEPTS), key=lambda k: len(graph.children(k)))
    answer = client.get(f"/api/graph/{concept}", params={"limit": 2}).json()
    assert len(answer["nodes"]) <= 2
    kept = [node["role"] for node in answer["nodes"]]
    assert answer["more"]["children"] + kept.count("child") == len(graph.children(concept))
    assert answer["more"]["parents"] + kept.count("parent") == len(graph.parents(concept))


def test_a_dropped_photo_is_kept_as_the_square_that_the_encoder_sees(
    client: httpx.Client, rng: np.random.Generator
) -> None:
    data = photo_bytes(rng, 1300, 700)
    answer = client.post("/api/photos", content=data).json()
    assert (answer["width"], answer["height"]) == (640, 640)
    assert client.post("/api/photos", content=data).json() == answer
    square = Image.open(io.BytesIO(client.get(f"/api/photos/{answer['photo']}.jpg").content))
    assert square.size == (640, 640)
    dropped = CentreSquare(640).view(Image.open(io.BytesIO(data)).convert("RGB"), 640)
    expected = dropped.resize((8, 8), Image.Resampling.BOX)
    found = square.convert("RGB").resize((8, 8), Image.Resampling.BOX)
    assert np.abs(np.asarray(found).astype(int) - np.asarray(expected)).max() < 12


def test_samples_are_photographs_behind_the_model_the_same_each_time(client: httpx.Client, world: World) -> None:
    answer = client.get("/api/samples").json()
    titles = [photo["title"] for photo in answer["photos"]]
    assert len(set(titles)) == 6
    assert set(titles) <= {image.split("/")[-1] for image in world.ids}
    assert client.get("/api/samples").json() == answer
    for photo in answer["photos"]:
        assert client.get(f"/api/photos/{photo['photo']}.jpg").status_code == 200


def test_one_model_alone_has_no_matches(client: httpx.Client) -> None:
    answer = client.get("/api/matches").json()
    assert (answer["comparable"], answer["pairs"]) == (False, [])
    assert "--compare" in answer["why"]
    assert client.get("/api/matches/3").status_code == 400

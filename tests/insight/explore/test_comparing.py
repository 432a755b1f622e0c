"""Two models: which concept of one is which of the other."""

from collections.abc import Callable
from pathlib import Path

import httpx
import numpy as np
import pytest
import torch
from starlette.testclient import TestClient

from insight.explore import Explorer
from sae import SparseAutoencoder
from sae.files import read_json, write_json

from ..random_models import CONCEPTS, random_dictionary, random_graph, write_model
from .world import World, call, mend_config, photo_bytes, served

Ask = Callable[[Explorer], TestClient]


@pytest.fixture
def other(own: World, rng: np.random.Generator) -> Path:
    """A second model of the same encoder: the first half of its concepts are those of the first, in another order."""
    folder = own.model.with_name("other")
    sae = random_dictionary(rng)
    first = own.loaded().sae
    with torch.no_grad():
        half = CONCEPTS // 2
        sae.decoder[:half] = 3 * first.decoder[torch.arange(half).flip(0)]
    write_model(folder, sae, random_graph(rng), word="other")
    mend_config(folder)
    return folder


def cosines(own: World, other: Path) -> np.ndarray:
    one, two = (SparseAutoencoder.from_pretrained(folder).decoder.detach().double() for folder in (own.model, other))
    return (one @ two.T / (one.norm(dim=1)[:, None] * two.norm(dim=1))).numpy()


def test_each_concept_has_its_nearest_of_the_other_model(own: World, other: Path, ask: Ask) -> None:
    client, expected = ask(own.open(compare=str(other))), cosines(own, other)
    answer = client.get("/api/matches", params={"limit": 500}).json()
    assert answer["comparable"] is True
    told = {pair["a"]["id"]: (pair["b"]["id"], pair["cosine"]) for pair in answer["pairs"]}
    assert told == {k: (int(expected[k].argmax()), pytest.approx(expected[k].max(), abs=1e-5)) for k in range(CONCEPTS)}
    values = [pair["cosine"] for pair in answer["pairs"]]
    assert values == sorted(values, reverse=True)
    assert answer["share"] == (expected.max(1) >= 0.7).mean() >= 0.5
    assert answer["pairs"][0]["b"]["name"].startswith("other")
    assert client.get("/api/matches", params={"limit": 3}).json()["pairs"] == answer["pairs"][:3]
    for m, table in ((0, expected), (1, expected.T)):
        found = client.get("/api/matches/5", params={"m": m}).json()["matches"]
        assert [row["id"] for row in found] == np.argsort(-table[5])[:5].tolist()
        assert [row["cosine"] for row in found] == pytest.approx(np.sort(table[5])[::-1][:5], abs=1e-5)


def test_hidden_concepts_match_nothing(own: World, other: Path, ask: Ask) -> None:
    client, expected = ask(own.open(compare=str(other))), cosines(own, other)
    assert client.post("/api/edits", json={"action": "hide", "concepts": [5]}).status_code == 200
    answer = client.get("/api/matches", params={"limit": 500}).json()
    assert 5 not in [pair["a"]["id"] for pair in answer["pairs"]]
    nearest = int(expected[5].argmax())
    assert 5 not in [row["id"] for row in client.get(f"/api/matches/{nearest}", params={"m": 1}).json()["matches"]]


def test_models_of_other_encoders_are_not_compared(own: World, other: Path, ask: Ask) -> None:
    config = read_json(other / "config.json")
    config["backbone"] |= {"fingerprint": "0" * 64, "name": "another"}
    write_json(other / "config.json", config)
    explorer = Explorer.open(str(own.model), images=own.cache, compare=str(other), cache_home=own.home)
    client = ask(explorer)
    answer = client.get("/api/matches").json()
    assert answer["comparable"] is False
    assert "different encoders" in answer["why"]
    assert answer["pairs"] == []
    assert client.get("/api/matches/1").status_code == 400
    assert [model["images"]["available"] for model in client.get("/api/model").json()["models"]] == [True, False]


def test_a_photo_is_explained_by_both_models(own: World, other: Path, rng: np.random.Generator) -> None:
    explorer = own.open(compare=str(other), images=own.cache)
    with served(explorer) as client:
        client: httpx.Client
        names = [model["name"] for model in client.get("/api/model").json()["models"]]
        assert names == ["model", "other"]
        photo = client.post("/api/photos", content=photo_bytes(rng)).json()["photo"]
        for m, word in enumerate(("word", "other")):
            answer = call(client, "explain", photo, m)
            assert answer["m"] == m
            assert {row["name"].split()[0] for row in answer["table"].values()} == {word}
            assert client.get("/api/concepts/3", params={"m": m}).json()["name"] == f"{word} 3"
            found = call(client, "search", "cat", m, 3)["items"]
            assert {row["name"].split()[0] for row in found} == {word}

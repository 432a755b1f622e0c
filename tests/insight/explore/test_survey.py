"""Where the concepts of a model stand in photographs that it was not made from, counted once and kept."""

from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
from starlette.testclient import TestClient

from insight.examples import save_examples
from insight.explore import Explorer
from insight.explore.survey import Survey, survey_cache

from ..random_models import CONCEPTS
from .world import PHOTOS, World, cache_of

LAST = [CONCEPTS - 3, CONCEPTS - 2, CONCEPTS - 1]
"""Concepts that can be merged whatever the relations are: none of them leads to another."""
Ask = Callable[[Explorer], TestClient]


def surveyed(explorer: Explorer) -> Explorer:
    """The explorer once everything in the background is done."""
    explorer.start()
    assert explorer.wait(60)
    return explorer


@pytest.fixture
def stranger(own: World) -> World:
    """A world whose model has its examples in other photographs."""
    save_examples(own.model / "examples.parquet", {})
    return own


def test_concepts_are_found_in_photographs_of_ones_own(stranger: World, ask: Ask) -> None:
    client = ask(surveyed(stranger.open(images=stranger.cache)))
    for concept in range(CONCEPTS):
        card = client.get(f"/api/concepts/{concept}").json()
        peaks = stranger.peaks[:, concept]
        best = np.argsort(-peaks, kind="stable")[: (peaks > 0).sum()]
        assert [e["activation"] for e in card["examples"]] == pytest.approx(peaks[best].tolist(), rel=1e-5)
        names = [stranger.ids[i].split("/")[-1] for i in best]
        assert [e["image"] for e in card["examples"]] == names
        if names:
            row = client.get("/api/concepts", params={"by": "ids", "ids": concept}).json()["items"][0]
            assert row["examples"] == len(names)
    strongest = int(stranger.peaks.max(0).argmax())
    assert client.get(f"/api/concepts/{strongest}/examples/0.jpg").status_code == 200


def test_until_it_is_done_the_answers_say_so(stranger: World, ask: Ask) -> None:
    client = ask(stranger.open(images=stranger.cache))
    card = client.get("/api/concepts/1").json()
    assert (card["histogram"], card["examples"]) == (None, [])
    assert "being counted" in card["why_no_histogram"]
    assert client.get("/api/model").json()["models"][0]["images"]["available"] is True


def test_a_survey_is_kept_and_read_again(stranger: World, ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    first = ask(surveyed(stranger.open(images=stranger.cache)))
    cards = [first.get(f"/api/concepts/{k}").json() for k in range(CONCEPTS)]
    monkeypatch.setattr("insight.explore.explorer.survey_cache", None)
    second = ask(stranger.open(images=stranger.cache))
    assert [second.get(f"/api/concepts/{k}").json() for k in range(CONCEPTS)] == cards


def test_a_damaged_survey_is_made_anew(stranger: World, ask: Ask) -> None:
    surveyed(stranger.open(images=stranger.cache))
    (path,) = stranger.home.rglob("survey.npz")
    path.write_bytes(path.read_bytes()[:300])
    client = ask(surveyed(stranger.open(images=stranger.cache)))
    assert Survey.load(path, CONCEPTS) is not None
    assert any(client.get(f"/api/concepts/{k}").json()["histogram"] for k in range(CONCEPTS))


def test_the_version_tells_that_a_survey_is_done(stranger: World) -> None:
    explorer = stranger.open(images=stranger.cache)
    before = explorer.version
    surveyed(explorer)
    assert explorer.version != before


def test_a_large_cache_is_sampled_the_same_each_time(own: World) -> None:
    sae, cache = own.loaded().sae, cache_of(own)
    one, two = (survey_cache(sae, cache, nullcontext, lambda: False, most=4) for _ in range(2))
    assert one is not None
    assert two is not None
    assert np.array_equal(one.images, two.images)
    assert len(set(one.images.tolist())) == 4
    assert np.array_equal(one.peaks, two.peaks)
    for concept in range(CONCEPTS):
        part = slice(int(one.offsets[concept]), int(one.offsets[concept + 1]))
        seen = dict(zip(one.images[one.photos[part]].tolist(), one.peaks[part].tolist(), strict=True))
        expected = {i: own.peaks[i, concept] for i in one.images.tolist() if own.peaks[i, concept] > 0}
        assert seen == pytest.approx(expected, rel=1e-5)
    assert survey_cache(sae, cache, nullcontext, lambda: True) is None


def test_merged_concepts_are_counted_as_one(stranger: World, ask: Ask) -> None:
    client = ask(surveyed(stranger.open(images=stranger.cache)))
    client.post("/api/edits", json={"action": "merge", "concepts": LAST})
    peaks = stranger.peaks[:, LAST].max(1)
    card = client.get(f"/api/concepts/{LAST[1]}").json()
    assert card["id"] == LAST[0]
    assert sum(card["histogram"]["counts"]) == (peaks > 0).sum()
    expected = sorted(peaks[peaks > 0], reverse=True)
    assert [e["activation"] for e in card["examples"]] == pytest.approx(expected, rel=1e-5)


def test_other_photographs_without_a_cache_are_told_what_to_do(own: World, tmp_path: Path, ask: Ask) -> None:
    other = tmp_path / "holidays"
    other.mkdir()
    (own.photos / own.ids[0]).rename(other / "elsewhere.png")
    client = ask(own.open(images=other))
    images = client.get("/api/model").json()["models"][0]["images"]
    assert images["available"] is False
    assert "insight cache write holidays --out CACHE" in images["what"]
    assert "--images CACHE" in images["what"]
    assert client.get("/api/concepts?limit=1").json()["items"][0]["examples"] == 0
    assert client.get("/api/concepts/1/examples/0.jpg").status_code == 404


def test_the_cache_beside_a_model_is_found(own: World) -> None:
    explorer = own.open()
    assert explorer.models[0].images.cache is not None
    assert explorer.models[0].images.cache.n_images == PHOTOS
    own.cache.rename(own.cache.with_name("model-cache"))
    assert own.open().models[0].images.cache is not None
    own.cache.with_name("model-cache").rename(own.cache.with_name("moved"))
    assert own.open().models[0].images.cache is None
    own.photos.rename(own.photos.with_name("gone"))
    assert own.open(images=own.cache.with_name("moved")).models[0].why_no_pictures is not None

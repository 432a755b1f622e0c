"""Every query against brute force over dense arrays: images and regions, by concepts, text, photo, patch and vector."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from insight import InsightError
from insight.retrieval import ConceptIndex, Hits

from ..random_models import DIM
from .worlds import GRID, SIDE, World, make_world, regions_by_hand

QUERIES = [
    ([3], []),
    (["word 3"], []),
    ([3, 5], []),
    ([(3, 5, 8)], []),
    ([(3, 5), (8, 9, 10)], []),
    ([3], [5]),
    ([(3, 4, 5)], [6, 7]),
    (["twin", 2], ["word 9"]),
    (3, 5),
]


@pytest.fixture(scope="module", params=[72, 40])
def world(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> World:
    """All patches of the grid, or 40 of the 72."""
    return make_world(tmp_path_factory.mktemp("world"), request.param)


@pytest.fixture(scope="module")
def index(world: World, tmp_path_factory: pytest.TempPathFactory) -> ConceptIndex:
    """In four parts, every patch kept."""
    folder = tmp_path_factory.mktemp("index") / "index"
    return ConceptIndex.build(world.model, world.cache, folder, patches=72, part_images=4, progress=False)


def groups_of(asked: object) -> list[list[int]]:
    names = {"word 3": [3], "word 9": [9], "twin": [20, 21]}
    listed = [asked] if isinstance(asked, int | str) else asked
    return [
        [i for one in (entry if isinstance(entry, tuple) else (entry,)) for i in names.get(one, [one])]
        for entry in listed
    ]


def check_images(found: Hits, scores: np.ndarray, top: int) -> None:
    """The hits are the best of `scores` [n], of which 0 is none, each with its own score."""
    expected = np.sort(scores[scores != 0])[::-1][:top]
    np.testing.assert_allclose([hit.score for hit in found], expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(
        [hit.score for hit in found], [scores[hit.number] for hit in found], rtol=1e-4, atol=1e-5
    )
    assert len({hit.number for hit in found}) == len(found)
    assert all(hit.image == f"{hit.number:04d}" and hit.region is None for hit in found)


def check_regions(found: Hits, scores: np.ndarray, active: np.ndarray, top: int) -> None:
    """The hits are the best regions of `scores` [n, h, w] where `active`, each with its place, size and box."""
    regions = regions_by_hand(scores, active)
    expected = sorted((score for score, _, _ in regions.values()), reverse=True)[:top]
    np.testing.assert_allclose([hit.score for hit in found], expected, rtol=1e-4, atol=1e-5)
    places = set()
    for hit in found:
        assert hit.region is not None
        place = (hit.number, hit.region.row, hit.region.column)
        places.add(place)
        score, patches, box = regions[place]
        assert hit.score == pytest.approx(score, rel=1e-4, abs=1e-5)
        assert (hit.image, hit.region.patches) == (f"{hit.number:04d}", patches)
        assert hit.region.box == pytest.approx(box)
        assert hit.region.side == SIDE
    assert len(places) == len(found)


@pytest.mark.parametrize("top", [1, 5, 1000])
@pytest.mark.parametrize(("concepts", "without"), QUERIES)
def test_images_by_concepts(world: World, index: ConceptIndex, concepts, without, top: int) -> None:
    largest = world.codes.max((1, 2))
    scores = np.min([largest[:, group].max(1) for group in groups_of(concepts)], axis=0)
    for (concept,) in groups_of(without):
        scores[largest[:, concept] > 0] = 0
    found = index.images(concepts=concepts, without=without, top=top)
    assert found.exact
    check_images(found, scores, top)


@pytest.mark.parametrize("top", [1, 5, 1000])
@pytest.mark.parametrize(("concepts", "without"), QUERIES)
def test_regions_by_concepts(world: World, index: ConceptIndex, concepts, without, top: int) -> None:
    scores = np.min([world.codes[..., group].max(-1) for group in groups_of(concepts)], axis=0)
    for (concept,) in groups_of(without):
        scores[world.codes[..., concept] > 0] = 0
    found = index.regions(concepts=concepts, without=without, top=top)
    assert found.exact
    check_regions(found, scores, scores > 0, top)


def test_regions_stop_being_encoded_when_no_image_can_have_a_better_one(
    world: World, index: ConceptIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("insight.retrieval.index._TOGETHER", 1)
    scores = world.codes[..., 3]
    read: list[int] = []
    image = type(world.cache).image
    monkeypatch.setattr(type(world.cache), "image", lambda cache, number: read.append(number) or image(cache, number))
    check_regions(index.regions(concepts=3, top=2), scores, scores > 0, 2)
    assert len(read) <= 3  # the images of the two best, and one to see that it is worse
    check_regions(index.regions(concepts=[3, 5], top=2), *both(world, 3, 5), 2)


def both(world: World, one: int, other: int) -> tuple[np.ndarray, np.ndarray]:
    scores = np.minimum(world.codes[..., one], world.codes[..., other])
    return scores, scores > 0


def test_a_query_that_may_not_read_all_images_says_so(
    world: World, index: ConceptIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("insight.retrieval.index._MOST_READ", 2)
    found = index.regions(concepts=[tuple(range(24))], top=1000)
    assert not found.exact
    assert len({hit.number for hit in found}) == 2


def test_images_and_regions_by_a_vector(world: World, index: ConceptIndex) -> None:
    rng = np.random.default_rng()
    for top in (1, 4, 1000):
        query = world.query(rng)
        unit = query.double().numpy() / np.linalg.norm(query.double().numpy())
        assert index.images(like=query, top=top).exact
        check_images(index.images(like=query, top=top), world.pooled @ unit, top)
        cosines = world.patches @ unit
        limits = np.array([(c[k].max() + c[k].mean()) / 2 for c, k in zip(cosines, world.there)])
        found = index.regions(like=query, top=top)
        assert found.exact
        by_hand = regions_by_hand(cosines, world.there & (cosines >= limits[:, None, None]))
        if top == 1000:  # all images have been candidates
            assert {(h.number, h.region.row, h.region.column) for h in found if h.region} == set(by_hand)
        check_regions(found, cosines, world.there & (cosines >= limits[:, None, None]), top)


def test_a_text_is_its_vector(world: World, index: ConceptIndex) -> None:
    vector = world.model.backbone.encode_text(["a green duck"])[0]
    for search in (index.images, index.regions):
        by_text, by_vector = search(text="a green duck"), search(like=vector)
        assert by_text.found == by_vector.found
        assert by_text.query == "“a green duck”"


def test_a_photo_is_its_image_vector_and_a_patch_of_it_that_patchs(
    world: World, index: ConceptIndex, tmp_path: Path
) -> None:
    pixels = np.random.default_rng().integers(0, 256, (16, 16, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "photo.png")
    by_hand = pixels.reshape(4, 4, 4, 4, 3).transpose(0, 2, 4, 1, 3).reshape(4, 4, DIM).astype(np.float64) / 255
    for photo in (tmp_path / "photo.png", str(tmp_path / "photo.png"), Image.fromarray(pixels)):
        mean = torch.from_numpy(by_hand.mean((0, 1)))
        check_images(index.images(like=photo, top=5), world.pooled @ (mean / mean.norm()).numpy(), 5)
        patch = by_hand[2, 1] / np.linalg.norm(by_hand[2, 1])
        best = np.where(world.there, world.patches @ patch, -1).max((1, 2))
        check_images(index.images(like=photo, at=(2, 1), top=5), best, 5)
        assert index.regions(like=photo, at=(2, 1), top=1)[0].score == pytest.approx(best.max(), abs=1e-5)


def test_fewer_vectors_than_patches_find_candidates_and_scores_stay_exact(world: World, tmp_path: Path) -> None:
    index = ConceptIndex.build(world.model, world.cache, tmp_path / "index", patches=3, progress=False)
    query = world.query(np.random.default_rng())
    found = index.regions(like=query, top=1000)
    assert not found.exact
    cosines = world.patches @ (query / query.norm()).double().numpy()
    limits = np.array([(c[k].max() + c[k].mean()) / 2 for c, k in zip(cosines, world.there)])
    check_regions(found, cosines, world.there & (cosines >= limits[:, None, None]), 1000)  # all 14 were candidates


def test_what_is_shown_as_one_concept_is_found_as_one(world: World, index: ConceptIndex) -> None:
    concepts = list(world.model.concepts)
    concepts[5] = dataclasses.replace(concepts[5], merged_into=3)
    concepts[7] = dataclasses.replace(concepts[7], hidden=True)
    edited = make_edited(world, concepts)
    reopened = ConceptIndex.open(index.folder, edited)
    assert reopened.images(concepts=3).found == index.images(concepts=[(3, 5)]).found
    assert reopened.regions(concepts=5).found == index.regions(concepts=[(3, 5)]).found
    with pytest.raises(InsightError, match="concept 7 is hidden"):
        reopened.images(concepts=7)
    with pytest.raises(InsightError, match="expected the name or the id of a concept, found 'word 5'"):
        reopened.images(concepts="word 5")


def make_edited(world: World, concepts: list):
    model = world.model
    return type(model)(model.sae, concepts, model.relations, model.config, backbone=model.backbone)


def test_a_box_in_the_photo_is_that_of_the_square_the_encoder_saw(world: World, index: ConceptIndex) -> None:
    region = index.regions(concepts=3, top=1)[0].region
    assert region is not None
    scaled = region.in_photo(4 * SIDE + 10, 4 * SIDE)
    left, top, right, bottom = region.box
    assert scaled == pytest.approx((4 * left + 5, 4 * top, 4 * right + 5, 4 * bottom))


def test_hits_are_plain_values(world: World, index: ConceptIndex) -> None:
    found = index.regions(concepts=["word 3", ("word 5", 8)], without=9, top=3)
    value = found.to_dict()
    assert value["query"] == "word 3 and (word 5 or word 8), not word 9"
    assert value["exact"] is True
    for hit, plain in zip(found, value["hits"], strict=True):
        assert hit.region is not None
        assert plain["image"] == hit.image
        assert plain["region"]["row"] == hit.region.row < GRID[0]
        assert plain["region"]["box"] == pytest.approx(hit.region.box, abs=0.01)


@pytest.mark.parametrize(
    ("query", "complaint"),
    [
        ({}, "expected one thing to look for"),
        ({"text": "a", "concepts": 3}, "expected one thing to look for"),
        ({"text": "a", "at": (0, 0)}, "expected one thing to look for"),
        ({"text": "a", "top": 0}, "at least one hit"),
        ({"text": " "}, "text: expected a word or a sentence"),
        ({"without": 3}, "expected at least one concept to look for"),
        ({"concepts": [()]}, "expected at least one concept to look for"),
        ({"concepts": 24}, "expected an id of 0 to 23, found 24"),
        ({"concepts": "wort 3"}, "found 'wort 3'; there is word 3"),
        ({"like": torch.zeros(DIM)}, "expected a finite vector of 48 numbers, not all 0"),
        ({"like": torch.ones(DIM - 1)}, r"found \[47\]"),
        ({"like": torch.full((DIM,), float("nan"))}, "expected a finite vector"),
        ({"like": "nowhere.jpg"}, "nowhere.jpg: no such file"),
        ({"like": Image.new("RGB", (20, 20)), "at": (4, 0)}, "expected a patch of its 4 × 4, found row 4, column 0"),
    ],
)
def test_what_is_no_query_is_refused(index: ConceptIndex, query: dict, complaint: str) -> None:
    for search in (index.images, index.regions):
        with pytest.raises(InsightError, match=complaint):
            search(**query)


def test_a_concept_that_never_fires_is_found_nowhere(world: World, tmp_path: Path) -> None:
    with torch.no_grad():
        world.model.sae.encoder_bias[17] -= 1000
    try:
        index = ConceptIndex.build(world.model, world.cache, tmp_path / "index", progress=False)
        assert len(index.images(concepts=17)) == len(index.regions(concepts=17)) == 0
        assert len(index.images(concepts=[3, 17])) == 0
        assert index.images(concepts=[(3, 17)]).found == index.images(concepts=3, without=17).found
    finally:
        with torch.no_grad():
            world.model.sae.encoder_bias[17] += 1000

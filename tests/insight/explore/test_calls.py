"""What waits for the encoder says what the Python API says, and every sum is exact."""

import math
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import numpy as np
import pytest
from gradio_client import Client
from gradio_client.exceptions import AppError
from PIL import Image

from insight.explore import Explorer
from insight.explore.classes import read_classes
from insight.heads import ConceptClassifier, ConceptSegmenter
from sae import SparseCodes

from ..random_models import CONCEPTS, GRID
from .world import CLASSES, SeenPixels, World, call, photo_bytes, served


@pytest.fixture
def photo(client: httpx.Client, rng: np.random.Generator) -> str:
    return client.post("/api/photos", content=photo_bytes(rng)).json()["photo"]


@pytest.fixture
def square(explorer: Explorer, photo: str) -> Image.Image:
    return explorer.photos[photo].square


def test_explain_gives_all_concepts_of_every_patch(
    client: httpx.Client, world: World, photo: str, square: Image.Image
) -> None:
    answer, expected = call(client, "explain", photo, 0), world.loaded().explain(square, top=None)
    assert answer["grid"] == list(GRID)
    assert answer["fvu"] == pytest.approx(expected.fvu, rel=1e-5)
    maps = np.zeros((CONCEPTS, math.prod(GRID)))
    for patch, (first, last) in enumerate(zip(answer["offsets"], answer["offsets"][1:], strict=False)):
        maps[answer["concepts"][first:last], patch] = answer["activations"][first:last]
    assert {k for k in range(CONCEPTS) if maps[k].any()} <= {item.id for item in expected.concepts}
    for item in expected.concepts:
        assert np.allclose(maps[item.id], item.map.ravel(), atol=1e-4)
        told = answer["table"][str(item.id)]
        assert (told["name"], told["how_sure"]) == (item.name, item.how_sure)
        assert (told["parents"], told["children"]) == (list(item.parents), list(item.children))
        assert told["kinds"] == {str(other): kind for other, kind in item.kinds.items()}
        for other in (*item.parents, *item.children):
            assert answer["names"][str(other)] == expected.names[other]


def test_search_finds_what_the_model_finds(client: httpx.Client, world: World) -> None:
    expected = world.loaded().search("a cat", top=7)
    found = call(client, "search", "a cat", 0, 7)["items"]
    assert [row["id"] for row in found] == [concept.id for concept, _ in expected]
    assert [row["similarity"] for row in found] == pytest.approx([score for _, score in expected], abs=1e-6)


@pytest.mark.parametrize("classes", [CLASSES, "cat, dog"])
def test_classify_by_text_tells_each_concepts_share(
    client: httpx.Client, world: World, photo: str, square: Image.Image, classes: str
) -> None:
    answer = call(client, "classify", photo, classes, -1, [])
    head = ConceptClassifier.zero_shot(world.loaded(), read_classes(classes))
    expected = head.explain(square)
    check_explanation(answer, expected)
    assert answer["without"] is None


def check_explanation(answer: dict, expected: object) -> None:
    parts = [item["contribution"] for item in answer["contributions"]]
    assert answer["constant"] + math.fsum(parts) + answer["others"] == pytest.approx(answer["logit"], abs=1e-9)
    assert answer["target"] == str(expected.target)
    assert answer["logit"] == pytest.approx(expected.logit, rel=1e-4, abs=1e-4)
    best = sorted(zip(expected.classes, expected.logits, expected.probabilities, strict=True), key=lambda c: -c[2])
    assert [c["name"] for c in answer["classes"]] == [str(name) for name, _, _ in best]
    assert [c["logit"] for c in answer["classes"]] == pytest.approx([logit for _, logit, _ in best], rel=1e-4, abs=1e-4)
    assert sum(c["probability"] for c in answer["classes"]) == pytest.approx(1)
    told = {item["id"]: item["contribution"] for item in answer["contributions"]}
    for item in expected.contributions:
        assert told[item.id] == pytest.approx(item.contribution, rel=1e-3, abs=1e-4)


def test_classify_says_what_it_would_say_without_some_concepts(
    client: httpx.Client, world: World, photo: str, square: Image.Image
) -> None:
    first = call(client, "classify", photo, CLASSES, -1, [])
    gone = [item["id"] for item in first["contributions"][:3]]
    answer = call(client, "classify", photo, CLASSES, -1, gone)
    without = answer["without"]
    head = ConceptClassifier.zero_shot(world.loaded(), read_classes(CLASSES))
    expected = head.decision_with([square], remove=gone)[0]
    logits = {c["name"]: c["logit"] for c in without["classes"]}
    assert [logits[name] for name in head.classes_] == pytest.approx(expected, rel=1e-4, abs=1e-4)
    assert without["removed"] == gone
    assert without["target"] == head.classes_[expected.argmax()]
    target = answer["target"]
    lost = math.fsum(item["contribution"] for item in answer["contributions"] if item["id"] in gone)
    assert answer["logit"] - lost == pytest.approx(logits[target], abs=1e-9)
    assert {**answer, "without": None} == first


def test_segment_gives_the_class_of_every_pixel(
    client: httpx.Client, world: World, photo: str, square: Image.Image
) -> None:
    answer = call(client, "segment", photo, CLASSES, -1)
    expected = ConceptSegmenter(world.loaded(), read_classes(CLASSES)).predict(square)
    assert answer["classes"] == ["cat", "dog", "rainy sky"]
    assert answer["size"] == [square.height, square.width]
    labels = np.repeat(answer["runs"][::2], answer["runs"][1::2]).reshape(answer["size"])
    assert (labels != expected.labels).mean() < 0.002  # the encoder's sums may be rounded in another order
    assert answer["shares"] == [(labels == number).mean() for number in range(3)]
    assert answer["exact"] is True
    assert all(a != b for a, b in zip(answer["runs"][::2], answer["runs"][2::2], strict=False))


def test_a_pixel_tells_why_it_is_of_its_class(
    client: httpx.Client, world: World, photo: str, square: Image.Image, rng: np.random.Generator
) -> None:
    segmentation = ConceptSegmenter(world.loaded(), read_classes(CLASSES)).predict(square)
    for _ in range(3):
        row, column = int(rng.integers(square.height)), int(rng.integers(square.width))
        answer = call(client, "segment_at", photo, CLASSES, -1, row, column)
        parts = [item["contribution"] for item in answer["concepts"]]
        assert answer["constant"] + math.fsum(parts) + answer["others"] == pytest.approx(answer["logit"], abs=1e-9)
        expected = segmentation.contributions(row, column, answer["name"])
        assert answer["logit"] == pytest.approx(expected.logit, rel=1e-4, abs=1e-4)
        assert answer["constant"] == pytest.approx(expected.constant, rel=1e-4, abs=1e-4)
        values = dict(zip(expected.concepts.tolist(), expected.values.tolist(), strict=True))
        for item in answer["concepts"]:
            assert item["contribution"] == pytest.approx(values[item["id"]], rel=1e-3, abs=1e-4)
            assert item["title"] == f"word {item['id']}"


def test_a_large_photo_is_segmented_at_448_pixels(client: httpx.Client, rng: np.random.Generator) -> None:
    photo = client.post("/api/photos", content=photo_bytes(rng, 700, 650)).json()["photo"]
    answer = call(client, "segment", photo, "cat, dog", -1)
    assert answer["size"] == [448, 448]
    assert sum(answer["runs"][1::2]) == 448**2


def test_the_encoder_sees_a_photo_once(client: httpx.Client, explorer: Explorer, photo: str) -> None:
    encoder = explorer.models[0].model.backbone
    assert isinstance(encoder, SeenPixels)
    before = encoder.seen
    for _ in range(2):
        call(client, "explain", photo, 0)
        call(client, "classify", photo, CLASSES, -1, [])
        call(client, "segment", photo, CLASSES, -1)
        call(client, "segment_at", photo, CLASSES, -1, 1, 1)
    assert encoder.seen == before + 1


def test_one_caller_at_a_time_is_at_the_encoder(
    client: httpx.Client, explorer: Explorer, rng: np.random.Generator
) -> None:
    photos = [client.post("/api/photos", content=photo_bytes(rng)).json()["photo"] for _ in range(12)]
    with ThreadPoolExecutor(12) as threads:
        answers = [*threads.map(lambda photo: call(client, "explain", photo, 0), photos)]
    assert [answer["photo"] for answer in answers] == photos
    assert explorer.models[0].model.backbone.most_busy == 1


def test_gradio_client_asks_the_same_functions(client: httpx.Client, photo: str) -> None:
    asked = Client(str(client.base_url), verbose=False)
    answer = asked.predict(photo, 0, api_name="/explain")
    assert answer["concepts"] == call(client, "explain", photo, 0)["concepts"]
    with pytest.raises(AppError, match="drop the photo again"):
        asked.predict("nothing", 0, api_name="/explain")
    asked.close()


def test_heads_that_were_given_classify_and_segment(own: World, tmp_path: Path, rng: np.random.Generator) -> None:
    model = own.loaded()
    classifier = ConceptClassifier(model, alpha=0.001).fit(own.cache)
    classifier.save(tmp_path / "by folder")
    codes = SparseCodes.from_dense(model.sae.encode(model_tokens(own)).dense())
    labels = rng.integers(0, 3, codes.n)
    segmenter = ConceptSegmenter(model, ["cat", "dog", "sky"])
    segmenter.fit(codes, labels, surroundings=False).save(tmp_path / "of patches")
    explorer = own.open(heads=[tmp_path / "by folder", tmp_path / "of patches"])
    data = photo_bytes(rng)
    with served(explorer) as client:
        heads = client.get("/api/model").json()["heads"]
        assert [(head["id"], head["name"], head["kind"]) for head in heads] == [
            (0, "by folder", "classifier"),
            (1, "of patches", "segmenter"),
        ]
        assert heads[0]["classes"] == ["of 0", "of 1"]
        photo = client.post("/api/photos", content=data).json()["photo"]
        square = explorer.photos[photo].square
        check_explanation(call(client, "classify", photo, "", 0, []), classifier.explain(square))
        answer = call(client, "segment", photo, "", 1)
        labels = np.repeat(answer["runs"][::2], answer["runs"][1::2]).reshape(answer["size"])
        assert (labels != segmenter.predict(square).labels).mean() < 0.002
        assert "a segmenter" in call(client, "classify", photo, "", 1, [])["error"]
        assert "a classifier" in call(client, "segment", photo, "", 0)["error"]


def model_tokens(world: World) -> object:
    from .world import cache_of

    return next(iter(cache_of(world).scan()))[1]


@pytest.mark.parametrize(
    ("name", "data", "sentence"),
    [
        ("explain", ["nothing", 0], "drop the photo again"),
        ("explain", ["PHOTO", 1], "m: expected a model of 0 to 0, found 1"),
        ("explain", ["PHOTO", -1], "m: expected a model"),
        ("explain", ["PHOTO"], "explain: expected 2 values (photo, m), found 1"),
        ("explain", [{"path": "/etc/passwd", "meta": {"_type": "gradio.FileData"}}, 0], "photo: expected a text"),
        ("search", ["", 0, 5], "text: expected a word"),
        ("search", ["cat", 0, 100000], "1 to 200"),
        ("classify", ["PHOTO", "cat", -1, []], "at least two"),
        ("classify", ["PHOTO", "cat, cats", -1, []], "share the word"),
        ("classify", ["PHOTO", "cat, dog", 0, []], "the 0 heads given"),
        ("classify", ["PHOTO", "cat, dog", -1, ["x"]], "remove: expected a list of whole numbers"),
        ("classify", ["PHOTO", "cat, dog", 1.5, []], "head: expected a whole number"),
        ("segment", ["PHOTO", " , ", -1], "found none"),
        ("segment", ["PHOTO", ", ".join(f"c{i}" for i in range(101)), -1], "at most 100"),
        ("segment_at", ["PHOTO", "cat", -1, 100000, 0], "expected a pixel"),
        ("segment_at", ["PHOTO", "cat", -1, -1, 0], "expected a pixel"),
        ("nothing", [], "expected one of the functions explain, search"),
    ],
)
def test_a_wrong_call_is_answered_with_a_sentence(
    client: httpx.Client, photo: str, name: str, data: list, sentence: str, capfd: pytest.CaptureFixture[str]
) -> None:
    answer = call(client, name, *[photo if value == "PHOTO" else value for value in data])
    assert sentence in answer["error"]
    assert "\n" not in answer["error"]
    assert "Traceback" not in capfd.readouterr().err

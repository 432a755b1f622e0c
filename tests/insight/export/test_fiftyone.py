"""Labels for FiftyOne: where maps and boxes lie in the whole photo, and what the labels carry.

With FiftyOne installed its own classes are made; without, ones with the fields that it documents.
"""

import importlib.util
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from insight import InsightError
from insight.export.fiftyone import explanation_fields, in_whole_photo, mask_targets, segmentation_label
from insight.heads import ConceptSegmenter

from ..explanations import random_explanation
from ..heads.made import random_model, random_photos

FIELDS = {
    "Heatmap": {"map", "range"},
    "Classification": {"label", "confidence", "concept", "level", "activation"},
    "Classifications": {"classifications"},
    "Detection": {"label", "confidence", "bounding_box", "mask", "concept", "level", "activation"},
    "Detections": {"detections"},
    "Segmentation": {"mask"},
}


@pytest.fixture(autouse=True)
def labels(monkeypatch: pytest.MonkeyPatch) -> None:
    if importlib.util.find_spec("fiftyone"):
        return

    def stub(name: str) -> Any:
        def made(**fields: Any) -> SimpleNamespace:
            assert set(fields) <= FIELDS[name]
            return SimpleNamespace(**fields)

        return made

    monkeypatch.setitem(sys.modules, "fiftyone", SimpleNamespace(**{name: stub(name) for name in FIELDS}))


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng()


def test_every_concept_has_a_label_and_a_heatmap(rng: np.random.Generator) -> None:
    explanation = random_explanation(int(rng.integers(2**31)), concepts=6)
    fields = explanation_fields(explanation, size=(48, 48), top=4)
    top = explanation.concepts[:4]
    assert set(fields) == {"concepts", "concept_regions", *(f"concept_{concept.id}" for concept in top)}
    for label, concept in zip(fields["concepts"].classifications, top, strict=True):
        assert (label.label, label.concept, label.level) == (concept.name, concept.id, concept.level)
        assert label.activation == concept.activation
        heat = fields[f"concept_{concept.id}"]
        assert list(heat.range) == [0.0, concept.activation]
        assert 0.5 * concept.activation < heat.map.max() <= concept.activation * (1 + 1e-6)


def test_a_guess_is_not_given_a_confidence(rng: np.random.Generator) -> None:
    explanation = random_explanation(0, concepts=2)
    sure, guess = (replace(c, confidence=0.75, named=i == 0) for i, c in enumerate(explanation.concepts))
    found = explanation_fields(replace(explanation, concepts=(sure, guess)), size=(8, 8))
    assert [label.confidence for label in found["concepts"].classifications] == [0.75, None]


@pytest.mark.parametrize(("width", "height"), [(300, 200), (200, 300), (200, 200), (1000, 10)])
def test_maps_lie_on_the_square_that_the_encoder_saw(rng: np.random.Generator, width: int, height: int) -> None:
    heat = rng.uniform(0.5, 1, (4, 4)).astype(np.float32)
    found = in_whole_photo(heat, width, height)
    assert found.shape[1] / found.shape[0] == pytest.approx(width / height, rel=0.01)
    rows, columns = np.nonzero(found)
    side = min(width, height)
    x0, x1 = columns.min() / found.shape[1], (columns.max() + 1) / found.shape[1]
    y0, y1 = rows.min() / found.shape[0], (rows.max() + 1) / found.shape[0]
    near = pytest.approx
    assert (x0, x1) == (near((width - side) / 2 / width, abs=0.01), near((width + side) / 2 / width, abs=0.01))
    assert (y0, y1) == (near((height - side) / 2 / height, abs=0.01), near((height + side) / 2 / height, abs=0.01))


def test_boxes_are_where_the_concept_stands_in_the_whole_photo() -> None:
    explanation = random_explanation(1, concepts=1)
    heat = np.zeros((4, 6), np.float32)
    heat[1, 2:4] = 1.0
    heat[3, 0] = 0.8
    heat[0, 5] = 0.4  # below half of the maximum
    concept = replace(explanation.concepts[0], map=heat, activation=1.0)
    found = explanation_fields(replace(explanation, concepts=(concept,)), size=(100, 80))["concept_regions"].detections
    boxes = [np.array(region.bounding_box) * [100, 80, 100, 80] for region in found]
    expected = [[10 + 80 * 2 / 6, 20, 80 * 2 / 6, 20], [10, 60, 80 / 6, 20]]
    assert sorted(np.round(box, 6).tolist() for box in boxes) == sorted(np.round(box, 6).tolist() for box in expected)
    assert sorted(region.mask.shape for region in found) == [(1, 1), (1, 2)]
    assert all(region.mask.all() for region in found)


def test_the_size_is_read_from_the_photo(tmp_path: Path) -> None:
    Image.new("RGB", (90, 60)).save(tmp_path / "a.png")
    explanation = random_explanation(2, concepts=1)
    fields = explanation_fields(replace(explanation, image=str(tmp_path / "a.png")))
    heat = fields[f"concept_{explanation.concepts[0].id}"].map
    assert heat.shape[1] / heat.shape[0] == pytest.approx(1.5, rel=0.01)
    with pytest.raises(InsightError, match=r"expected the file of the photo.*give size="):
        explanation_fields(explanation)


def test_a_segmentation_becomes_a_mask_with_background_as_zero(rng: np.random.Generator) -> None:
    segmenter = ConceptSegmenter(random_model(rng), ["sky", "tree"], background=0.6)
    segmentation = segmenter.predict(random_photos(rng, 1)[0])
    mask = segmentation_label(segmentation).mask
    assert mask.dtype == np.uint8
    np.testing.assert_array_equal(mask.astype(int) - 1, segmentation.labels)
    assert mask_targets(segmentation) == {0: "background", 1: "sky", 2: "tree"}


def test_without_fiftyone_the_error_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "fiftyone", None)
    with pytest.raises(InsightError, match="pip install fiftyone"):
        explanation_fields(random_explanation(3), size=(8, 8))

"""Heads in a report: the classes, concepts and weights are those of the files; and a cache that is measured on."""

from pathlib import Path

import numpy as np
import pytest
import torch

from insight import ConceptModel, InsightError
from insight.cache import write_cache
from insight.heads import ConceptClassifier, ConceptSegmenter
from insight.report import collect
from insight.report.heads import head_table
from insight.report.page import report_page
from sae.metrics import evaluate

from ..heads.made import HashedPixels, random_model, random_photos
from .made import BACKBONE, write_model

CLASSES = ("a", "b", "c")


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng()


@pytest.fixture
def model(rng: np.random.Generator, tmp_path: Path) -> ConceptModel:
    write_model(tmp_path / "model", rng)
    return ConceptModel.from_pretrained(tmp_path / "model", backbone=HashedPixels())


def fitted(
    rng: np.random.Generator, model: ConceptModel, folder: Path, classes: tuple[str, ...], alpha: float | str = "auto"
) -> ConceptClassifier:
    """A head on random activations in which some concepts tell the classes apart."""
    y = np.array([classes[i % len(classes)] for i in range(60)])
    x = rng.random((60, 80)) + 2 * (np.arange(80)[None] % 40 == np.array([classes.index(name) for name in y])[:, None])
    head = ConceptClassifier(model, alpha=alpha).fit(x, y)
    head.save(folder, model_place=folder.parent / "model")
    return head


def test_a_classifier_is_told_by_its_own_weights(rng: np.random.Generator, model: ConceptModel, tmp_path: Path) -> None:
    head = fitted(rng, model, tmp_path / "head", CLASSES)
    found = head_table(tmp_path / "head", model)
    assert head.path_ is not None
    assert found.accuracy == pytest.approx(head.path_.accuracy[head.path_.chosen])
    assert found.held_out == head.path_.images
    assert [one.name for one in found.classes] == list(CLASSES)
    for row, one in zip(head.coef_, found.classes):
        assert one.concepts == len({i % 40 for i in np.flatnonzero(row)})
        for weight in (*one.strongest_for, *one.strongest_against):
            assert row[weight.id + 40 * (weight.feature == "mean")] == weight.weight
            assert weight.title == model.concepts[weight.id].guessed
        assert one.strongest_for[0].weight == row.max()
        assert all(weight.weight < 0 for weight in one.strongest_against)


def test_of_two_classes_each_has_its_own_side(rng: np.random.Generator, model: ConceptModel, tmp_path: Path) -> None:
    head = fitted(rng, model, tmp_path / "head", ("no", "yes"), alpha=0.01)
    no, yes = head_table(tmp_path / "head", model).classes
    assert yes.strongest_for[0].weight == head.coef_.max()
    assert no.strongest_for[0].weight == -head.coef_.min()
    assert no.concepts == yes.concepts
    assert head_table(tmp_path / "head", model).accuracy is None


def test_a_head_of_text_shows_what_its_words_weigh(model: ConceptModel, tmp_path: Path) -> None:
    head = ConceptClassifier.zero_shot(model, CLASSES)
    head.save(tmp_path / "head", model_place=tmp_path / "model")
    found = head_table(tmp_path / "head", model)
    assert head.text_ is not None
    best = found.classes[1].strongest_for[0]
    assert (best.feature, best.weight) == ("text", pytest.approx(head.text_.weights[:, 1].max()))
    assert "names of its classes alone" in found.facts["made"]


def test_a_segmenter_is_told_by_its_own_weights(rng: np.random.Generator, model: ConceptModel, tmp_path: Path) -> None:
    codes, _ = model.encode(torch.stack([model.backbone.transform(photo) for photo in random_photos(rng, 6)]))
    segmenter = ConceptSegmenter(model, CLASSES).fit(codes, rng.integers(0, 3, 96), grid=(4, 4), alpha=1e-4)
    segmenter.save(tmp_path / "head", model_place=tmp_path / "model")
    found = head_table(tmp_path / "head", model)
    around = segmenter.head.around
    assert around is not None
    assert found.kind == "segmenter"
    assert [one.name for one in found.classes] == list(CLASSES)
    for number, one in enumerate(found.classes):
        here = {"patch": segmenter.head.weights[:, number], "around": around[:, number]}
        for weight in one.strongest_for:
            assert here[weight.feature][weight.id] == weight.weight
        assert one.strongest_for[0].weight == max(values.max() for values in here.values())


def test_a_head_of_another_model_is_refused(rng: np.random.Generator, model: ConceptModel, tmp_path: Path) -> None:
    fitted(rng, model, tmp_path / "head", CLASSES, alpha=0.01)
    with pytest.raises(InsightError, match="expected the model it was fitted on"):
        head_table(tmp_path / "head", random_model(rng))


def test_heads_stand_in_the_page(rng: np.random.Generator, model: ConceptModel, tmp_path: Path) -> None:
    fitted(rng, model, tmp_path / "head", ("<i>cat</i>", "dog", "tree"), alpha=0.01)
    page = report_page(collect(tmp_path / "model", heads=[tmp_path / "head"]))
    assert "&lt;i&gt;cat&lt;/i&gt;" in page
    assert "<i>" not in page


def test_the_dictionary_is_measured_on_the_cache(rng: np.random.Generator, model: ConceptModel, tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    for number, photo in enumerate(random_photos(rng, 8)):
        photo.save(tmp_path / "photos" / f"{number}.png")
    cache = write_cache(tmp_path / "photos", HashedPixels(), tmp_path / "cache", dtype="float32")
    report = collect(tmp_path / "model", cache=tmp_path / "cache")
    found = evaluate(model.sae, [tokens for _, tokens in cache.scan()])
    assert report.quality[1].patches == cache.n_tokens == 128
    assert report.quality[1].fvu == pytest.approx(found["fvu"])
    assert report.quality[1].l0 == pytest.approx(found["l0"])
    assert report.cache["images"] == "8 in 1 shards"
    assert "patches of cache (128 looked at)" in report_page(report)


def test_a_cache_of_another_backbone_is_refused(rng: np.random.Generator, tmp_path: Path) -> None:
    write_model(tmp_path / "model", rng, config={"backbone": {**BACKBONE, "fingerprint": "cd" * 32}})
    (tmp_path / "photos").mkdir()
    random_photos(rng, 1)[0].save(tmp_path / "photos" / "a.png")
    write_cache(tmp_path / "photos", HashedPixels(), tmp_path / "cache")
    with pytest.raises(InsightError, match="expected features of the backbone with fingerprint cdcdcd"):
        collect(tmp_path / "model", cache=tmp_path / "cache")

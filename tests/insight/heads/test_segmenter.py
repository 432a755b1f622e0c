"""A segmenter on plain codes, its training, its files, and what it says of bad input."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.sparse import csr_array
from scipy.special import softmax

from insight import InsightError
from insight.cache import FeatureCache
from insight.heads import ConceptSegmenter
from insight.heads.class_texts import class_vectors
from insight.heads.linear import fit_linear
from insight.heads.token_head import TokenHead
from sae import SparseCodes
from tests.insight.cache.random_cache import random_cache

from .segmenting import (
    CONCEPTS,
    FINGERPRINT,
    TEMPERATURE,
    TEMPLATES,
    ByHand,
    class_terms,
    noise,
    random_model,
    segmenter,
)

GRID = (5, 4)  # of the images of `cache`


def random_codes(seed: int, n: int = 300) -> tuple[SparseCodes, np.ndarray]:
    """Codes and their dense float64 form; rows 0 and 1 are empty."""
    rng = np.random.default_rng(seed)
    dense = rng.random((n, CONCEPTS)) * (rng.random((n, CONCEPTS)) < 0.2)
    dense[:2] = 0
    return SparseCodes.from_dense(torch.from_numpy(dense).float()), dense.astype(np.float32).astype(np.float64)


def test_logits_of_codes_are_those_of_the_photo_they_came_from() -> None:
    model, photo = random_model(0), noise(0)
    hand = ByHand(model, photo, (4, 6))
    expected = np.stack([terms.sum(-1) for terms in class_terms(hand.terms)], axis=1)
    found = segmenter(model).token_logits(csr_array(hand.codes))
    assert found.dtype == torch.float32
    np.testing.assert_allclose(found.numpy(), expected, rtol=0, atol=1e-4)


def test_logits_are_the_same_however_many_rows_are_reconstructed_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    codes, _ = random_codes(1)
    at_once = segmenter(random_model(1)).token_logits(codes)
    monkeypatch.setattr("insight.heads.token_head.ROWS", 7)
    assert torch.allclose(segmenter(random_model(1)).token_logits(codes), at_once, rtol=0, atol=1e-6)


def test_one_class_has_logits_and_every_pixel() -> None:
    segment = ConceptSegmenter(random_model(1), ["sky"])
    found = segment.predict(noise(1))
    assert (found.labels == 0).all()
    (region,) = found.regions()
    assert (region.name, region.share, region.rival, region.margin) == ("sky", 1.0, None, None)
    assert sum(reason.share for reason in region.reasons) == pytest.approx(1)


def test_a_class_vector_is_the_renormalised_mean_over_its_words() -> None:
    backbone = random_model(1).backbone
    found = class_vectors(backbone, {"boat": ("boat", "ship"), "sky": "sky"}, TEMPLATES).numpy()
    words = {}
    for word in ("boat", "ship", "sky"):
        texts = backbone.encode_text([t.replace("{}", word) for t in TEMPLATES]).double().numpy()
        mean = (texts / np.linalg.norm(texts, axis=1, keepdims=True)).mean(0)
        words[word] = mean / np.linalg.norm(mean)
    boat = (words["boat"] + words["ship"]) / 2
    np.testing.assert_allclose(found, [boat / np.linalg.norm(boat), words["sky"]], rtol=0, atol=1e-6)


@pytest.mark.parametrize("n_classes", [2, 3])
def test_a_trained_segmenter_has_the_probabilities_of_the_linear_fit_without_unlabelled_patches(n_classes: int) -> None:
    codes, dense = random_codes(4)
    rng = np.random.default_rng(4)
    y = (dense @ rng.standard_normal((CONCEPTS, n_classes))).argmax(1)
    y[rng.random(len(y)) < 0.2] = -1
    names = ["a", "b", "c"][:n_classes]
    segment = ConceptSegmenter(random_model(4), names).fit(codes, y, alpha=1e-2)
    kept = y >= 0
    expected = fit_linear(csr_array(dense[kept]), y[kept], n_classes, alpha=1e-2).probabilities(csr_array(dense))
    found = softmax(segment.token_logits(codes).double().numpy(), axis=1)
    assert segment.trained
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-3)
    assert (found.argmax(1) == y)[kept].mean() > 0.6


def test_balanced_classes_weigh_alike() -> None:
    codes, dense = random_codes(5)
    y = (dense[:, 0] > 0).astype(int)  # about a fifth
    found = ConceptSegmenter(random_model(5), ["a", "b"]).fit(codes, y, alpha=10.0, class_weight="balanced")
    assert torch.allclose(found.token_logits(codes), torch.zeros(300, 2), atol=1e-3)  # all weights 0: odds of 1
    plain = ConceptSegmenter(random_model(5), ["a", "b"]).fit(codes, y, alpha=10.0)
    odds = (plain.token_logits(codes)[:, 1] - plain.token_logits(codes)[:, 0]).double().numpy()
    np.testing.assert_allclose(odds, np.log(y.mean() / (1 - y.mean())), rtol=0, atol=1e-3)


@pytest.fixture
def cache(tmp_path: Path) -> FeatureCache:
    return random_cache(tmp_path / "cache", dim=48, dtype="float32", classes=("cat", "sky", "water"), grid=GRID)


def test_a_cache_teaches_its_own_classes_or_those_that_are_asked_for(cache: FeatureCache) -> None:
    model = random_model(6)
    features = torch.cat([features for _, features in cache.scan()])
    codes, marks = model.sae.encode(features), cache.patch_classes().flatten().long().numpy()
    for names in (None, ["waters", "Cat"]):  # another form of the word, another order
        taught = ConceptSegmenter(model, names).fit(cache, alpha=1e-2)
        wanted = names or ["cat", "sky", "water"]
        y = marks if names is None else np.array([1, -1, 0, -1])[marks]
        expected = ConceptSegmenter(model, wanted).fit(codes, y, alpha=1e-2, grid=GRID)
        assert taught.classes == tuple(wanted)
        found = taught.token_logits(codes, GRID)
        assert torch.allclose(found, expected.token_logits(codes, GRID), rtol=0, atol=1e-6)
    few = ConceptSegmenter(model).fit(cache.folder, alpha=1e-2, most_patches=100)
    assert not torch.equal(few.token_logits(codes, GRID), found)
    alone = ConceptSegmenter(model, wanted).fit(cache, alpha=1e-2, surroundings=False)
    expected = ConceptSegmenter(model, wanted).fit(codes, y, alpha=1e-2)
    assert torch.allclose(alone.token_logits(codes), expected.token_logits(codes), rtol=0, atol=1e-6)
    assert not torch.allclose(alone.token_logits(codes), found, rtol=0, atol=1e-3)


def test_a_head_of_surroundings_has_the_logits_of_a_fit_on_own_and_mean_codes(monkeypatch: pytest.MonkeyPatch) -> None:
    codes, dense = random_codes(9)  # 15 images of 5 × 4 patches
    means = np.stack([dense[neighbours(p)].mean(0) for p in range(len(dense))])
    rng = np.random.default_rng(9)
    y = (dense @ rng.standard_normal((CONCEPTS, 3)) + 2 * means @ rng.standard_normal((CONCEPTS, 3))).argmax(1)
    found = ConceptSegmenter(random_model(9), ["a", "b", "c"]).fit(codes, y, alpha=1e-3, l1_ratio=0.5, grid=GRID)
    both = csr_array(np.hstack([dense, means]))
    expected = fit_linear(both, y, 3, alpha=1e-3, l1_ratio=0.5)
    logits = found.token_logits(codes, GRID)
    wanted = both @ expected.coef.T + expected.intercept
    np.testing.assert_allclose(logits.numpy(), wanted, rtol=0, atol=2e-3)
    monkeypatch.setattr("insight.heads.token_head.ROWS", 47)  # two whole images at a time
    assert torch.allclose(found.token_logits(codes, GRID), logits, rtol=0, atol=1e-6)


def neighbours(patch: int) -> list[int]:
    """The patches around one of 5 × 4, itself among them."""
    image, place = divmod(patch, 20)
    row, column = divmod(place, 4)
    near = [(r, c) for r in range(row - 1, row + 2) for c in range(column - 1, column + 2)]
    return [image * 20 + r * 4 + c for r, c in near if 0 <= r < 5 and 0 <= c < 4]


def test_a_trained_segmenter_comes_back_from_its_files(tmp_path: Path, cache: FeatureCache) -> None:
    model, photo = random_model(7), noise(7)
    taught = ConceptSegmenter(model, background=0.4, upsampling="jbu", size=20).fit(cache, alpha=1e-2)
    taught.save(tmp_path / "head")
    again = ConceptSegmenter.load(tmp_path / "head", model)
    assert again.classes == taught.classes
    assert np.array_equal(again.predict(photo).labels, taught.predict(photo).labels)
    plain = ConceptSegmenter.load(tmp_path / "head", model, background=None)
    assert (plain.predict(photo).labels >= 0).all()
    with pytest.raises(InsightError, match="dictionary"):
        ConceptSegmenter.load(tmp_path / "head", random_model(8))


def test_damaged_files_are_said(tmp_path: Path, cache: FeatureCache) -> None:
    model = random_model(7)
    ConceptSegmenter(model).fit(cache, alpha=1e-2).save(tmp_path)
    weights, facts = tmp_path / "segmenter.safetensors", tmp_path / "segmenter.json"
    whole = weights.read_bytes()
    for damage in (b"", whole[:50], whole[:-8]):
        weights.write_bytes(damage)
        with pytest.raises(InsightError, match=r"segmenter\.safetensors"):
            ConceptSegmenter.load(tmp_path, model)
    weights.unlink()
    with pytest.raises(InsightError, match="no such file"):
        ConceptSegmenter.load(tmp_path, model)
    stored = json.loads(facts.read_text())
    for broken in ({**stored, "format_version": 9}, {k: v for k, v in stored.items() if k != "settings"}, []):
        facts.write_text(json.dumps(broken))
        with pytest.raises(InsightError, match=r"segmenter\.json"):
            ConceptSegmenter.load(tmp_path, model)
    with pytest.raises(InsightError, match="one of text"):
        segmenter(model).save(tmp_path)


@pytest.mark.parametrize(
    ("classes", "settings", "said"),
    [
        ([], {}, "at least one name"),
        ("sky,boat", {}, "several names, found one text"),
        (["sky", ""], {}, "not empty"),
        (["boat", "sky", "Boats"], {}, "same|share"),
        ({"boat": ("boat", "ship"), "vessel": ("Ships",)}, {}, "share the word 'Ships'"),
        (["sky"], {"upsampling": "nearby"}, "upsampling: expected bilinear"),
        (["sky"], {"background": 1.5}, "background"),
        (["sky"], {"background": float("nan")}, "background"),
        (["sky"], {"temperature": 0.0}, "temperature"),
        (["sky"], {"size": 0}, "size"),
    ],
)
def test_classes_and_settings_that_make_no_sense_are_said_in_a_line(
    classes: object, settings: dict[str, object], said: str
) -> None:
    with pytest.raises(InsightError, match=said) as error:
        ConceptSegmenter(random_model(0), classes, **settings)
    assert "\n" not in str(error.value)


def test_photos_and_templates_that_do_not_fit_are_said() -> None:
    model = random_model(0)
    with pytest.raises(InsightError, match="cut it into parts"):
        ConceptSegmenter(model, ["sky"], size=400).predict(Image.new("RGB", (2000, 1)))
    with pytest.raises(InsightError, match="multiples of 4"):
        ConceptSegmenter(model, ["sky"], window=7).predict(noise(0))
    with pytest.raises(InsightError, match="templates: expected"):
        ConceptSegmenter(model, ["sky"], templates=["a photo"]).predict(noise(0))
    with pytest.raises(InsightError, match="no classes yet"):
        ConceptSegmenter(model).predict(noise(0))


def test_what_cannot_be_learnt_from_is_said(cache: FeatureCache, tmp_path: Path) -> None:
    codes, _ = random_codes(0)
    three = ConceptSegmenter(random_model(0), ["a", "b", "c"])
    y = np.arange(300) % 3
    for classes, said in [
        (None, "give y"),
        (y[:-1], r"int \[300\], found"),
        (y.astype(float), "found float64"),
        (y + 1, "found 3"),
        (y - 2, "found -2"),
        (np.where(y == 1, -1, y), "no patch is of 'b'"),
    ]:
        with pytest.raises(InsightError, match=said):
            three.fit(codes, classes)
    with pytest.raises(InsightError, match="at least two classes"):
        ConceptSegmenter(random_model(0), ["a"]).fit(codes, np.zeros(300, int))
    with pytest.raises(InsightError, match="class_weight"):
        three.fit(codes, y, class_weight="even")
    with pytest.raises(InsightError, match=f"{CONCEPTS} concepts, found 5"):
        three.token_logits(csr_array(np.ones((2, 5))))
    with pytest.raises(InsightError, match="whole images of 7 × 7 patches, found 300 rows"):
        three.fit(codes, y, grid=(7, 7))
    with pytest.raises(InsightError, match="grid of the images"):
        ConceptSegmenter(random_model(0), ["a", "b", "c"]).fit(codes, y, grid=GRID).token_logits(codes)
    with pytest.raises(InsightError, match="leave grid out"):
        ConceptSegmenter(random_model(0)).fit(cache, grid=GRID)
    some = random_cache(tmp_path / "some", dim=48, classes=("cat", "sky"), grid=GRID, tokens=6)
    with pytest.raises(InsightError, match="keeps 6 patches of each image"):
        ConceptSegmenter(random_model(0)).fit(some)
    with pytest.raises(InsightError, match="NaN"):
        three.token_logits(csr_array(np.full((2, CONCEPTS), np.nan)))
    with pytest.raises(InsightError, match="'dog'; its classes are cat, sky, water"):
        ConceptSegmenter(random_model(0), ["dog", "cat"]).fit(cache)
    with pytest.raises(InsightError, match="leave y out"):
        ConceptSegmenter(random_model(0)).fit(cache, y)
    other = random_cache(tmp_path / "other", dim=48, classes=("cat", "sky"), fingerprint="cd" * 32)
    with pytest.raises(InsightError, match="expected features of the backbone"):
        ConceptSegmenter(random_model(0)).fit(other)
    assert cache.fingerprint == FINGERPRINT


def test_texts_of_another_width_are_said() -> None:
    with pytest.raises(InsightError, match="features of 48 values, the texts of 5"):
        TokenHead.of_text(random_model(0).sae, np.ones((2, 5)), np.arange(2), TEMPERATURE)

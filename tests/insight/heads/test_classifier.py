"""What a classifier says is the same for every kind of X, and what text says is as defined."""

from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.sparse import csr_array
from scipy.special import softmax

from insight import InsightError
from insight.data import BadImage
from insight.heads import ConceptClassifier
from insight.heads.pooling import pool
from sae import SparseCodes

from ..random_models import CONCEPTS
from .made import NAMES, cached, dense_codes, random_model, random_photos, text_vectors

LABELS = [NAMES[i % 3] for i in range(24)]


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng()


def pooled(model, photos, pooling="max+mean") -> SparseCodes:
    dense = np.concatenate([dense_codes(model, photo) for photo in photos])
    return pool(SparseCodes.from_dense(torch.from_numpy(dense)), 16, pooling)


def by_definition(model, photos, names, temperature=0.01) -> np.ndarray:
    """Zero-shot logits [n, C] in float64: the cosine of the mean reconstruction with the text over the temperature."""
    mean = np.stack([dense_codes(model, photo).mean(0) for photo in photos])
    decoder, bias = (part.detach().numpy().astype(np.float64) for part in (model.sae.decoder, model.sae.decoder_bias))
    reconstructed = mean @ decoder + bias
    cosine = reconstructed @ text_vectors(names).T / np.linalg.norm(reconstructed, axis=1, keepdims=True)
    return cosine / temperature


@pytest.mark.parametrize("pooling", ["max", "mean", "top", "max+mean"])
def test_photos_a_cache_and_activations_are_the_same_images(pooling, rng, tmp_path: Path) -> None:
    model, photos = random_model(rng), random_photos(rng, 24)
    cache = cached(tmp_path, photos, LABELS)
    codes = pooled(model, photos, pooling)
    heads = [
        ConceptClassifier(model, pooling=pooling, alpha=0.01, tol=1e-6).fit(cache),
        ConceptClassifier(model, pooling=pooling, alpha=0.01, tol=1e-6).fit(str(cache.folder), LABELS),
        ConceptClassifier(model, pooling=pooling, alpha=0.01, tol=1e-6).fit(photos, LABELS),
        ConceptClassifier(pooling=pooling, alpha=0.01, tol=1e-6).fit(codes, LABELS),
        ConceptClassifier(pooling=pooling, alpha=0.01, tol=1e-6).fit(codes.dense().numpy(), LABELS),
    ]
    wanted = heads[-1].predict_proba(codes.to_scipy())
    for head in heads[:3]:
        for images in (cache, cache.folder, photos, codes):
            np.testing.assert_allclose(head.predict_proba(images), wanted, atol=5e-3)
        assert head.score(cache) == pytest.approx(head.score(photos, LABELS))
    np.testing.assert_allclose(heads[3].predict_proba(codes), wanted, atol=5e-3)


def test_images_without_a_label_are_left_out(rng, tmp_path: Path) -> None:
    model, photos = random_model(rng), random_photos(rng, 12)
    labels = [*LABELS[:9], "", "", ""]
    cache = cached(tmp_path, photos, labels)
    head = ConceptClassifier(model, alpha=0.01, tol=1e-6).fit(cache)
    few = ConceptClassifier(model, alpha=0.01, tol=1e-6).fit(photos[:9], LABELS[:9])
    np.testing.assert_allclose(head.predict_proba(photos), few.predict_proba(photos), atol=5e-3)
    assert len(head.predict(cache)) == 12
    assert head.score(cache) == few.score(photos[:9], LABELS[:9])
    with pytest.raises(InsightError, match="expected labelled images, found 12 without a label"):
        head.fit(photos, [None] * 12)


@pytest.mark.parametrize("names", [NAMES, NAMES[:2]])
def test_zero_shot_logits_are_cosines_with_the_text_over_the_temperature(names, rng) -> None:
    model, photos = random_model(rng), random_photos(rng, 5)
    head = ConceptClassifier.zero_shot(model, names, temperature=0.05)
    wanted = by_definition(model, photos, names, 0.05)
    found = head.decision_function(photos)
    np.testing.assert_allclose(found, wanted if len(names) > 2 else wanted[:, 1] - wanted[:, 0], atol=1e-3)
    np.testing.assert_allclose(head.predict_proba(photos), softmax(wanted, axis=1), atol=1e-3)
    assert list(head.predict(photos)) == [names[i] for i in head.predict_proba(photos).argmax(1)]


def test_several_words_stand_for_a_class_at_their_mean(rng) -> None:
    model, photos = random_model(rng), random_photos(rng, 3)
    head = ConceptClassifier.zero_shot(model, {"pet": ("cat", "dog"), "tree": "tree", "sky": "sky"})
    assert list(head.classes_) == ["pet", "tree", "sky"]
    pet = text_vectors(("cat", "dog")).sum(0)
    np.testing.assert_allclose(head.text_.vectors[0], pet / np.linalg.norm(pet), atol=1e-6)
    assert head.predict(photos).shape == (3,)


def test_few_shot_begins_with_the_text_and_learns_the_rest(rng) -> None:
    model, photos = random_model(rng), random_photos(rng, 24)
    zero = ConceptClassifier.zero_shot(model, NAMES)
    held_back = ConceptClassifier(model, prior="text", alpha=1e6).fit(photos, LABELS)
    assert not held_back.coef_.any()
    added = held_back.decision_function(photos) - zero.decision_function(photos)
    np.testing.assert_allclose(added, np.tile(held_back.intercept_, (24, 1)), atol=1e-9)
    taught = ConceptClassifier(model, prior="text", alpha=1e-5).fit(photos, LABELS)
    assert taught.coef_.any()
    assert taught.score(photos, LABELS) > zero.score(photos, LABELS)


@pytest.mark.parametrize("names", [NAMES, NAMES[:2]])
def test_label_free_learns_what_text_says_of_unlabelled_images(names, rng, tmp_path: Path) -> None:
    model, photos = random_model(rng), random_photos(rng, 24)
    zero = ConceptClassifier.zero_shot(model, names)
    cache = cached(tmp_path, photos, [""] * 24)
    taught = ConceptClassifier.label_free(model, cache, names, alpha=1e-5)
    assert taught.text_ is None
    assert list(taught.classes_) == list(names)
    untaught = ConceptClassifier.label_free(model, cache, names, alpha=1e6)
    target = zero.predict_proba(photos).clip(1e-12)

    def divergence(head: ConceptClassifier) -> float:
        return float((target * np.log(target / head.predict_proba(photos))).sum(1).mean())

    assert divergence(taught) < 0.2 * divergence(untaught) + 0.01


@pytest.mark.parametrize(
    ("classes", "said"),
    [
        (("cat",), "expected at least two to choose from, found only 'cat'"),
        (("cat", "Cats"), "share the word"),
        (("cat", ""), "not empty"),
        ((), "at least one name"),
        ("cat,dog", "found one text"),
    ],
)
def test_classes_that_are_none_or_the_same_are_said(classes, said, rng) -> None:
    with pytest.raises(InsightError, match=said):
        ConceptClassifier.zero_shot(random_model(rng), classes)


def test_what_cannot_be_learnt_from_is_said(rng, tmp_path: Path) -> None:
    model, photos = random_model(rng), random_photos(rng, 6)
    head = ConceptClassifier(model)
    with pytest.raises(InsightError, match="at least two classes, found one class, cat"):
        head.fit(photos, ["cat"] * 6)
    with pytest.raises(ValueError, match="NaN"):
        head.fit(np.full((6, 2 * CONCEPTS), np.nan), LABELS[:6])
    with pytest.raises(InsightError, match=f"expected {2 * CONCEPTS} columns, .* found {CONCEPTS}"):
        head.fit(np.ones((6, CONCEPTS)), LABELS[:6])
    with pytest.raises(InsightError, match="a head without a model"):
        ConceptClassifier().fit(photos, LABELS[:6])
    with pytest.raises(InsightError, match="expected a label for each photo"):
        head.fit(photos)
    with pytest.raises(InsightError, match="expected a feature cache"):
        head.fit(tmp_path)
    with pytest.raises(BadImage, match="no such file"):
        head.fit([tmp_path / "absent.jpg", *photos[1:]], LABELS[:6])
    with pytest.raises(InsightError, match="one image a class; give alpha as a number"):
        head.fit(photos[:3], NAMES)
    with pytest.raises(InsightError, match='expected pooling "mean" or "max\\+mean", found \'max\''):
        ConceptClassifier(model, pooling="max", prior="text").fit(photos, LABELS[:6])
    with pytest.raises(InsightError, match="expected names as texts, found 1"):
        ConceptClassifier(model, prior="text").fit(photos, [1, 2, 1, 2, 1, 2])


def test_a_cache_of_another_backbone_is_refused(rng, tmp_path: Path) -> None:
    model, photos = random_model(rng), random_photos(rng, 6)
    cache = cached(tmp_path, photos, LABELS[:6])
    model.config = {"backbone": {**model.config["backbone"], "fingerprint": "another"}}
    with pytest.raises(InsightError, match="fingerprint another"):
        ConceptClassifier(model).fit(cache)


def test_more_classes_than_images_of_each_is_fitted_at_a_penalty(rng) -> None:
    model, photos = random_model(rng), random_photos(rng, 3)
    head = ConceptClassifier(model, alpha=1e-3).fit(photos, NAMES)
    assert list(head.predict(photos)) == list(NAMES)


def test_few_shot_of_one_image_a_class_is_fitted_at_a_penalty(rng) -> None:
    model, photos = random_model(rng), random_photos(rng, 3)
    assert ConceptClassifier(model, alpha=1e-3, prior="text").fit(photos, NAMES).score(photos, NAMES) == 1


def test_balanced_weights_make_a_rare_class_count(rng) -> None:
    rows = csr_array(np.ones((40, 2)))
    y = np.array(["common"] * 36 + ["rare"] * 4)
    plain = ConceptClassifier(pooling="max", alpha=0.1).fit(rows, y)
    balanced = ConceptClassifier(pooling="max", alpha=0.1, class_weight="balanced").fit(rows, y)
    assert plain.predict_proba(rows)[0, 1] == pytest.approx(0.1, abs=1e-3)
    assert balanced.predict_proba(rows)[0, 1] == pytest.approx(0.5, abs=1e-3)

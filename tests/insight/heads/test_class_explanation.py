"""Why a photo is of a class: contributions that sum to the logit, maps, what suffices, what is said and drawn."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from insight import ConceptModel, InsightError
from insight.heads import ConceptClassifier
from insight.models import shipped_models

from .made import NAMES, dense_codes, random_model, random_photos

LABELS = [NAMES[i % 3] for i in range(18)]
MODES = ["plain", "binary", "few-shot", "binary few-shot", "zero-shot", "binary zero-shot", "label-free"]


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng()


def head_of(mode: str, model: ConceptModel, photos: list[Image.Image], **parameters) -> ConceptClassifier:
    names = NAMES[:2] if "binary" in mode else NAMES
    if "zero-shot" in mode:
        return ConceptClassifier.zero_shot(model, names, **parameters)
    if mode == "label-free":
        return ConceptClassifier.label_free(model, photos, names, alpha=0.001, **parameters)
    labels = [names[i % len(names)] for i in range(len(photos))]
    prior = "text" if "few-shot" in mode else None
    return ConceptClassifier(model, prior=prior, alpha=0.003, **parameters).fit(photos, labels)


def ways() -> list[tuple[str, str]]:
    every = [(mode, pooling) for mode in MODES for pooling in ("max", "mean", "top", "max+mean")]
    return [(mode, pooling) for mode, pooling in every if mode in ("plain", "binary") or "mean" in pooling]


@pytest.mark.parametrize(("mode", "pooling"), ways())
def test_contributions_and_intercept_sum_to_the_logit_of_every_class(mode, pooling, rng) -> None:
    model, photos = random_model(rng), random_photos(rng, 18)
    head = head_of(mode, model, photos, pooling=pooling)
    for photo in photos[:3]:
        decision = head.decision_function([photo])[0]
        logits = decision if decision.ndim else np.array([-decision, decision])
        for place, target in enumerate(head.classes_):
            explanation = head.explain(photo, target)
            terms = [item.contribution for item in explanation.contributions]
            largest = max([abs(term) for term in [*terms, explanation.intercept]])
            assert abs(sum(terms) + explanation.intercept - logits[place]) < 1e-5 * largest
            assert explanation.logit == pytest.approx(logits[place], abs=1e-5 * largest)
            assert terms == sorted(terms, key=abs, reverse=True)
            for item in explanation.contributions:
                parts = sum(term.value * term.weight for term in item.terms)
                assert item.contribution == pytest.approx(parts, abs=1e-9 * largest)
        explanation = head.explain(photo)
        assert explanation.target == explanation.predicted == head.predict([photo])[0]
        np.testing.assert_allclose(explanation.probabilities, head.predict_proba([photo])[0], atol=1e-6)
        row = np.zeros(model.sae.n_concepts)
        row[[item.id for item in explanation.contributions]] = [item.contribution for item in explanation.contributions]
        found, intercepts = head.contributions([photo])
        np.testing.assert_allclose(found.toarray()[0], row, atol=1e-5 * np.abs(row).max(initial=1))
        assert intercepts[0] == pytest.approx(explanation.intercept, rel=1e-5, abs=1e-5)


def test_maps_are_the_activations_on_the_patches(rng) -> None:
    model, photos = random_model(rng), random_photos(rng, 18)
    codes = dense_codes(model, photos[0])
    explanation = head_of("zero-shot", model, photos).explain(photos[0])
    assert {item.id for item in explanation.contributions} >= set(np.flatnonzero(codes.max(0) > 1e-3).tolist())
    for item in explanation.contributions:
        np.testing.assert_allclose(item.map, codes[:, item.id].reshape(4, 4), atol=1e-5)
        assert item.activation == item.map.max()
        assert item.weight * item.activation == pytest.approx(item.contribution)
        assert item.title == f"word {item.id}"


def test_features_of_one_concept_are_one_line_with_a_term_each(rng) -> None:
    model, photos = random_model(rng), random_photos(rng, 18)
    head = ConceptClassifier(model, alpha=1e-4, l1_ratio=0.0).fit(photos, LABELS)
    explanation = head.explain(photos[0])
    ids = [item.id for item in explanation.contributions]
    assert len(set(ids)) == len(ids)
    codes = dense_codes(model, photos[0])
    for item in explanation.contributions:
        assert [term.feature for term in item.terms] == ["max", "mean"]
        values = [codes[:, item.id].max(), codes[:, item.id].mean()]
        assert [term.value for term in item.terms] == pytest.approx(values, abs=1e-5)


def test_edits_change_what_is_shown_and_never_the_sum(rng) -> None:
    model, photos = random_model(rng), random_photos(rng, 18)
    head = ConceptClassifier(model, alpha=1e-3, l1_ratio=0.0).fit(photos, LABELS)
    plain = {item.id: item for item in head.explain(photos[0], "cat").contributions}
    one, other, third = list(plain)[:3]
    edits = {one: {"merged_into": other}, other: {"name": "both", "edited": True}, third: {"hidden": True}}
    head.model = ConceptModel(
        model.sae,
        random_model(rng, edits).concepts,
        model.relations,
        model.config,
        backbone=model.backbone,
    )
    edited = head.explain(photos[0], "cat")
    shown = {item.id: item for item in edited.contributions}
    assert one not in shown
    assert shown[other].title == "both"
    assert shown[other].edited
    assert shown[other].contribution == pytest.approx(plain[one].contribution + plain[other].contribution)
    np.testing.assert_array_equal(shown[other].map, np.maximum(plain[one].map, plain[other].map))
    assert shown[third].title == f"concept {third}"
    assert shown[third].contribution == pytest.approx(plain[third].contribution)
    total = sum(item.contribution for item in plain.values())
    assert sum(item.contribution for item in edited.contributions) == pytest.approx(total)


@pytest.mark.parametrize("mode", ["plain", "few-shot", "binary zero-shot"])
def test_what_is_silent_is_out_of_the_sum_and_the_least_set_keeps_the_decision(mode, rng) -> None:
    model, photos = random_model(rng), random_photos(rng, 18)
    head = head_of(mode, model, photos)
    for photo in photos[:4]:
        explanation = head.explain(photo)
        gone = [item.id for item in explanation.contributions[:2]]
        after = explanation.without(gone)
        place = explanation.classes.index(explanation.target)
        taken = sum(item.contribution for item in explanation.contributions[:2])
        assert after.logits[place] == pytest.approx(explanation.logit - taken)
        np.testing.assert_allclose(after.probabilities, head.predict_proba_with([photo], remove=gone)[0], atol=1e-6)
        assert explanation.only(explanation.least.concepts).predicted == explanation.predicted
        assert explanation.only(explanation.active).logits == pytest.approx(explanation.logits)
        first = explanation.contributions[0]
        assert explanation.without([first.title]).logits == pytest.approx(explanation.without([first.id]).logits)
    with pytest.raises(InsightError, match="expected the title of a concept of this photo, found 'unicorn'"):
        explanation.without(["unicorn"])


def test_it_is_written_as_json_and_drawn(rng, tmp_path: Path) -> None:
    model, photos = random_model(rng), random_photos(rng, 18)
    model.concepts[1] = model.concepts[1].__class__(**{**vars(model.concepts[1]), "name": "cost: $5 or $6"})
    explanation = head_of("zero-shot", model, photos).explain(photos[0])
    explanation.save_json(tmp_path / "why.json")
    said = json.loads((tmp_path / "why.json").read_text())
    assert said == explanation.to_dict()
    assert list(said) == [
        *("image", "backbone", "grid", "target", "logit", "intercept", "contributions"),
        *("concepts_to_90_percent", "least", "prediction"),
    ]
    assert said["logit"] == pytest.approx(
        said["intercept"] + sum(item["contribution"] for item in said["contributions"])
    )
    assert said["prediction"]["classes"][0][0] == said["target"]
    explanation.save_png(tmp_path / "why.png", most=3)
    drawn = Image.open(tmp_path / "why.png")
    assert drawn.format == "PNG"
    assert len(drawn.convert("RGB").getcolors(1 << 24)) > 20


def test_a_photo_without_concepts_is_explained_by_the_intercept_alone(rng, tmp_path: Path) -> None:
    model, photos = random_model(rng), random_photos(rng, 18)
    head = ConceptClassifier(model, alpha=1e6).fit(photos, ["cat", *["dog"] * 17])
    explanation = head.explain(photos[0])
    assert explanation.contributions == ()
    assert explanation.logit == explanation.intercept
    assert (len(explanation.least), explanation.least.exact, explanation.n90) == (0, True, 0)
    explanation.save_png(tmp_path / "why.png")


def test_an_unknown_class_and_a_head_without_a_model_are_said(rng) -> None:
    model, photos = random_model(rng), random_photos(rng, 18)
    with pytest.raises(InsightError, match=r"one of the 3 classes \(cat, dog, tree\), found 'horse'"):
        head_of("plain", model, photos).explain(photos[0], "horse")
    head = ConceptClassifier(alpha=0.1).fit(np.eye(6), list("ababab"))
    with pytest.raises(InsightError, match="explaining a photo needs the model"):
        head.explain(photos[0])


@pytest.mark.skipif("small" not in shipped_models(), reason="no model has been built into this checkout")
def test_contributions_of_the_shipped_model_sum_to_the_logit(rng) -> None:
    photo = Image.fromarray(rng.integers(0, 255, (8, 8, 3), dtype=np.uint8)).resize((240, 300))
    head = ConceptClassifier.zero_shot(ConceptModel.from_pretrained("small"), ["cat", "dog", "wall"])
    decisions = head.decision_function([photo])[0]
    for place, target in enumerate(head.classes_):
        explanation = head.explain(photo, target)
        terms = [item.contribution for item in explanation.contributions]
        assert len(terms) > 5
        assert abs(sum(terms) + explanation.intercept - decisions[place]) < 1e-5 * max(map(abs, terms))

"""A head saved and read again is the same head; files that are not whole, and other models, are refused."""

import json
from pathlib import Path

import numpy as np
import pytest

from insight import InsightError
from insight.heads import ConceptClassifier

from .made import NAMES, random_model, random_photos


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng()


@pytest.mark.parametrize(
    "y", [list("abc") * 8, [3, 1, 2] * 8, [True, False, False] * 8, np.array(list("abc") * 8, dtype=object)]
)
def test_it_predicts_as_before(y, rng, tmp_path: Path) -> None:
    rows = rng.random((24, 10))
    weights = {y[0]: 2.0, y[1]: 1.0}
    head = ConceptClassifier(pooling="max", class_weight=weights, max_concepts=4, templates=("a {}", "the {}"))
    head.fit(rows, y)
    head.save(tmp_path)
    again = ConceptClassifier.load(tmp_path)
    np.testing.assert_array_equal(again.decision_function(rows), head.decision_function(rows))
    np.testing.assert_array_equal(again.predict(rows), head.predict(rows))
    assert again.classes_.dtype == head.classes_.dtype
    assert again.get_params() == head.get_params()
    assert again.path_.rows() == head.path_.rows()
    assert (again.alpha_, again.n_iter_, again.n_features_in_) == (head.alpha_, head.n_iter_, head.n_features_in_)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["head.json", "head.safetensors"]


def test_heads_of_text_come_back_with_their_silenced_concepts(rng, tmp_path: Path) -> None:
    model, photos = random_model(rng), random_photos(rng, 4)
    head = ConceptClassifier.zero_shot(model, NAMES, temperature=0.1).debias([3])
    head.save(tmp_path)
    again = ConceptClassifier.load(tmp_path, model)
    np.testing.assert_allclose(again.predict_proba(photos), head.predict_proba(photos), atol=1e-12)
    assert again.explain(photos[0]).to_dict() == head.explain(photos[0]).to_dict()


def test_another_dictionary_or_backbone_is_refused(rng, tmp_path: Path) -> None:
    model = random_model(rng)
    ConceptClassifier.zero_shot(model, NAMES).save(tmp_path)
    with pytest.raises(InsightError, match="with dictionary"):
        ConceptClassifier.load(tmp_path, random_model(rng))
    model.config = {"backbone": {**model.config["backbone"], "fingerprint": "another"}}
    with pytest.raises(InsightError, match="with fingerprint"):
        ConceptClassifier.load(tmp_path, model)
    with pytest.raises(InsightError, match="does not say where its model is"):
        ConceptClassifier.load(tmp_path)


def test_files_that_are_not_those_of_a_head_are_said(rng, tmp_path: Path) -> None:
    with pytest.raises(InsightError, match=r"expected the folder of a head with head\.json"):
        ConceptClassifier.load(tmp_path)
    ConceptClassifier(alpha=1e-3, l1_ratio=0.0).fit(rng.random((6, 4)), list("abcabc")).save(tmp_path)
    facts = json.loads((tmp_path / "head.json").read_text())
    whole = (tmp_path / "head.safetensors").read_bytes()
    for changes, said in (
        ({"format_version": 9}, "found .* version 9"),
        ({"classes": ["a", "b"]}, "of different heads"),
        ({"n_features": 1}, "expected the weights of head.json"),
        ({"parameters": {"unknown": 1}}, "expected the facts of a head"),
    ):
        (tmp_path / "head.json").write_text(json.dumps({**facts, **changes}))
        with pytest.raises(InsightError, match=said):
            ConceptClassifier.load(tmp_path)
    (tmp_path / "head.json").write_text(json.dumps(facts))
    (tmp_path / "head.safetensors").write_bytes(whole[:-5])
    with pytest.raises(InsightError, match=r"head\.safetensors: expected the weights"):
        ConceptClassifier.load(tmp_path)
    (tmp_path / "head.safetensors").unlink()
    with pytest.raises(InsightError, match=r"head\.safetensors: no such file"):
        ConceptClassifier.load(tmp_path)


def test_an_unfitted_head_is_not_saved(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not fitted"):
        ConceptClassifier().save(tmp_path / "head")
    assert not (tmp_path / "head").exists()

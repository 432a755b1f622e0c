"""The bank of a model holds, for each class, the names that put most into its logit: as loops over photos find it."""

from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.sparse import csr_array

from insight import ConceptModel
from insight.heads import ConceptClassifier
from insight.methods.bank import ModelBank, bank_from_model
from sae.errors import InsightError

from ...heads.made import cached, random_model, random_photos
from ...random_models import CONCEPTS

EDITS: dict[int, dict[str, Any]] = {
    3: {"name": None},
    5: {"name": "Word 4"},  # another case: the same name as 4
    7: {"merged_into": 6},
    8: {"hidden": True},
    9: {"merged_into": 8},  # into one that is not shown
    10: {"name": None, "merged_into": 2},
}
SHOWN = {3: None, 5: "word 4", 7: "word 6", 8: None, 9: None, 10: "word 2"}
COUNT = 36


def name_of(concept: int) -> str | None:
    return SHOWN.get(concept, f"word {concept}")


@pytest.fixture(scope="module", params=[2, 3], ids=["two classes", "three classes"])
def world(request: pytest.FixtureRequest) -> tuple[ConceptModel, np.ndarray, np.ndarray, ConceptClassifier]:
    """A model, pooled rows that tell classes apart by some concepts, their labels, and a head fitted to them."""
    rng = np.random.default_rng(request.param)
    model = random_model(rng, EDITS)
    labels = rng.permutation(np.array(["cat", "kit_fox", "owl"])[np.arange(COUNT) % request.param])
    means = {label: rng.gamma(1.0, 1.0, 2 * CONCEPTS) for label in np.unique(labels)}
    rows = np.stack([means[label] for label in labels]) * rng.gamma(2.0, 1.0, (COUNT, 2 * CONCEPTS))
    return model, rows, labels, ConceptClassifier(model, alpha=0.003).fit(rows, labels)


def written_out(head: ConceptClassifier, rows: np.ndarray, labels: np.ndarray, k: int) -> dict[str, list[str]]:
    """The bank from the weights alone, in loops."""
    found = {}
    for number, label in enumerate(head.classes_):
        weights = head.coef_[number] if len(head.classes_) > 2 else head.coef_[0] * (1 if number else -1)
        total: dict[str, float] = defaultdict(float)
        mine = rows[labels == label]
        for row in mine:
            for feature in range(2 * CONCEPTS):  # the maximum of each concept, then the mean of each
                if (name := name_of(feature % CONCEPTS)) is not None:
                    total[name] += float(row[feature] * weights[feature]) / len(mine)
        best = sorted(total, key=total.__getitem__, reverse=True)[:k]
        found[str(label)] = [name for name in best if total[name] > 0]
    return found


@pytest.mark.parametrize("k", [1, 3, 50])
def test_the_strongest_names_of_each_class_become_its_concepts(world: Any, k: int) -> None:
    model, rows, labels, head = world
    found = bank_from_model(model, rows, labels, k=k, classifier=head)
    assert found.bank.to_dict() == written_out(head, rows, labels, k)
    assert found.bank.keys == tuple(head.classes_)


def test_each_descriptor_knows_the_shown_concepts_of_its_name(world: Any) -> None:
    model, rows, labels, head = world
    found = bank_from_model(model, rows, labels, k=50, classifier=head)
    hidden = {7, 8, 9, 10}
    for text, ids in zip(found.bank.concepts, found.concept_ids, strict=True):
        assert ids == tuple(i for i in range(CONCEPTS) if i not in hidden and name_of(i) == text)
    assert len(found.concept_ids) == len(found.bank.concepts)


def test_a_name_of_two_concepts_and_merged_ones_counts_once(world: Any) -> None:
    model, rows, labels, _ = world
    other = ConceptClassifier(model, alpha=0.003).fit(rows, labels)
    other.coef_ = np.zeros_like(other.coef_)
    other.coef_[-1, [2, 4, 5, 6, 7, 8, 10]] = [0.1, 2, 2, 3, -0.5, 99, 1.2]
    other.coef_[0, 0] = 1 if len(other.classes_) > 2 else -1
    if len(other.classes_) > 2:
        other.coef_[1, 1] = 1
    ones = np.ones_like(rows)
    found = bank_from_model(model, ones, labels, k=3, classifier=other)
    assert found.bank.to_dict()[str(other.classes_[-1])] == ["word 4", "word 6", "word 2"]
    assert found.concept_ids[found.bank.concept_index("word 4")] == (4, 5)
    assert found.concept_ids[found.bank.concept_index("word 6")] == (6,)


def test_unlabelled_rows_are_left_out_and_any_matrix_will_do(world: Any) -> None:
    model, rows, labels, head = world
    listed = [None, *labels.tolist()]
    more = np.vstack([np.full((1, 2 * CONCEPTS), 50.0), rows])
    wanted = bank_from_model(model, rows, labels, classifier=head)
    assert bank_from_model(model, more, listed, classifier=head) == wanted
    assert bank_from_model(model, csr_array(rows), labels.tolist(), classifier=head) == wanted


def test_a_head_is_fitted_where_none_is_given() -> None:
    rng = np.random.default_rng(7)
    model, labels = random_model(rng), np.array(["cat", "owl"] * 6)
    rows = np.zeros((12, 2 * CONCEPTS))
    rows[labels == "cat", :2] = rng.gamma(2.0, 1.0, (6, 2))
    rows[labels == "owl", 2:4] = rng.gamma(2.0, 1.0, (6, 2))
    fitted = ConceptClassifier(model).fit(rows, labels)
    found = bank_from_model(model, rows, labels, k=4)
    assert found == bank_from_model(model, rows, labels, k=4, classifier=fitted)
    assert set(found.bank.concepts) <= {f"word {concept}" for concept in range(4)}


def test_photos_a_folder_of_them_and_their_cache_give_one_bank(tmp_path: Path) -> None:
    rng = np.random.default_rng(11)
    model, photos = random_model(rng), random_photos(rng, 20)
    labels = ["cat" if photo.resize((1, 1)).getpixel((0, 0))[0] > 127 else "kit_fox" for photo in photos]  # type: ignore[index]
    labels[:2] = ["cat", "kit_fox"]
    cache = cached(tmp_path, photos, labels)
    head = ConceptClassifier(model, alpha=0.01).fit(cache)

    def found(*labelled: Any) -> ModelBank:
        return bank_from_model(model, *labelled, k=2, classifier=head)

    wanted = found(photos, labels)
    assert wanted.bank.classes == ("cat", "kit fox")
    assert found(cache) == found(tmp_path / "cache") == found(str(tmp_path / "photos")) == wanted


def test_what_cannot_be_is_refused(world: Any) -> None:
    model, rows, labels, head = world
    with pytest.raises(InsightError, match="at least 1 concept a class, found k=0"):
        bank_from_model(model, rows, labels, k=0)
    with pytest.raises(InsightError, match="a label for each photo, found none"):
        bank_from_model(model, rows)
    with pytest.raises(InsightError, match="concepts of this model, found one of another"):
        bank_from_model(random_model(np.random.default_rng(1)), rows, labels, classifier=head)
    with pytest.raises(InsightError, match="class 'cat': expected photos of every class"):
        bank_from_model(model, rows[labels != "cat"], labels[labels != "cat"], classifier=head)
    small = ConceptClassifier(alpha=0.003).fit(rows[:, :10], labels)
    with pytest.raises(InsightError, match="expected one on the model's 24 concepts, found 5"):
        bank_from_model(model, rows[:, :10], labels, classifier=small)


def test_a_class_without_a_named_concept_is_refused_with_what_to_do(world: Any) -> None:
    _, rows, labels, _ = world
    model = random_model(np.random.default_rng(0), {i: {"name": None} for i in range(CONCEPTS)})
    with pytest.raises(InsightError, match=r"class 'cat': expected a named concept .*insight name"):
        bank_from_model(model, rows, labels, classifier=ConceptClassifier(model, alpha=0.003).fit(rows, labels))

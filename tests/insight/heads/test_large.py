"""More images than memory holds: a head begun at a sample and fitted from batches is that of the exact solver."""

import tracemalloc
import warnings
from pathlib import Path

import numpy as np
import pytest
from scipy.sparse import csr_array
from sklearn.exceptions import ConvergenceWarning

from insight.heads import ConceptClassifier, activations, large
from insight.heads.choice import Examples
from insight.heads.large import stratified
from insight.heads.pooling import n_features

from ..random_models import CONCEPTS
from .made import cached, random_model, random_photos
from .test_classifier import pooled

SMALL = 1 << 14


@pytest.fixture
def little_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that a few hundred rows are too many."""
    for module in (activations, large):
        monkeypatch.setattr(module, "ROWS_IN_MEMORY", SMALL)


def clear_rows(n_classes: int, images: int = 600, seed: int = 50) -> tuple[csr_array, np.ndarray]:
    """Rows [n, 2C + 4] in which a feature of its own tells each class, and the others nothing."""
    rng = np.random.default_rng(seed)
    y = rng.permutation(np.arange(images) % n_classes)
    rows = rng.uniform(0, 0.6, (images, 2 * n_classes + 4)) * (rng.random((images, 2 * n_classes + 4)) < 0.4)
    rows[np.arange(images), y] = rng.uniform(1.5, 2.5, images)
    return csr_array(rows), y


def is_nearly(found: ConceptClassifier, wanted: ConceptClassifier, rows: csr_array) -> None:
    assert found.converged_
    assert (found.predict(rows) == wanted.predict(rows)).all()
    np.testing.assert_allclose(found.predict_proba(rows), wanted.predict_proba(rows), atol=0.02)


@pytest.mark.parametrize("n_classes", [2, 4])
@pytest.mark.parametrize("class_weight", [None, "balanced", {0: 3.0, 1: 0.5}])
def test_a_fit_from_batches_is_nearly_the_exact_one(n_classes, class_weight, monkeypatch) -> None:
    rows, y = clear_rows(n_classes)
    exact = ConceptClassifier(alpha=0.01, class_weight=class_weight).fit(rows, y)
    monkeypatch.setattr(large, "ROWS_IN_MEMORY", SMALL)
    streamed = ConceptClassifier(alpha=0.01, class_weight=class_weight).fit(rows, y)
    assert not np.array_equal(streamed.coef_, exact.coef_)
    is_nearly(streamed, exact, rows)


def test_the_penalty_is_chosen_on_a_sample_and_the_fit_is_of_all(little_memory) -> None:
    rows, y = clear_rows(3)
    head = ConceptClassifier().fit(rows, y)
    assert head.path_.alpha[head.path_.chosen] == head.alpha_
    assert head.path_.images < len(y) / 4
    assert head.score(rows, y) == 1
    assert ConceptClassifier().fit_path(rows, y).to_dict() == head.path_.to_dict()
    again = ConceptClassifier().fit(rows, y)
    np.testing.assert_array_equal(again.coef_, head.coef_)


def test_a_class_has_no_more_concepts_than_it_may(little_memory) -> None:
    rows, y = clear_rows(3)
    free = ConceptClassifier(pooling="max", alpha=1e-3, l1_ratio=0.1).fit(rows, y)
    assert (free.coef_ != 0).sum(1).max() > 2
    held = ConceptClassifier(pooling="max", alpha=1e-3, l1_ratio=0.1, max_concepts=1).fit(rows, y)
    assert (held.coef_ != 0).sum(1).max() == 1
    assert held.alpha_ > 1e-3


@pytest.mark.slow
@pytest.mark.parametrize("prior", [None, "text"])
def test_a_cache_whose_rows_lie_in_files_teaches_the_same(prior, tmp_path: Path, monkeypatch) -> None:
    rng = np.random.default_rng(51)
    model, photos = random_model(rng), random_photos(rng, 90)
    labels = [["cat", "dog", "tree", ""][i % 4] for i in range(90)]
    cache = cached(tmp_path, photos, labels)
    settings = {"alpha": 0.02, "prior": prior, "temperature": 0.2}
    exact = ConceptClassifier(model, **settings).fit(cache)
    for module in (activations, large):
        monkeypatch.setattr(module, "ROWS_IN_MEMORY", SMALL)
    streamed = ConceptClassifier(model, **settings).fit(cache)
    assert streamed.converged_
    assert not np.array_equal(streamed.coef_, exact.coef_)
    np.testing.assert_allclose(streamed.predict_proba(cache), exact.predict_proba(cache), atol=0.02)


def test_label_free_learns_from_batches_too(monkeypatch) -> None:
    rng = np.random.default_rng(52)
    model, photos = random_model(rng), random_photos(rng, 60)
    rows = pooled(model, photos)
    settings = {"classes": ("cat", "dog", "tree"), "alpha": 1e-3, "temperature": 0.2}
    exact = ConceptClassifier.label_free(model, rows, **settings)
    monkeypatch.setattr(large, "ROWS_IN_MEMORY", SMALL)
    streamed = ConceptClassifier.label_free(model, rows, **settings)
    assert not np.array_equal(streamed.coef_, exact.coef_)
    np.testing.assert_allclose(streamed.predict_proba(rows), exact.predict_proba(rows), atol=0.02)


@pytest.mark.slow
def test_nothing_dense_is_as_long_as_the_images(little_memory, tmp_path: Path, monkeypatch) -> None:
    rng = np.random.default_rng(53)
    model, photos = random_model(rng), random_photos(rng, 120)
    labels = [["cat", "dog", "tree", ""][i % 4] for i in range(120)]
    cache = cached(tmp_path, photos, labels)
    seen: list[int] = []
    for name in ("targets", "fixed"):
        plain = getattr(Examples, name)
        monkeypatch.setattr(Examples, name, lambda self, plain=plain: seen.append(len(self.y)) or plain(self))
    read = activations.pooled_rows(cache, model, "max+mean")
    assert read.shape == (120, n_features(CONCEPTS, "max+mean"))
    kept, _, _ = activations.labelled(read, cache.labels, None)
    for rows in (read, kept):
        assert _mapped(rows.data)
        assert _mapped(rows.indices)
    ConceptClassifier(model, prior="text", alpha=0.02).fit(cache)
    assert 90 not in seen
    assert max(seen) <= 90 / 4


def test_memory_does_not_grow_with_images_times_classes(little_memory, monkeypatch) -> None:
    images, n_classes, each = 40_000, 100, 4
    rng = np.random.default_rng(54)
    y = np.arange(images) % n_classes
    columns = np.column_stack([y, rng.integers(n_classes, n_classes + 20, (images, each - 1))])
    values = np.column_stack([np.full(images, 2.0), rng.random((images, each - 1))]).astype(np.float32)
    starts = np.arange(0, each * images + 1, each)
    rows = csr_array((values.ravel(), columns.ravel(), starts), shape=(images, n_classes + 20))
    monkeypatch.setattr(large, "EPOCHS", 1)
    head = ConceptClassifier(pooling="max", alpha=1e-3)
    tracemalloc.start()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            found = head.fit(rows, y).predict(rows)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 8 * images * n_classes / 2
    assert (found == y).mean() > 0.9


def _mapped(array: np.ndarray | None) -> bool:
    while array is not None:
        if isinstance(array, np.memmap):
            return True
        array = getattr(array, "base", None)
    return False


def test_a_sample_has_all_classes_in_their_shares() -> None:
    classes = np.random.default_rng().permutation(np.repeat([0, 1, 2, 3], [600, 300, 98, 2]))
    found = stratified(classes, 100, np.random.RandomState(0))
    assert len(found) == len(set(found)) == 100
    assert (np.diff(found) > 0).all()
    counts = np.bincount(classes[found], minlength=4)
    assert counts[3] == 2
    np.testing.assert_allclose(counts[:3], [59, 30, 10], atol=2)
    assert len(stratified(classes, 1, np.random.RandomState(0))) == 4
    assert not np.array_equal(found, stratified(classes, 100, np.random.RandomState(1)))

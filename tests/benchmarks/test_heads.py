"""What the benchmarks of heads are made of: sets and their splits, figures over draws, patch heads, claims."""

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.sparse import csr_array
from sklearn.metrics import roc_auc_score

from benchmarks.concepts.draws import share
from benchmarks.heads import caches, named_claims, segmented_claims
from benchmarks.heads.classified import lost_without
from benchmarks.heads.figures import auc, difference, iou, means, of_photos
from benchmarks.heads.named import Named
from benchmarks.heads.named_rows import ACCURACY, BEST_PROBE, CONCEPTS, LOST, PART
from benchmarks.heads.patch_heads import NEVER, Patches, fit_head, stacked
from benchmarks.heads.probes import linear_probe, neighbours
from benchmarks.heads.segmented import drawn_out
from benchmarks.heads.settings import OURS
from benchmarks.probes.metrics import mean_iou
from insight.upsampling import upsample
from sae.errors import InsightError


def test_area_under_the_curve_is_that_of_scikit_learn_for_photographs_drawn_anew() -> None:
    rng = np.random.default_rng()
    truth = rng.permutation(np.arange(40) < 15)
    scores = [rng.integers(0, 6, 40) + truth, rng.normal(size=40)]
    weights = rng.integers(0, 3, (5, 40)).astype(np.float64)
    weights[:, [np.flatnonzero(truth)[0], np.flatnonzero(~truth)[0]]] += 1
    for i, one in enumerate(scores):
        expected = [roc_auc_score(truth, one, sample_weight=row) for row in weights]
        assert auc(scores, truth)(i, weights) == pytest.approx(expected)


def test_mean_iou_of_draws_is_that_of_the_summed_tables() -> None:
    rng = np.random.default_rng()
    tables = rng.integers(0, 9, (7, 4, 4))
    weights = rng.integers(0, 3, (3, 7)).astype(np.float64)
    expected = [float(mean_iou(torch.from_numpy((row[:, None, None] * tables).sum(0)))) for row in weights]
    assert iou([tables])(0, weights) == pytest.approx(expected)


def test_means_leave_out_columns_that_a_draw_has_nothing_of() -> None:
    above, below = np.array([[1.0, 0.0], [0.5, 0.25]]), np.array([[1.0, 0.0], [1.0, 1.0]])
    found = means([above], [below])(0, np.array([[1.0, 1.0], [1.0, 0.0]]))
    assert found == pytest.approx([(0.75 + 0.25) / 2, 1.0])


def test_a_difference_is_taken_photograph_by_photograph() -> None:
    right = np.random.default_rng().integers(0, 2, 50).astype(np.float64)
    value, bounds = difference(of_photos(50, 2), share([right + 1, right + 1]), share([right, right]))
    assert value == pytest.approx(1)
    assert bounds == pytest.approx((1, 1)), "both are of the same draws"


def test_foremost_concepts_are_weighed_against_others_that_are_active() -> None:
    weights = np.array([4.0, 3.0, 2.0, 1.0, 1.5, 0.5, -1.0, 0.0])
    rows = csr_array(np.ones((1, 8)))
    head = SimpleNamespace(decision_function=lambda x: np.asarray(x @ weights))
    lost, by_chance = lost_without(head, rows, csr_array(weights[None]), None)  # type: ignore[arg-type]
    assert lost.tolist() == [11.5]
    assert by_chance[0] < 10, "of eight, five draws in a row of the five foremost are unlikely"
    named = np.array([False, True, True, False, True, True, True, True])
    lost, _ = lost_without(head, rows, csr_array(weights[None]), named)  # type: ignore[arg-type]
    assert lost.tolist() == [7.0], "3, 2, 1.5, 0.5 and 0, and none without a name"


def patches_of(classes: np.ndarray, held: np.ndarray) -> Patches:
    return Patches(np.arange(len(classes)), classes, held)


def test_a_patch_head_reads_sparse_and_dense_rows_alike_and_never_answers_an_unseen_class() -> None:
    rng = np.random.default_rng()
    classes = rng.integers(0, 3, 600) * 2  # of five classes, three
    rows = rng.normal(size=(600, 8)).astype(np.float32) * 0.1
    rows[np.arange(600), classes] += 2
    patches = patches_of(classes, np.arange(600) % 4 == 0)
    dense = fit_head(stacked([rows[:300], rows[300:]]), patches, 5)
    sparse = fit_head(stacked([csr_array(rows[:300]), csr_array(rows[300:])]), patches, 5)
    for head, read in ((dense, rows), (sparse, csr_array(rows))):
        assert (head.scores(read).argmax(1).numpy() == classes).mean() > 0.99
        assert head.bias[1] == np.float32(NEVER)


def test_probes_choose_their_setting_on_training_photographs_and_answer_for_those_tested() -> None:
    rng = np.random.default_rng()
    truth = np.arange(60) % 3
    features = rng.normal(size=(60, 5)).astype(np.float32)
    features[np.arange(60), truth] += 6
    order = rng.permutation(60)
    folds = ((np.sort(order[:30]), np.sort(order[30:])), (np.sort(order[30:]), np.sort(order[:30])))
    named = Named("drawn", "2-fold", None, ("a", "b", "c"), truth, folds)  # type: ignore[arg-type]
    for answers in (linear_probe(features, named), neighbours(features, named)):
        assert answers.scores.shape == (60, 3)
        assert answers.right(named).mean() > 0.9
        assert len(answers.chosen) == 2
        assert 0.9 < answers.inner <= 1


def test_cifar_is_drawn_class_by_class_and_the_same_each_time(tmp_path: Path) -> None:
    pixels = np.random.default_rng().integers(0, 256, (40, 3072), dtype=np.uint8)
    for split, file in (("train", "data_batch_1"), ("test", "test_batch")):
        Image.fromarray(pixels.reshape(40, 1024, 3)).save(tmp_path / f"{file}.png")
        (tmp_path / f"{split}_lables.json").write_text(json.dumps([i % 10 for i in range(40)]))
    first = caches.draw_cifar(tmp_path, tmp_path / "first", 2)
    found = sorted(path.relative_to(first).as_posix() for path in first.rglob("*.png"))
    assert len(found) == 2 * 10 * 2
    again = caches.draw_cifar(tmp_path, tmp_path / "again", 2)
    assert found == sorted(path.relative_to(again).as_posix() for path in again.rglob("*.png"))
    split, name, file = found[0].split("/")
    assert (split, name) == ("test", "airplane")
    with Image.open(first / found[0]) as image:
        assert np.array_equal(np.asarray(image), pixels[int(Path(file).stem)].reshape(32, 32, 3))
    (tmp_path / "test_lables.json").write_text("[1, 2]")
    with pytest.raises(InsightError, match="expected a photo for each of 2 labels, found 40"):
        caches.draw_cifar(tmp_path, tmp_path / "bad", 2)


def test_scores_are_drawn_out_to_pixels_as_upsampling_does() -> None:
    scores = torch.randn(3 * 4, 5)
    maps = upsample(scores.T.reshape(1, 5, 3, 4), (21, 21))[0]
    answers = drawn_out(scores, (3, 4), 21)
    assert torch.allclose(maps.gather(0, answers[None])[0], maps.amax(0), atol=1e-5)


def test_claims_of_classification_hold_by_the_value() -> None:
    base = {"part": PART, "data": "a", "by": f"concept head, {OURS}", "against": None, "interval": (0, 1)}
    rows = [
        {**base, "figure": ACCURACY, "against": BEST_PROBE, "value": -0.004},
        {**base, "figure": CONCEPTS, "value": 25.5},
        {**base, "figure": LOST, "value": float("nan")},
        {**base, "figure": ACCURACY, "value": 0.9},
    ]
    said = {(claim["target"], claim["holds"]) for claim in named_claims.claims_of(rows)}
    assert said == {("at least -0.005", True), ("at most 25", False), ("at least 3", False), (None, None)}


def test_claims_of_segmentation_have_a_target_for_each_way() -> None:
    base = {"data": "a", "figure": "mIoU", "by": OURS, "interval": (0.9, 1.0), "value": 0.975}
    rows = [{**base, "how": how, "against": "opaque features"} for how in ("trained", "open vocabulary")]
    claims = segmented_claims.claims_of([*rows, {**base, "how": "trained", "against": None}])
    assert [(claim["target"], claim["holds"]) for claim in claims] == [
        ("at least 0.98", False),
        ("at least 0.97", True),
        (None, None),
    ]

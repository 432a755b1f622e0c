"""Grounding against numbers worked out by hand, and against a dense form that follows the definitions word by word."""

import math
import warnings

import numpy as np
import pytest
import torch
from scipy.ndimage import maximum_filter
from torch.nn.functional import interpolate

from insight.evaluation import Grounding, GroundingMeter
from sae import InsightError, SparseCodes

LABELS = ("wheel", "wing", "roof")


def codes_of(maps: np.ndarray) -> SparseCodes:
    """Of maps [n, h, w, m]."""
    return SparseCodes.from_dense(torch.from_numpy(maps.reshape(-1, maps.shape[-1])))


def measured(maps: np.ndarray, classes: np.ndarray, **settings) -> Grounding:
    meter = GroundingMeter(maps.shape[-1], LABELS, maps.shape[1:3], **settings)
    meter.update(codes_of(maps), classes)
    return meter.result()


def random_set(seed: int, n: int = 12, h: int = 5, w: int = 6, m: int = 13) -> tuple[np.ndarray, np.ndarray]:
    """Maps with silent concepts, one image without any concept and one without any label."""
    random = np.random.default_rng(seed)
    maps = random.integers(1, 9, (n, h, w, m)) / 8 * (random.random((n, h, w, m)) < 0.2)  # ties are common
    maps *= random.random((n, 1, 1, m)) < 0.8
    classes = random.integers(-1, len(LABELS), (n, h, w))
    classes[random.random(n) < 0.5] %= 2  # and images without the last label, or without background
    maps[0], classes[1] = 0, -1
    return maps, classes


class Dense:
    """The definitions, written out: everything for every image, concept and label."""

    def __init__(self, maps: np.ndarray, classes: np.ndarray, mass: float, dilate: bool, budget: int | None) -> None:
        (n, h, w, m), labels = maps.shape, len(LABELS)
        self.iou = np.full((n, labels, m), np.nan)  # NaN where neither is present
        self.entropy = np.full((n, m), np.nan)
        self.present = np.stack([(classes == label).any((1, 2)) for label in range(labels)], axis=1)
        for i in range(n):
            flat = maps[i].reshape(h * w, m).copy()
            if budget is not None:
                flat[:, np.argsort(-flat.sum(0), kind="stable")[budget:]] = 0
            masks = np.stack([classes[i] == label for label in range(labels)])
            if dilate:
                masks = np.stack([maximum_filter(mask, size=3, mode="constant") for mask in masks])
            masks = masks.reshape(labels, -1)
            for c in range(m):
                values = flat[:, c]
                support = np.zeros(h * w, dtype=bool)
                if values.any():
                    falling = np.sort(values)[::-1]
                    cutoff = falling[np.argmax(falling.cumsum() >= mass * values.sum() - 1e-9)]
                    support = (values >= cutoff) & (values > 0)
                    held = values * support
                    shares = np.array([*(held @ mask for mask in masks), held @ ~masks.any(0)])
                    shares = shares[shares > 0] / shares.sum()
                    self.entropy[i, c] = -(shares * np.log(shares)).sum()
                for label in range(labels):
                    if union := (support | masks[label]).sum():
                        self.iou[i, label, c] = (support & masks[label]).sum() / union

    def locality(self) -> float:
        best = np.nan_to_num(self.iou).max(2)
        return float(np.mean([best[has, k].mean() for k, has in enumerate(self.present.T) if has.any()]))

    def pairs(self) -> np.ndarray:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # of pairs that no image has
            return np.nanmean(self.iou, axis=0)

    def consistency(self) -> float:
        return float(np.nan_to_num(self.pairs()).max(1)[self.present.any(0)].mean())

    def impurity(self) -> float:
        of_concepts = self.entropy[self.present.any(1)]
        often = np.isfinite(of_concepts).sum(0) >= 5
        return float(np.nanmean(of_concepts[:, often], axis=0).mean())


@pytest.mark.parametrize(("mass", "dilate", "budget"), [(0.9, True, None), (0.9, True, 6), (0.5, False, None)])
@pytest.mark.parametrize("seed", range(3))
def test_all_measures_equal_the_dense_form(seed: int, mass: float, dilate: bool, budget: int | None) -> None:
    maps, classes = random_set(seed)
    got = measured(maps, classes, mass=mass, dilate=dilate, budget=budget)
    dense = Dense(maps, classes, mass, dilate, budget)
    np.testing.assert_allclose(got.consistency_of_pairs(), dense.pairs(), atol=1e-12)
    np.testing.assert_allclose(got.best_iou()[got.present], np.nan_to_num(dense.iou).max(2)[dense.present], atol=1e-12)
    active = np.isfinite(dense.entropy)
    assert got.entropy.nnz == active.sum()
    np.testing.assert_allclose(got.entropy.toarray()[active], dense.entropy[active], atol=1e-12)
    assert got.locality() == pytest.approx(dense.locality(), abs=1e-12)
    assert got.consistency() == pytest.approx(dense.consistency(), abs=1e-12)
    assert (np.isfinite(dense.entropy[dense.present.any(1)]).sum(0) >= 5).any()
    assert got.impurity() == pytest.approx(dense.impurity(), abs=1e-12)


def test_the_support_is_what_reaches_the_mass_with_ties() -> None:
    maps = np.zeros((1, 1, 10, 4))
    maps[0, 0, :, 0] = [5, 4, 0.5, 0.5, 0, 0, 0, 0, 0, 0]  # 9 of 10 are 90 %: the first two
    maps[0, 0, :, 1] = [5, 3.9, 0.5, 0.5, 0.1, 0, 0, 0, 0, 0]  # 8.9 of 10 are not: one more, and its equal
    maps[0, 0, :, 2] = 1  # ties: all
    maps[0, 0, 7, 3] = 0.001
    classes = np.full((1, 1, 10), -1)
    classes[0, 0, :2] = 0
    got = measured(maps, classes, dilate=False)
    assert got.iou.toarray()[0] == pytest.approx([2 / 2, 2 / 4, 2 / 10, 0])


def test_one_image_by_hand() -> None:
    """A row of eight patches: wheel in 0 and 1, wing in 3; grown by one, wheel is 0 to 2 and wing 2 to 4."""
    classes = np.array([[[0, 0, -1, 1, -1, -1, -1, -1]]])
    maps = np.zeros((1, 1, 8, 3))
    maps[0, 0, [0, 1], 0] = 1  # inside wheel
    maps[0, 0, [2, 3], 1] = 2, 2  # patch 2 is in both
    maps[0, 0, [4, 5, 6, 7], 2] = 1, 1, 1, 1  # wing, and background
    got = measured(maps, classes)
    assert got.present.tolist() == [[True, True, False]]
    expected = np.array([[2 / 3, 1 / 4, 0], [0, 2 / 3, 1 / 6], [0, 0, 0]])
    assert got.iou.toarray() == pytest.approx(expected)
    assert got.locality() == pytest.approx((2 / 3 + 2 / 3) / 2)
    # concept 1: 2 in wheel, 4 in wing, none outside: 1/3 and 2/3; concept 2: 1/4 in wing, 3/4 outside
    of_thirds = -(math.log(1 / 3) / 3 + 2 * math.log(2 / 3) / 3)
    of_quarters = -(math.log(1 / 4) / 4 + 3 * math.log(3 / 4) / 4)
    assert got.entropy.toarray()[0] == pytest.approx([0, of_thirds, of_quarters])
    assert got.entropy.nnz == 3  # the first is active, too, and pure
    assert math.isnan(got.impurity())  # no concept in 5 images


def test_consistency_counts_images_that_have_either() -> None:
    """Concept 0 is right in image 0, silent in 1 where the part is, and somewhere else in 2 where the part is not."""
    classes = np.full((4, 1, 4), -1)
    classes[[0, 1], 0, 0] = 0
    maps = np.zeros((4, 1, 4, 2))
    maps[0, 0, 0, 0] = maps[2, 0, 2, 0] = 1
    maps[1, 0, :2, 1] = 1
    got = measured(maps, classes, dilate=False)
    assert got.consistency_of_pairs()[0] == pytest.approx([1 / 3, 1 / 4])  # concept 1: one half, in 2 of 4 images
    assert got.best_concepts().tolist() == [0, -1, -1]
    assert got.consistency() == pytest.approx(1 / 3)
    assert got.consistency(np.array([1, -1, -1])) == pytest.approx(1 / 4)
    assert got.consistency(np.array([-1, -1, -1])) == 0
    assert got.locality() == pytest.approx((1 + 1 / 2) / 2)


def test_a_budget_keeps_the_concepts_of_largest_sum_in_each_image() -> None:
    maps = np.zeros((2, 1, 4, 3))
    maps[0, 0, 0] = [3, 2.5, 0]
    maps[0, 0, 1] = [0, 1, 0]  # 3 against 3.5
    maps[1, 0, 2] = [1, 0, 1]  # equal: the smaller number
    got = measured(maps, np.zeros((2, 1, 4), dtype=int), budget=1)
    assert got.entropy.indices.tolist() == [1, 0]
    assert got.to_dict()["budget"] == 1
    assert got.to_dict()["grid"] == [1, 4]
    assert got.to_dict()["concepts_an_image"] == 1


def test_the_best_concepts_of_one_half_are_scored_on_the_other() -> None:
    maps, classes = random_set(7, n=20)
    whole = measured(maps, classes)
    chosen, tested = whole.images(np.arange(20) < 10), whole.images(np.arange(10, 20))
    best = chosen.best_concepts()
    dense = Dense(maps[10:], classes[10:], 0.9, True, None)
    expected = dense.pairs()[np.arange(len(LABELS)), best].mean()
    assert tested.consistency(best) == pytest.approx(expected, abs=1e-12)
    assert tested.consistency(best) <= tested.consistency()
    figures = tested.to_dict(best)
    assert figures["consistency_of_given_concepts"] == pytest.approx(expected)
    assert figures["consistency"] == tested.consistency()
    iou, either = tested.iou_with(best)
    assert np.mean([iou[either[:, k], k].mean() for k in range(len(LABELS))]) == pytest.approx(expected)


def test_images_come_in_any_parts_and_meters_merge() -> None:
    maps, classes = random_set(3)
    whole = measured(maps, classes)
    meters = [GroundingMeter(maps.shape[-1], LABELS, maps.shape[1:3]) for _ in range(2)]
    for first, last, meter in ((0, 1, 0), (1, 4, 0), (4, 12, 1)):
        meters[meter].update(codes_of(maps[first:last]), torch.from_numpy(classes[first:last]))
    meters[0].merge(meters[1])
    merged = meters[0].result()
    assert merged.to_dict() == whole.to_dict()
    assert np.array_equal(merged.best_iou(), whole.best_iou())
    with pytest.raises(InsightError, match="same concepts, labels, grid"):
        meters[0].merge(GroundingMeter(maps.shape[-1], LABELS, maps.shape[1:3], budget=3))


def test_weights_are_images_drawn_more_than_once_or_never() -> None:
    maps, classes = random_set(5, n=14)
    weights = np.array([2, 2, 0, 1, 3, 1, 1, 1, 1, 0, 1, 2, 1, 1])
    got = measured(maps, classes)
    drawn = got.images(np.repeat(np.arange(14), weights))
    best = got.best_concepts()
    assert got.locality(weights) == pytest.approx(drawn.locality(), abs=1e-12)
    assert got.consistency(weights=weights) == pytest.approx(drawn.consistency(), abs=1e-12)
    assert got.consistency(best, weights) == pytest.approx(drawn.consistency(best), abs=1e-12)
    of_concepts = got.impurity_of_concepts(weights)
    both = np.isfinite(of_concepts) & np.isfinite(drawn.impurity_of_concepts())
    assert both.any()
    assert of_concepts[both] == pytest.approx(drawn.impurity_of_concepts()[both])


def test_maps_are_drawn_out_to_finer_masks() -> None:
    maps, _ = random_set(11, n=8, m=7)
    classes = np.random.default_rng(12).integers(-1, len(LABELS), (8, 10, 15))
    classes[:, :5, :7] = 0
    got = measured(maps, classes, resolution=(10, 15), budget=5)
    keep = np.argsort(np.argsort(-maps.sum((1, 2)), kind="stable", axis=1), kind="stable", axis=1) < 5
    kept = torch.from_numpy(maps * keep[:, None, None]).permute(0, 3, 1, 2)
    fine = interpolate(kept, size=(10, 15), mode="bilinear", align_corners=False).permute(0, 2, 3, 1).numpy()
    dense = Dense(fine, classes, 0.9, True, None)
    assert got.locality() == pytest.approx(dense.locality(), abs=1e-9)
    assert got.consistency() == pytest.approx(dense.consistency(), abs=1e-9)
    assert got.impurity() == pytest.approx(dense.impurity(), abs=1e-9)
    assert (got.to_dict()["grid"], got.to_dict()["resolution"]) == ([5, 6], [10, 15])


def test_nothing_measured_is_nan_and_silent_concepts_find_nothing() -> None:
    nothing = GroundingMeter(4, LABELS, (2, 2)).result()
    assert all(math.isnan(figure) for figure in (nothing.locality(), nothing.consistency(), nothing.impurity()))
    silent = measured(np.zeros((1, 2, 2, 4)), np.zeros((1, 2, 2), dtype=int))
    assert (silent.locality(), silent.consistency()) == (0, 0)


def test_what_does_not_fit_is_said() -> None:
    meter = GroundingMeter(4, LABELS, (2, 2))
    codes = codes_of(np.ones((2, 2, 2, 4)))
    for classes, message in (
        (np.zeros((2, 2, 3), dtype=int), r"expected \[n, 2, 2\] for 2 images, found \[2, 2, 3\]"),
        (np.zeros((1, 2, 2), dtype=int), "for 2 images"),
        (np.full((2, 2, 2), 3), "integers from -1 to 2, found int64 0 to 3"),
        (np.zeros((2, 2, 2)), "found float64"),
    ):
        with pytest.raises(InsightError, match=message):
            meter.update(codes, classes)
    with pytest.raises(InsightError, match="expected 4 concepts, found 5"):
        meter.update(codes_of(np.ones((2, 2, 2, 5))), np.zeros((2, 2, 2), dtype=int))
    broken = SparseCodes(codes.offsets, codes.concepts, codes.activations * torch.nan, 4)
    with pytest.raises(InsightError, match="finite activations"):
        meter.update(broken, np.zeros((2, 2, 2), dtype=int))
    for wrong in ({"mass": 0}, {"budget": 0}):
        with pytest.raises(InsightError, match="expected"):
            GroundingMeter(4, LABELS, (2, 2), **wrong)
    with pytest.raises(InsightError, match="one below 4 for each of 3 labels"):
        GroundingMeter(4, LABELS, (2, 2)).result().consistency(np.array([0, 4, 0]))

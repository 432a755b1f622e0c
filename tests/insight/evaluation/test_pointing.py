"""The pointing game, its centre and chance baselines, and the energy in a mask."""

import math

import numpy as np
import pytest
import torch

from insight.evaluation import Pointing, PointingMeter
from sae import InsightError, SparseCodes

LABELS = ("cat", "mat")


def measured(maps: np.ndarray, classes: np.ndarray, budget: int | None = None) -> Pointing:
    """Of maps [n, h, w, m], in two updates."""
    meter = PointingMeter(maps.shape[-1], LABELS, maps.shape[1:3], budget=budget)
    for part in (slice(1), slice(1, None)):
        flat = torch.from_numpy(maps[part].reshape(-1, maps.shape[-1]))
        meter.update(SparseCodes.from_dense(flat), classes[part])
    return meter.result()


def test_two_images_by_hand() -> None:
    """Masks of 4 × 4 pixels under a grid of 2 × 2: the centre point is pixel (2, 2), a patch points at its own."""
    classes = np.full((2, 4, 4), -1)
    classes[0, :2, :2] = 0  # the first patch whole
    classes[0, 2:, :] = 1
    classes[1, 1, 1] = 0  # a quarter of the first patch, where its centre falls
    classes[1, 0, 2] = 0  # and a quarter of the second, not at its centre
    maps = np.zeros((2, 2, 2, 3))
    maps[0, 0, 0, 0] = maps[1, 0, 0, 0] = 3
    maps[1, 0, 1, 0] = 1
    maps[0, :, :, 1] = [[2, 1], [1, 2]]  # equally strong: the first points
    maps[1, 0, 1, 1] = 1
    got = measured(maps, classes)
    assert got.hits.toarray().tolist() == [[1, 1, 0], [0, 0, 0], [1, 0, 0], [0, 0, 0]]
    energy = [[1, 1 / 3, 0], [0, 1 / 2, 0], [1 / 4, 1 / 4, 0], [0, 0, 0]]
    assert got.energy.toarray() == pytest.approx(np.array(energy))
    assert got.area.tolist() == [[1 / 4, 1 / 2], [1 / 8, 0]]
    assert got.centre.tolist() == [[False, True], [False, False]]
    assert got.best_concepts().tolist() == [0, -1]
    assert got.accuracy(np.array([0, 1])) == (1 + 0) / 2
    assert got.accuracy(np.array([1, 1])) == (1 / 2 + 0) / 2
    assert got.centre_accuracy() == (0 + 1) / 2
    assert got.chance() == pytest.approx((3 / 16 + 1 / 2) / 2)
    assert got.energy_in_mask(np.array([0, 1])) == pytest.approx(((1 + 1 / 4) / 2 + 1 / 2) / 2)
    assert got.energy_in_mask(np.array([0, -1])) == pytest.approx((5 / 8 + 0) / 2)
    assert got.accuracy(np.array([1, 1]), np.array([3, 1])) == (3 / 4 + 0) / 2
    one = measured(
        maps, classes, budget=1
    )  # of image 0 concept 1, whose sum is larger: 6 against 3; of image 1 concept 0
    assert one.hits.toarray().tolist() == [[0, 1, 0], [0, 0, 0], [1, 0, 0], [0, 0, 0]]


@pytest.mark.parametrize("size", [(6, 8), (13, 17), (3, 4)])
def test_any_masks_equal_the_dense_form(size: tuple[int, int]) -> None:
    random = np.random.default_rng(1)
    (n, h, w, m), (height, width) = (9, 3, 4, 7), size
    maps = random.random((n, h, w, m)) * (random.random((n, h, w, m)) < 0.4)
    classes = random.integers(-1, 2, (n, height, width))
    got = measured(maps, classes)
    cell_of_row = [math.floor((y + 0.5) * h / height) for y in range(height)]
    cell_of_column = [math.floor((x + 0.5) * w / width) for x in range(width)]
    for i in range(n):
        for k in range(2):
            share = np.zeros((h, w))
            for r in range(h):
                for c in range(w):
                    cell = classes[i][np.ix_(np.equal(cell_of_row, r), np.equal(cell_of_column, c))]
                    share[r, c] = (cell == k).mean()
            assert got.area[i, k] == pytest.approx(share.mean())
            for concept in range(m):
                one = maps[i, :, :, concept]
                row = i * 2 + k
                if not one.any():
                    assert got.hits[row, concept] == got.energy[row, concept] == 0
                    continue
                r, c = np.unravel_index(one.argmax(), one.shape)
                at = classes[i, math.floor((r + 0.5) * height / h), math.floor((c + 0.5) * width / w)]
                assert got.hits[row, concept] == (at == k)
                assert got.energy[row, concept] == pytest.approx((one * share).sum() / one.sum())


def test_an_even_map_has_the_energy_of_chance_and_a_right_one_all() -> None:
    classes = np.random.default_rng(2).integers(0, 2, (20, 4, 4))
    maps = np.stack([np.ones((20, 4, 4)), classes == 0, classes == 1], axis=-1).astype(float)
    got = measured(maps, classes)
    best = got.best_concepts()
    assert best.tolist() == [1, 2]
    assert got.accuracy(best) == got.energy_in_mask(best) == 1
    assert got.energy_in_mask(np.array([0, 0])) == pytest.approx(got.chance())
    assert got.accuracy(np.array([2, 1])) == 0


def test_of_concepts_with_as_many_hits_the_one_with_more_energy_is_best_and_then_the_first() -> None:
    maps = np.zeros((2, 1, 3, 4))
    maps[:, 0, 0] = [3, 3, 3, 1]
    maps[:, 0, 1] = [2, 1, 1, 2]  # concept 3 points here, with a third of its mass on the label
    classes = np.tile([0, -1, -1], (2, 1, 1))
    assert measured(maps, classes).best_concepts().tolist() == [1, -1]
    maps[1, 0, :, 1:3] = maps[:, 0, 1:, 0] = 0
    maps[:, 0, :, 0] = [3, 2.9, 2.9]  # 2 hits, with a third of its mass; concepts 1 and 2 hit once, with three quarters
    maps[0, 0, 1, 1] = 0  # or all of it
    assert measured(maps, classes).best_concepts().tolist() == [0, -1]


def test_meters_merge_and_what_does_not_fit_is_said() -> None:
    meters = [PointingMeter(2, LABELS, (1, 2)) for _ in range(2)]
    codes = SparseCodes.from_dense(torch.tensor([[1.0, 0], [0, 1]]))
    for meter, label in zip(meters, (0, 1)):
        meter.update(codes, np.full((1, 1, 2), label))
    meters[0].merge(meters[1])
    assert meters[0].result().area.tolist() == [[1, 0], [0, 1]]
    assert math.isnan(PointingMeter(2, LABELS, (1, 2)).result().chance())
    with pytest.raises(InsightError, match="same concepts"):
        meters[0].merge(PointingMeter(2, LABELS, (2, 1)))
    for classes, message in (
        (np.zeros((2, 1, 2), dtype=int), r"classes \[1, H, W\]"),
        (np.full((1, 1, 2), 2), "from -1 to 1"),
        (np.zeros((1, 1, 1), dtype=int), "at least the grid"),
    ):
        with pytest.raises(InsightError, match=message):
            meters[0].update(codes, classes)
    with pytest.raises(InsightError, match="one below 2"):
        meters[0].result().accuracy(np.array([0, 2]))

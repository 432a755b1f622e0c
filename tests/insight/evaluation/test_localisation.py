"""Measures against masks: of every pair by loops over pixels, and scikit-learn's average precision."""

from dataclasses import fields

import numpy as np
import pytest
import torch
from sklearn.metrics import average_precision_score, jaccard_score

from insight.evaluation.localisation import Localisation, best_threshold, iou_above, localise
from sae import InsightError


def random_case(seed: int, levels: int | None, *shape: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Maps (with ties when there are levels), masks and which pixels count."""
    random = torch.Generator().manual_seed(seed)
    maps = torch.randn(shape, generator=random) if levels is None else torch.randint(levels, shape, generator=random)
    draws = torch.rand(2, *shape, generator=random)
    return maps.float(), draws[0] < 0.3, draws[1] < 0.8


def by_hand(one: np.ndarray, mask: np.ndarray, valid: np.ndarray, threshold: float) -> dict[str, float]:
    height, width = one.shape
    centre = [mask[y, x] for y, x in np.ndindex(one.shape) if valid[y, x] and abs(2 * y - height + 1) < 2
              and abs(2 * x - width + 1) < 2]  # fmt: skip
    one, mask = one[valid].astype(np.float64), mask[valid]
    if not mask.any():
        return {field.name: np.nan for field in fields(Localisation)}
    soft = (one - one.min()) / np.ptp(one) if np.ptp(one) else np.zeros_like(one)
    area = mask.mean()
    shared = 0.0  # of each pixel of the mask, the chance that it is among the largest when ties are broken by lot
    for value in one[mask]:
        shared += np.clip((mask.sum() - (one > value).sum()) / (one == value).sum(), 0, 1)
    return {
        "iou": jaccard_score(mask, soft > threshold),
        "matched_iou": shared / (2 * mask.sum() - shared),
        "average_precision": average_precision_score(mask, one),
        "pointing": mask[one == one.max()].mean(),
        "energy": soft[mask].sum() / soft.sum() if soft.any() else area,
        "area": area,
        "centre": np.mean(centre) if centre else np.nan,
    }


@pytest.mark.parametrize("size", [(5, 7), (6, 4), (5, 4)], ids=lambda size: f"{size[0]}x{size[1]}")
@pytest.mark.parametrize("levels", [None, 3], ids=["untied", "tied"])
@pytest.mark.parametrize("void", [False, True], ids=["all", "void"])
def test_every_measure_equals_a_loop(size: tuple[int, int], levels: int | None, void: bool) -> None:
    maps, masks, valid = random_case(0, levels, 2, 3, *size)
    masks[0, 0], masks[0, 1], maps[1, 1], maps[1, 2] = False, True, 2, -5
    got = localise(maps, masks, valid if void else None, threshold=0.4)
    for at in np.ndindex(2, 3):
        on = valid[at].numpy() if void else np.ones(size, dtype=bool)
        wanted = by_hand(maps[at].numpy(), masks[at].numpy(), on, 0.4)
        for name, value in wanted.items():
            assert getattr(got, name)[at] == pytest.approx(value, nan_ok=True), name


def test_without_a_mask_nothing_is_defined_and_a_full_mask_is_found_by_all() -> None:
    maps, masks, _ = random_case(1, None, 2, 4, 4)
    masks[0], masks[1] = False, True
    got = vars(localise(maps, masks))
    assert all(np.isnan(of[0]) for of in got.values())
    assert {name for name, of in got.items() if of[1] == pytest.approx(1)} == set(got) - {"iou"}
    nothing_counts = localise(maps, masks, torch.zeros_like(masks))
    assert all(np.isnan(of).all() for of in vars(nothing_counts).values())


def test_a_constant_map_has_the_figures_of_chance() -> None:
    _, masks, _ = random_case(2, None, 3, 6, 6)
    got = localise(torch.full((3, 6, 6), 2.5), masks)
    for of in (got.average_precision, got.pointing, got.energy):
        assert of == pytest.approx(got.area)
    assert got.matched_iou == pytest.approx(got.area / (2 - got.area))
    assert not got.iou.any()


def test_the_mask_itself_is_found_whole_and_its_contrary_not_at_all() -> None:
    _, masks, _ = random_case(3, None, 4, 6, 6)
    right, wrong = localise(masks.float() * 3 - 7, masks), localise(-masks.float(), masks)
    for name in ("iou", "matched_iou", "average_precision", "pointing", "energy"):
        assert getattr(right, name) == pytest.approx(1)
        assert (getattr(wrong, name) < right.area + 1e-9).all()


def test_what_does_not_count_has_no_part_in_the_scale_either() -> None:
    maps, masks, valid = random_case(4, None, 5, 6, 6)
    loud = torch.where(valid, maps, 1e4 * maps)
    for a, b in zip(vars(localise(maps, masks, valid)).values(), vars(localise(loud, masks, valid)).values()):
        assert a == pytest.approx(b)


def test_the_best_threshold_is_the_best_of_all_and_flatters() -> None:
    maps, masks, valid = random_case(5, None, 20, 6, 6)
    maps += masks * 0.8
    chosen = best_threshold(maps[:10], masks[:10], valid[:10])
    means = {
        step / 20: np.mean(iou_above(maps[:10], masks[:10], valid[:10], threshold=step / 20)) for step in range(20)
    }
    assert chosen == max(means, key=lambda one: means[one])
    assert means[chosen] > means[0.5]
    with pytest.raises(InsightError, match="at least one that is not empty"):
        best_threshold(maps, torch.zeros_like(masks))


def test_what_does_not_fit_is_said() -> None:
    maps, masks, valid = random_case(6, None, 2, 4, 4)
    with pytest.raises(InsightError, match=r"bool masks and bool valid of one shape .* torch.float32 \[2, 4, 4\]"):
        localise(maps, masks.float())
    with pytest.raises(InsightError, match="of one shape"):
        localise(maps, masks, valid[:1])
    with pytest.raises(InsightError, match="maps: expected finite"):
        localise(maps * torch.inf, masks)

"""Separation, consistency and overlap of concept maps against loops over pairs and places."""

from itertools import combinations

import numpy as np
import pytest
import torch

from insight.evaluation.concept_maps import consistency, disentanglability, overlap, separation
from sae import InsightError


def random_case(seed: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    random = torch.Generator().manual_seed(seed)
    maps, of_class = torch.randn(6, 5, 3, 4, generator=random), torch.randn(6, 3, 4, generator=random)
    mask = torch.rand(6, 5, generator=random) < 0.7
    mask[0], mask[1], mask[2] = False, torch.arange(5) == 3, True
    maps[2, 1] = 4  # constant
    return maps, of_class, mask


def scaled(one: torch.Tensor) -> np.ndarray:
    of = one.double().numpy()
    return (of - of.min()) / np.ptp(of) if np.ptp(of) else 0 * of


@pytest.mark.parametrize("ragged", [False, True], ids=["all", "ragged"])
def test_all_measures_equal_loops(ragged: bool) -> None:
    maps, of_class, mask = random_case(0)
    given = mask if ragged else None
    got = separation(maps, given), overlap(maps, given)
    made = consistency(maps, of_class, given), consistency(maps, of_class, given, of="mean")
    for b in range(6):
        concepts = [scaled(maps[b, k]) for k in range(5) if mask[b, k] or not ragged]
        pairs = list(combinations(concepts, 2))
        assert got[0][b] == pytest.approx(sum((a * c).sum() for a, c in pairs))
        ious = [np.minimum(a, c).sum() / np.maximum(a, c).sum() for a, c in pairs if a.any() and c.any()]
        assert got[1][b] == pytest.approx(np.mean(ious) if ious else np.nan, nan_ok=True)
        total = sum(concepts, np.zeros((3, 4)))
        assert made[0][b] == pytest.approx(((total - scaled(of_class[b])) ** 2).sum())
        assert made[1][b] == pytest.approx(((total / max(1, len(concepts)) - scaled(of_class[b])) ** 2).sum())


def test_what_a_concept_that_is_not_there_says_does_not_matter() -> None:
    maps, of_class, mask = random_case(1)
    other = torch.where(mask[..., None, None], maps, torch.nan)
    assert separation(maps, mask) == pytest.approx(separation(other, mask))
    assert consistency(maps, of_class, mask) == pytest.approx(consistency(other, of_class, mask))
    assert overlap(maps, mask) == pytest.approx(overlap(other, mask), nan_ok=True)


def test_maps_apart_are_0_and_the_same_map_twice_is_1() -> None:
    apart = torch.eye(4).reshape(1, 4, 2, 2)
    assert separation(apart) == overlap(apart) == [0]
    assert consistency(apart, torch.ones(1, 2, 2)) == [4]  # a constant class map is 0 everywhere
    twice = torch.rand(1, 1, 5, 5, generator=torch.Generator().manual_seed(0)).expand(1, 3, 5, 5)
    assert overlap(twice) == pytest.approx([1])


def test_a_finer_grid_changes_the_published_figure_but_not_the_overlap() -> None:
    maps, _, _ = random_case(2)
    finer = maps.repeat_interleave(2, 2).repeat_interleave(2, 3)
    assert separation(finer) == pytest.approx(4 * separation(maps))
    assert (disentanglability(separation(finer)) < disentanglability(separation(maps)) - 0.01).all()
    assert overlap(finer) == pytest.approx(overlap(maps))


def test_disentanglability_by_hand() -> None:
    assert disentanglability(np.array([20.0, 24.1])) == pytest.approx([0.5, 1 / (1 + np.exp(0.41))])


def test_what_does_not_fit_is_said() -> None:
    maps, of_class, mask = random_case(3)
    with pytest.raises(InsightError, match=r"expected \[B, K, h, w\], found \[6, 3, 4\]"):
        separation(of_class)
    with pytest.raises(InsightError, match=r"mask: expected bool \[6, 5\], found torch.float32"):
        overlap(maps, mask.float())
    with pytest.raises(InsightError, match=r"class maps: expected \[6, 3, 4\]"):
        consistency(maps, of_class[:2])
    with pytest.raises(InsightError, match="found 'max'"):
        consistency(maps, of_class, of="max")  # type: ignore[arg-type]
    with pytest.raises(InsightError, match="finite"):
        separation(maps * torch.nan)

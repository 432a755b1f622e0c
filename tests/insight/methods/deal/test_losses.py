"""The terms of DEAL equal their definitions, place by place and pair by pair, in float64."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
import torch
from torch import Tensor

from insight.methods.deal.contrastive import contrastive
from insight.methods.deal.losses import AGGREGATES, Aggregate, consistency, separation, sparsity

RAGGED = torch.tensor([[1, 1, 1, 1], [1, 0, 1, 1], [0, 0, 1, 0]]).bool()


def maps_of(seed: int) -> tuple[Tensor, Tensor]:
    """Of 3 photos and 4 concepts [3, 4, 2, 5], and of their classes [3, 2, 5]; in [0, 1], as rescaled maps are."""
    random = torch.Generator().manual_seed(seed)
    made = torch.rand(3, 5, 2, 5, generator=random, dtype=torch.float64)
    return made[:, :4], made[:, 4]


def real_maps(maps: Tensor, photo: int) -> list[list[float]]:
    return [maps[photo, k].flatten().tolist() for k in range(maps.shape[1]) if RAGGED[photo, k]]


def test_separation_is_the_overlap_of_all_pairs() -> None:
    maps, _ = maps_of(0)
    total = 0.0
    for photo in range(3):
        for one, other in combinations(real_maps(maps, photo), 2):
            for a, b in zip(one, other, strict=True):
                total += a * b
    assert float(separation(maps, RAGGED)) == pytest.approx(total / 3, rel=1e-12)


@pytest.mark.parametrize("aggregate", AGGREGATES)
def test_consistency_is_the_squared_distance_of_the_concepts_together_from_the_class(aggregate: Aggregate) -> None:
    maps, class_map = maps_of(1)
    put_together = {"max": max, "sum": sum, "mean": lambda values: sum(values) / len(values)}[aggregate]
    total = 0.0
    for photo in range(3):
        for place, values in enumerate(zip(*real_maps(maps, photo), strict=True)):
            total += (put_together(values) - float(class_map[photo].flatten()[place])) ** 2
    assert float(consistency(maps, class_map, RAGGED, aggregate)) == pytest.approx(total / 3, rel=1e-12)


def test_sparsity_is_the_mean_over_photos_whatever_their_number() -> None:
    maps, _ = maps_of(2)
    total = sum(sum(values) for photo in range(3) for values in real_maps(maps, photo))
    assert float(sparsity(maps, RAGGED)) == pytest.approx(total / 3, rel=1e-12)
    twice = sparsity(maps.repeat(2, 1, 1, 1), RAGGED.repeat(2, 1))
    assert float(twice) == pytest.approx(total / 3, rel=1e-12)


def test_disjoint_maps_that_cover_the_class_cost_nothing() -> None:
    maps = torch.zeros(1, 3, 3, 2)
    for concept in range(3):
        maps[0, concept, concept] = torch.rand(2) + 0.1
    every = torch.ones(1, 3).bool()
    assert float(separation(maps, every)) == 0
    assert float(consistency(maps, maps.sum(1), every, "max")) == 0
    assert float(consistency(maps, maps.sum(1), every, "mean")) > 0
    assert float(separation(maps + 0.01, every)) > 0


@pytest.mark.parametrize("padding", [0.0, 0.7, float("nan")])
def test_padding_counts_as_little_as_if_it_were_not_there_and_gets_no_gradient(padding: float) -> None:
    maps, class_map = maps_of(3)
    mask = torch.tensor([[True, True, False, False]] * 3)
    filled = maps.masked_fill(~mask[:, :, None, None], padding).requires_grad_()
    few, all_of_them = maps[:, :2], torch.ones(3, 2).bool()
    terms = [separation(filled, mask), sparsity(filled, mask)]
    wanted = [separation(few, all_of_them), sparsity(few, all_of_them)]
    for aggregate in AGGREGATES:
        terms.append(consistency(filled, class_map, mask, aggregate))
        wanted.append(consistency(few, class_map, all_of_them, aggregate))
    torch.testing.assert_close(torch.stack(terms), torch.stack(wanted), rtol=1e-12, atol=0)
    (gradient,) = torch.autograd.grad(torch.stack(terms).sum(), filled)
    assert not gradient[:, 2:].any()
    assert bool(gradient[:, :2].abs().sum((-2, -1)).all())


@pytest.mark.parametrize("aggregate", AGGREGATES)
def test_a_photo_without_concepts_costs_nothing(aggregate: Aggregate) -> None:
    maps, class_map = maps_of(4)
    assert float(consistency(maps, class_map, torch.zeros(3, 4).bool(), aggregate)) == 0


@pytest.mark.parametrize(
    "term",
    [lambda m, c: separation(m, RAGGED), lambda m, c: sparsity(m, RAGGED)]
    + [lambda m, c, a=a: consistency(m, c, RAGGED, a) for a in AGGREGATES],
    ids=["separation", "sparsity", *AGGREGATES],
)
def test_gradients_equal_differences(term) -> None:  # type: ignore[no-untyped-def]
    maps, class_map = maps_of(5)
    assert torch.autograd.gradcheck(term, (maps.requires_grad_(), class_map.requires_grad_()))


def symmetric(logits: np.ndarray, target: np.ndarray) -> float:
    total = 0.0
    for matrix, wanted in ((logits, target), (logits.T, target.T)):
        for row, shares in zip(matrix, wanted, strict=True):
            total -= float(shares @ (row - np.log(np.exp(row).sum())))
    return total / (2 * len(logits))


def test_contrastive_with_different_captions_is_that_of_clip() -> None:
    logits = torch.randn(5, 5, generator=torch.Generator().manual_seed(6), dtype=torch.float64)
    found = float(contrastive(logits, torch.tensor([3, 9, 0, 1, 4])))
    assert found == pytest.approx(symmetric(logits.numpy(), np.eye(5)), rel=1e-12)


def test_contrastive_shares_its_target_between_photos_of_one_caption() -> None:
    logits = torch.randn(4, 4, generator=torch.Generator().manual_seed(7), dtype=torch.float64)
    target = np.array([[0.5, 0, 0.5, 0], [0, 1, 0, 0], [0.5, 0, 0.5, 0], [0, 0, 0, 1]])
    found = float(contrastive(logits, torch.tensor([2, 0, 2, 1])))
    assert found == pytest.approx(symmetric(logits.numpy(), target), rel=1e-12)
    assert found != pytest.approx(symmetric(logits.numpy(), np.eye(4)), rel=1e-3)

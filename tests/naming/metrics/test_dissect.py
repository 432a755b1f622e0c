"""Soft-WPMI of CLIP-Dissect."""

import math

import pytest
import torch

from naming import soft_wpmi
from sae import InsightError, SparseCodes


def distinct(generator: torch.Generator, n: int, m: int) -> torch.Tensor:
    """float32 [n, m] activations, no two alike in a column; a third are zero, and the last concept never fires."""
    values = torch.stack([torch.randperm(n, generator=generator) for _ in range(m)], 1).float()
    values = (values - n // 3).clamp_min(0)
    values[:, -1] = 0
    return values


def plain(
    dense: torch.Tensor, similarities: torch.Tensor, strongest: int, sharpness: float, prior: float
) -> torch.Tensor:
    """The published formula, loop by loop."""
    shares = []
    for row in similarities.double().tolist():
        weights = [math.exp(sharpness * value) for value in row]
        shares.append([weight / sum(weights) for weight in weights])
    given = []
    for column in dense.T.tolist():
        firing = sorted((i for i in range(len(column)) if column[i] > 0), key=lambda i: -column[i])[:strongest]
        logs = []
        for phrase in range(similarities.shape[1]):
            total = 0.0
            for rank, image in enumerate(firing):
                chance = 0.998 - rank / strongest * (0.998 - 0.97)
                total += math.log(1 + chance * (shares[image][phrase] - 1))
            logs.append(total * strongest / len(firing) if firing else math.nan)
        given.append(logs)
    living = [row for row in given if not math.isnan(row[0])]
    scores = []
    for row in given:
        scores.append([])
        for phrase, value in enumerate(row):
            most = max(other[phrase] for other in living)
            mean = sum(math.exp(other[phrase] - most) for other in living) / len(living)
            scores[-1].append(value - prior * (most + math.log(mean)))
    return torch.tensor(scores, dtype=torch.float64)


@pytest.mark.parametrize("strongest", [1, 7, 8, 20, 50])
def test_scores_equal_the_plain_form(generator, strongest):
    dense, similarities = distinct(generator, 36, 5), torch.rand(36, 6, generator=generator)
    found = soft_wpmi(SparseCodes.from_dense(dense), similarities, strongest=strongest, sharpness=4, prior=0.7)
    expected = plain(dense, similarities, strongest, 4, 0.7)
    assert found.shape == (5, 6)
    assert found[:-1].numpy() == pytest.approx(expected[:-1].numpy(), rel=1e-4, abs=2e-3)
    assert bool(found[-1].isnan().all())


def test_double_precision_is_kept(generator):
    dense, similarities = distinct(generator, 30, 3), torch.rand(30, 4, generator=generator, dtype=torch.float64)
    found = soft_wpmi(SparseCodes.from_dense(dense), similarities, strongest=12)
    expected = plain(dense, similarities, 12, 10, 1)
    assert found[:-1].numpy() == pytest.approx(expected[:-1].numpy(), rel=1e-10, abs=1e-9)


def test_a_concept_gets_the_phrase_of_its_images():
    kind = torch.arange(90) % 3
    codes = SparseCodes.from_dense(torch.nn.functional.one_hot(kind, 3).float())
    similarities = 0.2 + 0.1 * torch.nn.functional.one_hot((kind + 1) % 3, 4)
    assert soft_wpmi(codes, similarities, strongest=20).argmax(1).tolist() == [1, 2, 0]


def test_a_phrase_that_is_like_every_image_is_no_ones():
    kind = torch.arange(90) % 3
    codes = SparseCodes.from_dense(torch.nn.functional.one_hot(kind, 3).float())
    similarities = torch.full((90, 4), 0.2)
    similarities[:, :3] += 0.1 * torch.nn.functional.one_hot(kind, 3)
    similarities[:, 3] = 0.35
    assert soft_wpmi(codes, similarities, strongest=20, prior=0).argmax(1).tolist() == [3, 3, 3]
    assert soft_wpmi(codes, similarities, strongest=20).argmax(1).tolist() == [0, 1, 2]


def test_what_cannot_be_scored_is_refused_or_nan():
    codes = SparseCodes.from_dense(torch.zeros(4, 2))
    assert bool(soft_wpmi(codes, torch.rand(4, 3)).isnan().all())
    with pytest.raises(InsightError, match="each of 4 images"):
        soft_wpmi(codes, torch.rand(5, 3))
    with pytest.raises(InsightError, match="found 0"):
        soft_wpmi(codes, torch.rand(4, 3), strongest=0)

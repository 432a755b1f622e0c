"""What is the same in dictionaries of several seeds, against what is known of them and against chance."""

import pytest
import torch

from sae import InsightError
from sae.metrics import match, match_above, random_like, stability


def shuffled(dictionary, generator):
    return dictionary[torch.randperm(len(dictionary), generator=generator)]


def test_the_same_concepts_in_any_order_are_wholly_stable(generator):
    concepts = torch.randn(60, 64, generator=generator)
    measured = stability([shuffled(concepts, generator) for _ in range(3)])
    assert measured.mean == pytest.approx(1)
    assert measured.share == 1
    assert measured.null_mean < 0.5
    assert measured.null_share < 0.1
    for cosine in measured.cosines:
        torch.testing.assert_close(cosine, torch.ones(60, dtype=torch.float64))


def test_unrelated_dictionaries_are_as_stable_as_the_null(generator):
    measured = stability(list(torch.randn(2, 300, 16, generator=generator)))
    assert measured.mean == pytest.approx(measured.null_mean, abs=0.03)
    assert measured.share == pytest.approx(measured.null_share, abs=0.1)


def test_shared_and_private_concepts_are_told_apart(generator):
    shared, private = torch.randn(40, 64, generator=generator), torch.randn(2, 20, 64, generator=generator)
    measured = stability([torch.cat([shared, own]) for own in private])
    assert measured.share == pytest.approx(40 / 60)
    for cosine in measured.cosines:
        torch.testing.assert_close(cosine[:40], torch.ones(40, dtype=torch.float64))
        assert float(cosine[40:].max()) < 0.7


def test_figures_are_those_of_the_matchings_two_by_two(generator):
    dictionaries = [torch.randn(m, 5, generator=generator) for m in (9, 7, 9)]
    measured = stability(dictionaries, threshold=0.5)
    every = [
        match(dictionaries[i], dictionaries[j]).cosine.nan_to_num(0.0) for i in range(3) for j in range(3) if i != j
    ]
    found = torch.cat(every)
    assert measured.mean == pytest.approx(float(found.mean()), abs=1e-6)
    assert measured.share == pytest.approx(float((found >= 0.5).double().mean()))
    for i, cosine in enumerate(measured.cosines):
        torch.testing.assert_close(cosine, (every[2 * i] + every[2 * i + 1]) / 2, rtol=1e-5, atol=1e-6)
    assert measured.threshold == 0.5


def test_by_the_floor_lone_concepts_count_as_zero(generator):
    shared, private = torch.randn(40, 64, generator=generator), torch.randn(2, 20, 64, generator=generator)
    pair = [torch.cat([shared, own]) for own in private]
    measured = stability(pair, match=lambda left, right: match_above(left, right, 0.8))
    assert measured.mean == pytest.approx(40 / 60)
    assert (measured.null_mean, measured.null_share) == (0, 0)


def test_the_null_is_spread_like_the_dictionary(generator):
    stretch = torch.tensor([3.0, 1, 0.3, 0.01])
    dictionary = torch.nn.functional.normalize(torch.randn(4000, 4, generator=generator) * stretch + 1)
    drawn = random_like(dictionary, generator)
    torch.testing.assert_close(drawn.norm(dim=1), torch.ones(4000))
    torch.testing.assert_close(drawn.mean(0), dictionary.mean(0), rtol=0, atol=0.1)
    ours, theirs = (torch.linalg.eigvalsh(rows.T.cov()) for rows in (drawn, dictionary))
    torch.testing.assert_close(ours / ours.sum(), theirs / theirs.sum(), rtol=0, atol=0.1)


def test_the_same_seed_draws_the_same_null(generator):
    pair = list(torch.randn(2, 30, 8, generator=generator))
    assert stability(pair, seed=5).null_mean == stability(pair, seed=5).null_mean
    assert stability(pair, seed=5).null_mean != stability(pair, seed=6).null_mean


def test_a_single_dictionary_is_refused():
    with pytest.raises(InsightError, match="at least two dictionaries, found 1"):
        stability([torch.ones(3, 2)])

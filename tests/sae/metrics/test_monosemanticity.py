"""MS in one pass against the double sum over pairs of samples."""

import pytest
import torch

from sae import InsightError, SparseCodes
from sae.metrics import MonosemanticityMeter

from .arrays import LargestArray, random_codes


def defined(a, embeddings):
    """MS_k = Σ_{i<j} ã_ik ã_jk cos(e_i, e_j) / Σ_{i<j} ã_ik ã_jk with ã min-max scaled, pair by pair."""
    a, embeddings = a.double(), embeddings.double()
    scaled = (a - a.amin(0)) / (a.amax(0) - a.amin(0))
    above, weights = torch.zeros(a.shape[1], dtype=torch.float64), torch.zeros(a.shape[1], dtype=torch.float64)
    for i in range(len(a)):
        for j in range(i + 1, len(a)):
            weight = scaled[i] * scaled[j]
            above += weight * torch.cosine_similarity(embeddings[i], embeddings[j], dim=0)
            weights += weight
    return above / weights


def metered(codes, embeddings, size):
    meter = MonosemanticityMeter(codes.n_concepts, embeddings.shape[1])
    for start in range(0, codes.n, size):
        meter.update(codes[start : start + size], embeddings[start : start + size])
    return meter


@pytest.fixture
def codes(generator):
    """Rare and frequent concepts; 0 always on, 1 always on and constant, 2 dead, 3 on once, 4 always on but once."""
    dense = random_codes(40, 12, 0.3, generator).dense()
    dense[:, 0] = 3 + torch.rand(40, generator=generator)
    dense[:, 1] = 0.7
    dense[:, 2] = 0
    dense[:, 3] = torch.eye(40)[17]
    dense[:, 4] = 5 + torch.rand(40, generator=generator)
    dense[23, 4] = 0
    return SparseCodes.from_dense(dense)


@pytest.mark.parametrize("size", [40, 7, 1])
def test_one_pass_gives_the_sum_over_pairs(codes, generator, size):
    embeddings = torch.randn(40, 5, generator=generator) + 0.5
    measured = metered(codes, embeddings, size).result()
    expected = defined(codes.dense(), embeddings)
    torch.testing.assert_close(measured.score, expected, rtol=1e-9, atol=1e-12, equal_nan=True)
    assert measured.score.isnan().nonzero()[:, 0].tolist() == [1, 2, 3]
    assert measured.mean == pytest.approx(float(expected.nanmean()))


def test_the_baseline_is_the_mean_cosine_of_all_pairs(codes, generator):
    embeddings = torch.randn(40, 5, generator=generator) + 0.5
    pairs = [
        float(torch.cosine_similarity(embeddings[i].double(), embeddings[j].double(), dim=0))
        for i in range(40)
        for j in range(i)
    ]
    assert metered(codes, embeddings, 9).result().baseline == pytest.approx(sum(pairs) / len(pairs), rel=1e-9)


def test_concepts_of_one_and_of_two_opposite_kinds():
    one, other = [1.0, 0.0], [0.0, 1.0]
    embeddings = torch.tensor([one, one, other, other])
    codes = SparseCodes.from_dense(torch.tensor([[1.0, 1], [1, 0], [0, 1], [0, 0]]))
    measured = metered(codes, embeddings, 4).result()
    torch.testing.assert_close(measured.score, torch.tensor([1.0, 0], dtype=torch.float64))
    assert measured.baseline == pytest.approx(1 / 3)


def test_stronger_activations_weigh_more():
    embeddings = torch.tensor([[1.0, 0], [1, 0], [0, 1], [1, 1]])
    codes = SparseCodes.from_dense(torch.tensor([[3.0], [2], [1], [0]]))
    # pairs 3·2 at cosine 1, 3·1 and 2·1 at cosine 0
    assert metered(codes, embeddings, 2).result().score.tolist() == pytest.approx([6 / 11])


@pytest.mark.parametrize("size", [1, 2, 4])
def test_what_is_always_on_is_weighed_above_its_minimum(size):
    embeddings = torch.tensor([[1.0, 0], [1, 0], [1, 0], [0, 1]])
    codes = SparseCodes.from_dense(torch.tensor([[2.0, 2], [3, 2], [2, 2], [4, 3]]))
    # of the first concept 1 and 2 remain, in samples at cosine 0; of the second 1 in a single sample
    score = metered(codes, embeddings, size).result().score
    assert score[0] == 0
    assert score[1].isnan()


def test_two_passes_merged_are_one_pass(codes, generator):
    embeddings = torch.randn(40, 5, generator=generator)
    whole = metered(codes, embeddings, 40).result()
    for cut in (1, 17, 39):
        first, second = metered(codes[:cut], embeddings[:cut], 10), metered(codes[cut:], embeddings[cut:], 10)
        first.merge(second)
        torch.testing.assert_close(first.result().score, whole.score, rtol=1e-9, atol=1e-12, equal_nan=True)
        assert first.result().baseline == pytest.approx(whole.baseline)


def test_the_length_of_embeddings_does_not_matter(codes, generator):
    embeddings = torch.randn(40, 5, generator=generator)
    lengths = 0.1 + torch.rand(40, 1, generator=generator)
    plain, scaled = metered(codes, embeddings, 40).result(), metered(codes, embeddings * lengths, 40).result()
    torch.testing.assert_close(plain.score, scaled.score, rtol=1e-5, atol=1e-6, equal_nan=True)


def test_no_array_grows_with_tokens_times_concepts(generator):
    codes, embeddings = random_codes(500, 600, 0.01, generator), torch.randn(500, 8, generator=generator)
    with LargestArray() as largest:
        metered(codes, embeddings, 500).result()
    assert largest.numel <= max(2 * codes.nnz, 600 * 8)


def test_bad_embeddings_and_too_few_samples_are_refused():
    meter, codes = MonosemanticityMeter(2, 3), SparseCodes.from_dense(torch.ones(1, 2))
    with pytest.raises(InsightError, match=r"embeddings \[1, 3\], found 2 and \[1, 4\]"):
        meter.update(codes, torch.ones(1, 4))
    for bad in (0.0, float("nan"), float("inf")):
        with pytest.raises(InsightError, match="finite embeddings with a direction"):
            meter.update(codes, torch.full((1, 3), bad))
    with pytest.raises(InsightError, match="expected a meter"):
        meter.merge(MonosemanticityMeter(2, 4))
    meter.update(codes, torch.ones(1, 3))
    with pytest.raises(InsightError, match="at least two samples, found 1"):
        meter.result()

"""Firing frequencies counted in a stream against the dense codes."""

from itertools import pairwise

import pytest
import torch

from sae import InsightError, SparseCodes
from sae.metrics import DENSITY_EDGES, DensityMeter

from .arrays import LargestArray, random_codes


def metered(codes, sizes):
    meter = DensityMeter(codes.n_concepts)
    start = 0
    for size in sizes:
        meter.update(codes[start : start + size])
        start += size
    assert start == codes.n
    return meter


@pytest.mark.parametrize("sizes", [[90], [1] * 90, [30, 0, 60]])
def test_streamed_frequencies_are_those_of_the_dense_codes(generator, sizes):
    codes = random_codes(90, 40, 0.08, generator)
    measured = metered(codes, sizes).result()
    active = codes.dense() > 0
    frequency = active.double().mean(0)
    torch.testing.assert_close(measured.frequency, frequency, rtol=1e-15, atol=0)
    assert measured.tokens == 90
    assert measured.l0 == pytest.approx(float(active.sum(1).double().mean()))
    assert measured.dead == float((frequency == 0).double().mean())
    assert measured.dense == float((active.sum(0) > 9).double().mean())


def test_every_living_concept_is_in_the_bin_of_its_frequency(generator):
    codes = random_codes(400, 60, 0.004, generator)
    measured = metered(codes, [400]).result()
    bins = [0] * (len(DENSITY_EDGES) - 1)
    for frequency in (codes.dense() > 0).double().mean(0).tolist():
        if frequency > 0:
            inside = [low <= frequency < high for low, high in pairwise(DENSITY_EDGES)]
            bins[inside.index(True)] += 1
    assert measured.histogram.tolist() == bins
    assert sum(bins) + 60 * measured.dead == 60
    assert measured.dead > 0


def test_concepts_at_an_edge_are_in_the_bin_above_it():
    tokens = torch.arange(1000)
    rows = torch.cat([tokens, tokens[:100], tokens[:10], tokens[:1]])
    concepts = torch.repeat_interleave(torch.arange(4), torch.tensor([1000, 100, 10, 1]))
    codes = SparseCodes.from_entries(rows, concepts, torch.ones(len(rows)), 1000, 5)
    measured = metered(codes, [1000]).result()
    assert measured.histogram.nonzero()[:, 0].tolist() == [20, 24, 28, 31]
    assert [DENSITY_EDGES[i] for i in (20, 24, 28, 32)] == [1e-3, 1e-2, 1e-1, 1.0]
    assert measured.dead == 0.2
    assert measured.dense == 0.2, "a tenth of the tokens is not more than a tenth"


def test_concepts_rarer_than_the_lowest_edge_are_in_the_first_bin():
    meter = DensityMeter(2)
    meter.update(SparseCodes.from_dense(torch.tensor([[0.0, 1.0]])))
    for _ in range(40):
        meter.merge(meter)
    assert meter.result().frequency.tolist() == [0, 1]
    once = DensityMeter(2)
    once.update(SparseCodes.from_dense(torch.tensor([[1.0, 0.0]])))
    meter.merge(once)
    assert meter.result().histogram.tolist() == [1] + [0] * 30 + [1]


def test_two_passes_merged_are_one_pass(generator):
    codes = random_codes(70, 20, 0.1, generator)
    first, second = metered(codes[:30], [30]), metered(codes[30:], [40])
    first.merge(second)
    assert torch.equal(first.result().frequency, metered(codes, [70]).result().frequency)
    assert second.result().tokens == 40


def test_no_array_grows_with_tokens_times_concepts(generator):
    codes = random_codes(300, 500, 0.01, generator)
    meter = DensityMeter(500)
    with LargestArray() as largest:
        meter.update(codes)
        meter.result()
    assert largest.numel <= max(codes.nnz, 500)


def test_other_dictionaries_and_no_tokens_are_refused():
    meter = DensityMeter(4)
    with pytest.raises(InsightError, match="expected codes of 4 concepts, found 3"):
        meter.update(SparseCodes.from_dense(torch.ones(2, 3)))
    with pytest.raises(InsightError, match="expected a meter of 4 concepts, found one of 3"):
        meter.merge(DensityMeter(3))
    with pytest.raises(InsightError, match="at least one token"):
        meter.result()

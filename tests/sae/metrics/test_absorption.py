"""Absorption token by token against the definition, and on dictionaries in which it was put by hand."""

import math

import pytest
import torch

from sae import InsightError, SparseCodes
from sae.metrics import AbsorptionMeter, LinearProbe

from .arrays import LargestArray, random_codes


def defined(codes, features, decoder, probe, main):
    """Tokens seen, mean fraction and share absorbed in full: SAEBench's rules, one token after the other."""
    p, fractions, full = probe.direction, [], []
    for a, x in zip(codes.dense().double(), features.double()):
        along = float(x @ p)
        if along <= probe.offset:
            continue
        carries = [float(a[f] * (decoder[f].double() @ p)) for f in range(len(decoder))]
        cosine = [float(torch.cosine_similarity(decoder[f].double(), p, dim=0)) for f in range(len(decoder))]
        own = sum(carries[f] for f in main)
        others = sorted((carries[f] for f in range(len(decoder)) if f not in main and cosine[f] >= 0.1), reverse=True)
        absorber = sum(value for value in others[:3] if value > 0)
        if along <= 0 or own >= along or absorber < 0.4 * along:
            fractions.append(0.0)
        elif own <= 0:
            fractions.append(1.0)
        else:
            taken = min(absorber, along - own)
            fractions.append(taken / (taken + own))
        top = max(range(len(decoder)), key=lambda f: carries[f])
        silent = all(float(a[f]) == 0 for f in main)
        full.append(silent and cosine[top] >= 0.025 and along > 0 and carries[top] >= 0.4 * along)
    n = len(fractions)
    return n, sum(fractions) / n, sum(full) / n


def scene(generator, offset=-1.0):
    """Tokens that are sums of concepts leaning to the probe, so that every case of the definition occurs."""
    p = torch.nn.functional.normalize(torch.randn(8, generator=generator, dtype=torch.float64), dim=0)
    decoder = torch.nn.functional.normalize(torch.randn(25, 8, generator=generator) + 1.5 * p.float(), dim=1)
    decoder[0] = torch.nn.functional.normalize(0.3 * torch.randn(8, generator=generator) + 2 * p.float(), dim=0)
    decoder[3] = torch.nn.functional.normalize(torch.randn(8, generator=generator), dim=0) - 0.5 * p.float()
    codes = random_codes(300, 25, 0.12, generator)
    features = codes.dense() @ decoder + 0.3 * torch.randn(300, 8, generator=generator)
    return codes, features, decoder, LinearProbe(p, offset)


@pytest.mark.parametrize("offset", [-1.0, 1.0])
@pytest.mark.parametrize("main", [[0], [0, 1], [0, 3, 6]])
def test_figures_are_those_of_the_definition_token_by_token(generator, main, offset):
    codes, features, decoder, probe = scene(generator, offset)
    meter = AbsorptionMeter(decoder, probe, torch.tensor(main))
    for start in range(0, 300, 70):
        meter.update(codes[start : start + 70], features[start : start + 70])
    measured, expected = meter.result(), defined(codes, features, decoder, probe, main)
    assert measured.tokens == expected[0] > 50
    assert measured.fraction == pytest.approx(expected[1], rel=1e-9)
    assert measured.full == pytest.approx(expected[2], rel=1e-9)
    assert 0 < measured.fraction < 1
    assert 0 < measured.full < 1


def measured_token(activations, x, decoder=None):
    """One token of a dictionary of the label's concept 0 along the probe, absorber 1 at cosine 0.6, and 2 across."""
    decoder = torch.tensor([[1.0, 0], [0.6, 0.8], [0, 1]]) if decoder is None else decoder
    meter = AbsorptionMeter(decoder, LinearProbe(torch.tensor([1.0, 0], dtype=torch.float64), 0.0), torch.tensor([0]))
    meter.update(SparseCodes.from_dense(torch.tensor([activations])), torch.tensor([x]))
    result = meter.result()
    return result.fraction, result.full


def test_tokens_worked_out_by_hand():
    assert measured_token([1.0, 0, 1], [1.0, 1]) == (0, 0), "its own concept carries it"
    assert measured_token([0.0, 5 / 3, 0], [1.0, 4 / 3]) == (1, 1), "another carries all of it"
    # own 0.5 of 1; the other carries 0.6, of which 0.5 was missing
    fraction, full = measured_token([0.5, 1.0, 0], [1.0, 1])
    assert fraction == pytest.approx(0.5)
    assert full == 0
    # own 0.2 of 1; the other 0.6 of the 0.8 missing
    assert measured_token([0.2, 1.0, 0], [1.0, 1])[0] == pytest.approx(0.6 / 0.8)
    assert measured_token([0.0, 0.6, 0], [1.0, 1]) == (0, 0), "the other carries 0.36, less than 0.4"
    assert measured_token([0.0, 0, 9], [1.0, 1]) == (0, 0), "what stands across the probe absorbs nothing"
    assert measured_token([0.0, 0, 0], [1.0, 1]) == (0, 0), "nothing fires"


def test_a_barely_aligned_concept_can_absorb_whole_but_not_in_part():
    decoder = torch.tensor([[1.0, 0], [0.05, 0.99875], [0, 1]])
    assert measured_token([0.0, 20, 0], [1.0, 0], decoder) == (0, 1)
    decoder[1] = torch.tensor([0.02, 0.9998])
    assert measured_token([0.0, 50, 0], [1.0, 0], decoder) == (0, 0)


def test_at_most_three_concepts_absorb_together():
    decoder = torch.eye(6)
    decoder[:, 0] += 1
    p = LinearProbe(torch.eye(6, dtype=torch.float64)[0], 0.0)
    meter = AbsorptionMeter(decoder[1:], p, torch.tensor([0]))
    meter.update(
        SparseCodes.from_dense(torch.tensor([[0.1, 0.2, 0.2, 0.2, 0.2]])), torch.tensor([[1.0, 0, 0, 0, 0, 0]])
    )
    assert meter.result().fraction == pytest.approx(0.6 / 0.7)


def test_the_length_of_decoder_rows_does_not_matter(generator):
    codes, features, decoder, probe = scene(generator)
    lengths = torch.exp(torch.randn(25, generator=generator)).double()
    longer = SparseCodes.from_dense(codes.dense().double() / lengths)
    plain = AbsorptionMeter(decoder, probe, torch.tensor([0]))
    scaled = AbsorptionMeter(decoder.double() * lengths[:, None], probe, torch.tensor([0]))
    plain.update(codes, features)
    scaled.update(longer, features)
    assert scaled.result().fraction == pytest.approx(plain.result().fraction, rel=1e-6)
    assert scaled.result().full == plain.result().full


def test_two_passes_merged_are_one_pass(generator):
    codes, features, decoder, probe = scene(generator)
    whole, first, second = (AbsorptionMeter(decoder, probe, torch.tensor([0, 1])) for _ in range(3))
    whole.update(codes, features)
    first.update(codes[:100], features[:100])
    second.update(codes[100:], features[100:])
    first.merge(second)
    assert first.result().tokens == whole.result().tokens
    assert first.result().fraction == pytest.approx(whole.result().fraction)
    assert first.result().full == pytest.approx(whole.result().full)


def test_tokens_the_probe_does_not_see_do_not_count(generator):
    codes, features, decoder, probe = scene(generator, offset=1e6)
    meter = AbsorptionMeter(decoder, probe, torch.tensor([0]))
    meter.update(codes, features)
    result = meter.result()
    assert result.tokens == 0
    assert math.isnan(result.fraction)
    assert math.isnan(result.full)


def test_no_array_grows_with_tokens_times_concepts(generator):
    codes, decoder = random_codes(500, 700, 0.01, generator), torch.randn(700, 4, generator=generator)
    meter = AbsorptionMeter(decoder, LinearProbe(torch.eye(4, dtype=torch.float64)[0], -9.0), torch.tensor([0]))
    with LargestArray() as largest:
        meter.update(codes, torch.randn(500, 4, generator=generator))
    assert largest.numel <= codes.nnz


def test_what_does_not_fit_is_refused():
    probe = LinearProbe(torch.tensor([1.0, 0], dtype=torch.float64), 0.0)
    meter = AbsorptionMeter(torch.eye(2), probe, torch.tensor([0]))
    with pytest.raises(InsightError, match=r"found \[2\] for \[3, 3\]"):
        AbsorptionMeter(torch.eye(3), probe, torch.tensor([0]))
    for main in ([], [2], [-1]):
        with pytest.raises(InsightError, match="expected concepts of 0 to 1"):
            AbsorptionMeter(torch.eye(2), probe, torch.tensor(main, dtype=torch.int64))
    with pytest.raises(InsightError, match=r"features \[1, 2\], found 3"):
        meter.update(SparseCodes.from_dense(torch.ones(1, 3)), torch.ones(1, 2))
    with pytest.raises(InsightError, match="found another"):
        meter.merge(AbsorptionMeter(torch.eye(2), probe, torch.tensor([1])))

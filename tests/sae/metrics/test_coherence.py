"""Nearest neighbours within a dictionary against all cosines."""

import math

import pytest
import torch

from sae import InsightError
from sae.metrics import coherence

from .arrays import LargestArray


def all_cosines(decoder):
    unit = decoder.double() / decoder.double().norm(dim=1, keepdim=True)
    return (unit @ unit.T).abs().fill_diagonal_(-1)


@pytest.mark.parametrize("entries", [1, 200, 1000, 2**24])
def test_blocks_find_the_nearest_of_all_cosines(generator, entries):
    decoder = torch.randn(60, 7, generator=generator) * torch.rand(60, 1, generator=generator)
    measured = coherence(decoder, entries=entries)
    cosines = all_cosines(decoder)
    torch.testing.assert_close(measured.cosine, cosines.amax(1), rtol=1e-12, atol=0)
    assert torch.equal(measured.neighbour, cosines.argmax(1))
    assert measured.maximum == pytest.approx(float(cosines.max()), rel=1e-12)
    assert measured.mean == pytest.approx(float(cosines.amax(1).mean()), rel=1e-12)


def test_known_angles():
    decoder = torch.tensor([[2.0, 0, 0], [0, 3, 0], [-4, 4, 0], [0, 0, 1]])
    measured = coherence(decoder)
    half = math.sqrt(0.5)
    torch.testing.assert_close(measured.cosine, torch.tensor([half, half, half, 0], dtype=torch.float64))
    assert measured.neighbour[:2].tolist() == [2, 2]
    assert measured.maximum == pytest.approx(half)


def test_a_direction_given_twice_has_coherence_one_whatever_its_sign_and_length(generator):
    decoder = torch.randn(30, 6, generator=generator)
    decoder[20] = -1e-25 * decoder[4]
    measured = coherence(decoder)
    assert measured.maximum == pytest.approx(1, abs=1e-6)
    assert (measured.neighbour[20], measured.neighbour[4]) == (4, 20)


def test_a_row_of_zeros_has_no_neighbour_and_is_nobodys(generator):
    decoder = torch.randn(9, 4, generator=generator)
    decoder[3] = 0
    measured = coherence(decoder, entries=20)
    rest = torch.tensor([0, 1, 2, 4, 5, 6, 7, 8])
    assert measured.neighbour[3] == -1
    assert measured.cosine[3].isnan()
    torch.testing.assert_close(measured.cosine[rest], all_cosines(decoder[rest]).amax(1), rtol=1e-12, atol=0)
    assert torch.equal(measured.neighbour[rest], rest[all_cosines(decoder[rest]).argmax(1)])


def test_no_array_is_larger_than_the_cosines_asked_for_or_the_dictionary(generator):
    decoder = torch.randn(1000, 8, generator=generator)
    with LargestArray() as largest:
        coherence(decoder, entries=20_000)
    assert largest.numel <= 20_000


def test_dictionaries_without_two_directions_are_refused():
    with pytest.raises(InsightError, match="at least two rows that are not zero, found 1 of 3"):
        coherence(torch.tensor([[0.0, 0], [1, 0], [0, 0]]))
    with pytest.raises(InsightError, match="NaN or infinity"):
        coherence(torch.tensor([[float("nan"), 0], [1, 0]]))

"""CKNNA by sparse masked kernels against the definition on full kernels."""

import math

import pytest
import torch

from sae import InsightError, SparseCodes
from sae.metrics import cknna

from .arrays import LargestArray, random_codes


def hsic(k, l):  # noqa: E741
    """Song et al. 2012, eq. 5, with the vectors of ones written out."""
    n = len(k)
    k, l, ones = k.clone().fill_diagonal_(0), l.clone().fill_diagonal_(0), torch.ones(n, dtype=k.dtype)  # noqa: E741
    trace = torch.trace(k @ l)
    both = (ones @ k @ ones) * (ones @ l @ ones)
    return (trace + both / ((n - 1) * (n - 2)) - 2 / (n - 2) * (ones @ k @ l @ ones)) / (n * (n - 3))


def nearest(kernel, neighbours):
    """1 where j is a neighbour of i; of equal ones the earlier."""
    mask = torch.zeros_like(kernel)
    for i, row in enumerate(kernel.tolist()):
        others = sorted((-value, j) for j, value in enumerate(row) if j != i)
        for _, j in others[:neighbours]:
            mask[i, j] = 1
    return mask


def defined(x, y, neighbours):
    k, l = x.double() @ x.double().T, y.double() @ y.double().T  # noqa: E741
    in_k, in_l = nearest(k, neighbours), nearest(l, neighbours)
    both = in_k * in_l
    return float(hsic(both * k, both * l) / (hsic(in_k * k, in_k * k).sqrt() * hsic(in_l * l, in_l * l).sqrt()))


@pytest.mark.parametrize("entries", [1, 300, 2**24])
@pytest.mark.parametrize("neighbours", [1, 4, 10])
def test_codes_and_features_agree_as_defined(generator, entries, neighbours):
    codes = random_codes(50, 30, 0.3, generator)
    features = codes.dense() @ torch.randn(30, 6, generator=generator) + torch.randn(50, 6, generator=generator)
    for left, right in ((codes, features), (features, codes), (features[:, :3], features)):
        expected = defined(*(side.dense() if side is codes else side for side in (left, right)), neighbours)
        measured = cknna(left, right, neighbours=neighbours, entries=entries)
        assert measured == pytest.approx(expected, rel=1e-9, abs=1e-12, nan_ok=neighbours == 1)


def test_equal_kernels_are_settled_by_the_earlier_token(generator):
    codes = random_codes(40, 60, 0.03, generator)  # most pairs share no concept: their kernel is 0
    features = torch.randn(40, 5, generator=generator)
    assert cknna(codes, features) == pytest.approx(defined(codes.dense(), features, 10), rel=1e-9, abs=1e-12)


def test_a_description_agrees_fully_with_itself_turned_and_scaled(generator):
    x = torch.randn(60, 5, generator=generator, dtype=torch.float64)
    turn = torch.linalg.qr(torch.randn(5, 5, generator=generator, dtype=torch.float64)).Q
    assert cknna(x, x) == pytest.approx(1, rel=1e-12)
    assert cknna(x, 1e-3 * x @ turn) == pytest.approx(1, rel=1e-9)
    codes = random_codes(60, 20, 0.3, generator)
    assert cknna(codes, codes.dense()) == pytest.approx(1, rel=1e-9)


def test_unrelated_descriptions_hardly_agree(generator):
    x, y = torch.randn(2, 300, 8, generator=generator)
    assert abs(cknna(x, y)) < 0.1


def test_a_silent_dictionary_agrees_with_nothing(generator):
    silent = SparseCodes.from_dense(torch.zeros(20, 4))
    assert math.isnan(cknna(silent, torch.randn(20, 3, generator=generator)))


def test_no_array_is_larger_than_the_cells_asked_for(generator):
    codes, features = random_codes(400, 300, 0.02, generator), torch.randn(400, 5, generator=generator)
    with LargestArray() as largest:
        cknna(codes, features, neighbours=5, entries=8000)
    assert largest.numel <= 8000


def test_what_cannot_be_compared_is_refused():
    x = torch.eye(6)
    with pytest.raises(InsightError, match="found 6 and 5"):
        cknna(x, x[:5])
    with pytest.raises(InsightError, match="1 <= neighbours < tokens, found 6 tokens and neighbours = 6"):
        cknna(x, x, neighbours=6)
    with pytest.raises(InsightError, match="at least 4 tokens"):
        cknna(x[:3], x[:3], neighbours=1)
    with pytest.raises(InsightError, match="NaN or infinity"):
        cknna(x, x * float("nan"), neighbours=2)

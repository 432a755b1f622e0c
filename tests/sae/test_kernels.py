"""The sparse products against dense float64 products."""

import pytest
import torch

from sae.codes import SparseCodes
from sae.kernels import Pattern, add_product, sampled

CUDA = pytest.param(
    "cuda",
    marks=[pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")],
)


def sparse(generator, n, m, density, dtype):
    dense = torch.rand(n, m, generator=generator, dtype=dtype) + 0.1
    codes = SparseCodes.from_dense(dense * (torch.rand(n, m, generator=generator) < density))
    return codes, Pattern(codes.offsets.to(torch.int32), codes.concepts, m)


@pytest.mark.parametrize("device", ["cpu", CUDA])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-13), (torch.float32, 1e-5)])
@pytest.mark.parametrize(("n", "m", "density"), [(40, 30, 0.2), (1, 9, 0.5), (9, 1, 0.5), (30, 40, 0.0), (20, 20, 1.0)])
def test_products_are_those_of_dense_arrays(generator, n, m, density, dtype, tolerance, device):
    codes, pattern = sparse(generator, n, m, density, dtype)
    signed = torch.randn(codes.nnz, generator=generator, dtype=dtype)
    values = torch.zeros(n, m, dtype=torch.float64)
    values[codes.rows(), codes.concepts.long()] = signed.double()
    left = torch.randn(n, 7, generator=generator, dtype=dtype)
    right = torch.randn(m, 7, generator=generator, dtype=dtype)

    there = Pattern(pattern.offsets.to(device), pattern.columns.to(device), m)
    out = left.to(device, copy=True)
    add_product(there, signed.to(device), right.to(device), out)
    expected = left.double() + values @ right.double()
    torch.testing.assert_close(out.cpu().double(), expected, rtol=tolerance, atol=10 * tolerance)

    expected = (left.double() @ right.double().T)[codes.rows(), codes.concepts.long()]
    found = sampled(there, left.to(device), right.to(device)).cpu().double()
    torch.testing.assert_close(found, expected, rtol=tolerance, atol=10 * tolerance)


def test_the_sum_goes_into_a_slice_of_a_larger_array(generator):
    codes, pattern = sparse(generator, 12, 8, 0.4, torch.float64)
    right = torch.randn(8, 5, generator=generator, dtype=torch.float64)
    whole = torch.ones(3, 12, 5, dtype=torch.float64)
    add_product(pattern, codes.activations, right, whole[1])
    torch.testing.assert_close(whole[1], 1 + codes.dense() @ right)
    assert whole[0].eq(1).all()
    assert whole[2].eq(1).all()

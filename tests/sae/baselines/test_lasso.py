"""The Lasso is solved exactly: as scikit-learn does one token at a time, and by its conditions of optimality."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import Lasso
from torch.nn.functional import normalize

from sae import InsightError
from sae.baselines.lasso import nonnegative_lasso


def unit(n, dim, generator, dtype=torch.float64):
    return normalize(torch.randn(n, dim, generator=generator, dtype=dtype), dim=1)


def gradient(targets, atoms, penalty, codes):
    return (targets - codes @ atoms) @ atoms.t() - penalty


@pytest.mark.parametrize("penalty", [0.05, 0.3])
def test_weights_are_those_of_scikit_learn(generator, penalty):
    targets, atoms = unit(12, 20, generator), unit(70, 20, generator)
    codes = nonnegative_lasso(targets, atoms, penalty, tolerance=1e-8)
    theirs = Lasso(alpha=penalty / 20, positive=True, fit_intercept=False, tol=1e-14, max_iter=1_000_000)
    theirs.fit(atoms.t().numpy(), targets.t().numpy())
    np.testing.assert_allclose(codes.dense().numpy(), theirs.coef_, atol=1e-4)
    assert codes.activations.dtype == torch.float64


@pytest.mark.parametrize(("dim", "m"), [(48, 600), (8, 400), (40, 5)])
def test_no_token_can_gain(generator, dim, m):
    targets, atoms = unit(300, dim, generator, torch.float32), unit(m, dim, generator, torch.float32)
    for penalty in (0.02, 0.2):
        codes = nonnegative_lasso(targets, atoms, penalty).dense().double()
        slope = gradient(targets.double(), atoms.double(), penalty, codes)
        assert float(slope.max()) < 3e-4 * penalty + 3e-5
        assert float(slope[codes > 0].abs().max()) < 3e-4 * penalty + 3e-5


def test_a_token_does_not_depend_on_its_neighbours(generator):
    targets, atoms = unit(600, 16, generator), unit(90, 16, generator)
    alone = nonnegative_lasso(targets[555:556], atoms, 0.1, tolerance=1e-8).dense()
    among = nonnegative_lasso(targets, atoms, 0.1, tolerance=1e-8).dense()
    torch.testing.assert_close(among[555:556], alone, rtol=0, atol=1e-4)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_atoms_that_are_there_thrice_share_what_one_would_have(generator, dtype):
    targets, atoms = unit(100, 12, generator, dtype), unit(80, 12, generator, dtype)
    once = nonnegative_lasso(targets, atoms, 0.1, tolerance=1e-6).dense()
    thrice = nonnegative_lasso(targets, atoms.repeat(3, 1), 0.1, tolerance=1e-6).dense()
    torch.testing.assert_close(thrice.view(100, 3, 80).sum(1) @ atoms, once @ atoms, rtol=0, atol=2e-3)


def test_a_penalty_above_every_correlation_leaves_nothing(generator):
    targets, atoms = unit(20, 8, generator), unit(30, 8, generator)
    assert nonnegative_lasso(targets, atoms, float((targets @ atoms.t()).max()) + 1e-6).nnz == 0


def test_a_token_without_direction_has_no_concept(generator):
    targets, atoms = torch.zeros(2, 8), unit(30, 8, generator, torch.float32)
    assert nonnegative_lasso(targets, atoms, 0.1).counts().tolist() == [0, 0]


def test_no_tokens_give_no_rows(generator):
    codes = nonnegative_lasso(torch.zeros(0, 8), unit(30, 8, generator, torch.float32), 0.1)
    assert (codes.n, codes.n_concepts) == (0, 30)


def test_without_a_penalty_nothing_is_sparse_and_so_it_is_refused(generator):
    with pytest.raises(InsightError, match="penalty: expected a number above 0, found 0"):
        nonnegative_lasso(torch.zeros(1, 8), unit(30, 8, generator, torch.float32), 0)

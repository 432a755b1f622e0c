"""NMF as a dictionary: parts of what is above and below the mean, and codes that are optimal in them."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import Lasso

from sae import InsightError, TensorSource
from sae.baselines import fit_nmf


@pytest.fixture
def features(generator):
    """1,500 tokens of up to 6 parts, each in two channels of its own."""
    parts = torch.eye(6).repeat_interleave(2, dim=1)
    amounts = torch.rand(1500, 6, generator=generator) * (torch.rand(1500, 6, generator=generator) < 0.3)
    return amounts @ parts + 0.01 * torch.randn(1500, 12, generator=generator)


@pytest.fixture
def parts(features):
    return fit_nmf(TensorSource(features), 12, k=4, n_tokens=10_000)


def test_parts_are_nowhere_negative_and_unit(parts):
    assert parts.parts.shape == (12, 24)
    assert float(parts.parts.min()) >= 0
    torch.testing.assert_close(parts.parts.norm(dim=1), torch.ones(12))
    torch.testing.assert_close(parts.directions, parts.parts[:, :12] - parts.parts[:, 12:])


def test_codes_are_the_lasso_of_the_split_tokens(features, parts):
    centred = (features[:20] - parts.mean).double()
    halves = torch.cat([centred.clamp(min=0), -centred.clamp(max=0)], dim=1)
    sizes = halves.norm(dim=1)
    theirs = Lasso(alpha=parts.penalty / 48, positive=True, fit_intercept=False, tol=1e-12, max_iter=1_000_000)
    theirs.fit(parts.parts.double().t().numpy(), (halves / sizes[:, None]).t().numpy())
    codes = torch.from_numpy(theirs.coef_) * sizes[:, None]
    found = parts.decode(parts.encode(features[:20])).double()
    # Compared as reconstructions: parts may be so alike that codes are not determined as well.
    expected = codes @ parts.directions.double() + parts.mean.double()
    np.testing.assert_allclose(found.numpy(), expected.numpy(), atol=5e-3)


def test_parts_of_which_tokens_are_made_explain_them(features, parts):
    errors = features - parts.decode(parts.encode(features))
    assert float(errors.var(0).sum() / features.var(0).sum()) < 0.5


def test_fits_are_the_same_for_the_same_seed(features, parts):
    assert torch.equal(fit_nmf(TensorSource(features), 12, k=4, n_tokens=10_000).parts, parts.parts)


def test_fewer_tokens_than_parts_are_refused(features):
    with pytest.raises(InsightError, match="NMF: expected at least 12 tokens for as many concepts, found 11"):
        fit_nmf(TensorSource(features[:11]), 12, k=4)

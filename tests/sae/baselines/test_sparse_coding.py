"""Sparse coding is SpLiCE's: the same centring, the same Lasso; the activations add up to the features."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import Lasso
from torch.nn.functional import normalize

from sae import InsightError, TensorSource
from sae.baselines import SparseCoding, fit_sparse_coding


@pytest.fixture
def features(generator):
    return 4 * torch.randn(300, 16, generator=generator) + 2


@pytest.fixture
def words(generator):
    return 3 * torch.randn(80, 16, generator=generator) + 1


def test_directions_are_the_rows_unit_centred_and_unit_again(features, words):
    coding = fit_sparse_coding(TensorSource(features), words, penalty=0.3)
    unit = words.double() / words.double().norm(dim=1, keepdim=True)
    centred = unit - unit.mean(0)
    expected = centred / centred.norm(dim=1, keepdim=True)
    torch.testing.assert_close(coding.directions.double(), expected, rtol=0, atol=1e-5)
    torch.testing.assert_close(coding.mean.double(), normalize(features.double(), dim=1).mean(0), rtol=0, atol=1e-5)


def test_weights_are_the_published_lassos(features, words):
    coding = fit_sparse_coding(TensorSource(features), words, penalty=0.3)
    centred = normalize(features[:20].double(), dim=1) - coding.mean.double()
    z = normalize(centred, dim=1)
    # As published: alpha = penalty / (2 d).
    theirs = Lasso(alpha=0.3 / 32, positive=True, fit_intercept=False, tol=1e-12, max_iter=1_000_000)
    theirs.fit(coding.directions.double().t().numpy(), z.t().numpy())
    weights = coding.encode(features[:20]).dense().double() / centred.norm(dim=1, keepdim=True)
    np.testing.assert_allclose(weights.numpy(), theirs.coef_, atol=3e-3)


def test_with_hardly_a_penalty_the_concepts_add_up_to_the_unit_token(features, words):
    coding = fit_sparse_coding(TensorSource(features), words, penalty=1e-3)
    found = coding.decode(coding.encode(features))
    torch.testing.assert_close(found, normalize(features, dim=1), rtol=0, atol=0.02)


def test_raw_tokens_add_up_to_themselves(features, words):
    coding = fit_sparse_coding(TensorSource(features), words, penalty=1e-3, inputs="raw")
    assert float((coding.decode(coding.encode(features)) - features).abs().max()) < 0.02 * float(
        features.norm(dim=1).max()
    )


def test_a_longer_token_has_the_same_code(features, words):
    coding = fit_sparse_coding(TensorSource(features), words, penalty=0.3)
    short, long = coding.encode(features).dense(), coding.encode(5 * features).dense()
    torch.testing.assert_close(short, long, rtol=0, atol=1e-3)


def test_k_is_the_mean_number_of_active_concepts(features, words):
    coding = fit_sparse_coding(TensorSource(features), words, k=5)
    assert abs(coding.encode(features).nnz / 300 - 5) <= 0.1


def test_a_k_beyond_reach_gives_as_many_as_there_are(generator):
    line = torch.randn(200, 1, generator=generator) * torch.ones(1, 6)  # in 6 dimensions 6 atoms are enough
    coding = fit_sparse_coding(TensorSource(line), torch.randn(10, 6, generator=generator), k=9, inputs="raw")
    assert coding.encode(line).nnz / 200 < 9


@pytest.mark.parametrize("given", [{}, {"k": 3, "penalty": 0.1}])
def test_either_k_or_the_penalty_is_given(features, words, given):
    with pytest.raises(InsightError, match="expected either k or penalty"):
        fit_sparse_coding(TensorSource(features), words, **given)


def test_rows_of_another_space_are_refused(features, words):
    with pytest.raises(InsightError, match=r"expected rows \[2 or more, 16\], found \[80, 15\]"):
        fit_sparse_coding(TensorSource(features), words[:, :15], k=3)
    words[3, 3] = torch.nan
    with pytest.raises(InsightError, match="found NaN or infinity in 1 of 80"):
        fit_sparse_coding(TensorSource(features), words, k=3)


def test_inputs_have_names(words):
    with pytest.raises(InsightError, match=r"inputs: expected one of .*unit_norm.*, found cosine"):
        SparseCoding(words, words[0], 0.1, inputs="cosine")

"""In-memory batches: every token once an epoch, in an order that seed and step alone decide."""

from itertools import islice

import pytest
import torch

from sae import InsightError, TensorSource


def take(n_tokens, batch_size, steps, seed=0, start_step=0):
    source = TensorSource(torch.arange(float(n_tokens)).unsqueeze(1))
    return torch.cat([*islice(source.batches(batch_size, seed=seed, start_step=start_step), steps)]).squeeze(1)


@pytest.mark.parametrize(("n_tokens", "batch_size"), [(12, 4), (10, 4), (7, 1), (3, 8), (1, 5), (5, 5)])
def test_batches_run_through_whole_epochs(n_tokens, batch_size):
    stream = take(n_tokens, batch_size, steps=3 * n_tokens)
    assert len(stream) == 3 * n_tokens * batch_size
    for epoch in stream.split(n_tokens):
        assert torch.equal(epoch.sort().values, torch.arange(float(n_tokens)))


@pytest.mark.parametrize(("n_tokens", "batch_size"), [(12, 4), (10, 4), (3, 8), (1, 5)])
@pytest.mark.parametrize("start", [0, 1, 2, 3, 7, 50])
def test_any_step_can_be_the_first(n_tokens, batch_size, start):
    whole = take(n_tokens, batch_size, steps=start + 5)
    assert torch.equal(take(n_tokens, batch_size, steps=5, start_step=start), whole[start * batch_size :])


def test_seeds_and_epochs_have_their_own_orders():
    first, other = take(100, 100, 2, seed=1), take(100, 100, 2, seed=2)
    assert not torch.equal(first, other)
    assert not torch.equal(first[:100], first[100:])
    assert not torch.equal(first[:100], torch.arange(100.0))


def test_batches_are_float32_whatever_is_stored():
    source = TensorSource(torch.ones(4, 3, dtype=torch.float16))
    assert (source.dim, source.n_tokens) == (3, 4)
    assert next(source.batches(2, seed=0)).dtype == torch.float32


@pytest.mark.parametrize("bad", [torch.ones(0, 3), torch.ones(3), torch.ones(3, 3, dtype=torch.int64)])
def test_what_is_no_feature_table_is_refused(bad):
    with pytest.raises(InsightError, match=r"expected float features \[n, d\]"):
        TensorSource(bad)

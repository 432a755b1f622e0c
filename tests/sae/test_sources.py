"""In-memory batches: every token once an epoch, in an order that seed and step alone decide; what each rank reads."""

from itertools import islice

import pytest
import torch

from sae import InsightError, SharedSource, TensorSource
from sae.distributed import Group
from sae.sources import Reading


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


class Numbered(Group):
    """One rank of several, for as long as nothing is exchanged."""

    def __init__(self, rank, size):
        self.rank, self.size = rank, size


class Dealt(TensorSource):
    """Rank r of w reads the tokens r, r + w, ..."""

    def share(self, rank, world):
        return TensorSource(self.features[rank::world])


def numbers(n):
    return torch.arange(float(n)).unsqueeze(1)


@pytest.mark.parametrize("processes", [1, 2, 3, 5, 8])
@pytest.mark.parametrize("parts", [1, 2, 3, 7])
@pytest.mark.parametrize("more", range(12))
def test_the_ranks_rows_of_each_part_of_a_whole_batch_are_that_part(processes, parts, more):
    batch_size = processes * parts + more
    source, found = TensorSource(numbers(1000)), []
    for rank in range(processes):
        reading = Reading(source, batch_size, Numbered(rank, processes))
        batch = next(reading.batches(seed=3, start_step=2))
        assert len(batch) == reading.n_rows == batch_size
        found.append(reading.own(batch, parts).tensor_split(parts))
    sizes = [len(part) for own in found for part in own]
    assert min(sizes) >= 1
    assert max(sizes) - min(sizes) <= 2
    for number, part in enumerate(batch.tensor_split(parts)):
        assert torch.equal(torch.cat([own[number] for own in found]), part)


@pytest.mark.parametrize(("processes", "batch_size"), [(2, 10), (3, 10), (3, 4)])
def test_of_a_source_with_shares_each_rank_reads_its_own_part_of_a_batch_and_no_more(processes, batch_size):
    sizes, epochs = [], []
    for rank in range(processes):
        reading = Reading(Dealt(numbers(60)), batch_size, Numbered(rank, processes))
        batches = [*islice(reading.batches(seed=3, start_step=0), 60)]
        assert all(reading.own(batch, parts) is batch for batch in batches for parts in (1, 2))
        assert {len(batch) for batch in batches} == {reading.n_rows}
        sizes.append(reading.n_rows)
        epochs.append(torch.cat(batches)[: 60 // processes])
        again = next(reading.batches(seed=3, start_step=4))
        assert torch.equal(again, batches[4])
    assert sum(sizes) == batch_size
    assert max(sizes) - min(sizes) <= 1
    assert torch.equal(torch.cat(epochs).sort(dim=0).values, numbers(60))


def test_a_process_that_sees_all_tokens_reads_the_source_itself():
    reading = Reading(Dealt(numbers(60)), 60, Group())
    batch = next(reading.batches(seed=3, start_step=0))
    assert torch.equal(reading.own(batch, 4).sort(dim=0).values, numbers(60))


def test_tensors_have_no_shares_so_that_any_number_of_processes_gives_one_result():
    assert isinstance(Dealt(numbers(6)), SharedSource)
    assert not isinstance(TensorSource(numbers(6)), SharedSource)

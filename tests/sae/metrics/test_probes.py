"""Probes on features and on codes, on data of which the answer is known."""

import math

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score

from sae import InsightError, SparseCodes
from sae.metrics import linear_probe, sparse_probe

from .arrays import LargestArray, random_codes


def test_a_linear_probe_finds_the_direction_and_the_offset_of_a_label(generator):
    direction = torch.nn.functional.normalize(torch.randn(6, generator=generator), dim=0)
    features = 5 * torch.randn(4000, 6, generator=generator) + torch.randn(6, generator=generator)
    positive = features @ direction > 2.0
    probe = linear_probe(features, positive)
    assert float(probe.direction.norm()) == pytest.approx(1)
    assert float(probe.direction.float() @ direction) > 0.999
    assert probe.offset == pytest.approx(2.0, abs=1.0)  # of features with a deviation of 5, classes weighed alike
    assert float(((features.double() @ probe.direction > probe.offset) == positive).double().mean()) > 0.95


def test_a_linear_probe_is_moved_and_scaled_with_its_features(generator):
    features = torch.randn(300, 4, generator=generator).double()
    positive = features[:, 0] + 0.5 * torch.randn(300, generator=generator) > 0
    shift = torch.randn(4, generator=generator).double()
    plain, moved = linear_probe(features, positive), linear_probe(1000 * (features + shift), positive)
    torch.testing.assert_close(moved.direction, plain.direction, rtol=1e-4, atol=1e-4)
    assert moved.offset == pytest.approx(float(1000 * (plain.offset + shift @ plain.direction)), abs=1)


def labelled(groups, n, m, generator, noise=0.02):
    """Codes in which concept c fires on the tokens of group c alone, others at random; the label is all the groups."""
    group = torch.randint(0, 2 * groups, (n,), generator=generator)
    dense = random_codes(n, m, noise, generator).dense()
    dense[:, :groups] = torch.nn.functional.one_hot(group, 2 * groups)[:, :groups] * (
        0.5 + torch.rand(n, groups, generator=generator)
    )
    return SparseCodes.from_dense(dense), group < groups


def noisy_label(codes, generator):
    """A rare one, likelier the more the first three concepts fire."""
    return codes.dense()[:, :3].sum(1) + torch.randn(codes.n, generator=generator) > 2.5


def test_a_label_with_one_concept_of_its_own_is_not_split(generator):
    probe = sparse_probe(*labelled(1, 600, 20, generator), *labelled(1, 400, 20, generator), k=4)
    assert probe.concepts[0] == 0
    assert float(probe.f1[0]) > 0.95
    assert abs(probe.gain) < 0.05
    assert probe.main.tolist() == [0]


def test_a_label_in_three_concepts_is_split_in_three(generator):
    probe = sparse_probe(*labelled(3, 900, 20, generator), *labelled(3, 900, 20, generator), k=5)
    assert set(probe.main.tolist()) == {0, 1, 2}
    assert float(probe.f1[0]) == pytest.approx(0.5, abs=0.15), "a third of the label, found without false alarms"
    assert float(probe.f1[2]) > 0.97
    assert probe.gain == pytest.approx(float(probe.f1[-1] - probe.f1[0]))


def test_a_concept_that_is_always_on_or_speaks_against_the_label_is_not_taken(generator):
    codes, positive = labelled(1, 500, 3, generator, noise=0.0)
    dense = torch.cat([codes.dense(), torch.ones(500, 1), (~positive).float()[:, None]], dim=1)
    codes = SparseCodes.from_dense(dense)
    assert sparse_probe(codes, positive, codes, positive).concepts[0] == 0
    against = sparse_probe(codes, ~positive, codes, ~positive)
    assert against.concepts[0] == 4


def test_each_step_takes_what_the_last_regression_misses_most(generator):
    train, held_out = (random_codes(n, 15, 0.3, generator) for n in (200, 150))
    labels = [noisy_label(codes, generator) for codes in (train, held_out)]
    probe = sparse_probe(train, labels[0], held_out, labels[1], k=5)
    a, b, y = train.dense().double().numpy(), held_out.dense().double().numpy(), labels[0].numpy()
    weight = np.where(y, len(y) / (2 * y.sum()), len(y) / (2 * (~y).sum()))
    missed, chosen = y - 0.5, []
    for step in range(len(probe.concepts)):
        cosine = (weight * missed) @ a / np.sqrt(weight @ a**2)
        cosine[chosen] = -np.inf
        chosen.append(int(np.argmax(cosine)))
        assert chosen[-1] == probe.concepts[step]
        scale = np.sqrt((weight[:, None] * a[:, chosen] ** 2).mean(0))
        model = LogisticRegression(class_weight="balanced", max_iter=1000).fit(a[:, chosen] / scale, y)
        missed = y - model.predict_proba(a[:, chosen] / scale)[:, 1]
        predicted = model.predict(b[:, chosen] / scale)
        assert float(probe.f1[step]) == pytest.approx(f1_score(labels[1].numpy(), predicted), abs=0.02)
    assert len(chosen) >= 3


def test_the_scale_of_a_concept_does_not_matter(generator):
    train, held_out = (random_codes(n, 15, 0.3, generator) for n in (200, 150))
    scale = torch.exp(3 * torch.randn(15, generator=generator))
    labels = [noisy_label(codes, generator) for codes in (train, held_out)]
    scaled = [SparseCodes.from_dense(codes.dense() * scale) for codes in (train, held_out)]
    plain = sparse_probe(train, labels[0], held_out, labels[1], k=3)
    other = sparse_probe(scaled[0], labels[0], scaled[1], labels[1], k=3)
    assert torch.equal(plain.concepts, other.concepts)
    torch.testing.assert_close(plain.f1, other.f1, rtol=0, atol=0.02)


def test_a_label_that_no_concept_speaks_for_has_no_probe():
    codes = SparseCodes.from_dense(torch.tensor([[1.0, 0], [1, 0], [0, 0], [0, 0]]))
    positive = torch.tensor([False, False, True, True])
    probe = sparse_probe(codes, positive, codes, positive)
    assert (len(probe.concepts), len(probe.main)) == (0, 0)
    assert math.isnan(probe.gain)


def test_no_array_grows_with_tokens_times_concepts(generator):
    codes, positive = labelled(2, 800, 500, generator, noise=0.01)
    with LargestArray() as largest:
        sparse_probe(codes, positive, codes, positive, k=2)
    assert largest.numel <= codes.nnz


def test_labels_that_say_nothing_are_refused(generator):
    codes = random_codes(10, 4, 0.5, generator)
    some = torch.arange(10) < 5
    with pytest.raises(InsightError, match="a bool for each of 10 tokens, found int64"):
        sparse_probe(codes, torch.ones(10, dtype=torch.int64), codes, some)
    with pytest.raises(InsightError, match="found 0 of 10 that have it"):
        sparse_probe(codes, some, codes, torch.zeros(10, dtype=torch.bool))
    with pytest.raises(InsightError, match="one dictionary, found 4 and 3"):
        sparse_probe(codes, some, codes.prefix(3), some)
    with pytest.raises(InsightError, match="found constant ones"):
        linear_probe(torch.ones(10, 3), some)

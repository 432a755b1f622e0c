"""Accuracy of ranked names, its null and intervals."""

from itertools import permutations

import numpy as np
import pytest
import torch

from naming import WordNet, accuracy, advantage, word_key
from sae import InsightError

KINDS = ["dog", "cat", "sky", "sea", "tree"]


def equal(name: str, label: str) -> bool:
    return word_key(name) == word_key(label)


def random_words(generator: torch.Generator, n: int) -> list[str]:
    return [KINDS[i] for i in torch.randint(len(KINDS), (n,), generator=generator)]


def test_the_first_names_alone_count_and_a_concept_without_one_is_wrong():
    names = [("cat", "dogs"), ("sky",), (), ("sea", "tree", "cat"), ("dog",)]
    references = ["dog", "sky", "sky", "cat", None]
    one, two, five = (accuracy(names, references, equal, top=top) for top in (1, 2, 5))
    assert one.scores.tolist()[:4] == [0, 1, 0, 0]
    assert np.isnan(one.scores[4])
    assert [found.agreement.share for found in (one, two, five)] == [1 / 4, 2 / 4, 3 / 4]
    assert one.agreement.concepts == 4
    assert one.interval.value == 1 / 4


def test_the_null_is_the_mean_over_every_way_to_deal_the_labels_out(generator):
    names = [random_words(generator, 3) for _ in range(6)]
    references = random_words(generator, 6)
    found = accuracy(names, references, lambda name, label: len(name) / (len(name) + len(label)), top=2, shuffles=10)

    def share(labels: tuple[str, ...]) -> float:
        fits = [max(len(n) / (len(n) + len(label)) for n in own[:2]) for own, label in zip(names, labels)]
        return sum(fits) / 6

    assert found.agreement.share == pytest.approx(share(tuple(references)))
    assert found.agreement.null == pytest.approx(np.mean([share(labels) for labels in permutations(references)]))


def test_the_p_value_is_small_for_right_names_and_one_for_names_that_say_nothing():
    references = ["dog", "cat", "sky", "sea"] * 10
    right = accuracy([(label,) for label in references], references, equal)
    assert right.agreement.share == right.interval.low == right.interval.high == 1
    assert right.agreement.p_value < 0.01
    lazy = accuracy([("dog",)] * 40, references, WordNet.load().similarity)
    assert lazy.agreement.share == pytest.approx(lazy.agreement.null)
    assert lazy.agreement.p_value == 1


def test_the_interval_is_that_of_a_mean(generator):
    references = random_words(generator, 400)
    found = accuracy([(word,) for word in random_words(generator, 400)], references, equal)
    deviation = np.std(found.scores) / np.sqrt(400)
    assert found.interval.low < found.agreement.share < found.interval.high
    assert 3 * deviation < found.interval.high - found.interval.low < 5 * deviation


def test_similarity_is_averaged(generator):
    wordnet = WordNet.load()
    names, references = random_words(generator, 20), random_words(generator, 20)
    found = accuracy([(name,) for name in names], references, wordnet.similarity)
    pairs = zip(names, references)
    assert found.agreement.share == pytest.approx(np.mean([wordnet.similarity(a, b) for a, b in pairs]))


def test_advantage_is_the_ratio_on_the_concepts_that_both_have(generator):
    references = random_words(generator, 300)
    ours = [(label,) if i % 3 else ("horse",) for i, label in enumerate(references)]
    theirs = [(label,) if i % 3 == 1 else ("horse",) for i, label in enumerate(references)]
    better = accuracy(ours, references, equal)
    found = advantage(better, accuracy(theirs, references, equal))
    assert found.value == pytest.approx(2)
    assert 1.5 < found.low < 2 < found.high < 3
    assert found == advantage(better, accuracy(theirs, references, equal))
    same = advantage(better, better)
    assert same.low == same.value == same.high == 1
    never = advantage(better, accuracy([()] * 300, references, equal))
    assert never.value == never.low == float("inf")


def test_each_pair_is_asked_once():
    asked = []

    def fit(name: str, label: str) -> bool:
        asked.append((name, label))
        return name == label

    accuracy([("dog", "cat"), ("cat", "dog"), ("dog",)], ["dog", "sky", "sky"], fit, top=2)
    assert sorted(asked) == sorted(set(asked))


def test_lists_that_do_not_fit_and_no_reference_at_all_are_refused():
    with pytest.raises(InsightError, match="2 concepts, found 1"):
        accuracy([("a",), ("b",)], ["a"], equal)
    with pytest.raises(InsightError, match="found none"):
        accuracy([("a",)], [None], equal)
    with pytest.raises(InsightError, match="top = 0"):
        accuracy([("a",)], ["a"], equal, top=0)

"""Outcomes of class and rationale against the rule read aloud, and against the published evaluator's on names."""

from collections import Counter

import numpy as np
import pytest
import torch

from insight.evaluation.doubly_right import OUTCOMES, DoublyRight, PairNames, doubly_right, top_pairs
from sae import InsightError


def random_pairs(seed: int, n: int, k: int, classes: int, rationales: int) -> np.ndarray:
    random = np.random.default_rng(seed)
    drawn = np.stack([random.permutation(classes * rationales)[:k] for _ in range(n)])
    return np.stack(np.divmod(drawn, rationales), axis=2)


def aloud(pairs: list[tuple[int, int]], c: int, right: set[int]) -> str:
    votes = Counter(one for one, _ in pairs)
    most = max(votes.values())
    predicted = next(one for one, _ in pairs if votes[one] == most)
    good_reason = any(one == predicted and r in right for one, r in pairs)
    return ("R" if predicted == c else "W") + ("R" if good_reason else "W")


def outcomes(of: DoublyRight) -> list[str]:
    return [OUTCOMES[one] for one in of.outcome]


@pytest.mark.parametrize("k", [1, 2, 5])
def test_strict_is_the_rule_read_aloud(k: int) -> None:
    n, random = 300, np.random.default_rng(k)
    top, c, r = random_pairs(k, n, k, 3, 4), random.integers(3, size=n), random.integers(4, size=n)
    got = doubly_right(top, c, r)
    wanted = [aloud([tuple(p) for p in pairs], one, {reason}) for pairs, one, reason in zip(top.tolist(), c, r)]
    assert outcomes(got) == wanted
    assert set(wanted) == set(OUTCOMES)
    shares = got.shares()
    for name in OUTCOMES:
        assert shares[name] == pytest.approx(wanted.count(name) / n)
    assert sum(shares[name] for name in OUTCOMES) == pytest.approx(1)
    assert shares["accuracy"] == pytest.approx((got.predicted == c).mean())
    weights = random.integers(0, 3, n).astype(float)
    drawn = np.repeat(np.arange(n), weights.astype(int))
    assert got.shares(weights)["RR"] == pytest.approx(np.mean([wanted[i] == "RR" for i in drawn]))


def test_several_rationales_may_be_right() -> None:
    n, random = 200, np.random.default_rng(9)
    top, c, gold = random_pairs(9, n, 5, 3, 6), random.integers(3, size=n), random.random((n, 6)) < 0.4
    got = doubly_right(torch.from_numpy(top), torch.from_numpy(c), torch.from_numpy(gold))
    sets = [set(np.flatnonzero(row)) for row in gold]
    assert outcomes(got) == [aloud([tuple(p) for p in pairs], *rest) for pairs, *rest in zip(top.tolist(), c, sets)]
    single = random.integers(6, size=n)
    assert outcomes(doubly_right(top, c, single)) == outcomes(doubly_right(top, c, np.eye(6, dtype=bool)[single]))


def test_votes_by_hand() -> None:
    """Two of class 1, two of class 0: the better ranked is predicted."""
    top = np.array([[[1, 0], [0, 3], [0, 2], [1, 5], [2, 4]]])
    for c, r, wanted in [(1, 5, "RR"), (1, 3, "RW"), (0, 5, "WR"), (0, 3, "WW"), (2, 4, "WW")]:
        assert outcomes(doubly_right(top, np.array([c]), np.array([r]))) == [wanted]


def published(pairs: list[list[int]], c: int, r: int, names: PairNames) -> str:
    """What the released evaluator does, as methods and comments describe it, step by step."""
    folder = names.classes[c].replace("/", "__")
    spaced = folder.replace("__", "/").replace("_", " ")
    histogram: dict[str, int] = {}
    together = False
    texts = [f"This is a photo of a {names.classes[i]} because there is {names.rationales[j]}" for i, j in pairs]
    for (i, _), text in zip(pairs, texts):
        histogram[names.classes[i]] = histogram.get(names.classes[i], 0) + 1
        if text.find(spaced) >= 0 and text.find(names.rationales[r]) >= 0:
            together = True
            break
    prediction, most = "", -1
    for name, count in histogram.items():
        if count > most:
            prediction, most = name, count
    if prediction == folder:
        return "RR" if together else "RW"
    return "WR" if any(prediction in text and names.rationales[r] in text for text in texts) else "WW"


NAMES = PairNames(("kit_fox", "fox", "red", "bay/inner"), ("red fur", "fur", "a tail", "long ears"))


def test_released_is_the_published_rule() -> None:
    n, random = 600, np.random.default_rng(4)
    top, c, r = random_pairs(4, n, 5, 4, 4), random.integers(4, size=n), random.integers(4, size=n)
    got = outcomes(doubly_right(top, c, r, rule="released", names=NAMES))
    assert got == [published(*case, NAMES) for case in zip(top.tolist(), c, r)]
    assert set(got) == set(OUTCOMES)
    assert got != outcomes(doubly_right(top, c, r))


@pytest.mark.parametrize(
    ("top", "c", "r", "strict", "released"),
    [
        pytest.param([[0, 2], [0, 3]], 0, 2, "RR", "RW", id="underscores"),
        pytest.param([[1, 0], [1, 2]], 1, 1, "RW", "RR", id="part-of-a-reason"),
        pytest.param([[1, 2], [0, 3], [0, 2]], 1, 2, "WR", "RR", id="votes-cut-off"),
        pytest.param([[3, 2], [3, 3]], 3, 2, "RR", "WR", id="slashes"),
    ],
)
def test_each_defect_of_the_published_rule_by_hand(top: list, c: int, r: int, strict: str, released: str) -> None:
    given = np.array([top]), np.array([c]), np.array([r])
    assert outcomes(doubly_right(*given)) == [strict]
    assert outcomes(doubly_right(*given, rule="released", names=NAMES)) == [released]


def test_top_pairs_are_those_of_the_whole_table() -> None:
    random = torch.Generator().manual_seed(0)
    log_r = torch.randn(5, 12, generator=random).double().log_softmax(1)
    log_c = torch.randn(5, 12, 7, generator=random).double().log_softmax(2)
    joint = (log_r[..., None] + log_c).numpy()
    kept = log_r.topk(9).indices
    got = top_pairs(log_r, kept, log_c.gather(1, kept[..., None].expand(-1, -1, 7)), k=5)
    for b in range(5):
        best = sorted(np.ndindex(12, 7), key=lambda at: -joint[b][at])[:5]
        if got.exact[b]:
            assert got.pairs[b].tolist() == [[c, r] for r, c in best]
    assert got.exact.any()
    every = torch.arange(12).expand(5, 12)
    assert top_pairs(log_r, every, log_c).exact.all()


def test_pairs_from_few_rationales_are_said_to_be_inexact_where_a_better_one_could_be_left() -> None:
    log_r = torch.tensor([[0.6, 0.3, 0.1]]).log()
    log_c = torch.tensor([[[0.9, 0.1], [0.5, 0.5]]]).log()
    got = top_pairs(log_r, torch.tensor([[0, 1]]), log_c, k=4)
    assert got.pairs[0].tolist() == [[0, 0], [0, 1], [1, 1], [1, 0]]  # .54, .15 twice, .06
    assert not got.exact[0]  # the third rationale may make up to .1
    assert top_pairs(log_r, torch.tensor([[0, 1]]), log_c, k=3).exact[0]


def test_what_does_not_fit_is_said() -> None:
    top, one = random_pairs(0, 3, 5, 3, 4), np.zeros(3, dtype=int)
    with pytest.raises(InsightError, match=r"found \[3, 5, 2\], \[2\] and \[3\]"):
        doubly_right(top, one[:2], one)
    with pytest.raises(InsightError, match="expected integers"):
        doubly_right(top, one, np.zeros((3, 4), dtype=int))
    with pytest.raises(InsightError, match="from 0 up, found -1"):
        doubly_right(np.where(top == 0, -1, top), one, one)
    with pytest.raises(InsightError, match="found one twice"):
        doubly_right(np.zeros((3, 2, 2), dtype=int), one, one)
    with pytest.raises(InsightError, match="expected names"):
        doubly_right(top, one, one, rule="released")
    with pytest.raises(InsightError, match="found 'loose'"):
        doubly_right(top, one, one, rule="loose")  # type: ignore[arg-type]
    log = torch.zeros(1, 3), torch.tensor([[0, 1]]), torch.zeros(1, 2, 2)
    with pytest.raises(InsightError, match="k: expected 1 to 4"):
        top_pairs(*log)
    with pytest.raises(InsightError, match="once for each image"):
        top_pairs(log[0], torch.tensor([[1, 1]]), log[2], k=1)
    with pytest.raises(InsightError, match=r"kept \[B, m\]"):
        top_pairs(log[0], log[1][:, :1], log[2], k=1)

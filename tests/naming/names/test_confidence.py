"""How sure a name is: a logistic function of ranks, fitted where rightness is known."""

import json
import math

import numpy as np
import pytest

from naming import SIGNALS, Confidence
from sae import InsightError

WEIGHTS = (2.0, -1.0)


def drawn(seed: int, n: int = 40) -> np.ndarray:
    signals = np.random.default_rng(seed).standard_normal((n, len(SIGNALS)))
    signals[3] = np.nan
    return signals


def test_the_probability_is_the_logistic_of_weighted_ranks(seed):
    signals = drawn(seed)
    sure = Confidence(-0.5, WEIGHTS, "by hand")(signals)
    named = [i for i in range(len(signals)) if i != 3]
    for i in named:
        ranks = [sum(signals[j, s] <= signals[i, s] for j in named) / len(named) for s in range(len(SIGNALS))]
        logit = -0.5 + sum(w * r for w, r in zip(WEIGHTS, ranks))
        assert sure[i] == pytest.approx(1 / (1 + math.exp(-logit)), abs=1e-12)
    assert math.isnan(sure[3])


def test_the_units_of_a_signal_do_not_matter(seed):
    signals = drawn(seed)
    fitted = Confidence(0.1, WEIGHTS, "by hand")
    assert np.array_equal(fitted(signals), fitted(np.exp(3 * signals) + 7), equal_nan=True)


def test_a_fit_finds_the_probabilities_that_names_were_drawn_by(seed):
    signals = drawn(seed, 20000)
    truth = Confidence(-1.0, WEIGHTS, "truth")(signals)
    random = np.random.default_rng(seed + 1)
    right = random.random(len(signals)) < np.nan_to_num(truth)
    labelled = random.random(len(signals)) < 0.8
    found = Confidence.fit(signals, labelled, right, "drawn")(signals)
    assert np.nanmax(np.abs(found - truth)) < 0.09  # 4 standard errors at the corners are 0.05
    assert math.isnan(found[3])


def test_a_fit_needs_right_and_wrong_names(seed):
    signals = drawn(seed)
    everything = np.ones(len(signals), bool)
    with pytest.raises(InsightError, match="some right and some wrong"):
        Confidence.fit(signals, everything, everything, "nothing wrong")


def test_the_shipped_one_trusts_consensus(seed):
    shipped = Confidence.load()
    signals = np.zeros((10, len(SIGNALS)))
    signals[:, SIGNALS.index("consensus")] = np.arange(10)
    sure = shipped(signals)
    assert (np.diff(sure) > 0).all()
    assert sure[0] < 0.5 < sure[-1]


def test_a_file_comes_back_as_it_was(tmp_path):
    made = Confidence(-0.25, WEIGHTS, "by hand")
    made.save(tmp_path / "sure.json", names=12)
    assert Confidence.load(tmp_path / "sure.json") == made
    assert json.loads((tmp_path / "sure.json").read_text())["names"] == 12


def test_another_file_is_refused(tmp_path):
    (tmp_path / "sure.json").write_text('{"format": "insight-name-confidence", "weights": {"luck": 1}}')
    with pytest.raises(InsightError, match="expected insight-name-confidence with weights of consensus, decoded"):
        Confidence.load(tmp_path / "sure.json")

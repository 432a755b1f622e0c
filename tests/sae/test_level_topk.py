"""Active concepts shared out by level: each level keeps exactly its largest, and has a threshold of its own after."""

import pytest
import torch

from sae import InsightError, SaeConfig, SparseAutoencoder, TensorSource, TrainConfig, train
from sae.interop import export_saelens, load_saelens
from sae.learner import Learner
from sae.selection import LevelTopK

from .test_selection import given, largest
from .test_trainer import Interrupting, contents, sparse_features

CONFIG = SaeConfig(16, 128, 6, fractions=(0.1, 0.3, 0.6), level_k=(1, 2, 3))
LEVELS = (12, 50, 128)


def level_by_level(pre, ks=CONFIG.level_k, levels=LEVELS):
    """The k_l n largest positive entries of each level's columns, by full sorts."""
    begins = (0, *levels[:-1])
    return torch.cat([largest(pre[:, begin:end], k) for begin, end, k in zip(begins, levels, ks, strict=True)], 1)


@pytest.mark.parametrize("n", [1, 7, 300])
@pytest.mark.parametrize("shift", [0.0, -2.5])
def test_exactly_the_largest_of_each_level_stay(generator, n, shift):
    select = LevelTopK(CONFIG)
    for _ in range(3):  # the cuts are carried over
        pre = torch.randn(n, 128, generator=generator) * torch.randn(128, generator=generator).exp() + shift
        codes = select(given(pre))
        assert torch.equal(codes.dense(), level_by_level(pre))
        rows = [codes[i : i + 1].concepts for i in range(n)]
        assert all(bool((row.diff() > 0).all()) for row in rows)


def test_each_level_has_the_averaged_smallest_activation_of_its_own_as_threshold(generator):
    x = sparse_features(generator, 600)
    learner = Learner.start(CONFIG, TrainConfig(3, 200, threshold_start_step=1, threshold_beta=0.7), x[:200])
    smallest = []
    for step in range(3):
        weights, scale = learner.optimiser.weights, learner.progress.scale
        batch = x[200 * step : 200 * step + 200]
        centred = (batch / scale - weights.decoder_bias).double()
        pre = centred @ weights.encoder.double().t() + weights.encoder_bias.double()
        kept = level_by_level(pre)
        parts = kept.tensor_split(LEVELS[:-1], dim=1)
        smallest.append(scale * torch.stack([part[part > 0].min() for part in parts]))
        learner.step(batch)
    expected = (0.7 * smallest[1] + smallest[2]) / 1.7
    found = learner.autoencoder().threshold.double()
    assert found.shape == (128,)
    sizes = torch.tensor(LEVELS).diff(prepend=torch.tensor([0]))
    torch.testing.assert_close(found, expected.repeat_interleave(sizes), rtol=1e-5, atol=1e-6)
    assert len(expected.unique()) == 3


def test_afterwards_each_level_is_as_active_as_asked_where_one_budget_goes_to_the_coarsest(generator, tmp_path):
    x = sparse_features(generator, 12_288)
    run = TrainConfig(400, 512, lr=3e-3, decay_steps=80)
    one = SaeConfig(16, 128, 6, fractions=CONFIG.fractions)
    active = []
    for name, config in (("shares", CONFIG), ("one", one)):
        sae = train(TensorSource(x[:8192]), config, run, tmp_path / name, progress=False)
        levels = sae.level_of(sae.encode(x[8192:]).concepts.long())
        active.append(torch.bincount(levels, minlength=3).double() / 4096)
    torch.testing.assert_close(active[0], torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64), rtol=0.15, atol=0)
    assert active[1][0] > 2


def test_an_interrupted_run_ends_with_the_same_bytes(generator, tmp_path):
    x, run = sparse_features(generator), TrainConfig(40, 256, threshold_start_step=5)
    whole = train(TensorSource(x), CONFIG, run, tmp_path / "whole", progress=False)
    with pytest.raises(KeyboardInterrupt):
        train(Interrupting(x, at=20), CONFIG, run, tmp_path / "parts", progress=False)
    train(TensorSource(x), CONFIG, run, tmp_path / "parts", progress=False)
    assert contents(tmp_path / "parts") == contents(tmp_path / "whole")
    again = SparseAutoencoder.from_pretrained(tmp_path / "parts")
    assert again.config == CONFIG
    assert torch.equal(again.threshold, whole.threshold)


def test_a_level_alone_is_encoded_by_its_own_thresholds(generator, tmp_path):
    x = sparse_features(generator)
    sae = train(TensorSource(x), CONFIG, TrainConfig(40, 256), tmp_path, progress=False)
    for level, size in enumerate(LEVELS):
        assert torch.equal(sae.encode(x, level).dense(), sae.encode(x).dense()[:, :size])


def test_saelens_gets_it_as_the_jumprelu_that_it_is(generator, tmp_path):
    x = sparse_features(generator)
    sae = train(TensorSource(x), CONFIG, TrainConfig(40, 256), tmp_path / "own", progress=False)
    export_saelens(sae, tmp_path / "theirs")
    back = load_saelens(tmp_path / "theirs")
    torch.testing.assert_close(back.encode(x).dense(), sae.encode(x).dense(), rtol=1e-5, atol=1e-5)
    assert back.config.selection == "jumprelu"


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"level_k": (1, 5)}, "level_k: expected a number for each level, of 1 to its size, of \\[12, 38, 78\\]"),
        ({"level_k": (0, 3, 3)}, "level_k: expected a number for each level"),
        ({"level_k": (1, 1, 79), "k": 81}, "level_k: expected a number for each level"),
        ({"level_k": (1, 2, 2)}, "level_k: expected numbers which sum to k = 6"),
        ({"selection": "topk"}, "level_k: expected selection batch_topk beside it, found topk"),
    ],
)
def test_shares_that_do_not_fit_are_refused(changed, reason):
    values = {"dim": 16, "n_concepts": 128, "k": 6, "fractions": CONFIG.fractions, "level_k": CONFIG.level_k}
    with pytest.raises(InsightError, match=reason):
        SaeConfig(**{**values, **changed})


def test_shares_do_not_anneal(generator):
    with pytest.raises(InsightError, match="k_start: expected None beside level_k, found 12"):
        Learner.start(CONFIG, TrainConfig(5, k_start=12, k_anneal_steps=3), sparse_features(generator, 100))

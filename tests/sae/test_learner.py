"""What a step does with its settings: levels, their weights, parts of a batch, k on its way, the start."""

import pytest
import torch

from sae import InsightError, SaeConfig, TrainConfig
from sae.initial import geometric_median, initial_weights
from sae.learner import Learner
from sae.nested import random_prefixes
from sae.objective import level_weights

M = 60
PLAIN = SaeConfig(8, M, 4, fractions=(1.0,))
NESTED = SaeConfig(8, M, 4, fractions=(0.1, 0.3, 0.6))


def tokens(generator, n=200):
    return torch.randn(n, 8, generator=generator) + torch.randn(8, generator=generator)


def errors(learner, batch, sizes):
    """[G]: mean squared error of each prefix, from the codes of a TopK of the weights before the step, dense."""
    encoder, decoder, encoder_bias, decoder_bias = (weight.double() for weight in learner.optimiser.weights)
    x = batch.double() / learner.progress.scale
    u = torch.relu((x - decoder_bias) @ encoder.T + encoder_bias)
    values, places = torch.topk(u, learner.config.k, dim=1)
    a = torch.zeros_like(u).scatter(1, places, values)
    parts = [x - decoder_bias - a[:, :size] @ decoder[:size] for size in sizes]
    return torch.stack([part.square().sum(1).mean() for part in parts])


def topk(config):
    return SaeConfig(config.dim, config.n_concepts, config.k, config.fractions, selection="topk")


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("published", [1 / 9, 1 / 9, 1 / 9]),
        ("mean", [1 / 3, 1 / 3, 1 / 3]),
        ("sum", [1.0, 1.0, 1.0]),
        ("reversed", [3 / 6, 2 / 6, 1 / 6]),
    ],
)
def test_level_weights(generator, kind, expected):
    assert level_weights(kind, 3) == pytest.approx(expected)
    x = tokens(generator)
    learner = Learner.start(topk(NESTED), TrainConfig(5, level_weights=kind), x)
    wanted = errors(learner, x, NESTED.levels) @ torch.tensor(expected, dtype=torch.float64)
    assert float(learner.step(x).loss) == pytest.approx(float(wanted), rel=1e-4)


def test_the_empty_prefix_is_one_more_level_in_the_loss_and_none_in_the_report(generator):
    x = tokens(generator)
    learner = Learner.start(topk(NESTED), TrainConfig(5, level_weights="mean", empty_prefix=True), x)
    wanted = errors(learner, x, [0, *NESTED.levels]).mean()
    report = learner.step(x)
    assert float(report.loss) == pytest.approx(float(wanted), rel=1e-4)
    assert report.fvu.shape == (3,)


def test_a_normalised_loss_is_a_mean_of_fvu_and_knows_no_scale(generator):
    x = tokens(generator, 500)
    x -= x.mean(0)
    train = TrainConfig(5, rescale=False, normalised_loss=True, level_weights="mean", bias_start="zero")
    learner = Learner.start(topk(NESTED), train, x)
    wanted = errors(learner, x, NESTED.levels).mean() / x.double().square().sum(1).mean()
    assert float(learner.step(x).loss) == pytest.approx(float(wanted), rel=1e-4)
    reports = [Learner.start(topk(NESTED), train, scale * x).step(scale * x) for scale in (1e-2, 1e2)]
    assert float(reports[0].loss) == pytest.approx(float(reports[1].loss), rel=1e-4)


def test_nested_k_counts_the_strongest_of_each_token(generator):
    x = tokens(generator)
    train = TrainConfig(5, nested_k=(1, 2, 4), level_weights="reversed")
    learner = Learner.start(topk(PLAIN), train, x)
    parts = []
    for k in (1, 2, 4):
        short = Learner.start(SaeConfig(8, M, k, (1.0,), selection="topk"), TrainConfig(5), x)
        parts.append(errors(short, x, [M])[0])
    wanted = torch.stack(parts) @ torch.tensor([3 / 6, 2 / 6, 1 / 6], dtype=torch.float64)
    assert float(learner.step(x).loss) == pytest.approx(float(wanted), rel=1e-4)


def test_random_prefixes_are_new_each_step_and_the_same_for_the_same_seed(generator):
    x = tokens(generator)
    learner = Learner.start(topk(PLAIN), TrainConfig(5, random_prefixes=4, seed=9, level_weights="mean"), x)
    sizes = [random_prefixes(M, 4, 9, step) for step in range(5)]
    assert sizes == [random_prefixes(M, 4, 9, step) for step in range(5)]
    assert len({tuple(one) for one in sizes}) > 1
    assert random_prefixes(M, 4, 8, 0) != sizes[0] or random_prefixes(M, 4, 8, 1) != sizes[1]
    for step in range(5):
        wanted = errors(learner, x, sizes[step]).mean()
        assert float(learner.step(x).loss) == pytest.approx(float(wanted), rel=1e-4)


def test_random_prefixes_follow_paretos_law():
    drawn = [random_prefixes(10_000, 2, 0, step)[0] for step in range(4000)]
    total = 1 - 10_000**-0.5  # of what the law gives to sizes below m
    for size in (2, 4, 25, 400):
        expected = (size**-0.5 - 10_000**-0.5) / total
        share = sum(one >= size for one in drawn) / 4000
        assert share == pytest.approx(expected, abs=4 * (expected * (1 - expected) / 4000) ** 0.5)
    assert random_prefixes(5, 5, 0, 0) == [1, 2, 3, 4, 5]
    assert random_prefixes(7, 1, 0, 0) == [7]


@pytest.mark.parametrize("settings", [{}, {"rescale": False}, {"empty_prefix": True}])
def test_a_batch_in_parts_is_the_batch_where_tokens_select_alone(generator, settings):
    """TopK knows no batch, so that parts have to give the gradients of the whole."""
    batches = [tokens(generator, 203) for _ in range(4)]
    learners = [
        Learner.start(topk(NESTED), TrainConfig(50, 203, accumulate=parts, **settings), batches[0]) for parts in (1, 4)
    ]
    for batch in batches:
        one, two = (learner.step(batch.clone()) for learner in learners)
        assert float(one.loss) == pytest.approx(float(two.loss), rel=1e-4)
        assert one.l0 == two.l0 == 4
    for own, other in zip(*(learner.optimiser.weights for learner in learners)):
        torch.testing.assert_close(own, other, rtol=1e-3, atol=1e-5)


def test_each_part_has_a_selection_of_its_own(generator):
    x = torch.cat([tokens(generator, 50), 100 * tokens(generator, 50)])
    l0 = [Learner.start(PLAIN, TrainConfig(5, accumulate=parts), x).step(x).l0 for parts in (1, 2)]
    assert l0 == [4, 4]
    learner = Learner.start(PLAIN, TrainConfig(5, accumulate=2), x)
    weak = learner._learn(x[:50], 50)
    assert weak.n_active == 200  # next to the strong half none of these would be chosen


def test_k_falls_linearly_to_the_configs(generator):
    x = tokens(generator)
    learner = Learner.start(PLAIN, TrainConfig(8, k_start=20, k_anneal_steps=4), x)
    assert [learner.step(x).l0 for _ in range(8)] == [20, 16, 12, 8, 4, 4, 4, 4]
    assert TrainConfig(8).annealed_k(0, 4) == 4


def test_the_bias_starts_in_the_middle_that_was_asked_for(generator):
    x = tokens(generator).square()
    middles = {"zero": torch.zeros(8), "mean": x.mean(0), "geometric_median": geometric_median(x)}
    for name, expected in middles.items():
        torch.testing.assert_close(initial_weights(PLAIN, x, 0, name).decoder_bias, expected)
        learner = Learner.start(PLAIN, TrainConfig(5, bias_start=name), x)
        torch.testing.assert_close(learner.autoencoder().decoder_bias.detach(), expected, rtol=1e-4, atol=1e-5)
    assert not torch.allclose(middles["mean"], middles["geometric_median"], atol=1e-3)


def test_mean_centring_is_a_bias(generator):
    x = tokens(generator, 300)
    shift = 5 * torch.randn(8, generator=generator)
    train = TrainConfig(20, 300, rescale=False, bias_start="mean")
    found = []
    for features, taken in ((x, 0.0), (x + shift, shift)):
        learner = Learner.start(topk(PLAIN), train, features)
        for _ in range(20):
            learner.step(features)
        found.append(learner.autoencoder()(features) - taken)
    torch.testing.assert_close(*found, rtol=1e-2, atol=1e-2)


def test_nothing_revives_where_nothing_is_asked_for(generator):
    x = tokens(generator)
    for revival in ("none", "auxk"):
        learner = Learner.start(PLAIN, TrainConfig(5, dead_after_tokens=1, revival=revival), x)
        learner.optimiser.weights.encoder[:10] *= 1e-3
        before = learner.optimiser.weights.decoder.clone()
        for _ in range(3):
            learner.step(x)
        moved = (learner.optimiser.weights.decoder - before).abs().amax(1) > 1e-6
        assert bool(moved[:10].any()) == (revival == "auxk")


def test_dead_are_the_concepts_that_were_silent_for_so_many_tokens(generator):
    learner = Learner.start(PLAIN, TrainConfig(20, 200, dead_after_tokens=2000), tokens(generator))
    learner.optimiser.weights.encoder_bias[:9] = -100
    for step in range(1, 21):
        before = learner.silent_tokens.clone()
        report = learner.step(tokens(generator))
        silent = learner.silent_tokens
        assert bool(((silent == 0) | (silent == before + 200)).all())
        assert bool((silent[:9] == 200 * step).all())
        assert float(report.dead) == float((silent >= 2000).double().mean())
        assert float(report.dead) == 0 if step < 10 else float(report.dead) >= 9 / M


@pytest.mark.parametrize(
    ("config", "settings", "reason"),
    [
        (PLAIN, {"k_start": M + 1}, f"k_start: expected 1 to n_concepts = {M}, found {M + 1}"),
        (PLAIN, {"random_prefixes": M + 1}, "random_prefixes"),
        (PLAIN, {"nested_k": (2, 4)}, "nested_k: expected selection topk beside it, found batch_topk"),
        (topk(PLAIN), {"nested_k": (2, 5)}, "nested_k: expected k = 4 as its last"),
    ],
)
def test_settings_that_do_not_fit_the_dictionary_are_refused(generator, config, settings, reason):
    with pytest.raises(InsightError, match=reason):
        Learner.start(config, TrainConfig(5, **settings), tokens(generator))

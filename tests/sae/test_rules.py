"""Every rule of selection: its gradients against autograd on its dense definition, its aim, its saved form."""

import pytest
import torch

from sae import SaeConfig, TensorSource, TrainConfig, train
from sae.inputs import normalise
from sae.learner import Learner
from sae.nested import in_prefixes
from sae.objective import NestedLoss
from sae.preactivations import Preactivations
from sae.selection import RULES, Batch, Gated, JumpRelu, Relu
from sae.weights import Weights

from .test_trainer import Interrupting, contents

N, D, M = 37, 10, 48
LEVELS, SHARES = [5, 20, 48], (0.2, 0.3, 0.5)
PENALTY = 0.3
FIXED = TrainConfig(10, sparsity_coefficient=PENALTY)


def random_weights(generator, unit_rows=True):
    def randn(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    decoder = torch.nn.functional.normalize(randn(M, D), dim=1)
    if not unit_rows:
        decoder = decoder * (0.5 + randn(M, 1).abs())
    return Weights(decoder + 0.1 * randn(M, D), decoder, 0.3 * randn(M), randn(D))


def nested_errors(x, a, decoder, bias):
    """Σ_l w_l mean_B ‖x - x̂_l‖², dense."""
    parts = (x - bias - a[:, :size] @ decoder[:size] for size in LEVELS)
    return sum(share * part.square().sum(1).mean() for share, part in zip(SHARES, parts))


def relu_loss(x, weights, own):
    encoder, decoder, encoder_bias, decoder_bias = weights
    a = torch.relu((x - decoder_bias) @ encoder.T + encoder_bias)
    return nested_errors(x, a, decoder, decoder_bias) + PENALTY * (a @ decoder.norm(dim=1)).mean()


BAND = 0.4


def jumprelu_loss(x, weights, own):
    """What a step and its height would be if the step had the slope of a rectangle kernel in θ alone."""
    encoder, decoder, encoder_bias, decoder_bias = weights
    u = (x - decoder_bias) @ encoder.T + encoder_bias
    threshold = own["log_threshold"].exp()
    fixed = threshold.detach()
    kernel = ((u.detach() - fixed).abs() < BAND / 2) / BAND
    step = (u.detach() > fixed).double()
    moved = threshold - fixed
    a = u * step - fixed * kernel * moved
    l0 = (step - kernel * moved).sum(1).mean()
    return nested_errors(x, a, decoder, decoder_bias) + PENALTY * l0


def gated_loss(x, weights, own):
    encoder, decoder, encoder_bias, decoder_bias = weights
    directions = (x - decoder_bias) @ encoder.T
    gate = torch.relu(directions + encoder_bias)
    magnitude = torch.relu(directions * own["log_gain"].exp() + own["magnitude_bias"])
    frozen = nested_errors(x, gate, decoder.detach(), decoder_bias.detach())
    return nested_errors(x, magnitude * (gate > 0), decoder, decoder_bias) + PENALTY * gate.sum(1).mean() + frozen


def some_rule(name, generator):
    def randn():
        return torch.randn(M, generator=generator, dtype=torch.float64)

    if name == "relu":
        return Relu(3, FIXED, 0.0)
    if name == "jumprelu":
        return JumpRelu(3, FIXED, 0.3 * randn(), BAND, 0.0)
    return Gated(3, FIXED, 0.3 * randn(), 0.3 * randn(), 0.0)


LOSSES = {"relu": relu_loss, "jumprelu": jumprelu_loss, "gated": gated_loss}


@pytest.mark.parametrize("name", LOSSES)
def test_gradients_are_those_of_the_dense_definition(generator, name):
    weights, rule = random_weights(generator, unit_rows=name != "relu"), some_rule(name, generator)
    x = 2 * torch.randn(N, D, generator=generator, dtype=torch.float64)
    parameters = Weights(*(weight.clone().requires_grad_() for weight in weights))
    own = {key: value.clone().requires_grad_() for key, value in rule.parameters.items()}
    expected = LOSSES[name](x, parameters, own)
    expected.backward()

    centred = x - weights.decoder_bias
    chosen = rule.choose(Preactivations(weights, centred))
    pairs = in_prefixes(chosen.pattern, chosen.activations, LEVELS)
    loss = NestedLoss(SHARES)
    found = Weights(*(torch.full_like(weight, torch.nan) for weight in weights))
    result = loss(weights, centred, pairs)
    cost = rule.gradients(Batch(weights, centred, chosen, pairs, loss, result), found)
    torch.testing.assert_close(result.loss + cost.loss, expected.detach(), rtol=1e-10, atol=0)
    assert cost.gradients.keys() == own.keys() == rule.parameters.keys()
    for key, gradient in [*found._asdict().items(), *cost.gradients.items()]:
        wanted = (parameters._asdict() | own)[key].grad
        assert wanted.abs().max() > 1e-3
        torch.testing.assert_close(gradient, wanted, rtol=1e-8, atol=1e-11, msg=f"the gradient of {key} differs")


def sparse_features(generator, n=12_000, dim=16, n_atoms=48):
    """Sparse mixes of random directions, of uneven use and size, round a common mean."""
    atoms = torch.nn.functional.normalize(torch.randn(n_atoms, dim, generator=generator), dim=1)
    frequency = (torch.arange(n_atoms) + 3.0).pow(-1)
    on = torch.rand(n, n_atoms, generator=generator) < 4 * frequency / frequency.sum()
    sizes = 0.5 + torch.rand(n, n_atoms, generator=generator)
    mean = 0.5 * torch.randn(dim, generator=generator)
    return (on * sizes) @ atoms + mean + 0.02 * torch.randn(n, dim, generator=generator)


def learnt(config, run, x, change=lambda learner: None):
    """A learner after its run over random batches of x, and its last reports."""
    random = torch.Generator().manual_seed(1)
    learner, reports = None, []
    for _ in range(run.steps):
        batch = x[torch.randint(len(x), (run.batch_size,), generator=random)]
        if learner is None:
            learner = Learner.start(config, run, batch)
            change(learner)
        reports.append(learner.step(batch))
    return learner, reports


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("factor", [0.7, 3.0], ids=["from too few", "from too many"])
def test_k_concepts_become_active_from_either_side(generator, name, factor):
    x, config = sparse_features(generator), SaeConfig(16, 96, 6, selection=name, fractions=(1.0,))

    def pushed(learner):
        learner.rule._pressure.coefficient /= factor
        if name == "jumprelu":
            learner.rule.parameters["log_threshold"].sub_(torch.tensor(factor).log())
        else:
            cut = -learner.optimiser.weights.encoder_bias[0]
            learner.optimiser.weights.encoder_bias.fill_(-cut / factor)

    learner, reports = learnt(config, TrainConfig(500, 256), x, pushed)
    first, last = reports[0].l0, sum(report.l0 for report in reports[-50:]) / 50
    assert (first < 0.6 * config.k) if factor < 1 else (first > 1.5 * config.k)
    assert last == pytest.approx(config.k, rel=0.2)
    codes = learner.autoencoder().encode(x[:2000])
    assert codes.nnz / 2000 == pytest.approx(config.k, rel=0.2)
    assert float(reports[-1].fvu[-1]) < 0.65


@pytest.mark.parametrize(("lr", "rescale"), [(1e-4, True), (1e-4, False), (2e-3, True)])
def test_thresholds_learn_at_small_step_sizes_and_of_tiny_features(generator, lr, rescale):
    config, steps, spreads = SaeConfig(16, 96, 6, selection="jumprelu", fractions=(1.0,)), 300, []
    for _ in range(5):  # one set of features may need its thresholds apart by half as much as another
        x = sparse_features(generator)
        learner, _ = learnt(config, TrainConfig(steps, 256, lr=lr, rescale=rescale), 1e-3 * x)
        spreads.append(float(learner.rule.parameters["log_threshold"].std()))
    as_fast_as_weights = lr * steps
    assert sum(spreads) / len(spreads) > 0.5 * as_fast_as_weights


@pytest.mark.parametrize("inputs", ["raw", "unit_norm", "layer_norm"])
@pytest.mark.parametrize("name", RULES)
def test_the_saved_autoencoder_has_the_codes_of_training(generator, name, inputs):
    x = 50 * sparse_features(generator)
    config = SaeConfig(16, 96, 6, selection=name, fractions=(0.1, 0.9), inputs=inputs)
    learner, _ = learnt(config, TrainConfig(40, 256), x)
    if name == "gated":
        learner.rule.parameters["log_gain"].add_(0.3 * torch.randn(96, generator=generator))
        learner.rule.parameters["magnitude_bias"].sub_(0.3)
    scale, weights = learner.progress.scale, learner.optimiser.weights
    assert inputs != "raw" or scale > 5
    tokens = x[:500]
    pre = Preactivations(weights, normalise(tokens, inputs).tokens / scale - weights.decoder_bias)
    sae = learner.autoencoder()
    found = sae.encode(tokens).dense()
    if name == "batch_topk":
        expected = torch.relu(pre.rows(slice(None)))
        expected = torch.where(expected * scale > sae.threshold, expected, 0.0)
    else:
        pattern, _, activations, _ = learner.rule.choose(pre)
        rows = torch.repeat_interleave(torch.arange(500), pattern.offsets.diff())
        expected = torch.zeros(500, 96).index_put((rows, pattern.columns.long()), activations)
    expected = scale * expected
    assert found.count_nonzero() > 100
    differ = (found > 0) != (expected > 0)
    assert int(differ.sum()) <= 2  # pairs on the very edge may round to either side
    torch.testing.assert_close(found[~differ], expected[~differ], rtol=1e-4, atol=1e-4 * scale)


@pytest.mark.parametrize(
    "x",
    [
        torch.full((40, 16), 3.0),
        torch.zeros(40, 16),
        torch.linspace(-1, 1, 16).expand(1, 16),
        torch.linspace(-1, 1, 32).view(2, 16),
    ],
    ids=["constant features", "nothing but zeros", "one token for ever", "two tokens"],
)
@pytest.mark.parametrize("batch_size", [1, 10])
@pytest.mark.parametrize("name", RULES)
def test_degenerate_data_trains_to_finite_weights(name, x, batch_size):
    config = SaeConfig(16, 128, 4, selection=name)
    learner, reports = learnt(config, TrainConfig(20, batch_size, dead_after_tokens=1), x)
    assert all(bool(report.loss.isfinite()) for report in reports)
    assert all(bool(value.isfinite().all()) for value in learner.tensors().values())
    assert all(bool(value.isfinite().all()) for value in learner.autoencoder().state_dict().values())


@pytest.mark.parametrize("name", RULES)
@pytest.mark.parametrize("revival", ["auxk", "resample", "none"])
def test_a_dictionary_that_is_all_dead_stays_finite(generator, name, revival):
    config = SaeConfig(16, 128, 4, selection=name)

    def silenced(learner):
        learner.optimiser.weights.encoder_bias.fill_(-1e4)

    run = TrainConfig(30, 50, dead_after_tokens=1, revival=revival, resample_steps=10)
    learner, reports = learnt(config, run, sparse_features(generator, 500), silenced)
    assert reports[0].l0 == 0
    assert reports[0].dead == 1
    assert all(bool(report.loss.isfinite()) for report in reports)
    assert all(bool(value.isfinite().all()) for value in learner.autoencoder().state_dict().values())
    if revival == "resample":
        assert max(report.l0 for report in reports) > 0


VARIANTS = {
    **{name: (name, {}) for name in RULES},
    "fixed penalty": ("relu", {"sparsity_coefficient": 0.1}),
    "random prefixes": ("batch_topk", {"random_prefixes": 4}),
    "nested k": ("topk", {"nested_k": (2, 6)}),
    "archetypal": ("batch_topk", {"dictionary": "archetypal", "n_archetypes": 50}),
    "resampling": ("jumprelu", {"revival": "resample", "resample_steps": 3}),
    "k falling, in parts": ("gated", {"k_start": 20, "k_anneal_steps": 9, "accumulate": 3}),
}


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_restored_learner_goes_on_bit_for_bit(generator, variant):
    name, settings = VARIANTS[variant]
    x, config = sparse_features(generator, 2000), SaeConfig(16, 300, 6, selection=name, fractions=(0.2, 0.8))
    run = TrainConfig(14, 100, dead_after_tokens=150, **settings)
    batches = x[torch.randint(len(x), (14, 100), generator=generator)]
    whole = Learner.start(config, run, batches[0])
    for batch in batches[:7]:
        whole.step(batch)
    saved = {key: value.clone() for key, value in whole.tensors().items()}
    progress = type(whole.progress)(**vars(whole.progress))
    resumed = Learner.restore(config, run, progress, saved)
    for batch in batches[7:]:
        one, two = whole.step(batch), resumed.step(batch)
        assert one.l0 == two.l0
        assert torch.equal(one.loss, two.loss)
    assert whole.tensors().keys() == resumed.tensors().keys()
    assert all(torch.equal(value, resumed.tensors()[key]) for key, value in whole.tensors().items())
    states = (whole.autoencoder().state_dict(), resumed.autoencoder().state_dict())
    assert all(torch.equal(*pair) for pair in zip(*(state.values() for state in states)))


@pytest.mark.parametrize("variant", VARIANTS)
def test_an_interrupted_run_ends_with_the_same_bytes(generator, tmp_path, variant):
    name, settings = VARIANTS[variant]
    x, config = sparse_features(generator, 2000), SaeConfig(16, 300, 6, selection=name, fractions=(0.2, 0.8))
    run = TrainConfig(14, 100, dead_after_tokens=150, **settings)
    train(TensorSource(x), config, run, tmp_path / "whole", progress=False)
    with pytest.raises(KeyboardInterrupt):
        train(Interrupting(x, at=6), config, run, tmp_path / "parts", progress=False)
    train(TensorSource(x), config, run, tmp_path / "parts", progress=False)
    assert contents(tmp_path / "parts") == contents(tmp_path / "whole")


def test_a_given_coefficient_is_kept(generator):
    config = SaeConfig(16, 96, 6, selection="relu", fractions=(1.0,))
    x = sparse_features(generator)
    l0 = []
    for coefficient in (0.01, 1.0):
        learner, reports = learnt(config, TrainConfig(60, 256, sparsity_coefficient=coefficient), x)
        assert learner.rule._pressure.coefficient == coefficient
        l0.append(reports[-1].l0)
    assert l0[0] > l0[1]

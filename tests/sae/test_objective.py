"""Losses and every gradient against autograd through the plain dense formula, in float64 and on fresh inputs."""

import pytest
import torch

import sae.preactivations
from sae.auxiliary import add_auxiliary
from sae.codes import SparseCodes
from sae.nested import by_prefix, by_rank
from sae.objective import NestedLoss, gradients
from sae.preactivations import Preactivations
from sae.selection import BatchTopK, TopK
from sae.weights import Weights

N, D, M, K = 37, 10, 48, 3
LEVELS = {1: [48], 2: [5, 48], 3: [1, 20, 48], 4: [4, 9, 20, 48], 6: [1, 3, 8, 17, 30, 48], 7: [1, 2, 3, 4, 20, 47, 48]}


def random_weights(generator, dtype=torch.float64):
    def randn(*shape):
        return torch.randn(*shape, generator=generator, dtype=dtype)

    decoder = torch.nn.functional.normalize(randn(M, D), dim=1)
    return Weights(decoder + 0.1 * randn(M, D), decoder, 0.1 * randn(M), randn(D))


def dense_losses(weights, x, levels, dead, coefficient):
    """The published losses as they are defined, on dense arrays."""
    encoder, decoder, encoder_bias, decoder_bias = weights
    u = torch.relu((x - decoder_bias) @ encoder.T + encoder_bias)
    kept = torch.zeros_like(u).view(-1)
    kept[torch.topk(u.detach().view(-1), K * len(x)).indices] = 1
    a = u * kept.view_as(u)
    errors = []
    for size in levels:
        reconstruction = decoder_bias + a[:, :size] @ decoder[:size]
        errors.append((x - reconstruction).square().sum(1).mean() / len(levels))
    nested = sum(errors) / len(levels)
    residual = (x - reconstruction).detach()
    if not len(dead):
        return nested, 0 * nested, a
    is_dead = torch.zeros(M, dtype=torch.bool)
    is_dead[dead] = True
    candidates = torch.where(is_dead, u, -torch.inf)
    values, places = torch.topk(candidates, min(D // 2, len(dead)), dim=1)
    revived = torch.zeros_like(u).scatter(1, places, values) @ decoder
    spread = (residual - residual.mean(0)).square().sum(1).mean()
    return nested, coefficient * (residual - revived).square().sum(1).mean() / spread, a


def empty(weights):
    return Weights(*(torch.full_like(weight, torch.nan) for weight in weights))


def published(levels):
    return NestedLoss([1 / len(levels) ** 2] * len(levels))


def engine(weights, x, levels, dead, coefficient):
    """The same by the engine: nested result, gradients of all, auxiliary loss."""
    centred = x - weights.decoder_bias
    pre = Preactivations(weights, centred)
    pairs = by_prefix(BatchTopK(K)(pre), levels)
    result = published(levels)(weights, centred, pairs)
    found = gradients(weights, centred, pairs, result, result.slopes, empty(weights))
    added = add_auxiliary(pre, result.residual(), dead, coefficient, found)
    return result, found, added


def silenced(weights, generator, wanted):
    """Concepts made so weak that no token of the batch activates them; some latents are still positive."""
    dead = torch.randperm(M, generator=generator)[:wanted]
    weights.encoder[dead] *= 0.01
    weights.encoder_bias[dead] *= 0.01
    return dead


@pytest.mark.parametrize("levels", LEVELS.values(), ids=LEVELS.keys())
@pytest.mark.parametrize("n_dead", [0, 3, 30], ids=["no dead", "few dead", "more dead than d/2"])
def test_losses_and_gradients_are_those_of_the_dense_formula(generator, levels, n_dead):
    weights = random_weights(generator)
    x = 2 * torch.randn(N, D, generator=generator, dtype=torch.float64)
    dead = silenced(weights, generator, n_dead)
    parameters = Weights(*(weight.clone().requires_grad_() for weight in weights))
    nested, auxiliary, a = dense_losses(parameters, x, levels, dead, coefficient=0.7)
    (nested + auxiliary).backward()
    assert a[:, dead].eq(0).all()
    assert (auxiliary > 0) == (n_dead > 0)

    result, found, added = engine(weights, x, levels, dead, coefficient=0.7)
    torch.testing.assert_close(result.loss, nested.detach(), rtol=1e-10, atol=0)
    torch.testing.assert_close(added, auxiliary.detach(), rtol=1e-10, atol=1e-300)
    for name, gradient, parameter in zip(Weights._fields, found, parameters):
        where = name.replace("_", " ")
        message = f"the gradient of the {where} differs"
        torch.testing.assert_close(gradient, parameter.grad, rtol=1e-8, atol=1e-11, msg=message)

    for index, size in enumerate(levels):
        rest = x - weights.decoder_bias - a.detach()[:, :size] @ weights.decoder[:size]
        share = rest.var(0).sum() / x.var(0).sum()
        torch.testing.assert_close(result.fvu[index], share, rtol=1e-9, atol=0)


def test_the_auxiliary_loss_reaches_dead_concepts_only(generator):
    weights = random_weights(generator)
    x = 2 * torch.randn(N, D, generator=generator, dtype=torch.float64)
    dead = silenced(weights, generator, 20)
    _, without, _ = engine(weights, x, [48], dead[:0], 0.5)
    _, within, _ = engine(weights, x, [48], dead, 0.5)
    assert not within.encoder[dead].eq(0).all()
    alive = torch.ones(M, dtype=torch.bool)
    alive[dead] = False
    assert torch.equal(without.encoder[alive], within.encoder[alive])
    assert torch.equal(without.decoder[alive], within.decoder[alive])
    assert without.decoder[dead].eq(0).all()


def test_float32_gradients_are_those_of_float64_to_rounding(generator):
    weights = random_weights(generator)
    x = 2 * torch.randn(N, D, generator=generator, dtype=torch.float64)
    _, exact, _ = engine(weights, x, LEVELS[6], torch.zeros(0, dtype=torch.int64), 0.0)
    single = Weights(*(weight.float() for weight in weights))
    _, rounded, _ = engine(single, x.float(), LEVELS[6], torch.zeros(0, dtype=torch.int64), 0.0)
    for gradient, expected in zip(rounded, exact):
        assert (gradient - expected).norm() < 1e-5 * expected.norm()


def test_no_active_pair_leaves_the_decoder_bias_alone_to_learn(generator):
    weights = random_weights(generator)
    x = torch.randn(N, D, generator=generator, dtype=torch.float64)
    nothing = SparseCodes.from_dense(torch.zeros(N, M, dtype=torch.float64))
    centred, pairs = x - weights.decoder_bias, by_prefix(nothing, [5, M])
    result = published([5, M])(weights, centred, pairs)
    found = gradients(weights, centred, pairs, result, result.slopes, empty(weights))
    assert all(gradient.eq(0).all() for gradient in found[:3])
    torch.testing.assert_close(found.decoder_bias, (weights.decoder_bias - x.mean(0)))
    torch.testing.assert_close(result.fvu, torch.ones(2, dtype=torch.float64))


def test_a_batch_that_does_not_vary_has_no_fvu_and_no_auxiliary_loss(generator):
    weights = random_weights(generator, torch.float32)
    x = torch.randn(D, generator=generator).expand(N, D)
    dead = torch.arange(5)
    _, before, _ = engine(weights, x, [48], dead[:0], 0.5)
    result, after, added = engine(weights, x, [48], dead, 0.5)
    assert result.fvu.isnan().all()
    assert float(added) == 0
    assert all(torch.equal(one, two) for one, two in zip(before, after))


def test_the_work_array_is_used_again_without_a_trace_of_the_last_batch(generator):
    weights, loss = random_weights(generator), published([5, 48])
    first, second = torch.randn(2, N, D, generator=generator, dtype=torch.float64)
    for x in (first, second[:7], second):
        centred = x - weights.decoder_bias
        pairs = by_prefix(BatchTopK(K)(Preactivations(weights, centred)), [5, 48])
        again, fresh = loss(weights, centred, pairs), published([5, 48])(weights, centred, pairs)
        assert torch.equal(again.slopes, fresh.slopes)
        assert torch.equal(again.upstream, fresh.upstream)


def test_ranks_nested_within_tokens_have_the_gradients_of_the_dense_formula(generator):
    weights = random_weights(generator)
    x = 2 * torch.randn(N, D, generator=generator, dtype=torch.float64)
    ks, level_weights = (2, 5, 9), (0.2, 0.3, 0.5)
    parameters = Weights(*(weight.clone().requires_grad_() for weight in weights))
    u = torch.relu((x - parameters.decoder_bias) @ parameters.encoder.T + parameters.encoder_bias)
    nested = 0
    for k, share in zip(ks, level_weights):
        values, places = torch.topk(u, k, dim=1)
        a = torch.zeros_like(u).scatter(1, places, values)
        nested = nested + share * (x - parameters.decoder_bias - a @ parameters.decoder).square().sum(1).mean()
    nested.backward()

    centred = x - weights.decoder_bias
    pairs = by_rank(TopK(ks[-1])(Preactivations(weights, centred)), ks)
    result = NestedLoss(level_weights)(weights, centred, pairs)
    torch.testing.assert_close(result.loss, nested.detach(), rtol=1e-10, atol=0)
    for found, parameter in zip(gradients(weights, centred, pairs, result, result.slopes, empty(weights)), parameters):
        torch.testing.assert_close(found, parameter.grad, rtol=1e-8, atol=1e-11)


def test_in_bfloat16_the_auxiliary_gradient_points_the_same_way(generator, monkeypatch):
    weights = Weights(*(weight.float() for weight in random_weights(generator)))
    x = 2 * torch.randn(N, D, generator=generator)
    dead = silenced(weights, generator, 20)
    found = []
    for fast in (False, True):
        monkeypatch.setattr(sae.preactivations, "multiplies_bfloat16_fast", lambda device, fast=fast: fast)
        _, whole, added = engine(weights, x, [48], dead, 0.5)
        found.append((whole.encoder[dead], whole.decoder[dead], added))
    for exact, rounded in zip(*found):
        assert (exact - rounded).norm() < 0.4 * exact.norm()  # a token may choose another of its last concepts

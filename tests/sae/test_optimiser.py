"""The update against its published formula in float64."""

import torch

from sae.objective import Weights
from sae.optimiser import Optimiser

SHAPES = ((9, 5), (9, 5), (9,), (5,))


def random_weights(generator, scale=1.0):
    return Weights(*(scale * torch.randn(shape, generator=generator, dtype=torch.float64) for shape in SHAPES))


def published_update(weights, gradients, moments, step, step_size):
    """Project, clip, Adam(0.9, 0.999), renormalise; everything new, nothing in place."""
    gradients = list(gradients)
    rows = weights[1]
    gradients[1] = gradients[1] - (gradients[1] * rows).sum(1, keepdim=True) * rows
    norm = torch.cat([gradient.flatten() for gradient in gradients]).norm()
    updated, kept = [], []
    for weight, gradient, (mean, square) in zip(weights, gradients, moments):
        gradient = gradient * min(1.0, 1 / float(norm))
        mean, square = 0.9 * mean + 0.1 * gradient, 0.999 * square + 0.001 * gradient**2
        corrected = (square / (1 - 0.999**step)).sqrt() + 1e-8
        updated.append(weight - step_size * mean / (1 - 0.9**step) / corrected)
        kept.append((mean, square))
    updated[1] = torch.nn.functional.normalize(updated[1], dim=1)
    return updated, kept


def test_updates_follow_the_published_formula(generator):
    weights = random_weights(generator)
    weights.decoder.copy_(torch.nn.functional.normalize(weights.decoder, dim=1))
    expected = [weight.clone() for weight in weights]
    moments = [(torch.zeros(shape, dtype=torch.float64),) * 2 for shape in SHAPES]
    optimiser = Optimiser(weights)
    for step, scale in enumerate((1.0, 1e-3, 100.0, 0.02, 0.5), start=1):
        gradients = random_weights(generator, scale)
        expected, moments = published_update(expected, gradients, moments, step, 0.1 / step)
        optimiser.step(Weights(*(gradient.clone() for gradient in gradients)), 0.1 / step)
    for found, wanted in zip(optimiser.weights, expected):
        torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-7)
    torch.testing.assert_close(optimiser.weights.decoder.norm(dim=1), torch.ones(9, dtype=torch.float64))


def test_a_restored_optimiser_goes_on_bit_for_bit(generator):
    optimiser = Optimiser(random_weights(generator))
    optimiser.step(random_weights(generator), 0.1)
    saved = {name: tensor.clone() for name, tensor in optimiser.tensors().items()}
    restored = Optimiser(Weights(*(saved[name] for name in Weights._fields)))
    restored.load(saved)
    for _ in range(3):
        gradients = random_weights(generator)
        for one in (optimiser, restored):
            one.step(Weights(*(gradient.clone() for gradient in gradients)), 0.1)
    assert all(torch.equal(one, two) for one, two in zip(optimiser.weights, restored.weights))


def test_further_parameters_are_clipped_with_the_weights_and_take_steps_of_their_own_size(generator):
    weights, own = random_weights(generator), torch.randn(9, generator=generator, dtype=torch.float64)
    weights.decoder.copy_(torch.nn.functional.normalize(weights.decoder, dim=1))
    before = weights.encoder.clone(), own.clone()
    optimiser = Optimiser(weights, {"own": own}, step_scales={"own": 5.0}, max_norm=0.5)
    gradients, of_own = random_weights(generator), 40 * torch.randn(9, generator=generator, dtype=torch.float64)
    kept = of_own.clone()
    along = (gradients.decoder * weights.decoder).sum(1, keepdim=True) * weights.decoder
    parts = (gradients.encoder, gradients.decoder - along, gradients.encoder_bias, gradients.decoder_bias, of_own)
    norm = torch.cat([part.flatten() for part in parts]).norm()
    optimiser.step(gradients, 0.01, {"own": of_own})
    torch.testing.assert_close(of_own, kept * 0.5 / norm, rtol=1e-5, atol=0)
    torch.testing.assert_close(before[1] - own, 0.05 * kept.sign(), rtol=1e-4, atol=0)  # Adam's first step
    assert float((before[0] - weights.encoder).abs().max()) < 0.0101


def test_concepts_can_be_forgotten(generator):
    weights, own = random_weights(generator), torch.randn(9, generator=generator, dtype=torch.float64)
    optimiser = Optimiser(weights, {"own": own})
    concepts = torch.tensor([1, 6])
    for _ in range(2):
        optimiser.step(random_weights(generator), 0.1, {"own": torch.randn(9, dtype=torch.float64)})
    optimiser.forget(concepts)
    for name in ("encoder", "decoder", "encoder_bias", "own"):
        for moment in ("exp_avg", "exp_avg_sq"):
            state = optimiser.tensors()[f"{name}.{moment}"]
            assert state[concepts].eq(0).all()
            assert state[[0, 2, 3, 4, 5, 7, 8]].ne(0).all()
    assert optimiser.tensors()["decoder_bias.exp_avg"].ne(0).all()

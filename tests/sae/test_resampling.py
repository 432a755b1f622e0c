"""Dead concepts start anew where the error is, and come back to life."""

import numpy as np
import pytest
import torch

from sae import SaeConfig, TrainConfig
from sae.learner import Learner
from sae.resampling import resample
from sae.weights import Weights


def random_weights(generator, m=20, d=6):
    decoder = torch.nn.functional.normalize(torch.randn(m, d, generator=generator), dim=1)
    encoder = torch.randn(m, d, generator=generator)
    return Weights(encoder, decoder, torch.randn(m, generator=generator), torch.randn(d, generator=generator))


def test_a_revived_concept_points_at_a_token_and_the_living_are_left_alone(generator):
    weights, dead = random_weights(generator), torch.tensor([2, 5, 19])
    before = Weights(*(weight.clone() for weight in weights))
    centred, residual = torch.randn(2, 30, 6, generator=generator)
    assert resample(weights, centred, residual, dead, 0.2, seed=7, step=3)
    living = torch.ones(20, dtype=torch.bool)
    living[dead] = False
    assert all(torch.equal(own[living], old[living]) for own, old in zip(weights[:3], before[:3]))
    directions = torch.nn.functional.normalize(centred, dim=1)
    assert (weights.decoder[dead] @ directions.T).amax(1) == pytest.approx([1.0] * 3, abs=1e-5)
    assert len(set((weights.decoder[dead] @ directions.T).argmax(1).tolist())) == 3
    fifth = 0.2 * before.encoder[living].norm(dim=1).mean()
    torch.testing.assert_close(weights.encoder[dead], fifth * weights.decoder[dead])
    assert weights.encoder_bias[dead].eq(0).all()


def test_tokens_are_drawn_in_proportion_to_their_squared_loss(generator):
    centred = torch.eye(4)
    residual = torch.eye(4) * torch.tensor([0.0, 1.0, 2.0, 3.0]).sqrt().unsqueeze(1)  # losses 0, 1, 2, 3
    weights, counts = random_weights(generator, m=1, d=4), np.zeros(4)
    for step in range(1400):
        resample(weights, centred, residual, torch.tensor([0]), 0.2, seed=int(generator.initial_seed()), step=step)
        counts[int(weights.decoder[0].argmax())] += 1
    assert counts / 100 == pytest.approx(np.array([0, 1, 4, 9]), abs=0.9)


def test_the_draw_follows_from_seed_and_step(generator):
    centred, residual = torch.randn(2, 200, 6, generator=generator)
    found = {}
    for key in [(0, 1), (0, 1.0), (0, 2), (1, 1)]:
        weights = random_weights(torch.Generator().manual_seed(5))
        resample(weights, centred, residual, torch.arange(8), 0.2, seed=key[0], step=int(key[1]))
        found.setdefault(key, []).append(weights.decoder)
    assert len({tuple(value[0].flatten().tolist()) for value in found.values()}) == 3


def test_where_nothing_is_wrong_nothing_is_done(generator):
    weights = random_weights(generator)
    before = weights.encoder.clone()
    centred = torch.randn(30, 6, generator=generator)
    assert not resample(weights, centred, torch.zeros(30, 6), torch.tensor([1]), 0.2, 0, 0)
    assert not resample(weights, torch.zeros(30, 6), centred, torch.tensor([1]), 0.2, 0, 0)
    assert not resample(weights, centred, centred, torch.tensor([], dtype=torch.int64), 0.2, 0, 0)
    assert torch.equal(weights.encoder, before)
    assert resample(
        weights, centred[:2], centred[:2], torch.arange(20), 0.2, 0, 0
    )  # more dead than tokens, none living
    assert weights.encoder.norm(dim=1) == pytest.approx([0.2] * 20, rel=1e-5)


@pytest.mark.parametrize("selection", ["batch_topk", "topk", "jumprelu", "relu", "gated"])
def test_dead_concepts_come_back(generator, selection):
    atoms = torch.nn.functional.normalize(torch.randn(40, 16, generator=generator), dim=1)
    on = torch.rand(8000, 40, generator=generator) < 0.1
    x = (on * (0.5 + torch.rand(8000, 40, generator=generator))) @ atoms
    config = SaeConfig(16, 64, 4, selection=selection, fractions=(1.0,))
    alive = {}
    for revival in ("none", "resample"):
        train = TrainConfig(200, 200, revival=revival, resample_steps=50, dead_after_tokens=2000)
        random = torch.Generator().manual_seed(0)
        learner = Learner.start(config, train, x[:200])
        learner.optimiser.weights.encoder_bias[:24] = -1e3  # dead from the start
        if selection == "gated":
            learner.rule.parameters["magnitude_bias"][:24] = -1e3
        for _ in range(200):
            learner.step(x[torch.randint(8000, (200,), generator=random)])
        active = learner.autoencoder().encode(x).concepts
        alive[revival] = len(set(active[active < 24].tolist()))
    assert alive["none"] == 0
    assert alive["resample"] > 16

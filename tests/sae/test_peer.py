"""Step for step, our sparse training is the dense training of the published code (package dictionary-learning)."""

import pytest
import torch

import sae.preactivations
from benchmarks.sae_parity import peer_trainer
from sae import SaeConfig, SparseAutoencoder, TensorSource, TrainConfig, evaluate, train
from sae.initial import initial_weights

peer = pytest.mark.peer
CONFIG = SaeConfig(dim=24, n_concepts=800, k=2)
STEPS, BATCH = 120, 300


def as_ours(theirs) -> SparseAutoencoder:
    sae = SparseAutoencoder(CONFIG)
    taken = (theirs.W_enc.T, theirs.W_dec, theirs.b_enc, theirs.b_dec)
    for own, weight in zip(sae.weights, taken):
        own.copy_(weight.detach())
    sae.threshold.fill_(float(theirs.threshold))
    return sae


@peer
@pytest.mark.parametrize("dead_after", [10**7, 2 * BATCH], ids=["none dead", "many dead"])
@pytest.mark.parametrize("screened", [False, True], ids=["float32", "screen"])
def test_training_follows_the_published_code_step_for_step(generator, tmp_path, monkeypatch, dead_after, screened):
    monkeypatch.setattr(sae.preactivations, "multiplies_bfloat16_fast", lambda device: screened)
    pytest.importorskip("dictionary_learning", reason="pip install '.[peers]' to run this test")
    atoms = torch.randn(60, CONFIG.dim, generator=generator)
    x = torch.rand(20_000, 60, generator=generator) * (torch.rand(20_000, 60, generator=generator) < 0.05)
    x = x @ atoms + 0.5 * torch.randn(CONFIG.dim, generator=generator)
    source = TensorSource(x)
    run = TrainConfig(STEPS, BATCH, rescale=False, dead_after_tokens=dead_after)
    batches = source.batches(BATCH, seed=run.seed)
    first = next(batches)
    trainer = peer_trainer(CONFIG, run, first)
    assert tuple(trainer.group_sizes) == tuple(torch.tensor([0, *CONFIG.levels]).diff().tolist())
    seen_dead = 0
    for step in range(STEPS):
        trainer.update(step, first if step == 0 else next(batches))
        seen_dead = max(seen_dead, trainer.dead_features)
    assert (seen_dead > CONFIG.dim // 2) == (dead_after < 10**7)

    ours, theirs = train(source, CONFIG, run, tmp_path, progress=False), as_ours(trainer.ae)
    for name, own, other in zip(ours.weights._fields, ours.weights, theirs.weights):
        moved = (other - getattr(initial_weights(CONFIG, first, run.seed), name)).norm()
        # Adam makes steps of one size of gradients of any size, so those of dead concepts show that bfloat16 gave them.
        tolerance = 0.02 if dead_after == 10**7 else 0.1 if screened else 0.05
        assert (own - other).norm() < tolerance * moved, name
    assert float(ours.threshold) == pytest.approx(float(theirs.threshold), rel=0.02)
    assert evaluate(ours, [x])["fvu"] == pytest.approx(evaluate(theirs, [x])["fvu"], rel=0.005)
    differ = (theirs(x) - trainer.ae(x).detach()).abs().amax(1) > 1e-4
    assert int(differ.sum()) <= 3  # tokens with an activation within rounding of the threshold

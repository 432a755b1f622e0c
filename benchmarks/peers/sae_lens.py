"""SAELens: its `SAETrainer.fit` on an iterator of features; auxiliary loss on, as it comes."""

from __future__ import annotations

from typing import Any

from sae_lens import (
    BatchTopKTrainingSAE,
    BatchTopKTrainingSAEConfig,
    MatryoshkaBatchTopKTrainingSAE,
    MatryoshkaBatchTopKTrainingSAEConfig,
    TopKTrainingSAE,
    TopKTrainingSAEConfig,
)
from sae_lens.config import SAETrainerConfig
from sae_lens.training.sae_trainer import SAETrainer

from benchmarks.peers.yardstick import LONG_AGO, QUIET, Clock, Dictionary, Task, main

ARCHITECTURES: dict[str, tuple[Any, Any]] = {
    "matryoshka": (MatryoshkaBatchTopKTrainingSAE, MatryoshkaBatchTopKTrainingSAEConfig),
    "batch_topk": (BatchTopKTrainingSAE, BatchTopKTrainingSAEConfig),
    "topk": (TopKTrainingSAE, TopKTrainingSAEConfig),
}
LR = SAETrainerConfig.lr


def train(task: Task, clock: Clock) -> Dictionary:
    """Its own loop. It takes activations by the decoder's norms, which are folded into the result."""
    make, configure = ARCHITECTURES[task.arch]
    levels = {"matryoshka_widths": task.levels} if task.arch == "matryoshka" else {}
    sae = make(configure(d_in=clock.features.shape[1], d_sae=task.m, k=task.k, device="cpu", **levels))
    lr = LR if task.resolved_lr is None else task.resolved_lr
    own: dict[str, Any] = {"lr": lr, "lr_end": lr}
    if task.dead_after_tokens is not None:
        own["dead_feature_window"] = max(1, task.dead_after_tokens // task.batch)
    schedule = {"lr_warm_up_steps": task.lr_warmup or 0, "lr_decay_steps": task.lr_decay or 0}
    config = SAETrainerConfig(
        total_training_samples=task.n_tokens, train_batch_size_samples=task.batch, device="cpu", **own, **schedule
    )
    trainer = SAETrainer(config, sae, clock)
    trainer.n_forward_passes_since_fired[task.dead_concepts] = LONG_AGO
    sae.W_enc.data[:, task.dead_concepts] *= QUIET
    trainer.fit()
    clock.notes["dead_share"] = float(trainer.dead_neurons.float().mean())
    norms = sae.W_dec.data.norm(dim=1)
    encoder, bias = sae.W_enc.data.t() * norms[:, None], sae.b_enc.data * norms
    if not sae.cfg.apply_b_dec_to_input:
        bias += encoder @ sae.b_dec.data
    return Dictionary(encoder, sae.W_dec.data / norms[:, None], bias, sae.b_dec.data)


if __name__ == "__main__":
    main(list(ARCHITECTURES), train)

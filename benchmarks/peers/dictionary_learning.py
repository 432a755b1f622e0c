"""dictionary-learning: its `trainSAE` with its trainers; auxiliary loss 1/32 as it comes."""

from __future__ import annotations

from typing import Any

from dictionary_learning.trainers.batch_top_k import BatchTopKTrainer
from dictionary_learning.trainers.matryoshka_batch_top_k import MatryoshkaBatchTopKTrainer
from dictionary_learning.trainers.top_k import TopKTrainer
from dictionary_learning.training import trainSAE

from benchmarks.peers.yardstick import FRACTIONS, LONG_AGO, QUIET, Clock, Dictionary, Task, main

ARCHITECTURES = {"matryoshka": MatryoshkaBatchTopKTrainer, "batch_topk": BatchTopKTrainer, "topk": TopKTrainer}


def train(task: Task, clock: Clock) -> Dictionary:
    """Its own loop; the trainer's class is extended only to be got hold of and to hold concepts dead."""
    made: list[Any] = []

    class Kept(ARCHITECTURES[task.arch]):  # type: ignore[misc,valid-type]
        def __init__(self, **settings: Any) -> None:
            super().__init__(**settings)
            made.append(self)
            if task.dead_after_tokens is not None:
                self.dead_feature_threshold = task.dead_after_tokens
            dead = task.dead_concepts
            self.num_tokens_since_fired[dead] = LONG_AGO
            _encoder(self.ae)[dead] *= QUIET

    settings: dict[str, Any] = {
        "trainer": Kept,
        "activation_dim": clock.features.shape[1],
        "dict_size": task.m,
        "k": task.k,
        "layer": 0,
        "lm_name": "none",
        "device": "cpu",
        "seed": task.seed,
        "lr": task.resolved_lr,
        "steps": 10**6 if task.lr_warmup is None else task.n_batches,
    }
    if task.lr_warmup is not None:
        settings["warmup_steps"] = task.lr_warmup
    if task.lr_decay is not None:
        settings["decay_start"] = task.n_batches - task.lr_decay
    if task.arch == "matryoshka":
        settings["group_fractions"] = list(FRACTIONS)
    trainSAE(clock, [settings], steps=task.n_batches, device="cpu")
    ae = made[0].ae
    clock.notes["dead_share"] = max(0, made[0].dead_features) / task.m
    matryoshka = hasattr(ae, "W_dec")
    decoder, bias = (ae.W_dec, ae.b_enc) if matryoshka else (ae.decoder.weight.t(), ae.encoder.bias)
    return Dictionary(_encoder(ae), decoder.data, bias.data, ae.b_dec.data)


def _encoder(ae: Any) -> Any:
    """[m, d], sharing memory with the autoencoder's."""
    return ae.W_enc.data.t() if hasattr(ae, "W_enc") else ae.encoder.weight.data


if __name__ == "__main__":
    main(list(ARCHITECTURES), train)

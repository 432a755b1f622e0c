"""eai-sparsify: its `Trainer.fit`. The language model is a table of our features, so the autoencoder's step is all that
costs. The auxiliary loss is off unless concepts are held dead (as it comes). Its loop sets the product's precision to
"high" by itself; the row says so."""

from __future__ import annotations

import os
import tempfile
from typing import Any

import torch

if not torch.cuda.is_available():  # its decoder is in Triton wherever Triton is installed
    os.environ["SPARSIFY_DISABLE_TRITON"] = "1"

from sparsify import SparseCoderConfig, TrainConfig, Trainer
from torch import Tensor, nn
from transformers import PretrainedConfig, PreTrainedModel

from benchmarks.peers.yardstick import LONG_AGO, QUIET, Clock, Dictionary, Task, main

ARCHITECTURES = ("topk",)
SEQUENCES = 32
"""A batch is so many "texts"."""


class TableConfig(PretrainedConfig):
    model_type = "table"
    num_hidden_layers = 1


class Table(PreTrainedModel):
    """A language model whose one layer looks up a row of the features for each token."""

    config_class = TableConfig
    base_model_prefix = ""

    def __init__(self, features: Tensor) -> None:
        super().__init__(TableConfig())
        self.rows = nn.Embedding.from_pretrained(features)
        self.post_init()

    def _init_weights(self, module: nn.Module) -> None:
        """The rows are given."""

    @property
    def dummy_inputs(self) -> dict[str, Tensor]:
        return {"input_ids": torch.zeros(1, 4, dtype=torch.long)}

    def forward(self, input_ids: Tensor) -> Tensor:
        return self.rows(input_ids)


class Texts(torch.utils.data.Dataset):
    """Texts whose tokens are the rows of the clock's batches, one batch behind the other."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock

    def __len__(self) -> int:
        return SEQUENCES * len(self.clock)

    def __getitem__(self, text: int) -> dict[str, Tensor]:
        batch, place = divmod(text, SEQUENCES)
        if place == 0:
            self.clock.stamp()
        length = self.clock.task.batch // SEQUENCES
        start = self.clock.row(batch) + place * length
        return {"input_ids": torch.arange(start, start + length)}


def train(task: Task, clock: Clock) -> Dictionary:
    """Its own loop, with its default optimiser (signum) unless a step size is given (then Adam)."""
    adam = task.lr is not None
    own: dict[str, Any] = {"optimizer": "adam", "lr_warmup_steps": task.lr_warmup or 0} if adam else {}
    if task.dead_after_tokens is not None:
        own |= {"dead_feature_threshold": task.dead_after_tokens, "auxk_alpha": 1 / 32}
    if task.dead:
        own |= {"auxk_alpha": 1 / 32}
    config = TrainConfig(
        SparseCoderConfig(num_latents=task.m, k=task.k),
        batch_size=SEQUENCES,
        hookpoints=["rows"],
        init_seeds=[task.seed],
        log_to_wandb=False,
        lr=task.resolved_lr,
        save_every=LONG_AGO,
        save_dir=tempfile.mkdtemp(),
        **own,
    )
    trainer = Trainer(config, Texts(clock), Table(clock.features))
    sae = trainer.saes["rows"]
    trainer.num_tokens_since_fired["rows"][task.dead_concepts] = LONG_AGO
    sae.encoder.weight.data[task.dead_concepts] *= QUIET
    trainer.save = lambda: None
    trainer.fit()
    dead = trainer.num_tokens_since_fired["rows"] > config.dead_feature_threshold
    clock.notes["dead_share"] = float(dead.float().mean())
    if hasattr(trainer.optimizers[0], "eval"):
        trainer.optimizers[0].eval()  # its schedule-free optimiser: the averaged weights are the result
    return Dictionary(sae.encoder.weight.data, sae.W_dec.data, sae.encoder.bias.data, sae.b_dec.data)


if __name__ == "__main__":
    main(ARCHITECTURES, train)

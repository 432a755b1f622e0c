"""overcomplete: its `train_sae` with Adam as in its README; monitoring and clipping as they come.

Mean squared error as its loss; its auxiliary loss, which costs the same whether anything is dead or not, where
concepts are to be held dead. Its model zoo and its pictures are imported with it: what they miss is put in place.
"""

from __future__ import annotations

import matplotlib
import matplotlib.pyplot as plt
import torch
from torch import Tensor

if not hasattr(plt.cm, "get_cmap"):  # gone from matplotlib 3.11; it is called while the package is imported
    plt.cm.get_cmap = matplotlib.colormaps.__getitem__

from overcomplete.sae import BatchTopKSAE, TopKSAE, train_sae
from overcomplete.sae.losses import top_k_auxiliary_loss

from benchmarks.peers.yardstick import QUIET_LR, Clock, Dictionary, Task, main

ARCHITECTURES = ("batch_topk", "topk")
LR = 5e-4
"""Of its README."""


def train(task: Task, clock: Clock) -> Dictionary:
    """Its own loop, with its default encoder (linear)."""
    dim = clock.features.shape[1]
    if task.arch == "topk":
        sae = TopKSAE(dim, nb_concepts=task.m, top_k=task.k)
    else:
        sae = BatchTopKSAE(dim, nb_concepts=task.m, top_k=task.k * task.batch)
    optimiser = torch.optim.Adam(sae.parameters(), lr=QUIET_LR if task.dead else task.lr or LR)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: _share(task, step))
    loss = top_k_auxiliary_loss if task.dead else _squared_error
    scheduled = {} if task.lr_warmup is None else {"scheduler": schedule}
    train_sae(sae, clock, loss, optimiser, nb_epochs=1, **scheduled)
    decoder = sae.get_dictionary().detach()
    linear = sae.encoder.final_block[0]
    return Dictionary(linear.weight.data, decoder, linear.bias.data, torch.zeros(dim))


def _share(task: Task, step: int) -> float:
    rise = (step + 1) / task.lr_warmup if task.lr_warmup else 1.0
    fall = (task.n_batches - step) / task.lr_decay if task.lr_decay else 1.0
    return min(1.0, rise, fall)


def _squared_error(x: Tensor, x_hat: Tensor, pre: Tensor, codes: Tensor, dictionary: Tensor) -> Tensor:
    return (x - x_hat).square().mean()


if __name__ == "__main__":
    main(ARCHITECTURES, train)

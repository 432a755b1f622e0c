"""One autoencoder in training: its weights and counters, and what a batch of tokens does to them.

In: batches of features [n, d]. Out: reports of each step, all that a later process needs to go on, and in the end the
autoencoder. Knows nothing of files, clocks and where batches come from; `trainer` does.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from .autoencoder import SparseAutoencoder
from .auxiliary import add_auxiliary
from .checkpoint import Progress
from .config import SaeConfig, TrainConfig
from .errors import InsightError
from .initial import initial_weights
from .inputs import normalise
from .nested import by_prefix
from .objective import NestedLoss, gradients
from .optimiser import Optimiser
from .preactivations import Preactivations
from .selection import BatchTopK, TopK
from .weights import Weights


class Report(NamedTuple):
    """What one step measured, still on the device; `row` waits for it."""

    step: int
    loss: Tensor
    """[]"""
    fvu: Tensor
    """[G]"""
    l0: float
    dead: float
    """Share of concepts."""

    def row(self) -> dict[str, Any]:
        """As a line of the log (None where the batch did not vary); `InsightError` when the loss is not finite."""
        loss = float(self.loss)
        if not abs(loss) < float("inf"):
            raise InsightError(f"train: the loss is not finite at step {self.step}; lower lr")
        fvu = [share if share == share else None for share in self.fvu.tolist()]
        return {"step": self.step, "loss": loss, "fvu": fvu, "l0": self.l0, "dead": self.dead}


class Learner:
    """The state of training, and one method for each thing that happens to it."""

    def __init__(
        self,
        config: SaeConfig,
        train: TrainConfig,
        progress: Progress,
        optimiser: Optimiser,
        silent_tokens: Tensor,
    ) -> None:
        self.config, self.train, self.progress = config, train, progress
        self.optimiser, self.silent_tokens = optimiser, silent_tokens
        self.select = TopK(config.k) if config.selection == "topk" else BatchTopK(config.k)
        self.select.cut = progress.selection_cut
        n_levels = len(config.levels)
        self.nested = NestedLoss([1 / n_levels**2] * n_levels)
        # Rescaled features make the nested loss d times that of features of unit mean squared norm; the auxiliary loss
        # is a ratio and has to keep step, or Adam hardly moves concepts whose last gradients were of the nested loss.
        self.aux_coefficient = train.aux_coefficient * (config.dim if train.rescale else 1)
        self.gradients = Weights(*(torch.empty_like(weight) for weight in optimiser.weights))

    @classmethod
    def start(cls, config: SaeConfig, train: TrainConfig, first: Tensor) -> Learner:
        """At step 0, with what the first batch of features [n, d] tells about their scale and middle."""
        first = normalise(first, config.inputs).tokens
        mean_square = float(first.double().square().mean())
        scale = mean_square**0.5 if train.rescale and mean_square > 0 else 1.0
        optimiser = Optimiser(initial_weights(config, first / scale, train.seed))
        silent_tokens = torch.zeros(config.n_concepts, dtype=torch.int64, device=first.device)
        return cls(config, train, Progress(0, scale), optimiser, silent_tokens)

    @classmethod
    def restore(cls, config: SaeConfig, train: TrainConfig, progress: Progress, tensors: dict[str, Tensor]) -> Learner:
        """From what `progress` and `tensors` were when it was saved."""
        silent_tokens = tensors.pop("silent_tokens")
        return cls(config, train, progress, Optimiser.from_tensors(tensors), silent_tokens)

    def tensors(self) -> dict[str, Tensor]:
        """All arrays that `restore` needs, by name."""
        return {**self.optimiser.tensors(), "silent_tokens": self.silent_tokens}

    @torch.no_grad()
    def step(self, batch: Tensor) -> Report:
        """Learn from one batch of finite features [n, d]."""
        step, weights = self.progress.step, self.optimiser.weights
        centred = (normalise(batch, self.config.inputs).tokens / self.progress.scale).sub_(weights.decoder_bias)
        pre = Preactivations(weights, centred)
        codes = self.select(pre)
        self.silent_tokens += len(centred)
        self.silent_tokens[codes.concepts.long()] = 0
        pairs = by_prefix(codes, self.config.levels)
        result = self.nested(weights, centred, pairs)
        found = gradients(weights, centred, pairs, result, result.slopes, self.gradients)
        dead = (self.silent_tokens >= self.train.resolved_dead_after_tokens).nonzero().squeeze(1)
        loss = result.loss
        if len(dead):
            loss = loss + add_auxiliary(pre, result.residual(), dead, self.aux_coefficient, found)
        self.optimiser.step(found, self.train.step_size(step))
        if step >= self.train.resolved_threshold_start_step:
            self._average_threshold(float(codes.activations.min()) if codes.nnz else 0.0)
        self.progress.step += 1
        self.progress.selection_cut = self.select.cut
        return Report(step, loss, result.fvu, codes.nnz / len(centred), len(dead) / self.config.n_concepts)

    def _average_threshold(self, smallest: float) -> None:
        """Exponential average without the bias of a first value: a decayed sum over a decayed count."""
        beta = self.train.resolved_threshold_beta
        self.progress.threshold_sum = beta * self.progress.threshold_sum + smallest
        self.progress.threshold_count = beta * self.progress.threshold_count + 1

    def autoencoder(self) -> SparseAutoencoder:
        """The autoencoder for raw features: u(x) = s u'(x / s), so biases and threshold are multiplied by the scale."""
        scale, weights = self.progress.scale, self.optimiser.weights
        sae = SparseAutoencoder(self.config).to(weights.encoder.device)
        folded = Weights(weights.encoder, weights.decoder, weights.encoder_bias * scale, weights.decoder_bias * scale)
        for parameter, value in zip(sae.weights, folded):
            parameter.copy_(value)
        sae.threshold.fill_(scale * self.progress.threshold_sum / self.progress.threshold_count)
        return sae.cpu()

"""One autoencoder in training: its weights and counters, and what a batch of tokens does to them.

In: batches of features [n, d], of which each rank gives its own rows. Out: reports of each step, all that a later
process needs to go on, and in the end the autoencoder. Knows nothing of files, clocks and where batches come from;
`trainer` does.

On CUDA a step of BatchTopK in a single process queues its work and does not wait for the device, save once where AuxK
may have dead concepts to list (how many there are decides the sizes of its products); resampling waits, too.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from .archetypal import Archetypal
from .autoencoder import SparseAutoencoder
from .auxiliary import add_auxiliary
from .checkpoint import Progress
from .codes import SparseCodes
from .config import SaeConfig, TrainConfig
from .distributed import ALONE, Ranks
from .errors import InsightError
from .initial import initial_weights
from .inputs import normalise
from .nested import Pairs, by_rank, in_prefixes, random_prefixes
from .objective import NestedLoss, level_weights, spread
from .optimiser import Optimiser
from .preactivations import Preactivations
from .resampling import resample
from .selection import Batch, Chosen, Rule, rule_of
from .weights import Weights


class Report(NamedTuple):
    """What one step measured, perhaps still on the device; `row` waits for it."""

    step: int
    loss: Tensor
    """[]"""
    fvu: Tensor
    """[G]"""
    l0: float | Tensor
    dead: float | Tensor
    """Share of concepts."""
    inexact: int | Tensor = 0
    """Of how many batches so far the choice may have been another one than the rule says."""

    def row(self) -> dict[str, Any]:
        """As a line of the log (None where the batch did not vary); `InsightError` when the loss is not finite."""
        loss = float(self.loss)
        if not abs(loss) < float("inf"):
            raise InsightError(f"train: the loss is not finite at step {self.step}; lower lr")
        fvu = [share if share == share else None for share in self.fvu.tolist()]
        row = {"step": self.step, "loss": loss, "fvu": fvu, "l0": float(self.l0), "dead": float(self.dead)}
        return row | ({"inexact": inexact} if (inexact := int(self.inexact)) else {})


class _Learnt(NamedTuple):
    """What one part of a batch gave, beside its gradients of the four weights."""

    n_tokens: int
    loss: Tensor
    fvu: Tensor
    n_active: int | Tensor
    smallest: float | Tensor
    """The smallest activation; 0 where there is none."""
    n_dead: int | Tensor
    """Those of other ranks included."""
    own: dict[str, Tensor]
    """Gradients of what the rule learns."""
    batch: Batch


class Learner:
    """The state of training, and one method for each thing that happens to it."""

    def __init__(
        self,
        config: SaeConfig,
        train: TrainConfig,
        progress: Progress,
        weights: Weights,
        rule: Rule,
        atoms: Archetypal | None,
        silent_tokens: Tensor,
        ranks: Ranks = ALONE,
    ) -> None:
        self.config, self.train, self.progress, self.ranks = config, train, progress, ranks
        self.rule, self.atoms, self.silent_tokens = rule, atoms, silent_tokens
        self._longest_silence = int(silent_tokens.max())
        """No concept has been silent for more tokens: none has died while this is short."""
        self.rule.cut, self.rule.ranks = progress.selection_cut, ranks
        self.optimiser = Optimiser(
            weights,
            rule.parameters,
            ranks.concepts,
            atoms=atoms,
            step_scales=rule.step_scales,
            betas=train.betas,
            max_norm=train.max_gradient_norm,
        )
        weights_of_levels = _level_weights(config, train)
        self.nested = NestedLoss(weights_of_levels, ranks, normalised=train.normalised_loss)
        # Rescaled features make the nested loss d times that of features of unit mean squared norm; the auxiliary loss
        # is a ratio and has to keep step with what all levels weigh, or Adam hardly moves concepts whose last gradients
        # were of the nested loss.
        in_step = config.dim * sum(weights_of_levels) if train.rescale and not train.normalised_loss else 1
        self.aux_coefficient = train.aux_coefficient * in_step
        self.gradients = Weights(*(torch.empty_like(weight) for weight in weights))

    @classmethod
    def start(cls, config: SaeConfig, train: TrainConfig, first: Tensor, ranks: Ranks = ALONE) -> Learner:
        """At step 0, with what the first batch of features tells about their scale and middle.

        `ranks`: the processes that share the work; each gives what it will give to `step` as `first`, and all start
        with what all of these tell together.
        """
        train.fits(config)
        first = torch.cat([ranks.tokens.gather(part).rows for part in first.tensor_split(train.accumulate)])
        first = normalise(first, config.inputs).tokens
        mean_square = float(first.double().square().mean())
        scale = mean_square**0.5 if train.rescale and mean_square > 0 else 1.0
        first = first / scale
        slice_ = ranks.concepts.share(config.n_concepts)
        weights = initial_weights(config, first, train.seed, train.bias_start, slice_)
        centred, atoms = first - weights.decoder_bias, None
        if train.dictionary == "archetypal":
            n_points, slack = train.n_archetypes, train.archetype_slack
            atoms = Archetypal.start(centred, config.n_concepts, n_points, slack, train.seed)
            weights = weights._replace(decoder=atoms.decoder(), encoder=atoms.first_encoder())
        price = sum(_level_weights(config, train))
        if train.normalised_loss and (variance := float(spread(centred))) > 0:
            price /= variance
        pre = Preactivations(weights, centred, train.precision)
        rule = rule_of(config, train.precision, first, ranks).start(config, train, pre, price)
        silent_tokens = torch.zeros(len(weights.encoder), dtype=torch.int64, device=first.device)
        return cls(config, train, Progress(0, scale), weights, rule, atoms, silent_tokens, ranks)

    @classmethod
    def restore(
        cls,
        config: SaeConfig,
        train: TrainConfig,
        progress: Progress,
        tensors: dict[str, Tensor],
        ranks: Ranks = ALONE,
    ) -> Learner:
        """From what `progress` and `tensors` were when it was saved."""
        weights = Weights(*(tensors[name] for name in Weights._fields))
        rule = rule_of(config, train.precision, weights.encoder, ranks).restore(config, train, tensors)
        atoms = Archetypal.restore(tensors) if train.dictionary == "archetypal" else None
        learner = cls(config, train, progress, weights, rule, atoms, tensors["silent_tokens"], ranks)
        learner.optimiser.load(tensors)
        return learner

    def tensors(self) -> dict[str, Tensor]:
        """All arrays that `restore` needs, by name."""
        of_atoms = self.atoms.tensors() if self.atoms else {}
        own = {**self.rule.tensors(), **of_atoms, "silent_tokens": self.silent_tokens}
        return {**self.optimiser.tensors(), **own}

    @torch.no_grad()
    def step(self, batch: Tensor) -> Report:
        """Learn from one batch of finite features.

        `batch` [n, d]: this rank's rows, at least `accumulate` of them; where ranks share the tokens, n may differ. Cut
        into `accumulate` parts as `tensor_split` does, they are its rows of the batch's parts.
        """
        step = self.progress.step
        self.rule.k = self.train.annealed_k(step, self.config.k)
        learnt, gradients = self._accumulated(batch)
        self.optimiser.step(gradients, self.train.step_size(step), learnt.own)
        l0 = learnt.n_active / learnt.n_tokens
        self.rule.adapt(l0)
        if self.train.revival == "resample" and (step + 1) % self.train.resample_steps == 0:
            self._resample(learnt)
        if step >= self.train.resolved_threshold_start_step:
            self._average_threshold(learnt.smallest)
        self.progress.step += 1
        self.progress.selection_cut = self.rule.cut
        fvu = learnt.fvu[1:] if self.train.empty_prefix else learnt.fvu
        return Report(step, learnt.loss, fvu, l0, learnt.n_dead / self.config.n_concepts, self.rule.inexact)

    def _accumulated(self, batch: Tensor) -> tuple[_Learnt, Weights]:
        """What all parts of a batch gave together, and their averaged gradients. `batch`: this rank's rows."""
        tokens = self.ranks.tokens
        parts = [part for part in batch.tensor_split(self.train.accumulate) if len(part)]
        counts = [tokens.count(len(part)) for part in parts]
        n = sum(counts)
        if len(parts) == 1:
            learnt = self._learn(batch, n)
            tokens.average_([*self.gradients, *learnt.own.values()], len(batch) / n)
            return learnt, self.gradients
        total = Weights(*(torch.zeros_like(weight) for weight in self.gradients))
        own = {name: torch.zeros_like(parameter) for name, parameter in self.rule.parameters.items()}
        loss, fvu = batch.new_zeros(()), batch.new_zeros(())
        n_active: int | Tensor = 0
        smallest: float | Tensor = 0.0
        for part, count in zip(parts, counts):
            learnt = self._learn(part, count)
            for sums, gradients in (*zip(total, self.gradients), *((own[name], learnt.own[name]) for name in own)):
                sums.add_(gradients, alpha=len(part) / n)
            share = count / n
            loss, fvu = loss + share * learnt.loss, fvu + share * learnt.fvu
            n_active, smallest = n_active + learnt.n_active, smallest + share * learnt.smallest
        tokens.average_([*total, *own.values()])
        learnt = learnt._replace(n_tokens=n, loss=loss, fvu=fvu, n_active=n_active, smallest=smallest, own=own)
        return learnt, total

    def _learn(self, part: Tensor, n: int) -> _Learnt:
        """What a part of n tokens gave, of which this rank has `part`; gradients of the weights in `self.gradients`.

        Gradients are this rank's, all else is of the whole part.
        """
        weights, ranks = self.optimiser.weights, self.ranks
        own = normalise(part, self.config.inputs).tokens
        centred = (own / self.progress.scale).sub_(weights.decoder_bias)
        pre = Preactivations(weights, centred, self.train.precision)
        chosen = self.rule.choose(pre)
        self.silent_tokens += n
        self._longest_silence += n
        n_active, smallest = chosen.fire(self.silent_tokens, ranks.everyone)
        ranks.tokens.minimum_(self.silent_tokens)
        pairs = self._pairs(chosen)
        result = self.nested(weights, centred, pairs)
        batch = Batch(weights, centred, chosen, pairs, self.nested, result)
        cost = self.rule.gradients(batch, self.gradients)
        loss = result.loss + cost.loss
        n_dead: int | Tensor
        if self.train.revival == "auxk" or ranks.concepts.size > 1:
            dead = self._dead()
            n_dead = ranks.concepts.count(len(dead))
            if self.train.revival == "auxk" and n_dead:
                loss = loss + add_auxiliary(pre, result.residual(), dead, self.aux_coefficient, self.gradients, ranks)
        else:
            n_dead = self._is_dead().sum(dtype=torch.float64)
        ranks.tokens.average_([loss], len(part) / n)
        return _Learnt(n, loss, result.fvu, n_active, smallest, n_dead, cost.gradients, batch)

    def _is_dead(self) -> Tensor:
        """bool [own concepts]: silent for too long."""
        return self.silent_tokens >= self.train.resolved_dead_after_tokens

    def _dead(self) -> Tensor:
        """The dead among this rank's concepts. Waits for the device where one may have died."""
        if self._longest_silence < self.train.resolved_dead_after_tokens:
            return self.silent_tokens.new_empty(0)
        dead = self._is_dead().nonzero().squeeze(1)
        if not len(dead):
            self._longest_silence = int(self.silent_tokens.max())
        return dead

    def _pairs(self, chosen: Chosen) -> Pairs:
        """The chosen pairs with the levels that they are part of."""
        train, (pattern, _, activations, _) = self.train, chosen
        if train.nested_k:
            codes = SparseCodes(pattern.offsets, pattern.columns, activations, pattern.n_columns)
            return by_rank(codes, [*train.nested_k[:-1], max(train.nested_k[-1], self.rule.k)])
        levels = list(self.config.levels)
        if train.random_prefixes:
            levels = random_prefixes(levels[-1], train.random_prefixes, train.seed, self.progress.step)
        levels = [0, *levels] if train.empty_prefix else levels
        begin = self.ranks.concepts.share(self.config.n_concepts).start
        return in_prefixes(pattern, activations, [size - begin for size in levels])

    def _resample(self, learnt: _Learnt) -> None:
        """Start dead concepts anew at tokens of the last part."""
        batch, seed, step = learnt.batch, self.train.seed, self.progress.step
        centred, residual = (self.ranks.tokens.gather(rows).rows for rows in (batch.centred, batch.result.residual()))
        dead = self._dead()
        if resample(batch.weights, centred, residual, dead, self.rule.revived_size, seed, step):
            self.rule.revive(dead)
            self.optimiser.forget(dead)
            self.silent_tokens[dead] = 0

    def _average_threshold(self, smallest: float | Tensor) -> None:
        """Exponential average without the bias of a first value: a decayed sum over a decayed count."""
        beta = self.train.resolved_threshold_beta
        self.progress.threshold_sum = beta * self.progress.threshold_sum + smallest
        self.progress.threshold_count = beta * self.progress.threshold_count + 1

    def autoencoder(self) -> SparseAutoencoder:
        """The autoencoder for raw features: u(x) = s u'(x / s), so biases and threshold are multiplied by the scale."""
        scale, progress = self.progress.scale, self.progress
        smallest = torch.as_tensor(progress.threshold_sum, dtype=torch.float64).cpu() / progress.threshold_count
        smallest = smallest if progress.threshold_count > 0 else smallest.new_tensor(-1.0)
        weights, threshold = self.rule.trained(self.optimiser.weights, smallest)
        sae = SparseAutoencoder(self.config)
        of_concepts = (weights.encoder, weights.decoder, weights.encoder_bias * scale)
        for parameter, value in zip(sae.weights, of_concepts):
            parameter.copy_(self.ranks.concepts.gather(value).rows)
        sae.weights.decoder_bias.copy_(weights.decoder_bias * scale)
        sae.threshold.copy_(threshold.double() * scale)
        return sae


def _level_weights(config: SaeConfig, train: TrainConfig) -> list[float]:
    """[G]"""
    n_levels = len(train.nested_k) or (train.random_prefixes or len(config.levels)) + train.empty_prefix
    return level_weights(train.level_weights, n_levels)

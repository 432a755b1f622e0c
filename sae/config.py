"""What an autoencoder is and how one is trained: two frozen dataclasses, saved as JSON beside every artefact."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from itertools import accumulate
from math import isclose
from typing import Any, Literal, TypeVar, get_args

from .errors import InsightError

PUBLISHED_FRACTIONS = (0.008, 0.03, 0.06, 0.12, 0.24, 0.542)
"""Shares of the dictionary that each Matryoshka level adds (arXiv 2601.13798, published training code)."""

_DEAD_AFTER_TOKENS = 10_000_000
_THRESHOLD_START_STEP = 1_000
_THRESHOLD_BETA = 0.999

Selection = Literal["batch_topk", "topk", "jumprelu", "relu", "gated"]
"""Which pairs of token and concept are active; see `SaeConfig.selection`."""
Inputs = Literal["raw", "unit_norm", "layer_norm"]
"""What is done to a token before it is encoded; see `SaeConfig.inputs`."""

Config = TypeVar("Config", bound="SaeConfig | TrainConfig")


@dataclass(frozen=True)
class SaeConfig:
    """Shape of a sparse autoencoder; by default Matryoshka BatchTopK."""

    dim: int
    """d: width of the features."""
    n_concepts: int
    """m: size of the dictionary."""
    k: int
    """Active concepts per token: exactly as many (`topk`), as many on average (`batch_topk`), or the number that the
    penalty aims at (`jumprelu`, `relu`, `gated`)."""
    fractions: tuple[float, ...] = PUBLISHED_FRACTIONS
    """Share of the dictionary that each level adds, coarse to fine; they sum to 1. `(1.0,)` has no levels."""
    selection: Selection = "batch_topk"
    """Which pairs are active. `batch_topk`: the k n largest of a training batch, afterwards those above one threshold;
    `topk`: the k largest of each token; `jumprelu`: those above a learnt threshold a concept; `relu`: the positive
    ones, under an L1 penalty; `gated`: those that a gate lets through (saved in its exactly equal JumpReLU form)."""
    inputs: Inputs = "raw"
    """What is done to a token before it is encoded, and undone by `forward`: nothing, division by its norm
    (`unit_norm`), or by its standard deviation after subtraction of its mean (`layer_norm`)."""

    def __post_init__(self) -> None:
        _require(self.dim >= 1, "dim", "at least 1", self.dim)
        _require(self.n_concepts >= 1, "n_concepts", "at least 1", self.n_concepts)
        _require(1 <= self.k <= self.n_concepts, "k", f"1 to n_concepts = {self.n_concepts}", self.k)
        _require(self.selection in get_args(Selection), "selection", f"one of {get_args(Selection)}", self.selection)
        _require(self.inputs in get_args(Inputs), "inputs", f"one of {get_args(Inputs)}", self.inputs)
        sums_to_one = bool(self.fractions) and isclose(sum(self.fractions), 1.0) and min(self.fractions) > 0
        _require(sums_to_one, "fractions", "positive shares which sum to 1", self.fractions)
        if min(self._group_sizes()) < 1:
            smallest = min(self.fractions)
            raise InsightError(
                f"SaeConfig: n_concepts = {self.n_concepts} leaves a level of share {smallest} empty; "
                f"take at least {int(1 / smallest) + 1} concepts or other fractions"
            )

    def _group_sizes(self) -> list[int]:
        """Concepts that each level adds: shares rounded down, the last level takes the rest (as published)."""
        sizes = [int(share * self.n_concepts) for share in self.fractions[:-1]]
        return [*sizes, self.n_concepts - sum(sizes)]

    @property
    def levels(self) -> tuple[int, ...]:
        """Prefix sizes of the levels, rising; the last is n_concepts (8,192 gives 65, 310, 801, 1784, 3750, 8192)."""
        return tuple(accumulate(self._group_sizes()))

    @property
    def threshold_per_concept(self) -> bool:
        """Whether each concept has a threshold of its own."""
        return self.selection in ("jumprelu", "gated")

    def to_dict(self) -> dict[str, Any]:
        """JSON form."""
        return {**asdict(self), "fractions": list(self.fractions)}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> SaeConfig:
        """From the JSON form; `InsightError` when keys are missing or unknown."""
        values = _checked_keys(cls, values)
        return cls(**{**values, "fractions": tuple(values.get("fractions", PUBLISHED_FRACTIONS))})


@dataclass(frozen=True)
class TrainConfig:
    """How an autoencoder is trained. Where a default depends on the length of the run it is None; the `resolved_...`
    properties say what None means. The published run is `lr=1e-4, batch_size=16268, rescale=False` and over 100,000
    steps, where every None resolves to the published value."""

    steps: int
    """Training steps."""
    batch_size: int = 4096
    """Tokens per step."""
    lr: float = 2e-3
    """Adam's step size after warm-up. It means the same for all features only when `rescale` is on."""
    seed: int = 0
    """Of the first weights and, unless `data_seed` is given, of the order of the tokens."""
    data_seed: int | None = None
    """Of the order of the tokens. Runs that share a pass over the data share it."""
    warmup_steps: int = 0
    """Steps over which the step size rises linearly to `lr`."""
    decay_steps: int = 0
    """Last steps, over which the step size falls linearly towards 0."""
    rescale: bool = True
    """Divide features by one number, measured on the first batch, so that their mean squared norm is `dim`. It is
    folded back on save: the saved autoencoder takes raw features."""
    aux_coefficient: float = 1 / 32
    """Weight of the auxiliary loss that revives dead concepts, for features of unit mean squared norm (with `rescale`
    it is multiplied by `dim`, as the nested loss is by the features' scale)."""
    dead_after_tokens: int | None = None
    """Tokens without activation after which a concept counts as dead."""
    threshold_start_step: int | None = None
    """The inference threshold is averaged over the steps after this one."""
    threshold_beta: float | None = None
    """Decay per step of that moving average."""
    checkpoint_seconds: float = 30.0
    """Time between checkpoints."""

    def __post_init__(self) -> None:
        _require(self.steps >= 1, "steps", "at least 1", self.steps)
        _require(self.batch_size >= 1, "batch_size", "at least 1", self.batch_size)
        _require(0 < self.lr < float("inf"), "lr", "a positive number", self.lr)
        _require(0 <= self.warmup_steps <= self.steps, "warmup_steps", f"0 to steps = {self.steps}", self.warmup_steps)
        _require(0 <= self.decay_steps <= self.steps, "decay_steps", f"0 to steps = {self.steps}", self.decay_steps)
        _require(0 <= self.aux_coefficient < float("inf"), "aux_coefficient", "0 or more", self.aux_coefficient)
        _require(self.resolved_dead_after_tokens >= 1, "dead_after_tokens", "at least 1", self.dead_after_tokens)
        start = self.resolved_threshold_start_step
        _require(0 <= start < self.steps, "threshold_start_step", f"0 to steps - 1 = {self.steps - 1}", start)
        _require(0 <= self.resolved_threshold_beta < 1, "threshold_beta", "at least 0, below 1", self.threshold_beta)
        _require(self.checkpoint_seconds >= 0, "checkpoint_seconds", "0 or more", self.checkpoint_seconds)

    @property
    def resolved_data_seed(self) -> int:
        """Default: `seed`."""
        return self.seed if self.data_seed is None else self.data_seed

    @property
    def resolved_dead_after_tokens(self) -> int:
        """Default: 10 million (published), or a tenth of all tokens of a shorter run."""
        if self.dead_after_tokens is not None:
            return self.dead_after_tokens
        return max(1, min(_DEAD_AFTER_TOKENS, self.steps * self.batch_size // 10))

    @property
    def resolved_threshold_start_step(self) -> int:
        """Default: 1,000 (published), or half of a run of fewer than 2,000 steps."""
        if self.threshold_start_step is not None:
            return self.threshold_start_step
        return min(_THRESHOLD_START_STEP, self.steps // 2)

    @property
    def resolved_threshold_beta(self) -> float:
        """Default: 0.999 (published), or a memory of a twentieth of a shorter run, which still learns as it ends."""
        if self.threshold_beta is not None:
            return self.threshold_beta
        return min(_THRESHOLD_BETA, max(0.0, 1 - 20 / self.steps))

    def step_size(self, step: int) -> float:
        """Adam's step size at step 0, 1, ...: linear warm-up, constant, linear decay."""
        rise = (step + 1) / self.warmup_steps if self.warmup_steps else 1.0
        fall = (self.steps - step) / self.decay_steps if self.decay_steps else 1.0
        return self.lr * min(1.0, rise, fall)

    def to_dict(self) -> dict[str, Any]:
        """JSON form."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> TrainConfig:
        """From the JSON form; `InsightError` when keys are missing or unknown."""
        return cls(**_checked_keys(cls, values))


def _require(holds: bool, name: str, expected: str, found: object) -> None:
    if not holds:
        raise InsightError(f"{name}: expected {expected}, found {found}")


def _checked_keys(cls: type, values: Any) -> dict[str, Any]:
    known = {field.name for field in fields(cls)}
    if not isinstance(values, dict) or set(values) - known:
        found = sorted(set(values) - known) if isinstance(values, dict) else type(values).__name__
        raise InsightError(f"{cls.__name__}: unknown settings {found}; they were written by another version")
    missing = {"SaeConfig": {"dim", "n_concepts", "k"}, "TrainConfig": {"steps"}}[cls.__name__] - set(values)
    if missing:
        raise InsightError(f"{cls.__name__}: settings {sorted(missing)} are missing")
    return values

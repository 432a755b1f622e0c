"""What an autoencoder is and how one is trained: two frozen dataclasses, saved as JSON beside every artefact."""

from __future__ import annotations

from dataclasses import MISSING, asdict, dataclass, fields
from itertools import accumulate
from math import isclose
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

from .errors import InsightError

PUBLISHED_FRACTIONS = (0.008, 0.03, 0.06, 0.12, 0.24, 0.542)
"""Shares of the dictionary that each Matryoshka level adds (arXiv 2601.13798, published training code)."""

_DEAD_AFTER_TOKENS = 10_000_000
_THRESHOLD_START_STEP = 1_000
_THRESHOLD_BETA = 0.999
_INF = float("inf")

Selection = Literal["batch_topk", "topk", "jumprelu", "relu", "gated"]
"""Which pairs of token and concept are active; see `SaeConfig.selection`."""
Inputs = Literal["raw", "unit_norm", "layer_norm"]
"""What is done to a token before it is encoded; see `SaeConfig.inputs`."""
BiasStart = Literal["geometric_median", "mean", "zero"]
Dictionary = Literal["free", "archetypal"]
LevelWeights = Literal["published", "mean", "sum", "reversed"]
Revival = Literal["auxk", "resample", "none"]

Precision = Literal["float32", "bfloat16"]
"""Of the pre-activations; see `TrainConfig.precision`."""

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
    level_k: tuple[int, ...] = ()
    """If given (`batch_topk`): how many of the k active concepts each level has, of those that it adds; each level has
    a threshold of its own. Without it the coarsest concepts, which are part of every reconstruction, take most of k."""

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

        if self.level_k:
            _require(self.selection == "batch_topk", "level_k", "selection batch_topk beside it", self.selection)
            sizes = self._group_sizes()
            fits = len(self.level_k) == len(sizes) and all(1 <= k <= size for k, size in zip(self.level_k, sizes))
            _require(fits, "level_k", f"a number for each level, of 1 to its size, of {sizes}", self.level_k)
            _require(sum(self.level_k) == self.k, "level_k", f"numbers which sum to k = {self.k}", self.level_k)

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
        return self.selection in ("jumprelu", "gated") or bool(self.level_k)

    def to_dict(self) -> dict[str, Any]:
        """JSON form."""
        return {**asdict(self), "fractions": list(self.fractions), "level_k": list(self.level_k)}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> SaeConfig:
        """From the JSON form; `InsightError` when keys are missing or unknown, or values of another type."""
        return cls(**_from_json(cls, values))


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
    betas: tuple[float, float] = (0.9, 0.999)
    """Adam's memories of gradients and of their squares."""
    max_gradient_norm: float | None = 1.0
    """Gradients of all parameters together are clipped to this norm."""
    accumulate: int = 1
    """A batch is worked through in this many equal parts, each with a selection of its own; gradients are averaged."""

    precision: Precision = "float32"
    """Of the pre-activations. `bfloat16` takes them as the rounded product has them, and saves computing those that are
    chosen again in float32; weights, errors and gradients are float32 in both."""

    # Where training starts.
    rescale: bool = True
    """Divide features by one number, measured on the first batch, so that their mean squared norm is `dim`. It is
    folded back on save: the saved autoencoder takes raw features."""
    bias_start: BiasStart = "geometric_median"
    """First decoder bias: geometric median (published) or mean of the first batch, or zero. `mean` is what others call
    mean-centring: a constant subtracted from all features is a constant in the bias."""
    dictionary: Dictionary = "free"
    """`archetypal`: atoms lie in the hull of data points, up to `archetype_slack` (see `archetypal`)."""
    n_archetypes: int = 1024
    """Those points: k-means centroids of the first batch, or its tokens if they are no more."""
    archetype_slack: float = 0.1
    """How far an atom may leave the hull, as a share of the mean norm of those points."""

    # The loss.
    level_weights: LevelWeights = "published"
    """Weights of G levels' errors: 1/G² each (published), 1/G each (`mean`), 1 each (`sum`), or the share of G, ..., 1
    in their sum (`reversed`: coarse levels weigh most)."""
    empty_prefix: bool = False
    """Count the error of the decoder bias alone as a level of its own."""
    random_prefixes: int = 0
    """If not 0: instead of the config's levels, this many prefixes, drawn anew each step; the last is the whole."""
    nested_k: tuple[int, ...] = ()
    """If given: instead of prefixes, levels are the so many strongest concepts of each token (selection `topk`; rising,
    the last is k)."""
    normalised_loss: bool = False
    """Divide the errors by the batch's variance instead of its number of tokens (a mean of FVU)."""

    # How many concepts are active.
    k_start: int | None = None
    """k of the first step, from which it goes linearly to the config's k ..."""
    k_anneal_steps: int = 0
    """... over so many steps."""
    sparsity_coefficient: float | None = None
    """Weight of the penalty of `jumprelu`, `relu` and `gated`. None: it is adapted until k concepts are active."""
    bandwidth: float = 0.2
    """Width of the band round a threshold in which pairs tell `jumprelu` how to move it, as a share of the first
    threshold."""

    # Concepts that are never active.
    revival: Revival = "auxk"
    """What revives dead concepts: the auxiliary loss, resampling from badly reconstructed tokens, or nothing."""
    aux_coefficient: float = 1 / 32
    """Weight of the auxiliary loss that revives dead concepts, for features of unit mean squared norm (with `rescale`
    it is multiplied by `dim`, as the nested loss is by the features' scale, and by what all levels weigh together)."""
    dead_after_tokens: int | None = None
    """Tokens without activation after which a concept counts as dead."""
    resample_steps: int = 1000
    """Steps between resamplings."""

    # The inference threshold of `batch_topk`, and safety.
    threshold_start_step: int | None = None
    """The inference threshold is averaged over the steps after this one."""
    threshold_beta: float | None = None
    """Decay per step of that moving average."""
    checkpoint_seconds: float = 30.0
    """Time between checkpoints."""

    def __post_init__(self) -> None:
        _require(self.steps >= 1, "steps", "at least 1", self.steps)
        _require(self.batch_size >= 1, "batch_size", "at least 1", self.batch_size)
        _require(0 < self.lr < _INF, "lr", "a positive number", self.lr)
        _require(0 <= self.warmup_steps <= self.steps, "warmup_steps", f"0 to steps = {self.steps}", self.warmup_steps)
        _require(0 <= self.decay_steps <= self.steps, "decay_steps", f"0 to steps = {self.steps}", self.decay_steps)
        betas_hold = len(self.betas) == 2 and all(0 <= beta < 1 for beta in self.betas)
        _require(betas_hold, "betas", "two numbers of at least 0, below 1", self.betas)
        norm = self.max_gradient_norm
        _require(norm is None or norm > 0, "max_gradient_norm", "a positive number or None", norm)
        parts = f"1 to batch_size = {self.batch_size}"
        _require(1 <= self.accumulate <= self.batch_size, "accumulate", parts, self.accumulate)
        for name, choices in _CHOICES.items():
            _require(getattr(self, name) in get_args(choices), name, f"one of {get_args(choices)}", getattr(self, name))
        _require(self.n_archetypes >= 1, "n_archetypes", "at least 1", self.n_archetypes)
        _require(0 <= self.archetype_slack < _INF, "archetype_slack", "0 or more", self.archetype_slack)
        few = 0 <= self.random_prefixes <= 200
        _require(few, "random_prefixes", "0 to 200", self.random_prefixes)
        rising = list(self.nested_k) == sorted(set(self.nested_k)) and min(self.nested_k, default=1) >= 1
        _require(rising, "nested_k", "rising numbers of at least 1", self.nested_k)
        one_kind = not (self.nested_k and (self.random_prefixes or self.empty_prefix))
        _require(one_kind, "nested_k", "no random_prefixes and no empty_prefix beside it", self.nested_k)
        _require(self.k_start is None or self.k_start >= 1, "k_start", "at least 1", self.k_start)
        up_to_end = 0 <= self.k_anneal_steps <= self.steps
        _require(up_to_end, "k_anneal_steps", f"0 to steps = {self.steps}", self.k_anneal_steps)
        coefficient = self.sparsity_coefficient
        _require(coefficient is None or 0 <= coefficient < _INF, "sparsity_coefficient", "0 or more", coefficient)
        _require(0 < self.bandwidth <= 2, "bandwidth", "above 0, at most 2", self.bandwidth)
        _require(0 <= self.aux_coefficient < _INF, "aux_coefficient", "0 or more", self.aux_coefficient)
        _require(self.resolved_dead_after_tokens >= 1, "dead_after_tokens", "at least 1", self.dead_after_tokens)
        _require(self.resample_steps >= 1, "resample_steps", "at least 1", self.resample_steps)
        atoms_are_free = self.dictionary == "free" or self.revival != "resample"
        _require(atoms_are_free, "revival", "another than resample with an archetypal dictionary", self.revival)
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

    def annealed_k(self, step: int, k: int) -> int:
        """The k of step 0, 1, ... on the way from `k_start` to the config's `k`."""
        if self.k_start is None or step >= self.k_anneal_steps:
            return k
        return round(self.k_start + (k - self.k_start) * step / self.k_anneal_steps)

    def fits(self, config: SaeConfig) -> None:
        """`InsightError` where this run is none for an autoencoder of `config`."""
        m = config.n_concepts
        free = self.k_start is None or not config.level_k
        _require(free, "k_start", "None beside level_k", self.k_start)
        _require((self.k_start or 1) <= m, "k_start", f"1 to n_concepts = {m}", self.k_start)
        _require(self.random_prefixes <= m, "random_prefixes", f"0 to n_concepts = {m}", self.random_prefixes)
        if self.nested_k:
            _require(config.selection == "topk", "nested_k", "selection topk beside it", config.selection)
            _require(self.nested_k[-1] == config.k, "nested_k", f"k = {config.k} as its last", self.nested_k)

    def to_dict(self) -> dict[str, Any]:
        """JSON form."""
        return {**asdict(self), "betas": list(self.betas), "nested_k": list(self.nested_k)}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> TrainConfig:
        """From the JSON form; `InsightError` when keys are missing or unknown, or values of another type."""
        return cls(**_from_json(cls, values))


_CHOICES = {
    "precision": Precision,
    "bias_start": BiasStart,
    "dictionary": Dictionary,
    "level_weights": LevelWeights,
    "revival": Revival,
}


def is_default(group: str, name: str, value: Any) -> bool:
    """Whether setting `name` of "sae" or "train", in JSON form, says what its absence said before it existed."""
    kind = {"sae": SaeConfig, "train": TrainConfig}.get(group)
    defaults = {field.name: field.default for field in fields(kind)} if kind else {}
    found = defaults.get(name, MISSING)
    return found is not MISSING and value == (list(found) if isinstance(found, tuple) else found)


def _require(holds: bool, name: str, expected: str, found: object) -> None:
    if not holds:
        raise InsightError(f"{name}: expected {expected}, found {found}")


def _from_json(cls: type, values: Any) -> dict[str, Any]:
    """The arguments of a config from its JSON form, in which tuples are lists."""
    known = {field.name for field in fields(cls)}
    if not isinstance(values, dict) or set(values) - known:
        found = sorted(set(values) - known) if isinstance(values, dict) else type(values).__name__
        raise InsightError(f"{cls.__name__}: unknown settings {found}; they were written by another version")
    missing = {field.name for field in fields(cls) if field.default is MISSING} - set(values)
    if missing:
        raise InsightError(f"{cls.__name__}: settings {sorted(missing)} are missing")
    hints = get_type_hints(cls)
    for name, value in values.items():
        _require(_is_of(value, hints[name]), f"{cls.__name__}.{name}", str(hints[name]), repr(value))
    return {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}


def _is_of(value: Any, hint: Any) -> bool:
    """Whether a value of JSON is of a field's type: a number, a text, a list for a tuple, or one of several types."""
    if get_origin(hint) is tuple:
        return isinstance(value, list | tuple) and all(_is_of(item, get_args(hint)[0]) for item in value)
    if get_origin(hint) is Literal:
        return isinstance(value, str)
    if get_args(hint):
        return any(_is_of(value, one) for one in get_args(hint))
    if isinstance(value, bool) or hint is bool:
        return isinstance(value, bool) and hint is bool
    return isinstance(value, int | float if hint is float else hint)

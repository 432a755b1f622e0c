"""The weight of a sparsity penalty: given, or adapted until k concepts are active per token."""

from __future__ import annotations

from math import exp, log

from ..config import TrainConfig

_SLOWEST = 3e-4
_REACH = 10.0
_LIMIT = 1.0


class Pressure:
    """λ of a penalty, with k meaning the same as for rules that keep the k largest.

    Each step multiplies λ by exp(rate · log(L0 / k)), the logarithm held within ±1: faster the further L0 is off, and
    still where it is right. The slowest rate, 3e-4, is the step of Nabeshima's adaptation toward a target L0
    (specs/insight.md §2); a run of fewer steps than it needs to get anywhere has a higher one, so that λ can change by
    a factor of e^10 over any run.
    """

    def __init__(self, train: TrainConfig, first: float) -> None:
        """`first`: λ to start from, where the settings give none."""
        given = train.sparsity_coefficient
        self.coefficient = first if given is None else given
        self._rate = max(_SLOWEST, _REACH / train.steps) if given is None else 0.0

    def adapt(self, l0: float, k: int) -> None:
        """After a step with `l0` active concepts per token, where `k` are wanted."""
        off = log(l0 / k) if l0 > 0 else -_LIMIT
        self.coefficient *= exp(self._rate * max(-_LIMIT, min(_LIMIT, off)))

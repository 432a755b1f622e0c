"""Every setting of the benchmark `methods`, as data: which arms are run, and what they are held against.

Methods have their defaults but for the number of epochs and the batch, which are what a processor of two cores does in
the time; the same for an arm and its controls. Nothing was chosen on test photographs.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

SEEDS = 3
"""Of methods on frozen features of up to `LARGE` photographs; of all others one."""
DRAW = 0
DRAWS = 1000
"""Of a bootstrap."""

Concepts = Literal["own", "wrong", "random words"]


@dataclass(frozen=True)
class Arm:
    """name: as rows say it; kind: of `insight.methods`; settings: what is not default; fit: of `FitConfig` what is not
    the method's own (None: not trained at all); concepts: of the bank its own, those of another class, or words."""

    name: str
    kind: str
    settings: dict[str, Any] = field(default_factory=dict)
    fit: dict[str, Any] | None = field(default_factory=dict)
    concepts: Concepts = "own"
    control: str | None = None
    """The arm whose figures are taken off this one's."""


ZERO_SHOT = "zero-shot, names"
PROBE = "linear probe"
XCOOP = "xcoop"
NO_ALIGNMENT = "xcoop, λ = 0"
FROZEN = (
    Arm(ZERO_SHOT, "coop", fit=None),
    Arm(PROBE, "probe", control=ZERO_SHOT),
    Arm("coop", "coop", control=ZERO_SHOT),
    Arm("cocoop", "cocoop", fit={"epochs": 3}, control=ZERO_SHOT),
    Arm(NO_ALIGNMENT, "xcoop", {"prompt_weight": 0.0, "token_weight": 0.0}, control=ZERO_SHOT),
    Arm(XCOOP, "xcoop", control=NO_ALIGNMENT),
    Arm("xcoop, whole prompts", "xcoop", {"pairing": "hard"}, control=XCOOP),
    Arm("xcoop, concepts of another class", "xcoop", concepts="wrong", control=XCOOP),
    Arm("xcoop, random words", "xcoop", concepts="random words", control=XCOOP),
)
SMALL_FIT = {"epochs": 20}
FROZEN_FIT = {"epochs": 30, "batch_size": 128}
"""Of all of these; the second on sets of more than `LARGE` training photographs."""
LARGE = 500

BLOCKS = 2
"""Last blocks that are trained: what goes into them is computed once."""
DEAL, PLAIN = "deal", "deal, λ = 0"
_DEAL = {"blocks": BLOCKS}
_NO_MAPS = {**_DEAL, "separation": 0.0, "consistency": 0.0}
TUNED_FIT = {"epochs": 2, "batch_size": 32}
DEALS = (
    Arm("zero-shot by deal's texts", "deal", _DEAL, fit=None),
    Arm("deal, λ = 0, plain captions", "deal", {**_NO_MAPS, "captions": "plain"}, control="zero-shot by deal's texts"),
    Arm(PLAIN, "deal", _NO_MAPS, control="zero-shot by deal's texts"),
    Arm(DEAL, "deal", _DEAL, control=PLAIN),
)
MAPS_PHOTOS = 10
"""Test photographs whose concept maps are looked at."""

ECOR, WHY = "ecor, r→c", "why prompt"
_LORA = {"adapter": "lora", "blocks": BLOCKS}
ECOR_FIT = {"epochs": 6, "batch_size": 32}
ORDERS = ("r->c", "c->r", "independent")
ECORS = (
    *(
        Arm(f"zero-shot, {order.replace('->', '→')}", "ecor", {"adapter": "none", "order": order}, fit=None)
        for order in ORDERS
    ),
    *(
        Arm(
            f"ecor, {order.replace('->', '→')}",
            "ecor",
            {**_LORA, "order": order},
            control="zero-shot, r→c" if order == "r->c" else ECOR,
        )
        for order in ORDERS
    ),
    Arm(WHY, "why", fit={"epochs": 1}, control=ECOR),
)
TRAIN_A_CLASS, TEST_A_CLASS = 50, 30
"""Photographs of CIFAR-10 for methods that train blocks."""
TOP_PAIRS = 5
"""Doubly Right's k."""

JUDGED = (
    *((arm, SMALL_FIT) for arm in FROZEN if arm.name in (ZERO_SHOT, PROBE, "coop", "cocoop", XCOOP)),
    *((arm, TUNED_FIT) for arm in DEALS if arm.name in (PLAIN, DEAL)),
    *((arm, ECOR_FIT) for arm in ECORS if arm.name in (ECOR, WHY)),
)
"""Fitted models that every explainer is asked of, each fitted as in its own part; a concept head stands beside them."""
JUDGED_PHOTOS, JUDGED_CHANGED = 8, 2
"""Melanomas of PH2's test photographs whose maps are held against masks; of these, those whose pixels are changed."""
DEAL_COST = 1.3
"""Claim: seconds of a step over one of plain fine-tuning."""
COST_TOWER, COST_BATCH, COST_ROUNDS = "openclip:ViT-B-32/", 8, 5

"""The methods by their names, each imported when it is asked for."""

from __future__ import annotations

from importlib import import_module

from sae.errors import InsightError

from .fine_tuned import FineTuned

METHODS = {
    "probe": ".probe.LinearProbe",
    "coop": ".coop.CoOp",
    "cocoop": ".cocoop.CoCoOp",
    "xcoop": ".xcoop.XCoOp",
    "deal": ".deal.Deal",
    "why": ".why_prompt.WhyPrompt",
    "ecor": ".ecor.Ecor",
}


def method_class(kind: str) -> type[FineTuned]:
    """The class of a method; `InsightError` for an unknown name."""
    if kind not in METHODS:
        raise InsightError(f"method: expected one of {', '.join(METHODS)}, found {kind!r}")
    module, _, name = METHODS[kind].rpartition(".")
    found: type[FineTuned] = getattr(import_module(module, __package__), name)
    return found

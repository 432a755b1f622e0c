"""Shares as people read them."""

from __future__ import annotations


def percent(share: float | None) -> str:
    """ "12 %", "1.5 %", "0.02 %", with a space that no line breaks at; a dash where it is not known."""
    if share is None:
        return "–"
    number = 100 * share
    return (f"{number:.0f}" if number >= 9.95 or number == 0 else f"{number:.2g}") + "\u00a0%"

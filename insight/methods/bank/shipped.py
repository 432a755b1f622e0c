"""Banks that come with the package: `insight/methods/banks/NAME.json`; its README says what they are."""

from __future__ import annotations

from pathlib import Path

from sae.errors import InsightError

from .concept_bank import ConceptBank

_FOLDER = Path(__file__).parent.parent / "banks"


def shipped_banks() -> list[str]:
    """Names of the banks that come with the package."""
    return sorted(file.stem for file in _FOLDER.glob("*.json"))


def shipped_bank(name: str) -> ConceptBank:
    """The bank of that name; `InsightError` lists the names."""
    if name not in shipped_banks():
        raise InsightError(
            f"expected the name of a bank that comes with the package ({', '.join(shipped_banks())}), found {name!r};"
            " read a file by ConceptBank.read"
        )
    return ConceptBank.read(_FOLDER / f"{name}.json")

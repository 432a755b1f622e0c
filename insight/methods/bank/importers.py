"""Published files of concepts as banks, whichever form they have.

In: JSON of Menon and Vondrick, DEAL, Doubly Right, ViP ("flat"), of Doubly Right's second level ("nested") or of DCP
("graph"). Out: a `ConceptBank`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, TypeAlias

from sae.errors import InsightError

from .concept_bank import ConceptBank
from .reading import read_object

Form: TypeAlias = Literal["flat", "nested", "graph"]
FORMS = (
    '"flat" {class: ["descriptor", ...]}, "nested" {class: [{"concept": ["part of it", ...]}, ...]} or "graph" {class:'
    ' {"nodes": [...], "edges": [...]}}'
)


def import_bank(path: Path | str) -> ConceptBank:
    """Read a file of any form that `form_of` knows.

    flat: as `ConceptBank.read`. nested: the concepts; what is said of them ("long", "metal material") says nothing by
    itself, and is left out. graph: the first node is the class; every node that an edge leads to from it is a concept,
    said with the nodes that lead on from there, in small letters: "olive green body". Edges that lack an end are left
    out. `InsightError` for a file of another form and as of `ConceptBank.of`.
    """
    value = read_object(path)
    form = _form(value, path)
    if form == "nested":
        value = {key: list(_concepts(entry)) for key, entry in value.items()}
    elif form == "graph":
        value = {key: list(_described(entry, f"{path}: class {key!r}")) for key, entry in value.items()}
    return ConceptBank.of(value, place=str(path))


def form_of(path: Path | str) -> Form:
    """Which form a file has; `InsightError` for none, with the first class that fits none, or not the others' one."""
    return _form(read_object(path), path)


def _form(value: Mapping[str, Any], path: Path | str) -> Form:
    form: Form | None = None
    for key, entry in value.items():
        fits = _forms(entry)
        if not fits or (form and form not in fits):
            of_others = f' as the others, "{form}"' if fits and form else ""
            raise InsightError(
                f"{path}: class {key!r}: expected {FORMS}, one form for all{of_others}; found {entry!r:.80}"
            )
        if len(fits) == 1:
            form = fits[0]
    return form or "flat"


def _forms(entry: Any) -> tuple[Form, ...]:
    """Forms that what is said of one class may be; an empty list fits two."""
    if isinstance(entry, list):
        if not entry:
            return "flat", "nested"
        if all(isinstance(said, str) for said in entry):
            return ("flat",)
        nested = all(isinstance(said, dict) and all(isinstance(of, list) for of in said.values()) for said in entry)
        return ("nested",) if nested else ()
    if not isinstance(entry, dict):
        return ()
    if entry.keys() >= {"nodes", "edges"}:
        return ("graph",)
    return ("nested",) if all(isinstance(of, list) for of in entry.values()) else ()


def _concepts(entry: list[dict[str, Any]] | dict[str, Any]) -> Iterator[str]:
    for said in [entry] if isinstance(entry, dict) else entry:
        yield from said


def _described(graph: dict[str, Any], place: str) -> Iterator[str]:
    """The concepts of a class from its graph."""
    try:
        labels = {node["id"]: str(node.get("label", node["id"])) for node in graph["nodes"]}
        edges = [(edge["source"], edge["target"]) for edge in graph["edges"] if {"source", "target"} <= edge.keys()]
    except (TypeError, KeyError, AttributeError):
        raise InsightError(
            f'{place}: expected nodes {{"id", "label"}} and edges {{"source", "target"}}, found others; see {FORMS}'
        ) from None
    root = next(iter(labels), None)
    for source, concept in edges:
        if source == root and concept != root:
            looks = [labels.get(look, str(look)) for at, look in edges if at == concept and look != root]
            yield " ".join([*looks, labels.get(concept, str(concept))]).casefold()

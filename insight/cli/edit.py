"""`insight edit MODEL rename|merge|hide|show|relate|unrelate|list|undo`: a person's corrections of a model."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any, Literal, Union

import tyro

from .options import MaybeText, Model

if TYPE_CHECKING:
    from ..edits import Edit, Edits

Concept = Annotated[int, tyro.conf.Positional, tyro.conf.arg(metavar="CONCEPT", help="Id of a concept.")]
Others = Annotated[
    tuple[int, ...],
    tyro.conf.Positional,
    tyro.conf.arg(metavar="CONCEPT...", help="Ids of other concepts.", help_behavior_hint="(required)"),
]
Child = Annotated[int, tyro.conf.Positional, tyro.conf.arg(metavar="CHILD", help="Id of the concept that belongs.")]
Parent = Annotated[int, tyro.conf.Positional, tyro.conf.arg(metavar="PARENT", help="Id of what it belongs to.")]
Name = Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="NAME", help="Word or phrase, in any language.")]
Number = Annotated[int, tyro.conf.Positional, tyro.conf.arg(metavar="N", help="Number of an edit; see list.")]
Note = Annotated[MaybeText, tyro.conf.arg(help="Why; kept in the file.")]
Command = Callable[[Any], None]  # of `Edits`, which is imported only when a command runs


def rename(concept: Concept, name: Name, /, note: Note = None) -> Command:
    """Call a concept NAME; the name it had becomes an alternative."""
    return lambda edits: _said(edits, edits.rename(concept, name, note=note))


def merge(concept: Concept, others: Others, /, note: Note = None) -> Command:
    """Show several concepts as one, under the name of the first."""
    return lambda edits: _said(edits, edits.merge(concept, *others, note=note))


def hide(concept: Concept, /, note: Note = None) -> Command:
    """Leave a concept out of explanations, lists, search and relations."""
    return lambda edits: _said(edits, edits.hide(concept, note=note))


def show(concept: Concept, /, note: Note = None) -> Command:
    """Show a hidden concept again."""
    return lambda edits: _said(edits, edits.show(concept, note=note))


def relate(child: Child, parent: Parent, /, kind: Literal["kind-of", "part-of"], note: Note = None) -> Command:
    """Let CHILD belong to PARENT, or correct as what it does.

    Args:
        kind: Whether it is a kind of its parent or a part of it.
    """
    return lambda edits: _said(edits, edits.relate(child, parent, kind, note=note))


def unrelate(child: Child, parent: Parent, /, note: Note = None) -> Command:
    """Let CHILD no longer belong to PARENT."""
    return lambda edits: _said(edits, edits.unrelate(child, parent, note=note))


def list_() -> Command:
    """Say every edit in order, where its concepts are now, and which could not be placed."""
    return _list


def undo(number: Number, /) -> Command:
    """Take an edit back: it leaves the file, and those after it stay."""

    def run(edits: Edits) -> None:
        print(f"undone: {_line(edits.undo(number))}")

    return run


SUBCOMMANDS = {f.__name__.rstrip("_"): f for f in (rename, merge, hide, show, relate, unrelate, list_, undo)}
_Chosen: Any = Union[  # noqa: UP007
    tuple(
        Annotated[Any, tyro.conf.subcommand(name, constructor=command, prefix_name=False)]
        for name, command in SUBCOMMANDS.items()
    )
]


def edit(model: Model, subcommand: Annotated[_Chosen, tyro.conf.arg(name="")]) -> None:
    """Correct a model: names, concepts that are one, concepts not worth showing, what belongs to what.

    Edits lie in MODEL/edits.json, apply whenever the model is read, and are carried over when it is built again.

    Example: insight edit model rename 812 "ear of a dog"
    """
    from ..models import own_folder

    folder = own_folder(model)  # that there is none is said before torch is loaded

    from ..edits import Edits

    subcommand(Edits(folder))


def _list(edits: Edits) -> None:
    if not edits.entries:
        print(f"{edits.folder}: no edits; insight edit --help")
        return
    applied = edits.applied()
    for entry in edits.entries:
        moved = [
            f"{anchor.id} is {found.id} now, cosine {found.cosine:.2f}"
            for anchor in dict.fromkeys(entry.concepts)
            if (found := applied.places[anchor]).id not in (None, anchor.id)
        ]
        reason = applied.not_applied.get(entry.number)
        told = [f"not applied: {reason}"] if reason else moved
        print(_line(entry) + (f"\n      {'; '.join(told)}" if told else ""))


def _said(edits: Edits, entry: Edit) -> None:
    concept = edits.applied().concepts[entry.concepts[0].id]
    print(f"{_line(entry)}\n      concept {concept.id}: {concept.title}")


def _line(entry: Edit) -> str:
    concepts = " ".join(str(anchor.id) for anchor in entry.concepts)
    parts = [f"{entry.number:4d}", entry.date or "", entry.action, concepts]
    parts += [f"“{entry.name}”"] if entry.name else []
    parts += [f"--kind {entry.kind}"] if entry.kind else []
    parts += [f"({entry.note})"] if entry.note else []
    return "  ".join(parts[:2]) + "  " + " ".join(parts[2:])

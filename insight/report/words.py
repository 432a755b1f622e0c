"""The figures of a report in sentences, the same in page and picture. In: its values. Out: text, and rows."""

from __future__ import annotations

from ..render.percent import percent
from .values import Activity, Forest, HeadTable, Names, Quality, Report


def fvu_words(quality: Quality) -> str:
    """The unexplained share of the whole dictionary on some patches, and how much is active there."""
    left = quality.fvu[-1] if quality.fvu else None
    over = "" if quality.patches is None else f" ({quality.patches:,} looked at)"
    return (
        f"On {quality.where}{over}, all levels together leave {percent(left)} of the variance unexplained, with"
        f" {quality.l0:.1f} concepts on a patch; {percent(quality.dead)} of the concepts are never active there,"
        f" {percent(quality.dense)} on more than a tenth of the patches."
    )


def activity_words(activity: Activity) -> str:
    """Where it was counted, and how many concepts never are active or nearly always."""
    if activity.patches is None:
        return f"Counted on training patches. {activity.never:,} concepts were never active."
    never = f"{activity.never:,} concepts are active on none" if activity.never else "Every concept is active somewhere"
    dense = f"{len(activity.dense):,} are dense: active on more than a tenth of them"
    return (
        f"Counted on the {activity.patches:,} patches that the model was related on. {never}; {dense}. On a patch"
        f" {activity.l0 or 0:.1f} concepts are active on average (L0)."
    )


def names_words(names: Names) -> str:
    """How many have a name, how many different ones, how many of them are expected to be right, how stable they are."""
    said = [
        f"Of {names.concepts:,} concepts that are ever active {names.named:,} have a name"
        f" ({percent(names.named / max(names.concepts, 1))}), {names.different:,} of the names are different."
    ]
    if names.by_person:
        said.append(f"{names.by_person:,} were given by a person.")
    if names.least is not None:
        said.append(f"A name is given from a confidence of {names.least:g} on; the other concepts are numbers.")
    if names.expected_right is not None:
        said.append(
            f"If the confidences are right, so are {percent(names.expected_right)} of the names"
            f" (their mean confidence)."
        )
    if names.stability is not None:
        said.append(
            f"Stability: a quarter of the concept's photographs alone leads to the same name in"
            f" {percent(names.stability)} of cases."
        )
    return " ".join(said)


def tree_words(tree: Forest) -> str:
    """How many trees and edges there are."""
    return (
        f"{tree.n_concepts:,} concepts stand in {tree.n_trees:,} trees, {tree.alone:,} alone. Direct edges:"
        f" {_edges(tree)}. {tree.beside:,} pairs stand beside each other. A concept is listed once, under the surest of"
        " its parents; its other parents are named behind it."
    )


def head_words(head: HeadTable) -> str:
    """What a head is worth and how many concepts it uses."""
    used = f"{head.concepts:,} concepts have a weight for any of {len(head.classes):,} classes"
    if head.accuracy is None:
        return f"{used}. No held-out accuracy is stored with it."
    error = "" if head.standard_error is None else f" ± {100 * head.standard_error:.1f} % (standard error)"
    return (
        f"{used}. On {head.held_out:,} images held out {100 * head.accuracy:.1f} %{error} were classified rightly; the"
        " penalty was chosen on them, so that is a little high."
    )


def table(report: Report) -> list[tuple[str, str]]:
    """The facts and the main figures as rows."""
    rows = list(report.facts.items())
    if report.names is not None:
        names = report.names
        rows.append(("named", f"{names.named:,} of {names.concepts:,}, {names.different:,} different"))
        rows.append(("mean confidence", percent(names.expected_right)))
    if report.tree is not None:
        tree = report.tree
        rows.append(("trees", f"{tree.n_trees:,} of {tree.n_concepts:,} concepts; {tree.alone:,} alone"))
        rows.append(("direct edges", _edges(tree)))
    for head in report.heads:
        worth = "" if head.accuracy is None else f", {100 * head.accuracy:.1f} % right of {head.held_out:,} held out"
        rows.append((head.kind, f"{head.place}: {len(head.classes):,} classes, {head.concepts:,} concepts{worth}"))
    if report.edits:
        left_out = sum(edit.reason is not None for edit in report.edits)
        rows.append(("edits", f"{len(report.edits):,}, {left_out:,} not applied"))
    return rows


def _edges(tree: Forest) -> str:
    return ", ".join(f"{count:,} {kind}" for kind, count in tree.edges.items())

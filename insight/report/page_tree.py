"""The concept tree as nested lists that fold, coarse to fine. In: a `Forest`. Out: markup."""

from __future__ import annotations

from collections.abc import Sequence

from naming.relations.edges import VERBS

from ..render.markup import bullets, folded, paragraph, text
from ..render.percent import percent
from .values import Forest, Node
from .words import tree_words

OPEN, ALIKE = 1, 3
"""Trees that are open at first, and concepts of one name that are folded together."""


def tree_section(tree: Forest) -> str:
    """The trees that are shown, then how large the others are."""
    trees = "".join(
        f"<div class=tree>{_folding(root, opened=place < OPEN)}</div>" for place, root in enumerate(tree.trees)
    )
    found = paragraph(tree_words(tree), soft=True) + trees
    if tree.n_trees > len(tree.trees):
        rest = tree.n_trees - len(tree.trees)
        listed = [f"{title}: {size:,} concepts" for title, size in tree.sizes]
        more = [f"and {rest - len(listed):,} smaller trees"] if rest > len(listed) else []
        found += folded(f"{rest:,} smaller trees are not shown", bullets([*listed, *more]))
    return found


def _folding(node: Node, *, opened: bool = False) -> str:
    if not node.children:
        return _line(node)
    items = "".join(f"<li>{_folding(child)}</li>" for child in node.children if child.children)
    items += _leaves([child for child in node.children if not child.children])
    hidden = node.below - sum(1 + child.below for child in node.children)
    items += f"<li class='leaf more'>and {hidden:,} more below it</li>" if hidden else ""
    return f"<details{' open' if opened else ''}><summary>{_line(node)}</summary><ul>{items}</ul></details>"


def _leaves(nodes: Sequence[Node]) -> str:
    """Concepts with nothing below; three and more of one name, or without one, fold into one line."""
    by_title: dict[str, list[Node]] = {}
    for node in sorted(nodes, key=lambda node: not node.named):
        by_title.setdefault(node.title if node.named else "without a name", []).append(node)
    found = ""
    for title, group in by_title.items():
        lines = "".join(f"<li class=leaf>{_line(node)}</li>" for node in group)
        if len(group) < ALIKE:
            found += lines
        else:
            summary = f"<b>{text(title)}</b> <span class=more>{len(group):,} concepts</span>"
            found += f"<li><details><summary>{summary}</summary><ul>{lines}</ul></details></li>"
    return found


def _line(node: Node) -> str:
    """The name, what it is to the concept above, how sure, where from, and its other parents."""
    parts = [f"level {node.level}", f"on {percent(node.share)} of patches"]
    if node.kind:
        parts.insert(0, VERBS[node.kind] + " it")
    if node.named and node.confidence is not None:
        parts.append(f"sure {node.confidence:.0%}")
    if node.below:
        parts.append(f"{node.below:,} below" + ("" if node.children else ", not shown"))
    if node.also:
        others = [f"{VERBS[kind]} {title}" for kind, title in node.also[:3]]
        parts.append("also " + ", ".join(others) + (f" and {len(node.also) - 3} others" if len(node.also) > 3 else ""))
    if node.same:
        more = f" and {len(node.same) - 3} others" if len(node.same) > 3 else ""
        parts.append("the same as " + ", ".join(node.same[:3]) + more)
    mark = " <span class=mark>edited</span>" if node.edited else ""
    name = f"<b>{text(node.title)}</b>" if node.named else f"<b class=number>{text(node.title)}</b>"
    return f"{name}{mark} <span class=more>{text(' · '.join(parts))}</span>"

"""Small pieces of HTML. Everything that comes in as text is escaped here; what goes out is markup."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence


def text(value: object) -> str:
    """Text as markup: no name can become an element or an attribute."""
    return html.escape(str(value), quote=True)


def paragraph(words: str, *, soft: bool = False) -> str:
    return f"<p{' class=soft' if soft else ''}>{text(words)}</p>"


def bullets(lines: Iterable[str]) -> str:
    return f"<ul>{''.join(f'<li>{text(line)}</li>' for line in lines)}</ul>"


def facts(rows: Iterable[tuple[str, str]]) -> str:
    """A table of two columns: what, and what it is."""
    lines = "".join(f"<tr><th scope=row>{text(name)}</th><td>{text(value)}</td></tr>" for name, value in rows)
    return f"<table><tbody>{lines}</tbody></table>"


def grid(heads: Sequence[str], rows: Iterable[Sequence[str]], label: str, *, numbers: Sequence[int] = ()) -> str:
    """A table with a head; `numbers`: columns set to the right. It scrolls by itself where the page is narrow."""
    right = ["class=n" if place in numbers else "" for place in range(len(heads))]
    top = "".join(f"<th scope=col {kind}>{text(head)}</th>" for head, kind in zip(heads, right))
    lines = "".join(
        f"<tr>{''.join(f'<td {kind}>{text(value)}</td>' for value, kind in zip(row, right))}</tr>" for row in rows
    )
    table = f"<table><thead><tr>{top}</tr></thead><tbody>{lines}</tbody></table>"
    return f'<div class=wide tabindex=0 role=region aria-label="{text(label)}">{table}</div>'


def figure(address: str, alt: str, caption: str) -> str:
    return f'<figure><img src="{text(address)}" alt="{text(alt)}"><figcaption>{text(caption)}</figcaption></figure>'


def folded(summary: str, inside: str) -> str:
    """Markup that is opened by a click; `summary` is text."""
    return f"<details><summary>{text(summary)}</summary>{inside}</details>"

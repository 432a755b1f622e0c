"""A report to a file: a page, a picture or JSON, whole or not at all."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from sae.files import atomic_write, write_json

from .page import report_page
from .picture import draw_report
from .values import Report

Format = Literal["html", "png", "json"]


def write_report(report: Report, path: Path | str, form: Format) -> None:
    """Write the report. The three forms hold the same facts; the picture has the fewest."""
    if form == "json":
        write_json(path, report.to_dict())
        return
    with atomic_write(path) as temporary:
        if form == "html":
            temporary.write_text(report_page(report), encoding="utf-8")
        else:
            draw_report(report, temporary)

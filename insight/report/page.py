"""A report as one HTML page that asks for nothing: no script, no request, figures and crops inside it.

In: a `Report`. Out: the page as text. Every name in it is escaped.
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib.resources import files

from ..render.markup import bullets, facts, figure, folded, grid, paragraph, text
from ..render.percent import percent
from .figures import as_data_uri, draw_activity, draw_confidence, draw_fvu
from .page_parts import cards_section, edits_section, head_section
from .page_tree import tree_section
from .values import Activity, Names, Quality, Report
from .words import activity_words, fvu_words, names_words

DENSE_LISTED = 40


def report_page(report: Report) -> str:
    """The page. Parts that the model does not have are left out; what is missing is said on top."""
    sections = list(_sections(report))
    links = "".join(f'<a href="#part-{n}">{text(title)}</a>' for n, (title, _) in enumerate(sections, start=1))
    parts = "".join(
        f'<section aria-labelledby="part-{n}"><h2 id="part-{n}">{text(title)}</h2>{inside}</section>'
        for n, (title, inside) in enumerate(sections, start=1)
    )
    about = report.facts.get("backbone", report.facts.get("dictionary", ""))
    top = f"<header><h1>The concepts of {text(report.name)}</h1>{paragraph(about, soft=True)}</header>"
    missing = bullets(report.missing) if report.missing else ""
    body = f'{top}<nav aria-label="Parts of this report">{links}</nav>{missing}{parts}'
    template = files("insight.report").joinpath("page.html").read_text(encoding="utf-8")
    head, tail = template.replace("@TITLE@", text(f"The concepts of {report.name}"), 1).split("@BODY@")
    return head + body + tail


def _sections(report: Report) -> Iterator[tuple[str, str]]:
    yield "What this model is", _card(report)
    if report.quality:
        yield "How much the concepts explain", _explained(report)
    if report.activity:
        yield "How often concepts are active", _active(report.activity)
    if report.names:
        yield "How sure names are", _named(report.names)
    if report.tree:
        yield "The concept tree", tree_section(report.tree)
    if report.cards:
        yield "Where concepts stand", cards_section(report.cards)
    if report.heads:
        said = paragraph(
            "A weight is what an activation of 1 adds to the logit of the class; a concept that is never strong matters"
            " less than its weight says.",
            soft=True,
        )
        yield "Heads", said + "".join(map(head_section, report.heads))
    if report.edits:
        yield "What a person changed", edits_section(report.edits)
    if report.cache:
        yield "The cache", facts(report.cache.items())


def _card(report: Report) -> str:
    found = facts(report.facts.items()) + "<h3>What it does not prove</h3>" + bullets(report.limits)
    if report.card:
        card = "".join(
            f"<h3>{text(section.title)}</h3>"
            + (paragraph(section.lines[0]) if len(section.lines) == 1 else bullets(section.lines))
            for section in report.card
        )
        found += folded("The model's card (card.json)", card)
    if report.readme:
        found += folded("The model's README.md", f"<pre>{text(report.readme)}</pre>")
    return found


def _explained(report: Report) -> str:
    rows = []
    for level in report.levels:
        shares = [_share(quality, level.number) for quality in report.quality]
        known = [("–" if count is None else f"{count:,}") for count in (level.silent, level.named)]
        rows.append((str(level.number), f"{level.concepts:,}", *shares, *known))
    where = [f"FVU, {quality.where}" for quality in report.quality]
    heads = ("level", "concepts", *where, "never active", "named")
    drawn = as_data_uri(lambda axes: draw_fvu(axes, report.quality))
    alt = "Bars: the fraction of variance unexplained, level by level. The table has the same numbers."
    caption = "Fraction of variance unexplained (FVU) with all levels up to this one; lower is better."
    table = grid(heads, rows, "Levels", numbers=range(len(heads)))
    said = "".join(paragraph(fvu_words(quality)) for quality in report.quality)
    return f"<div class=beside><div>{said}{table}</div>{figure(drawn, alt, caption)}</div>"


def _share(quality: Quality, level: int) -> str:
    share = quality.fvu[level] if level < len(quality.fvu) else None
    return "–" if share is None else f"{share:.3f}"


def _active(activity: Activity) -> str:
    drawn = as_data_uri(lambda axes: draw_activity(axes, activity))
    alt = (
        f"Histogram of how often concepts are active. {activity.never} are never active, {len(activity.dense)} dense."
    )
    said = paragraph(activity_words(activity))
    if activity.dense:
        rows = [(str(number), title, percent(share)) for number, title, share in activity.dense[:DENSE_LISTED]]
        table = grid(("concept", "name", "of patches"), rows, "Dense concepts", numbers=(0, 2))
        more = len(activity.dense) - DENSE_LISTED
        rest = paragraph(f"and {more:,} more", soft=True) if more > 0 else ""
        said += folded(f"The {len(activity.dense):,} dense concepts", table + rest)
    caption = "Logarithmic: four bins a decade. Concepts that are never active are in none."
    return f"<div class=beside><div>{said}</div>{figure(drawn, alt, caption)}</div>"


def _named(names: Names) -> str:
    drawn = as_data_uri(lambda axes: draw_confidence(axes, names))
    alt = (
        f"Histogram of confidence: {sum(names.named_counts)} names that are given, and {sum(names.guessed_counts)}"
        " guesses that are not."
    )
    caption = "Names that a person gave have no confidence and are in no bin."
    return f"<div class=beside><div>{paragraph(names_words(names))}</div>{figure(drawn, alt, caption)}</div>"

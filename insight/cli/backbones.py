"""`insight backbones`: which encoders there are, how large, and which are here already."""

from typing import Annotated, Any

import tyro

from .options import Flag

Words = Annotated[
    tyro.conf.Positional[tuple[str, ...]],
    tyro.conf.arg(
        metavar="[WORD...]", help="Parts of a name: siglip, timm dinov2, openclip ViT-L.", help_behavior_hint=""
    ),
]
MEASURED = 40
"""Models whose shape is built for their size, at most: up to a second each."""


def backbones(words: Words = (), /, json: Flag = False) -> None:
    """List the encoders whose name has all the WORDs in it; without one `small` and those that are on this machine.

    Each name is for --backbone. Nothing is downloaded and no network is asked.

    Example: insight backbones timm dinov2

    Args:
        json: Print everything as one JSON object.
    """
    from json import dumps

    from sae.errors import InsightError

    from ..backbones.catalogue import describe, find

    names = find(" ".join(words))
    if not names:
        raise InsightError(f"no encoder has {' and '.join(words)} in its name; insight backbones openclip lists many")
    if words:
        entries = [describe(name, measured=len(names) <= MEASURED) for name in names]
    else:
        here = [name for name in names if name.kind == "small" or describe(name, measured=False).here]
        entries = [describe(name, measured=len(here) <= MEASURED) for name in here]
    counts = {kind: sum(name.kind == kind for name in names) for kind in ("openclip", "timm")}
    if json:
        found: dict[str, Any] = {"backbones": [entry.to_dict() for entry in entries]}
        print(dumps(found if words else found | {"known": counts}, indent=1, ensure_ascii=False))
        return
    _print_table([_row(entry) for entry in entries])
    if words and len(names) > MEASURED:
        print(f"\n{len(names):,} encoders; sizes in MB are worked out for up to {MEASURED}: add a word")
    if not words:
        print(
            f"\nand {counts['openclip']:,} of open_clip and {counts['timm']:,} of timm, fetched when first used:"
            " insight backbones WORD... lists those with the words in their name"
            "\nbehind any name: +dino, @BLOCK; behind an openclip name: +tokens, +sclip, +clearclip, +dinoiser"
        )


def _row(entry: Any) -> tuple[str, ...]:
    height, width = entry.grid or ("?", "?")
    return (
        entry.name,
        str(entry.dim or "?"),
        f"{height} × {width}",
        str(entry.image_size or "?"),
        "yes" if entry.text else "no",
        f"{entry.megabytes:,}" if entry.megabytes else "?",
        f"in {entry.kept_by}" if entry.here else "not here",
        entry.licence,
    )


def _print_table(rows: list[tuple[str, ...]]) -> None:
    table = [("name", "values", "patches", "pixels", "text", "MB", "weights", "licence"), *rows]
    widths = [max(len(row[column]) for row in table) for column in range(len(table[0]))]
    right = {1, 3, 5}
    for row in table:
        cells = (f"{t:>{w}}" if i in right else f"{t:<{w}}" for i, (t, w) in enumerate(zip(row, widths)))
        print("  ".join(cells).rstrip())

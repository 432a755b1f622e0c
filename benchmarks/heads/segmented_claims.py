"""What `benchmarks.segmentation` may claim, computed from its rows."""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.heads.claim import Claim, Row, claim, find
from benchmarks.heads.segmented import AROUND, OPAQUE, OPEN, TRAINED
from benchmarks.heads.segmented_rows import FIGURE
from benchmarks.heads.settings import OPEN_SHARE, OURS, TRAINED_SHARE

TARGETS = {TRAINED: TRAINED_SHARE, AROUND: TRAINED_SHARE, OPEN: OPEN_SHARE}


def claims_of(rows: Sequence[Row]) -> list[Claim]:
    """Ours over the opaque features, set by set; and the mIoU of all."""
    claims = []
    for row in find(rows, by=OURS, against=OPAQUE):
        what = f"{row['data']}, {row['how']}: {FIGURE} of ours over that of {OPAQUE}"
        claims.append(claim(what, row, "times", least=TARGETS[row["how"]]))
    for row in find(rows, figure=FIGURE):
        if row["against"] != OPAQUE:
            null = f", {row['against']}" if row["against"] else ""
            claims.append(claim(f"{row['data']}, {row['how']}: {FIGURE}, {row['by']}{null}", row, None))
    return claims

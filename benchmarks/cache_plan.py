"""A plan on paper for a cache of millions of images: bytes, hours, ranks, from what `benchmarks.cache_io` measured.

`python -m benchmarks.cache_plan RECORD [--images N] [--tokens T] [--dim D] [--images-per-s S]`: S is how many images a
second one rank encodes; without it, what the record measured. Hours to encode are images / (3600 S ranks).
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

from insight.cache.format.dtypes import DTYPES
from insight.cache.format.shard import Form
from sae.files import read_json

Row = dict[str, Any]
IMAGES, TOKENS, DIM = 11_000_000, 196, 512
GB_PER_S = (0.2, 1.0, 5.0)
"""Stated speeds of disks: a network's, a SATA disk's twice over, an NVMe disk's."""
HOURS = 24
"""In which all should be encoded."""


def bytes_per_image(tokens: int, dim: int, dtype: str) -> int:
    """What an image takes in shards: vectors, scales, image vector, checks."""
    kinds = Form(tokens, dim, dtype).tensors(1).values()
    return sum(math.prod(shape) * kind.itemsize for kind, shape in kinds)


def plan(
    rows: Sequence[Row], images: int = IMAGES, tokens: int = TOKENS, dim: int = DIM, images_per_s: float | None = None
) -> list[Row]:
    """A row a dtype. Speeds are medians over the rounds of the measured rows, null where nothing was measured.

    write_hours, read_hours (cold): at the measured MB/s; encode_rank_hours: of one rank; ranks: to encode in a day.
    """
    speed = images_per_s or _median([row["images_per_s"] for row in rows if row["part"] == "encode"])
    made = []
    for dtype in DTYPES:
        size = images * bytes_per_image(tokens, dim, dtype)
        written, read = (
            _median([row["mb_per_s"] for row in rows if _is_ours(row, dtype, part, state)])
            for part, state in (("write", None), ("read", "cold"))
        )
        rank_hours = images / speed / 3600 if speed else None
        made.append(
            {
                "part": "plan",
                "dtype": dtype,
                "images": images,
                "tokens": images * tokens,
                "dim": dim,
                "terabytes": size / 1e12,
                "write_hours": size / 3.6e9 / written if written else None,
                "read_hours": size / 3.6e9 / read if read else None,
                "read_hours_at_gb_per_s": {str(stated): size / 3.6e12 / stated for stated in GB_PER_S},
                "images_per_s_of_a_rank": speed,
                "encode_rank_hours": rank_hours,
                "ranks": math.ceil(rank_hours / HOURS) if rank_hours else None,
            }
        )
    return made


def _is_ours(row: Row, dtype: str, part: str, state: str | None) -> bool:
    key = (row["part"], row.get("loader"), row.get("dtype"), row.get("state"))
    return key == (part, "insight", dtype, state) and "error" not in row


def _median(values: Sequence[float]) -> float | None:
    return median(values) if values else None


def show(row: Row) -> None:
    def hours(value: float | None) -> str:
        return f"{value:8.1f} h" if value else "       ?  "

    at = ", ".join(f"{speed} GB/s {value:.1f} h" for speed, value in row["read_hours_at_gb_per_s"].items())
    print(
        f"{row['dtype']:9} {row['terabytes']:6.3f} TB  write {hours(row['write_hours'])}  epoch"
        f" {hours(row['read_hours'])} ({at})  encode {hours(row['encode_rank_hours'])} of a rank, {row['ranks']} ranks"
    )


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("record", type=Path)
    parser.add_argument("--images", type=int, default=IMAGES)
    parser.add_argument("--tokens", type=int, default=TOKENS)
    parser.add_argument("--dim", type=int, default=DIM)
    parser.add_argument("--images-per-s", type=float)
    options = parser.parse_args(arguments)
    rows = read_json(options.record)["rows"]
    for row in plan(rows, options.images, options.tokens, options.dim, options.images_per_s):
        show(row)


if __name__ == "__main__":
    main()

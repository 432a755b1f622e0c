"""Caches made by hand, without the writer: what an attacker could put into a folder, with sizes and checksums that fit.

`python -m tests.insight.cache.forged MEGABYTES FOLDER ...` reads all of each cache in a process that may take so much
more address space than it has when it begins, and prints, a line each, what came of it and how many MB it took.
"""

import hashlib
import json
import resource
import struct
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from torch import Tensor

from insight.cache import FeatureCache
from insight.cache.format.dtypes import pack
from insight.cache.format.index import OF_IMAGES, OF_SKIPPED
from insight.cache.format.shard import Form, with_checks, write_shard

ROWS = (3, 2)
"""Images of each shard."""
IMAGES = sum(ROWS)
GRID, DIM = (2, 3), 4
CLASSES = ("sky", "sea")


def make(folder: Path, dtype: str = "float32", tokens: int = 6, classes: tuple[str, ...] = ()) -> dict[str, Any]:
    """A cache of five images in two shards and one that gave no features; returns its manifest."""
    form = Form(tokens, DIM, dtype, tokens < 6, bool(classes))
    folder.mkdir(parents=True, exist_ok=True)
    for number, rows in enumerate(ROWS):
        write_shard(folder / shard_name(number), with_checks(tensors_of(form, rows, number), form))
    write_table(folder / "index.parquet", index_columns(), OF_IMAGES)
    write_table(folder / "skipped.parquet", {"id": ["bad"], "source": ["photos"], "reason": ["empty"]}, OF_SKIPPED)
    manifest = {
        "format": "insight-cache",
        "format_version": 2,
        "counts": {"images": IMAGES, "tokens": IMAGES * tokens},
        "backbone": {
            "name": "none",
            "description": "",
            "fingerprint": "0" * 64,
            "dim": DIM,
            "grid": list(GRID),
            "image_size": 28,
        },
        "dtype": dtype,
        "tokens_per_image": tokens,
        "classes": list(classes),
        "shards": [{"file": shard_name(number), "rows": rows} for number, rows in enumerate(ROWS)],
        "index": {"file": "index.parquet", "rows": IMAGES},
        "skipped": {"file": "skipped.parquet", "rows": 1},
        "sources": [{"name": "photos", "kind": "folder", "place": "/photos"}],
        "settings": {"shard_images": 3},
    }
    sign(folder, manifest)
    return manifest


def tensors_of(form: Form, rows: int, seed: int) -> dict[str, Tensor]:
    """The tensors of a shard, without checks."""
    rng = np.random.default_rng(seed)
    stored, scales = pack(torch.from_numpy(rng.standard_normal((rows, form.tokens, form.dim), np.float32)), form.dtype)
    tensors = {"patches": stored, "pooled": torch.from_numpy(rng.standard_normal((rows, form.dim), np.float32))}
    if scales is not None:
        tensors["scales"] = scales
    if form.has_positions:
        places = np.sort([rng.permutation(GRID[0] * GRID[1])[: form.tokens] for _ in range(rows)], axis=1)
        tensors["positions"] = torch.from_numpy(places.astype(np.int32))
    if form.has_classes:
        tensors["classes"] = torch.from_numpy(rng.integers(-1, len(CLASSES), (rows, form.tokens), np.int16))
    return tensors


def index_columns() -> dict[str, list[Any]]:
    """The index of the five images."""
    ids = [f"{number}.png" for number in range(IMAGES)]
    places = {"shard": [0, 0, 0, 1, 1], "row": [0, 1, 2, 0, 1]}
    return {
        "id": ids,
        "source": ["photos"] * IMAGES,
        "label": ["a", None, "b", "a", "a"],
        "split": [None] * 5,
        **places,
    }


def write_table(path: Path, columns: dict[str, list[Any]], schema: pa.Schema, **settings: Any) -> None:
    """A parquet file as pyarrow writes it with these settings."""
    loose = pa.schema([pa.field(field.name, field.type) for field in schema])
    pq.write_table(pa.table(columns, schema=loose), path, **settings)


def shard_name(number: int) -> str:
    return f"shard-{number:05d}.safetensors"


def sign(folder: Path, manifest: dict[str, Any]) -> None:
    """Enter the sizes and checksums that the files have indeed, and write the manifest."""
    for entry in (*manifest["shards"], manifest["index"], manifest["skipped"]):
        content = (folder / entry["file"]).read_bytes()
        entry |= {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    (folder / "manifest.json").write_text(json.dumps(manifest))


def rewrite_header(path: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    """Change the JSON header of a shard; the tensors stay where they are."""
    content = path.read_bytes()
    length = struct.unpack("<Q", content[:8])[0]
    header = json.loads(content[8 : 8 + length])
    header = change(header) or header
    text = (header if isinstance(header, str) else json.dumps(header)).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + content[8 + length :])


def change_tensors(path: Path, form: Form, change: Callable[[dict[str, Tensor]], None]) -> None:
    """Change the tensors of a shard in place of their checks, which are made anew."""
    from safetensors.torch import load_file

    tensors = load_file(path)
    del tensors["checks"]
    change(tensors)
    write_shard(path, with_checks(tensors, form))


def read_everything(folder: Path) -> dict[str, Any]:
    """All that a reader gives of a cache: `InsightError`, or what it read."""
    cache = FeatureCache.open(folder, shuffle_memory=4096)
    batches = cache.batches(4, seed=0)
    next(batches)
    batches.close()  # type: ignore[attr-defined]
    found = {
        "tokens": torch.cat([features for _, features in cache.scan()]),
        "pooled": cache.pooled(),
        "positions": cache.positions(),
        "image": cache.image(0),
        "place": cache.locate(cache.n_tokens - 1),
        "labels": cache.labels,
        "ids": cache.index["id"].to_pylist(),
        "skipped": cache.skipped.to_pylist(),
        "grid": cache.grid,
        "classes": cache.classes,
    }
    if cache.classes:
        found["patch_classes"] = cache.patch_classes()
    cache.verify()
    return found


def limit_memory(megabytes: int) -> None:
    """Let this process take so much more address space than it has now."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    most = pages * resource.getpagesize() + (megabytes << 20)
    resource.setrlimit(resource.RLIMIT_AS, (most, resource.getrlimit(resource.RLIMIT_AS)[1]))


def main() -> None:
    limit_memory(int(sys.argv[1]))
    torch.set_num_threads(1)
    for folder in map(Path, sys.argv[2:]):
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # the peak is now what there is
        before = _resident_mb("VmRSS")
        try:
            read_everything(folder)
            outcome = "read"
        except BaseException as error:
            outcome = f"{type(error).__name__}: {error}"
        print(json.dumps([outcome, _resident_mb("VmHWM") - before]))


def _resident_mb(name: str) -> float:
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(name))


if __name__ == "__main__":
    main()

"""What reading a cache comes to: what other libraries read in it, or a refusal in one line."""

import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import load_file

from sae.errors import InsightError

from ..forged import read_everything


def by_hand(folder: Path) -> dict[str, Any]:
    """What a cache holds, read by other libraries."""
    manifest = json.loads((folder / "manifest.json").read_text())
    shards = [load_file(folder / shard["file"]) for shard in manifest["shards"]]
    t = manifest["tokens_per_image"]
    tokens = [shard["patches"].float().view(-1, manifest["backbone"]["dim"]) for shard in shards]
    if manifest["dtype"] == "int8":
        tokens = [x * shard["scales"].view(-1, 1) for x, shard in zip(tokens, shards, strict=True)]
    every = torch.arange(t, dtype=torch.int32).repeat(sum(len(shard["pooled"]) for shard in shards), 1)
    index = pq.read_table(folder / manifest["index"]["file"])
    found = {
        "tokens": torch.cat(tokens),
        "pooled": torch.cat([shard["pooled"] for shard in shards]),
        "positions": torch.cat([shard["positions"] for shard in shards]) if "positions" in shards[0] else every,
        "image": torch.cat(tokens)[:t],
        "labels": index["label"].to_pylist(),
        "ids": index["id"].to_pylist(),
        "skipped": pq.read_table(folder / manifest["skipped"]["file"]).to_pylist(),
        "grid": tuple(manifest["backbone"]["grid"]),
        "classes": tuple(manifest["classes"]),
    }
    if manifest["classes"]:
        found["patch_classes"] = torch.cat([shard["classes"] for shard in shards])
    patch = int(found["positions"][-1, -1])
    return found | {"place": (len(found["pooled"]) - 1, *divmod(patch, found["grid"][1]))}


def is_read_or_refused(folder: Path) -> bool:
    """Whether the cache is read, and then as other libraries read it. What is neither fails the test."""
    try:
        found = read_everything(folder)
    except InsightError as error:
        complaint = str(error)
        assert "\n" not in complaint
        assert len(complaint) < 1000
        complaint.encode()
        return False
    expected = by_hand(folder)
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        same = torch.equal(found[name].nan_to_num(7), value.nan_to_num(7)) if name in _FLOATS else None
        assert same if same is not None else _plain(found[name]) == _plain(value), name
    positions = found["positions"]
    assert ((positions >= 0) & (positions < found["grid"][0] * found["grid"][1])).all()
    return True


_FLOATS = {"tokens", "pooled", "image"}


def _plain(value: Any) -> Any:
    return value.tolist() if isinstance(value, torch.Tensor) else value


def refused(folder: Path) -> str:
    """Why the cache is refused."""
    with pytest.raises(InsightError) as caught:
        read_everything(folder)
    return str(caught.value)

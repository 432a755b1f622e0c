"""Converting caches: each number is rounded once, everything else is carried over, damage is not."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import torch

from insight.cache import FeatureCache, convert_cache, sample_cache
from insight.cache.derived import rewrite
from sae.errors import InsightError

from ..random_cache import CLASSES, GRID, fresh, lines, random_cache, same_images


@pytest.mark.parametrize("source", ["float32", "int8", "float16"])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16", "int8"])
def test_a_conversion_rounds_each_number_once(tmp_path: Path, source: str, dtype: str) -> None:
    old = random_cache(tmp_path / "old", dtype=source, tokens=70, classes=CLASSES, seed=fresh())
    if source == dtype:
        with pytest.raises(InsightError, match=f"expected a cache of another dtype, found {dtype}"):
            convert_cache(old.folder, tmp_path / "new", dtype)
        return
    new = convert_cache(old.folder, tmp_path / "new", dtype)
    new.verify()
    assert new.manifest.dtype == dtype
    assert lines(new) == lines(old)
    assert new.skipped.equals(old.skipped)
    assert torch.equal(new.pooled(), old.pooled())
    assert torch.equal(new.positions(), old.positions())
    assert torch.equal(new.patch_classes(), old.patch_classes())
    for image in range(old.n_images):
        exact = old.image(image).double()
        half_a_step = {
            "float32": torch.zeros(()),
            "bfloat16": exact.abs() * 2**-8,
            "float16": (exact.abs() * 2**-11).clamp_min(2**-25),
            "int8": exact.abs().amax(1, keepdim=True) / 127 / 2,
        }[dtype]
        assert ((new.image(image) - exact).abs() <= half_a_step * 1.0001).all()


def test_what_a_dtype_cannot_hold_is_refused(tmp_path: Path) -> None:
    random_cache(tmp_path / "old", dtype="float32", scale=1e6)
    with pytest.raises(InsightError, match="float16 holds numbers up to 65504"):
        convert_cache(tmp_path / "old", tmp_path / "new", "float16")
    assert convert_cache(tmp_path / "old", tmp_path / "wide", "bfloat16").n_images == 14
    with pytest.raises(InsightError, match="dtype: expected one of"):
        convert_cache(tmp_path / "old", tmp_path / "other", "float64")


def test_shards_too_large_for_memory_are_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old = random_cache(tmp_path / "old", (7, 3), dtype="int8", classes=CLASSES)
    one_piece = convert_cache(old.folder, tmp_path / "one", "float32")
    monkeypatch.setattr(rewrite, "_BYTES_OF_SHARD", 4 * 3 * GRID[0] * GRID[1] * old.dim)
    monkeypatch.setattr(rewrite, "_BYTES_AT_ONCE", 4 * 2 * GRID[0] * GRID[1] * old.dim)
    cut = convert_cache(old.folder, tmp_path / "cut", "float32")
    assert [shard.rows for shard in one_piece.manifest.shards] == [7, 3]
    assert max(shard.rows for shard in cut.manifest.shards) == 2
    same_images(cut, one_piece, list(range(10)))


@pytest.mark.parametrize("tool", [partial(convert_cache, dtype="int8"), partial(sample_cache, tokens=9)])
def test_a_damaged_block_is_not_carried_over(tmp_path: Path, tool: Callable[..., FeatureCache]) -> None:
    old = random_cache(tmp_path / "old", dtype="float32")
    shard = old.folder / "shard-00001.safetensors"
    content = bytearray(shard.read_bytes())
    content[len(content) // 2] ^= 64
    shard.write_bytes(content)
    with pytest.raises(InsightError, match=r"old/shard-00001.safetensors: damaged"):
        tool(old.folder, tmp_path / "new")
    assert not (tmp_path / "new" / "manifest.json").exists()

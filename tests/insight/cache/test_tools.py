"""Merging, converting and sampling caches: what is carried over, what is rounded, and what is refused."""

import errno
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from insight.cache import FeatureCache
from insight.cache.convert import convert_cache
from insight.cache.merge import merge_caches
from insight.cache.positions import kept_positions
from insight.cache.sample import sample_cache
from insight.cache.shard import sha256_of
from sae.errors import InsightError

from .random_cache import CLASSES, GRID, random_cache
from .stand_in import contents, write


def fresh() -> int:
    """A seed that no run had before."""
    return int(np.random.default_rng().integers(1 << 30))


def lines(*caches: FeatureCache) -> list[dict[str, object]]:
    """The lines of the indices, without the places of the images."""
    return [line for cache in caches for line in cache.index.drop_columns(["shard", "row"]).to_pylist()]


def same_images(found: FeatureCache, expected: FeatureCache, images: list[int], first: int = 0) -> None:
    """Images from number `first` on are those of another cache, with everything that is known of them."""
    assert lines(found)[first : first + len(images)] == [lines(expected)[image] for image in images]
    for place, image in enumerate(images, first):
        assert torch.equal(found.image(place), expected.image(image))
        assert torch.equal(found.pooled()[place], expected.pooled()[image])
        assert torch.equal(found.positions(place, 1), expected.positions(image, 1))
        if expected.classes:
            assert torch.equal(found.patch_classes(place, 1), expected.patch_classes(image, 1))


@pytest.mark.parametrize(
    ("dtype", "tokens", "classes"), [("float32", None, ()), ("int8", 67, CLASSES), ("bfloat16", 5, ())]
)
def test_a_merge_holds_the_images_of_all_in_order(
    tmp_path: Path, dtype: str, tokens: int | None, classes: tuple[str, ...]
) -> None:
    parts = [
        random_cache(tmp_path / name, rows, name=name, dtype=dtype, tokens=tokens, classes=classes, seed=fresh())
        for name, rows in (("a", (3, 1)), ("b", (2,)), ("c", (4, 4, 2)))
    ]
    merged = merge_caches([part.folder for part in parts], tmp_path / "merged")
    merged.verify()
    assert merged.n_images == 16
    first = 0
    for part in parts:
        same_images(merged, part, list(range(part.n_images)), first)
        first += part.n_images
    assert merged.skipped.to_pylist() == [line for part in parts for line in part.skipped.to_pylist()]
    assert merged.manifest.sources == tuple(source for part in parts for source in part.manifest.sources)
    assert [entry["manifest_sha256"] for entry in merged.manifest.settings["derived"]["caches"]] == [
        sha256_of(part.folder / "manifest.json") for part in parts
    ]
    assert merged.classes == classes


def test_an_id_that_occurs_twice_is_an_error(tmp_path: Path) -> None:
    random_cache(tmp_path / "a", (9,), name="a")
    random_cache(tmp_path / "b", (3,), name="b")
    random_cache(tmp_path / "c", (2, 2), name="a", seed=3)
    with pytest.raises(InsightError, match=r"c: expected other images than in .*a, found 'a/0.jpg' in both"):
        merge_caches([tmp_path / name for name in "abc"], tmp_path / "merged")
    assert not (tmp_path / "merged").exists()


def test_a_merge_links_and_takes_no_room(tmp_path: Path) -> None:
    parts = [random_cache(tmp_path / name, (3, 2), name=name).folder for name in "ab"]
    before = [contents(part) for part in parts]
    merged = merge_caches(parts, tmp_path / "merged")
    for number, stored in enumerate(merged.manifest.shards):
        old = parts[number // 2] / f"shard-{number % 2:05d}.safetensors"
        assert (merged.folder / stored.file).samefile(old)
    assert [contents(part) for part in parts] == before
    for part in parts:
        for file in part.iterdir():
            file.unlink()
    merged.verify()


def test_where_nothing_can_be_linked_shards_are_copied_and_checked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.EXDEV, "another disk")

    parts = [random_cache(tmp_path / name, (3, 2), name=name) for name in "ab"]
    monkeypatch.setattr(os, "link", refuse)
    merged = merge_caches([part.folder for part in parts], tmp_path / "merged")
    merged.verify()
    same_images(merged, parts[1], list(range(5)), 5)
    shard = parts[1].folder / "shard-00001.safetensors"
    content = bytearray(shard.read_bytes())
    content[-1] ^= 1
    shard.write_bytes(content)
    with pytest.raises(InsightError, match=r"b/shard-00001.safetensors: damaged: expected SHA-256"):
        merge_caches([part.folder for part in parts], tmp_path / "again")


@pytest.mark.parametrize(
    ("what", "changed"),
    [
        ("fingerprint", {"fingerprint": "cd" * 32}),
        ("dtype", {"dtype": "int8"}),
        ("grid", {"grid": (8, 9)}),
        ("tokens_per_image", {"tokens": 7}),
        ("classes", {"classes": CLASSES}),
        ("dim", {"dim": 7}),
    ],
)
def test_caches_of_different_kinds_are_not_merged(tmp_path: Path, what: str, changed: dict[str, object]) -> None:
    random_cache(tmp_path / "a", name="a")
    random_cache(tmp_path / "b", name="b", **changed)
    with pytest.raises(InsightError, match=rf"b: {what}: expected .* as in .*a, found "):
        merge_caches([tmp_path / "a", tmp_path / "b"], tmp_path / "merged")
    assert not (tmp_path / "merged").exists()


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
        assert ((new.image(image) - exact).abs() <= half_a_step * 1.00001).all()


def test_what_a_dtype_cannot_hold_is_refused(tmp_path: Path) -> None:
    random_cache(tmp_path / "old", dtype="float32", scale=1e6)
    with pytest.raises(InsightError, match="float16 holds numbers up to 65504"):
        convert_cache(tmp_path / "old", tmp_path / "new", "float16")
    assert convert_cache(tmp_path / "old", tmp_path / "wide", "bfloat16").n_images == 14
    with pytest.raises(InsightError, match="dtype: expected one of"):
        convert_cache(tmp_path / "old", tmp_path / "other", "float64")


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


@pytest.mark.parametrize("dtype", ["float16", "int8"])
def test_a_sample_of_images_keeps_them_whole_and_in_order(tmp_path: Path, dtype: str) -> None:
    old = random_cache(tmp_path / "old", (4, 4, 4, 2), dtype=dtype, tokens=66, classes=CLASSES)
    new = sample_cache(old.folder, tmp_path / "new", images=9, seed=5)
    new.verify()
    ids = old.index["id"].to_pylist()
    images = [ids.index(id) for id in new.index["id"].to_pylist()]
    assert images == sorted(images)
    assert len(images) == 9
    same_images(new, old, images)
    assert [shard.rows for shard in new.manifest.shards] == [4, 4, 1]
    assert new.skipped.equals(old.skipped)
    other = sample_cache(old.folder, tmp_path / "other", images=9, seed=6).index["id"].to_pylist()
    assert other != new.index["id"].to_pylist()
    more = sample_cache(old.folder, tmp_path / "more", images=11, seed=5).index["id"].to_pylist()
    assert set(more) > set(new.index["id"].to_pylist())


def test_every_image_is_as_likely_in_a_sample(tmp_path: Path) -> None:
    old = random_cache(tmp_path / "old", (10,), grid=(1, 1), dim=1)
    drawn = [
        id
        for seed in range(60)
        for id in sample_cache(old.folder, tmp_path / str(seed), images=5, seed=seed).index["id"].to_pylist()
    ]
    counts = [drawn.count(id) for id in old.index["id"].to_pylist()]
    assert sum(counts) == 300
    assert 10 <= min(counts) <= max(counts) <= 50  # 30 ± 20: more than five standard deviations


@pytest.mark.parametrize("dtype", ["float32", "int8"])
def test_a_sample_of_patches_keeps_the_same_ones_as_a_writer_would(tmp_path: Path, dtype: str) -> None:
    old = random_cache(tmp_path / "old", dtype=dtype, classes=CLASSES)
    new = sample_cache(old.folder, tmp_path / "new", tokens=65, seed=11)
    new.verify()
    assert new.tokens_per_image == 65
    assert lines(new) == lines(old)
    assert torch.equal(new.pooled(), old.pooled())
    for image, id in enumerate(old.index["id"].to_pylist()):
        kept = torch.from_numpy(kept_positions(id, GRID[0] * GRID[1], 65, 11))
        assert torch.equal(new.positions(image, 1)[0], kept)
        assert torch.equal(new.image(image), old.image(image)[kept.long()])
        assert torch.equal(new.patch_classes(image, 1)[0], old.patch_classes(image, 1)[0][kept.long()])


def test_a_sample_has_the_bytes_that_writing_fewer_patches_has(photos: Path, tmp_path: Path) -> None:
    all_of_them = write(photos, tmp_path / "all", dtype="int8")
    sampled = sample_cache(all_of_them.folder, tmp_path / "sampled", tokens=4, seed=9)
    written = write(photos, tmp_path / "written", dtype="int8", tokens=4, seed=9)
    assert sampled.manifest.shards == written.manifest.shards
    assert sampled.index.equals(written.index)


def test_thinning_twice_is_thinning_once(tmp_path: Path) -> None:
    old = random_cache(tmp_path / "old")
    once = sample_cache(old.folder, tmp_path / "once", tokens=10, seed=2)
    half = sample_cache(old.folder, tmp_path / "half", tokens=40, seed=2)
    twice = sample_cache(half.folder, tmp_path / "twice", tokens=10, seed=2)
    assert torch.equal(twice.positions(), once.positions())
    for image in range(old.n_images):
        assert torch.equal(twice.image(image), once.image(image))


def test_positions_are_a_fixed_function_of_seed_and_id() -> None:
    assert kept_positions("cat/ä.jpg", 16, 5, 0).tolist() == [2, 3, 8, 9, 11]
    counts = np.zeros(12, dtype=int)
    for number in range(1200):
        kept = kept_positions(f"{number}.jpg", 12, 4, 0)
        assert (np.diff(kept) > 0).all()
        counts[kept] += 1
    assert abs(counts - 400).max() < 100  # six standard deviations


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({}, "expected a number of images or of patches"),
        ({"images": 15}, "images: expected a number from 1 to 14, as it has, found 15"),
        ({"images": 0}, "images: expected a number from 1 to 14"),
        ({"tokens": 73}, "tokens: expected a number from 1 to 72"),
    ],
)
def test_more_than_there_is_cannot_be_sampled(tmp_path: Path, asked: dict[str, int], message: str) -> None:
    old = random_cache(tmp_path / "old")
    with pytest.raises(InsightError, match=message):
        sample_cache(old.folder, tmp_path / "new", **asked)
    assert not (tmp_path / "new").exists()

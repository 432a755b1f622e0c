"""Sampling caches: which images and patches are kept, and that what is kept stays what it was."""

from pathlib import Path

import numpy as np
import pytest
import torch

from insight.cache import sample_cache
from insight.cache.format.positions import kept_positions
from sae.errors import InsightError

from ..random_cache import CLASSES, GRID, lines, random_cache, same_images
from ..stand_in import write


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

"""Caches of random numbers, made with the format's core alone: no photos, no backbone, no writer."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from insight.cache import FeatureCache
from insight.cache.format.dtypes import pack
from insight.cache.format.index import write_index, write_skipped
from insight.cache.format.manifest import Manifest, StoredShard
from insight.cache.format.shard import Form, with_checks, write_shard

GRID = (9, 8)  # 72 patches: two blocks an image
CLASSES = ("cat", "sky", "water")


def random_cache(
    folder: Path,
    rows: Sequence[int] = (5, 3, 6),
    *,
    name: str = "photos",
    dtype: str = "float16",
    dim: int = 6,
    grid: tuple[int, int] = GRID,
    tokens: int | None = None,
    classes: tuple[str, ...] = (),
    fingerprint: str = "ab" * 32,
    scale: float = 1.0,
    seed: int = 0,
) -> FeatureCache:
    """A cache with shards of so many images each, called `name`/0.jpg and so on; every fourth has no label, every
    third no split, and two others were skipped."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(seed)
    patches = grid[0] * grid[1]
    kept = tokens or patches
    form = Form(kept, dim, dtype, kept < patches, bool(classes))
    shards, columns, number = [], [], 0
    for place, count in enumerate(rows):
        spread = scale * np.exp(rng.normal(size=(count, kept, 1)))
        vectors = torch.from_numpy((rng.normal(size=(count, kept, dim)) * spread).astype(np.float32))
        stored, scales = pack(vectors, dtype)
        tensors = {"patches": stored, "pooled": vectors.mean(1)} | ({} if scales is None else {"scales": scales})
        if form.has_positions:
            drawn = [np.sort(rng.choice(patches, kept, replace=False)) for _ in range(count)]
            tensors["positions"] = torch.from_numpy(np.stack(drawn).astype(np.int32))
        if form.has_classes:
            drawn = rng.integers(-1, len(classes), (count, kept))
            tensors["classes"] = torch.from_numpy(drawn.astype(np.int16))
        file = f"shard-{place:05d}.safetensors"
        size, sha256 = write_shard(folder / file, with_checks(tensors, form))
        shards.append(StoredShard(file, size, sha256, count))
        numbers = range(number, number + count)
        columns.append(
            {
                "id": [f"{name}/{i}.jpg" for i in numbers],
                "source": [name] * count,
                "label": [None if i % 4 == 3 else f"label {i % 4}" for i in numbers],
                "split": [None if i % 3 == 2 else ("train", "test")[i % 3] for i in numbers],
            }
        )
        number += count
    skipped = {"id": [f"{name}/bad{i}.jpg" for i in range(2)], "source": [name] * 2, "reason": ["empty", "truncated"]}
    Manifest(
        backbone={
            "name": "random",
            "description": "numbers",
            "fingerprint": fingerprint,
            "dim": dim,
            "grid": list(grid),
            "image_size": 72,
        },
        dtype=dtype,
        tokens_per_image=kept,
        classes=classes,
        shards=tuple(shards),
        index=write_index(folder, columns),
        skipped=write_skipped(folder, [skipped]),
        sources=({"name": name, "kind": "folder", "place": f"/photos/{name}"},),
        settings={"seed": seed},
    ).write(folder)
    return FeatureCache.open(folder)


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

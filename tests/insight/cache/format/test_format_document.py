"""docs/cache-format.md is true: its code reads every kind of cache, and its arithmetic gives the stored checks."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from insight.cache import FeatureCache, sample_cache
from insight.cache.format import blocks, manifest, parquet, shard
from insight.cache.format.blocks import image_checks

from ..made import make_cache
from ..random_cache import CLASSES, random_cache

DOCUMENT = (Path(__file__).parents[4] / "docs" / "cache-format.md").read_text(encoding="utf-8")


def code(name: str) -> str:
    """A block of code of the document, by the comment before it."""
    found = re.findall(rf"<!-- {name} -->\n```python\n(.*?)```", DOCUMENT, re.DOTALL)
    assert len(found) == 1
    return found[0]


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    """What the document's code defines."""
    defined: dict[str, Any] = {}
    exec(code("reader"), defined)
    exec(code("checks"), defined)
    return defined


def every_kind(folder: Path) -> list[FeatureCache]:
    """Caches of every dtype; some with patches drawn, with classes, with rows of every width of word."""
    seed = int(np.random.default_rng().integers(1 << 30))
    made = make_cache(folder / "made", torch.randn(7, 130, 5), [4, 3], dtype="int8", grid=(12, 12), classes=2)
    return [
        random_cache(folder / "16", dtype="float16", seed=seed),
        random_cache(folder / "b16", dtype="bfloat16", dim=3, tokens=65, seed=seed),
        random_cache(folder / "8", dtype="int8", dim=8, tokens=3, classes=CLASSES, seed=seed),
        random_cache(folder / "32", dtype="float32", dim=1, classes=CLASSES, seed=seed),
        sample_cache(folder / "16", folder / "drawn", images=5, tokens=66),
        FeatureCache.open(made.folder),
    ]


def test_the_documents_reader_reads_what_the_package_reads(tmp_path: Path, document: dict[str, Any]) -> None:
    for cache in every_kind(tmp_path):
        images = 0
        for number, (line, image) in enumerate(document["read_cache"](cache.folder)):
            assert line == cache.index.slice(number, 1).to_pylist()[0]
            assert np.array_equal(image["patches"], cache.image(number).numpy())
            assert image["patches"].dtype == np.float32
            assert np.array_equal(image["pooled"], cache.pooled()[number].numpy())
            there = cache.positions(number, 1)[0].numpy()
            assert np.array_equal(image.get("positions", np.arange(cache.grid[0] * cache.grid[1])), there)
            assert ("classes" in image) == bool(cache.classes)
            if cache.classes:
                assert np.array_equal(image["classes"], cache.patch_classes(number, 1)[0].numpy())
            images += 1
        assert images == cache.n_images


def test_the_documents_arithmetic_gives_the_stored_checks(tmp_path: Path, document: dict[str, Any]) -> None:
    for cache in every_kind(tmp_path):
        for stored in cache.manifest.shards:
            tensors = document["read_shard"](cache.folder / stored.file)
            for row in range(stored.rows):
                assert document["checks"](tensors, row) == tensors["checks"][row].tolist()


def test_the_examples_are_worked_correctly(document: dict[str, Any]) -> None:
    halves = np.array([[[1, -2, 0.5], [3, -0.0, 0]]], np.float16)
    codes = np.array([[[127, -3, 0, 64], [-127, 1, 2, 3]]], np.int8)
    scales = np.array([[0.02, 1.5]], np.float32)
    rest = {
        "pooled": np.array([[1, -1, 0.5]], np.float32),
        "positions": np.array([[3, 17]], np.int32),
        "classes": np.array([[2, -1]], np.int16),
    }
    found = [
        *document["checks"]({"patches": halves, **rest}, 0),
        document["checks"]({"patches": codes, "scales": scales, **rest}, 0)[0],
    ]
    others = [torch.from_numpy(tensor) for tensor in rest.values()]
    assert found[:2] == image_checks(torch.from_numpy(halves), None, others)[0].tolist()
    assert found[2] == image_checks(torch.from_numpy(codes), torch.from_numpy(scales), others)[0, 0]
    text = re.sub(r"\s+", " ", DOCUMENT.replace("−", "-"))
    assert [f"= {found[0]}" in text, f"= {found[1]}" in text, f"which is {found[2]} modulo" in text] == [True] * 3
    for token, scale in zip(codes[0], scales[0]):
        words = document["words"]
        for number in (words(token), words(scale), words(token) + (2**32 + 1) * words(scale)):
            assert str(number) in text


def test_the_limits_are_those_of_the_package() -> None:
    def power(number: int) -> str:
        assert number == 1 << (number.bit_length() - 1)
        return f"2^{number.bit_length() - 1}"

    for said in (
        f"version {manifest.VERSION}\n",
        f"A JSON object of at most {power(manifest._MAX_BYTES)} bytes",
        f"nested at most {manifest._DEEPEST} deep",
        f"at most {power(manifest._FREE)} times and once for every {manifest._MIN_ITEM} bytes",
        f"with a header of at most {power(shard._MAX_HEADER)} bytes",
        f"takes at most {parquet._TIMES} times",
        f"p = ⌈t / {blocks.LONGEST}⌉",
    ):
        assert said in DOCUMENT, said

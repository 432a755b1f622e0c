"""Merging caches: what is carried over, what is linked, and what is refused."""

import errno
import os
from pathlib import Path

import pytest

from insight.cache import convert_cache, merge_caches, sample_cache
from insight.cache.format.shard import sha256_of
from sae.errors import InsightError

from ..random_cache import CLASSES, fresh, random_cache, same_images
from ..stand_in import contents


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
    made_of = [
        {"manifest_sha256": sha256_of(part.folder / "manifest.json"), "settings": part.manifest.settings}
        for part in parts
    ]
    assert merged.manifest.settings["derived"] == [{"command": "merge", "caches": made_of}]
    assert merged.classes == classes


def test_settings_tell_how_a_cache_came_about(tmp_path: Path) -> None:
    for name in "ab":
        random_cache(tmp_path / name, name=name)
        convert_cache(tmp_path / name, tmp_path / f"{name}8", "int8")
    merged = merge_caches([tmp_path / "a8", tmp_path / "b8"], tmp_path / "ab")
    settings = sample_cache(merged.folder, tmp_path / "few", images=3, tokens=5, seed=4).manifest.settings
    steps = settings["derived"]
    assert [step["command"] for step in steps] == ["convert", "convert", "merge", "sample"]
    assert [len(step["caches"]) for step in steps] == [1, 1, 2, 1]
    assert steps[3] == {
        "command": "sample",
        "images": 3,
        "tokens": 5,
        "seed": 4,
        "caches": [{"manifest_sha256": sha256_of(merged.folder / "manifest.json")}],
    }
    assert settings["seed"] == 4


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

    def vanish(source: Path, _: Path) -> None:
        source.unlink()
        refuse()

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
    monkeypatch.setattr(os, "link", vanish)
    with pytest.raises(InsightError, match=r"a/shard-00000.safetensors: cannot be read \(No such file"):
        merge_caches([part.folder for part in parts], tmp_path / "third")


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


def test_a_damaged_index_is_not_merged(tmp_path: Path) -> None:
    parts = [random_cache(tmp_path / name, name=name).folder for name in "ab"]
    content = bytearray((parts[1] / "index.parquet").read_bytes())
    content[30] ^= 1
    (parts[1] / "index.parquet").write_bytes(content)
    with pytest.raises(InsightError, match=r"b/index.parquet: damaged: expected SHA-256"):
        merge_caches(parts, tmp_path / "merged")

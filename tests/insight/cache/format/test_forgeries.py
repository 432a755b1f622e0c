"""What a forged cache may not be, file by file: each is refused in one line that says why."""

import copy
import json
import os
import random
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from insight.cache.format.index import OF_IMAGES
from insight.cache.format.shard import Form, write_shard

from .. import forged
from ..forged import CLASSES, DIM, IMAGES, change_tensors, index_columns, make, sign, write_table
from .conftest import KINDS
from .judged import is_read_or_refused, refused


@pytest.mark.parametrize("kind", KINDS)
def test_an_unchanged_cache_is_read(caches: dict[str, tuple[Path, dict[str, Any]]], kind: str) -> None:
    assert is_read_or_refused(caches[kind][0])


@pytest.mark.parametrize(
    "name",
    [
        "../shard-00000.safetensors",
        "/etc/passwd",
        "shard-00000.safetensors/../../x",
        "shard-00000.safetensors\n",
        "shard-٠٠٠٠٠.safetensors",
        "index.parquet",
        "",
        None,
    ],
)
def test_a_name_leads_nowhere_else(forgery: tuple[Path, dict[str, Any]], name: Any) -> None:
    folder, manifest = forgery
    for entry in (manifest["shards"][0], manifest["index"], manifest["skipped"]):
        before, entry["file"] = entry["file"], name
        if before != name:
            (folder / "manifest.json").write_text(json.dumps(manifest))
            assert "file: expected text of the form" in refused(folder)
        entry["file"] = before


@pytest.mark.parametrize("file", ["manifest.json", "index.parquet", "skipped.parquet", "shard-00001.safetensors"])
@pytest.mark.parametrize("thing", ["pipe", "device", "folder", "broken link", "link to itself"])
def test_what_is_no_file_is_refused_and_not_waited_for(
    forgery: tuple[Path, dict[str, Any]], file: str, thing: str
) -> None:
    path = forgery[0] / file
    path.unlink()
    if thing == "pipe":
        os.mkfifo(path)
    elif thing == "folder":
        path.mkdir()
    else:
        path.symlink_to({"device": "/dev/zero", "broken link": "nowhere"}.get(thing, path))
    assert str(forgery[0]) in refused(forgery[0])


@pytest.mark.parametrize(
    "text",
    [
        '{"format": "insight-cache"}',
        '{"settings": ' * 900 + "1" + "}" * 900,
        "[" * 100_000,
        "9" * 10_000,
        "NaN",
    ],
)
def test_a_manifest_of_another_make_is_refused(forgery: tuple[Path, dict[str, Any]], text: str) -> None:
    (forgery[0] / "manifest.json").write_text(text)
    assert "manifest" in refused(forgery[0])


@pytest.mark.parametrize("value", ["NaN", "Infinity", "1e999", '"\\ud800"', "[[[[[[[[[[1]]]]]]]]]]"])
def test_a_manifest_that_could_not_be_written_again_is_refused(
    forgery: tuple[Path, dict[str, Any]], value: str
) -> None:
    folder, manifest = forgery
    text = json.dumps(manifest | {"settings": {"a": "here"}}).replace('"here"', value)
    (folder / "manifest.json").write_text(text)
    assert "other JSON" in refused(folder)


@pytest.mark.parametrize("length", [0, 1, 7, 1 << 16, (1 << 16) + 1, 1 << 31, 1 << 62, (1 << 64) - 1])
def test_a_header_of_another_length_is_refused(forgery: tuple[Path, dict[str, Any]], length: int) -> None:
    folder, manifest = forgery
    path = folder / "shard-00000.safetensors"
    path.write_bytes(struct.pack("<Q", length) + path.read_bytes()[8:])
    sign(folder, manifest)
    assert "damaged shard: expected a safetensors header" in refused(folder)


def test_a_header_may_not_be_deep_or_long(forgery: tuple[Path, dict[str, Any]]) -> None:
    folder, manifest = forgery
    for text in ("[" * 60_000, '{"a":' * 10_000, '{"a":"' + "x" * (1 << 17) + '"}', "1" * 6000):
        make(folder, dtype="int8", tokens=4, classes=CLASSES)
        forged.rewrite_header(folder / "shard-00000.safetensors", lambda _, text=text: text)
        sign(folder, manifest)
        assert "damaged shard: expected a" in refused(folder)


OFFSETS: dict[str, Callable[[dict[str, Any], int], None]] = {
    "out of the file": lambda header, end: header["pooled"].update(data_offsets=[end, end + 48]),
    "before it": lambda header, end: header["pooled"].update(data_offsets=[-48, 0]),
    "backwards": lambda header, end: header["pooled"].update(data_offsets=[48, 0]),
    "huge": lambda header, end: header["pooled"].update(data_offsets=[2**62, 2**62 + 48]),
    "on another": lambda header, end: header["pooled"].update(data_offsets=[0, 48]),
    "floats": lambda header, end: header["pooled"].update(data_offsets=[0.0, 48.0]),
    "three": lambda header, end: header["pooled"].update(data_offsets=[0, 48, 48]),
    "shape": lambda header, end: header["pooled"].update(shape=[2**40, 4]),
    "no shape": lambda header, end: header["pooled"].update(shape=[]),
    "kind": lambda header, end: header["patches"].update(dtype="F16"),
    "no kind": lambda header, end: header["patches"].update(dtype=None),
    "gone": lambda header, end: header.pop("checks"),
}


@pytest.mark.parametrize("what", OFFSETS)
def test_a_tensor_that_is_not_where_it_should_be_is_refused(forgery: tuple[Path, dict[str, Any]], what: str) -> None:
    folder, manifest = forgery
    path = folder / "shard-00000.safetensors"
    end = len(path.read_bytes())
    forged.rewrite_header(path, lambda header: OFFSETS[what](header, end))
    sign(folder, manifest)
    assert "damaged shard: expected" in refused(folder)


def test_tensors_that_share_bytes_are_refused(tmp_path: Path) -> None:
    """Two of the same form and place, and as many bytes behind them that nobody uses."""
    manifest = make(tmp_path, dtype="float32", tokens=1)
    form = Form(1, DIM, "float32", True)
    path = tmp_path / "shard-00000.safetensors"
    tensors = forged.tensors_of(form, 3, 0)
    tensors["pooled"] = tensors["patches"][:, 0].clone()
    write_shard(path, forged.with_checks(tensors, form))
    forged.rewrite_header(path, lambda header: header["pooled"].update(data_offsets=header["patches"]["data_offsets"]))
    sign(tmp_path, manifest)
    assert "one behind the other" in refused(tmp_path)


@pytest.mark.parametrize("file", ["manifest.json", "index.parquet", "skipped.parquet", "shard-00001.safetensors"])
def test_a_file_cut_short_anywhere_is_refused(forgery: tuple[Path, dict[str, Any]], file: str) -> None:
    folder, manifest = forgery
    content = (folder / file).read_bytes()
    for size in {*range(0, len(content), 61), 1, 7, 8, 9, len(content) - 1}:
        (folder / file).write_bytes(content[:size])
        refused(folder)
        if file != "manifest.json":  # and with sizes and checksums of what is left
            sign(folder, manifest)
            refused(folder)
            (folder / "manifest.json").write_text(json.dumps(manifest))


def test_every_flipped_bit_is_found_by_reading(caches: dict[str, tuple[Path, dict[str, Any]]], room: Path) -> None:
    """Though the manifest's checksums are made to fit: a shard's own checks do not."""
    chance = random.Random()
    for source, manifest in caches.values():
        shutil.copytree(source, room, dirs_exist_ok=True)
        path = room / "shard-00000.safetensors"
        content = path.read_bytes()
        start = 8 + struct.unpack("<Q", content[:8])[0]
        for _ in range(60):
            at = chance.randrange(start, len(content))
            changed = bytearray(content)
            changed[at] ^= 1 << chance.randrange(8)
            path.write_bytes(changed)
            sign(room, copy.deepcopy(manifest))
            assert "do not fit their checksum" in refused(room), at
        shutil.rmtree(room)


def positions_at(value: list[int]) -> Callable[[dict[str, torch.Tensor]], None]:
    return lambda tensors: tensors["positions"][1].copy_(torch.tensor(value, dtype=torch.int32))


@pytest.mark.parametrize("value", [[0, 1, 2, 6], [-1, 1, 2, 3], [0, 2, 1, 3], [0, 1, 1, 3], [3, 2, 1, 0]])
def test_positions_are_on_the_grid_and_ascend(forgery: tuple[Path, dict[str, Any]], value: list[int]) -> None:
    folder, manifest = forgery
    form = Form(4, DIM, "int8", True, True)
    change_tensors(folder / "shard-00000.safetensors", form, positions_at(value))
    sign(folder, manifest)
    assert "positions" in refused(folder)
    change_tensors(folder / "shard-00000.safetensors", form, positions_at([0, 1, 2, 5]))
    sign(folder, manifest)
    assert is_read_or_refused(folder)


@pytest.mark.parametrize("value", [-2, 2, 2**15 - 1, -(2**15)])
def test_classes_have_names(forgery: tuple[Path, dict[str, Any]], value: int) -> None:
    folder, manifest = forgery
    form = Form(4, DIM, "int8", True, True)
    change_tensors(folder / "shard-00001.safetensors", form, lambda x: x["classes"][1, 2].fill_(value))
    sign(folder, manifest)
    assert "classes" in refused(folder)


@pytest.mark.parametrize(
    ("column", "values", "complaint"),
    [
        ("id", ["0.png", "1.png", "0.png", "3.png", "4.png"], "each id once"),
        ("id", ["0.png", None, "2.png", "3.png", "4.png"], "without id"),
        ("source", [None, "a", "a", "a", "a"], "without source"),
        ("shard", [0, 0, 1, 1, 1], "order of the shards"),
        ("shard", [0, 0, 0, 1, None], "without shard"),
        ("row", [0, 1, 2, 0, 2**31 - 1], "order of the shards"),
    ],
)
def test_an_index_of_other_images_is_refused(
    forgery: tuple[Path, dict[str, Any]], column: str, values: list[Any], complaint: str
) -> None:
    folder, manifest = forgery
    write_table(folder / "index.parquet", index_columns() | {column: values}, OF_IMAGES)
    sign(folder, manifest)
    assert complaint in refused(folder)


def test_text_that_is_not_utf8_is_refused(forgery: tuple[Path, dict[str, Any]]) -> None:
    folder, manifest = forgery
    write_table(folder / "index.parquet", index_columns() | {"label": ["QQQQ"] * IMAGES}, OF_IMAGES, compression="none")
    path = folder / "index.parquet"
    path.write_bytes(path.read_bytes().replace(b"QQQQ", b"\xff\xfe\xff\xfe"))
    sign(folder, manifest)
    assert "index.parquet: damaged: expected a parquet file, found" in refused(folder)

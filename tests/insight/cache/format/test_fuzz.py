"""A cache may come from anybody: whatever its files hold, it is read exactly as it says, or refused in one line."""

import copy
import json
import os
import random
import shutil
import struct
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file

from insight.cache.format.index import OF_IMAGES, OF_SKIPPED
from insight.cache.format.parquet import UnsafeFile, read_lines
from insight.cache.format.shard import Form, write_shard
from sae.errors import InsightError

from .. import forged
from ..forged import CLASSES, DIM, IMAGES, change_tensors, index_columns, make, read_everything, sign, write_table

KINDS: dict[str, dict[str, Any]] = {
    "float32": {"dtype": "float32"},
    "int8, classes": {"dtype": "int8", "classes": CLASSES},
    "float16, some patches": {"dtype": "float16", "tokens": 4},
    "int8, all": {"dtype": "int8", "tokens": 5, "classes": CLASSES},
}
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=True)
    | st.text(max_size=8)
    | st.sampled_from(["../x", "/etc/passwd", "shard-00001.safetensors", "int8", "bfloat16", "F16", "I8", "0" * 64])
    | st.sampled_from([0, 1, 2, 3, 4, 5, 6, 8, 2**31, 2**32, 2**40, 2**62, 10**30, -1]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@pytest.fixture(scope="module")
def caches(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, dict[str, Any]]]:
    """A folder and its manifest for each kind of cache. Tests must not change them."""
    folder = tmp_path_factory.mktemp("caches")
    return {kind: (folder / kind, make(folder / kind, **settings)) for kind, settings in KINDS.items()}


@pytest.fixture
def room(tmp_path: Path) -> Path:
    """Where a copy is damaged."""
    return tmp_path / "copy"


@pytest.fixture
def forgery(tmp_path: Path) -> tuple[Path, dict[str, Any]]:
    """A cache of int8 with positions and classes, to be changed, and its manifest."""
    return tmp_path / "cache", make(tmp_path / "cache", dtype="int8", tokens=4, classes=CLASSES)


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


def places(value: Any) -> list[tuple[Any, Any]]:
    """(container, key) of everything inside a JSON value."""
    keys = list(value) if isinstance(value, dict) else list(range(len(value))) if isinstance(value, list) else []
    return [(value, key) for key in keys] + [place for key in keys for place in places(value[key])]


def mutate(value: Any, draw: Callable[[st.SearchStrategy[Any]], Any]) -> None:
    """Replace, remove or double something inside a JSON value."""
    found = places(value)
    container, key = draw(st.sampled_from(found)) if found else (None, None)
    action = draw(st.sampled_from(["replace", "nudge", "remove", "double"]))
    if action == "remove":
        del container[key]
    elif action == "double" and isinstance(container, list):
        container.append(copy.deepcopy(container[key]))
    elif action == "nudge" and type(container[key]) is int:
        container[key] += draw(st.integers(-3, 3))
    else:
        container[key] = draw(JSON)


def flip(content: bytes, draw: Callable[[st.SearchStrategy[Any]], Any]) -> bytes:
    """Bytes changed, cut out, doubled or put in."""
    changed = bytearray(content)
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(changed)))
        action = draw(st.sampled_from(["byte", "word", "cut", "end", "insert"]))
        if action == "byte" and at < len(changed):
            changed[at] ^= draw(st.integers(1, 255))
        elif action == "word":
            changed[at : at + 4] = struct.pack("<I", draw(st.sampled_from([0, 1, 0x7FFFFFFF, 0xFFFFFFFF, 0x80000000])))
        elif action == "cut":
            del changed[at : at + draw(st.integers(1, 64))]
        elif action == "end":
            del changed[at:]
        else:
            changed[at:at] = draw(st.binary(min_size=1, max_size=16))
    return bytes(changed)


def attack(source: Path, manifest: dict[str, Any], room: Path, data: st.DataObject) -> None:
    """A copy of a cache, changed in one way or several; mostly with sizes and checksums that fit again."""
    shutil.rmtree(room, ignore_errors=True)
    shutil.copytree(source, room)
    manifest = copy.deepcopy(manifest)
    draw = data.draw
    entries = [*manifest["shards"], manifest["index"], manifest["skipped"]]
    part = draw(st.sampled_from(["manifest", "header", "tensor", "index", "skipped", "bytes", "bytes", "both"]))
    if part in ("header", "both"):
        forged.rewrite_header(
            room / draw(st.sampled_from(manifest["shards"]))["file"], lambda header: mutate(header, draw)
        )
    if part == "tensor":
        _change_a_tensor(room / draw(st.sampled_from(manifest["shards"]))["file"], manifest, draw)
    if part in ("index", "skipped"):
        _change_a_table(room / manifest[part]["file"], draw)
    if part == "bytes":
        path = room / draw(st.sampled_from(entries))["file"]
        path.write_bytes(flip(path.read_bytes(), draw))
    if draw(st.integers(0, 9)):
        sign(room, manifest)
    if part in ("manifest", "both"):
        for _ in range(draw(st.integers(1, 3))):
            mutate(manifest, draw)
        (room / "manifest.json").write_text(json.dumps(manifest))


def _change_a_tensor(path: Path, manifest: dict[str, Any], draw: Callable[[st.SearchStrategy[Any]], Any]) -> None:
    """Other numbers or another form of one tensor, with checks that fit where the form allows any."""
    tensors = load_file(path)
    name = draw(st.sampled_from(sorted(tensors)))
    tensor = tensors[name]
    action = draw(st.sampled_from(["value", "kind", "shape", "remove"]))
    if action == "value":
        value = draw(st.sampled_from([-(2**15), -2, -1, 0, 1, 2, 5, 6, 127, 2**15 - 1]))
        tensor.view(-1)[draw(st.integers(0, tensor.numel() - 1))] = torch.tensor(value).to(tensor.dtype)
    elif action == "kind":
        tensors[name] = tensor.to(draw(st.sampled_from([torch.int8, torch.int16, torch.int32, torch.float16])))
    elif action == "shape":
        tensors[name] = tensor[: draw(st.integers(0, len(tensor)))] if draw(st.booleans()) else tensor.flatten()
    else:
        del tensors[name]
    backbone = manifest["backbone"]
    form = Form(
        manifest["tokens_per_image"],
        backbone["dim"],
        manifest["dtype"],
        manifest["tokens_per_image"] < backbone["grid"][0] * backbone["grid"][1],
        bool(manifest["classes"]),
    )
    with suppress(KeyError, RuntimeError, ValueError, IndexError):
        tensors = forged.with_checks({n: x for n, x in tensors.items() if n != "checks"}, form)
    write_shard(path, tensors)


def _change_a_table(path: Path, draw: Callable[[st.SearchStrategy[Any]], Any]) -> None:
    """A table with other values, columns, types or encodings."""
    table = pq.read_table(path)
    columns = {name: table[name].to_pylist() for name in table.column_names}
    name = draw(st.sampled_from(sorted(columns)))
    action = draw(st.sampled_from(["value", "remove", "line", "type", "encoding", "order"]))
    if action == "value":
        wanted = st.integers(-(2**31), 2**31 - 1) if isinstance(columns[name][0], int) else st.text(max_size=5)
        columns[name][draw(st.integers(0, len(columns[name]) - 1))] = draw(st.none() | wanted)
    elif action == "remove":
        del columns[name]
    elif action == "line":
        columns = {key: values + values[:1] for key, values in columns.items()}
    elif action == "order":
        columns = dict(reversed(columns.items()))
    types = {field.name: field.type for field in (*OF_IMAGES, *OF_SKIPPED)}
    if action == "type":
        types[name] = draw(st.sampled_from([pa.large_string(), pa.binary(), pa.int64(), pa.float64(), pa.int32()]))
        if not pa.types.is_string(types[name]) and name in columns:
            columns[name] = [None] * len(columns[name])
    how: dict[str, Any] = {}
    if action == "encoding":
        how = draw(
            st.sampled_from(
                [
                    {"compression": "zstd"},
                    {"compression": "none", "use_dictionary": False},
                    {"data_page_version": "2.0", "compression": "gzip"},
                    {"row_group_size": 2},
                    {"use_dictionary": False, "column_encoding": "DELTA_BYTE_ARRAY"},
                    {"write_statistics": False, "store_schema": False, "version": "1.0"},
                    {"data_page_size": 1, "write_batch_size": 1},
                ]
            )
        )
        if "column_encoding" in how:
            texts = [key for key in columns if types[key] == pa.string()]
            how = how | {"column_encoding": {key: "DELTA_BYTE_ARRAY" for key in texts}}
    pq.write_table(pa.table(columns, schema=pa.schema([(key, types[key]) for key in columns])), path, **how)


def fuzz(caches: dict[str, tuple[Path, dict[str, Any]]], room: Path, data: st.DataObject) -> bool:
    kind = data.draw(st.sampled_from(sorted(caches)))
    attack(*caches[kind], room, data)
    return is_read_or_refused(room)


CHECKS = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large]
INPUTS = 20_000


@settings(max_examples=250, deadline=None, suppress_health_check=CHECKS)
@given(data=st.data())
def test_a_changed_cache_is_read_or_refused(caches: dict[str, Any], room: Path, data: st.DataObject) -> None:
    fuzz(caches, room, data)


HOW: list[dict[str, Any]] = [
    {},
    {"compression": "none", "use_dictionary": False},
    {"compression": "zstd", "data_page_version": "2.0"},
    {"compression": "gzip", "row_group_size": 2},
    {"compression": "none", "data_page_size": 1, "write_batch_size": 1},
    {"compression": "lz4", "write_statistics": False, "store_schema": False},
]


def fuzz_table(path: Path, tables: list[bytes], data: st.DataObject) -> bool:
    """Whether a table with some bytes changed is read, with as many lines as asked for."""
    path.write_bytes(flip(data.draw(st.sampled_from(tables)), data.draw))
    try:
        lines = list(read_lines(path, OF_IMAGES, IMAGES))
    except UnsafeFile:
        return False
    assert pa.Table.from_batches(lines, OF_IMAGES).num_rows == IMAGES
    return True


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> list[bytes]:
    """The same index written in several ways."""
    path = tmp_path_factory.mktemp("tables") / "index.parquet"
    written = []
    for how in HOW:
        write_table(path, index_columns(), OF_IMAGES, **how)
        written.append(path.read_bytes())
    return written


@settings(max_examples=300, deadline=None, suppress_health_check=CHECKS)
@given(data=st.data())
def test_a_changed_table_is_read_or_refused(tables: list[bytes], tmp_path: Path, data: st.DataObject) -> None:
    fuzz_table(tmp_path / "x.parquet", tables, data)


@pytest.mark.slow
def test_twenty_thousand_changed_tables_are_read_or_refused(
    tables: list[bytes], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    outcomes: Counter[bool] = Counter()

    @settings(max_examples=INPUTS, deadline=None, database=None, suppress_health_check=CHECKS)
    @given(data=st.data())
    def attacked(data: st.DataObject) -> None:
        outcomes[fuzz_table(tmp_path / "x.parquet", tables, data)] += 1

    attacked()
    with capsys.disabled():
        print(f"\n{outcomes.total()} changed tables: {outcomes[True]} read, {outcomes[False]} refused")
    assert outcomes.total() >= INPUTS


@pytest.mark.slow
def test_twenty_thousand_changed_caches_are_read_or_refused(
    caches: dict[str, Any], room: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    outcomes: Counter[bool] = Counter()

    @settings(max_examples=INPUTS, deadline=None, database=None, suppress_health_check=CHECKS)
    @given(data=st.data())
    def attacked(data: st.DataObject) -> None:
        outcomes[fuzz(caches, room, data)] += 1

    attacked()
    with capsys.disabled():
        print(f"\n{outcomes.total()} changed caches: {outcomes[True]} read as they say, {outcomes[False]} refused")
    assert outcomes.total() >= INPUTS
    assert min(outcomes.values()) > INPUTS / 50


@pytest.mark.parametrize("kind", KINDS)
def test_an_unchanged_cache_is_read(caches: dict[str, tuple[Path, dict[str, Any]]], kind: str) -> None:
    assert is_read_or_refused(caches[kind][0])


def refused(folder: Path) -> str:
    """Why the cache is refused."""
    with pytest.raises(InsightError) as caught:
        read_everything(folder)
    return str(caught.value)


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


def dictionary(values: list[str], n: int) -> pa.DictionaryArray:
    return pa.DictionaryArray.from_arrays(pa.array(np.zeros(n, np.int32)), pa.array(values))


def one_long_text(path: Path) -> int:
    """Half a megabyte of text, 100,000 times: 50 GB."""
    short, long = dictionary(["x"], 100_000), dictionary(["x" * 500_000], 100_000)
    table = pa.table({"id": short, "source": short, "reason": long})
    pq.write_table(table, path, store_schema=False, write_statistics=False, compression="zstd")
    return len(table)


def shared_beginnings(path: Path) -> int:
    """Each text is the one before and a letter."""
    texts = ["y" * length for length in range(20_000)]
    table = pa.table({"id": ["x"] * 20_000, "source": ["x"] * 20_000, "reason": texts})
    plain = {"id": "PLAIN", "source": "PLAIN", "reason": "DELTA_BYTE_ARRAY"}
    pq.write_table(table, path, use_dictionary=False, column_encoding=plain, compression="zstd")
    return len(table)


def many_lines(path: Path) -> int:
    """Four million lines in a few kilobytes."""
    same = dictionary(["x"], 4_000_000)
    pq.write_table(pa.table({"id": same, "source": same, "reason": same}), path, store_schema=False)
    return len(same)


def packed(path: Path) -> int:
    """A page of 64 MB of one letter, packed into a few kilobytes."""
    table = pa.table({"id": ["x"], "source": ["x"], "reason": ["x" * (1 << 26)]})
    pq.write_table(table, path, use_dictionary=False, write_statistics=False, compression="zstd")
    return 1


def varint(value: int) -> bytes:
    return bytes([*([value & 127 | 128] if value > 127 else []), *(varint(value >> 7) if value > 127 else [value])])


def lying(path: Path) -> int:
    """The footer says that the page of 64 MB takes few bytes."""
    rows = packed(path)
    content = path.read_bytes()
    size = pq.ParquetFile(path).metadata.row_group(0).column(2).total_uncompressed_size
    coded = varint(2 * size)
    short = bytes([0x82, *[0x80] * (len(coded) - 2), 0])  # 1, in as many bytes
    footer = content.rindex(coded)
    path.write_bytes(content[:footer] + short + content[footer + len(coded) :])
    return rows


BOMBS = {make.__name__: make for make in (one_long_text, shared_beginnings, many_lines, packed, lying)}


def test_small_files_that_stand_for_large_ones_take_little_memory(tmp_path: Path) -> None:
    """A process that may take 1 GB more than it has reads, or refuses, each of them in less than 100 MB."""
    folders = []
    for name, bomb in BOMBS.items():
        manifest = make(tmp_path / name)
        manifest["skipped"]["rows"] = bomb(tmp_path / name / "skipped.parquet")
        sign(tmp_path / name, manifest)
        assert (tmp_path / name / "skipped.parquet").stat().st_size < 100_000
        folders.append(tmp_path / name)
    for folder, (outcome, megabytes) in zip(folders, in_little_memory(folders, 1024), strict=True):
        assert outcome.startswith(f"InsightError: {folder}"), (folder, outcome)
        assert megabytes < 100, folder


def in_little_memory(folders: list[Path], megabytes: int) -> list[tuple[str, float]]:
    """What came of reading each cache in a process of its own, and how many MB that took."""
    command = [sys.executable, "-m", "tests.insight.cache.forged", str(megabytes), *map(str, folders)]
    root = Path(__file__).parents[4]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return [tuple(json.loads(line)) for line in done.stdout.splitlines()]


@pytest.mark.slow
def test_the_largest_manifest_takes_bounded_memory(tmp_path: Path) -> None:
    """Of 64 MB: nearly as many things as are allowed, and a few more."""
    manifest = make(tmp_path)
    before, after = json.dumps(manifest | {"settings": {"a": "here"}}).split('"here"')
    things = (1 << 18) + (1 << 26) // 16
    outcomes = []
    for share in (0.99, 1.01):
        text = f"{before}[{'{},' * int(share * things / 2)}{{}}]{after}"
        (tmp_path / "manifest.json").write_text(text + " " * ((1 << 26) - len(text)))
        outcomes += in_little_memory([tmp_path], 1024)
    assert outcomes[0][0] == "read"
    assert "other JSON" in outcomes[1][0]
    assert max(megabytes for _, megabytes in outcomes) < 700
    (tmp_path / "manifest.json").write_text(" " * (1 << 26) + text)
    assert "at most 67108864 bytes" in refused(tmp_path)

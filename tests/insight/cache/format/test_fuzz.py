"""A cache may come from anybody: whatever is changed in its files, it is read exactly as it says, or refused."""

import copy
import json
import shutil
import struct
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

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

from .. import forged
from ..forged import IMAGES, index_columns, sign, write_table
from .judged import is_read_or_refused

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


@settings(max_examples=250, suppress_health_check=CHECKS)
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


@settings(max_examples=300, suppress_health_check=CHECKS)
@given(data=st.data())
def test_a_changed_table_is_read_or_refused(tables: list[bytes], tmp_path: Path, data: st.DataObject) -> None:
    fuzz_table(tmp_path / "x.parquet", tables, data)


@pytest.mark.soak
def test_twenty_thousand_changed_tables_are_read_or_refused(
    tables: list[bytes], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    outcomes: Counter[bool] = Counter()

    @settings(max_examples=INPUTS, database=None, suppress_health_check=CHECKS)
    @given(data=st.data())
    def attacked(data: st.DataObject) -> None:
        outcomes[fuzz_table(tmp_path / "x.parquet", tables, data)] += 1

    attacked()
    with capsys.disabled():
        print(f"\n{outcomes.total()} changed tables: {outcomes[True]} read, {outcomes[False]} refused")
    assert outcomes.total() >= INPUTS


@pytest.mark.soak
def test_twenty_thousand_changed_caches_are_read_or_refused(
    caches: dict[str, Any], room: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    outcomes: Counter[bool] = Counter()

    @settings(max_examples=INPUTS, database=None, suppress_health_check=CHECKS)
    @given(data=st.data())
    def attacked(data: st.DataObject) -> None:
        outcomes[fuzz(caches, room, data)] += 1

    attacked()
    with capsys.disabled():
        print(f"\n{outcomes.total()} changed caches: {outcomes[True]} read as they say, {outcomes[False]} refused")
    assert outcomes.total() >= INPUTS
    assert min(outcomes.values()) > INPUTS / 50

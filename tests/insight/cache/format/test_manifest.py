"""A manifest may come from anybody: whatever is in it, opening and reading the cache works or says what is wrong."""

import copy
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from insight.cache import FeatureCache
from insight.cache.format.manifest import Manifest, StoredShard
from insight.cache.format.shard import Form
from sae.errors import InsightError

from ..forged import CLASSES, make, read_everything

Forgery = tuple[Path, dict[str, Any]]
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=True)
    | st.text(max_size=8)
    | st.sampled_from(["../x", "shard-00001.safetensors", "int8", "float32", "float16", "0" * 64, "insight-cache"])
    | st.sampled_from([0, 1, 2, 3, 4, 6, 8, 2**31, 2**40]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@pytest.fixture(scope="module")
def forgery(tmp_path_factory: pytest.TempPathFactory) -> Forgery:
    """A cache with positions and classes whose manifest the tests overwrite, and what it was."""
    folder = tmp_path_factory.mktemp("forged")
    return folder, make(folder, dtype="int8", tokens=4, classes=CLASSES)


def places(value: Any) -> list[tuple[Any, Any]]:
    """(container, key) of everything inside a JSON value."""
    keys = list(value) if isinstance(value, dict) else list(range(len(value))) if isinstance(value, list) else []
    return [(value, key) for key in keys] + [place for key in keys for place in places(value[key])]


def opens_or_explains(folder: Path, text: str | bytes) -> bool:
    """Whether a cache with this manifest can be read; what is not an `InsightError` fails the test."""
    (folder / "manifest.json").write_bytes(text if isinstance(text, bytes) else text.encode())
    complaint = ""
    try:
        read_everything(folder)
    except InsightError as error:
        complaint = str(error)
    assert "\n" not in complaint
    assert len(complaint) < 1000
    return not complaint


@settings(max_examples=200, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_a_mutated_manifest_is_read_or_refused(forgery: Forgery, data: st.DataObject) -> None:
    folder, manifest = forgery[0], copy.deepcopy(forgery[1])
    for _ in range(data.draw(st.integers(1, 3))):
        found = places(manifest)
        container, key = found[data.draw(st.integers(0, len(found) - 1))]
        action = data.draw(st.sampled_from(["replace", "remove", "double"]))
        if action == "replace":
            container[key] = data.draw(JSON)
        elif action == "remove":
            del container[key]
        elif isinstance(container, list):
            container.append(copy.deepcopy(container[key]))
    opens_or_explains(folder, json.dumps(manifest))


@settings(max_examples=100)
@given(value=JSON)
def test_other_json_is_refused(forgery: Forgery, value: Any) -> None:
    assert not opens_or_explains(forgery[0], json.dumps(value))


@pytest.mark.parametrize(
    "text", [b"", b"\xff", b"{", b"[" * 100_000, b"9" * 10_000, b'{"format": "insight-cache", "format_version": 2}']
)
def test_what_is_no_manifest_is_refused(forgery: Forgery, text: bytes) -> None:
    assert not opens_or_explains(forgery[0], text)


def test_the_unchanged_manifest_is_read(forgery: Forgery) -> None:
    folder, manifest = forgery
    assert opens_or_explains(folder, json.dumps(manifest))
    read = Manifest.read(folder)
    assert read.to_json() == manifest
    assert (read.n_images, read.tokens_per_image, read.classes) == (5, 4, CLASSES)
    assert read.form == Form(4, 4, "int8", has_positions=True, has_classes=True)


def test_what_is_written_is_read_again(forgery: Forgery, tmp_path: Path) -> None:
    folder, manifest = forgery
    (folder / "manifest.json").write_text(json.dumps(manifest))
    read = Manifest.read(folder)
    shard = StoredShard("shard-00000-00001.safetensors", 7, "1" * 64, 2)
    other = replace(
        read, shards=(*read.shards, shard), index=replace(read.index, rows=7), settings={"a": [1, 0.5, "é"]}
    )
    other.write(tmp_path)
    assert Manifest.read(tmp_path) == other
    assert list(json.loads((tmp_path / "manifest.json").read_text())) == list(manifest)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("format", "another"),
        ("format_version", 1),
        ("format_version", 3),
        ("dtype", "float64"),
        ("dtype", ["int8"]),
        ("backbone.dim", 2**40),
        ("backbone.dim", True),
        ("backbone.dim", 0),
        ("backbone.grid", [3, -2]),
        ("backbone.grid", [3]),
        ("backbone.fingerprint", "abc"),
        ("backbone.fingerprint", "0" * 64 + "\n"),
        ("tokens_per_image", 0),
        ("tokens_per_image", 7),
        ("tokens_per_image", 4.0),
        ("classes", ["sky", 1]),
        ("classes", ["x"] * 40_000),
        ("shards.rows", -4),
        ("shards.bytes", 10**30),
        ("shards.file", "shard-1.safetensors"),
        ("shards.sha256", "0" * 63),
        ("counts.images", 22),
        ("counts.tokens", 21),
        ("index.rows", 4),
        ("skipped.rows", -1),
        ("skipped.file", "../skipped.parquet"),
        ("sources", [{"name": "a", "kind": "folder"}]),
        ("sources", [{"name": "a", "kind": "folder", "place": 1}]),
        ("settings", []),
        ("shards", []),
    ],
)
def test_the_wrong_field_is_named(forgery: Forgery, field: str, value: Any) -> None:
    folder, manifest = forgery[0], copy.deepcopy(forgery[1])
    *outer, name = field.split(".")
    container = manifest[outer[0]] if outer else manifest
    (container[0] if isinstance(container, list) else container)[name] = value
    (folder / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(InsightError, match=rf"manifest.json: {field}: expected .*, found"):
        FeatureCache.open(folder)


def test_a_shard_is_listed_once(forgery: Forgery) -> None:
    folder, manifest = forgery[0], copy.deepcopy(forgery[1])
    manifest["shards"][1]["file"] = manifest["shards"][0]["file"]
    (folder / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(InsightError, match="shards: expected at least one shard, each listed once"):
        FeatureCache.open(folder)

"""A manifest may come from anybody: whatever is in it, opening and reading the cache works or says what is wrong."""

import copy
import json
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from insight.cache import FeatureCache
from sae.errors import InsightError

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
def folder(cache: FeatureCache) -> Iterator[Path]:
    """A copy of the cache whose manifest the tests overwrite."""
    with tempfile.TemporaryDirectory() as name:
        yield Path(shutil.copytree(cache.folder, Path(name) / "copy"))


def places(value: Any) -> list[tuple[Any, Any]]:
    """(container, key) of everything inside a JSON value."""
    keys = list(value) if isinstance(value, dict) else list(range(len(value))) if isinstance(value, list) else []
    return [(value, key) for key in keys] + [place for key in keys for place in places(value[key])]


def read_everything(folder: Path) -> None:
    cache = FeatureCache.open(folder, shuffle_memory=1)
    next(cache.batches(10, seed=0))
    for _ in cache.scan():
        pass
    cache.pooled()
    cache.verify()


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


@settings(max_examples=400, deadline=None)
@given(data=st.data())
def test_a_mutated_manifest_is_read_or_refused(cache: FeatureCache, folder: Path, data: st.DataObject) -> None:
    manifest = copy.deepcopy(cache.manifest)
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


@settings(max_examples=200, deadline=None)
@given(value=JSON)
def test_other_json_is_refused(folder: Path, value: Any) -> None:
    assert not opens_or_explains(folder, json.dumps(value))


@pytest.mark.parametrize(
    "text", [b"", b"\xff", b"{", b"[" * 100_000, b"9" * 10_000, b'{"format": "insight-cache", "format_version": 2}']
)
def test_what_is_no_manifest_is_refused(folder: Path, text: bytes) -> None:
    assert not opens_or_explains(folder, text)


def test_the_unchanged_manifest_is_read(cache: FeatureCache, folder: Path) -> None:
    assert opens_or_explains(folder, json.dumps(cache.manifest))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("format_version", 2),
        ("dtype", "float64"),
        ("backbone.dim", 2**40),
        ("backbone.dim", True),
        ("backbone.grid", [3, -2]),
        ("backbone.fingerprint", "abc"),
        ("shards.rows", -4),
        ("shards.bytes", 10**30),
        ("counts.images", 22),
        ("shards", []),
    ],
)
def test_the_wrong_field_is_named(cache: FeatureCache, folder: Path, field: str, value: Any) -> None:
    manifest = copy.deepcopy(cache.manifest)
    *outer, name = field.split(".")
    container = manifest[outer[0]] if outer else manifest
    (container[0] if isinstance(container, list) else container)[name] = value
    (folder / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(InsightError, match=rf"manifest.json: {field}: expected .*, found"):
        FeatureCache.open(folder)

"""Small files that stand for large ones are refused, and take little memory."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ..forged import make, sign
from .judged import refused


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


@pytest.mark.slow
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


@pytest.mark.soak
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

"""Merge, convert and sample: whole or not at all, resumed after any stop, and never at others' cost."""

import errno
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from insight.cache import FeatureCache
from insight.cache.derived.convert import convert_cache
from insight.cache.derived.merge import merge_caches
from insight.cache.derived.sample import sample_cache
from sae.errors import InsightError

from ..random_cache import random_cache
from ..stand_in import contents

ROOT = Path(__file__).parents[4]

TOOLS: dict[str, Callable[[Path, Path], FeatureCache]] = {
    "merge": lambda inputs, out: merge_caches([inputs / "a", inputs / "b"], out),
    "convert": lambda inputs, out: convert_cache(inputs / "a", out, "int8"),
    "sample": lambda inputs, out: sample_cache(inputs / "a", out, images=11, tokens=3, seed=1),
}


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two caches, `a` and `b`. Tests must not change them."""
    folder = tmp_path_factory.mktemp("inputs")
    random_cache(folder / "a", (3, 3, 3, 3, 2), name="a", seed=1)
    random_cache(folder / "b", (3, 2), name="b", seed=2)
    return folder


@pytest.mark.parametrize("tool", TOOLS)
@pytest.mark.parametrize("linked", [True, False])
def test_a_run_that_fails_at_any_write_goes_on_to_the_same_bytes(
    inputs: Path, tmp_path: Path, tool: str, linked: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = contents(inputs)
    if not linked:
        monkeypatch.setattr(os, "link", lambda *_: (_ for _ in ()).throw(OSError(errno.EXDEV, "another disk")))
    whole = contents(TOOLS[tool](inputs, tmp_path / "whole").folder)
    sync, left = os.fsync, [0]

    def fsync(descriptor: int) -> None:
        left[0] -= 1
        if left[0] < 0:
            raise OSError(errno.ENOSPC, "no room")
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    out, stops = tmp_path / "out", 0
    while not (out / "manifest.json").exists():
        left[0] = stops // 2
        with suppress(InsightError):
            TOOLS[tool](inputs, out)
        stops += 1
    assert stops > 6
    assert contents(out) == whole
    assert contents(inputs) == before


KILLED = """
import os, signal, sys
from pathlib import Path
from tests.insight.cache.derived.test_derive import TOOLS
sync, left = os.fsync, [int(sys.argv[4])]
def die_when_due(descriptor):
    left[0] -= 1
    if left[0] < 0:
        os.kill(os.getpid(), signal.SIGKILL)
    sync(descriptor)
os.fsync = die_when_due
TOOLS[sys.argv[1]](Path(sys.argv[2]), Path(sys.argv[3]))
"""


@pytest.mark.slow
def test_a_killed_run_goes_on_to_the_same_bytes(inputs: Path, tmp_path: Path) -> None:
    whole = TOOLS["convert"](inputs, tmp_path / "whole")
    for syncs in (2, 4):  # both times in the middle of a shard
        command = [sys.executable, "-c", KILLED, "convert", str(inputs), str(tmp_path / "out"), str(syncs)]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
        assert done.returncode == -signal.SIGKILL, done.stderr
    assert any((tmp_path / "out").glob(".*.part"))
    assert len([*(tmp_path / "out").glob("shard-*.safetensors")]) == 2
    assert contents(TOOLS["convert"](inputs, tmp_path / "out").folder) == contents(whole.folder)


def test_a_note_cut_short_and_a_shard_that_is_gone_cost_that_shard(inputs: Path, tmp_path: Path) -> None:
    whole = contents(TOOLS["convert"](inputs, tmp_path / "whole").folder)
    out = tmp_path / "out"
    (out / "unfinished").mkdir(parents=True)
    manifest = json.loads(whole["manifest.json"])
    notes = [json.dumps(shard) for shard in manifest["shards"]]
    (out / "unfinished" / "settings.json").write_text(json.dumps(manifest["settings"]))
    (out / "unfinished" / "shards.jsonl").write_text("\n".join(notes)[:-20])
    for name in ("shard-00000.safetensors", "shard-00002.safetensors"):
        (out / name).write_bytes(whole[name])
    assert contents(TOOLS["convert"](inputs, out).folder) == whole


def test_a_finished_cache_is_returned_and_another_is_left_alone(inputs: Path, tmp_path: Path) -> None:
    out = TOOLS["convert"](inputs, tmp_path / "out").folder
    before = {path: path.stat().st_mtime_ns for path in out.iterdir()}
    assert TOOLS["convert"](inputs, out).manifest.dtype == "int8"
    assert {path: path.stat().st_mtime_ns for path in out.iterdir()} == before
    for other in ("merge", "sample"):
        with pytest.raises(InsightError, match="found a cache that was made otherwise; write to another folder"):
            TOOLS[other](inputs, out)
    with pytest.raises(InsightError, match="found a cache that was made otherwise"):
        merge_caches([inputs / "a", inputs / "b"], inputs / "a")
    assert {path: path.stat().st_mtime_ns for path in out.iterdir()} == before


def test_a_folder_with_other_files_is_left_alone(inputs: Path, tmp_path: Path) -> None:
    (tmp_path / "letter.txt").write_text("dear")
    with pytest.raises(
        InsightError, match=r"expected an empty folder or an unfinished cache, found other files \(letter.txt\)"
    ):
        TOOLS["convert"](inputs, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["letter.txt"]

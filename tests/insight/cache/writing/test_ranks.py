"""Processes that torchrun starts write one cache, the same as one process alone."""

import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from sae.errors import InsightError

from ..stand_in import Pictures, contents, make_photos, write

ROOT = Path(__file__).parents[4]
PARTS = ["a9", "b2", "c6", "d1", "e7"]
WRITER = """
import json, os, sys, time
from pathlib import Path
from sae.errors import InsightError
from tests.insight.cache.stand_in import Pictures, StandIn, write
for what, out, wait, settings in json.loads(sys.argv[1]):
    backbone = StandIn()
    backbone.on_batch = lambda: (Path(f"{out} {os.environ['RANK']}").touch(), time.sleep(wait))
    try:
        write(Pictures(what) if isinstance(what, list) else Path(what), Path(out), backbone, **settings)
        print("done", flush=True)
    except InsightError as error:
        print(error, flush=True)
"""


def start(world: int, *writes: tuple[object, Path, float, dict[str, object]]) -> list[subprocess.Popen[str]]:
    """Processes as torchrun sets them up; each writes, one after the other, (source, folder, with settings), and takes
    so many seconds for every batch."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = str(free.getsockname()[1])
    run = {"MASTER_ADDR": "localhost", "MASTER_PORT": port, "TORCHELASTIC_RUN_ID": "test", "OMP_NUM_THREADS": "1"}
    return [
        subprocess.Popen(
            [sys.executable, "-c", WRITER, json.dumps(writes, default=str)],
            cwd=ROOT,
            env=os.environ | run | {"WORLD_SIZE": str(world), "RANK": str(rank), "LOCAL_RANK": str(rank)},
            stdout=subprocess.PIPE,
            text=True,
        )
        for rank in range(world)
    ]


def end(processes: list[subprocess.Popen[str]]) -> list[list[str]]:
    """What each process said, line by line."""
    return [process.communicate(timeout=100)[0].splitlines() for process in processes]


def wait_for(*paths: Path) -> None:
    for _ in range(600):
        if all(path.exists() for path in paths):
            return
        time.sleep(0.1)
    raise AssertionError(f"{paths} did not come")


@pytest.mark.slow
def test_two_write_and_append_what_one_does_and_refuse_what_one_refuses(tmp_path: Path) -> None:
    photos, out = make_photos(tmp_path / "photos", 23), tmp_path / "together"
    alone = write(photos, tmp_path / "alone", tokens=3).folder
    write(Pictures(PARTS), alone, tokens=3, append=True)
    two = start(
        2,
        (photos, out, 0, {"tokens": 3}),
        (PARTS, out, 0, {"tokens": 3, "append": True}),
        (photos, alone, 0, {"tokens": 2}),
        (tmp_path / "no", tmp_path / "no out", 0, {}),
        (PARTS, tmp_path / "pictures", 0, {}),
    )
    for said in end(two):
        assert said[:2] == ["done"] * 2
        assert "tokens is 3 there and 2 now" in said[2]
        assert "found nothing" in said[3]
        assert said[4:] == ["done"]
    assert contents(out) == contents(alone)
    assert contents(tmp_path / "pictures") == contents(write(Pictures(PARTS), tmp_path / "pictures alone").folder)
    assert Path(f"{out} 0").exists()
    assert Path(f"{out} 1").exists()  # both had something to do


@pytest.mark.slow
def test_a_run_killed_with_two_goes_on_with_one_and_nobody_comes_between(tmp_path: Path) -> None:
    photos, out = make_photos(tmp_path / "photos", 23), tmp_path / "out"
    processes = start(2, (photos, out, 0.7, {"tokens": 3}))
    wait_for(Path(f"{out} 0"), Path(f"{out} 1"))
    with pytest.raises(InsightError, match="another process is writing this cache"):
        write(photos, out, tokens=3)
    processes[0].kill()  # the other is still there: its lock says so
    processes[0].wait()
    with pytest.raises(InsightError, match="another process is writing this cache"):
        write(photos, out, tokens=3)
    processes[1].kill()
    end(processes)
    assert (out / "unfinished").is_dir()
    assert write(photos, out, tokens=3).n_images == 23
    assert contents(out) == contents(write(photos, tmp_path / "alone", tokens=3).folder)

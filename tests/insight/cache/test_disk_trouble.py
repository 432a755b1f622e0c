"""Disks fill up, files vanish, folders are moved: nothing that was written before is lost, and the message says what
to do."""

import errno
import os
import resource
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from insight.cache import FeatureCache
from sae import SaeConfig, TrainConfig, train
from sae.errors import InsightError

from .stand_in import StandIn, contents, make_photos, write

CODES = (errno.ENOSPC, errno.EIO, errno.EDQUOT)
GO_ON = "make room or allow it, then run the same command again: it goes on where it stopped"


@contextmanager
def mounted(folder: Path, options: str) -> Iterator[None]:
    """A file system in memory on a folder; skips the test where nobody may mount one."""
    folder.mkdir(exist_ok=True)
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)], capture_output=True)
    if done.returncode:
        pytest.skip("may not mount a file system")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def remount(folder: Path, options: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{options}", str(folder)], check=True)


@contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    """The system refuses this process files of more bytes, whoever writes them."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def refusal(photos: Path, out: Path, reason: str) -> str:
    """Why a cache is not written, "" if it is; the reason is given, and what to do."""
    complaint = ""
    try:
        write(photos, out, dtype="float32")
    except InsightError as error:
        complaint = str(error)
    assert not complaint or (reason in complaint and complaint.endswith(GO_ON))
    return complaint


def shards(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.glob("shard-*.safetensors")}


def whole(folder: Path) -> dict[str, bytes]:
    return {name: content for name, content in contents(folder).items() if not name.startswith(".lock")}


@pytest.fixture(scope="module")
def expected(cache: FeatureCache) -> dict[str, bytes]:
    """The bytes of the cache that nobody disturbed."""
    return whole(cache.folder)


def test_a_full_disk_costs_nothing(photos: Path, expected: dict[str, bytes], tmp_path: Path) -> None:
    """Whatever part of a cache fits: the same command goes on when there is room, and ends with the same bytes."""
    size = sum(map(len, expected.values()))
    with mounted(tmp_path / "disk", "size=4k"):
        out, done, refusals = tmp_path / "disk" / "out", dict[str, bytes](), 0
        for kilobytes in range(8, 2 * size // 1024, 4):
            remount(tmp_path / "disk", f"size={kilobytes}k")
            refusals += bool(refusal(photos, out, "No space left on device"))
            assert done.items() <= shards(out).items()
            done = shards(out)
        remount(tmp_path / "disk", f"size={20 * size}")
        write(photos, out, dtype="float32").verify()
        assert whole(out) == expected
    assert refusals > 2


def test_a_disk_that_refuses_large_files_costs_nothing(
    photos: Path, expected: dict[str, bytes], tmp_path: Path
) -> None:
    """Every file of the cache is refused once, by one limit or another."""
    out, refused, done = tmp_path / "out", set(), dict[str, bytes]()
    sizes = sorted({len(content) for content in expected.values()})
    for size in (0, 16, 200, *(size - 1 for size in sizes), *sizes):
        with files_of_at_most(size):
            complaint = refusal(photos, out, "File too large")
        refused.add(Path(complaint.partition(":")[0]).suffix)
        if out.exists():
            assert done.items() <= shards(out).items()
            done = shards(out)
    write(photos, out, dtype="float32").verify()
    assert whole(out) == expected
    assert {".safetensors", ".parquet"} <= refused


def test_a_failing_sync_costs_nothing(
    photos: Path, expected: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whichever file it is noticed at."""
    sync, failures = os.fsync, 0
    for failing in range(60):
        out, calls = tmp_path / str(failing), iter(range(10**6))
        code = CODES[failing % len(CODES)]

        def fail_once(descriptor: int, calls: Iterator[int] = calls, failing: int = failing, code: int = code) -> None:
            if next(calls) == failing:
                raise OSError(code, os.strerror(code))
            sync(descriptor)

        monkeypatch.setattr(os, "fsync", fail_once)
        if refusal(photos, out, os.strerror(code)):
            failures += 1
            done = shards(out)
            write(photos, out, dtype="float32")
            assert done.items() <= shards(out).items()
        monkeypatch.undo()
        assert whole(out) == expected
        shutil.rmtree(out)
        if next(calls) < failing:  # there were not so many
            break
    assert failures > 10


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_without_permission_is_named(photos: Path, tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(InsightError, match=r"cannot be written \(Permission denied\); make room or allow it"):
            write(photos, tmp_path / "out")
    finally:
        tmp_path.chmod(0o700)


def test_a_disk_that_is_read_only_for_a_while_costs_nothing(
    photos: Path, expected: dict[str, bytes], tmp_path: Path
) -> None:
    with mounted(tmp_path / "disk", "size=10m"):
        out, backbone, batches = tmp_path / "disk" / "out", StandIn(), iter(range(100))

        def stop() -> None:
            if next(batches) == 5:
                raise KeyboardInterrupt

        backbone.on_batch = stop
        with pytest.raises(KeyboardInterrupt):
            write(photos, out, backbone, dtype="float32")
        done = shards(out)
        remount(tmp_path / "disk", "ro")
        assert refusal(photos, out, "Read-only file system")
        remount(tmp_path / "disk", "rw")
        write(photos, out, dtype="float32")
        assert done.items() <= shards(out).items()
        assert whole(out) == expected


@pytest.fixture
def copy(cache: FeatureCache, tmp_path: Path) -> Path:
    """The finished cache in a folder of its own."""
    return Path(shutil.copytree(cache.folder, tmp_path / "copy"))


class Vanishing:
    """A cache from which something is taken away when a batch is asked for."""

    def __init__(self, cache: FeatureCache, step: int, take_away: Callable[[], object]) -> None:
        self.cache, self.dim, self.n_tokens = cache, cache.dim, cache.n_tokens
        self.step, self.take_away = step, take_away

    def batches(self, batch_size: int, *, seed: int, start_step: int = 0) -> Iterator[Tensor]:
        for step, batch in enumerate(self.cache.batches(batch_size, seed=seed, start_step=start_step), start_step):
            if step == self.step:
                self.take_away()
            yield batch


@pytest.mark.parametrize("what", ["shard", "folder"])
def test_training_goes_on_when_what_vanished_is_put_back(copy: Path, tmp_path: Path, what: str) -> None:
    """A shard, or the whole folder, is moved away while training reads; the run's checkpoint is not lost."""
    path = copy / "shard-00003-00000.safetensors" if what == "shard" else copy
    path = path if path.exists() else next(copy.glob("shard-00003*"))
    away = tmp_path / "away"
    config = SaeConfig(dim=8, n_concepts=16, k=2, fractions=(1.0,))
    run = TrainConfig(steps=40, batch_size=20, seed=1, checkpoint_seconds=0)
    small = FeatureCache.open(copy, shuffle_memory=1000)
    undisturbed = train(small, config, run, tmp_path / "undisturbed", progress=False)
    source = Vanishing(small, 13, lambda: path.rename(away))
    with pytest.raises(InsightError, match=r"shard-0000.*: cannot be read \(No such file or directory\); put it back"):
        train(source, config, run, tmp_path / "run", progress=False)
    assert (tmp_path / "run" / "checkpoint").exists()
    away.rename(path)
    again = Vanishing(FeatureCache.open(copy, shuffle_memory=1000), -1, str)
    trained = train(again, config, run, tmp_path / "run", progress=False)
    assert torch.equal(trained.encoder, undisturbed.encoder)


def test_a_shard_cut_short_while_training_reads_is_named(copy: Path) -> None:
    batches = FeatureCache.open(copy, shuffle_memory=1000).batches(20, seed=0)
    next(batches)
    path = sorted(copy.glob("shard-*"))[2]
    os.truncate(path, path.stat().st_size // 2)
    with pytest.raises(InsightError, match=rf"{path.name}: ends too early; it changed .* put it back"):
        list(islice(batches, 100))


def test_what_is_open_is_read_on_when_the_folder_moves_back(copy: Path, cache: FeatureCache, tmp_path: Path) -> None:
    opened = FeatureCache.open(copy)
    copy.rename(tmp_path / "away")
    for read in (lambda: opened.image(0), opened.pooled, lambda: opened.index, opened.verify):
        with pytest.raises(InsightError, match=r"cannot be read \(No such file or directory\); put it back"):
            read()
    with pytest.raises(InsightError, match=r"expected a feature cache with manifest\.json, found no such folder"):
        FeatureCache.open(copy)
    (tmp_path / "away").rename(copy)
    assert torch.equal(opened.image(5), cache.image(5))
    assert opened.index.equals(cache.index)
    opened.verify()


def test_a_second_writer_is_sent_away_and_the_first_one_ends(
    photos: Path, expected: dict[str, bytes], tmp_path: Path
) -> None:
    backbone, refused = StandIn(), list[str]()

    def second() -> None:
        for settings in ({}, {"append": True}, {"dtype": "int8"}):
            with pytest.raises(InsightError) as caught:
                write(photos, tmp_path / "out", **{"dtype": "float32", **settings})
            refused.append(str(caught.value))

    backbone.on_batch = second
    write(photos, tmp_path / "out", backbone, dtype="float32")
    assert refused
    for complaint in refused:
        assert "another process is writing this cache; wait until it ends, or write to another folder" in complaint
    assert whole(tmp_path / "out") == expected


def everything(cache: FeatureCache) -> dict[str, Any]:
    first = torch.cat(list(islice(cache.batches(30, seed=3), 20)))
    tokens = torch.cat([features for _, features in cache.scan()])
    return {"batches": first, "tokens": tokens, "pooled": cache.pooled(), "ids": cache.index["id"].to_pylist()}


def same(found: dict[str, Any], wanted: dict[str, Any]) -> bool:
    pairs = [(found[name], wanted[name]) for name in wanted]
    return all(torch.equal(a, b) if isinstance(a, Tensor) else a == b for a, b in pairs)


def test_a_cache_is_read_as_it_was_while_and_after_images_are_appended(tmp_path: Path) -> None:
    """Opened before, opened in the middle, and running across it; and a refused append leaves it as it was."""
    photos = make_photos(tmp_path / "photos", 9)
    before = write(photos, tmp_path / "out", dtype="float32")
    wanted = everything(FeatureCache.open(tmp_path / "out"))
    running = FeatureCache.open(tmp_path / "out", shuffle_memory=1000).batches(30, seed=3)
    begun = [next(running)]
    make_photos(photos, 23)
    backbone, opened = StandIn(), list[FeatureCache]()

    def look() -> None:
        opened.append(FeatureCache.open(tmp_path / "out"))
        assert same(everything(opened[-1]), wanted)

    backbone.on_batch = look
    with files_of_at_most(500), pytest.raises(InsightError, match="File too large"):
        write(photos, tmp_path / "out", append=True, dtype="float32")
    assert same(everything(FeatureCache.open(tmp_path / "out")), wanted)
    after = write(photos, tmp_path / "out", backbone, append=True, dtype="float32")
    assert opened
    assert after.n_images == 23
    begun += islice(running, 19)
    alone = FeatureCache.open(tmp_path / "out", shuffle_memory=1000)
    assert alone.n_images == 23
    for cache in (before, *opened):
        assert same(everything(cache), wanted)
    assert sorted(torch.cat(begun)[:54].tolist()) == sorted(wanted["tokens"].tolist())


@pytest.mark.parametrize("moved", ["out", "photos"])
def test_a_folder_moved_away_in_mid_run_stops_the_writer(
    expected: dict[str, bytes], tmp_path: Path, moved: str
) -> None:
    """Put back, it is gone on with; what was written is in it."""
    photos, out = make_photos(tmp_path / "photos", 23), tmp_path / "out"
    path = {"out": out, "photos": photos}[moved]
    backbone, batches = StandIn(), iter(range(100))

    def move() -> None:
        if next(batches) == 4:
            for _ in range(3000):  # until a shard is finished
                if (out / "unfinished" / "shard-00000.json").exists():
                    break
                time.sleep(0.01)
            path.rename(tmp_path / "away")

    backbone.on_batch = move
    with pytest.raises(InsightError) as caught:
        write(photos, out, backbone, dtype="float32")
    assert str(path) in str(caught.value)
    assert "again" in str(caught.value)
    done = shards(tmp_path / "away" if moved == "out" else out)
    assert "shard-00000.safetensors" in done
    if path.exists():
        shutil.rmtree(path)
    (tmp_path / "away").rename(path)
    write(photos, out, dtype="float32")
    assert done.items() <= shards(out).items()
    assert {name: shard for name, shard in expected.items() if name.startswith("shard")} == shards(out)

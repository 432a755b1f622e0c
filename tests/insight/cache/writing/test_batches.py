"""The log of a shard in the making gives back whole batches, whatever a kill or a disk has left of its end."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch

from insight.cache.format.shard import Form
from insight.cache.writing.batches import Batch, BatchLog, Seen

FORM = Form(tokens=3, dim=5, dtype="int8", has_positions=True, has_classes=True)


@pytest.fixture
def batches() -> list[Batch]:
    """Of three images, of none, of one; each with a bad image before or after."""
    rng = np.random.default_rng(int.from_bytes(os.urandom(4), "little"))
    made, at = [], 0
    for rows in (3, 0, 1):
        tensors = {
            name: torch.from_numpy(rng.integers(-100, 100, shape)).to(dtype)
            for name, (dtype, shape) in FORM.tensors(rows).items()
            if name != "checks"
        }
        ids = [f"image {at + row} \N{SNOWMAN}" for row in range(rows)]
        at += rows + 1
        seen = Seen(
            ids, [None, "cat", "dog"][:rows], ["test", None, None][:rows], [{"id": f"bad {at}", "reason": "so"}]
        )
        made.append(Batch(seen, tensors, at))
    return made


def same(one: Batch, two: Batch) -> bool:
    return (one.seen, one.next, one.tensors.keys()) == (two.seen, two.next, two.tensors.keys()) and all(
        torch.equal(one.tensors[name], two.tensors[name]) for name in one.tensors
    )


def check(path: Path, batches: list[Batch], whole: int) -> None:
    found = list(BatchLog(path, FORM).read())
    assert len(found) == whole
    assert all(map(same, found, batches))


def test_batches_come_back_as_they_were(batches: list[Batch], tmp_path: Path) -> None:
    log = BatchLog(tmp_path / "log", FORM)
    assert list(log.read()) == []
    log.append(batches[:1])
    log.append(batches[1:])
    check(log.path, batches, 3)
    log.remove()
    assert list(log.read()) == []


def test_what_is_cut_short_is_cut_off_and_others_can_follow(batches: list[Batch], tmp_path: Path) -> None:
    log = BatchLog(tmp_path / "log", FORM)
    ends = []
    for batch in batches:
        log.append([batch])
        ends.append(log.path.stat().st_size)
    raw = log.path.read_bytes()
    for size in range(len(raw)):
        log.path.write_bytes(raw[:size])
        whole = sum(end <= size for end in ends)
        check(log.path, batches, whole)
        assert log.path.stat().st_size == (ends[whole - 1] if whole else 0)
    log.path.write_bytes(raw[:-1])
    list(log.read())
    log.append(batches[2:])
    check(log.path, batches, 3)


def test_a_byte_that_changed_ends_the_log_before_its_batch(batches: list[Batch], tmp_path: Path) -> None:
    log = BatchLog(tmp_path / "log", FORM)
    log.append(batches)
    raw = bytearray(log.path.read_bytes())
    log.append(batches[:1])
    end = len(log.path.read_bytes()) - len(raw)  # of the first batch
    for at in range(len(raw)):
        changed = raw.copy()
        changed[at] ^= 1 << at % 8
        log.path.write_bytes(changed)
        assert len(list(log.read())) < 3
        if at >= end:
            log.path.write_bytes(changed)
            assert same(next(iter(log.read())), batches[0])

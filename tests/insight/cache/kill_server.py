"""`python -m tests.insight.cache.kill_server FOLDER`: writers that kill themselves with SIGKILL at a chosen step.

Everything is imported once; each line of standard input, {"case", "out", "die_at", "seen"}, forks a process that writes
the cache(s) of a case and dies at its step number `die_at` (0: never). A step is whatever changes the disk: a file
opened for writing, a write (which is cut in half), an fsync, a rename, a removal, a folder made, a file cut short. The
answer, a line too, has whether it was killed, its exit code and how many steps it came to; what the encoder saw is
added to the file `seen`, 16 bytes an image.
"""

import hashlib
import io
import json
import os
import pathlib
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import torch
from torch import Tensor

from insight.backbones import DenseFeatures
from insight.cache import write_caches
from insight.cache.writing import making

from .stand_in import Pictures, StandIn

CHANGES = {"os.mkdir", "os.rmdir", "os.remove", "os.rename", "os.truncate", "os.link", "os.symlink"}
SETTINGS = {"shard_images": 9, "batch_size": 2, "workers": 2, "progress": False}
MASKED = {"dtype": "int8", "tokens": 3, "seed": 5}
FOLDER = Path(sys.argv[1]) if __name__ == "__main__" else Path()


class Watched(StandIn):
    """Notes what it sees, by the bytes of each image."""

    def __init__(self, version: str, seen: int) -> None:
        super().__init__(version)
        self.seen = seen

    def encode_image(self, images: Tensor) -> DenseFeatures:
        digests = [hashlib.md5(image.numpy().tobytes() + self.version.encode()).digest() for image in images]
        os.write(self.seen, b"".join(digests))
        return super().encode_image(images)


def cases(out: Path, seen: int) -> dict[str, Callable[[], object]]:
    """What can be written into the folder `out`."""
    one, two = Watched("1", seen), Watched("2", seen)
    pictures = Pictures(["a12", "b2", "c6"], classes=("x", "y", "z"))
    return {
        "folder": lambda: write_caches(FOLDER, {out: one}, **SETTINGS),
        "parts": lambda: write_caches(pictures, {out: one}, **SETTINGS, **MASKED),
        "two": lambda: write_caches(pictures, {out / "1": one, out / "2": two}, **SETTINGS),
        "append": lambda: write_caches(FOLDER, {out: one}, **SETTINGS, append=True),
        "append another": lambda: write_caches(Pictures(["a12", "c6"]), {out: one}, **SETTINGS, append=True),
    }


class Steps:
    """Counts what changes the disk and kills the process at one of them."""

    def __init__(self, die_at: int) -> None:
        self.die_at, self.count = die_at, 0
        self.lock = threading.Lock()

    def step(self) -> bool:
        """Whether this is the one."""
        with self.lock:
            self.count += 1
            return self.count == self.die_at

    def take(self) -> None:
        if self.step():
            os.kill(os.getpid(), signal.SIGKILL)

    def watch(self) -> None:
        def audit(event: str, arguments: tuple[object, ...]) -> None:
            changes = event in CHANGES
            if event == "open" and isinstance(arguments[2], int):
                changes = bool(arguments[2] & (os.O_WRONLY | os.O_RDWR))
            if changes:
                self.take()

        sys.addaudithook(audit)
        os.fsync = lambda descriptor: self.take()  # SIGKILL loses nothing that was not synced
        steps, path_open = self, pathlib.Path.open

        class Raw(io.FileIO):
            def write(self, data):
                if steps.step():
                    super().write(memoryview(data).cast("B")[: len(memoryview(data).cast("B")) // 2])
                    os.kill(os.getpid(), signal.SIGKILL)
                return super().write(data)

        def watched_open(path, mode="r", buffering=-1, encoding=None, errors=None, newline=None):
            if not set(mode) & set("wax+"):
                return path_open(path, mode, buffering, encoding, errors, newline)
            raw = Raw(path, mode.replace("b", "").replace("t", ""))
            buffered = io.BufferedRandom(raw) if "+" in mode else io.BufferedWriter(raw)
            return buffered if "b" in mode else io.TextIOWrapper(buffered, encoding, errors, newline)

        pathlib.Path.open = watched_open


def run(case: str, out: str, die_at: int, seen: str, report: int) -> None:
    """In the forked process."""
    work = cases(Path(out), os.open(seen, os.O_WRONLY | os.O_CREAT | os.O_APPEND))[case]
    steps = Steps(die_at)
    steps.watch()
    work()
    os.write(report, steps.count.to_bytes(8, "little"))


def main() -> None:
    torch.set_num_threads(1)
    making.LOG_EVERY = 0.0  # log every batch
    pa.array([""])  # makes pyarrow import what it imports late
    for line in sys.stdin:
        asked = json.loads(line)
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            try:
                run(**asked, report=writing)
            except BaseException:
                sys.excepthook(*sys.exc_info())
                os._exit(1)
            os._exit(0)
        os.close(writing)
        _, status = os.waitpid(child, 0)
        count = int.from_bytes(os.read(reading, 8), "little")
        os.close(reading)
        code = os.waitstatus_to_exitcode(status)
        print(json.dumps({"killed": code == -signal.SIGKILL, "code": code, "steps": count}), flush=True)


if __name__ == "__main__":
    main()

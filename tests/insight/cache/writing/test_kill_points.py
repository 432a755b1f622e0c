"""A writer killed with SIGKILL at any step ends, once it is run again, with the bytes of one that was not.

Nothing is encoded twice but the three batches in flight, and nothing that was noted or logged; what an encoder sees is
counted by `kill_server`.
"""

import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from insight.cache import FeatureCache
from insight.cache.format.shard import Form
from insight.cache.writing.batches import BatchLog

from ..stand_in import contents, make_photos, write

ROOT = Path(__file__).parents[4]
IN_FLIGHT = 3 * 2  # batches of images
FORMS = {
    "folder": Form(6, 8, "float16"),
    "parts": Form(3, 8, "int8", has_positions=True, has_classes=True),
    "two": Form(6, 8, "float16", has_classes=True),
    "append": Form(6, 8, "float16"),
    "append another": Form(6, 8, "float16"),
}


class Server:
    """Runs cases in processes that die when told to."""

    def __init__(self, photos: Path) -> None:
        command = [sys.executable, "-m", "tests.insight.cache.kill_server", str(photos)]
        alone = {"OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"}
        self.process = subprocess.Popen(
            command, cwd=ROOT, env=os.environ | alone, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def run(self, case: str, out: Path, seen: Path, die_at: int = 0) -> tuple[bool, int]:
        """Whether it was killed, and how many steps it came to if not."""
        asked = {"case": case, "out": str(out), "die_at": die_at, "seen": str(seen)}
        self.process.stdin.write(json.dumps(asked) + "\n")
        self.process.stdin.flush()
        answer = json.loads(self.process.stdout.readline())
        assert answer["killed"] or answer["code"] == 0, answer
        assert die_at or not answer["killed"]
        return answer["killed"], answer["steps"]

    def close(self) -> None:
        self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()


class Case:
    """A case, and what it does when nobody disturbs it."""

    def __init__(self, name: str, server: Server, begun: Path | None, folder: Path) -> None:
        self.name, self.server, self.begun, self.folder = name, server, begun, folder
        out, seen = self.fresh("whole")
        _, self.steps = server.run(name, out, seen)
        self.whole, self.seen = contents(out), images(seen)
        self.caches = [out / "1", out / "2"] if name == "two" else [out]
        assert set(self.seen.values()) == {1}
        for cache in self.caches:
            FeatureCache.open(cache).verify()

    def fresh(self, name: str) -> tuple[Path, Path]:
        """A folder to write to, as the case begins, and a file for what the encoder sees."""
        out = self.folder / name / "out"
        if self.begun:
            shutil.copytree(self.begun, out)
        else:
            out.parent.mkdir(parents=True)
        return out, out.parent / "seen"

    def check(self, die_at: list[int]) -> int:
        """Killed at these steps and then run to the end, it is the same → how often it was killed."""
        out, seen = self.fresh("killed")
        kills = 0
        for step in die_at:
            killed, _ = self.server.run(self.name, out, seen, step)
            kills += killed
            if self.begun and killed:
                assert FeatureCache.open(out).index["id"].to_pylist()[:5] == [f"{n}.png" for n in range(5)]
        encoded, kept = images(seen).total(), self.kept(out)
        self.server.run(self.name, out, seen)
        assert contents(out) == self.whole, (self.name, die_at)
        found = images(seen)
        assert kept is None or found.total() - encoded == self.seen.total() - kept, (self.name, die_at)
        assert found.keys() == self.seen.keys(), (self.name, die_at)
        assert found.total() - self.seen.total() <= kills * IN_FLIGHT * len(self.caches), (self.name, die_at)
        shutil.rmtree(out.parent)
        return kills

    def kept(self, out: Path) -> int | None:
        """How many images are noted or logged; None when no run is going on in every cache."""
        count = 0
        for cache in (out / "1", out / "2") if self.name == "two" else (out,):
            if not (cache / "unfinished" / "settings.json").exists():
                return None
            if (cache / "manifest.json").exists() and not self.begun:  # it is done but for the last step
                return None
            notes = [path for path in cache.glob("unfinished/shard-*.json")]
            count += sum(len(json.loads(path.read_text())["seen"]["ids"]) for path in notes)
            for log in cache.glob("unfinished/shard-*.log"):
                if log.with_suffix(".json") not in notes:
                    copy = Path(shutil.copy(log, self.folder / "log"))  # what is cut short is cut off when it is read
                    count += sum(len(batch.seen.ids) for batch in BatchLog(copy, FORMS[self.name]).read())
        return count


def images(seen: Path) -> Counter[bytes]:
    """How often the encoder saw each image."""
    raw = seen.read_bytes() if seen.exists() else b""
    return Counter(raw[at : at + 16] for at in range(0, len(raw), 16))


@pytest.fixture(scope="module")
def cases(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Case]]:
    """Cases by name; a folder is written, and appended to, that has photos and files that are none."""
    memory = Path("/dev/shm")
    where = (
        memory if os.access(memory, os.W_OK) else tmp_path_factory.getbasetemp()
    )  # a disk would take most of the time
    with tempfile.TemporaryDirectory(dir=where) as folder:
        yield from cases_in(Path(folder))


def cases_in(folder: Path) -> Iterator[dict[str, Case]]:
    photos = folder / "photos"
    photos.mkdir()
    for number in range(5):
        Image.effect_noise((30, 30), 50 + number).convert("RGB").save(photos / f"{number}.png")
    begun = write(photos, folder / "begun", shard_images=9, batch_size=2).folder
    make_photos(photos, 7)
    for name in ("cat/bad.png", "dog/bad.png", "nor.png"):
        (photos / name).write_text("no picture")
    server = Server(photos)
    names = {"folder": None, "parts": None, "two": None, "append": begun, "append another": begun}
    yield {name: Case(name, server, start, folder / name) for name, start in names.items()}
    server.close()


def check(cases: dict[str, Case], points: int, capsys: pytest.CaptureFixture[str]) -> None:
    """So many kills, spread over all steps of all cases; a quarter of the runs that go on are killed as well."""
    seed = int.from_bytes(os.urandom(4), "little")
    draw = random.Random(seed)
    print(f"seed {seed}")
    steps = [(case, step) for case in cases.values() for step in range(1, case.steps + 1)]
    kills = 0
    while kills < points:
        for case, step in draw.sample(steps, min(len(steps), points - kills)):
            again = [draw.randint(1, case.steps)] if draw.random() < 1 / 4 else []
            kills += case.check([step, *again])
    with capsys.disabled():
        print(f"\n{kills} kills at {len(steps)} steps of {len(cases)} cases: the same bytes")


@pytest.mark.slow
def test_killed_runs_end_with_the_bytes_of_one_that_was_not(cases, capsys) -> None:
    check(cases, 40, capsys)


@pytest.mark.soak
def test_a_thousand_kills_lose_and_double_nothing(cases, capsys) -> None:
    check(cases, 1000, capsys)

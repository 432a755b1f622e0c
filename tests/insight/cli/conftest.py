"""The world that commands are run wrongly on, and what each answer must be."""

import shlex
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from insight.backbones import registry
from insight.cli import main

from ..cache.stand_in import contents
from .world import make_world, stand_in

Complaint = Callable[[str], str]


@pytest.fixture(autouse=True)
def _no_encoder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_load", stand_in)


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("wrong")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(registry, "_load", stand_in)
        make_world(root)
    return root


@pytest.fixture
def world(made: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The working folder of a test, which must leave it as it was."""
    monkeypatch.chdir(made)
    before = contents(made)
    yield made
    after = contents(made)
    changed = {name for name in {*before, *after} if before.get(name) != after.get(name)}
    for name in after.keys() - before.keys():  # one test's fault is not the next one's
        (made / name).unlink()
    assert not {name for name in changed if not name.endswith(".lock")}


@pytest.fixture
def answer(world: Path, capsys: pytest.CaptureFixture[str]) -> Complaint:
    """What a command line that must end with exit code 2 says on standard error; nothing on the other."""

    def run(line: str) -> str:
        with pytest.raises(SystemExit) as stop:
            main(shlex.split(line))
        assert stop.value.code == 2
        return capsys.readouterr().err

    return run


@pytest.fixture
def complaint(answer: Complaint) -> Complaint:
    """The same, of commands that must say one line of their own and no more."""

    def run(line: str) -> str:
        (said,) = answer(line).splitlines()
        assert said.startswith("insight: ")
        assert len(said) < 600
        return said

    return run


@pytest.fixture
def damaged(made: Path, tmp_path: Path) -> Callable[[str, str, str], Path]:
    """A copy of a folder of the world, with one of its files cut short, emptied, flipped, replaced or gone."""

    def damage(folder: str, name: str, how: str) -> Path:
        copy = tmp_path / folder
        shutil.copytree(made / folder, copy)
        (file,) = copy.glob(name)
        content = bytearray(file.read_bytes())
        content[len(content) // 2] ^= 255
        left = {"flipped": bytes(content), "cut": content[: len(content) // 2], "empty": b"", "replaced": b"{broken"}
        if how == "gone":
            file.unlink()
        else:
            file.write_bytes(left[how])
        return copy

    return damage

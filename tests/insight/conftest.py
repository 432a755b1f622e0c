"""A small real model, made once for all tests of this folder: real photographs, real weights, a short training."""

import shutil
from pathlib import Path

import pytest

from insight.cli import main
from insight.data.demo import fetch_photos

BUILD = ["--concepts", "256", "--k", "8", "--steps", "60"]


@pytest.fixture(scope="session")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """48 of the demo's photographs."""
    folder = tmp_path_factory.mktemp("demo")
    chosen = tmp_path_factory.mktemp("photos")
    for photo in sorted(fetch_photos(folder).photos.glob("*.jpg"))[:48]:
        shutil.copy(photo, chosen)
    return chosen


@pytest.fixture(scope="session")
def words(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A short vocabulary of one's own."""
    file = tmp_path_factory.mktemp("words") / "words.txt"
    listed = "bird beak feather wing water sky tree branch leaf grass rock duck penguin person"
    file.write_text(listed.replace(" ", "\n"))
    return file


@pytest.fixture(scope="session")
def built(photos: Path, words: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model made by `insight build`; its cache lies beside it."""
    model = tmp_path_factory.mktemp("built") / "model"
    main(["build", str(photos), "--out", str(model), "--vocabulary", str(words), "--device", "cpu", *BUILD])
    return model

"""Photos and a finished cache for the tests of this folder."""

from pathlib import Path

import pytest

from insight.cache import FeatureCache

from .stand_in import make_photos, write


@pytest.fixture(scope="session")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """23 good photos: six shards of up to four, labels `cat` and `dog`."""
    return make_photos(tmp_path_factory.mktemp("photos"), 23)


@pytest.fixture(scope="session")
def cache(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> FeatureCache:
    """The photos as a float32 cache. Tests must not change it."""
    return write(photos, tmp_path_factory.mktemp("cache") / "out", dtype="float32")

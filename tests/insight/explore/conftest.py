"""One world for the tests that only read; those that change something make their own."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import numpy as np
import pytest
from starlette.testclient import TestClient

from insight.explore import Explorer, make_app

from .world import World, make_world, served

pytest.importorskip("gradio", reason="needs gradio: pip install 'insight-concepts[explore]'")


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return make_world(tmp_path_factory.mktemp("world"), np.random.default_rng())


@pytest.fixture(scope="session")
def explorer(world: World) -> Explorer:
    """Of the model and its cache, surveyed by the time a test asks."""
    return world.open(images=world.cache)


@pytest.fixture(scope="session")
def client(explorer: Explorer) -> Iterator[httpx.Client]:
    """A client of the launched explorer."""
    with served(explorer) as client:
        assert explorer.wait(60)
        yield client


@pytest.fixture
def own(tmp_path: Path) -> World:
    """A world to change."""
    return make_world(tmp_path, np.random.default_rng())


@pytest.fixture
def ask() -> Iterator[Callable[[Explorer], TestClient]]:
    """Makes a client of an explorer that is not launched: for the plain routes."""
    with ExitStack() as stack:
        yield lambda explorer: stack.enter_context(TestClient(make_app(explorer), base_url="http://127.0.0.1"))


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng()

"""A small world to explore: random photographs in a folder, their cache, and a model whose every number can be checked.

The encoder's patches are pixels, so the strongest patch of every concept in every photograph is known.
"""

import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from PIL import Image

from insight.cache import FeatureCache, write_cache
from insight.examples import Example, save_examples
from insight.explore import Explorer, close, launch
from insight.model import ConceptModel
from naming import ConceptGraph
from sae.files import read_json, write_json

from ..random_models import CONCEPTS, DIM, GRID, Pixels, random_dictionary, random_graph, write_model

PHOTOS = 9
EXAMPLES = 6
CLASSES = "cat|kitten, dog, rainy sky"


class SeenPixels(Pixels):
    """Pixels with the fingerprint of a cache, counting the batches it encodes and how many at a time."""

    fingerprint = "5eed" * 16
    seen = 0
    busy = 0
    most_busy = 0

    def encode_image(self, images: Any) -> Any:
        self.seen += 1
        self.busy += 1
        self.most_busy = max(self.most_busy, self.busy)
        try:
            return super().encode_image(images)
        finally:
            self.busy -= 1


@dataclass
class World:
    """`peaks` [photos, concepts]: the largest activation of each concept in each photograph, `ids` in their order."""

    model: Path
    photos: Path
    cache: Path
    ids: list[str]
    peaks: np.ndarray
    home: Path

    def open(self, **settings: Any) -> Explorer:
        """An explorer of the model, its encoder in place."""
        settings.setdefault("cache_home", self.home)
        explorer = Explorer.open(str(settings.pop("model", self.model)), **settings)
        for opened in explorer.models:
            opened.model.backbone = SeenPixels()
        return explorer

    def loaded(self) -> ConceptModel:
        """The model as the Python API has it."""
        return ConceptModel.from_pretrained(self.model, backbone=SeenPixels())


def make_world(folder: Path, rng: np.random.Generator, *, word: str = "word", density: float = 0.15) -> World:
    """Everything, fresh and random. `density`: of relations; of the last three concepts none leads to another."""
    photos = folder / "photos"
    for number in range(PHOTOS):
        path = photos / f"of {number % 2}" / f"{number:02d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        size = rng.integers(16, 60, 2)
        Image.fromarray(rng.integers(0, 256, (*size, 3), dtype=np.uint8)).save(path)
    cache = write_cache(photos, SeenPixels(), folder / "cache")
    sae, graph = random_dictionary(rng), random_graph(rng, density)
    write_model(folder / "model", sae, graph, word=word)
    mend_config(folder / "model")
    ids = cache.index["id"].to_pylist()
    codes = [sae.encode(cache.image(image)).dense().detach().numpy() for image in range(cache.n_images)]
    peaks = np.stack([code.max(0) for code in codes])
    save_examples(folder / "model" / "examples.parquet", strongest_places(codes, ids))
    return World(folder / "model", photos, folder / "cache", ids, peaks, folder / "home")


def mend_config(folder: Path) -> None:
    """The backbone's entry as training writes it."""
    config = read_json(folder / "config.json")
    config["backbone"] |= {"fingerprint": SeenPixels.fingerprint, "dim": DIM, "image_size": 16}
    config["images"], config["train"] = PHOTOS, {"steps": 1, "batch_size": 1}
    config["names"] = {"phrases": 3, "vocabulary": "made up", "mode": "none"}
    write_json(folder / "config.json", config)


def strongest_places(codes: list[np.ndarray], ids: list[str]) -> dict[int, list[Example]]:
    """Of every concept the photographs it is strongest in, one patch of each."""
    found = {}
    for concept in range(CONCEPTS):
        best = sorted(range(len(ids)), key=lambda i: -codes[i][:, concept].max())
        places = [(i, int(codes[i][:, concept].argmax())) for i in best if codes[i][:, concept].max() > 0]
        found[concept] = [
            Example(ids[i], *divmod(patch, GRID[1]), float(codes[i][patch, concept])) for i, patch in places[:EXAMPLES]
        ]
    return found


def graph_of(world: World) -> ConceptGraph:
    """The relations of the model on disk."""
    return ConceptGraph.load(world.model / "relations.npz")


def cache_of(world: World) -> FeatureCache:
    """The cache on disk."""
    return FeatureCache.open(world.cache)


def free_port() -> int:
    """A port that nobody listens at just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def served(explorer: Explorer) -> Iterator[httpx.Client]:
    """A client of the explorer, launched; it ends with the context."""
    app, address = launch(explorer, port=free_port())
    try:
        with httpx.Client(base_url=address, timeout=60) as client:
            yield client
    finally:
        close(app, explorer)


def call(client: httpx.Client, name: str, *data: Any) -> Any:
    """The answer of a queued function, as the page asks for it; an error comes as {"error"}."""
    asked = client.post(f"/gradio_api/call/{name}", json={"data": list(data)})
    if asked.status_code != 200:
        return asked.json()
    stream = client.get(f"/gradio_api/call/{name}/{asked.json()['event_id']}").text
    for block in stream.split("\n\n"):
        kind, _, told = block.partition("\ndata: ")
        if kind == "event: complete":
            return json.loads(told)[0]
        if kind == "event: error":
            return json.loads(told)
    raise AssertionError(f"no answer in {stream!r}")


def photo_bytes(rng: np.random.Generator, width: int = 48, height: int = 40) -> bytes:
    """A random photograph as the bytes of a PNG file."""
    import io

    buffer = io.BytesIO()
    Image.fromarray(rng.integers(0, 256, (height, width, 3), dtype=np.uint8)).save(buffer, format="PNG")
    return buffer.getvalue()

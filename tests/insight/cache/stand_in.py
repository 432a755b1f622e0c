"""A backbone that is quick, deterministic and depends on every pixel, and photos to feed it: files and a source."""

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from insight.backbones import Backbone, DenseFeatures
from insight.cache import FeatureCache, write_cache
from insight.data import BadImage, ImageSource, Item

SETTINGS = {"shard_images": 4, "batch_size": 3, "workers": 2, "progress": False}


class StandIn(Backbone):
    """3 × 2 cells of mean colour, mapped to 8 dimensions. `on_batch` is called before each batch."""

    name = "stand-in"
    description = "Mean colours of six cells; no foundation model."
    dim, grid, image_size, depth, n_prefix, has_text = 8, (3, 2), 24, 0, 0, False

    def __init__(self, version: str = "1") -> None:
        super().__init__()
        self.version = version
        self.weight = torch.nn.Parameter(torch.randn(3, 8, generator=torch.Generator().manual_seed(0)))
        self.on_batch = lambda: None

    @property
    def fingerprint(self) -> str:
        return hashlib.sha256(self.version.encode()).hexdigest()

    def encode_image(self, images: Tensor) -> DenseFeatures:
        self.on_batch()
        cells = torch.nn.functional.adaptive_avg_pool2d(images, self.grid).flatten(2).transpose(1, 2)
        patches = cells @ self.weight
        return DenseFeatures(patches, patches.mean(1), self.grid)


def expected_features(path: Path) -> Tensor:
    """What the stand-in sees in one RGB photo, by hand in float64: [6, 8]."""
    pixels = np.asarray(Image.open(path).convert("RGB").resize((24, 24), Image.Resampling.BICUBIC), dtype=np.float64)
    cells = pixels.reshape(3, 8, 2, 12, 3).mean((1, 3)).reshape(6, 3) / 255
    return torch.from_numpy(cells @ StandIn().weight.detach().double().numpy())


def make_photos(folder: Path, count: int) -> Path:
    """`count` square PNG photos of noise in the two subfolders `cat` and `dog`."""
    rng = np.random.default_rng(0)
    for number in range(count):
        path = folder / ("cat" if number % 3 else "dog") / f"{number:03d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (30, 30, 3), dtype=np.uint8)).save(path)
    return folder


def write(photos: Path | ImageSource, out: Path, backbone: Backbone | None = None, **settings: object) -> FeatureCache:
    """`write_cache` with a stand-in and shards of four photos, unless `settings` say otherwise."""
    return write_cache(photos, backbone or StandIn(), out, **{**SETTINGS, **settings})


def contents(folder: Path) -> dict[str, bytes]:
    """Every file below a folder: {relative path: bytes}."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


class Pictures:
    """A source in memory: part `x7` has the noisy images x7/0 to x7/6, however many are asked for.

    Of every seven the one numbered 5 cannot be decoded, and with masks the one numbered 3 has a mask that cannot.
    """

    kind, place = "list", "in memory"

    def __init__(self, parts: Sequence[str], classes: tuple[str, ...] = (), name: str = "pictures") -> None:
        self.listed, self.classes, self.name = list(parts), classes, name
        self.read_from: list[tuple[str, int]] = []

    def parts(self, size: int) -> Iterator[list[str]]:
        return ([part] for part in self.listed)

    def read(self, part: Sequence[str], start: int = 0) -> Iterator[Item]:
        (name,) = part
        self.read_from.append((name, start))
        for number in range(start, int(name[1:])):
            yield self.item(f"{name}/{number}", number)

    def item(self, id: str, number: int) -> Item:
        def load() -> Image.Image:
            if number % 7 == 5:
                raise BadImage(id, "it was drawn so")
            return Image.fromarray(rng(id).integers(0, 256, (20, 30, 3), dtype=np.uint8))

        def load_mask() -> np.ndarray:
            if number % 7 == 3:
                raise BadImage(id, "its mask was drawn so")
            return mask_of(id)

        masked = self.classes and number % 3 != 1
        return Item(id, f"label {number % 2}", ("train", "test", None)[number % 3], load, load_mask if masked else None)


def rng(id: str) -> np.random.Generator:
    return np.random.default_rng(list(id.encode()))


def mask_of(id: str) -> np.ndarray:
    """[20, 30]: stripes of the classes -1 to 2, ten pixels wide like no patch."""
    return np.repeat(rng(id).integers(-1, 3, (20, 3)), 10, axis=1).astype(np.int16)

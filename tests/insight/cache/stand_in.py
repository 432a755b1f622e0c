"""A backbone that is quick, deterministic and depends on every pixel, a folder of real photo files to feed it, and
`python -m tests.insight.cache.stand_in PHOTOS OUT DEATH`: a writer that kills itself with SIGKILL at a chosen point.
"""

import hashlib
import os
import signal
import sys
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from insight.backbones import Backbone, DenseFeatures
from insight.cache import FeatureCache, journal, write_cache

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

    def prefix(self, images: Tensor, block: int) -> Tensor:
        return torch.nn.functional.adaptive_avg_pool2d(images, self.grid).flatten(2).transpose(1, 2)

    def suffix(self, z: Tensor, block: int, need_attention: bool = False) -> tuple[DenseFeatures, None]:
        self.on_batch()
        patches = z @ self.weight
        return DenseFeatures(patches, patches.mean(1), self.grid), None


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


def write(photos: Path, out: Path, **settings: object) -> FeatureCache:
    """`write_cache` with a stand-in and shards of four photos, unless `settings` say otherwise."""
    return write_cache(photos, StandIn(), out, **{**SETTINGS, **settings})


def contents(folder: Path) -> dict[str, bytes]:
    """Every file below a folder: {relative path: bytes}."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def main() -> None:
    photos, out, death = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
    backbone = StandIn()
    kind, _, number = death.partition(":")
    countdown = iter([False] * int(number or 0) + [True])

    def die_when_due() -> None:
        if next(countdown, False):
            _die()

    if kind == "batch":
        backbone.on_batch = die_when_due
    elif kind == "fsync":  # in the middle of writing a file: its bytes are there, its name is not
        sync = os.fsync
        os.fsync = lambda descriptor: (die_when_due(), sync(descriptor))[1]
    elif kind == "remove":  # the manifest is written, the notes are still there
        journal.Journal.remove = lambda self: _die()
    write_cache(photos, backbone, out, **SETTINGS)


if __name__ == "__main__":
    main()

"""Mixing: a dictionary learnt through small windows is as good as one that saw everything shuffled together.

8,192 images of 16 patches, sorted by their 64 classes. A patch is made of a few directions that all images share, of
some that its class has and of two that only its image has, so an order that keeps images or classes together teaches
each of them and forgets the one before.
"""

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import Tensor

from insight.backbones import Backbone, DenseFeatures
from insight.cache import FeatureCache, StreamedFeatures
from insight.data import Item
from sae import SaeConfig, TrainConfig, evaluate, train
from sae.sources import TensorSource, TokenSource

from .made import make_cache

CLASSES, OF_CLASS, PATCHES, DIM = 64, 128, 16, 32
IMAGES = CLASSES * OF_CLASS
WINDOWS = 4
SEEDS = 3


@pytest.fixture(scope="module")
def features() -> Tensor:
    """float32 [n, t, d], images sorted by class."""
    draw = torch.Generator().manual_seed(0)

    def mixed(directions: Tensor, share: float) -> Tensor:
        """Each patch a sum of this share of the directions [n or 1, a, d], with random weights."""
        weights = torch.rand(IMAGES, PATCHES, directions.shape[1], generator=draw)
        return (weights * (torch.rand(weights.shape, generator=draw) < share)) @ directions

    of_all = torch.randn(1, 64, DIM, generator=draw)
    of_class = torch.randn(CLASSES, 4, DIM, generator=draw).repeat_interleave(OF_CLASS, 0)
    of_image = torch.randn(IMAGES, 2, DIM, generator=draw)
    noise = torch.randn(IMAGES, PATCHES, DIM, generator=draw)
    return mixed(of_all, 0.02) + mixed(of_class, 0.3) + mixed(of_image, 0.3) + 0.05 * noise


@pytest.fixture(scope="module")
def full(features: Tensor, tmp_path_factory: pytest.TempPathFactory) -> list[float]:
    """FVU after a full shuffle, by seed."""
    return fvu_of(TensorSource(features.flatten(0, 1)), features, tmp_path_factory.mktemp("full"))


class InOrder(TensorSource):
    """A reader that does not shuffle."""

    def batches(self, batch_size: int, *, seed: int, start_step: int = 0) -> Iterator[Tensor]:
        step = start_step
        while True:
            yield self.features[torch.arange(step * batch_size, (step + 1) * batch_size) % self.n_tokens]
            step += 1


class Numbered:
    """A source of images that are one colour each: their number."""

    name, kind, place, classes = "numbered", "list", "in memory", ()

    def parts(self, size: int) -> Iterator[list[str]]:
        numbers = [str(number) for number in range(IMAGES)]
        return (numbers[start : start + size] for start in range(0, IMAGES, size))

    def read(self, part: Sequence[str], start: int = 0) -> Iterator[Item]:
        for id in part[start:]:
            colour = (int(id) // 256, int(id) % 256, 0)
            yield Item(id, None, None, partial(Image.new, "RGB", (4, 4), colour))


class Known(Backbone):
    """Knows the features of the image with a number."""

    name, description = "known", "Features from a table; no foundation model."
    dim, grid, image_size, depth, n_prefix, has_text = DIM, (4, 4), 4, 0, 0, False
    fingerprint = "0" * 64

    def __init__(self, features: Tensor) -> None:
        super().__init__()
        self.features = features

    def encode_image(self, images: Tensor) -> DenseFeatures:
        colour = (images[:, :, 0, 0] * 255).round().long()
        patches = self.features[colour[:, 0] * 256 + colour[:, 1]]
        return DenseFeatures(patches, patches.mean(1), self.grid)

    def prefix(self, images: Tensor, block: int) -> Tensor:
        raise NotImplementedError

    def suffix(self, z: Tensor, block: int, need_attention: bool = False) -> tuple[DenseFeatures, None]:
        raise NotImplementedError


def fvu_of(source: TokenSource, features: Tensor, folder: Path, seeds: int = SEEDS) -> list[float]:
    """What dictionaries trained on a source leave unexplained of all features, by seed."""
    found = []
    for seed in range(seeds):
        settings = TrainConfig(steps=400, batch_size=1024, lr=3e-3, decay_steps=200, seed=seed)
        config = SaeConfig(dim=DIM, n_concepts=256, k=4, fractions=(1.0,))
        sae = train(source, config, settings, folder / f"{seed}", progress=False, device="cpu")
        found.append(evaluate(sae, features.flatten(0, 1).split(8192))["fvu"][-1])
    return found


def excess(found: list[float], full: list[float]) -> tuple[float, float]:
    """By what share more is left than after a full shuffle, and the standard error of that."""
    ratios = torch.tensor(found) / torch.tensor(full[: len(found)]) - 1
    return float(ratios.mean()), float(ratios.std() / len(found) ** 0.5)


def test_small_windows_teach_what_a_full_shuffle_teaches(features: Tensor, full: list[float], tmp_path: Path) -> None:
    made = make_cache(tmp_path / "cache", features, [IMAGES // 8] * 8)
    cache = FeatureCache.open(made.folder, shuffle_memory=2 * IMAGES * PATCHES * (DIM * 4 + 4) // WINDOWS)
    mean, error = excess(fvu_of(cache, features, tmp_path), full)
    print(f"windows of a cache: {mean:+.2%} ± {error:.2%}")
    assert mean < 0.01 + 3 * error < 0.05


def test_a_stream_teaches_what_a_full_shuffle_teaches(features: Tensor, full: list[float], tmp_path: Path) -> None:
    memory = 2 * IMAGES * PATCHES * (DIM * 2 + 4) // WINDOWS
    stream = StreamedFeatures(Numbered(), Known(features), buffer_memory=memory, batch_size=64, workers=1)
    mean, error = excess(fvu_of(stream, features, tmp_path, seeds=2), full)
    print(f"stream: {mean:+.2%} ± {error:.2%}")
    assert mean < 0.01 + 3 * error < 0.05


def test_a_reader_that_does_not_shuffle_is_found_out(features: Tensor, full: list[float], tmp_path: Path) -> None:
    (found,) = fvu_of(InOrder(features.flatten(0, 1)), features, tmp_path, seeds=1)
    assert found > 1.1 * full[0]

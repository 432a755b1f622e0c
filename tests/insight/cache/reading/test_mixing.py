"""Mixing: a dictionary learnt through small windows is as good as one that saw everything shuffled together.

16,384 images of 8 patches, sorted by their 128 classes. A patch is made of a few directions that all images share, of
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

from ..made import make_cache

pytestmark = pytest.mark.slow
CLASSES, OF_CLASS, PATCHES, DIM = 128, 128, 8, 32
IMAGES = CLASSES * OF_CLASS
WINDOWS = 8  # of which three are mixed at a time: 6,000 pieces, of which no large cache mixes fewer
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
    dim, grid, image_size, depth, n_prefix, has_text = DIM, (4, 2), 4, 0, 0, False
    fingerprint = "0" * 64

    def __init__(self, features: Tensor) -> None:
        super().__init__()
        self.features = features

    def encode_image(self, images: Tensor) -> DenseFeatures:
        colour = (images[:, :, 0, 0] * 255).round().long()
        patches = self.features[colour[:, 0] * 256 + colour[:, 1]]
        return DenseFeatures(patches, patches.mean(1), self.grid)


def fvu_of(source: TokenSource, features: Tensor, folder: Path, seeds: int = SEEDS, steps: int = 400) -> list[float]:
    """What dictionaries trained on a source leave unexplained of all features, by seed."""
    found = []
    for seed in range(seeds):
        settings = TrainConfig(steps=steps, batch_size=1024, lr=3e-3, decay_steps=steps // 2, seed=seed)
        config = SaeConfig(dim=DIM, n_concepts=256, k=4, fractions=(1.0,))
        sae = train(source, config, settings, folder / f"{seed}", progress=False, device="cpu")
        found.append(evaluate(sae, features.flatten(0, 1).split(8192))["fvu"][-1])
    return found


def excess(found: list[float], full: list[float]) -> float:
    """By what share more is left than after a full shuffle, in the mean."""
    return sum(one / other - 1 for one, other in zip(found, full, strict=True)) / len(found)


def test_small_windows_teach_what_a_full_shuffle_teaches(features: Tensor, full: list[float], tmp_path: Path) -> None:
    made = make_cache(tmp_path / "cache", features, [IMAGES // 8] * 8)
    cache = FeatureCache.open(made.folder, shuffle_memory=4 * IMAGES * PATCHES * (DIM * 4 + 4) // WINDOWS)
    found = excess(fvu_of(cache, features, tmp_path), full)
    print(f"windows of a cache: {found:+.2%}")
    assert found < 0.02  # one per cent, and as much again for chance: the mean of three varies by 0.4 per cent


def test_a_stream_teaches_what_a_full_shuffle_teaches(features: Tensor, tmp_path: Path) -> None:
    memory = 4 * IMAGES * PATCHES * (DIM * 2 + 4) // WINDOWS
    stream = StreamedFeatures(Numbered(), Known(features), buffer_memory=memory, batch_size=64, workers=1)
    full = fvu_of(TensorSource(features.flatten(0, 1)), features, tmp_path / "full", seeds=1, steps=128)
    found = excess(fvu_of(stream, features, tmp_path / "stream", seeds=1, steps=128), full)
    print(f"stream: {found:+.2%}")
    assert abs(found) < 0.05  # one epoch, one pair: varies by 1 per cent


def test_a_reader_that_does_not_shuffle_is_found_out(features: Tensor, full: list[float], tmp_path: Path) -> None:
    found = excess(fvu_of(InOrder(features.flatten(0, 1)), features, tmp_path, seeds=1), full[:1])
    print(f"no shuffle: {found:+.2%}")
    assert found > 0.1

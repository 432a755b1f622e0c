"""Training without a cache: the same tokens as a cache gives, from any step on, whatever images are bad."""

import json
from collections import Counter
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import pytest
import torch
from torch import Tensor

from insight.backbones import registry
from insight.cache import FeatureCache, StreamedFeatures
from insight.cli import main
from insight.data import ImageFolder, ImageSource
from sae.errors import InsightError

from ..stand_in import Pictures, StandIn, write

IMAGE = 6 * (8 * 2 + 4)  # bytes of an image's features in a window, in float16


def stream(source: Path | ImageSource, **settings: object) -> StreamedFeatures:
    source = ImageFolder(source) if isinstance(source, Path) else source
    backbone = settings.pop("backbone", None) or StandIn()
    return StreamedFeatures(source, backbone, **{"batch_size": 3, "workers": 2, **settings})


def tokens_of(batches: Iterator[Tensor], count: int) -> Tensor:
    """The first `count` tokens."""
    found: list[Tensor] = []
    while sum(map(len, found)) < count:
        found.append(next(batches))
    return torch.cat(found)[:count]


@pytest.fixture(scope="module")
def stored(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> FeatureCache:
    return write(photos, tmp_path_factory.mktemp("stored") / "cache", dtype="float16")


@pytest.mark.parametrize("memory", [1, 7 * IMAGE, 20 * IMAGE, 23 * IMAGE])
def test_every_epoch_has_the_tokens_of_a_cache_in_an_order_of_its_own(
    photos: Path, stored: FeatureCache, memory: int
) -> None:
    streamed = stream(photos, buffer_memory=memory)
    assert (streamed.dim, streamed.n_images, streamed.n_tokens) == (stored.dim, stored.n_images, stored.n_tokens)
    assert streamed.encoder == stored.encoder
    tokens = tokens_of(streamed.batches(20, seed=3), 3 * 138)
    epochs = tokens.split(138)
    for epoch in epochs:
        distance = torch.cdist(epoch, torch.cat([piece for _, piece in stored.scan()]))
        assert (distance.min(1).values < 1e-2).all()  # batches of other images: other roundings
        assert len(distance.argmin(1).unique()) == 138
    assert not torch.equal(epochs[0], epochs[1])


@pytest.mark.parametrize(
    ("parts", "memory"),
    [(None, 1), (None, 7 * IMAGE), (None, 23 * IMAGE)]
    + [(["a9", "b30", "c4", "d1", "e17"], memory) for memory in (40 * IMAGE, 60 * IMAGE, 61 * IMAGE)],
)
def test_batches_begin_at_any_step(photos: Path, parts: list[str] | None, memory: int) -> None:
    streamed = stream(Pictures(parts) if parts else photos, buffer_memory=memory)
    whole = list(islice(streamed.batches(19, seed=1), 45))
    assert all(batch.shape == (19, 8) and batch.dtype == torch.float32 for batch in whole)
    for step in (1, 7, 8, 30, 44):
        assert torch.equal(next(streamed.batches(19, seed=1, start_step=step)), whole[step])
    assert not torch.equal(whole[0], next(streamed.batches(19, seed=2)))


def test_beginning_at_a_step_encodes_no_more_than_memory_holds(photos: Path) -> None:
    backbone = StandIn()
    batches = []
    backbone.on_batch = lambda: batches.append(1)
    streamed = stream(photos, backbone=backbone, buffer_memory=12 * IMAGE)
    begun = streamed.batches(6, seed=0, start_step=23 * 5 + 12)  # the middle of the sixth epoch
    next(begun)
    begun.close()
    assert len(batches) <= 4  # of three images: the windows in use and the one being loaded


def test_features_that_fit_into_memory_are_encoded_once(photos: Path) -> None:
    backbone = StandIn()
    batches = []
    backbone.on_batch = lambda: batches.append(1)
    streamed = stream(photos, backbone=backbone)
    tokens_of(streamed.batches(46, seed=0), 4 * 138)
    assert len(batches) == 8


@pytest.mark.parametrize("memory", [1 << 20, 64 * IMAGE])
def test_a_bad_images_place_is_taken_by_a_good_one_and_it_is_said_once(
    capsys: pytest.CaptureFixture[str], memory: int
) -> None:
    source = Pictures(["a9", "b30", "c4", "d6", "e17"])
    streamed = stream(source, buffer_memory=memory)
    assert streamed.n_images == 66
    bad = {item.id for part in source.parts(1) for item in source.read(part) if int(item.id.split("/")[1]) % 7 == 5}
    good = [item for part in source.parts(1) for item in source.read(part) if item.id not in bad]
    backbone = StandIn()
    expected = torch.cat([backbone.encode_image(backbone.transform(item.load())[None]).patches[0] for item in good])
    epochs = tokens_of(streamed.batches(6, seed=0), 2 * 66 * 6).split(66 * 6)
    for epoch in epochs:
        distance, nearest = torch.cdist(epoch, expected).min(1)
        assert (distance < 1e-2).all()
        visits = torch.bincount(nearest, minlength=len(expected))
        assert (visits > 0).all()
        assert int((visits - 1).sum()) == 6 * len(bad)
    assert streamed.skipped == dict.fromkeys(bad, "it was drawn so")
    said = capsys.readouterr().err
    assert all(said.count(f"{id}: it was drawn so") == 1 for id in bad)


def test_a_source_without_a_good_image_is_refused() -> None:
    source = Pictures(["a6", "b13"])
    source.item = lambda id, number: Pictures.item(source, id, 5)
    with pytest.raises(InsightError, match=r"none can be used \(first: .*: it was drawn so"):
        next(stream(source).batches(4, seed=0))
    with pytest.raises(InsightError, match="expected images, found none in 1 parts"):
        stream(Pictures(["a0"]))


def test_shares_divide_an_epoch(photos: Path) -> None:
    for source, count in ((photos, 23), (Pictures(["a4", "b3", "c2", "d5"]), 14)):
        whole = stream(source)
        shares = [whole.share(rank, 3) for rank in range(3)]
        assert sum(share.n_tokens for share in shares) == whole.n_tokens == 6 * count
        together = torch.cat([tokens_of(share.batches(5, seed=0), share.n_tokens) for share in shares])
        alone = tokens_of(whole.batches(5, seed=0), whole.n_tokens)
        distance, nearest = torch.cdist(together, alone).min(1)
        assert (distance < 1e-2).all()
        assert len(nearest.unique()) == 6 * count
    with pytest.raises(InsightError, match="for each of 24 processes, found 23"):
        stream(photos).share(0, 24)


def test_parts_of_many_images_are_opened_once_an_epoch_and_all_are_in_a_window() -> None:
    source = Pictures(["a40", "b20", "c20", "d4"])
    streamed = stream(source, buffer_memory=64 * IMAGE)  # windows of at most 32 of the 84 images
    source.read_from.clear()
    tokens_of(streamed.batches(6, seed=0), streamed.n_tokens)
    assert Counter(source.read_from[:4]) == Counter([("a40", 0), ("b20", 0), ("c20", 0), ("d4", 0)])
    assert all(start == 0 for _, start in source.read_from)


def test_features_that_are_not_finite_are_bad(photos: Path) -> None:
    class Broken(StandIn):
        def encode_image(self, images: Tensor):
            features = super().encode_image(images)
            features.patches[images.flatten(1).sum(1) > self.limit] = float("nan")
            return features

    backbone = Broken()
    inputs = [backbone.transform(ImageFolder(photos).load(id)) for id in ImageFolder(photos).ids()]
    sums = torch.stack(inputs).flatten(1).sum(1).sort().values
    backbone.limit = float(sums[-4:-2].mean())
    streamed = stream(photos, backbone=backbone)
    assert tokens_of(streamed.batches(6, seed=0), 138).isfinite().all()
    assert len(streamed.skipped) == 3
    assert set(streamed.skipped.values()) == {"backbone stand-in gives features that are not finite"}


def test_the_command_trains_without_a_cache_and_says_what_relating_needs(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(registry, "_load", lambda name: StandIn())
    out = tmp_path / "model"
    settings = ["--concepts", "128", "--k", "2", "--steps", "20", "--batch-size", "64", "--device", "cpu"]
    main(["train", str(photos), "--stream", "--backbone", "small", "--out", str(out), *settings])
    said = capsys.readouterr().out
    assert (
        f"insight cache write {photos} --backbone small --out {out}-cache && insight relate {out} {out}-cache" in said
    )
    config = json.loads((out / "config.json").read_text())
    assert config["backbone"]["fingerprint"] == StandIn().fingerprint
    assert (config["images"], config["data"]["n_tokens"]) == (23, 138)

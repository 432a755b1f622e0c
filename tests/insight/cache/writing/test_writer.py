"""Writing a cache: what is in it, what becomes of bad photos, what is refused, and what trouble costs."""

import errno
import json
import os
import threading
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from insight.backbones import DenseFeatures
from insight.cache import FeatureCache, write_cache
from insight.cache.writing.journal import ItemsDigest
from sae.errors import InsightError

from ..stand_in import SETTINGS, StandIn, contents, expected_features, make_photos, write


def interrupt(photos: Path, out: Path, after: int, **settings: object) -> None:
    """A run that ends when the encoder has done so many batches."""
    backbone = StandIn()
    turns = iter(range(after))
    backbone.on_batch = lambda: next(turns, None) is None and (_ for _ in ()).throw(KeyboardInterrupt)
    with pytest.raises(KeyboardInterrupt):
        write_cache(photos, backbone, out, **{**SETTINGS, **settings})


def test_every_photo_is_stored_with_its_features_id_and_label(photos: Path, cache: FeatureCache) -> None:
    ids = sorted(str(path.relative_to(photos)) for path in photos.rglob("*.png"))
    index = cache.index.to_pydict()
    assert index["id"] == ids
    assert index["label"] == [id.split("/")[0] for id in ids] == cache.labels
    assert index["split"] == [None] * 23
    assert index["source"] == [photos.name] * 23
    for number, id in enumerate(ids):
        expected = expected_features(photos / id)
        torch.testing.assert_close(cache.image(number).double(), expected, atol=1e-5, rtol=0)
        torch.testing.assert_close(cache.pooled()[number].double(), expected.mean(0), atol=1e-5, rtol=0)


def test_the_manifest_says_what_the_cache_is(photos: Path, cache: FeatureCache) -> None:
    manifest = json.loads((cache.folder / "manifest.json").read_text())
    assert manifest["format"] == "insight-cache"
    assert manifest["format_version"] == 2
    assert manifest["counts"] == {"images": 23, "tokens": 23 * 6}
    assert manifest["backbone"]["fingerprint"] == StandIn().fingerprint == cache.fingerprint
    assert [shard["rows"] for shard in manifest["shards"]] == [4, 4, 4, 4, 4, 3]
    (source,) = manifest["sources"]
    listed = ItemsDigest()
    listed.add(sorted(str(path.relative_to(photos)) for path in photos.rglob("*.png")))
    assert source == {"name": photos.name, "kind": "folder", "place": str(photos), "items": listed.hex()}
    assert manifest["settings"] == {"shard_images": 4, "batch_size": 3}
    assert (manifest["tokens_per_image"], manifest["classes"]) == (6, [])
    assert {path.name for path in cache.folder.iterdir()} == {
        ".lock", "manifest.json", "index.parquet", "skipped.parquet", *(shard["file"] for shard in manifest["shards"])
    }  # fmt: skip


@pytest.mark.parametrize(
    ("dtype", "names"),
    [("float16", {"patches", "pooled", "checks"}), ("int8", {"patches", "pooled", "checks", "scales"})],
)
def test_any_safetensors_reader_opens_a_shard(photos: Path, tmp_path: Path, dtype: str, names: set[str]) -> None:
    cache = write(photos, tmp_path / "out", dtype=dtype)
    tensors = load_file(tmp_path / "out" / "shard-00000.safetensors")
    assert tensors.keys() == names
    assert tensors["patches"].shape == (4, 6, 8)
    assert tensors["patches"].dtype == getattr(torch, dtype)
    values = tensors["patches"].float() * (tensors["scales"][..., None] if "scales" in tensors else 1)
    assert torch.equal(values[2], cache.image(2))


@pytest.mark.parametrize(("dtype", "error"), [("float16", 2**-11), ("bfloat16", 2**-8)])
def test_half_precision_rounds_each_number_once(
    photos: Path, cache: FeatureCache, tmp_path: Path, dtype: str, error: float
) -> None:
    half = write(photos, tmp_path / "out", dtype=dtype)
    for (_, rounded), (_, exact) in zip(half.scan(), cache.scan(), strict=True):
        torch.testing.assert_close(rounded, exact, rtol=error, atol=1e-7)


def test_int8_errs_by_at_most_half_a_step_of_its_token(photos: Path, cache: FeatureCache, tmp_path: Path) -> None:
    small = write(photos, tmp_path / "out", dtype="int8")
    for (_, rounded), (_, exact) in zip(small.scan(), cache.scan(), strict=True):
        step = exact.abs().amax(1, keepdim=True) / 127
        assert ((rounded - exact).abs() <= step / 2 * 1.001).all()
        assert not torch.equal(rounded, exact)


@pytest.fixture
def mixed(tmp_path: Path) -> Path:
    """The folder of the issue: good and bad files of every kind, in an order that puts bad ones into every batch."""
    folder = make_photos(tmp_path / "mixed", 8)
    photo = Image.radial_gradient("L").convert("RGB")
    photo.convert("CMYK").save(folder / "cat" / "cmyk.jpg")
    Image.radial_gradient("L").convert("I").point(lambda v: v * 257).convert("I;16").save(folder / "sixteen.png")
    photo.resize((1, 1)).save(folder / "one.png")
    photo.save(folder / "moving.gif", save_all=True, append_images=[photo.rotate(90)])
    photo.save(folder / "cut.jpg")
    (folder / "cut.jpg").write_bytes((folder / "cut.jpg").read_bytes()[:-900])
    (folder / "cat" / "empty.jpg").touch()
    (folder / "text.png").write_text("not a picture")
    (folder / "notes.txt").write_text("not called a picture")
    return folder


def test_good_photos_are_kept_and_bad_ones_listed(mixed: Path, tmp_path: Path) -> None:
    cache = write(mixed, tmp_path / "out")
    kept = set(cache.index["id"].to_pylist())
    assert cache.n_images == 12 == len(kept)
    assert {"cat/cmyk.jpg", "sixteen.png", "one.png", "moving.gif"} <= kept
    reasons = dict(zip(*(cache.skipped[name].to_pylist() for name in ("id", "reason")), strict=True))
    assert reasons.keys() == {"cut.jpg", "cat/empty.jpg", "text.png"}
    assert "truncated" in reasons["cut.jpg"]
    assert "zero bytes" in reasons["cat/empty.jpg"]
    assert "not an image" in reasons["text.png"]
    assert cache.labels[cache.index["id"].to_pylist().index("one.png")] is None


def test_features_do_not_depend_on_bad_neighbours(mixed: Path, tmp_path: Path) -> None:
    with_bad = write(mixed, tmp_path / "with")
    for id in with_bad.skipped["id"].to_pylist():
        (mixed / id).unlink()
    without = write(mixed, tmp_path / "without")
    assert with_bad.index["id"].equals(without.index["id"])
    for image in range(without.n_images):
        torch.testing.assert_close(with_bad.image(image), without.image(image), atol=1e-3, rtol=0)


def test_a_stretch_of_bad_files_leaves_no_shard(tmp_path: Path) -> None:
    folder = make_photos(tmp_path / "photos", 6)
    for number in range(5):
        (folder / f"a{number}.png").write_text("")
    cache = write(folder, tmp_path / "out")
    assert cache.n_images == 6
    assert cache.skipped["id"].to_pylist() == [f"a{number}.png" for number in range(5)]
    assert "shard-00000.safetensors" not in {shard.file for shard in cache.manifest.shards}
    cache.verify()


@pytest.mark.parametrize("make", ["empty folder", "no image names", "no folder", "a file"])
def test_a_folder_without_images_is_refused_and_leaves_nothing(tmp_path: Path, make: str) -> None:
    folder = tmp_path / "photos"
    if make in ("empty folder", "no image names"):
        folder.mkdir()
    if make == "no image names":
        (folder / "a.txt").touch()
    if make == "a file":
        folder.touch()
    with pytest.raises(InsightError, match=str(folder)):
        write(folder, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_when_no_photo_can_be_decoded_the_run_can_be_repeated(tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    (folder / "a.png").write_text("")
    with pytest.raises(InsightError, match=r"none can be decoded \(first: a.png: empty"):
        write(folder, tmp_path / "out")
    Image.new("RGB", (9, 9)).save(folder / "a.png")
    assert write(folder, tmp_path / "out").n_images == 1


def test_a_run_goes_on_after_an_interruption_at_any_write(
    mixed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = contents(write(mixed, tmp_path / "whole").folder)
    sync, countdown = os.fsync, iter([])

    def failing_sync(descriptor: int) -> None:
        if next(countdown, None) == 0:
            raise KeyboardInterrupt
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", failing_sync)
    interruptions = 0
    while True:
        out = tmp_path / f"out{interruptions}"
        countdown = iter(range(interruptions, -1, -1))
        try:
            write(mixed, out)
            break
        except KeyboardInterrupt:
            write(mixed, out)
        assert contents(out) == whole
        interruptions += 1
    assert interruptions > 20  # settings, list, four shards, their notes, index, manifest: file and folder each


def test_a_finished_cache_is_not_made_again(photos: Path, cache: FeatureCache) -> None:
    backbone = StandIn()
    backbone.on_batch = lambda: pytest.fail("encoded again")
    again = write_cache(photos, backbone, cache.folder, **{**SETTINGS, "dtype": "float32"})
    assert again.n_images == cache.n_images


def test_other_settings_are_refused_and_named(photos: Path, cache: FeatureCache, tmp_path: Path) -> None:
    with pytest.raises(InsightError, match="dtype is 'float32' there and 'int8' now"):
        write(photos, cache.folder, dtype="int8")
    with pytest.raises(InsightError, match=r"backbone\.fingerprint"):
        write_cache(photos, StandIn("2"), cache.folder, **SETTINGS, dtype="float32")
    out = tmp_path / "out"
    interrupt(photos, out, after=1)
    with pytest.raises(InsightError, match="batch_size is 3 there and 5 now"):
        write(photos, out, batch_size=5)
    assert write(photos, out).n_images == 23


def test_photos_that_came_after_the_cache_are_noticed(tmp_path: Path) -> None:
    folder = make_photos(tmp_path / "photos", 5)
    write(folder, tmp_path / "out")
    moved = folder.rename(tmp_path / "moved")
    (moved / "cat" / "001.png").unlink()
    assert write(moved, tmp_path / "out").n_images == 5
    Image.new("RGB", (9, 9)).save(moved / "new.png")
    with pytest.raises(InsightError, match=r"1 images that are not in it \(first: new.png\)"):
        write(moved, tmp_path / "out")


def test_a_photo_that_vanishes_in_mid_run_is_a_bad_file(tmp_path: Path) -> None:
    folder = make_photos(tmp_path / "photos", 40)
    backbone = StandIn()
    backbone.on_batch = lambda: (folder / "dog" / "039.png").unlink(missing_ok=True)
    cache = write_cache(folder, backbone, tmp_path / "out", **SETTINGS)
    assert cache.n_images == 39
    assert cache.skipped["id"].to_pylist() == ["dog/039.png"]


def test_a_folder_that_vanishes_in_mid_run_stops_it(tmp_path: Path) -> None:
    folder = make_photos(tmp_path / "photos", 40)
    backbone = StandIn()
    backbone.on_batch = lambda: folder.exists() and folder.rename(tmp_path / "away")
    with pytest.raises(InsightError, match="the folder is gone"):
        write_cache(folder, backbone, tmp_path / "out", **SETTINGS)
    (tmp_path / "away").rename(folder)
    assert write(folder, tmp_path / "out").n_images == 40


def test_features_that_are_not_finite_make_a_bad_file(tmp_path: Path) -> None:
    folder = make_photos(tmp_path / "photos", 7)
    Image.new("RGB", (9, 9), "white").save(folder / "cat" / "white.png")

    class Breaking(StandIn):
        def encode_image(self, images: torch.Tensor) -> DenseFeatures:
            white = images.amin((1, 2, 3), keepdim=True) > 0.99
            return super().encode_image(torch.where(white, torch.nan, images))

    cache = write_cache(folder, Breaking(), tmp_path / "out", **SETTINGS)
    assert cache.n_images == 7
    assert cache.skipped["id"].to_pylist() == ["cat/white.png"]
    assert all(torch.isfinite(piece).all() for _, piece in cache.scan())


def test_features_too_large_for_float16_are_refused(photos: Path, tmp_path: Path) -> None:
    backbone = StandIn()
    backbone.weight.data *= 1e6
    with pytest.raises(InsightError, match="use bfloat16"):
        write_cache(photos, backbone, tmp_path / "half", **SETTINGS)
    assert write_cache(photos, backbone, tmp_path / "brain", **SETTINGS, dtype="bfloat16").n_images == 23


def test_two_writers_cannot_meet(photos: Path, tmp_path: Path) -> None:
    at_work, may_go_on = threading.Event(), threading.Event()
    backbone = StandIn()
    backbone.on_batch = lambda: (at_work.set(), may_go_on.wait(30))
    first = threading.Thread(target=write_cache, args=(photos, backbone, tmp_path / "out"), kwargs=SETTINGS)
    first.start()
    try:
        assert at_work.wait(30)
        with pytest.raises(InsightError, match="another process is writing"):
            write(photos, tmp_path / "out")
    finally:
        may_go_on.set()
        first.join()
    assert FeatureCache.open(tmp_path / "out").n_images == 23


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EACCES, errno.EIO])
def test_a_refusing_disk_costs_nothing_that_was_finished(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    out = tmp_path / "out"
    encoded = []
    backbone = StandIn()
    backbone.on_batch = lambda: encoded.append(1)
    sync = os.fsync

    def full(descriptor: int) -> None:
        if len(encoded) > 4:  # two shards of two batches are done
            raise OSError(code, os.strerror(code))
        sync(descriptor)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(InsightError, match=rf"{out}.*: cannot be written \({os.strerror(code)}\); make room"):
            write_cache(photos, backbone, out, **SETTINGS)
    assert write_cache(photos, backbone, out, **SETTINGS).n_images == 23
    assert 11 <= len(encoded) <= 14  # six shards, the last with one batch: only the three in flight can be lost


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_may_not_be_written_is_named(photos: Path, tmp_path: Path) -> None:
    (tmp_path / "closed").mkdir(mode=0o500)
    with pytest.raises(InsightError, match="closed"):
        write(photos, tmp_path / "closed" / "out")


def test_nobodys_files_are_mixed_with_shards(photos: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").touch()
    with pytest.raises(InsightError, match=r"found other files \(mine.txt\)"):
        write(photos, tmp_path)
    with pytest.raises(InsightError, match=r"mine\.txt"):
        write(photos, tmp_path / "mine.txt")
    with pytest.raises(InsightError, match=r"mine\.txt"):
        write(photos, tmp_path / "mine.txt" / "below")


@pytest.mark.parametrize("wrong", [{"dtype": "float64"}, {"shard_images": 0}, {"batch_size": -1}])
def test_settings_that_make_no_sense_are_refused(photos: Path, tmp_path: Path, wrong: dict[str, object]) -> None:
    with pytest.raises(InsightError, match=f"{next(iter(wrong))}: expected"):
        write(photos, tmp_path / "out", **wrong)


def test_a_shard_taken_away_in_mid_run_is_made_again(mixed: Path, tmp_path: Path) -> None:
    whole = write(mixed, tmp_path / "whole")
    interrupt(mixed, tmp_path / "out", after=3)
    (tmp_path / "out" / "shard-00000.safetensors").unlink()
    write(mixed, tmp_path / "out")
    assert contents(tmp_path / "out") == contents(whole.folder)

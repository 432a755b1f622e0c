"""Images are appended to a finished cache as new shards; what was there stays as it was and is readable throughout."""

import json
from pathlib import Path

import pytest
import torch
from PIL import Image

from insight.cache import FeatureCache, write_cache, write_caches
from sae.errors import InsightError

from ..stand_in import SETTINGS, Pictures, StandIn, contents, make_photos, write


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Ten photos, of which one is none."""
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "nor.png").write_text("")
    return make_photos(tmp_path / "photos", 9)


@pytest.fixture
def before(photos: Path, tmp_path: Path) -> FeatureCache:
    """Their cache."""
    return write(photos, tmp_path / "out")


def add(photos: Path, *names: str) -> None:
    for number, name in enumerate(names):
        Image.effect_noise((20, 20), 60 + number).convert("RGB").save(photos / name)


def test_new_images_come_after_the_old_ones(photos: Path, before: FeatureCache, tmp_path: Path) -> None:
    old = contents(before.folder)
    add(photos, "a.png", "zz.png", "cat/a.png", "cat/b.png", "dog/a.png")
    (photos / "none.png").write_text("no")
    after = write(photos, before.folder, append=True)
    ids = before.index["id"].to_pylist()
    new = ["a.png", "cat/a.png", "cat/b.png", "dog/a.png", "zz.png"]
    assert after.index["id"].to_pylist() == [*ids, *new]
    assert after.labels == [*before.labels, None, "cat", "cat", "dog", None]
    assert after.skipped["id"].to_pylist() == ["nor.png", "none.png"]
    assert [shard.rows for shard in after.manifest.shards] == [4, 4, 1, 4, 1]
    after.verify()
    alone = write(photos, tmp_path / "alone")
    place = {id: number for number, id in enumerate(alone.index["id"].to_pylist())}
    for number, id in enumerate([*ids, *new]):
        torch.testing.assert_close(after.image(number), alone.image(place[id]), atol=1e-3, rtol=1e-3)
    now = contents(before.folder)
    assert {name: now[name] for name in old if name != "manifest.json"} == {
        name: old[name] for name in old if name != "manifest.json"
    }


def test_a_cache_opened_before_is_read_on(photos: Path, before: FeatureCache) -> None:
    opened = FeatureCache.open(before.folder)
    first = before.image(0)
    add(photos, "a.png")
    write(photos, before.folder, append=True)
    assert opened.index["id"].to_pylist() == before.index["id"].to_pylist()
    assert torch.equal(opened.image(0), first)
    opened.verify()


def test_until_the_end_the_folder_is_the_old_cache(photos: Path, before: FeatureCache) -> None:
    add(photos, "a.png", "b.png")
    backbone = StandIn()

    def stop() -> None:
        now = FeatureCache.open(before.folder)
        now.verify()
        assert now.index.equals(before.index)
        raise KeyboardInterrupt

    backbone.on_batch = stop
    with pytest.raises(KeyboardInterrupt):
        write(photos, before.folder, backbone, append=True)
    assert FeatureCache.open(before.folder).index.equals(before.index)
    with pytest.raises(InsightError, match=r"has 2 images that are not in it \(first: a.png\); add them with --append"):
        write(photos, before.folder)
    assert FeatureCache.open(before.folder).index.equals(before.index)
    assert write(photos, before.folder, append=True).n_images == before.n_images + 2


def test_images_can_be_appended_again_and_again(photos: Path, before: FeatureCache) -> None:
    for number in range(3):
        add(photos, f"new {number}.png")
        now = write(photos, before.folder, append=True)
        now.verify()
        assert now.n_images == before.n_images + number + 1
    assert [shard.file[6:11] for shard in now.manifest.shards] == ["00000", "00001", "00002", "00003", "00004", "00005"]
    tables = {path.name for path in now.folder.glob("*.parquet")}
    assert tables == {"index-00004.parquet", "index-00005.parquet", "skipped-00004.parquet", "skipped-00005.parquet"}


@pytest.mark.parametrize("gone", [False, True])
def test_without_new_images_nothing_is_done(photos: Path, before: FeatureCache, gone: bool) -> None:
    if gone:
        next(photos.rglob("0*.png")).unlink()
    old = contents(before.folder)
    backbone = StandIn()
    backbone.on_batch = lambda: pytest.fail("encoded again")
    assert write(photos, before.folder, backbone, append=True).n_images == before.n_images
    assert contents(before.folder) == old


def test_nothing_to_append_to_is_a_new_cache(photos: Path, tmp_path: Path, before: FeatureCache) -> None:
    assert contents(write(photos, tmp_path / "new", append=True).folder) == contents(before.folder)


def test_other_batches_and_shards_may_be_appended(photos: Path, before: FeatureCache) -> None:
    add(photos, *(f"{number}.png" for number in range(7)))
    after = write(photos, before.folder, append=True, shard_images=6, batch_size=2)
    assert [shard.rows for shard in after.manifest.shards] == [4, 4, 1, 6, 1]
    assert after.manifest.settings == before.manifest.settings


@pytest.mark.parametrize(
    ("other", "named"),
    [({"dtype": "int8"}, "dtype"), ({"tokens": 3}, "tokens"), ({"backbone": StandIn("2")}, "backbone.fingerprint")],
)
def test_only_the_same_kind_of_features_is_appended(
    photos: Path, before: FeatureCache, other: dict[str, object], named: str
) -> None:
    add(photos, "a.png")
    with pytest.raises(InsightError, match=f"{named} is .* there and .* now"):
        write(photos, before.folder, append=True, **other)
    assert FeatureCache.open(before.folder).n_images == before.n_images


def test_the_seed_of_the_patches_must_be_the_same(photos: Path, tmp_path: Path) -> None:
    write(photos, tmp_path / "few", tokens=3, seed=1)
    add(photos, "a.png")
    with pytest.raises(InsightError, match="seed is 1 there and 0 now"):
        write(photos, tmp_path / "few", tokens=3, append=True)
    assert write(photos, tmp_path / "few", tokens=3, seed=1, append=True).n_images == 10


def test_another_source_can_be_appended(photos: Path, before: FeatureCache) -> None:
    after = write(Pictures(["a9", "b2"]), before.folder, append=True)
    assert after.index["source"].to_pylist() == ["photos"] * 9 + ["pictures"] * 10
    assert [source["name"] for source in after.manifest.sources] == ["photos", "pictures"]
    for source in (photos, Pictures(["a9", "b2"])):
        assert write(source, before.folder, append=True).n_images == 19
    more = Pictures(["a9", "b2", "c12"])
    assert write(more, before.folder, append=True).n_images == 30
    assert write(Pictures(["b4", "a9"]), before.folder, append=True).n_images == 34


def test_only_new_images_of_a_part_are_read_further(before: FeatureCache) -> None:
    class Growing(Pictures):
        """A part that gets longer, with new images among the old."""

        def read(self, part, start=0):
            items = [self.item(f"a/{number}", number) for number in range(9) if number in self.numbers]
            yield from items[start:]

    source = Growing(["a"])
    source.numbers = {1, 4, 8}
    write(source, before.folder, append=True)
    source.numbers = set(range(9))
    source.listed = ["a", "b"]
    source.read = lambda part, start=0: Growing.read(source, part, start) if part == ["a"] else iter(())
    after = write(source, before.folder, append=True)
    assert after.index["id"].to_pylist()[9:] == [f"a/{number}" for number in (1, 4, 8, 0, 2, 3, 6, 7)]


def test_an_id_of_another_source_is_named(photos: Path, before: FeatureCache) -> None:
    class Same(Pictures):
        def item(self, id, number):
            return super().item(before.index["id"][3].as_py() if number == 1 else id, number)

    with pytest.raises(InsightError, match=f"has an image {before.index['id'][3]} already, of another source"):
        write(Same(["a3"]), before.folder, append=True)
    assert write(photos, before.folder).n_images == 9


def test_two_folders_of_one_name_are_told_apart(before: FeatureCache, tmp_path: Path) -> None:
    other = make_photos(tmp_path / "other" / "photos", 3)
    with pytest.raises(InsightError, match="another source called photos"):
        write(other, before.folder, append=True)


def test_a_folder_that_was_moved_is_the_same_source(photos: Path, before: FeatureCache, tmp_path: Path) -> None:
    (tmp_path / "new").mkdir()
    moved = photos.rename(tmp_path / "new" / "photos")
    add(moved, "a.png")
    after = write(moved, before.folder, append=True)
    assert after.n_images == 10
    assert [source["place"] for source in after.manifest.sources] == [str(moved)]


def test_several_caches_are_appended_to_in_one_pass(photos: Path, before: FeatureCache, tmp_path: Path) -> None:
    two = write(photos, tmp_path / "two", StandIn("2"))
    add(photos, "a.png", "b.png")
    seen = []
    outs = {before.folder: StandIn("1"), two.folder: StandIn("2"), tmp_path / "new": StandIn("3")}
    for backbone in outs.values():
        backbone.on_batch = lambda name=backbone.version: seen.append(name)
    one, other, new = write_caches(photos, outs, **SETTINGS, append=True)
    assert (one.n_images, other.n_images, new.n_images) == (11, 11, 11)
    assert sorted(seen) == ["1", "2", *["3"] * 5]  # 11 photos in shards of four: batches of 3, 1, 3, 1, 3


def test_an_interrupted_append_ends_with_the_bytes_of_one_that_was_not(photos: Path, tmp_path: Path) -> None:
    outs = [tmp_path / "one", tmp_path / "two"]
    for out in outs:
        write(photos, out)
    add(photos, *(f"{number}.png" for number in range(9)))
    backbone, turns = StandIn(), iter(range(4))
    backbone.on_batch = lambda: next(turns, None) is None and (_ for _ in ()).throw(KeyboardInterrupt)
    with pytest.raises(KeyboardInterrupt):
        write(photos, outs[0], backbone, append=True)
    with pytest.raises(InsightError, match="batch_size is 3 there and 2 now"):
        write(photos, outs[0], append=True, batch_size=2)
    for out in outs:
        write(photos, out, append=True)
    assert contents(outs[0]) == contents(outs[1])


def test_what_others_began_to_append_is_left_alone(photos: Path, before: FeatureCache) -> None:
    """The new images are gone again: the cache is complete without them."""
    add(photos, "a.png")
    backbone = StandIn()
    backbone.on_batch = lambda: (_ for _ in ()).throw(KeyboardInterrupt)
    with pytest.raises(KeyboardInterrupt):
        write(photos, before.folder, backbone, append=True)
    (photos / "a.png").unlink()
    manifest = json.loads((before.folder / "manifest.json").read_text())
    assert write_cache(photos, StandIn(), before.folder, **SETTINGS).n_images == 9
    assert json.loads((before.folder / "manifest.json").read_text()) == manifest

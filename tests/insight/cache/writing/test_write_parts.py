"""Any source can be written: parts of any length, labels, splits and masks, patches drawn at random, several caches."""

from pathlib import Path

import numpy as np
import pytest
import torch

from insight.cache import FeatureCache, write_cache, write_caches
from insight.data import class_map
from sae.errors import InsightError

from ..stand_in import SETTINGS, Pictures, StandIn, contents, mask_of, write

PARTS = ["a9", "b0", "c2", "d6", "e4"]
CLASSES = ("x", "y", "z")


def good(parts: list[str] = PARTS, masks: bool = False) -> list[tuple[str, int]]:
    """The images that can be decoded, in order: id and number in their part."""
    pairs = [(f"{part}/{number}", number) for part in parts for number in range(int(part[1:]))]
    return [(id, n) for id, n in pairs if n % 7 != 5 and not (masks and n % 7 == 3 and n % 3 != 1)]


class TwoSizes(StandIn):
    """Sees other pixels, in 2 × 4 cells."""

    grid, image_size = (2, 4), 16


class Counting(StandIn):
    """Counts the images it sees."""

    seen = 0

    def encode_image(self, images: torch.Tensor) -> object:
        self.seen += len(images)
        return super().encode_image(images)


def test_parts_become_shards_of_their_own(tmp_path: Path) -> None:
    cache = write(Pictures(PARTS), tmp_path / "out", dtype="float32")
    names = [shard.file.removesuffix(".safetensors") for shard in cache.manifest.shards]
    assert names == [
        "shard-00000", "shard-00000-00001", "shard-00000-00002", "shard-00002", "shard-00003", "shard-00003-00001",
        "shard-00004",
    ]  # fmt: skip
    assert [shard.rows for shard in cache.manifest.shards] == [4, 3, 1, 2, 4, 1, 4]
    index = cache.index.to_pydict()
    assert index["id"] == [id for id, _ in good()]
    assert index["label"] == [f"label {number % 2}" for _, number in good()]
    assert index["split"] == [("train", "test", None)[number % 3] for _, number in good()]
    assert cache.skipped.to_pydict() == {
        "id": ["a9/5", "d6/5"], "source": ["pictures"] * 2, "reason": ["it was drawn so"] * 2
    }  # fmt: skip
    backbone = StandIn()
    for place, (id, _) in enumerate(good()):
        image = Pictures(PARTS).item(id, 0).load()
        expected = backbone.encode_image(backbone.transform(image)[None]).patches[0]
        torch.testing.assert_close(cache.image(place), expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("workers", [1, 5])
def test_the_bytes_do_not_depend_on_workers(tmp_path: Path, workers: int) -> None:
    one = write(Pictures(PARTS, CLASSES), tmp_path / "one", workers=3)
    other = write(Pictures(PARTS, CLASSES), tmp_path / "other", workers=workers)
    assert contents(one.folder) == contents(other.folder)


def test_masks_become_classes_of_patches_and_bad_ones_bad_images(tmp_path: Path) -> None:
    cache = write(Pictures(PARTS, CLASSES), tmp_path / "out")
    assert cache.classes == CLASSES
    assert cache.index["id"].to_pylist() == [id for id, _ in good(masks=True)]
    assert {reason for reason in cache.skipped["reason"].to_pylist()} == {"it was drawn so", "its mask was drawn so"}
    for place, (id, number) in enumerate(good(masks=True)):
        expected = np.full(6, -1) if number % 3 == 1 else class_map(mask_of(id), (5, 0, 25, 20), (3, 2))
        assert cache.patch_classes(place, 1)[0].tolist() == expected.tolist()


def test_a_mask_of_another_size_makes_a_bad_image(tmp_path: Path) -> None:
    class Torn(Pictures):
        def item(self, id, number):
            item = super().item(id, number)
            return item if number else type(item)(id, None, None, item.load, lambda: mask_of(id)[1:])

    cache = write(Torn(["a3"], CLASSES), tmp_path / "out")
    assert cache.index["id"].to_pylist() == ["a3/1", "a3/2"]
    assert cache.skipped["reason"].to_pylist() == ["its mask has 30 × 19 pixels, expected 30 × 20"]


@pytest.mark.parametrize("dtype", ["float32", "int8"])
def test_patches_drawn_at_random_are_those_of_all(tmp_path: Path, dtype: str) -> None:
    all_ = write(Pictures(PARTS, CLASSES), tmp_path / "all", dtype=dtype)
    few = write(Pictures(PARTS, CLASSES), tmp_path / "few", dtype=dtype, tokens=2, seed=7)
    assert (few.tokens_per_image, few.n_images) == (2, all_.n_images)
    positions = few.positions()
    assert (positions[:, 1:] > positions[:, :-1]).all()
    for place in range(few.n_images):
        chosen = positions[place].long()
        assert torch.equal(few.image(place), all_.image(place)[chosen])
        assert torch.equal(few.patch_classes(place, 1)[0], all_.patch_classes(place, 1)[0, chosen])
    assert torch.equal(few.pooled(), all_.pooled())


def test_which_patches_are_drawn_depends_on_seed_and_id_alone(tmp_path: Path) -> None:
    def drawn(parts: list[str], seed: int) -> dict[str, list[int]]:
        cache = write(Pictures(parts), tmp_path / f"{seed} {parts}", tokens=3, seed=seed)
        return dict(zip(cache.index["id"].to_pylist(), cache.positions().tolist(), strict=True))

    first = drawn(PARTS, 0)
    assert drawn(PARTS[::-1], 0) == first
    assert drawn(PARTS, 1) != first  # of 20 choices an image, 19 images agree once in 10^24
    assert len({tuple(chosen) for chosen in first.values()}) > 1


@pytest.mark.parametrize("tokens", [0, 7])
def test_patches_that_an_image_has_not_got_are_refused(tmp_path: Path, tokens: int) -> None:
    with pytest.raises(InsightError, match=f"tokens: expected from 1 to 6.*found {tokens}"):
        write(Pictures(PARTS), tmp_path / "out", tokens=tokens)


def test_several_caches_have_the_bytes_of_separate_calls(tmp_path: Path) -> None:
    backbones = {"one": StandIn("1"), "two": StandIn("2"), "other": TwoSizes("3")}
    settings = {**SETTINGS, "tokens": 3}
    source = Pictures(PARTS, CLASSES)
    together = write_caches(source, {tmp_path / name: each for name, each in backbones.items()}, **settings)
    assert [cache.folder.name for cache in together] == list(backbones)
    for name, backbone in backbones.items():
        write_cache(Pictures(PARTS, CLASSES), backbone, tmp_path / "alone" / name, **settings)
        assert contents(tmp_path / name) == contents(tmp_path / "alone" / name)


def test_several_caches_decode_each_image_once(tmp_path: Path) -> None:
    decoded = []

    class Counted(Pictures):
        def item(self, id, number):
            item = super().item(id, number)
            return type(item)(id, None, None, lambda: (decoded.append(id), item.load())[1])

    write_caches(Counted(PARTS), {tmp_path / "1": StandIn(), tmp_path / "2": TwoSizes()}, **SETTINGS)
    assert sorted(decoded) == sorted(f"{part}/{n}" for part in PARTS for n in range(int(part[1:])))


def test_caches_at_different_points_go_on_together(tmp_path: Path) -> None:
    """One is finished, one half done, one logged, one not begun."""
    outs = [tmp_path / name for name in "1234"]
    source = Pictures(PARTS)
    write_caches(source, {outs[0]: StandIn("1")}, **SETTINGS)
    for out, batches in ((outs[1], 4), (outs[2], 1)):
        backbone, turns = StandIn(out.name), iter(range(batches))
        backbone.on_batch = lambda turns=turns: next(turns, None) is None and (_ for _ in ()).throw(KeyboardInterrupt)
        with pytest.raises(KeyboardInterrupt):
            write_cache(source, backbone, out, **SETTINGS)
    backbones = [Counting(out.name) for out in outs]
    write_caches(source, dict(zip(outs, backbones, strict=True)), **SETTINGS)
    assert [backbone.seen for backbone in backbones] == [0, 19 - 8, 19 - 3, 19]  # batches: 3, 1, 3, (0) | 1, 2, ...
    for out in outs:
        whole = write_cache(source, StandIn(out.name), tmp_path / "whole" / out.name, **SETTINGS)
        assert contents(out) == contents(whole.folder)


def test_two_caches_cannot_go_into_one_folder(tmp_path: Path) -> None:
    outs = {tmp_path / "out": StandIn(), f"{tmp_path}/x/../out": StandIn("2")}
    with pytest.raises(InsightError, match="found one twice"):
        write_caches(Pictures(PARTS), outs, **SETTINGS)


def test_an_id_that_comes_twice_is_named(tmp_path: Path) -> None:
    with pytest.raises(InsightError, match="gives image c2/0 twice"):
        write(Pictures(["a9", "c2", "c2"]), tmp_path / "out")


def test_a_run_goes_on_with_the_image_after_the_last_one_logged(tmp_path: Path) -> None:
    source, backbone, turns = Pictures(["a9", "b5"]), Counting(), iter(range(2))
    backbone.on_batch = lambda: next(turns, None) is None and (_ for _ in ()).throw(KeyboardInterrupt)
    with pytest.raises(KeyboardInterrupt):
        write(source, tmp_path / "out", shard_images=8, backbone=backbone)
    source.read_from.clear()
    write(source, tmp_path / "out", shard_images=8, backbone=(rest := Counting()))
    assert next(start for part, start in source.read_from if part == "a9") == 7  # 0, 1, 2; 3, 4, (5), 6
    assert rest.seen == 13 - 6


def test_an_encoder_that_fails_costs_nothing_that_was_encoded(tmp_path: Path) -> None:
    for error, said in (
        (
            RuntimeError("shapes do not fit\nmore"),
            r"RuntimeError: shapes do not fit\); what was encoded before is kept",
        ),
        (torch.OutOfMemoryError("CUDA out of memory"), r"does not fit into the memory of cpu; .* lower batch_size"),
    ):
        out = tmp_path / type(error).__name__
        backbone, turns = Counting(), iter(range(4))

        def fail(turns=turns, error=error) -> None:
            if next(turns, None) is None:
                raise error

        backbone.on_batch = fail
        with pytest.raises(InsightError, match=f"a batch of 2 images .*{said}"):
            write(Pictures(PARTS), out, backbone=backbone)
        write(Pictures(PARTS), out, backbone=(rest := Counting()))
        assert rest.seen == 19 - (backbone.seen - 2)


def test_a_source_that_cannot_be_read_costs_nothing(tmp_path: Path) -> None:
    class Gone(Pictures):
        gone = True

        def read(self, part, start=0):
            for number, item in enumerate(super().read(part, start)):
                if self.gone and part == ["d6"] and number == 3:
                    raise OSError(5, "Input/output error", "d.tar")
                yield item

    source = Gone(PARTS)
    with pytest.raises(InsightError, match=r"d.tar: cannot be read \(Input/output error\); put it right"):
        write(source, tmp_path / "out")
    source.gone = False
    write(source, tmp_path / "out", backbone=(rest := Counting()))
    assert rest.seen <= 19 - 10
    assert contents(tmp_path / "out") == contents(write(Pictures(PARTS), tmp_path / "whole").folder)


def test_a_source_that_vanishes_makes_no_bad_images(tmp_path: Path) -> None:
    class Vanishing(Pictures):
        there = True

        def item(self, id, number):
            item = super().item(id, number)
            if id == "d6/1":
                self.there = False
            return item if self.there else type(item)(id, None, None, super().item(id, 5).load)

        def read(self, part, start=0):
            if not self.there:
                raise InsightError("pictures: gone; put them back")
            return super().read(part, start)

    with pytest.raises(InsightError, match="gone; put them back"):
        write(Vanishing(PARTS), tmp_path / "out")
    assert contents(write(Pictures(PARTS), tmp_path / "out").folder) == contents(
        write(Pictures(PARTS), tmp_path / "whole").folder
    )


def test_nothing_of_the_source_is_read_again_when_it_lists_the_same(tmp_path: Path) -> None:
    write(Pictures(PARTS), tmp_path / "out")
    for append in (False, True):
        source = Pictures(PARTS)
        assert isinstance(write(source, tmp_path / "out", append=append), FeatureCache)
        assert source.read_from == []

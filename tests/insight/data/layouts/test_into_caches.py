"""A layout becomes a cache as any source does, killed and gone on with; what does not fit is listed with its reason."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from insight.cache import FeatureCache
from insight.data import open_source
from sae.errors import InsightError
from tests.insight.cache.stand_in import StandIn, write
from tests.insight.data.layouts.stand_ins import halves, numbers, photo, text

GREY, WRONG_SIZE, NO_MASK, STRAY_NUMBER = 3, 4, 5, 6


@pytest.fixture
def voc(tmp_path: Path) -> Path:
    """Nine photographs in two splits: background on the left, boats on the right."""
    root = tmp_path / "VOC2012"
    for number in range(9):
        classes = halves(24, 0, 4)
        photo(root / "JPEGImages" / f"{number}.jpg", classes, number)
        if number == STRAY_NUMBER:
            classes[0, 0] = 77
        if number == WRONG_SIZE:
            classes = classes[:20]
        if number != NO_MASK:
            numbers(root / "SegmentationClass" / f"{number}.png", classes, palette=True)
    Image.new("L", (24, 24), 128).save(root / "JPEGImages" / f"{GREY}.jpg")
    text(root / "ImageSets" / "Segmentation" / "train.txt", *map(str, range(6)), end="\r\n")
    text(root / "ImageSets" / "Segmentation" / "val.txt", *map(str, range(6, 9)), end="\r\n")
    return root


def check(cache: FeatureCache) -> None:
    ids = cache.index["id"].to_pylist()
    assert sorted(ids) == [f"JPEGImages/{number}.jpg" for number in (0, 1, 2, GREY, NO_MASK, 7, 8)]
    skipped = {row["id"]: row["reason"] for row in cache.skipped.to_pylist()}
    assert skipped[f"JPEGImages/{WRONG_SIZE}.jpg"] == "its mask has 24 × 20 pixels, expected 24 × 24"
    assert "found 77" in skipped[f"JPEGImages/{STRAY_NUMBER}.jpg"]
    assert cache.classes[4] == "boat"
    for id, classes, split in zip(ids, cache.patch_classes().numpy(), cache.index["split"].to_pylist()):
        number = int(Path(id).stem)
        assert split == ("train" if number < 6 else "val")
        expected = np.full((3, 2), -1) if number == NO_MASK else np.array([[0, 4]] * 3)
        assert (classes.reshape(3, 2) == expected).all()


def test_a_cache_of_a_layout(voc: Path, tmp_path: Path) -> None:
    check(write(open_source(f"voc:{voc}"), tmp_path / "cache"))


def test_a_run_that_was_stopped_goes_on(voc: Path, tmp_path: Path) -> None:
    backbone = StandIn()
    batches = 0

    def stop() -> None:
        nonlocal batches
        batches += 1
        if batches == 2:
            raise KeyboardInterrupt

    backbone.on_batch = stop
    with pytest.raises(KeyboardInterrupt):
        write(open_source(f"voc:{voc}"), tmp_path / "cache", backbone)
    with pytest.raises(InsightError, match=r"source.place is '.*split=train,val&set.*split=val&set"):
        write(open_source(f"voc:{voc}?split=val"), tmp_path / "cache")
    check(write(open_source(f"voc:{voc}"), tmp_path / "cache"))

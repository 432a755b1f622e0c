"""CUB: species, figure and ground, points of parts."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from insight.data import open_source
from insight.data.layouts import Cub, PartPoint, part_locations
from sae.errors import InsightError
from tests.insight.data.layouts.stand_ins import numbers, photo, text
from tests.insight.data.pictures import check_restarts, everything

FILES = ["001.Black_footed_Albatross/B_1.jpg", "001.Black_footed_Albatross/B_2.jpg", "002.Laysan_Albatross/L_3.jpg"]


@pytest.fixture
def cub(tmp_path: Path) -> Path:
    root = tmp_path / "CUB_200_2011"
    for file in FILES:
        photo(root / "images" / file, np.zeros((2, 3), dtype=int))
    text(root / "images.txt", *(f"{number} {file}" for number, file in enumerate(FILES, 1)), end="\r\n")
    text(root / "classes.txt", "1 001.Black_footed_Albatross", "2 002.Laysan_Albatross")
    text(root / "image_class_labels.txt", "1 1", "2 1", "3 2")
    text(root / "train_test_split.txt", "1 0", "2 1", "3 1")
    text(root / "parts" / "parts.txt", "1 back", "2 left eye")
    text(root / "parts" / "part_locs.txt", "1 1 312.0 182.5 1", "1 2 0.0 0.0 0", "2 1 5.0 6.0 1", "2 2 7.0 8.0 1")
    numbers(root / "segmentations" / FILES[0].replace("jpg", "png"), np.array([[0, 51, 127], [128, 204, 255]]))
    layered = np.array([[[0, 255], [255, 255], [0, 255]], [[204, 255], [102, 255], [153, 255]]], dtype=np.uint8)
    Image.fromarray(layered).save((root / "segmentations" / FILES[1]).with_suffix(".png"))
    return root


def test_images_labels_splits_and_masks(cub: Path) -> None:
    source = open_source(f"cub:{cub}")
    assert isinstance(source, Cub)
    assert source.classes == ("background", "bird")
    items = everything(source)
    assert [(item.id, item.label, item.split) for item in items] == [
        (f"images/{FILES[0]}", "Black footed Albatross", "test"),
        (f"images/{FILES[1]}", "Black footed Albatross", "train"),
        (f"images/{FILES[2]}", "Laysan Albatross", "train"),
    ]
    masks = [item.load_mask and item.load_mask().tolist() for item in items]
    assert masks == [[[0, 0, 0], [1, 1, 1]], [[0, 1, 0], [1, 0, 1]], None]
    check_restarts(source)
    assert [item.id for item in everything(open_source(f"cub:{cub}?split=test"))] == [f"images/{FILES[0]}"]
    (cub / "segmentations").rename(cub.parent / "segmentations")
    beside = everything(Cub(cub, "test"))[0].load_mask
    assert beside is not None
    assert beside().tolist() == [[0, 0, 0], [1, 1, 1]]


def test_points_of_parts(cub: Path) -> None:
    assert part_locations(cub) == {
        f"images/{FILES[0]}": [PartPoint("back", 312.0, 182.5)],
        f"images/{FILES[1]}": [PartPoint("back", 5.0, 6.0), PartPoint("left eye", 7.0, 8.0)],
        f"images/{FILES[2]}": [],
    }
    for line in ("4 1 0 0 1", "1 3 0 0 1", "1 1 x 0 1", "1 1 0 0"):
        text(cub / "parts" / "part_locs.txt", "1 1 0.0 0.0 1", "", line)
        with pytest.raises(InsightError, match=rf"part_locs.txt, line 3: expected a known image.*found '{line}'"):
            part_locations(cub)


@pytest.mark.parametrize(
    ("file", "lines", "why"),
    [
        ("images.txt", ["1 ../../x.jpg"], r"images.txt: expected a path below its folder, found '\.\./\.\./x.jpg'"),
        ("images.txt", ["1 a.jpg", "1 b.jpg"], "images.txt: expected lines of a number .* found a number twice"),
        ("images.txt", [], "images.txt: .*found an empty file"),
        ("classes.txt", ["1 001.a", "2"], "classes.txt: .*found entry 2 without it"),
        ("image_class_labels.txt", ["1 1", "2 1", "3 9"], "expected a class of classes.txt for image 3"),
        ("train_test_split.txt", ["1 0", "2 2", "3 1"], "expected a split of 0 or 1 for image 2"),
    ],
)
def test_lists_that_are_not_as_said(cub: Path, file: str, lines: list[str], why: str) -> None:
    text(cub / file, *lines)
    with pytest.raises(InsightError, match=why):
        Cub(cub)


def test_what_is_not_there_is_said(cub: Path) -> None:
    with pytest.raises(InsightError, match=r"train_test_split.txt: expected split 'val', found test, train"):
        Cub(cub, "val")
    (cub / "classes.txt").write_bytes(b"1 caf\xe9\n")
    with pytest.raises(InsightError, match=r"classes.txt: expected a text file of the set, cannot be read .not UTF-8"):
        Cub(cub)
    (cub / "classes.txt").unlink()
    with pytest.raises(InsightError, match=r"classes.txt: .*cannot be read .No such file"):
        Cub(cub)

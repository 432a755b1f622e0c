"""Pascal VOC: lists of splits, palettes, borders of void, objects in XML."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from insight.data import BadImage, open_source
from insight.data.layouts import Voc
from sae.errors import InsightError
from tests.insight.data.layouts.stand_ins import numbers, photo, text
from tests.insight.data.pictures import check_restarts, everything, reason

PART = "<part><name>head</name></part>"


@pytest.fixture
def voc(tmp_path: Path) -> Path:
    """Five images; 3 is grey, 4 has no mask and no XML, lists have CRLF."""
    root = tmp_path / "VOC2012"
    mask = np.array([[0, 0, 255, 15], [20, 8, 255, 15], [0, 0, 0, 1]])
    for number in range(5):
        photo(root / "JPEGImages" / f"2007_{number}.jpg", mask, number)
    Image.new("L", (4, 3), 90).save(root / "JPEGImages" / "2007_3.jpg")
    for number in range(4):
        numbers(root / "SegmentationClass" / f"2007_{number}.png", mask, palette=True)
    for number, names in enumerate([["person", "person"], ["diningtable"], ["cat", "person"], []]):
        objects = "".join(f"<object><name>{name}</name>{PART}</object>" for name in names)
        text(root / "Annotations" / f"2007_{number}.xml", f"<annotation>{objects}</annotation>")
    text(root / "ImageSets" / "Segmentation" / "train.txt", "2007_2", "2007_0", "", end="\r\n")
    text(root / "ImageSets" / "Segmentation" / "val.txt", "2007_1", "2007_3")
    text(root / "ImageSets" / "Main" / "val.txt", "2007_4", "2007_1")
    text(root / "ImageSets" / "Main" / "cat_val.txt", "2007_1 -1", "2007_2  1")
    return root


def test_images_labels_splits_and_masks(voc: Path) -> None:
    source = open_source(f"voc:{voc}")
    assert isinstance(source, Voc)
    items = everything(source)
    assert [(item.id, item.label, item.split) for item in items] == [
        ("JPEGImages/2007_2.jpg", None, "train"),
        ("JPEGImages/2007_0.jpg", "person", "train"),
        ("JPEGImages/2007_1.jpg", "dining table", "val"),
        ("JPEGImages/2007_3.jpg", None, "val"),
    ]
    for item in items:
        assert item.load_mask is not None
        assert item.load_mask().tolist() == [[0, 0, -1, 15], [20, 8, -1, 15], [0, 0, 0, 1]]
    assert items[3].load().mode == "RGB"
    assert len(source.classes) == 21
    assert (source.classes[0], source.classes[1], source.classes[11], source.classes[20]) == (
        "background", "aeroplane", "dining table", "television",
    )  # fmt: skip
    assert source.place == f"voc:{voc.resolve()}?split=train,val&set=Segmentation"
    check_restarts(source)


def test_other_lists(voc: Path) -> None:
    main = everything(open_source(f"voc:{voc}?set=Main"))
    assert [(item.id[11:17], item.label, item.load_mask is None) for item in main] == [
        ("2007_4", None, True), ("2007_1", "dining table", False),
    ]  # fmt: skip
    assert [item.id[11:17] for item in everything(open_source(f"voc:{voc}?set=Main&split=cat_val"))] == [
        "2007_1",
        "2007_2",
    ]


def test_damaged_files_make_an_image_bad(voc: Path) -> None:
    text(voc / "Annotations" / "2007_2.xml", "<annotation><object>")
    Image.new("RGB", (4, 3)).save(voc / "SegmentationClass" / "2007_0.png")
    numbers(voc / "SegmentationClass" / "2007_1.png", np.full((3, 4), 21))
    (voc / "JPEGImages" / "2007_3.jpg").unlink()
    broken, rgb, wrong, gone = everything(Voc(voc))
    assert "2007_2.xml: damaged" in reason(broken)
    for item, why in ((rgb, "2007_0.png: expected a mask with one number a pixel"), (wrong, "from 0 to 255, found 21")):
        assert item.load_mask is not None
        with pytest.raises(BadImage, match=why):
            item.load_mask()
    assert "no such file" in reason(gone)


@pytest.mark.parametrize("hostile", ["../../secret", "/etc/passwd", "a/../../b", "..", "a\\b", "a\0b"])
def test_lists_that_lead_out_are_refused(voc: Path, hostile: str) -> None:
    text(voc / "ImageSets" / "Segmentation" / "train.txt", "2007_0", hostile)
    with pytest.raises(InsightError, match=r"train.txt, line 2: expected a path below its folder, found"):
        Voc(voc)


def test_what_is_not_as_it_should_be_is_said(voc: Path) -> None:
    for options, why in (
        ("split=trainval", r"Segmentation: expected split 'trainval', found train, val; name them"),
        ("set=Layout", r"Layout: expected a folder, cannot be listed"),
        ("set=../..", "expected a path below its folder"),
        ("year=2012", "expected no options but split and set, found year"),
    ):
        with pytest.raises(InsightError, match=why):
            open_source(f"voc:{voc}?{options}")
    with pytest.raises(InsightError, match=r"expected the id of one of its images, found 'JPEGImages/2007_4.jpg'"):
        list(Voc(voc).read(["JPEGImages/2007_4.jpg"]))
    text(voc / "ImageSets" / "Segmentation" / "val.txt", "2007_1", "2007_0")
    with pytest.raises(InsightError, match=r"val.txt, line 2: expected every image once, found 2007_0 again"):
        Voc(voc)
    text(voc / "ImageSets" / "Segmentation" / "val.txt")
    with pytest.raises(InsightError, match="expected images, found none; is the set unpacked"):
        list(Voc(voc, "val").parts(3))

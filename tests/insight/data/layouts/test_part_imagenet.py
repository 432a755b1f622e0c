"""PartImageNet: masks of parts, the object's class as label."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from insight.data import open_source
from insight.data.layouts import PartImageNet
from sae.errors import InsightError
from tests.insight.data.layouts.stand_ins import halves, part_imagenet, photo, text
from tests.insight.data.pictures import check_restarts, everything


def test_images_labels_splits_and_masks(tmp_path: Path) -> None:
    root = part_imagenet(tmp_path, {"train": 2, "val": 1}, side=6)
    source = open_source(f"part-imagenet:{root}")
    assert isinstance(source, PartImageNet)
    assert source.classes == ("Quadruped Head", "Quadruped Body")
    items = everything(source)
    assert [(item.id, item.label, item.split) for item in items] == [
        ("images/train/n02084071_train0.JPEG", "dog", "train"),
        ("images/train/n02084071_train1.JPEG", "dog", "train"),
        ("images/val/n02084071_val0.JPEG", "dog", "val"),
    ]
    for item in items:
        assert item.load_mask is not None
        assert (item.load_mask() == halves(6, 0, 1)).all()
        assert item.load().size == (6, 6)
    check_restarts(source)
    assert source.place == f"part-imagenet:{root.resolve()}?split=train,val"


def test_what_is_no_part_is_void(tmp_path: Path) -> None:
    root = part_imagenet(tmp_path, {"val": 2}, side=6)
    path = root / "annotations" / "val" / "val.json"
    whole = json.loads(path.read_text())
    path.write_text(json.dumps(whole | {"annotations": whole["annotations"][:1]}))
    first, second = (item.load_mask for item in everything(PartImageNet(root)))
    assert first is not None
    assert second is not None
    assert (first() == halves(6, 0, -1)).all()
    assert (second() == -1).all()


def test_the_other_places_where_files_lie(tmp_path: Path) -> None:
    root = part_imagenet(tmp_path, {"test": 1}, side=6)
    shutil.move(root / "annotations" / "test" / "test.json", root / "test.json")
    (root / "images" / "test").rename(root / "test")
    (root / "test" / "n02084071").mkdir()
    shutil.move(root / "test" / "n02084071_test0.JPEG", root / "test" / "n02084071")
    text(root / "classes.txt", "n02084071 hound, dog")
    (item,) = everything(PartImageNet(root))
    assert (item.id, item.label) == ("test/n02084071_test0.JPEG", "hound")
    assert item.load().size == (6, 6)


def test_what_is_not_as_it_should_be_is_said(tmp_path: Path) -> None:
    root = part_imagenet(tmp_path, {"train": 1, "val": 1})
    with pytest.raises(InsightError, match="annotations: expected split 'test', found train, val"):
        PartImageNet(root, "test")
    path = root / "annotations" / "val" / "val.json"
    whole = json.loads(path.read_text())
    path.write_text(json.dumps(whole | {"categories": [{"id": 0, "name": "Fish Fin"}, {"id": 1, "name": "Fish Tail"}]}))
    with pytest.raises(InsightError, match=r"val.json: expected the categories of the other splits, found 'Fish Fin'"):
        PartImageNet(root)
    assert PartImageNet(root, "val").classes == ("Fish Fin", "Fish Tail")
    shutil.rmtree(root / "images" / "train")
    with pytest.raises(InsightError, match="expected the images of split train in images/train, found none"):
        PartImageNet(root, "train")


def test_a_name_without_a_number_has_no_label(tmp_path: Path) -> None:
    root = part_imagenet(tmp_path, {"val": 1})
    path = root / "annotations" / "val" / "val.json"
    path.write_text(path.read_text().replace("n02084071_val0.JPEG", "some.JPEG"))
    photo(root / "images" / "val" / "some.JPEG", np.zeros((32, 32), dtype=int))
    (item,) = everything(PartImageNet(root))
    assert (item.id, item.label, item.load().size) == ("images/val/some.JPEG", None, (32, 32))

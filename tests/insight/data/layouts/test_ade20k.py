"""ADE20K: 0 is void, 1 to 150 are the classes, a scene is the label."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from insight.data import BadImage, open_source
from insight.data.layouts import Ade20k
from sae.errors import InsightError
from tests.insight.data.layouts.stand_ins import ade20k, halves, numbers, text
from tests.insight.data.pictures import check_restarts, everything


def test_images_labels_splits_and_masks(tmp_path: Path) -> None:
    root = ade20k(tmp_path / "ADEChallengeData2016", train=2, val=1, side=4)
    (root / "images" / "training" / "notes.txt").touch()
    source = open_source(f"ade20k:{root}")
    assert isinstance(source, Ade20k)
    items = everything(source)
    assert [(item.id, item.label, item.split) for item in items] == [
        ("images/training/ADE_train_00000001.jpg", "living room", "training"),
        ("images/training/ADE_train_00000002.jpg", "street", "training"),
        ("images/validation/ADE_val_00000001.jpg", "living room", "validation"),
    ]
    expected = halves(4, 0, 2)
    expected[0] = -1
    for item, mask in zip(items, (expected, expected[:, ::-1], expected)):
        assert item.load_mask is not None
        assert (item.load_mask() == mask).all()
        assert item.load().size == (4, 4)
    assert len(source.classes) == 150
    assert (source.classes[0], source.classes[2], source.classes[149]) == ("wall", "sky", "flag")
    check_restarts(source)
    assert [item.split for item in everything(open_source(f"ade20k:{root}?split=validation"))] == ["validation"]


def test_odd_files(tmp_path: Path) -> None:
    root = ade20k(tmp_path, train=4, val=0)
    masks = root / "annotations" / "training"
    numbers(masks / "ADE_train_00000001.png", np.array([[150, 151]]))
    Image.fromarray(np.array([[1, 70_000 % 65536]], dtype=np.uint16)).save(masks / "ADE_train_00000002.png")
    (masks / "ADE_train_00000003.png").unlink()
    (masks / "ADE_train_00000004.png").write_bytes(b"")
    (root / "sceneCategories.txt").unlink()
    one, two, three, four = everything(Ade20k(root, "training"))
    assert [item.label for item in (one, two, three, four)] == [None] * 4
    assert three.load_mask is None
    for item, why in ((one, "from 0 to 150, found 151"), (two, "found 4464"), (four, "empty")):
        assert item.load_mask is not None
        with pytest.raises(BadImage, match=why):
            item.load_mask()


def test_what_is_not_as_it_should_be_is_said(tmp_path: Path) -> None:
    root = ade20k(tmp_path / "ade", train=1, val=1)
    with pytest.raises(InsightError, match="images: expected split 'train', found training, validation; name them"):
        Ade20k(root, "train")
    text(root / "sceneCategories.txt", "ADE_train_00000001 bedroom", "ADE_train_00000002")
    with pytest.raises(
        InsightError, match=r"sceneCategories.txt, entry 2: expected the name of an image and of a scene"
    ):
        Ade20k(root)
    (tmp_path / "other").mkdir()
    with pytest.raises(InsightError, match="images: expected training, validation, found none"):
        Ade20k(tmp_path / "other")
    with pytest.raises(InsightError, match="expected the id of one of its images"):
        list(Ade20k(ade20k(tmp_path / "x", 1, 0)).read(["images/training/../training/ADE_train_00000001.jpg"]))

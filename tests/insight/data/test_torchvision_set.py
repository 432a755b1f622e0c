"""Datasets of torchvision's kind give their images, with labels by name and masks where there are."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torchvision.datasets
from PIL import Image

from insight.data import BadImage, TorchvisionSet
from sae.errors import InsightError
from tests.insight.data.pictures import check_restarts, colour, everything, picture, reason, write_classes


class Pictures:
    """A dataset of its own making; counts how often images are decoded."""

    def __init__(self, given: Any, **attributes: Any) -> None:
        self.given = given
        self.decoded: list[int] = []
        for name, value in attributes.items():
            setattr(self, name, value)

    def __len__(self) -> int:
        return len(self.given)

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        self.decoded.append(index)
        return picture(index), self.given[index]


def test_a_folder_as_torchvision_reads_it(tmp_path: Path) -> None:
    for number, label in enumerate(["cat", "cat", "dog", "dog", "dog"]):
        (tmp_path / label).mkdir(exist_ok=True)
        picture(number).save(tmp_path / label / f"{number}.png")
    for loader in (torchvision.datasets.folder.default_loader, lambda path: path):  # an image, or only its path
        source = TorchvisionSet(torchvision.datasets.ImageFolder(str(tmp_path), loader=loader), split="train")
        items = everything(source)
        assert [(item.id, item.label, item.split, colour(item)) for item in items] == [
            ("0", "cat", "train", 0), ("1", "cat", "train", 1), ("2", "dog", "train", 2),
            ("3", "dog", "train", 3), ("4", "dog", "train", 4),
        ]  # fmt: skip
        assert (source.name, source.kind, source.classes) == ("ImageFolder", "torchvision", ())
        check_restarts(source)


def test_labels_that_are_listed_cost_no_decoding() -> None:
    names = ["a", "b", ("tench", "Tinca tinca")]
    for targets in ([2, 0, 1, 0], torch.tensor([2, 0, 1, 0]), np.array([2, 0, 1, 0])):
        dataset = Pictures([2, 0, 1, 0], targets=targets, classes=names)
        items = everything(TorchvisionSet(dataset))
        assert [item.label for item in items] == ["tench, Tinca tinca", "a", "b", "a"]
        assert dataset.decoded == []
        assert [colour(item) for item in items] == [0, 1, 2, 3]
        assert dataset.decoded == [0, 1, 2, 3]


def test_other_labels_come_with_the_image() -> None:
    targets = [1, "dog", torch.tensor(0), np.int64(3), -1, {"boxes": 3}, None, torch.zeros(2), True, 0.5]
    dataset = Pictures(targets, classes=["zero", "one"])
    items = everything(TorchvisionSet(dataset))
    assert [item.label for item in items] == ["one", "dog", "zero", "3"] + [None] * 6
    assert [colour(item) for item in items] == list(range(10))
    assert dataset.decoded == list(range(10))


def test_targets_that_a_transform_changes_are_not_taken_from_the_list() -> None:
    dataset = Pictures([1, 0], targets=[0, 1], target_transform=lambda target: 1 - target, classes=["a", "b"])
    assert [item.label for item in everything(TorchvisionSet(dataset))] == ["b", "a"]


def test_segmentation_targets_are_masks(tmp_path: Path) -> None:
    root = tmp_path / "VOCdevkit" / "VOC2012"
    for folder in ("JPEGImages", "SegmentationClass", "ImageSets/Segmentation"):
        (root / folder).mkdir(parents=True)
    for number in range(3):
        picture(number, 5).save(root / "JPEGImages" / f"{number}.jpg", "PNG")
        mask = Image.new("P", (5, 6), [1, 255, 9][number])
        mask.putpalette([9, 9, 9] * 256)
        mask.save(root / "SegmentationClass" / f"{number}.png")
    (root / "ImageSets" / "Segmentation" / "train.txt").write_text("0\n1\n2\n")
    dataset = torchvision.datasets.VOCSegmentation(str(tmp_path), image_set="train")
    source = TorchvisionSet(dataset, classes=write_classes(tmp_path, "background", "aeroplane"))
    first, second, third = everything(source)
    assert [item.load_mask is None for item in everything(TorchvisionSet(dataset))] == [True] * 3
    assert first.load_mask is not None
    assert first.load_mask().tolist() == [[1] * 5] * 6
    assert colour(first) == 0
    assert second.load_mask is not None
    assert (second.load_mask() == -1).all()
    assert third.load_mask is not None
    with pytest.raises(BadImage, match="image 2: expected classes 0 to 1 and 255 for void, found 9"):
        third.load_mask()
    assert [item.label for item in (first, second, third)] == [None] * 3


def test_an_image_that_the_dataset_cannot_give_is_bad(tmp_path: Path) -> None:
    (tmp_path / "cat").mkdir()
    picture(0).save(tmp_path / "cat" / "0.png")
    (tmp_path / "cat" / "1.png").write_bytes(b"no image")
    dataset = torchvision.datasets.ImageFolder(str(tmp_path))
    del dataset.targets  # so that labels come with the image
    for source in (TorchvisionSet(torchvision.datasets.ImageFolder(str(tmp_path))), TorchvisionSet(dataset)):
        good, bad = everything(source)
        assert (colour(good), good.label) == (0, "cat")
        assert "ImageFolder, image 1: damaged (UnidentifiedImageError" in reason(bad)


def test_a_dataset_that_gives_no_images_is_refused(tmp_path: Path) -> None:
    tensors = torchvision.datasets.FakeData(3, (3, 4, 4), transform=lambda image: torch.zeros(3, 4, 4))
    with pytest.raises(InsightError, match="expected PIL images or paths, found Tensor; make the dataset without"):
        everything(TorchvisionSet(tensors))[0].load()
    labelled = TorchvisionSet(Pictures([1, 2], targets=[1, 2]), classes=write_classes(tmp_path, "a"))
    mask = everything(labelled)[0].load_mask
    assert mask is not None
    with pytest.raises(InsightError, match="expected PIL images as targets, the masks, found int"):
        mask()
    with pytest.raises(InsightError, match="generator: expected a dataset with a length and images by index"):
        TorchvisionSet(image for image in ())
    with pytest.raises(InsightError, match="found an empty dataset"):
        list(TorchvisionSet(Pictures([])).parts(3))


def test_a_part_is_a_range_of_the_dataset() -> None:
    source = TorchvisionSet(Pictures([0] * 10))
    assert list(source.parts(4)) == [["0:4"], ["4:8"], ["8:10"]]
    for foreign in (["8:11"], ["4:2"], ["-1:3"], ["x"], [], ["0:1", "1:2"]):
        with pytest.raises(InsightError, match="expected a range of its 10 images"):
            list(source.read(foreign))

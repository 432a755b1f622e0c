"""ROOT/SPLIT/CLASS/...: splits are folders, labels are readable where anything says how."""

import shutil
from pathlib import Path

import pytest

from insight.data import open_source
from insight.data.layouts import ImageTree
from sae.errors import InsightError
from tests.insight.data.layouts.stand_ins import image_tree, text
from tests.insight.data.pictures import check_restarts, everything


def test_splits_and_labels(tmp_path: Path) -> None:
    root = image_tree(tmp_path / "places", ["airfield", "living_room"], train=2, val=1)
    (root / ".cache" / "airfield").mkdir(parents=True)
    source = open_source(f"images:{root}")
    assert isinstance(source, ImageTree)
    assert [(item.id, item.label, item.split) for item in everything(source)] == [
        ("train/airfield/airfield_0.jpg", "airfield", "train"),
        ("train/airfield/airfield_1.jpg", "airfield", "train"),
        ("train/living_room/living_room_0.jpg", "living_room", "train"),
        ("train/living_room/living_room_1.jpg", "living_room", "train"),
        ("val/airfield/airfield_0.jpg", "airfield", "val"),
        ("val/living_room/living_room_0.jpg", "living_room", "val"),
    ]
    assert (source.name, source.kind, source.classes) == ("places", "images", ())
    assert source.place == f"images:{root.resolve()}?split=train,val"
    assert {item.load().size for item in everything(source)} == {(32, 32)}
    check_restarts(source)
    assert [item.split for item in everything(open_source(f"images:{root}?split=val"))] == ["val", "val"]
    assert [item.split for item in everything(open_source(f"images:{root}?split=val,train"))] == ["val"] * 2 + [
        "train"
    ] * 4


@pytest.mark.parametrize(
    ("file", "lines"),
    [
        ("classes.tsv", ["a\ttench", "b\tcrane", "c\tcrane", "unused\tx"]),
        ("classes.txt", ["a tench", "b crane", "c crane"]),
        ("LOC_synset_mapping.txt", ["a tench, Tinca tinca", "b crane", "c crane, derrick"]),
        ("words.txt", ["a\ttench, Tinca tinca", "b\tcrane", "c\tcrane"]),
    ],
)
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_names_from_a_file(tmp_path: Path, file: str, lines: list[str], end: str) -> None:
    image_tree(tmp_path, ["a", "b", "c", "d"], train=1, val=0)
    text(tmp_path / file, *lines, end=end)
    labels = [item.label for item in everything(ImageTree(tmp_path))]
    assert labels == ["tench", "crane (b)", "crane (c)", "d"]


def test_numbers_of_wordnet_have_its_words(tmp_path: Path) -> None:
    image_tree(tmp_path, ["n01440764", "n02012849", "n03126707", "n99999999", "n1", "sky", "skies"], train=1, val=0)
    labels = [item.label for item in everything(ImageTree(tmp_path))]
    assert labels[:5] == ["tench", "crane (n02012849)", "crane (n03126707)", "n1", "n99999999"]
    assert labels[5:] == ["skies (skies)", "sky (sky)"]


def test_images_in_no_class_have_no_label(tmp_path: Path) -> None:
    image_tree(tmp_path, ["a"], train=1, val=0)
    shutil.copytree(tmp_path / "train" / "a", tmp_path / "val")
    assert [(item.id, item.label) for item in everything(ImageTree(tmp_path, "val"))] == [("val/a_0.jpg", None)]


def test_what_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(InsightError, match=r"images:.*none: expected a folder, found nothing"):
        ImageTree(tmp_path / "none")
    root = image_tree(tmp_path / "x", ["a"], train=1, val=0)
    (root / "other").mkdir()
    for split, found in (
        ("tain", r"expected split 'tain', found other, train; name them, as in \?split=train"),
        ("train,train", "expected different splits"),
        ("", "expected split ''"),
        ("../x/train", "expected split '../x/train'"),
    ):
        with pytest.raises(InsightError, match=found):
            open_source(f"images:{root}?split={split}")
    with pytest.raises(InsightError, match=r"expected no options but split, found splits"):
        open_source(f"images:{root}?splits=train")
    with pytest.raises(InsightError, match="found a file of classes"):
        open_source(f"images:{root}", classes=tmp_path / "c.txt")
    with pytest.raises(InsightError, match="other: expected images, found no file with a suffix"):
        list(ImageTree(root, "other").parts(2))
    source = ImageTree(root)
    for id in (
        "../x/train/a/a_0.jpg",
        "train/../train/a/a_0.jpg",
        "/train/a/a_0.jpg",
        "other/a.jpg",
        "train",
        "train//a",
    ):
        with pytest.raises(InsightError, match="expected the id of one of its images"):
            list(source.read([id]))
    parts = list(source.parts(2))
    shutil.rmtree(root)
    with pytest.raises(InsightError, match="the folder is gone, found nothing; put it back"):
        list(source.read(parts[0]))

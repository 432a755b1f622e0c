"""COCO: polygons and runs, crowds, overlaps, stuff, panoptic segments, and files that are not as they should be."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from insight.data import BadImage, Item, open_source
from insight.data.layouts import Coco
from insight.data.layouts.coco_json import read_annotations
from naming import load_phrases
from sae.errors import InsightError
from tests.insight.data.layouts.stand_ins import coco_json, numbers, photo
from tests.insight.data.layouts.test_rle import as_text, runs_in
from tests.insight.data.pictures import check_restarts, everything, reason

CATEGORIES = {1: "person", 18: "dog", 90: "toothbrush"}
IMAGES = {7: ("b.jpg", 6, 8), 3: ("a.jpg", 6, 8), 9: ("c.jpg", 6, 8), 11: ("gone.jpg", 6, 8)}


def box(x: float, y: float, width: float, height: float) -> list[float]:
    return [x, y, x + width, y, x + width, y + height, x, y + height]


def annotation(id: int, image: int, category: int, segmentation: Any, crowd: int = 0) -> dict[str, Any]:
    return {
        "id": id,
        "image_id": image,
        "category_id": category,
        "segmentation": segmentation,
        "iscrowd": crowd,
        "area": 1.0,
        "bbox": [0, 0, 1, 1],
    }


def mask_of(item: Item) -> np.ndarray:
    assert item.load_mask is not None
    return item.load_mask()


CROWD = np.zeros((6, 8), dtype=bool)
CROWD[1:, 2:7] = True
CROWD[3, 4] = False
DOGS = [
    annotation(1, 3, 18, [box(0, 0, 3, 3), box(5, 4, 3, 2), [1.0, 1.0, 2.0, 2.0]]),
    annotation(2, 3, 18, [box(6, 0, 1, 1)]),
]
SCENE = [
    annotation(3, 7, 90, [box(2, 2, 2, 1)]),
    annotation(4, 7, 1, {"counts": runs_in(CROWD), "size": [6, 8]}, crowd=1),
    annotation(5, 7, 18, {"counts": as_text(runs_in(CROWD[::-1])), "size": [6, 8]}, crowd=1),
]


@pytest.fixture
def coco(tmp_path: Path) -> Path:
    """Two dogs in a.jpg, a scene in b.jpg, nothing in c.jpg, and gone.jpg that is not on disk."""
    for name in "abc":
        photo(tmp_path / "val2017" / f"{name}.jpg", np.zeros((6, 8), dtype=int))
    instances(tmp_path, [*DOGS, *SCENE])
    return tmp_path


def instances(root: Path, annotations: list[Any], images: Any = None, categories: Any = None) -> Path:
    path = root / "annotations" / "instances_val2017.json"
    return coco_json(path, images or IMAGES, categories or CATEGORIES, annotations=annotations)


def test_things(coco: Path) -> None:
    source = open_source(f"coco:{coco}?split=val2017&masks=things")
    assert isinstance(source, Coco)
    assert source.classes == ("background", "person", "dog", "toothbrush")
    items = everything(source)
    assert [(item.id, item.label, item.split) for item in items] == [
        ("val2017/a.jpg", "dog", "val"),
        ("val2017/b.jpg", None, "val"),
        ("val2017/c.jpg", None, "val"),
        ("val2017/gone.jpg", None, "val"),
    ]
    dogs, scene, nothing, gone = items
    expected = np.zeros((6, 8), dtype=int)
    expected[:3, :3] = expected[4:, 5:] = expected[0, 6] = 2
    assert (mask_of(dogs) == expected).all()
    expected = np.where(CROWD[::-1], 2, 0)
    expected[CROWD] = 1  # as many pixels as the other crowd: the first of the file is on top
    expected[2, 2:4] = 3
    assert (mask_of(scene) == expected).all()
    assert (mask_of(nothing) == np.zeros((6, 8))).all()
    assert dogs.load().size == (8, 6)
    assert "no such file" in reason(gone)
    assert source.place == f"coco:{coco.resolve()}?split=val2017&masks=things"
    check_restarts(source)


def test_several_splits_must_mean_the_same(coco: Path) -> None:
    photo(coco / "images" / "train2017" / "t.jpg", np.zeros((4, 4), dtype=int))
    path = coco / "annotations" / "instances_train2017.json"
    coco_json(path, {1: ("t.jpg", 4, 4)}, CATEGORIES, annotations=[])
    assert [(item.id, item.split) for item in everything(open_source(f"coco:{coco}"))][:2] == [
        ("images/train2017/t.jpg", "train"),
        ("val2017/a.jpg", "val"),
    ]
    coco_json(path, {1: ("t.jpg", 4, 4)}, {1: "dog", 18: "person"}, annotations=[])
    with pytest.raises(InsightError, match="expected the categories of the other splits, found others"):
        Coco(coco)


def test_annotations_are_read_once(coco: Path) -> None:
    source = Coco(coco)
    (coco / "annotations" / "instances_val2017.json").unlink()
    assert [mask_of(item).max() for item in everything(source)[:3]] == [2, 3, 0]


def test_regions_of_another_size_make_an_image_bad(coco: Path) -> None:
    runs = runs_in(CROWD.T)
    for segmentation, why in (
        ({"counts": runs, "size": [8, 6]}, r"a.jpg: a region of it is of 6 × 8 pixels, expected 8 × 6"),
        ({"counts": [3, 4], "size": [6, 8]}, "a region of it is damaged .expected runs of together 48 pixels"),
        ({"counts": "é", "size": [6, 8]}, "a region of it is damaged .expected run lengths as text"),
    ):
        instances(coco, [annotation(1, 3, 1, segmentation)])
        item = everything(Coco(coco))[0]
        with pytest.raises(BadImage, match=why):
            mask_of(item)
    instances(coco, [], images={1: ("a.jpg", 100_000, 100_000)})
    with pytest.raises(BadImage, match="its mask is too large: 100000 × 100000 pixels"):
        mask_of(everything(Coco(coco))[0])


@pytest.mark.parametrize(
    ("annotations", "why"),
    [
        ([annotation(1, 3, 2, [])], "of its own category ids, found category 2"),
        ([annotation(1, 4, 1, [])], "of its own image ids, found image 4"),
        ([annotation(5, 3, 1, [[1, 2, 3, 4, 5, 6, 7]])], "annotation 5: expected polygons of x and y by turns"),
        ([annotation(5, 3, 1, [["a"] * 6])], "annotation 5: could not convert string"),
        ([annotation(5, 3, 1, [[float("nan")] * 6])], "annotation 5: expected polygons of x and y"),
        ([annotation(5, 3, 1, {"counts": [1], "size": [1]})], "annotation 5: expected runs with a size"),
        ([annotation(5, 3, 1, {"counts": [10**30], "size": [6, 8]})], "annotation 5: .*too large"),
        ([annotation(5, 3, 1, {"counts": None, "size": [6, 8]})], "annotation 5: expected runs with counts"),
        ([annotation(5, 3, 1, 7)], "annotation 5: expected polygons, or runs"),
        ([{"id": 1}], "an entry: KeyError: 'image_id'"),
        ([[]], "an entry: "),
    ],
)
def test_annotations_that_fit_nothing_are_refused(coco: Path, annotations: list[Any], why: str) -> None:
    path = instances(coco, annotations)
    with pytest.raises(InsightError, match=rf"{path.name}: expected annotations.*{why}"):
        Coco(coco)


@pytest.mark.parametrize("hostile", ["../../a.jpg", "/etc/passwd", "x/../a.jpg", "", 7])
def test_file_names_that_lead_out_are_refused(coco: Path, hostile: Any) -> None:
    instances(coco, [], images={1: (hostile, 6, 8)})
    with pytest.raises(InsightError, match=r"instances_val2017.json: expected a path below its folder"):
        Coco(coco)


def test_files_that_are_not_of_this_form_are_refused(coco: Path) -> None:
    path = coco / "annotations" / "instances_val2017.json"
    whole = json.loads(path.read_text())
    for change, why in (
        ({"images": [*whole["images"], whole["images"][0]]}, "image: an id that comes twice"),
        ({"images": [{**image, "file_name": "a.jpg"} for image in whole["images"]]}, "a file_name that comes twice"),
        ({"images": [{**whole["images"][0], "height": 0}]}, "a side of 0 pixels"),
        ({"categories": [{"id": 1, "name": "x"}, {"id": 2, "name": "x"}]}, "names that are empty or come twice"),
    ):
        path.write_text(json.dumps(whole | {"annotations": []} | change))
        with pytest.raises(
            InsightError, match=rf"instances_val2017.json: expected annotations of COCO's form; .*{why}"
        ):
            Coco(coco)
    for text in ("", "[1, 2]", '{"images": []}', "[" * 200_000, json.dumps(whole)[:-30]):
        path.write_text(text)
        with pytest.raises(InsightError, match=r"instances_val2017.json: expected annotations of COCO's form"):
            Coco(coco)
    with pytest.raises(InsightError, match="cannot be read"):
        read_annotations(coco / "none.json")


def test_what_is_not_there_is_said(coco: Path) -> None:
    for options, why in (
        ("split=val2014", r"masks=things: expected split 'val2014', found val2017"),
        ("masks=parts", "expected masks=things, stuff or panoptic, found masks=parts"),
        ("masks=stuff", "masks=stuff: expected .*, found none"),
        ("year=1", "expected no options but split and masks, found year"),
    ):
        with pytest.raises(InsightError, match=why):
            open_source(f"coco:{coco}?{options}")
    coco_json(coco / "annotations" / "instances_x.json", {}, CATEGORIES, annotations=[])
    with pytest.raises(InsightError, match="expected the images of split x in x or images/x"):
        Coco(coco, "x")


@pytest.mark.parametrize("below", ["stuffthingmaps", "annotations/stuffthingmaps_trainval2017"])
def test_stuff(coco: Path, below: str) -> None:
    (coco / "annotations" / "instances_val2017.json").unlink()
    numbers(coco / below / "val2017" / "a.png", np.array([[0, 89, 91], [181, 255, 17]]))
    numbers(coco / below / "val2017" / "b.png", np.array([[11]]))
    source = open_source(f"coco:{coco}?masks=stuff")
    assert source.classes == load_phrases("coco-stuff").phrases
    a, b, c = everything(source)
    assert (a.id, a.label, a.split) == ("val2017/a.jpg", None, "val")
    names = [[None if c < 0 else source.classes[c] for c in row] for row in mask_of(a)]
    assert names == [["person", "toothbrush", "banner"], ["wood", None, "dog"]]
    with pytest.raises(BadImage, match=r"b.png: expected numbers of classes from 0 to 255, found 11"):
        mask_of(b)
    assert c.load_mask is None


def test_panoptic(coco: Path) -> None:
    categories = {1: "person", 187: "sky-other-merged", 118: "floor-wood", 175: "wall-stone", 176: "wall-stone-other"}
    segments = {"a.jpg": {3226956: 187, 70_000: 1, 5: 1}, "b.jpg": {9: 175}, "c.jpg": {}}
    ids = {name: id for id, (name, _, _) in IMAGES.items()}
    annotations = [
        {
            "image_id": ids[name],
            "file_name": name.replace("jpg", "png"),
            "segments_info": [{"id": id, "category_id": c, "iscrowd": 0, "area": 1} for id, c in found.items()],
        }
        for name, found in segments.items()
    ]
    coco_json(coco / "annotations" / "panoptic_val2017.json", IMAGES, categories, annotations=annotations)
    found = np.array([[3226956, 70_000, 0], [5, 70_000, 3226956]])
    colours = np.stack([found % 256, found // 256 % 256, found // 65536], -1).astype(np.uint8)
    folder = coco / "annotations" / "panoptic_val2017"
    folder.mkdir()
    Image.fromarray(colours).save(folder / "a.png")
    Image.fromarray(colours).save(folder / "b.png")
    source = open_source(f"coco:{coco}?masks=panoptic")
    assert source.classes == ("person", "floor wood", "wall-stone", "wall-stone-other", "sky")
    a, b, c, gone = everything(source)
    assert mask_of(a).tolist() == [[4, 0, -1], [0, 0, 4]]
    assert (a.label, b.label) == (None, "wall-stone")
    with pytest.raises(BadImage, match=r"b.png: expected segments that its JSON lists, found segment 5"):
        mask_of(b)
    assert c.load_mask is None
    assert gone.load_mask is None
    numbers(folder / "b.png", np.ones((2, 2)))
    with pytest.raises(BadImage, match="expected a panoptic mask with three numbers a pixel, found mode L"):
        mask_of(b)

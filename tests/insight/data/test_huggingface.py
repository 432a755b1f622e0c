"""Datasets of the package `datasets` give their images, whether indexed or streamed."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from insight.data import BadImage, HuggingFaceSet
from sae.errors import InsightError
from tests.insight.data.pictures import check_restarts, colour, everything, picture, png, reason, write_classes

datasets = pytest.importorskip("datasets", reason="reads its datasets: pip install datasets")


def pictures(count: int, **columns: Any) -> Any:
    features = {"photo": datasets.Image(), "label": datasets.ClassLabel(names=["cat", "dog"])}
    values = {"photo": [picture(n) for n in range(count)], "label": [n % 2 for n in range(count)]}
    for name, (feature, column) in columns.items():
        features[name], values[name] = feature, column
    return datasets.Dataset.from_dict(values, features=datasets.Features(features))


def test_rows_are_images_with_labels_by_name() -> None:
    dataset = pictures(40, caption=(datasets.Value("string"), ["text"] * 40))
    source = HuggingFaceSet(dataset, name="pets", split="train")
    items = everything(source, 19)
    assert [(item.id, item.label, item.split, colour(item)) for item in items] == [
        (str(n), ["cat", "dog"][n % 2], "train", n) for n in range(40)
    ]
    assert (source.name, source.kind, source.place, source.classes) == ("pets", "huggingface", "pets", ())
    assert list(source.parts(19)) == [["0:19"], ["19:38"], ["38:40"]]
    check_restarts(source, 19)


def test_a_streamed_dataset_is_read_by_its_shards() -> None:
    streamed = pictures(7).to_iterable_dataset(num_shards=3)
    source = HuggingFaceSet(streamed)
    assert list(source.parts(1)) == [["shard:0"], ["shard:1"], ["shard:2"]]
    items = everything(source)
    assert sorted(colour(item) for item in items) == list(range(7))
    assert len({item.id for item in items}) == 7
    assert all(item.label == ["cat", "dog"][colour(item) % 2] for item in items)
    check_restarts(source)
    for foreign in (["shard:3"], ["0:3"], [], ["shard:x"]):
        with pytest.raises(InsightError, match="expected one of its 3 shards"):
            list(source.read(foreign))


@pytest.mark.parametrize("streamed", [False, True])
def test_images_as_paths_bytes_and_nothing(tmp_path: Path, streamed: bool) -> None:
    picture(1).save(tmp_path / "1.png")
    cells = [
        str(tmp_path / "1.png"),
        {"bytes": png(picture(2)), "path": None},
        {"bytes": b"no image", "path": "x"},
        None,
    ]
    cells += [str(tmp_path / "none.png"), f"file://{tmp_path}/1.png", f"file://{tmp_path}/none.png"]
    dataset = datasets.Dataset.from_dict({"image": cells}, features=datasets.Features({"image": datasets.Image()}))
    items = everything(HuggingFaceSet(dataset.to_iterable_dataset() if streamed else dataset))
    assert [colour(items[number]) for number in (0, 1, 5)] == [1, 2, 1]
    for number, why in ((2, "not an image"), (3, "no image in this row"), (4, "no such file"), (6, "no such file")):
        assert why in reason(items[number])
    assert all(item.label is None for item in items)


def test_a_column_of_masks(tmp_path: Path) -> None:
    numbers = np.array([[0, 1], [255, 0]], dtype=np.uint8)
    masks = [Image.fromarray(numbers), None, Image.fromarray(numbers + 1)]
    dataset = pictures(3, mask=(datasets.Image(), masks))
    source = HuggingFaceSet(dataset, image="photo", mask="mask", classes=write_classes(tmp_path, "sky", "sea"))
    first, second, third = everything(source)
    assert source.classes == ("sky", "sea")
    assert first.load_mask is not None
    assert first.load_mask().tolist() == [[0, 1], [-1, 0]]
    assert second.load_mask is None
    assert third.load_mask is not None
    with pytest.raises(BadImage, match=r"row 2 \(mask\): expected classes 0 to 1"):
        third.load_mask()
    with pytest.raises(InsightError, match="expected a column of masks and the file that names their classes together"):
        HuggingFaceSet(dataset, image="photo", mask="mask")


def test_columns_must_be_there() -> None:
    two = pictures(1, other=(datasets.Image(), [picture(1)]))
    with pytest.raises(InsightError, match=r"expected one column of images, found 2 \(photo, other\); say which"):
        HuggingFaceSet(two)
    with pytest.raises(InsightError, match=r"found 0 \(text\)"):
        HuggingFaceSet(datasets.Dataset.from_dict({"text": ["a"]}))
    with pytest.raises(InsightError, match="expected a column foto, found photo, label"):
        HuggingFaceSet(pictures(1), image="foto")
    with pytest.raises(InsightError, match="expected an image, its bytes or its path, found int; name another column"):
        everything(HuggingFaceSet(pictures(1), image="label"))[0].load()


def test_labels_that_are_hidden_or_have_no_names() -> None:
    dataset = pictures(4).cast_column("label", datasets.Value("int64"))
    assert [item.label for item in everything(HuggingFaceSet(dataset))] == ["0", "1", "0", "1"]
    hidden = datasets.Dataset.from_dict(
        {"image": [picture(1)], "class": [-1]},
        features=datasets.Features({"image": datasets.Image(), "class": datasets.ClassLabel(names=["a"])}),
    )
    assert everything(HuggingFaceSet(hidden))[0].label is None

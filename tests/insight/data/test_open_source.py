"""One word of the command line names a source."""

import subprocess
import sys
from pathlib import Path

import pytest

from insight.data import HuggingFaceSet, ImageFolder, ImageList, ImageSource, TarShards, TorchvisionSet, open_source
from sae.errors import InsightError
from tests.insight.data.pictures import colour, everything, picture, write_classes
from tests.insight.data.test_tar_shards import numbered, write_tar


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    for number in range(3):
        (tmp_path / "photos" / "cat").mkdir(parents=True, exist_ok=True)
        picture(number).save(tmp_path / "photos" / "cat" / f"{number}.png")
    (tmp_path / "all.txt").write_text("".join(f"photos/cat/{number}.png\n" for number in range(3)))
    write_tar(tmp_path / "tars" / "0.tar", numbered(0, 1))
    write_tar(tmp_path / "tars" / "1.tar", numbered(2))
    return tmp_path


def test_files_and_folders(photos: Path) -> None:
    for word, kind, label in (
        ("photos", ImageFolder, "cat"),
        ("all.txt", ImageList, None),
        ("tars/{0..1}.tar", TarShards, None),
        ("tars/{0,1}.tar", TarShards, None),
    ):
        source: ImageSource = open_source(f"{photos}/{word}")
        assert isinstance(source, kind)
        assert [(colour(item), item.label) for item in everything(source)] == [(n, label) for n in range(3)]
    assert isinstance(open_source(f"pipe:cat {photos}/tars/0.tar"), TarShards)
    assert isinstance(open_source("https://example.org/{0..9}.tar"), TarShards)


def test_masks_classes_and_splits_go_with_a_folder(photos: Path) -> None:
    classes = write_classes(photos, "sky")
    (photos / "train.txt").write_text("cat/0\n")
    source = open_source(f"{photos}/photos", masks=photos, classes=classes, splits={"train": photos / "train.txt"})
    assert source.classes == ("sky",)
    assert [item.split for item in everything(source)] == ["train", None, None]
    for word in ("all.txt", "tars/0.tar"):
        assert open_source(f"{photos}/{word}", classes=classes).classes == ("sky",)
        with pytest.raises(InsightError, match="masks given apart go with a folder of images only"):
            open_source(f"{photos}/{word}", masks=photos, classes=classes)
        with pytest.raises(InsightError, match="splits given apart"):
            open_source(f"{photos}/{word}", splits={"train": photos / "train.txt"})


def test_datasets_of_torchvision(photos: Path) -> None:
    source = open_source(f"torchvision:ImageFolder?root={photos}/photos")
    assert isinstance(source, TorchvisionSet)
    assert [(colour(item), item.label) for item in everything(source)] == [(0, "cat"), (1, "cat"), (2, "cat")]
    assert source.name == "ImageFolder"
    fake = everything(open_source("torchvision:FakeData?size=4&num_classes=1"))
    assert [(item.id, item.label) for item in fake] == [("0", "0"), ("1", "0"), ("2", "0"), ("3", "0")]
    for word, why in (
        (f"CIFAR10?root={photos}&train=False", "not found or corrupted.*download=True to fetch it"),
        ("Cifar10?root=x", "expected the name of a dataset of torchvision, such as CIFAR10, found 'Cifar10'"),
        ("folder?root=x", "found 'folder'"),
        ("CIFAR10?rut=x", "unexpected keyword"),
        ("CIFAR10?root", "expected option=value&option=value after the [?], found 'root'"),
    ):
        with pytest.raises(InsightError, match=f"torchvision:.*{why}"):
            open_source(f"torchvision:{word}")


def test_datasets_of_hugging_face(photos: Path) -> None:
    datasets = pytest.importorskip("datasets", reason="reads its datasets: pip install datasets")
    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=["a", "b"])})
    whole = datasets.Dataset.from_dict({"image": [picture(n) for n in range(3)], "label": [1, 0, 1]}, features=features)
    whole.save_to_disk(photos / "one")
    datasets.DatasetDict({"train": whole, "test": whole.select([2])}).save_to_disk(photos / "two")
    for word, split, numbers in (
        ("one", None, [0, 1, 2]),
        ("two?split=train", "train", [0, 1, 2]),
        ("two?split=test", "test", [2]),
    ):
        source = open_source(f"hf:{photos}/{word}")
        assert isinstance(source, HuggingFaceSet)
        items = everything(source)
        assert [(colour(item), item.label, item.split) for item in items] == [(n, "bab"[n], split) for n in numbers]
        assert source.name == word[:3]
    for word, why in (
        ("two", "expected one split, found train, test; say which, such as [?]split=train"),
        ("two?split=val", "cannot be opened .*val"),
        ("one?columns=3", "found columns"),
        ("one?image=label2", "expected a column label2"),
    ):
        with pytest.raises(InsightError, match=f"hf:.*{why}"):
            open_source(f"hf:{photos}/{word}")


def test_anything_else_is_refused_with_what_was_expected(photos: Path) -> None:
    (photos / "a.zip").touch()
    for word, found in (
        (f"{photos}/a.zip", "a file of another kind"),
        (f"{photos}/none", "nothing"),
        ("", "nothing"),
        ("x" * 999, "nothing that can be looked at .File name too long"),
    ):
        with pytest.raises(InsightError, match=f"expected a folder of images, a list .* tar shards .*; found {found}"):
            open_source(word)


def test_optional_packages_are_named_when_they_are_missing(photos: Path) -> None:
    code = (
        "import sys; sys.modules['datasets'] = sys.modules['webdataset'] = None\n"
        "from insight.data import open_source\n"
        "for word in ('hf:x', 'pipe:true'):\n"
        "    try: [list(source.read(part)) for source in [open_source(word)] for part in source.parts(1)]\n"
        "    except ValueError as error: print(error)\n"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "pip install datasets" in run.stdout
    assert "pip install webdataset" in run.stdout

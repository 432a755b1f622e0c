"""A folder of photos is listed the same on every machine, and nothing in it passes unseen."""

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from insight.data import BadImage, ImageFolder, find_photo
from sae.errors import InsightError
from tests.insight.data.pictures import check_restarts, colour, everything, picture, write_classes


def touch(folder: Path, *names: str) -> ImageFolder:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return ImageFolder(folder)


def test_ids_are_relative_paths_in_order(tmp_path: Path) -> None:
    folder = touch(tmp_path, "b/2.png", "a/x/1.jpg", "a.jpg", "B.JPEG", "a/0.gif", "a-b/9.webp")
    assert folder.ids() == ["B.JPEG", "a-b/9.webp", "a.jpg", "a/0.gif", "a/x/1.jpg", "b/2.png"]


def test_hidden_files_and_other_suffixes_are_left_out(tmp_path: Path) -> None:
    folder = touch(tmp_path, "a.jpg", ".b.jpg", ".git/c.jpg", "notes.txt", "d.jpg.part", "jpg", "e.heic")
    assert folder.ids() == ["a.jpg", "e.heic"]


def test_the_label_is_the_first_subfolder(tmp_path: Path) -> None:
    folder = touch(tmp_path, "a.jpg", "cat/a.jpg", "cat/tabby/a.jpg")
    assert {id: folder.label(id) for id in folder.ids()} == {
        "a.jpg": None,
        "cat/a.jpg": "cat",
        "cat/tabby/a.jpg": "cat",
    }


def test_linked_folders_are_followed_once(tmp_path: Path) -> None:
    touch(tmp_path / "elsewhere", "a.jpg")
    folder = touch(tmp_path / "photos", "b.jpg")
    (folder.path / "linked").symlink_to(tmp_path / "elsewhere")
    (folder.path / "up").symlink_to(folder.path)
    assert folder.ids() == ["b.jpg", "linked/a.jpg"]


def test_a_name_that_is_not_utf8_is_listed_and_bad(tmp_path: Path) -> None:
    try:
        (tmp_path / os.fsdecode(b"caf\xe9.jpg")).touch()
    except OSError:
        pytest.skip("this file system holds only UTF-8 names")
    folder = ImageFolder(tmp_path)
    assert folder.ids() == ["caf\\xe9.jpg"]
    with pytest.raises(BadImage, match="not UTF-8"):
        folder.load("caf\\xe9.jpg")


def test_a_folder_that_is_none_or_holds_none_is_refused(tmp_path: Path) -> None:
    touch(tmp_path, "empty/notes.txt")
    for name, found in {
        "missing": "found nothing",
        "empty": "no file with a suffix",
        "empty/notes.txt": "a file",
    }.items():
        with pytest.raises(InsightError, match=f"{name}.*{found}"):
            ImageFolder(tmp_path / name).ids()


def test_a_photo_is_loaded_by_its_id(tmp_path: Path) -> None:
    (tmp_path / "a b").mkdir()
    Image.new("RGB", (3, 2), "red").save(tmp_path / "a b" / "ü.png")
    assert ImageFolder(tmp_path).load("a b/ü.png").size == (3, 2)


def test_parts_are_slices_of_the_ids(tmp_path: Path) -> None:
    (tmp_path / "photos" / "sub").mkdir(parents=True)
    for number in range(7):
        picture(number).save(tmp_path / "photos" / ["", "sub"][number % 2] / f"{number}.png")
    source = ImageFolder(tmp_path / "photos")
    assert [len(part) for part in source.parts(3)] == [3, 3, 1]
    items = everything(source)
    assert [item.id for item in items] == source.ids()
    assert [(colour(item), item.label) for item in items] == [
        (0, None), (2, None), (4, None), (6, None), (1, "sub"), (3, "sub"), (5, "sub"),
    ]  # fmt: skip
    assert {(item.split, item.load_mask) for item in items} == {(None, None)}
    assert (source.name, source.kind, source.place) == ("photos", "folder", str((tmp_path / "photos").resolve()))
    assert source.classes == ()
    check_restarts(source)
    for outside in ("../photos/0.png", "/0.png", "sub/../../0.png"):
        with pytest.raises(InsightError, match="expected the id of an image in this folder"):
            list(source.read([outside]))
    shutil.rmtree(tmp_path / "photos")
    with pytest.raises(InsightError, match="photos: the folder is gone, found nothing; put it back"):
        list(source.read(["0.png"]))


def test_an_image_may_have_a_mask_of_its_name(tmp_path: Path) -> None:
    photos = touch(tmp_path / "photos", "a.jpg", "b/a.x.webp", "b/none.png").path
    (tmp_path / "masks" / "b").mkdir(parents=True)
    Image.new("L", (2, 1), 1).save(tmp_path / "masks" / "a.png")
    Image.new("L", (3, 1), 255).save(tmp_path / "masks" / "b" / "a.x.png")
    classes = write_classes(tmp_path, "sky", "sea")
    source = ImageFolder(photos, masks=tmp_path / "masks", classes=classes)
    assert source.classes == ("sky", "sea")
    masks = {item.id: item.load_mask and item.load_mask().tolist() for item in everything(source)}
    assert masks == {"a.jpg": [[1, 1]], "b/a.x.webp": [[-1, -1, -1]], "b/none.png": None}
    for wrong, found in (
        ({"masks": tmp_path / "masks"}, "masks without classes"),
        ({"classes": classes}, "classes without masks"),
        ({"masks": tmp_path / "none", "classes": classes}, "expected a folder of masks, found nothing"),
    ):
        with pytest.raises(InsightError, match=found):
            ImageFolder(photos, **wrong)


def test_lists_say_the_split(tmp_path: Path) -> None:
    folder = touch(tmp_path / "photos", "0.jpg", "1.jpg", "cat/0.png", "2.jpg")
    (tmp_path / "train.txt").write_text("0\n cat/0\n\n", encoding="utf-8")
    (tmp_path / "test.txt").write_text("2\ngone\n", encoding="utf-8")
    source = ImageFolder(folder.path, splits={"train": tmp_path / "train.txt", "test": tmp_path / "test.txt"})
    assert {item.id: (item.split, item.label) for item in everything(source)} == {
        "0.jpg": ("train", None),
        "1.jpg": (None, None),
        "2.jpg": ("test", None),
        "cat/0.png": ("train", "cat"),
    }
    (tmp_path / "test.txt").write_text("0\n", encoding="utf-8")
    with pytest.raises(InsightError, match=r"test.txt: 0 is in split train as well"):
        ImageFolder(folder.path, splits={"train": tmp_path / "train.txt", "test": tmp_path / "test.txt"})
    (tmp_path / "test.txt").write_text("photos/2.jpg\n", encoding="utf-8")
    with pytest.raises(InsightError, match="split test lists none of the images; expected lines such as 0,"):
        list(ImageFolder(folder.path, splits={"test": tmp_path / "test.txt"}).parts(9))
    with pytest.raises(InsightError, match=r"none.txt: expected a list of images, cannot be read"):
        ImageFolder(folder.path, splits={"test": tmp_path / "none.txt"})


DATA = os.environ.get("INSIGHT_DATA")


@pytest.mark.skipif(not DATA, reason="reads the photographs in the folder that INSIGHT_DATA names, with masks")
def test_a_real_set_of_photos_with_masks(tmp_path: Path) -> None:
    root = Path(DATA or "", "msrc")
    splits = {"train": root / "train.txt", "test": root / "test.txt"}
    source = ImageFolder(root / "images", masks=root / "masks", classes=root / "classes.txt", splits=splits)
    items = everything(source, 200)
    assert [sum(item.split == split for item in items) for split in splits] == [388, 203]
    for item in items[::50]:
        assert item.load_mask is not None
        mask, image = item.load_mask(), item.load()
        assert mask.shape == (image.height, image.width)
        assert set(np.unique(mask).tolist()) <= set(range(-1, 23))


def test_a_photo_is_found_by_its_id_and_none_outside_its_folder(tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    for path in (folder / "a" / "cat.png", tmp_path / "secret.png"):
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (3, 2), "red").save(path)
    (folder / "bad.png").write_bytes(b"no photo")
    found = find_photo(folder, "a/cat.png")
    assert found is not None
    assert found.size == (3, 2)
    for image in ("../secret.png", "a/../../secret.png", str(tmp_path / "secret.png"), "bad.png", "a", "none.png"):
        assert find_photo(folder, image) is None

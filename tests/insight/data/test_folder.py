"""A folder of photos is listed the same on every machine, and nothing in it passes unseen."""

import os
from pathlib import Path

import pytest
from PIL import Image

from insight.data import BadImage, ImageFolder
from sae.errors import InsightError


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

"""A list of images, in whatever format, gives what it lists, part by part."""

import csv
import json
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
from PIL import Image

from insight.data import BadImage, ImageList
from sae.errors import InsightError
from tests.insight.data.pictures import check_restarts, colour, everything, picture, reason, write_classes

FORMATS = [".csv", ".tsv", ".jsonl", ".parquet"]


def write_list(path: Path, rows: list[dict[str, Any]]) -> Path:
    columns = list(dict.fromkeys(column for row in rows for column in row))
    if path.suffix == ".parquet":
        table = pyarrow.table({column: [row.get(column) for row in rows] for column in columns})
        pyarrow.parquet.write_table(table, path, row_group_size=4)
    elif path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    else:
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, columns, delimiter="\t" if path.suffix == ".tsv" else ",")
            writer.writeheader()
            writer.writerows(rows)
    return path


def write_pictures(folder: Path, count: int) -> list[str]:
    (folder / "photos").mkdir()
    for number in range(count):
        picture(number).save(folder / "photos" / f"ü, {number}.png")
    return [f"photos/ü, {number}.png" for number in range(count)]


def test_a_text_lists_paths(tmp_path: Path) -> None:
    paths = write_pictures(tmp_path, 5)
    (tmp_path / "all.txt").write_bytes(("\ufeff" + "\r\n".join([*paths[:3], "", *paths[3:]])).encode())
    source = ImageList(tmp_path / "all.txt")
    items = everything(source, 2)
    assert [item.id for item in items] == paths
    assert [colour(item) for item in items] == list(range(5))
    assert {(item.label, item.split, item.load_mask) for item in items} == {(None, None, None)}
    assert (source.name, source.kind, source.place) == ("all", "list", str((tmp_path / "all.txt").resolve()))
    check_restarts(source)


@pytest.mark.parametrize("suffix", FORMATS)
def test_columns_say_more(tmp_path: Path, suffix: str) -> None:
    rows = [
        {
            "path": path,
            "id": f"image, {n}",
            "other": "\n",
            "label": ["cat", 'a "dog"\n', ""][n % 3],
            "split": ["train", None][n % 2],
        }
        for n, path in enumerate(write_pictures(tmp_path, 11))
    ]
    source = ImageList(write_list(tmp_path / f"a{suffix}", rows))
    parts = list(source.parts(3))
    order = np.random.default_rng().permutation(len(parts))
    items = {number: list(source.read(parts[number])) for number in order}
    assert [len(items[number]) for number in range(4)] == [3, 3, 3, 2]
    found = [item for number in range(4) for item in items[number]]
    assert [(item.id, item.label, item.split, colour(item)) for item in found] == [
        (row["id"], row["label"] or None, row["split"], n) for n, row in enumerate(rows)
    ]
    check_restarts(source)


@pytest.mark.parametrize("suffix", [".jsonl", ".parquet"])
def test_numbers_are_labels_and_ids(tmp_path: Path, suffix: str) -> None:
    rows = [{"path": "a.jpg", "id": 3, "label": 7, "split": None}, {"path": "b.jpg", "id": 4, "label": None}]
    items = everything(ImageList(write_list(tmp_path / f"a{suffix}", rows)))
    assert [(item.id, item.label) for item in items] == [("3", "7"), ("4", None)]
    assert f"{tmp_path / 'a.jpg'}: no such file" in reason(items[0])


def test_masks_are_read_where_their_classes_are_named(tmp_path: Path) -> None:
    Image.new("L", (4, 5), 1).save(tmp_path / "m.png")
    rows = [{"path": "a", "mask": "m.png"}, {"path": "b", "mask": ""}, {"path": "c", "mask": "none.png"}]
    path = write_list(tmp_path / "a.csv", rows)
    assert all(item.load_mask is None for item in everything(ImageList(path)))
    source = ImageList(path, classes=write_classes(tmp_path, "sky", "sea"))
    first, second, third = everything(source)
    assert source.classes == ("sky", "sea")
    assert first.load_mask is not None
    assert (first.load_mask() == np.ones((5, 4))).all()
    assert second.load_mask is None
    assert third.load_mask is not None
    with pytest.raises(BadImage, match=r"none.png: no such file"):
        third.load_mask()


@pytest.mark.parametrize("suffix", FORMATS)
def test_a_list_that_changed_is_refused_and_one_that_grew_is_not(tmp_path: Path, suffix: str) -> None:
    rows = [{"path": f"{number}.jpg", "label": "cat"} for number in range(9)]
    path = write_list(tmp_path / f"a{suffix}", rows)
    source = ImageList(path)
    parts = list(source.parts(4))
    write_list(path, [*rows, {"path": "new.jpg", "label": "dog"}])
    assert [item.id for part in parts for item in source.read(part)] == [row["path"] for row in rows]
    write_list(path, [*rows[:5], {"path": "5.jpg", "label": "dog"}, *rows[6:]])
    assert len(list(source.read(parts[0]))) == 4
    with pytest.raises(InsightError, match="the list was changed after this run began"):
        list(source.read(parts[1]))
    for foreign in (
        [],
        ["x"],
        ["-5+4#0"],
        ["0+0#0"],
        [*parts[0], *parts[1]],
        ["9" * 30 + "+1#0"],
        ["0+" + "9" * 30 + "#0"],
    ):
        with pytest.raises(InsightError, match=r"expected the name of a stretch|changed"):
            list(source.read(foreign))


def test_an_id_that_comes_twice_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("a.jpg\nb.jpg\nc.jpg\nb.jpg\n")
    with pytest.raises(InsightError, match=r"a.txt: expected every id once, found b.jpg twice"):
        list(ImageList(tmp_path / "a.txt").parts(2))


@pytest.mark.parametrize(
    ("name", "text", "found"),
    [
        ("a.csv", b"file,label\na.jpg,cat\n", "names columns, one of them `path`, found .'file'"),
        ("a.csv", b"", "names columns"),
        ("a.csv", b"path,label\na.jpg,cat\nb.jpg\n", "line 2: expected 2 cells, found 1"),
        ("a.csv", b'path\n"a.jpg\n', "quotes that close"),
        ("a.csv", b"path\na.jpg\n" + b"x" * 200_000, "larger than field limit"),
        ("a.tsv", b"path\tlabel\n\tcat\n", "line 1: expected a `path`, found none"),
        ("a.txt", b"a.jpg\n\xff.jpg\n", "line 2: expected UTF-8"),
        ("a.txt", b"x" * (1 << 21), "line 1: expected a line of at most 1048576 bytes"),
        ("a.txt", b"\n\n", "found an empty list"),
        ("a.jsonl", b'{"path": "a"}\n["b"]\n', "line 2: expected a JSON object"),
        ("a.jsonl", b'{"path": "a"}\n{"path": "b", "label": ["c"]}\n', "line 2: expected text or a number as `label`"),
        ("a.jsonl", b"[" * 99_999, "line 1: expected a JSON object"),
        ("a.parquet", b"PAR1 and nothing more", "expected a Parquet file"),
    ],
)
def test_what_is_no_list_is_refused(tmp_path: Path, name: str, text: bytes, found: str) -> None:
    (tmp_path / name).write_bytes(text)
    with pytest.raises(InsightError, match=f"{name}.*{found}") as caught:
        list(ImageList(tmp_path / name).parts(9))
    assert "\n" not in str(caught.value)


def test_a_file_of_another_kind_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.doc").touch()
    for name, found in (("a.doc", "a file of another kind"), ("none.csv", "nothing")):
        with pytest.raises(InsightError, match=f"{name}: expected a list of images .*{found}"):
            ImageList(tmp_path / name)


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_long_lists_are_not_held(tmp_path: Path, suffix: str) -> None:
    count = 40_000
    path = tmp_path / f"a{suffix}"
    if suffix == ".csv":
        path.write_text("path\n" + "".join(f"{'photo' * 20}{number}.jpg\n" for number in range(count)))
    else:
        pyarrow.parquet.write_table(pyarrow.table({"path": [f"{'photo' * 20}{n}.jpg" for n in range(count)]}), path)
    source = ImageList(path)
    tracemalloc.start()
    last = None
    for part in source.parts(100):
        last = part
    assert last is not None
    assert len(list(source.read(last))) == 100
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 3 << 20  # the list itself is 4.5 MB, and more as objects


@pytest.mark.parametrize("suffix", FORMATS)
def test_without_paths_the_ids_are_the_paths(tmp_path: Path, suffix: str) -> None:
    paths = write_pictures(tmp_path, 3)
    Image.new("L", (4, 5), 1).save(tmp_path / "m.png")
    rows = [{"id": path, "label": "cat", "split": "val", "mask": "m.png"} for path in paths]
    source = ImageList(write_list(tmp_path / f"a{suffix}", rows), classes=write_classes(tmp_path, "sky", "sea"))
    items = everything(source)
    assert [(item.id, item.label, item.split, colour(item)) for item in items] == [
        (path, "cat", "val", number) for number, path in enumerate(paths)
    ]
    assert all(item.load_mask is not None and (item.load_mask() == 1).all() for item in items)

"""Tar shards give their images with labels and masks, in order, from any of them on."""

import io
import itertools
import json
import tarfile
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from insight.data import BadImage, TarShards
from sae.errors import InsightError
from tests.insight.data.pictures import check_restarts, colour, everything, picture, png, reason, write_classes


def write_tar(path: Path, members: list[tuple[str, bytes]], format: int = tarfile.USTAR_FORMAT) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w", format=format) as tar:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return path


def numbered(*numbers: int) -> list[tuple[str, bytes]]:
    return [(f"{number:04d}.png", png(picture(number))) for number in numbers]


@pytest.mark.parametrize("format", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_images_come_in_the_order_of_the_tar(tmp_path: Path, format: int) -> None:
    names = ["b/2", "b/1", "a", "ü" * 90, f"{'long/' * 30}x"]
    if format == tarfile.USTAR_FORMAT:
        names = names[:3]
    path = write_tar(tmp_path / "t.tar", [(f"./{n}.png", png(picture(i))) for i, n in enumerate(names)], format)
    source = TarShards(path)
    items = everything(source)
    assert [item.id for item in items] == [f"t/{name}" for name in names]
    assert [colour(item) for item in items] == list(range(len(names)))
    assert (source.name, source.kind, source.place, source.classes) == ("t", "webdataset", str(path), ())
    check_restarts(source)


def test_each_tar_of_a_pattern_is_a_part(tmp_path: Path) -> None:
    for number in range(3):
        write_tar(tmp_path / f"{number:03d}.tar", numbered(number, 7))
    source = TarShards(tmp_path / "{000..002}.tar")
    assert list(source.parts(1)) == [["000"], ["001"], ["002"]]
    assert [item.id for item in everything(source)] == [
        f"{t}/{n}" for t in ("000", "001", "002") for n in (f"000{t[-1]}", "0007")
    ]
    assert source.name == "{000..002}"


def test_tars_of_one_name_in_two_folders_give_different_ids(tmp_path: Path) -> None:
    for folder in ("train", "val"):
        write_tar(tmp_path / folder / "0.tar", numbered(1))
    assert [item.id for item in everything(TarShards(tmp_path / "{train,val}" / "0.tar"))] == [
        "train/0/0001",
        "val/0/0001",
    ]
    with pytest.raises(InsightError, match="expected each tar once"):
        TarShards(tmp_path / "{a,a}.tar")


def test_labels_stand_beside_the_image(tmp_path: Path) -> None:
    image = png(picture(1))
    labels = {
        "cls": b" 7\n",
        "label": "Füße".encode(),
        "json": json.dumps({"label": "cat", "width": 3}).encode(),
        "JSON": b'{"label": 4}',
        "Cls": b"dog",
    }
    none = {"json": b'{"label": [1]}', "txt": b"a caption", "cls": b"\xff", "label": b" "}
    none |= {"Json": b"{", "jSon": b'{"label": true}', "jsOn": b"[" * 99_999, "jsoN": b"3", "cLs": b""}
    members = []
    for number, (suffix, data) in enumerate([*labels.items(), *none.items()]):
        pair = [(f"{number}.png", image), (f"{number}.{suffix}", data)]
        members += pair if number % 2 else pair[::-1]
    found = [item.label for item in everything(TarShards(write_tar(tmp_path / "t.tar", members)))]
    assert found == ["7", "Füße", "cat", "4", "dog"] + [None] * len(none)


def test_masks_are_read_where_their_classes_are_named(tmp_path: Path) -> None:
    mask = np.array([[0, 1], [255, 1]], dtype=np.uint8)
    members = [("1.seg.png", png(Image.fromarray(mask))), ("1.jpg", png(picture(1, 2))), ("2.png", png(picture(2)))]
    members += [("3.jpg", png(picture(3))), ("3.mask.png", png(Image.fromarray(mask + 1)))]
    path = write_tar(tmp_path / "t.tar", members)
    source = TarShards(path, classes=write_classes(tmp_path, "sky", "sea"))
    items = everything(source)
    assert source.classes == ("sky", "sea")
    assert [item.id for item in items] == ["t/1", "t/2", "t/3"]
    assert items[1].load_mask is None
    assert items[0].load_mask is not None
    assert items[0].load_mask().tolist() == [[0, 1], [-1, 1]]
    assert items[2].load_mask is not None
    with pytest.raises(BadImage, match=r"t.tar: 3 \(mask\): expected classes 0 to 1"):
        items[2].load_mask()
    assert all(item.load_mask is None for item in everything(TarShards(path)))
    check_restarts(source)


def test_no_image_passes_unseen(tmp_path: Path) -> None:
    image = png(picture(1))
    names = ["1.jpg", "1.depth.png", "1.png", "2.left.jpg", "2.right.jpg", "2.cls", "IMG.2020.1.jpg", "IMG.2020.2.jpg"]
    members = [(name, b"right" if name.endswith(".cls") else image) for name in [*names, "a/.hidden.jpg", "._1.jpg"]]
    items = everything(TarShards(write_tar(tmp_path / "t.tar", [*members, ("x.heic", b"heic")])))
    assert [(item.id, item.label) for item in items] == [
        ("t/1", None),  # its other pictures are companions
        ("t/2.left", "right"),
        ("t/2.right", "right"),
        ("t/IMG.2020.1", None),
        ("t/IMG.2020.2", None),
        ("t/x", None),
    ]
    assert "not an image" in reason(items[-1])


def test_a_name_that_comes_twice_is_listed_as_bad(tmp_path: Path) -> None:
    source = TarShards(write_tar(tmp_path / "t.tar", numbered(1, 2, 1, 3, 1)))
    items = everything(source)
    assert len({item.id for item in items}) == 5
    assert [colour(items[number]) for number in (0, 1, 3)] == [1, 2, 3]
    assert "a second image of that name" in reason(items[2])
    check_restarts(source)


def special(name: str, kind: bytes, size: int = 0) -> bytes:
    info = tarfile.TarInfo(name)
    info.type, info.size, info.linkname = kind, size, "/etc/passwd"
    return info.tobuf(tarfile.GNU_FORMAT)


def by_hand(*blocks: bytes) -> bytes:
    return b"".join(blocks) + bytes(1024)


def test_links_devices_and_names_that_lead_out_are_bad_and_not_followed(tmp_path: Path) -> None:
    kinds = [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE]
    one = png(picture(1)).ljust(512, b"\0")
    blocks = [special(f"{number}.jpg", kind, 1 << 30) for number, kind in enumerate(kinds)]
    blocks += [special("../../out.png", tarfile.REGTYPE, 512), one, special("/root.png", tarfile.REGTYPE, 512), one]
    blocks += [special("folder.jpg", tarfile.DIRTYPE), special("good.png", tarfile.REGTYPE, 512), one]
    (tmp_path / "t.tar").write_bytes(by_hand(*blocks))
    items = everything(TarShards(tmp_path / "t.tar"))
    assert [item.id for item in items] == [f"t/{n}" for n in ("0", "1", "2", "3", "4", "out", "root", "folder", "good")]
    assert all("not a regular file" in reason(item) for item in [*items[:5], items[7]])
    assert all("leads out of the tar" in reason(item) for item in items[5:7])
    assert colour(items[8]) == 1


def test_absurd_sizes_cost_no_memory(tmp_path: Path) -> None:
    """Files of many gigabytes (with holes: no disk is used), announced as an image, a label, a mask and a long name."""
    image = [special("good.png", tarfile.REGTYPE, 512), png(picture(1)).ljust(512, b"\0")]
    giant = 5 << 30
    classes = write_classes(tmp_path, "a")
    for name, kind, ids, why in (
        ("x.jpg", tarfile.REGTYPE, ["t/good", "t/x", "t.tar"], "too large: 5368709120 bytes"),
        ("x.cls", tarfile.REGTYPE, ["t/good", "t.tar"], "goes on after the mark of the end"),
        ("x.seg.png", tarfile.REGTYPE, ["t/good", "t.tar"], "goes on after the mark of the end"),
        ("././@LongLink", tarfile.GNUTYPE_LONGNAME, ["t/good", "t.tar"], "a header of 5368709120 bytes"),
        ("x", tarfile.XHDTYPE, ["t/good", "t.tar"], "a header of 5368709120 bytes"),
    ):
        with (tmp_path / "t.tar").open("wb") as file:
            file.write(b"".join([*image, special(name, kind, giant)]))
            file.truncate(giant * 2)
        tracemalloc.start()
        items = everything(TarShards(tmp_path / "t.tar", classes=classes))
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert [item.id for item in items] == ids
        assert why in reason(items[1])
        assert peak < 16 << 20


def test_a_tar_that_is_cut_short_gives_what_is_whole(tmp_path: Path) -> None:
    members = list(
        itertools.chain.from_iterable(
            [pair, (f"{n:04d}.cls", b"x" * 600)] for n, pair in enumerate(numbered(*range(6)))
        )
    )
    path = write_tar(tmp_path / "whole.tar", members)
    with tarfile.open(path) as tar:
        stops = [info.offset_data + info.size for info in tar if info.name.endswith(".png")]
        end = tar.offset
    data = path.read_bytes()
    rng = np.random.default_rng()
    cut = tmp_path / "cut.tar"
    for n in [
        0,
        1,
        511,
        512,
        end,
        end + 1,
        end + 511,
        *stops,
        *(stop - 1 for stop in stops),
        *rng.integers(0, end, 60),
    ]:
        cut.write_bytes(data[:n])
        source = TarShards(cut)
        *good, last = everything(source)
        assert [colour(item) for item in good] == list(range(sum(stop <= n for stop in stops)))
        assert last.id == "cut.tar"
        assert reason(last).startswith(f"{cut}: ")
        assert any(words in reason(last) for words in ("cut short", "not a tar", "empty"))
        check_restarts(source)
    cut.write_bytes(data[: end + 512])  # one block of zeros is enough of an end
    assert len(everything(TarShards(cut))) == 6


def test_what_is_no_tar_is_listed_and_the_run_goes_on(tmp_path: Path) -> None:
    good = write_tar(tmp_path / "3.tar", numbered(3)).read_bytes()
    (tmp_path / "0.tar").write_bytes(np.random.default_rng().bytes(5000))
    (tmp_path / "1.tar").write_bytes(b"\x1f\x8b" + bytes(5000))
    (tmp_path / "2.tar").write_bytes(good[: -len(good) % 512 or None] + good)  # joined: the second would pass unseen
    items = everything(TarShards(tmp_path / "{0..3}.tar"))
    assert [item.id for item in items] == ["0.tar", "1.tar", "2/0003", "2.tar", "3/0003"]
    assert "not a tar" in reason(items[0])
    assert "pipe:gzip -dc FILE" in reason(items[1])
    assert "joined" in reason(items[3])


def test_what_cannot_be_read_now_stops_the_run(tmp_path: Path) -> None:
    """Nothing says that such a tar is damaged: the run is to go on from there when the tar is back."""
    path = write_tar(tmp_path / "0.tar", numbered(1))
    with pytest.raises(InsightError, match=r"expected 3 tars, 2 are missing \(first: .*1.tar\)"):
        list(TarShards(tmp_path / "{0..2}.tar").parts(1))
    source = TarShards(path)
    (part,) = source.parts(1)
    path.unlink()
    with pytest.raises(InsightError, match=r"0.tar: expected a tar, found nothing; put it back"):
        list(source.read(part))
    path.mkdir()
    with pytest.raises(InsightError, match=r"0.tar: expected a tar, found a folder"):
        list(source.read(part))
    for foreign in (["1"], [str(path)], ["pipe:touch pwned"], [], [*part, *part]):
        with pytest.raises(InsightError, match="expected the name of one of its tars"):
            list(source.read(foreign))


def test_commands_are_read_through_webdataset(tmp_path: Path) -> None:
    pytest.importorskip("webdataset", reason="opens what is not a local file: pip install webdataset")
    for number in range(2):
        write_tar(tmp_path / f"{number}.tar", [*numbered(number, number + 7), ("z.txt", bytes(3 << 20))])
    source = TarShards(f"pipe:cat {tmp_path}/{{0..1}}.tar")
    assert [(item.id, colour(item)) for item in everything(source)] == [
        ("0/0000", 0), ("0/0007", 7), ("1/0001", 1), ("1/0008", 8),
    ]  # fmt: skip
    check_restarts(source)
    unfinished = source.read(["1"])
    next(unfinished)
    unfinished.close()  # type: ignore[attr-defined]
    size = (tmp_path / "0.tar").stat().st_size
    (*good, last) = everything(TarShards(f"pipe:head -c {size // 2} {tmp_path}/0.tar"))
    assert [item.id for item in good] == ["0/0000", "0/0007"]
    assert "cut short" in reason(last)
    for command in (f"cat {tmp_path}/0.tar; exit 3", f"head -c 700 {tmp_path}/0.tar; exit 3"):
        with pytest.raises(InsightError, match=r"cannot be read \(exit 3\)"):
            everything(TarShards(f"pipe:{command}"))
    with pytest.raises(InsightError, match="expected pipe:, http"):
        everything(TarShards("nothing://a.tar"))


def test_keys_and_labels_are_those_of_webdataset(tmp_path: Path) -> None:
    webdataset = pytest.importorskip("webdataset", reason="compares with it: pip install webdataset")
    rng = np.random.default_rng()
    members = []
    for number in range(40):
        suffixes = [s for s in ("cls", "jpg", "json", "txt") if s == "jpg" or rng.random() < 0.5]
        for suffix in rng.permutation(suffixes):
            data = {"jpg": png(picture(number)), "cls": b"%d" % number, "json": b'{"label": 5}', "txt": b"text"}[suffix]
            members.append((f"f{number % 3}/{number}.{suffix}", data))
    path = write_tar(tmp_path / "t.tar", members)
    theirs = [sample for sample in webdataset.WebDataset(str(path), shardshuffle=False)]
    ours = everything(TarShards(path))
    assert [item.id for item in ours] == [f"t/{sample['__key__']}" for sample in theirs]
    for item, sample in zip(ours, theirs):
        assert png(item.load()) == sample["jpg"]
        labels = {sample[s].decode() if s == "cls" else "5" for s in ("cls", "json") if s in sample}
        assert item.label in labels if labels else item.label is None

"""`insight cache ...`: what each command prints, writes and refuses."""

import json
from pathlib import Path

import pytest
import torch

from insight.backbones import registry
from insight.cache import FeatureCache
from insight.cli import main
from insight.cli.cache import SUBCOMMANDS

from .cache.random_cache import CLASSES, random_cache
from .cache.stand_in import StandIn, make_photos


def says(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    """What `insight cache ARGUMENTS` prints."""
    main(["cache", *map(str, arguments)])
    return capsys.readouterr().out


def complains(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    """The one line that `insight cache ARGUMENTS` must end with, and exit code 2."""
    with pytest.raises(SystemExit) as stop:
        main(["cache", *map(str, arguments)])
    assert stop.value.code == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("insight: ")]
    assert len(lines) == 1
    return lines[0]


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every name stands for a backbone of a few numbers."""
    monkeypatch.setattr(registry, "_load", lambda name: StandIn(str(name)))


@pytest.mark.usefixtures("stand_in")
def test_write_encodes_a_folder_for_several_backbones(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    photos = make_photos(tmp_path / "photos", 9)
    (photos / "bad.png").touch()
    (tmp_path / "test.txt").write_text("dog/000\ncat/001\n")
    outs = [tmp_path / "a", tmp_path / "b"]
    command = ["write", photos, "--out", *outs, "--backbone", "timm:one", "timm:other", "--device", "cpu"]
    settings = ["--dtype", "int8", "--tokens", 4, "--shard-images", 4, "--splits", "test", tmp_path / "test.txt"]
    out = says(capsys, *command, *settings)
    for line, folder in zip(out.splitlines(), outs, strict=True):
        assert line == f"{folder}: 9 images, 36 patches of 8 values; 1 images gave none: insight cache info {folder}"
    cache, other = map(FeatureCache.open, outs)
    assert cache.fingerprint != other.fingerprint
    assert cache.manifest.dtype == "int8"
    assert torch.equal(cache.positions(), other.positions())
    splits = dict(zip(cache.index["id"].to_pylist(), cache.index["split"].to_pylist(), strict=True))
    assert {id for id, split in splits.items() if split == "test"} == {"dog/000.png", "cat/001.png"}


@pytest.mark.usefixtures("stand_in")
def test_write_appends_to_a_cache_that_was_merged_of_converted_parts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    a, b, more = (make_photos(tmp_path / name / name, count).parent for name, count in (("a", 3), ("b", 5), ("c", 2)))
    for photos, name in ((a, "A"), (b, "B")):
        says(capsys, "write", photos, "--out", tmp_path / name, "--tokens", 4, "--seed", 3, "--device", "cpu")
        says(capsys, "convert", tmp_path / name, "--out", tmp_path / f"{name}8", "--dtype", "int8")
    says(capsys, "merge", tmp_path / "A8", tmp_path / "B8", "--out", tmp_path / "all")
    out = ["--out", tmp_path / "all", "--dtype", "int8", "--tokens", 4, "--device", "cpu", "--append"]
    assert "seed" in complains(capsys, "write", more, *out, "--seed", 4)
    assert "10 images" in says(capsys, "write", more, *out, "--seed", 3)
    assert "whole" in says(capsys, "verify", tmp_path / "all")


def test_info_says_what_a_cache_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cache = random_cache(tmp_path / "cache", dtype="int8", tokens=7, classes=CLASSES)
    out = says(capsys, "info", cache.folder)
    for text in ("random (abababababab…)", "14 in 3 shards", "98, 7 of the 9 × 8", "6 values", "int8", "train 5"):
        assert text in out
    for text in ("label 0 4", "none 3", "cat, sky, water", "folder /photos/photos", "photos/bad0.jpg", "truncated"):
        assert text in out
    found = json.loads(says(capsys, "info", cache.folder, "--json"))
    assert found["labels"] == {"label 0": 4, "label 1": 4, "label 2": 3}
    assert (found["unlabelled"], found["without_split"]) == (3, 4)
    assert found["bytes"] == sum(path.stat().st_size for path in cache.folder.iterdir() if path.suffix != ".json")
    shards = sum(path.stat().st_size for path in cache.folder.glob("*.safetensors"))
    assert found["bytes_per_token"] == pytest.approx(shards / 98)
    assert [entry["id"] for entry in found["first_skipped"]] == ["photos/bad0.jpg", "photos/bad1.jpg"]


def test_verify_names_every_damaged_cache(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folders = [random_cache(tmp_path / name).folder for name in "abc"]
    assert says(capsys, "verify", *folders).count("whole: 14 images") == 3
    for folder in (folders[0], folders[2]):
        shard = folder / "shard-00001.safetensors"
        content = bytearray(shard.read_bytes())
        content[-1] ^= 1
        shard.write_bytes(content)
    shard = folders[0] / "shard-00000.safetensors"
    shard.write_bytes(shard.read_bytes()[:-1])
    line = complains(capsys, "verify", *folders)
    assert "a/shard-00000.safetensors" in line
    assert "c: damaged: shard-00001.safetensors" in line
    assert "b/" not in line


def test_merge_convert_and_sample_write_caches(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    a, b = (random_cache(tmp_path / name, name=name).folder for name in "ab")
    assert "28 images of 2 caches" in says(capsys, "merge", a, b, "--out", tmp_path / "ab")
    assert "28 images in int8" in says(capsys, "convert", tmp_path / "ab", "--out", tmp_path / "8", "--dtype", "int8")
    out = says(capsys, "sample", tmp_path / "8", "--out", tmp_path / "s", "--images", 5, "--tokens", 9, "--seed", 2)
    assert "5 images, 9 patches each" in out
    assert FeatureCache.open(tmp_path / "s").manifest.dtype == "int8"
    assert "in both" in complains(capsys, "merge", a, a, "--out", tmp_path / "aa")
    assert "at least one cache" in complains(capsys, "verify")
    assert "expected a feature cache" in complains(capsys, "info", tmp_path)
    assert "found 1 for 2" in complains(capsys, "write", a, "--out", tmp_path / "x", "--backbone", "small", "small@6")


def test_only_the_first_of_several_processes_prints(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = random_cache(tmp_path / "cache")
    for rank, lines in (("0", 1), ("1", 0)):
        monkeypatch.setenv("RANK", rank)
        assert len(says(capsys, "verify", cache.folder).splitlines()) == lines


def test_help_teaches_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    for command in SUBCOMMANDS:
        with pytest.raises(SystemExit) as stop:
            main(["cache", command, "--help"])
        assert stop.value.code == 0
        out = capsys.readouterr().out
        assert "cache" in out
        assert len(out) > 300

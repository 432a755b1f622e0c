"""The commands of docs/paper-scale.md, read from there, all run in their order on tiny stand-ins of its sets."""

import hashlib
import json
import re
import shlex
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from insight.backbones import Backbone, registry
from insight.cache import FeatureCache
from insight.cli import main
from tests.insight.data.layouts.stand_ins import ade20k, image_tree, part_imagenet
from tests.insight.random_models import Pixels

DOCUMENT = Path(__file__).parents[2] / "docs" / "paper-scale.md"
ENCODER = "openclip:ViT-B-16/laion2b_s34b_b88k+dinoiser"
SMALLER = {"--concepts 8192": "--concepts 128 --steps 60", "--k 12": "--k 4 --batch-size 256", "--images 100000": "--images 12"}
PHOTO = "ILSVRC2012_val_00000293.JPEG"


class Encoder(Pixels):
    """Sees 4 × 4 patches of a photo of 16 × 16 pixels, under the name that the document gives."""

    name, fingerprint = ENCODER, hashlib.sha256(b"pixels").hexdigest()


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The sets below `data`, and every name of an encoder standing for one of a few pixels."""
    encoder = Encoder()

    def base(name: object, bases: object) -> Backbone:
        assert str(name) == ENCODER
        return encoder

    monkeypatch.setattr(registry, "_base", base)
    monkeypatch.chdir(tmp_path)
    data = tmp_path / "data"
    imagenet = image_tree(data / "imagenet", ["n01440764", "n02012849", "n03126707"], train=8, val=3, side=16)
    shutil.copy(imagenet / "val" / "n01440764" / "n01440764_0.jpg", imagenet / "val" / "n01440764" / PHOTO)
    image_tree(data / "places365", ["airfield", "alley"], train=8, val=3, side=16)
    ade20k(data / "ADEChallengeData2016", train=8, val=3, side=16)
    part_imagenet(data / "PartImageNet", {"train": 2, "val": 6, "test": 6}, side=16)
    return tmp_path


def blocks(language: str) -> list[str]:
    found = re.findall(rf"^```{language}\n(.*?)^```$", DOCUMENT.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    return [str(block) for block in found]


def commands(data: Path) -> list[list[str]]:
    """Words of each shell command, without `insight`; smaller, and on one process."""
    lines = [line for block in blocks("sh") for line in block.splitlines()]
    for large, small in SMALLER.items():
        assert any(large in line for line in lines), large
        lines = [line.replace(large, small) for line in lines]
    words = [
        shlex.split(line.replace("/data/", f"{data}/").removeprefix("torchrun --nproc-per-node 8 -m "))
        for line in lines
    ]
    assert {line[0] for line in words} == {"insight"}
    return [line[1:] for line in words]


def test_every_command_from_photographs_to_figures(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = place / "data"
    run = commands(data)
    assert [line[0] for line in run] == ["cache"] * 9 + ["train", "cache", "relate", "name"] + ["classify"] * 4 + [
        "segment"
    ]
    for line in run:
        main(line)
    check_caches(place / "caches")
    said = capsys.readouterr().out
    assert re.search(r"heads/imagenet: 3 classes", said)
    assert re.search(r"heads/places: 2 classes", said)
    assert len(re.findall(r"held out: .*% of (10|6) images right", said)) == 2
    why = json.loads((place / "why.json").read_text())
    assert why["target"] in ("tench", "crane (n02012849)", "crane (n03126707)")
    together = sum(item["contribution"] for item in why["contributions"]) + why["intercept"]
    assert together == pytest.approx(why["logit"], rel=1e-5, abs=1e-5)
    regions = json.loads((place / "regions.json").read_text())
    assert regions["classes"] == ["sky", "wall", "floor"]
    for picture in ("why.png", "regions.png"):
        with Image.open(place / picture) as image:
            image.verify()

    for block in blocks("python"):
        if "import_published" not in block:  # which reads a file that only its authors have
            exec(block.replace('"cuda"', '"cpu"').replace("/data/", f"{data}/"), {})
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == ["True", "False", "None", "16"]
    figures = [[float(number) for number in re.findall(r"\d\.\d+", line)] for line in lines]
    assert all(0 <= number <= 1 for line in figures for number in line)
    trained_iou, (locality, *_) = figures[0][0], figures[2]
    assert trained_iou > 0.8  # two colours, one each for wall and sky
    assert locality > 0


def check_caches(folder: Path) -> None:
    """What each cache holds: counts, splits, labels and the classes of patches."""
    for name, images, splits, labels in (
        ("imagenet", 34, {"train", "val"}, {"tench", "crane (n02012849)", "crane (n03126707)"}),
        ("places", 22, {"train", "val"}, {"airfield", "alley"}),
        ("ade20k-train", 8, {"training"}, {"living room", "street"}),
        ("parts", 12, {"val", "test"}, {"dog"}),
        ("imagenet-100k", 12, {"train"}, {"tench", "crane (n02012849)", "crane (n03126707)"}),
    ):
        cache = FeatureCache.open(folder / name)
        cache.verify()
        assert cache.n_images == images
        assert set(cache.index["split"].to_pylist()) == splits
        assert set(cache.labels) == labels
        assert cache.manifest.dtype == "int8"
        assert cache.skipped.num_rows == 0
    parts = FeatureCache.open(folder / "parts")
    halves = np.array([[0, 0, 1, 1]] * 4).reshape(-1)
    assert (parts.patch_classes().numpy() == halves).all()
    scenes = FeatureCache.open(folder / "ade20k-train")
    seen = {scenes.classes[number] for number in np.unique(scenes.patch_classes().numpy()).tolist() if number >= 0}
    assert seen == {"wall", "sky"}

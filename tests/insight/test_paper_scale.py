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
SMALLER = {
    "--concepts 8192": "--concepts 128 --steps 30",
    "--k 12": "--k 4 --batch-size 256",
    "--images 100000": "--images 12",
    "english+imagenet": "imagenet",
}
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


def blocks() -> list[tuple[str, str]]:
    """Language and text of each block of the document that can be run, in order."""
    found = re.findall(r"^```(sh|python)\n(.*?)^```$", DOCUMENT.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    return [(language, text) for language, text in found if "import_published" not in text]  # a file of others


def run(language: str, text: str) -> None:
    """Run a block: its commands in this process, fewer concepts, without a GPU."""
    if language == "python":
        exec(text.replace('"cuda"', '"cpu"'), {})
        return
    for line in text.splitlines():
        words = shlex.split(line.removeprefix("torchrun --nproc-per-node 8 -m "))
        assert words[0] == "insight"
        main(words[1:])


def test_every_command_from_photographs_to_figures(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    whole = "".join(text for _, text in blocks())
    assert all(large in whole for large in SMALLER)
    steps = ("cache write", "cache merge", "train", "relate", "name", "classify fit", "classify explain", "segment")
    assert all(f"insight {step} " in whole for step in steps)
    for language, text in blocks():
        for large, small in SMALLER.items():
            text = text.replace(large, small)
        run(language, text.replace("/data/", f"{place}/data/"))
    said = capsys.readouterr().out
    check_caches(place / "caches")
    check_classified(place, said)
    check_segmented(place, said)
    locality, consistency, chosen, impurity = figures(said, "None")
    assert 0 < consistency <= locality <= 1
    assert 0 <= chosen <= 1
    assert impurity >= 0
    assert len(figures(said, "16")) == 4


def figures(said: str, first: str) -> list[float]:
    """The numbers of the line that begins so."""
    line = next(line for line in said.splitlines() if line.startswith(f"{first} "))
    return [float(number) for number in re.findall(r"\d\.\d+", line)]


def check_classified(place: Path, said: str) -> None:
    """Two heads and the reasons for one photo, which add up."""
    assert "heads/imagenet: 3 classes" in said
    assert "heads/places: 2 classes" in said
    assert len(re.findall(r"held out: .*% of \d+ images right", said)) == 2
    why = json.loads((place / "why.json").read_text())
    assert why["target"] in ("tench", "crane (n02012849)", "crane (n03126707)")
    together = sum(item["contribution"] for item in why["contributions"]) + why["intercept"]
    assert together == pytest.approx(why["logit"], rel=1e-5, abs=1e-5)
    for picture in ("why.png", "regions.png"):
        with Image.open(place / picture) as image:
            image.verify()


def check_segmented(place: Path, said: str) -> None:
    """By text any answer is one, the encoder knows no words; a trained head tells two colours apart."""
    for file, names in (("regions.json", ["sky", "wall", "floor"]), ("trained.json", ["wall", "sky"])):
        classes = json.loads((place / file).read_text())["classes"]
        assert [found["name"] for found in classes] == names
        assert sum(found["share"] for found in classes) == pytest.approx(1)
    by_training, low, high = figures(said, "True")
    assert 0.8 < by_training <= 1
    assert 0.8 < low <= high <= 1
    assert len(figures(said, "False")) == 3


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

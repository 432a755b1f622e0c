"""What commands are run wrongly on: a folder with photos, caches, a model, a head and a fine-tuned model, all tiny.

photos/red, photos/blue   eight photos each               whole.png, föto 1.png   a photo
cache, other-cache        of two stand-ins for encoders   text.jpg, zero.jpg, cut.jpg   are none
model, unrelated          with and without relations      words.txt, bank.json, broken.json, empty
head, tuned               of classify fit, finetune probe
"""

import json
import shutil
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from insight.backbones import Backbone
from insight.backbones.names import Name
from insight.cli import main

from ..random_models import Pixels

COLOURS = {"red": (200, 40, 30), "blue": (30, 60, 200)}
TRAINING = ["--concepts", "130", "--k", "4", "--steps", "5", "--batch-size", "64"]


class Known(Pixels):
    name, description, fingerprint = "timm:known", "Pixels; no foundation model.", "5a" * 32

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("colour_mean", torch.zeros(3, 1, 1), persistent=False)


class Other(Known):
    name, fingerprint = "timm:other", "7b" * 32


class Blind(Known):
    name, has_text = "timm:blind", False


def stand_in(name: Name) -> Backbone:
    """In place of `registry._load`; whoever comes as far as loading a real encoder has not looked at his input."""
    made = {kind.name: kind for kind in (Known, Other, Blind)}
    assert str(name) in made, f"{name}: an encoder is loaded before the input is looked at"
    return made[str(name)]()


def make_world(root: Path) -> None:
    """Make all of it by the commands themselves."""
    rng = np.random.default_rng()
    for label, colour in COLOURS.items():
        (root / "photos" / label).mkdir(parents=True)
        for number in range(8):
            pixels = np.clip(np.array(colour) + rng.integers(-30, 30, (16, 20, 3)), 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(root / "photos" / label / f"{label}{number}.png")
    Image.new("RGB", (40, 30), "blue").save(root / "whole.png")
    shutil.copy(root / "whole.png", root / "föto 1.png")
    (root / "text.jpg").write_text("no picture")
    (root / "zero.jpg").touch()
    Image.effect_noise((80, 80), 50).save(root / "cut.jpg")
    (root / "cut.jpg").write_bytes((root / "cut.jpg").read_bytes()[:800])
    (root / "words.txt").write_text("red\nblue\nsky\nwater\n")
    (root / "bank.json").write_text(json.dumps({"red": ["warm", "round"], "blue": ["cold", "straight"]}))
    (root / "broken.json").write_text("{")
    (root / "empty").mkdir()
    for cache, backbone in (("cache", Known.name), ("other-cache", Other.name)):
        run("cache", "write", root / "photos", "--out", root / cache, "--backbone", backbone)
    run("train", root / "cache", "--out", root / "unrelated", *TRAINING)
    shutil.copytree(root / "unrelated", root / "model")
    run("relate", root / "model", root / "cache")
    run("name", root / "model", "--vocabulary", root / "words.txt")
    run("classify", "fit", root / "model", root / "photos", "--out", root / "head", "--alpha", 0.1)
    run("finetune", "probe", root / "photos", "--out", root / "tuned", "--backbone", Known.name, "--epochs", 1)


def run(*words: object) -> None:
    main([*map(str, words), "--device", "cpu"])


def table(text: str) -> list[tuple[str, str]]:
    """From lines "COMMAND → WHAT THE ANSWER SAYS" to pairs."""
    return [(line.partition(" → ")[0].strip(), line.partition(" → ")[2].strip()) for line in text.strip().splitlines()]

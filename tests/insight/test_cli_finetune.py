"""`insight finetune` and `insight attribute`: labelled photos in, a folder that predicts and is explained."""

import csv
import importlib
import json
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from insight.backbones import Backbone
from insight.cli import main
from insight.methods import load_method
from insight.methods.bank import ConceptBank

from .commands import fails
from .tiny_clip import tiny_clip

COLOURS = {"red_thing": (200, 30, 30), "blue_thing": (30, 30, 200)}
BANK = {"red thing": ["warm light", "a round edge"], "blue thing": ["cold light", "a straight edge"]}


@pytest.fixture(scope="module")
def backbone() -> Backbone:
    return tiny_clip()


@pytest.fixture
def paths(tmp_path: Path, backbone: Backbone, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with `photos/CLASS/N.png`, `bank.json` and `gold.csv`; every encoder is the tiny one."""
    for name, colour in COLOURS.items():
        for number in range(8):
            rng = np.random.default_rng(number)
            pixels = np.clip(np.array(colour) + rng.normal(0, 20, (64, 64, 3)), 0, 255).astype(np.uint8)
            (tmp_path / "photos" / name).mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(tmp_path / "photos" / name / f"{name}{number}.png")
    (tmp_path / "bank.json").write_text(json.dumps(BANK))
    with (tmp_path / "gold.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["photo", "warm light", "cold light"])
        writer.writerows([f"{name}{n}", int(name[0] == "r"), int(name[0] == "b")] for name in COLOURS for n in range(8))
    importlib.import_module("insight.model")  # so that it is not imported first while this stands in for its encoder
    monkeypatch.setattr("insight.backbones.load", lambda name, device="cpu": backbone)
    monkeypatch.setattr("insight.methods.files.load_backbone", lambda name, device="cpu": backbone)
    return tmp_path


def finetune(method: str, paths: Path, *more: str) -> None:
    given = ["--bank", str(paths / "bank.json"), "--epochs", "2", "--device", "cpu"]
    main(["finetune", method, str(paths / "photos"), "--out", str(paths / "tuned"), *given, *more])


SHORT = {"deal": ["--blocks", "1"], "ecor": ["--blocks", "1"], "why": [], "probe": [], "coop": [], "cocoop": []}


@pytest.mark.parametrize("method", ["probe", "coop", "cocoop", "xcoop", "deal", "why", "ecor"])
def test_a_method_is_fitted_measured_and_read_again(
    method: str, paths: Path, backbone: Backbone, capsys: pytest.CaptureFixture[str]
) -> None:
    finetune(method, paths, *SHORT.get(method, []))
    assert "accuracy" in capsys.readouterr().out
    read = load_method(paths / "tuned", backbone=backbone)
    assert (read.kind, read.classes) == (method, tuple(BANK))
    with torch.no_grad():
        assert read(torch.rand(2, 3, 64, 64)).logits.shape == (2, 2)


def test_a_tuned_model_says_classes_and_concepts_of_photos(paths: Path) -> None:
    finetune("xcoop", paths)
    photo = paths / "photos" / "red_thing" / "red_thing0.png"
    out = ["--json", str(paths / "out.json"), "--device", "cpu"]
    main(["finetune", "predict", str(paths / "tuned"), str(photo), *out])
    (found,) = json.loads((paths / "out.json").read_text())
    assert {name for name, _ in found["classes"]} == set(BANK)
    assert sum(chance for _, chance in found["classes"]) == pytest.approx(1)
    assert {name for name, _ in found["concepts"]} == {concept for own in BANK.values() for concept in own}


def test_gold_concepts_reach_the_method(paths: Path) -> None:
    finetune("ecor", paths, "--blocks", "1", "--gold", str(paths / "gold.csv"))
    with_gold = (paths / "tuned" / "method.safetensors").read_bytes()
    for file in (paths / "tuned").iterdir():
        file.unlink()
    finetune("ecor", paths, "--blocks", "1")
    assert (paths / "tuned" / "method.safetensors").read_bytes() != with_gold


def test_a_tuned_model_is_explained(paths: Path) -> None:
    finetune("coop", paths)
    photo = str(paths / "photos" / "red_thing" / "red_thing0.png")
    for method in ("m2ib", "relevance", "gradcam"):
        files = ["--json", str(paths / "map.json"), "--png", str(paths / "map.png")]
        main(["attribute", method, str(paths / "tuned"), photo, "red thing", *files, "--device", "cpu"])
        found = json.loads((paths / "map.json").read_text())
        (text,) = found["texts"]
        assert found["method"] == method
        assert np.array(text["map"]).shape == tuple(found["grid"]) == (4, 4)
        with Image.open(paths / "map.png") as image:
            assert image.format == "PNG"
            assert image.width > image.height > 100


def test_without_files_the_strongest_place_is_said(paths: Path, capsys: pytest.CaptureFixture[str]) -> None:
    photo = str(paths / "photos" / "red_thing" / "red_thing0.png")
    main(["attribute", "similarity", "openclip:any/", photo, "red", "a blue thing", "--device", "cpu"])
    printed = capsys.readouterr().out.splitlines()
    assert [line.partition(":")[0] for line in printed] == ["red", "a blue thing"]
    assert all("from the left" in line for line in printed)


def test_bad_input_is_one_line_that_says_what_to_do(paths: Path, capsys: pytest.CaptureFixture[str]) -> None:
    photos, out = str(paths / "photos"), str(paths / "tuned")
    bank = ["--bank", str(paths / "bank.json")]
    wrong_bank = paths / "wrong.json"
    wrong_bank.write_text(json.dumps({"green thing": ["a"], "grey thing": ["b"]}))
    (paths / "other").mkdir()
    (paths / "other" / "file").touch()
    gold = paths / "wrong.csv"
    gold.write_text("photo,warm light\nred_thing0,2\n")
    photo = str(paths / "photos" / "red_thing" / "red_thing0.png")
    cases = {
        "found 'blue_thing'": ["finetune", "coop", photos, "--out", out, "--bank", str(wrong_bank)],
        "xcoop needs concepts of each class": ["finetune", "xcoop", photos, "--out", out],
        "choose another": ["finetune", "coop", photos, "--out", str(paths / "other")],
        "expected a split 'no'": ["finetune", "coop", photos, "--out", out, *bank, "--split", "no"],
        "0 or 1": ["finetune", "ecor", photos, "--out", out, *bank, "--gold", str(gold)],
        "expected --bank or --bank-from": ["finetune", "coop", photos, "--out", out, *bank, "--bank-from", "small"],
        "expected a photo": ["attribute", "relevance", "openclip:any/", str(paths / "none.png"), "dog"],
        "expected at least one text": ["attribute", "relevance", "openclip:any/", photo],
        "expected a concept model": ["attribute", "concepts", "openclip:any/", photo, "dog"],
    }
    for said, arguments in cases.items():
        assert said in fails([*arguments, "--device", "cpu"], capsys)


def test_one_class_cannot_be_told_apart(paths: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for photo in (paths / "photos" / "blue_thing").iterdir():
        photo.unlink()
    bank = ["--bank", str(paths / "bank.json")]
    line = fails(
        ["finetune", "coop", str(paths / "photos"), "--out", str(paths / "tuned"), *bank, "--device", "cpu"], capsys
    )
    assert "at least two classes" in line


@pytest.mark.slow
def test_concepts_for_a_bank_are_chosen_on_the_photos_to_learn_from(
    built: Path, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number, photo in enumerate(sorted(photos.iterdir())[:10]):
        folder = tmp_path / "labelled" / ("first" if number % 2 else "second")
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copy(photo, folder)
    seen: list[int] = []

    def watched(model: Any, rows: Any, labels: Any) -> Any:
        seen.extend([rows.shape[0], len(labels)])
        return SimpleNamespace(bank=ConceptBank.of({"first": ["a wing"], "second": ["a beak"]}))

    monkeypatch.setattr("insight.methods.bank.bank_from_model", watched)
    command = ["finetune", "probe", str(tmp_path / "labelled"), "--out", str(tmp_path / "tuned"), "--bank-from"]
    main([*command, str(built), "--epochs", "1", "--device", "cpu"])
    assert seen == [8, 8]  # a fifth of the 10 is held out

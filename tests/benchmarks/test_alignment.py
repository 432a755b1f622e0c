"""The benchmark of alignment: its claims, the layouts that it reads, and that it runs."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks import alignment
from benchmarks.probes import photos as sets
from benchmarks.probes.asked import (
    CONSTANT,
    PRESENT,
    WHOLE,
)
from benchmarks.probes.claims import claims_of
from benchmarks.probes.speed import with_known_words
from sae.errors import InsightError


def row(data: str, by: str, figure: str, value: float, who: str = "small", against: str | None = None) -> dict:
    known = {"images": 10, "interval": (value - 0.1, value + 0.1)}
    return {"data": data, "who": who, "by": by, "against": against, "figure": figure, "value": value, **known}


def test_claims_hold_by_their_value_and_speeds_by_the_worse_end() -> None:
    rows = [
        row("CIFAR-10 test", WHOLE, "accuracy", 0.88),
        row("CIFAR-10 test", WHOLE, "accuracy", 0.1, against=CONSTANT),
        row("CIFAR-10 test", WHOLE, "accuracy", 0.7, who="ridge"),
        row("CIFAR-10 test", WHOLE, "accuracy", 0.2, who="ridge", against=CONSTANT),
        row("MSRC-v2 test", PRESENT, "patch mIoU", 0.55),
        row("COCO val2017", WHOLE, "text to image R@1", 0.4),
    ]
    slow = [1.0, 1.05, 1.08, 1.04, 1.3, 1.06]
    rows += [{"part": "speed", "who": "a", "images_per_s": 10, "bare_images_per_s": 10 * ratio} for ratio in slow]
    rows += [{"part": "speed", "who": "b", "images_per_s": 10, "bare_images_per_s": 10.4} for _ in range(5)]
    said = {claim["claim"]: claim for claim in claims_of(rows, "small")}
    cifar = "CIFAR-10 test: accuracy by image vector"
    assert [(claim["target"], claim["holds"]) for claim in said.values()] == [
        ("at least 0.87", True),
        ("at least 0.9", False),
        (None, None),
        (None, None),
        ("at least 0.56", False),
        (None, None),
        ("at most 1.1", False),
        ("at most 1.1", True),
    ]
    assert list(said)[:4] == [cifar, f"{cifar} (aimed at)", f"{cifar}, {CONSTANT}", f"{cifar}, ridge"]
    assert said[f"{cifar}, ridge"]["value"] == 0.7
    speed = said["a: time of dense features, of the bare forward of the same tower"]
    assert speed["value"] == pytest.approx(1.055)
    assert speed["interval"][1] > 1.1


TINY = {
    "embed_dim": 24,
    "vision_cfg": {"image_size": 64, "layers": 2, "width": 32, "head_width": 16, "patch_size": 16},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 1},
}


def noise(height: int, width: int) -> Image.Image:
    return Image.fromarray(np.random.default_rng().integers(0, 256, (height, width, 3), dtype=np.uint8))


@pytest.fixture
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Small sets of noise in the layouts of the real ones, as the arguments that name them."""
    cifar, msrc, coco, imagenet = (tmp_path / name for name in ("cifar", "msrc", "coco", "imagenet"))
    for folder in (cifar, msrc / "images", msrc / "masks", coco / "images", imagenet / "images" / "n1"):
        folder.mkdir(parents=True)
    noise(30, 1024 * 3).crop((0, 0, 1024, 30)).save(cifar / "test_batch.png")
    (cifar / "test_lables.json").write_text(json.dumps([i % 10 for i in range(30)]))
    for stem in ("a", "b", "c"):
        noise(70, 90).save(msrc / "images" / f"{stem}.png")
        Image.fromarray(np.full((70, 90), ord(stem) - 97, np.uint8)).save(msrc / "masks" / f"{stem}.png")
    (msrc / "classes.txt").write_text("grass\nsky\nboat\ncow\n")
    (msrc / "test.txt").write_text("a\nb\nc\n")
    images, said = [], []
    for i in range(4):
        noise(64, 80).save(coco / "images" / f"{i}.png")
        images.append({"id": i, "file_name": f"{i}.png"})
        said += [{"image_id": i, "id": 10 * i + j, "caption": f"number {i} as {j} "} for j in (5, 3, 1, 4, 2, 0)]
        noise(64, 80).save(imagenet / "images" / "n1" / f"{i}.png")
    (coco / "captions.json").write_text(json.dumps({"images": images, "annotations": said}))
    (imagenet / "classes.tsv").write_text("n0\tperson\nn1\tray\nn2\tbird\n")
    held_out = {"coco": ["3.png", "0.png"], "imagenet": ["n1/2.png", "n1/0.png"]}
    (tmp_path / "held_out.json").write_text(json.dumps(held_out))
    monkeypatch.setattr(sets, "HELD_OUT", tmp_path / "held_out.json")
    return [f"--{folder.name}={folder}" for folder in (cifar, msrc, coco, imagenet)]


def test_held_out_photos_come_with_their_first_five_captions_and_names(folders: list[str]) -> None:
    coco, imagenet = (Path(folder.partition("=")[2]) for folder in folders[2:])
    found = sets.read_coco(coco, None)
    assert found.captions == [[f"number {i} as {j}" for j in range(5)] for i in (3, 0)]
    assert np.array_equal(np.asarray(found.photo(1)), np.asarray(Image.open(coco / "images" / "0.png")))
    named = sets.read_imagenet(imagenet, None)
    assert named.truth.tolist() == [1, 1]
    (coco / "images" / "3.png").unlink()
    with pytest.raises(InsightError, match=r"3\.png: no such photo"):
        sets.read_coco(coco, None)


def test_the_benchmark_runs_on_any_backbone_with_a_text_space(folders: list[str], tmp_path: Path) -> None:
    import open_clip

    (tmp_path / "insight-tiny-aligned.json").write_text(json.dumps(TINY))
    open_clip.add_model_config(tmp_path / "insight-tiny-aligned.json")
    name, file, card = "openclip:insight-tiny-aligned/", tmp_path / "found.json", tmp_path / "card.json"
    card.write_text('{"what": "a card"}')
    options = ["--quick", f"--backbone={name}", f"--beside={name}+tokens", f"--speed={name},nobody"]
    alignment.main([f"--json={file}", f"--card={card}", *options, *folders])
    record = json.loads(file.read_text())
    asked = [row for row in record["rows"] if row.get("part") != "speed"]
    assert {row["data"]: row["images"] for row in asked} == {
        "CIFAR-10 test": 20,
        "CIFAR-10 mosaics": 6,
        "ImageNet, 200 names": 2,
        "COCO val2017": 2,
        "MSRC-v2 test": 3,
    }
    assert all(0 <= row["value"] <= 1 for row in asked)
    beside = {row["data"] for row in asked if row["who"] == f"{name}+tokens"}
    assert beside == {"CIFAR-10 mosaics", "MSRC-v2 test"}
    speeds = [row for row in record["rows"] if row.get("part") == "speed"]
    assert [(row["who"], "error" in row) for row in speeds] == [(name, False), (name, False), ("nobody", True)]
    assert [claim["target"] for claim in record["claims"] if claim["target"]] == [
        *("at least 0.87", "at least 0.9", "at least 0.45", "at least 0.5", "at least 0.56", "at most 1.1")
    ]
    assert json.loads(card.read_text()) == {"what": "a card", "measured": record["claims"]}


def test_bridges_are_compared_on_the_tokens_of_small_alone(
    folders: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [f"--json={tmp_path / 'found.json'}", "--quick", "--speed=", *folders]
    with pytest.raises(SystemExit):
        alignment.main([*arguments, "--bridge=nobody"])
    assert "expected NAME=FILE of a bridge, found 'nobody'" in capsys.readouterr().err
    (tmp_path / "bridge").touch()
    with pytest.raises(InsightError, match="expected --backbone small"):
        alignment.main([*arguments, f"--bridge=a={tmp_path / 'bridge'}", "--backbone=openclip:ViT-S-32-alt/"])


def test_towers_whose_tokenizer_is_on_a_hub_are_timed_beside_other_words() -> None:
    import open_clip

    assert with_known_words("small") == "small"
    assert with_known_words("openclip:ViT-B-32/") == "openclip:ViT-B-32/"
    name = with_known_words("openclip:ViT-B-16-SigLIP/")
    config = open_clip.get_model_config(name.partition(":")[2].partition("/")[0])
    assert config["vision_cfg"] == open_clip.get_model_config("ViT-B-16-SigLIP")["vision_cfg"]
    assert "hf_tokenizer_name" not in config["text_cfg"]

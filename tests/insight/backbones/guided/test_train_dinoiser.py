"""Training CLIP-DINOiser's convolutions: losses in float64, photos with their maps, runs that stop and go on."""

import json
import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from insight.backbones import load
from insight.backbones.guided.dinoiser import load_dinoiser
from insight.data import ImageFolder
from sae.files import read_json
from scripts.dinoiser.photos import draw, example
from scripts.train_dinoiser import Training, constant_loss, correlation_loss, main

TINY = {
    "embed_dim": 16,
    "vision_cfg": {"image_size": 32, "layers": 4, "width": 24, "head_width": 8, "patch_size": 8},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 1},
}
BASE, GUIDE = "openclip:insight-train-dinoiser/", "timm:test_vit/"
START = "import sys, open_clip; open_clip.add_model_config(sys.argv[1]);"
START += " from scripts.train_dinoiser import main; main(sys.argv[2:])"


@pytest.fixture(scope="module")
def configs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    import open_clip

    folder = tmp_path_factory.mktemp("configs")
    (folder / "insight-train-dinoiser.json").write_text(json.dumps(TINY))
    open_clip.add_model_config(folder)
    return folder


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eleven photos of patches in two colours with some noise, their maps (bright is an object), and one bad photo."""
    folder, rng = tmp_path_factory.mktemp("photos"), np.random.default_rng(0)
    (folder / "photos" / "deeper").mkdir(parents=True)
    (folder / "maps" / "deeper").mkdir(parents=True)
    for number in range(11):
        name = f"{'deeper/' if number % 2 else ''}{number}"
        cells = rng.random((5, 7)) < 0.4
        bright = np.kron(cells, np.ones((12, 12), bool))
        noise = rng.integers(0, 40, (*bright.shape, 3), dtype=np.uint8)
        Image.fromarray(noise + np.uint8(200) * bright[..., None]).save(folder / "photos" / f"{name}.png")
        Image.fromarray(np.uint8(255) * bright).save(folder / "maps" / f"{name}.png")
    (folder / "photos" / "bad.jpg").write_bytes(b"no photo")
    return folder


def run(photos: Path, out: Path, *extra: str) -> None:
    settings = "--size 32 --count 8 --held-out 3 --batch 3 --milestone 4 --correlation-rate 0.01 --save-every 2"
    folders = ["--photos", f"{photos / 'photos'}", "--saliency", f"{photos / 'maps'}", "--out", f"{out}"]
    main(["--base", BASE, "--guide", GUIDE, *folders, *settings.split(), *extra])


def test_correlation_loss_equals_its_formula() -> None:
    vectors, values = torch.randn(2, 6, 5).double(), torch.randn(2, 6, 4).double()
    terms = []
    for h, v in zip(vectors.tolist(), values.tolist(), strict=True):
        for p in range(6):
            for q in range(6):
                logit, alike = max(cosine(h[p], h[q]), 0.0), cosine(v[p], v[q]) >= 0.2
                chance = 1 / (1 + math.exp(-logit))
                terms.append(-math.log(chance if alike else 1 - chance))
    assert math.isclose(correlation_loss(vectors, values), np.mean(terms), rel_tol=1e-9)


def cosine(a: list[float], b: list[float]) -> float:
    return float(np.dot(a, b) / math.sqrt(np.dot(a, a) * np.dot(b, b)))


@pytest.mark.parametrize("top", [1.0, math.inf])
@pytest.mark.parametrize("share", [0.0, 0.13, 0.5, 0.64, 0.9, 1.0])
def test_no_constant_is_better_than_the_best(share: float, top: float) -> None:
    logits = np.linspace(0, 1, 2001) if top == 1 else np.linspace(-12, 12, 2001)
    losses = np.log1p(np.exp(logits)) - share * logits
    assert math.isclose(constant_loss(share, top), losses.min(), abs_tol=1e-4)


def test_a_map_is_cut_and_mirrored_as_its_photo(tmp_path: Path) -> None:
    rng = np.random.default_rng()
    pixels = np.repeat(rng.integers(0, 256, (20, 31), dtype=np.uint8)[..., None], 3, axis=2)
    for folder in ("photos", "maps"):
        (tmp_path / folder).mkdir()
        Image.fromarray(pixels).save(tmp_path / folder / "one.png")
    drawn = draw(ImageFolder(tmp_path / "photos"), tmp_path / "maps", count=5, held_out=0, seed=0)
    seen = set()
    for seed in [None, *range(20)]:
        photo, objects = example(drawn, "one.png", 16, (4, 4), None if seed is None else np.random.default_rng(seed))
        assert objects is not None
        brightness = photo[0].double().unfold(0, 4, 4).unfold(1, 4, 4).mean((2, 3)).flatten() * 255
        clear = (brightness - 127.5).abs() > 1  # the map's mean is rounded to 8 bits
        assert torch.equal(objects[clear], (brightness > 127.5)[clear])
        seen.add(photo.numpy().tobytes())
    assert len(seen) > 3  # places and sides differ


def test_a_run_in_pieces_equals_one_that_was_never_stopped(configs: Path, photos: Path, tmp_path: Path) -> None:
    run(photos, tmp_path / "whole", "--steps", "7")
    for steps in ("3", "5", "7"):
        run(photos, tmp_path / "pieces", "--steps", steps)
    for name in ("dinoiser.safetensors", "dinoiser.json", "state.safetensors"):
        whole, pieces = ((tmp_path / folder / name).read_bytes() for folder in ("whole", "pieces"))
        assert whole == pieces


def test_what_comes_out_is_a_backbones_convolutions_with_a_card(configs: Path, photos: Path, tmp_path: Path) -> None:
    run(photos, tmp_path, "--steps", "40")
    backbone = load_dinoiser(load(BASE), tmp_path / "dinoiser.safetensors")
    features, foreground = backbone.encode_with_foreground(torch.rand(1, 3, 16, 24))
    assert (features.patches.shape, foreground.shape) == ((1, 6, 16), (1, 6))
    card = read_json(tmp_path / "dinoiser.json")
    assert "for tests only" in card["what"]
    assert (card["made_of"]["base"], card["made_of"]["guide"], card["made_of"]["steps"]) == (BASE, GUIDE, 40)
    assert card["data"] == {"folder": "photos", "photos": 8, "held_out": 3}
    assert [line.endswith("is read (JPEG, PNG, GIF, WEBP, TIFF, BMP, PPM)") for line in card["bad_photos"]] == [True]
    assert card["held_out_loss"]["foreground"]["loss"] < card["held_out_loss"]["foreground"]["constant"]


def test_each_epoch_sees_every_photo_once(
    configs: Path, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    batches, seen = [], Training.seen
    monkeypatch.setattr(Training, "seen", lambda self, ids, rngs: batches.append(list(ids)) or seen(self, ids, rngs))
    run(photos, tmp_path, "--steps", "6")
    epochs = [batches[0] + batches[1] + batches[2], batches[3] + batches[4] + batches[5]]
    assert [len(batch) for batch in batches[:6]] == [3, 3, 2, 3, 3, 2]
    assert len(set(epochs[0])) == 8
    assert sorted(epochs[0]) == sorted(epochs[1])
    held_out = {id for batch in batches[6:] for id in batch}
    assert len(held_out) == 3
    assert not held_out & set(epochs[0])


def test_another_recipe_or_a_damaged_state_is_refused(
    configs: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(photos, tmp_path, "--steps", "2")
    state = tmp_path / "state.safetensors"
    for damage, words in ((None, "the run there has seed 0, found 1"), (b"torn", "expected the state of a run")):
        if damage:
            state.write_bytes(damage)
        with pytest.raises(SystemExit) as caught:
            run(photos, tmp_path, "--steps", "4", "--seed", "1" if damage is None else "0")
        assert caught.value.code == 2
        assert f"{state}: {words}" in capsys.readouterr().err


def test_settings_that_cannot_work_end_in_one_line(
    configs: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for extra, words in (
        (("--size", "36"), "expected a size of whole patches of 8 pixels, found --size 36"),
        (("--held-out", "11"), "expected more than the 11 photos that are held out, found 11 good and 1 bad ones"),
        (("--base", GUIDE), "+dinoiser expects one of open_clip's own vision transformers"),
        (("--guide", BASE), "has no values to compare patches by"),
    ):
        with pytest.raises(SystemExit) as caught:
            run(photos, tmp_path, "--steps", "1", *extra)
        assert caught.value.code == 2
        assert words in capsys.readouterr().err


@pytest.mark.soak
def test_a_killed_run_goes_on_to_the_same_result(configs: Path, photos: Path, tmp_path: Path) -> None:
    settings = "--size 32 --count 8 --held-out 3 --batch 3 --save-every 1 --steps 400"
    folders = ["--photos", f"{photos / 'photos'}", "--saliency", f"{photos / 'maps'}", "--out"]
    command = [sys.executable, "-c", START, f"{configs}", "--base", BASE, "--guide", GUIDE, *settings.split(), *folders]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[4])}
    subprocess.run([*command, f"{tmp_path / 'whole'}"], env=environment, check=True)
    state, written = tmp_path / "killed" / "state.safetensors", 0
    for seconds in (0.0, 1.0):
        process = subprocess.Popen([*command, f"{tmp_path / 'killed'}"], env=environment)
        while process.poll() is None and (not state.exists() or state.stat().st_mtime_ns == written):
            time.sleep(0.02)
        time.sleep(seconds)
        process.kill()
        assert process.wait() == -signal.SIGKILL
        written = state.stat().st_mtime_ns
    subprocess.run([*command, f"{tmp_path / 'killed'}"], env=environment, check=True)
    for name in ("dinoiser.safetensors", "dinoiser.json", "state.safetensors"):
        assert (tmp_path / "whole" / name).read_bytes() == (tmp_path / "killed" / name).read_bytes()

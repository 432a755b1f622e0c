"""`insight classify fit`, `predict` and `explain`, on a made-up model and photos."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import insight.model
from insight.cli import main
from insight.heads import ConceptClassifier

from .commands import fails
from .heads.made import HashedPixels, cached
from .random_models import random_dictionary, random_graph, write_model

RED, BLUE = (220, 40, 30), (30, 60, 220)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng()


@pytest.fixture
def model(rng, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a model whose backbone is made up, too."""
    monkeypatch.setattr(insight.model, "load_backbone", lambda name, device: HashedPixels())
    write_model(tmp_path / "model", random_dictionary(rng), random_graph(rng))
    config = json.loads((tmp_path / "model" / "config.json").read_text())
    config["backbone"]["fingerprint"] = HashedPixels.fingerprint
    (tmp_path / "model" / "config.json").write_text(json.dumps(config))
    return tmp_path / "model"


@pytest.fixture
def photos(rng, tmp_path: Path) -> Path:
    """A folder with red and blue photos in subfolders, one photo in neither, and a file that is no photo."""
    for label, colour in (("red", RED), ("blue", BLUE)):
        (tmp_path / "photos" / label).mkdir(parents=True)
        for number in range(10):
            drawn(rng, colour).save(tmp_path / "photos" / label / f"{number}.png")
    drawn(rng, RED).save(tmp_path / "photos" / "alone.png")
    (tmp_path / "photos" / "red" / "broken.jpg").write_text("no photo")
    return tmp_path / "photos"


def drawn(rng: np.random.Generator, colour: tuple[int, int, int]) -> Image.Image:
    noise = rng.integers(-25, 26, (16, 16, 3))
    return Image.fromarray((np.array(colour) + noise).clip(0, 255).astype(np.uint8))


def test_a_head_is_fitted_used_and_explained(model, photos, tmp_path: Path, capsys) -> None:
    head = tmp_path / "head"
    main(["classify", "fit", str(model), str(photos), "--out", str(head)])
    said = capsys.readouterr()
    assert "head: 2 classes, " in said.out
    assert "held out: 100.0% of 4 images right" in said.out
    assert "of what speaks for a decision" in said.out
    assert "red/broken.jpg: left out" in said.err
    assert "1 of 21 images have no label and are left out" in said.err

    red, blue = str(photos / "red" / "0.png"), str(photos / "blue" / "0.png")
    main(["classify", "predict", str(head), red, blue])
    first, second = capsys.readouterr().out.splitlines()
    assert first.startswith(f"{red}: red ")
    assert second.startswith(f"{blue}: blue ")
    main(["classify", "predict", str(head), red, "--json", str(tmp_path / "said.json")])
    (found,) = json.loads((tmp_path / "said.json").read_text())
    assert found["predicted"] == "red"
    assert sum(probability for _, probability in found["classes"]) == pytest.approx(1)

    capsys.readouterr()
    main(["classify", "explain", str(head), red])
    printed = capsys.readouterr().out
    assert "what speaks for and against red:" in printed
    assert "concepts that alone keep red:" in printed
    files = ["--png", str(tmp_path / "why.png"), "--json", str(tmp_path / "why.json")]
    read = ConceptClassifier.load(head)
    # Two classes have one row of weights: a head may know one of them by its concepts and the other by their absence.
    reasons = {name: read.explain(photo).contributions for name, photo in (("red", red), ("blue", blue))}
    speaking = {name: sorted({item.id for item in found if item.contribution > 0}) for name, found in reasons.items()}
    name, gone = next((name, concepts) for name, concepts in speaking.items() if concepts)
    photo = {"red": red, "blue": blue}[name]
    main(["classify", "explain", str(head), photo, *files, "--remove", *map(str, gone)])
    assert Image.open(tmp_path / "why.png").format == "PNG"
    why = json.loads((tmp_path / "why.json").read_text())
    assert why["target"] == name
    assert why["without"]["concepts"] == gone
    before = dict((name, value) for name, _, value in why["prediction"]["classes"])
    after = dict((name, value) for name, _, value in why["without"]["classes"])
    assert after[name] < before[name]
    place = ["blue", "red"].index(name)
    assert after[name] == pytest.approx(read.predict_proba_with([photo], remove=gone)[0, place], abs=1e-6)
    assert f"(before: {name}" in capsys.readouterr().out


def test_text_alone_tells_classes_apart_without_a_head(model, photos, capsys) -> None:
    photo = str(photos / "red" / "0.png")
    main(["classify", "predict", str(model), photo, "--classes", "cat, dog,tree"])
    line = capsys.readouterr().out
    assert all(name in line for name in ("cat", "dog", "tree"))
    main(["classify", "explain", str(model), photo, "--classes", "cat, dog,tree", "--target", "dog"])
    assert "what speaks for and against dog:" in capsys.readouterr().out


def test_a_cache_with_splits_is_learnt_from_by_its_training_part(model, rng, tmp_path: Path, capsys) -> None:
    images = [drawn(rng, (RED, BLUE)[i % 2]) for i in range(16)]
    cache = cached(tmp_path / "data", images, ["red", "blue"] * 8)
    head = str(tmp_path / "head")
    main(["classify", "fit", str(model), str(cache.folder), "--out", head, "--alpha", "0.01"])
    assert "held out: 100.0% of 4 images right" in capsys.readouterr().out
    assert "expected a split 'train', found none" in fails(
        ["classify", "fit", str(model), str(cache.folder), "--out", head, "--split", "train"], capsys
    )


def test_a_model_that_moved_is_said_where_it_is_now(model, photos, tmp_path: Path, capsys) -> None:
    head, photo = str(tmp_path / "head"), str(photos / "red" / "0.png")
    main(["classify", "fit", str(model), str(photos), "--out", head, "--alpha", "0.01"])
    shutil.move(model, tmp_path / "moved")
    assert "say where it is by --model" in fails(["classify", "predict", head, photo], capsys)
    main(["classify", "predict", head, photo, "--model", str(tmp_path / "moved")])
    assert capsys.readouterr().out.startswith(f"{photo}: red ")


def test_what_is_not_as_expected_is_said_in_one_line(model, photos, tmp_path: Path, capsys) -> None:
    head, photo = str(tmp_path / "head"), str(photos / "red" / "0.png")
    main(["classify", "fit", str(model), str(photos), "--out", head, "--alpha", "0.01"])
    for words, said in (
        (["predict", head], "expected at least one photo, found none"),
        (["predict", head, str(tmp_path / "absent.png")], "absent.png: expected a photo, found nothing"),
        (["predict", str(model), photo], "expected the folder of a head with head.json"),
        (["predict", str(model), photo, "--classes", "cat"], "expected at least two to choose from"),
        (["explain", head, photo, "--target", "horse"], "expected one of the 2 classes (blue, red), found 'horse'"),
        (["explain", head, photo, "--remove", "unicorn"], "expected the number or title of a concept"),
        (["fit", str(model), str(photos), "--out", str(photos)], "expected a new folder or the folder of a head"),
        (["fit", str(model), str(photos / "red"), "--out", str(tmp_path / "b")], "expected labelled images"),
    ):
        assert said in fails(["classify", *words], capsys)

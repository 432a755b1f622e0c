"""The model that comes with the package: it is there, small, of the installed backbone, without photographs."""

import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image
from safetensors import safe_open

from insight import ConceptModel, InsightError
from insight.cli import main
from insight.concept import load_concepts
from insight.defaults import MODEL
from insight.models import is_model, model_folder, shipped_models

from .commands import fails

shipped = pytest.mark.skipif(MODEL not in shipped_models(), reason="no model has been built into this checkout")


def model_config(folder: Path, **changes: object) -> Path:
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps({"sae": {}, **changes}))
    return folder


def test_a_folder_wins_over_a_shipped_model_of_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    own = model_config(tmp_path / "small")
    assert is_model("small")
    assert model_folder("small").resolve() == own
    assert model_folder(own) == own


@shipped
@pytest.mark.parametrize("there", ["nothing", "a file", "a folder without a model"])
def test_what_is_no_model_does_not_hide_the_shipped_one(
    there: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    if there == "a file":
        (tmp_path / "small").write_text("a photo")
    elif there != "nothing":
        (tmp_path / "small").mkdir()
    folder = model_folder("small")
    assert (folder / "config.json").is_file()
    assert folder.parent.name == "models"


@pytest.mark.parametrize("name", ["absent", "absent/", "/absent/folder", "a/b/c", "x" * 5000, "", "a\0b"])
def test_a_name_of_nothing_ends_in_one_line(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InsightError, match="no model here") as raised:
        model_folder(name)
    assert "found nothing" in str(raised.value) or name == ""


def test_explain_tells_models_and_photos_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    model_config(tmp_path / "own")
    (tmp_path / "folder").mkdir()
    Image.new("RGB", (30, 30)).save("photo.jpg")
    assert "at least one photo to explain, found none;" in fails(["explain"], capsys)
    assert "found only own (a model)" in fails(["explain", "own"], capsys)
    assert "found only folder (a folder)" in fails(["explain", "folder"], capsys)
    assert "found only absent (nothing)" in fails(["explain", "absent"], capsys)
    assert "absent.jpg: expected a photo, found nothing" in fails(["explain", "absent.jpg"], capsys)
    assert "absent.jpg: expected a photo, found nothing" in fails(["explain", "own", "absent.jpg"], capsys)
    assert "folder: expected a photo, found a folder" in fails(["explain", "photo.jpg", "folder"], capsys)
    assert "folder: no model here" in fails(["explain", "folder", "photo.jpg"], capsys)
    assert "folder: no model here" in fails(["concepts", "folder"], capsys)


@shipped
def test_a_photo_called_like_the_shipped_model_needs_its_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Image.new("RGB", (30, 30)).save("photo.jpg")
    (tmp_path / "photo.jpg").rename("small")
    assert "(the name of a model; ./small is the file)" in fails(["explain", "small"], capsys)


@shipped
@pytest.mark.parametrize("command", [["name", "small"], ["edit", "small", "hide", "3"]])
def test_the_shipped_model_is_not_written_to(
    command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    before = {path.name: path.read_bytes() for path in model_folder(MODEL).iterdir()}
    assert f"copy {model_folder(MODEL)} and name the copy" in fails(command, capsys)
    assert {path.name: path.read_bytes() for path in model_folder(MODEL).iterdir()} == before


def test_commands_that_write_want_a_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for command in (["name", "absent"], ["edit", "absent", "list"]):
        assert "absent: no model here" in fails(command, capsys)


@shipped
def test_the_shipped_model_is_small_and_holds_no_photograph() -> None:
    folder = model_folder(MODEL)
    files = {file.name: file for file in folder.iterdir()}
    assert set(files) == {
        "README.md",
        "card.json",
        "concepts.parquet",
        "config.json",
        "embeddings.npz",
        "examples.parquet",
        "relations.npz",
        "sae.safetensors",
    }
    assert sum(file.stat().st_size for file in files.values()) < 10_000_000
    for file in files.values():
        content = file.read_bytes()
        assert b"\xff\xd8\xff" not in content[:16]
        assert b"/tmp/" not in content
        assert b"/work/" not in content
    with safe_open(files["sae.safetensors"], "np") as weights:
        assert {weights.get_slice(name).get_dtype() for name in ("encoder", "decoder")} == {"F16"}


@shipped
def test_the_card_says_what_the_files_say() -> None:
    folder = model_folder(MODEL)
    card = json.loads((folder / "card.json").read_text())
    config = json.loads((folder / "config.json").read_text())
    assert card["dictionary"] == config["sae"]
    assert card["backbone"] == config["backbone"]
    assert card["quality"]["photographs it learnt from"]["fvu"] == config["quality"]["fvu"]
    assert sum(entry["photographs"] for entry in card["learnt from"].values()) == config["images"]
    assert all((folder / name).stat().st_size == size for name, size in card["bytes"].items())
    assert abs(card["change of held-out fvu by float16"]) < 0.001
    text = (folder / "README.md").read_text()
    assert all(entry["licence"] in text for entry in card["learnt from"].values())


@shipped
def test_nothing_held_out_is_among_its_examples() -> None:
    import insight.backbones.small.bridge as bridge

    held_out = json.loads((Path(bridge.__file__).parent / "held_out.json").read_text())
    wrong = {f"{name}/{photo}" for name, photos in held_out.items() for photo in photos}
    shown = set(pq.read_table(model_folder(MODEL) / "examples.parquet")["image"].to_pylist())
    assert len(shown) > 1000
    assert not shown & wrong


@shipped
def test_its_concepts_live_and_most_of_them_are_common_enough_to_know() -> None:
    folder = model_folder(MODEL)
    config = json.loads((folder / "config.json").read_text())
    concepts = load_concepts(folder / "concepts.parquet", config["sae"]["n_concepts"])
    frequency = np.array([concept.frequency for concept in concepts])
    assert (frequency == 0).mean() < 0.02
    assert np.median(frequency) > 100


@shipped
def test_it_explains_a_photo_with_the_installed_backbone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng()
    Image.fromarray(rng.integers(0, 255, (90, 120, 3), dtype=np.uint8)).save("photo.png")
    main(["explain", "photo.png", "--json", "said.json", "--top", "5", "--device", "cpu"])
    said = json.loads(Path("said.json").read_text())
    assert said["backbone"] == "small"
    assert len(said["concepts"]) <= 5
    assert said["image"] == "photo.png"
    model = ConceptModel.from_pretrained("small")
    assert model.explain("photo.png", top=5).to_dict() == said


@shipped
def test_info_and_concepts_ask_it_when_no_model_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    main(["info"])
    assert "not CLIP" in capsys.readouterr().out
    main(["concepts", "--top", "3", "--device", "cpu"])
    assert len(capsys.readouterr().out.splitlines()) == 3


@shipped
def test_another_backbone_is_refused_and_said_what_to_do(tmp_path: Path) -> None:
    import shutil

    shutil.copytree(model_folder(MODEL), tmp_path / "other")
    config = json.loads((tmp_path / "other" / "config.json").read_text())
    config["backbone"]["fingerprint"] = "0" * 64
    (tmp_path / "other" / "config.json").write_text(json.dumps(config))
    Image.new("RGB", (30, 30)).save(tmp_path / "photo.jpg")
    model = ConceptModel.from_pretrained(tmp_path / "other")
    with pytest.raises(InsightError, match=r"fingerprint.*use the version of this package that made the model"):
        model.explain(tmp_path / "photo.jpg")

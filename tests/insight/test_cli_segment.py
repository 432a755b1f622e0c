"""`insight segment`: a photo and names of classes in, masks and reasons out; a line where the input is no good."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from insight import ConceptModel
from insight.cli import main
from insight.heads import ConceptSegmenter
from sae import SparseCodes

from .heads.segmenting import noise
from .random_models import CONCEPTS, Pixels, random_dictionary, random_graph, write_model


@pytest.fixture
def paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[str, str]:
    """A model and a photo of 30 × 21 pixels."""
    rng = np.random.default_rng(0)
    write_model(tmp_path / "model", random_dictionary(rng), random_graph(rng))
    monkeypatch.setattr("insight.model.load_backbone", lambda name, device: Pixels())
    noise(1).save(tmp_path / "photo.png")
    return str(tmp_path / "model"), str(tmp_path / "photo.png")


def run(*arguments: str) -> None:
    main(["segment", *arguments, "--device", "cpu"])


def test_the_files_say_what_the_library_says(paths: tuple[str, str], tmp_path: Path) -> None:
    run(
        *paths,
        "--classes",
        "sky, boat|ship ,water",
        "--json",
        str(tmp_path / "o.json"),
        "--png",
        str(tmp_path / "o.png"),
    )
    model = ConceptModel.from_pretrained(paths[0], backbone=Pixels())
    classes = {"sky": "sky", "boat": ("boat", "ship"), "water": "water"}
    expected = ConceptSegmenter(model, classes).predict(paths[1])
    assert json.loads((tmp_path / "o.json").read_text()) == json.loads(json.dumps(expected.to_dict()))
    assert (tmp_path / "o.png").stat().st_size > 1000


def test_without_a_file_shares_and_reasons_are_printed(
    paths: tuple[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    run(*paths, "--classes", "sky,boat")
    printed = capsys.readouterr().out
    model = ConceptModel.from_pretrained(paths[0], backbone=Pixels())
    found = ConceptSegmenter(model, ["sky", "boat"]).predict(paths[1])
    assert all(region.sentence in printed for region in found.regions())
    assert f"{max(found.share('sky'), found.share('boat')):.1%}" in printed


def test_a_trained_head_is_used_with_other_settings_where_they_are_given(
    paths: tuple[str, str], tmp_path: Path
) -> None:
    model = ConceptModel.from_pretrained(paths[0], backbone=Pixels())
    dense = np.random.default_rng(2).random((60, CONCEPTS))
    codes = SparseCodes.from_dense(torch.from_numpy(dense))
    taught = ConceptSegmenter(model, ["a", "b"], size=20).fit(codes, (dense[:, 0] > 0.5).astype(int), alpha=0.01)
    taught.save(tmp_path / "head")
    run(*paths, "--head", str(tmp_path / "head"), "--upsampling", "jbu", "--json", str(tmp_path / "o.json"))
    stored = json.loads((tmp_path / "o.json").read_text())
    assert [entry["name"] for entry in stored["classes"]] == ["a", "b"]
    assert stored["upsampling"] == "jbu"
    assert stored["grid"] == [5, 7]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--classes", "sky,skies"], "sky"),
        (["--classes", "sky,,water"], "not empty"),
        (["--classes", "sky,water,sky"], "given twice"),
        (["--classes", ""], "not empty"),
        ([], "found neither"),
        (["--classes", "sky", "--head", "nowhere"], "found both"),
        (["--head", "nowhere"], "nowhere"),
        (["--classes", "sky,water", "--upsampling", "sharp"], "upsampling"),
        (["--classes", "sky,water", "--background", "2"], "background"),
    ],
)
def test_bad_input_ends_in_one_line(
    paths: tuple[str, str], arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        run(*paths, *arguments)
    message = capsys.readouterr().err.strip()
    assert ended.value.code == 2
    assert said in message
    assert "\n" not in message


def test_a_photo_that_is_not_there_or_none_is_said(paths: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    for path in ("nowhere.jpg", paths[0] + "/config.json"):
        with pytest.raises(SystemExit):
            run(paths[0], path, "--classes", "sky,water")
        message = capsys.readouterr().err.strip()
        assert path in message
        assert "\n" not in message

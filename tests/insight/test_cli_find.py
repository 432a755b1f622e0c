"""`insight find`: each way to ask, as a person types it, and what it prints, writes and draws."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from insight import ConceptModel
from insight.cache import FeatureCache, write_cache
from insight.cli import main
from insight.retrieval import ConceptIndex

from .random_models import Pixels, random_dictionary, random_graph, write_model

HASH = "5a" * 32


class Known(Pixels):
    fingerprint = HASH


@pytest.fixture(autouse=True)
def _no_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("insight.model.load_backbone", lambda name, device: Known())


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`model`, `photos` (twelve, 20 × 16 pixels of noise) and `cache`."""
    root = tmp_path_factory.mktemp("find")
    rng = np.random.default_rng()
    (root / "photos").mkdir()
    for number in range(12):
        pixels = rng.integers(0, 256, (16, 20, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(root / "photos" / f"{number:02d}.png")
    write_cache(root / "photos", Known(), root / "cache", dtype="float32", progress=False)
    write_model(root / "model", random_dictionary(rng), random_graph(rng))
    config = json.loads((root / "model" / "config.json").read_text())
    config["backbone"]["fingerprint"] = HASH
    (root / "model" / "config.json").write_text(json.dumps(config))
    return root


def find(place: Path, *arguments: str) -> None:
    main(["find", str(place / "model"), str(place / "cache"), *arguments, "--device", "cpu"])


def fails(place: Path, capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    with pytest.raises(SystemExit) as stop:
        find(place, *arguments)
    assert stop.value.code == 2
    return capsys.readouterr().err.splitlines()[-1]


def test_the_first_query_makes_an_index_beside_the_cache_and_says_so(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for old in place.glob("cache-index-*"):  # of another test
        shutil.rmtree(old)
    find(place, "a duck", "--top", "3")
    out, err = capsys.readouterr()
    assert len(out.splitlines()) == 4
    assert out.startswith("“a duck”: 3 found\n")
    (index,) = place.glob("cache-index-*")
    assert f"{index.resolve()}: indexing" in err
    find(place, "a duck", "--top", "3")
    assert capsys.readouterr() == (out, "")


@pytest.mark.parametrize("kind", ["images", "regions"])
def test_every_way_to_ask_gives_what_the_index_gives(place: Path, tmp_path: Path, kind: str) -> None:
    photo = place / "photos" / "03.png"
    asked = {
        ("a duck",): {"text": "a duck"},
        ("--concept", "word 3", "5|word 7", "--without", "9"): {"concepts": ["word 3", (5, "word 7")], "without": 9},
        ("--like", str(photo)): {"like": photo},
        ("--like", f"{photo}:1,2"): {"like": photo, "at": (1, 2)},
    }
    model = ConceptModel.from_pretrained(place / "model")
    index = ConceptIndex.build(model, FeatureCache.open(place / "cache"), tmp_path / "index", progress=False)
    for arguments, query in asked.items():
        flags = [*(["--regions"] if kind == "regions" else []), "--top", "4", "--index", str(tmp_path / "index")]
        find(place, *arguments, *flags, "--json", str(tmp_path / "found.json"))
        assert json.loads((tmp_path / "found.json").read_text()) == getattr(index, kind)(**query, top=4).to_dict()


def test_a_photo_and_a_patch_of_the_cache_are_nearest_to_themselves(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    find(place, "--like", str(place / "photos" / "03.png"), "--top", "1")
    assert capsys.readouterr().out.splitlines()[-1].split() == ["1.000", "03.png"]
    find(place, "--like", f"{place / 'photos' / '03.png'}:1,2", "--regions", "--top", "1")
    assert "1.000  03.png  row 1, column 2, " in capsys.readouterr().out


def test_what_was_found_is_drawn_with_regions_framed(
    place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sizes = []
    for top in ("4", "7"):
        find(place, "a duck", "--regions", "--top", top, "--png", str(tmp_path / "found.png"))
        with Image.open(tmp_path / "found.png") as picture:
            assert picture.format == "PNG"
            sizes.append(picture.size)
    assert sizes[0][0] == sizes[1][0]
    assert sizes[0][1] < sizes[1][1]  # a second row
    elsewhere = "--png", str(tmp_path / "other.png"), "--photos", str(tmp_path)
    assert "found none of them" in fails(place, capsys, "--concept", "3", *elsewhere)
    assert not (tmp_path / "other.png").exists()


def test_bad_questions_end_in_one_line(place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "expected one thing to look for" in fails(place, capsys)
    assert "expected one thing to look for" in fails(place, capsys, "a duck", "--concept", "3")
    assert "found 'wort 3'; there is word 3" in fails(place, capsys, "--concept", "wort 3")
    assert "nowhere.png: expected a photo" in fails(place, capsys, "--like", str(tmp_path / "nowhere.png"))
    assert "expected at most 100 hits in a picture" in fails(
        place, capsys, "a duck", "--top", "101", "--png", str(tmp_path / "a.png")
    )
    (tmp_path / "index").mkdir()
    (tmp_path / "index" / "letter.txt").write_text("dear")
    assert "expected no folder or an empty one" in fails(place, capsys, "a", "--index", str(tmp_path / "index"))

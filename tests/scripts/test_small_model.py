"""The script behind the shipped model: which photographs it learns from, and what it puts in place."""

import json
import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.sparse import csr_array

from insight import InsightError
from insight.concept import unnamed
from naming import ConceptGraph
from naming.relations.edges import Edges
from scripts import train_small_model
from scripts.small_model import photos as gathered
from scripts.small_model.card import SETS, card_of, contents, write_markdown

HELD_OUT = {"coco": ["b.jpg"], "imagenet": ["n1/y.jpg"]}


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The four sets with a few photographs each, and the demo's."""
    data = tmp_path / "data"
    files = [f"coco-captions/images/{name}.jpg" for name in "abc"]
    files += [f"imagenet-200x5/images/{name}.jpg" for name in ("n1/x", "n1/y", "n2/x")]
    files += [f"{name}/images/{photo}.jpg" for name in ("msrc", "clothing-parts") for photo in "defg"]
    files += [f"demo/photos/{name}.jpg" for name in "st"]
    for file in files:
        (data / file).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (3, 3)).save(data / file)
    for name in ("msrc", "clothing-parts"):
        (data / name / "train.txt").write_text("d\ne\ng\n")
        (data / name / "test.txt").write_text("f\n")
    (tmp_path / "held_out.json").write_text(json.dumps(HELD_OUT))
    monkeypatch.setattr(gathered, "HELD_OUT", tmp_path / "held_out.json")
    demo = type("Demo", (), {"photos": data / "demo" / "photos"})
    monkeypatch.setattr(gathered, "fetch_photos", lambda folder, held_out: demo)
    return data


def test_what_is_held_out_is_never_learnt_from(data: Path, tmp_path: Path) -> None:
    learnt, held_out = gathered.training_photos(data, tmp_path), gathered.held_out_photos(data)
    assert set(held_out) == {"coco/b.jpg", "imagenet/n1/y.jpg", "msrc/f.jpg", "clothing-parts/f.jpg"}
    assert not set(learnt) & set(held_out)
    assert not {file.resolve() for file in learnt.values()} & {file.resolve() for file in held_out.values()}
    everything = {file.resolve() for file in data.rglob("*.jpg")}
    assert {file.resolve() for file in [*learnt.values(), *held_out.values()]} == everything
    assert gathered.counts(learnt) == {"birds": 2, "clothing-parts": 3, "coco": 2, "imagenet": 2, "msrc": 3}
    assert set(gathered.counts(learnt)) == set(SETS)


def test_links_lead_to_the_photographs(data: Path, tmp_path: Path) -> None:
    learnt = gathered.training_photos(data, tmp_path)
    for _ in range(2):
        folder = gathered.linked(learnt, tmp_path / "links")
        found = {path.relative_to(folder).as_posix(): path.resolve() for path in folder.rglob("*.jpg")}
        assert found == {id: file.resolve() for id, file in learnt.items()}


def test_a_set_that_is_not_there_is_named(data: Path, tmp_path: Path) -> None:
    shutil.rmtree(data / "msrc" / "images")
    with pytest.raises(InsightError, match="msrc"):
        gathered.training_photos(data, tmp_path)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    folder = tmp_path / "model"
    (folder / "evidence").mkdir(parents=True)
    for name in (*train_small_model.SHIPPED, "training.jsonl", "evidence/large.npz"):
        (folder / name).write_bytes(np.random.default_rng().bytes(100))
    return folder


def a_card() -> dict:
    quality = {"fvu": [0.5, 0.25], "cosine": 0.9, "l0": 8.0, "dead": 0.0, "dense": 0.0}
    config = {
        "train": {"seed": 3, "steps": 10, "batch_size": 50, "lr": 0.1},
        "data": {"n_tokens": 250},
        "sae": {"n_concepts": 64, "k": 8},
        "backbone": {"name": "small"},
        "relations": {},
        "names": {},
        "quality": quality,
    }
    counts = Counter(dict.fromkeys(SETS, 7))
    holds = {"concepts": 64, "concepts with a name": 31}
    return card_of(config, counts, {"msrc": 5}, quality, 1e-5, holds, {"config.json": 100})


def test_only_what_explaining_needs_is_put_in_place_with_the_card(model: Path, tmp_path: Path) -> None:
    out = tmp_path / "models" / "small"
    out.mkdir(parents=True)
    (out / "left-over.txt").write_text("of an earlier run")
    train_small_model.ship(model, out, a_card())
    assert {file.name for file in out.iterdir()} == {*train_small_model.SHIPPED, "card.json", "README.md"}
    assert all((out / name).read_bytes() == (model / name).read_bytes() for name in train_small_model.SHIPPED)
    assert json.loads((out / "card.json").read_text())["training"]["passes"] == 2.0
    assert [path.name for path in out.parent.iterdir()] == ["small"]


def test_a_model_that_is_too_large_does_not_take_the_place_of_one_that_is_not(model: Path, tmp_path: Path) -> None:
    out = tmp_path / "small"
    out.mkdir()
    (out / "config.json").write_text("the one before")
    (model / "sae.safetensors").write_bytes(bytes(train_small_model.LARGEST))
    with pytest.raises(InsightError, match="at most 10,000,000 bytes"):
        train_small_model.ship(model, out, a_card())
    assert (out / "config.json").read_text() == "the one before"


def test_the_card_for_a_person_has_every_licence_and_number(tmp_path: Path) -> None:
    card = a_card()
    write_markdown(tmp_path / "README.md", card)
    text = (tmp_path / "README.md").read_text()
    assert all(licence in text for _, licence in SETS.values())
    assert all(f"- 7 of {name}" in text for name, _ in SETS.values())
    assert "64 concepts, about 8" in text
    assert "31 concepts with a name" in text
    assert "| 35 | 0.500 · 0.250 | 8.0 | 0.0% |" in text
    assert "5 of MSRC-v2" in text
    assert "0.0010% of itself" in text
    assert "{" not in text


def test_what_the_model_holds_is_counted() -> None:
    child, parent, kind = np.array([0, 1, 2, 3, 3]), np.array([4, 4, 4, 4, 2]), np.array([0, 1, 1, -1, 0], np.int8)
    edges = replace(Edges.unmeasured(child, parent, np.full(5, 0.8)), kind=kind)
    graph = ConceptGraph.from_edges(
        edges,
        direct=np.array([True, True, True, False, True]),
        frequency=np.arange(5),
        tokens=10,
        mean_codes=csr_array((5, 5), dtype=np.float32),
    )
    concepts = unnamed([0] * 5, range(5), [0.0] * 5)
    concepts[2] = replace(concepts[2], name="wheel")
    assert list(contents(concepts, graph).values()) == [5, 1, 2, 2, 0, 0]

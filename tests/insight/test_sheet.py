"""The contact sheet: what stands where in the picture, and which concepts, crops and relatives its rows hold."""

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from insight import ConceptModel, InsightError
from insight.backbones import Backbone, DenseFeatures
from insight.cli import main
from insight.concept import unnamed
from insight.examples import Example, save_examples
from insight.render.sheet import CROP, WIDTH, Relatives, SheetRow, draw_sheet
from insight.render.sheet_rows import sheet_rows
from naming import ConceptGraph, Cooccurrence, Exemplars, published_graph
from sae import SaeConfig, SparseAutoencoder

COLOURS = ((250, 10, 10), (10, 250, 10), (10, 10, 250))
HARD = ("wheel", "x" * 10_000, "$y$ & <b>", "عجلة السيارة", "🦆 duck", "two\nlines", "\u2029a\x1cb", " ", "a " * 300)


def plain(colour: tuple[int, int, int]) -> Image.Image:
    return Image.new("RGB", (CROP, CROP), colour)


def row(name: str = "wheel", confidence: float | None = 0.5, crops: int = 0, relatives: int = 0) -> SheetRow:
    lines = [Relatives("a part of", [f"car {i}", name], i, (0, 0, 0)) for i in range(relatives)]
    return SheetRow(name, confidence, ["concept 1", f"also: {name}"], [plain(c) for c in COLOURS[:crops]], lines)


def drawn(path: Path, *rows: SheetRow) -> np.ndarray:
    draw_sheet(path, rows, title="concepts", note="made up")
    with Image.open(path) as picture:
        assert picture.format == "PNG"
        return np.asarray(picture.convert("RGB")).astype(int)


def of_colour(pixels: np.ndarray, colour: tuple[int, int, int]) -> tuple[np.ndarray, ...]:
    return np.nonzero((pixels == colour).all(axis=2))


def test_every_row_has_the_same_height_below_the_title(tmp_path: Path) -> None:
    one, two, three = (drawn(tmp_path / f"{n}.png", *[row()] * n) for n in (1, 2, 3))
    assert one.shape[1] == two.shape[1] == three.shape[1] == WIDTH
    assert three.shape[0] - two.shape[0] == two.shape[0] - one.shape[0] > CROP


def test_crops_stand_unchanged_beside_each_other_in_their_row(tmp_path: Path) -> None:
    pixels = drawn(tmp_path / "a.png", row(), row(crops=3))
    step = drawn(tmp_path / "b.png", row()).shape[0]
    lefts = []
    for colour in COLOURS:
        ys, xs = of_colour(pixels, colour)
        assert len(ys) == CROP * CROP
        assert (np.ptp(ys) + 1, np.ptp(xs) + 1) == (CROP, CROP)
        assert ys.min() > step / 2
        lefts.append(xs.min())
    assert lefts == sorted(lefts)
    assert all(b - a > CROP for a, b in pairwise(lefts))


def test_the_bar_grows_with_the_confidence(tmp_path: Path) -> None:
    blue = [
        len(of_colour(drawn(tmp_path / f"{i}.png", row(confidence=sure)), (0, 114, 178))[0])
        for i, sure in enumerate((None, 0.25, 0.5, 1.0, 7.0))
    ]
    assert blue[0] == 0
    assert blue[0] < blue[1] < blue[2] < blue[3] == blue[4]


@pytest.mark.parametrize("name", HARD)
def test_no_name_draws_over_crops_or_beyond_its_row(name: str, tmp_path: Path) -> None:
    pixels = drawn(tmp_path / "a.png", replace(row(name, crops=3, relatives=9), facts=[name] * 9), row("", None))
    assert sum(len(of_colour(pixels, colour)[0]) for colour in COLOURS) == 3 * CROP * CROP
    assert (pixels[:, -20:] == 255).all(axis=2).mean() > 0.99  # the right margin
    quiet = drawn(tmp_path / "b.png", row("", None, crops=3), row("", None))
    height = (len(pixels) - len(drawn(tmp_path / "c.png", row("", None)))) - 1
    np.testing.assert_array_equal(pixels[-height:], quiet[-height:])  # the row below is as it would be alone


class Squares(Backbone):
    """4 × 4 patches of 8 pixels."""

    name, description, dim, patch, image_size, grid, depth, fingerprint = "squares", "", 3, 8, 32, (4, 4), 0, "none"

    def encode_image(self, images: Tensor) -> DenseFeatures:
        patches = torch.nn.functional.avg_pool2d(images, 8).flatten(2).mT
        return DenseFeatures(patches, patches.mean(1), self.grid_for(images))


def related() -> ConceptGraph:
    """Eight concepts, 0 to 6 with 7 as parent: a graph of the package's own making, with kinds put in by hand."""
    from naming.relations.edges import Edges

    child, parent = np.arange(7), np.full(7, 7)
    edges = replace(
        Edges.unmeasured(child, parent, np.linspace(0.9, 0.8, 7)), kind=np.array([0, 1, 0, 0, 0, 0, -1], np.int8)
    )
    bare = published_graph(Cooccurrence(8), Exemplars(8))
    return ConceptGraph.from_edges(
        edges, direct=np.ones(7, bool), frequency=np.arange(8), tokens=100, mean_codes=bare.mean_codes
    )


@pytest.fixture
def model() -> ConceptModel:
    sae = SparseAutoencoder(SaeConfig(dim=3, n_concepts=8, k=2, fractions=(0.5, 0.5)))
    concepts = unnamed([0] * 4 + [1] * 4, range(8), [0.0] * 8)
    concepts[7] = replace(concepts[7], name="car", alternatives=("auto",), scores=(0.5, 0.4), confidence=0.75)
    config = {"backbone": {"name": "squares", "fingerprint": "none", "description": "", "grid": [4, 4]}}
    return ConceptModel(sae, concepts, related(), config, backbone=Squares())


def test_rows_tell_kinds_parts_and_what_is_neither_apart(model: ConceptModel, tmp_path: Path) -> None:
    save_examples(tmp_path / "examples.parquet", {})
    kind, part, untold, car = sheet_rows(model, tmp_path, tmp_path, [0, 1, 6, 7])
    assert [(line.label, list(line.names)) for line in kind.relatives] == [("a kind of", ["car 0.90"])]
    assert [(line.label, list(line.names)) for line in part.relatives] == [("a part of", ["car 0.88"])]
    assert [(line.label, list(line.names)) for line in untold.relatives] == [("belongs to", ["car 0.80"])]
    kinds = [f"concept {i}" for i in (0, 2, 3, 4, 5)]
    lines = [("its kinds", kinds), ("its parts", ["concept 1"]), ("to it belong", ["concept 6"])]
    assert [(line.label, list(line.names)) for line in car.relatives] == lines
    assert (car.name, car.confidence, kind.name, kind.confidence) == ("car", 0.75, "concept 0", None)
    assert "auto" in car.facts[-1]


def test_relatives_of_one_name_are_named_once(model: ConceptModel, tmp_path: Path) -> None:
    save_examples(tmp_path / "examples.parquet", {})
    for concept in (0, 2, 4):
        model.concepts[concept] = replace(model.concepts[concept], name="van")
    (car,) = sheet_rows(model, tmp_path, tmp_path, [7])
    assert list(car.relatives[0].names) == ["van × 3", "concept 3", "concept 5"]


def test_relatives_that_are_too_many_are_counted(model: ConceptModel, tmp_path: Path) -> None:
    save_examples(tmp_path / "examples.parquet", {})
    model.relations.kind[:] = 0
    (car,) = sheet_rows(model, tmp_path, tmp_path, [7])
    (line,) = car.relatives
    assert line.others == 7 - len(line.names) > 0


def test_relatives_with_a_name_come_first(model: ConceptModel, tmp_path: Path) -> None:
    save_examples(tmp_path / "examples.parquet", {})
    model.relations.kind[:] = 0
    for concept in (3, 5):
        model.concepts[concept] = replace(model.concepts[concept], name=f"van {concept}")
    (car,) = sheet_rows(model, tmp_path, tmp_path, [7])
    assert list(car.relatives[0].names)[:3] == ["van 3", "van 5", "concept 0"]


def test_crops_come_from_the_photos_that_are_there(model: ConceptModel, tmp_path: Path) -> None:
    for name, colour in zip("abc", COLOURS):
        Image.new("RGB", (64, 48), colour).save(tmp_path / f"{name}.png")
    examples = [Example(f"{name}.png", i % 4, i % 3, 9.0 - i) for i, name in enumerate("gabcabca")]
    save_examples(tmp_path / "examples.parquet", {7: examples, 3: []})
    car, silent = sheet_rows(model, tmp_path, tmp_path, [7, 3])
    assert silent.crops == []
    assert [np.median(np.asarray(picture).reshape(-1, 3), axis=0).tolist() for picture in car.crops] == [
        list(COLOURS[i]) for i in (0, 1, 2, 0, 1)
    ]
    assert {picture.size for picture in car.crops} == {(CROP, CROP)}


def test_a_sheet_of_a_whole_dictionary_is_refused(model: ConceptModel, tmp_path: Path) -> None:
    with pytest.raises(InsightError, match="at most 200 concepts on a contact sheet, found 201; use --top"):
        sheet_rows(model, tmp_path, tmp_path, [0] * 201)


def test_a_sheet_needs_photographs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["concepts", str(tmp_path), "--png", str(tmp_path / "sheet.png")])
    assert stop.value.code == 2
    assert "sheet.png: expected --photos FOLDER" in capsys.readouterr().err

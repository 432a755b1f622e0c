"""What an explanation says and how it is written down."""

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from insight.render.figure import spotlight
from insight.render.page import write_page

from .explanations import random_explanation


@pytest.fixture
def seed() -> int:
    return int(np.random.default_rng().integers(2**31))


def test_dictionary_has_the_documented_shape_and_order(seed: int) -> None:
    values = json.loads(json.dumps(random_explanation(seed).to_dict()))
    assert list(values) == ["image", "backbone", "grid", "fvu", "concepts"]
    first = values["concepts"][0]
    keys = ["id", "name", "named", "confidence", "score", "alternatives", "level", "activation", "map", "parents"]
    assert list(first) == [*keys, "children", "kinds", "edited"]
    assert [len(first["map"]), len(first["map"][0])] == values["grid"] == [4, 6]
    activations = [concept["activation"] for concept in values["concepts"]]
    assert activations == sorted(activations, reverse=True)
    assert first["activation"] == max(max(row) for row in first["map"])


def test_parents_are_said_with_what_the_child_is_to_them(seed: int) -> None:
    explanation = random_explanation(seed)
    concept = replace(explanation.concepts[0], parents=(1, 2, 3), kinds={1: "part-of", 3: "kind-of", 9: "part-of"})
    assert explanation.belongs_to(concept) == ["part of beak 1", "in beak 2", "kind of beak 3"]
    assert concept.to_dict()["kinds"] == {"1": "part-of", "3": "kind-of", "9": "part-of"}


def test_at_gives_the_concepts_of_one_patch_most_active_first(seed: int) -> None:
    explanation = random_explanation(seed)
    for row in range(4):
        for column in range(6):
            here = explanation.at(row, column)
            values = [concept.map[row, column] for concept in here]
            assert values == sorted(values, reverse=True)
            assert len(here) == sum(concept.map[row, column] > 0 for concept in explanation.concepts)


def test_png_is_a_picture_with_a_panel_for_the_photo_and_each_concept(seed: int, tmp_path: Path) -> None:
    random_explanation(seed, concepts=3).save_png(tmp_path / "few.png")
    random_explanation(seed, concepts=7).save_png(tmp_path / "many.png")
    few, many = Image.open(tmp_path / "few.png"), Image.open(tmp_path / "many.png")
    assert few.format == "PNG"
    assert few.width == many.width
    assert few.height * 2 == many.height
    assert len({few.getpixel((x, few.height // 2)) for x in range(few.width)}) > 20


def test_photo_without_any_concept_is_still_drawn(seed: int, tmp_path: Path) -> None:
    random_explanation(seed, concepts=0).save_png(tmp_path / "none.png")
    random_explanation(seed, concepts=0).save_html(tmp_path / "none.html")
    assert (tmp_path / "none.png").stat().st_size > 0


def test_spotlight_is_bright_where_the_map_is_high(seed: int) -> None:
    rng = np.random.default_rng(seed)
    photo = Image.fromarray(rng.integers(100, 255, (64, 64, 3), dtype=np.uint8))
    heat = np.zeros((4, 4), dtype=np.float32)
    heat[1, 2] = 1.0
    lit = np.asarray(spotlight(photo, heat), dtype=float).sum(axis=2)
    assert lit[20:28, 36:44].mean() > 1.5 * lit[48:, :16].mean()


def test_page_is_one_file_that_asks_for_nothing(seed: int, tmp_path: Path) -> None:
    random_explanation(seed).save_html(tmp_path / "page.html")
    text = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "default-src 'none'" in text
    assert not re.search(r"""(src|href)\s*=\s*["'](https?:)?//""", text)
    data = json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', text, re.S).group(1))
    assert [concept["name"] for concept in data["explanations"][0]["concepts"]]


def test_names_cannot_break_out_of_the_page(seed: int, tmp_path: Path) -> None:
    hostile = "</script><script>alert(1)</script>"
    write_page(tmp_path / "page.html", title=hostile, explanations=[random_explanation(seed, name=hostile)])
    text = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "<script>alert" not in text
    assert text.count("<script") == 2


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"confidence": 0.794}, "sure 79%"),
        ({"confidence": None}, "name fits 0.75"),
        ({"confidence": None, "score": None}, ""),
        ({"named": False, "confidence": 0.3}, "perhaps bill, nose"),
        ({"named": False, "alternatives": ()}, ""),
    ],
)
def test_how_sure_a_name_is_is_said_and_guesses_are_called_guesses(changes, said):
    assert replace(random_explanation(0).concepts[0], **changes).how_sure == said

"""What a notebook shows: small HTML that says what the object says, holds no script, and keeps names as text."""

import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure

from insight import ConceptModel
from insight.cache import FeatureCache, write_cache
from insight.heads import ConceptClassifier, ConceptSegmenter

from .explanations import random_explanation
from .heads.made import HashedPixels, random_model, random_photos
from .random_models import CONCEPTS, random_graph

HOSTILE = "</td><script>alert(1)</script><img src=x onerror=alert(1)>\"'"


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng()


class Parsed(HTMLParser):
    """The elements, attributes and words of a piece of HTML."""

    def __init__(self, piece: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.words = ""
        self.feed(piece)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.words += data + " "


def hostile_views(rng: np.random.Generator, folder: Path) -> Iterator[str]:
    """The view of everything that has one, all of its names hostile."""
    yield random_explanation(int(rng.integers(2**31)), name=HOSTILE)._repr_html_()
    model = random_model(rng, {i: {"name": f"{HOSTILE} {i}"} for i in range(CONCEPTS)})
    yield model._repr_html_()
    photo = random_photos(rng, 1)[0]
    yield ConceptClassifier.zero_shot(model, [HOSTILE, "b"]).explain(photo)._repr_html_()
    yield ConceptSegmenter(model, [HOSTILE, f"{HOSTILE} 2"]).predict(photo)._repr_html_()
    photos = folder / "photos of <script>"
    photos.mkdir()
    photo.save(photos / "a.png")
    yield write_cache(photos, HashedPixels(), folder / "<script> cache")._repr_html_()


def test_no_view_runs_or_fetches_anything(rng: np.random.Generator, tmp_path: Path) -> None:
    views = list(hostile_views(rng, tmp_path))
    assert len(views) == 5
    for view in views:
        parsed = Parsed(view)
        assert "<script>" in parsed.words
        assert {tag for tag, _ in parsed.elements} <= {"div", "span", "b", "img", "table", "tr", "td", "th"}
        for tag, attributes in parsed.elements:
            assert set(attributes) <= {"style", "src", "alt", "width", "height"}
            if tag == "img":
                assert str(attributes["src"]).startswith("data:image/jpeg;base64,")
                assert attributes["alt"]


def test_text_has_the_colour_of_the_notebook(rng: np.random.Generator, tmp_path: Path) -> None:
    for view in hostile_views(rng, tmp_path):
        styles = " ;".join(str(attributes.get("style")) for _, attributes in Parsed(view).elements)
        colours = set(re.findall(r"(?<![-\w])color:([^;\"]+)", styles))
        assert colours == {"inherit"}


def test_an_explanation_shows_the_photo_and_its_strongest_concepts(rng: np.random.Generator) -> None:
    for count in (0, 3, 20):
        explanation = random_explanation(int(rng.integers(2**31)), concepts=count)
        parsed = Parsed(explanation._repr_html_())
        assert sum(tag == "img" for tag, _ in parsed.elements) == 1 + min(count, 7)
        assert "photo.jpg" in parsed.words
        assert f"{explanation.fvu:.0%}" in parsed.words
        for concept in explanation.concepts[:7]:
            assert concept.name in parsed.words
            assert f"{concept.activation:.2f}" in parsed.words


def test_a_model_is_shown_without_its_backbone(rng: np.random.Generator) -> None:
    known = random_model(rng, {3: {"frequency": 99}, 5: {"frequency": 88, "hidden": True}})
    alone = random_graph(rng, density=0)  # so that nothing is named as a parent
    model = ConceptModel(known.sae, known.concepts, alone, known.config)
    parsed = Parsed(model._repr_html_())
    assert "backbone" not in vars(model)
    assert "word 3" in parsed.words
    assert "word 5" not in parsed.words
    assert f"{CONCEPTS - 1} of {CONCEPTS - 1} concepts" in parsed.words


def test_a_cache_is_shown_from_its_manifest_alone(rng: np.random.Generator, tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    for number, photo in enumerate(random_photos(rng, 3)):
        photo.save(tmp_path / "photos" / f"{number}.png")
    cache = write_cache(tmp_path / "photos", HashedPixels(), tmp_path / "cache")
    view = cache._repr_html_()
    opened = FeatureCache.open(tmp_path / "cache")
    (tmp_path / "cache" / cache.manifest.index.file).unlink()
    assert opened._repr_html_() == view
    assert "3 in 1 shards" in Parsed(view).words
    assert "48, 16 of 4 × 4 an image" in Parsed(view).words


def test_the_bars_of_a_class_sum_to_its_logit(rng: np.random.Generator) -> None:
    explanation = ConceptClassifier.zero_shot(random_model(rng), ["a", "b", "c"]).explain(random_photos(rng, 1)[0])
    parsed = Parsed(explanation._repr_html_())
    said, *bars = [float(number) for number in re.findall(r"[-+]\d+\.\d\d", parsed.words)]
    assert said == pytest.approx(explanation.logit, abs=0.006)
    assert sum(bars) == pytest.approx(said, abs=0.006 * (len(bars) + 1))


def test_the_shares_of_a_segmentation_are_those_of_its_labels(rng: np.random.Generator) -> None:
    segmentation = ConceptSegmenter(random_model(rng), ["a", "b"], background=0.6).predict(random_photos(rng, 1)[0])
    words = Parsed(segmentation._repr_html_()).words
    said = {name: float(share) for name, share in re.findall(r"\b(a|b|background) +([\d.]+)\s%", words)}
    for number, name in enumerate(("background", "a", "b"), start=-1):
        share = 100 * (segmentation.labels == number).mean()
        assert said.get(name, 0.0) == pytest.approx(share, abs=0.51)
        assert (name in said) == (share > 0)


def test_the_plot_is_a_figure_that_shows_itself(rng: np.random.Generator) -> None:
    explanation = random_explanation(int(rng.integers(2**31)), concepts=5)
    figure = explanation.plot(top=2)
    assert isinstance(figure, Figure)
    titles = [axes.get_title(loc="left") for axes in figure.axes]
    assert titles[:3] == ["photo.jpg", *(concept.name for concept in explanation.concepts[:2])]
    assert not any(titles[3:])
    assert figure._repr_png_().startswith(b"\x89PNG")


def test_the_plot_is_the_picture_that_is_saved(rng: np.random.Generator, tmp_path: Path) -> None:
    explanation = random_explanation(int(rng.integers(2**31)), concepts=3)
    explanation.save_png(tmp_path / "saved.png", most=3)
    assert explanation.plot(top=3)._repr_png_() == (tmp_path / "saved.png").read_bytes()

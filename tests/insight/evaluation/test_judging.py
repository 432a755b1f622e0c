"""The table of all explainers, on a model whose truth is known to the pixel: wrong explainers must lose."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch import Tensor

from insight.attribution import Explainer, Scorer
from insight.attribution.nulls import CentrePoint, RandomMap
from insight.evaluation.drop_increase import drop_increase
from insight.evaluation.insertion_deletion import deletion
from insight.evaluation.judging import LOW_IS_GOOD, Case, Row, judge, summary
from insight.evaluation.localisation import localise
from sae import InsightError

from .toy import COLOURS, MEAN, ColourFinder, Colours, purity


@dataclass(frozen=True)
class Right(Explainer):
    """How much of the colour each patch has: all that the score of `ColourFinder` is made of."""

    name = "right"

    def maps(self, scorer: Scorer, images: Tensor) -> Tensor:
        features = scorer.backbone.encode_image(images)
        of = purity(features.patches)[..., [COLOURS[text] for text in scorer.texts]]
        return of.transpose(1, 2).unflatten(2, features.grid)


@dataclass(frozen=True)
class Inverted(Explainer):
    name = "inverted"

    def maps(self, scorer: Scorer, images: Tensor) -> Tensor:
        return -Right().maps(scorer, images)


@dataclass(frozen=True)
class OfAnotherPhoto(Explainer):
    """A bug that shapes do not show: every photo has the map of the next."""

    name = "another photo's"

    def maps(self, scorer: Scorer, images: Tensor) -> Tensor:
        return Right().maps(scorer, images).roll(1, 0)


@dataclass(frozen=True)
class OfAnotherText(Explainer):
    name = "another text's"

    def maps(self, scorer: Scorer, images: Tensor) -> Tensor:
        return Right().maps(scorer, images).roll(1, 1)


@dataclass(frozen=True)
class Even(Explainer):
    name = "even"

    def maps(self, scorer: Scorer, images: Tensor) -> Tensor:
        return images.new_zeros(len(images), len(scorer.texts), 1, 1)


WRONG = {
    "inverted": Inverted(),
    "photo": OfAnotherPhoto(),
    "text": OfAnotherText(),
    "even": Even(),
    "random": RandomMap(),
}


def cases(n: int, texts: tuple[str, ...] = ("red", "blue")) -> list[Case]:
    """Photos with a square of each colour in different quarters, other than the centre's pixels."""
    random = torch.Generator().manual_seed(0)
    found = []
    for _ in range(n):
        image = torch.tensor(MEAN).view(3, 1, 1).repeat(1, 32, 32) + 0.02 * torch.rand(3, 32, 32, generator=random)
        masks = torch.zeros(len(texts), 32, 32, dtype=torch.bool)
        for t, quarter in enumerate(torch.randperm(4, generator=random)[: len(texts)].tolist()):
            y, x = 16 * (quarter // 2) + 4, 16 * (quarter % 2) + 4
            image[:, y : y + 8, x : x + 8] = 0.9 * torch.eye(3)[COLOURS[texts[t]], :, None, None]
            masks[t, y : y + 8, x : x + 8] = True
        found.append(Case(image, texts, masks))
    return found


@pytest.fixture(scope="module")
def table() -> dict:
    rows = judge({"right": Right(), **WRONG}, {"finder": ColourFinder(Colours())}, cases(16), steps=16)
    return summary(rows, draws=300)


@pytest.mark.parametrize("wrong", WRONG)
@pytest.mark.parametrize("measure", ["drop", "deletion", "energy", "average precision", "matched iou", "pointing"])
def test_a_wrong_explainer_is_ranked_below_the_right_one(table: dict, wrong: str, measure: str) -> None:
    sign = -1 if measure in LOW_IS_GOOD else 1
    good, bad = (table["finder", name][measure] for name in ("right", wrong))
    assert sign * good.value > sign * bad.value
    assert max(sign * bad.low, sign * bad.high) < min(sign * good.low, sign * good.high)  # intervals apart


def test_what_needs_no_map_is_the_same_for_all(table: dict) -> None:
    for measures in table.values():
        assert measures["area"].value == pytest.approx(64 / 32**2)
        assert measures["centre"].value == 0
    assert table["finder", "even"]["energy"].value == pytest.approx(64 / 32**2)


def without_seconds(rows: list[Row]) -> list[tuple]:
    return [
        (*row[:4], {k: pytest.approx(v, nan_ok=True) for k, v in row.measures.items() if k != "seconds"})
        for row in rows
    ]


def test_rows_are_the_measures_of_each_pair_however_photos_are_grouped() -> None:
    models = {"one": ColourFinder(Colours()), "two": ColourFinder(Colours())}
    given = [*cases(3), *cases(2, ("green",)), *cases(1)]
    given[1] = given[1]._replace(masks=None)
    given[4] = given[4]._replace(valid=torch.arange(32).expand(32, 32) < 20)
    explainers = {"right": Right(), "centre": CentrePoint()}
    rows = list(judge(explainers, models, given, steps=4, at_once=8))
    assert [(row.model, row.explainer, row.photo, row.text) for row in rows] == [
        (model, explainer, photo, text)
        for photos in ((0, 1, 2), (3, 4), (5,))
        for model in models
        for explainer in explainers
        for photo in photos
        for text in given[photo].texts
    ]
    for row in rows:
        case, model = given[row.photo], models[row.model]
        image, scorer = case.image[None], model.scorer((row.text,))
        maps = explainers[row.explainer](model, image, (row.text,))
        dimmed = drop_increase(scorer, image, maps)
        assert row.measures["drop"] == pytest.approx(dimmed.drop.item())
        assert row.measures["deletion"] == pytest.approx(deletion(scorer, image, maps, steps=4).area().item())
        if case.masks is None:
            assert np.isnan(row.measures["pointing"])
            continue
        valid = torch.ones(32, 32, dtype=torch.bool) if case.valid is None else case.valid
        mask = case.masks[None, case.texts.index(row.text), None]
        said = localise(maps, mask, valid[None, None])
        for name in ("iou", "energy", "area"):
            assert row.measures[name] == pytest.approx(getattr(said, name).item(), nan_ok=True)
    order = [(row.model, row.explainer, row.photo, row.text) for row in rows]
    alone = sorted(judge(explainers, models, given, steps=4, at_once=1), key=lambda row: order.index(row[:4]))
    assert without_seconds(alone) == without_seconds(rows)


def test_photos_are_taken_as_rows_are_asked_for_and_few_go_through_at_once() -> None:
    taken = 0

    def stream() -> Iterator[Case]:
        nonlocal taken
        for case in cases(9):
            taken += 1
            yield case

    backbone = Colours()
    rows = judge({"right": Right()}, {"finder": ColourFinder(backbone)}, stream(), at_once=2, batch=6)
    next(rows)
    assert taken == 2
    assert len(list(rows)) == 17
    assert max(backbone.calls) == 6


def test_seconds_are_of_the_explainer_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = 0.0
    monkeypatch.setattr("time.perf_counter", lambda: clock)

    class Slow(ColourFinder):
        """Every score takes a second, of which explainers that do not ask know nothing."""

        def scorer(self, texts: tuple[str, ...]) -> Scorer:  # type: ignore[override]
            def score(features: object) -> Tensor:
                nonlocal clock
                clock += 1
                return plain.score(features)  # type: ignore[arg-type]

            plain = super().scorer(texts)
            return Scorer(plain.backbone, plain.texts, score)

    class Asks(Right):
        def maps(self, scorer: Scorer, images: Tensor) -> Tensor:
            for _ in range(12):
                scorer(images)
            return super().maps(scorer, images)

    rows = list(judge({"right": Right(), "asks": Asks()}, {"slow": Slow(Colours())}, cases(2), steps=2))
    assert clock > 12
    assert [row.measures["seconds"] for row in rows] == [0] * 4 + [3] * 4  # 12 by 4 pairs


def test_without_changed_photos_only_places_and_seconds_are_measured() -> None:
    backbone = Colours()
    models = {"finder": ColourFinder(backbone)}
    places = list(judge({"right": Right()}, models, cases(3), perturb=False))
    assert backbone.calls == [3]  # the explainer's own
    for few, every in zip(places, judge({"right": Right()}, models, cases(3), steps=2)):
        changes = {"drop", "increase", "relative drop", "deletion", "insertion", "fidelity"}
        assert set(every.measures) - set(few.measures) == changes
        assert {**few.measures, "seconds": 0}.items() <= {**every.measures, "seconds": 0}.items()


def test_masks_that_do_not_fit_are_said() -> None:
    bad = cases(1)[0]._replace(masks=torch.zeros(1, 32, 32, dtype=torch.bool))
    with pytest.raises(InsightError, match=r"photo 0: expected masks \[2, 32, 32\]"):
        list(judge({"right": Right()}, {"finder": ColourFinder(Colours())}, [bad]))

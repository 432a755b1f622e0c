"""Every logit of a segmentation is a sum over concepts, at every pixel and patch, by text and trained."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.special import softmax

from insight import InsightError
from insight.heads import ConceptSegmenter, Segmentation
from sae import SparseCodes

from .segmenting import CONCEPTS, WORDS, ByHand, class_terms, noise, random_model, segmenter

GRID = (4, 6)  # of a photo of 30 × 21 pixels at a short side of 16
SEEDS = range(3)


def by_hand(model: object, photo: Image.Image) -> ByHand:
    return ByHand(model, photo, GRID)


def squared(maps: torch.Tensor, guide: torch.Tensor) -> torch.Tensor:
    """An upsampling that is not linear in the maps."""
    return torch.nn.functional.interpolate(maps, guide.shape[2:], mode="nearest") ** 3


@pytest.mark.parametrize("seed", SEEDS)
def test_scores_are_cosines_with_the_best_word_upsampled_bilinearly(seed: int) -> None:
    model, photo = random_model(seed), noise(seed)
    found = segmenter(model).predict(photo)
    hand = by_hand(model, photo)
    expected = np.stack([terms.sum(-1) for terms in class_terms(hand.pixel_terms)])
    assert found.pixels.grid == GRID
    assert found.scores.shape == (3, 21, 30)
    np.testing.assert_allclose(found.scores, expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize("seed", SEEDS)
def test_contributions_at_a_pixel_are_those_by_hand_and_sum_to_its_logit(seed: int) -> None:
    model, photo = random_model(seed), noise(seed)
    found = segmenter(model).predict(photo)
    terms = class_terms(by_hand(model, photo).pixel_terms)
    rng = np.random.default_rng(seed)
    for row, column in [(0, 0), (20, 29), *zip(rng.integers(21, size=6), rng.integers(30, size=6), strict=True)]:
        for number, name in enumerate(WORDS):
            got = found.contributions(int(row), int(column), name)
            dense = np.zeros(CONCEPTS)
            dense[got.concepts] = got.values
            np.testing.assert_allclose(dense, terms[number][row, column, :-1], rtol=0, atol=1e-4)
            assert got.constant == pytest.approx(terms[number][row, column, -1], abs=1e-4)
            assert got.values.sum() + got.constant == pytest.approx(got.logit, abs=1e-9)
            assert got.logit == pytest.approx(found.scores[number, row, column], abs=1e-5)
            assert (np.diff(np.abs(got.values)) <= 0).all()


@pytest.mark.parametrize("upsampling", ["bilinear", "jbu", None])
@pytest.mark.parametrize("trained", ["by text", "alone", "with surroundings"])
def test_contributions_sum_to_the_logit_of_the_pixel_itself(upsampling: str | None, trained: str) -> None:
    model = random_model(11)
    segment = segmenter(model, upsampling=upsampling or "bilinear")
    if trained != "by text":
        segment = taught(segment, surroundings=trained != "alone")
    found = segment.predict(noise(11))
    found = found if upsampling else found.on_grid
    scores = found.scores
    assert found.exact_at_pixels
    rng = np.random.default_rng(0)
    for _ in range(8):
        row, column = (int(rng.integers(side)) for side in found.labels.shape)
        for number, name in enumerate(WORDS):
            got = found.contributions(row, column, name)
            assert got.values.sum() + got.constant == pytest.approx(scores[number, row, column], abs=1e-5)


@pytest.mark.parametrize("seed", SEEDS)
def test_with_surroundings_a_concept_puts_in_what_it_does_on_the_patch_and_around_it(seed: int) -> None:
    model = random_model(seed)
    found = taught(segmenter(model), surroundings=True).predict(noise(seed)).on_grid
    codes, head = found.codes.toarray().reshape(*GRID, CONCEPTS), found.head
    assert head.around is not None
    for row, column, number in ((0, 0, 0), (3, 5, 1), (2, 3, 2)):
        near = codes[max(0, row - 1) : row + 2, max(0, column - 1) : column + 2].reshape(-1, CONCEPTS).mean(0)
        expected = codes[row, column] * head.weights[:, number] + near * head.around[:, number]
        got = found.contributions(row, column, [*WORDS][number])
        dense = np.zeros(CONCEPTS)
        dense[got.concepts] = got.values
        np.testing.assert_allclose(dense, expected, rtol=0, atol=1e-9)
        assert found.scores[number, row, column] == pytest.approx(expected.sum() + head.constants[number], abs=1e-5)
        maps = found.contribution_maps([*WORDS][number], top=5)
        np.testing.assert_allclose(maps.maps[:, row, column], expected[maps.concepts], rtol=0, atol=1e-9)
        whole = maps.maps.sum(0) + maps.others + maps.constant
        np.testing.assert_allclose(whole, found.scores[number], rtol=0, atol=1e-5)


def test_reasons_of_regions_with_surroundings_sum_to_the_margin() -> None:
    found = taught(segmenter(random_model(12)), surroundings=True).predict(noise(12))
    for region in found.regions(least=0):
        assert region.margin is not None
        weights = {reason.concept: reason.contribution for reason in region.reasons}
        assert sum(weights.values()) + region.constant >= region.margin - 1e-5  # what speaks against is not a reason
        inside = np.zeros(found.labels.shape, bool)
        left, top, right, bottom = region.box
        inside[top:bottom, left:right] = region.mask
        scores = dict(zip(found.classes, found.scores.astype(np.float64), strict=True))
        mean = (scores[region.name] - scores[region.rival])[inside].mean()
        assert region.margin == pytest.approx(mean, abs=1e-4)


def taught(segment: ConceptSegmenter, *, surroundings: bool = False) -> ConceptSegmenter:
    """Fitted to patches of noise whose class depends on their codes."""
    rng = np.random.default_rng(3)
    dense = rng.random((400, CONCEPTS)) * (rng.random((400, CONCEPTS)) < 0.3)
    classes = (dense @ rng.standard_normal((CONCEPTS, 3))).argmax(1)
    codes = SparseCodes.from_dense(torch.from_numpy(dense))
    return segment.fit(codes, classes, alpha=1e-2 if not surroundings else 1e-3, grid=(4, 5) if surroundings else None)


def test_the_grid_itself_has_the_logits_of_its_patches() -> None:
    model, photo = random_model(5), noise(5)
    found = segmenter(model).predict(photo).on_grid
    terms = class_terms({word: of.reshape(*GRID, -1) for word, of in by_hand(model, photo).terms.items()})
    assert found.labels.shape == GRID
    np.testing.assert_allclose(found.scores, np.stack([t.sum(-1) for t in terms]), rtol=0, atol=1e-4)
    got = found.contributions(2, 3, "water")
    dense = np.zeros(CONCEPTS)
    dense[got.concepts] = got.values
    np.testing.assert_allclose(dense, terms[2][2, 3, :-1], rtol=0, atol=1e-4)


@pytest.mark.parametrize("name", WORDS)
def test_a_few_maps_the_others_and_the_constant_sum_to_the_scores(name: str) -> None:
    model, photo = random_model(6), noise(6)
    found = segmenter(model).predict(photo)
    number = list(WORDS).index(name)
    terms = class_terms(by_hand(model, photo).pixel_terms)[number]
    maps = found.contribution_maps(name, top=4)
    assert maps.maps.shape == (4, 21, 30)
    np.testing.assert_allclose(maps.maps, np.moveaxis(terms[..., maps.concepts], -1, 0), rtol=0, atol=1e-4)
    np.testing.assert_allclose(maps.maps.sum(0) + maps.others + maps.constant, found.scores[number], rtol=0, atol=1e-5)


def test_every_concept_may_have_a_map_and_then_nothing_is_left_for_the_others() -> None:
    found = segmenter(random_model(6)).predict(noise(6))
    maps = found.contribution_maps("sky", top=1000)
    assert (maps.others == 0).all()
    np.testing.assert_allclose(maps.maps.sum(0) + maps.constant, found.scores[1], rtol=0, atol=1e-5)


def test_under_an_upsampling_that_is_not_linear_contributions_are_those_of_the_patch() -> None:
    model, photo = random_model(7), noise(7)
    found = segmenter(model, upsampling=squared).predict(photo)
    terms = class_terms({word: of.reshape(*GRID, -1) for word, of in by_hand(model, photo).terms.items()})
    assert not found.exact_at_pixels
    got = found.contributions(20, 3, "sky")  # the pixel's middle is at 20.5 / 21 · 4 = 3.9 and 3.5 / 30 · 6 = 0.7
    assert got.logit == pytest.approx(terms[1][3, 0].sum(), abs=1e-4)
    assert got.values.sum() + got.constant == pytest.approx(got.logit, abs=1e-9)
    assert found.contribution_maps("sky").maps.shape[1:] == GRID
    assert all("weighed on patches" in region.sentence for region in found.regions(least=0.01))
    assert found.to_dict()["exact_at_pixels"] is False


@pytest.mark.parametrize("seed", SEEDS)
def test_a_pixel_has_the_class_of_its_largest_score(seed: int) -> None:
    found = segmenter(random_model(seed)).predict(noise(seed))
    best = np.sort(found.scores, axis=0)
    clear = best[-1] - best[-2] > 1e-4
    assert found.labels.dtype == np.int16
    assert clear.mean() > 0.5
    assert (found.labels == found.scores.argmax(0))[clear].all()
    row, column = (int(i[0]) for i in np.nonzero(clear))
    assert found.contributions(row, column).name == found.classes[found.labels[row, column]]


def test_a_pixel_whose_class_is_less_likely_than_said_is_background() -> None:
    model, photo = random_model(1), noise(1)
    likely = softmax(segmenter(model).predict(photo).scores.astype(np.float64), axis=0).max(0)
    least = float(np.median(likely))
    labels = segmenter(model, background=least).predict(photo).labels
    clear = np.abs(likely - least) > 1e-4
    assert ((labels == -1) == (likely < least))[clear].all()
    assert (labels == -1).any()
    assert (segmenter(model, background=0.0).predict(photo).labels >= 0).all()


def test_regions_in_few_numbers_are_those_in_many(monkeypatch: pytest.MonkeyPatch) -> None:
    """Scores of some classes at a time lead to the same labels as all at once."""
    at_once = segmenter(random_model(2)).predict(noise(2))
    monkeypatch.setattr("insight.heads.pixels.NUMBERS_AT_ONCE", 1)
    one_by_one = segmenter(random_model(2)).predict(noise(2))
    assert np.array_equal(at_once.labels, one_by_one.labels)
    assert np.array_equal(at_once.scores, one_by_one.scores)


def test_a_pixel_outside_and_a_class_that_is_none_are_said() -> None:
    found = segmenter(random_model(2)).predict(noise(2))
    with pytest.raises(InsightError, match=r"pixel of the 21 × 30 .* found \(21, 0\)"):
        found.contributions(21, 0)
    with pytest.raises(InsightError, match="boat, sky, water, found 'ship'"):
        found.contribution_maps("ship")


def test_the_files_hold_masks_regions_and_a_picture(tmp_path: Path) -> None:
    found: Segmentation = segmenter(random_model(2), background=0.4).predict(noise(2))
    found.save_json(tmp_path / "out.json")
    found.save_png(tmp_path / "out.png")
    stored = json.loads((tmp_path / "out.json").read_text())
    assert [entry["name"] for entry in stored["classes"]] == ["boat", "sky", "water", None]
    number = {None: -1, "boat": 0, "sky": 1, "water": 2}
    labels = np.full(21 * 30, -9)
    for entry in stored["classes"]:
        counts = entry["mask"]["counts"]
        inside = np.repeat(np.arange(len(counts)) % 2, counts)
        labels[inside == 1] = number[entry["name"]]
    assert np.array_equal(labels.reshape(30, 21).T, found.labels)
    assert sum(entry["share"] for entry in stored["classes"]) == pytest.approx(1, abs=1e-4)
    with Image.open(tmp_path / "out.png") as picture:
        assert picture.format == "PNG"
        assert min(picture.size) > 300

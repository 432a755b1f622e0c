"""Regions are the connected pieces of a class, and their reasons what each concept put into the margin."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.sparse import csr_array

from insight.heads import Region, Segmentation
from insight.heads.pixels import Pixels
from insight.heads.regions import Reason
from insight.heads.run_lengths import run_lengths
from insight.heads.token_head import TokenHead

from .segmenting import CONCEPTS, WORDS, ByHand, class_terms, noise, random_model, segmenter

GRID = (4, 6)


def painted(labels: list[str]) -> Segmentation:
    """A segmentation whose patches, one a pixel, have concept i with activation 1 where the letter is "abc"[i]."""
    letters = np.array([list(row) for row in labels])
    codes = csr_array(np.eye(3)[np.searchsorted(list("abc"), letters.ravel())])
    head = TokenHead(np.eye(3) * 2, np.array([0.0, 0.5, 0.25]), np.arange(3))
    grid = (letters.shape[0], letters.shape[1])
    return Segmentation(
        "drawn", noise(0), ("a", "b", "c"), codes, head, Pixels(grid, grid, None), ("hull", "sea", "sky")
    )


def test_pieces_that_touch_by_their_sides_are_one_region_the_largest_first() -> None:
    found = painted(["aaab", "aabb", "bbaa", "bbca"]).regions(least=0)
    assert [(region.name, round(region.share * 16), region.box) for region in found] == [
        ("a", 5, (0, 0, 3, 2)),
        ("b", 4, (0, 2, 2, 4)),
        ("a", 3, (2, 2, 4, 4)),  # of the same size in the order of the classes
        ("b", 3, (2, 0, 4, 2)),
        ("c", 1, (2, 3, 3, 4)),
    ]
    assert found[2].mask.tolist() == [[True, True], [False, True]]


def test_pieces_that_are_too_small_are_not_told_of() -> None:
    picture = painted(["aaab", "aabb", "bbaa", "bbca"])
    assert [round(region.share * 16) for region in picture.regions(least=0.25)] == [5, 4]
    assert picture.regions(least=0.9) == []


def test_the_rival_is_the_class_with_the_next_largest_mean_and_the_margin_is_over_it() -> None:
    first = painted(["aaab", "aabb", "bbaa", "bbca"]).regions(least=0)[0]
    assert (first.rival, first.margin) == ("b", pytest.approx(2 - 0.5))
    assert first.constant == pytest.approx(-0.5)
    assert first.reasons == (Reason(0, "hull", pytest.approx(2.0), 1.0),)
    assert first.sentence == "this region is 'a' because of: hull 100 %"


@pytest.mark.parametrize("seed", range(3))
def test_reasons_are_the_mean_differences_of_contributions_over_the_pixels(seed: int) -> None:
    model, photo = random_model(seed), noise(seed)
    found = segmenter(model).predict(photo)
    terms = class_terms(ByHand(model, photo, GRID).pixel_terms)
    names = list(WORDS)
    regions = found.regions(least=0.02)
    assert regions
    for region in regions:
        inside = np.zeros(found.labels.shape, bool)
        left, top, right, bottom = region.box
        inside[top:bottom, left:right] = region.mask
        assert (found.labels[inside] == names.index(region.name)).all()
        assert region.share == pytest.approx(inside.mean())
        means = [of[inside].sum(-1).mean() for of in terms]
        others = [name for name in names if name != region.name]
        rival = max(others, key=lambda name: means[names.index(name)])
        assert region.rival == rival
        difference = (terms[names.index(region.name)] - terms[names.index(rival)])[inside].mean(0)
        assert region.margin == pytest.approx(difference.sum(), abs=1e-3)
        assert region.constant == pytest.approx(difference[-1], abs=1e-3)
        positive = difference[:-1].clip(min=0)
        got = np.zeros(CONCEPTS)
        for reason in region.reasons:
            got[reason.concept] = reason.contribution
            assert reason.share == pytest.approx(reason.contribution / positive.sum(), rel=1e-3)
        np.testing.assert_allclose(got, positive, rtol=0, atol=1e-4)
        assert sum(reason.share for reason in region.reasons) == pytest.approx(1)


def told(*reasons: tuple[str | None, float], exact: bool = True) -> Region:
    listed = tuple(Reason(i, title, share, share) for i, (title, share) in enumerate(reasons))
    return Region("boat", 0.5, (0, 0, 1, 1), np.ones((1, 1), bool), "sea", 1.0, listed, 0.0, exact)


def test_the_sentence_joins_concepts_of_one_title_and_leaves_out_hidden_and_tiny_ones() -> None:
    region = told(("water", 0.3), ("hull", 0.21), ("hull", 0.2), (None, 0.15), ("concept 7", 0.136), ("sky", 0.004))
    assert region.sentence == "this region is 'boat' because of: hull 41 %, water 30 %, concept 7: 14 %"
    assert [reason["title"] for reason in region.to_dict()["reasons"]][:3] == ["water", "hull", "hull"]
    assert told((None, 1.0)).sentence == "this region is 'boat', and no concept that is shown speaks for it"


def test_background_is_no_region() -> None:
    picture = replace(painted(["ab", "aa"]), background=0.86)  # of a: e^2 / (e^2 + e^0.5 + e^0.25) = 0.716, of b 0.85
    assert (picture.labels == -1).all()
    assert picture.regions(least=0) == []


def test_run_lengths_count_columns_from_the_top_and_begin_outside() -> None:
    mask = np.array([[False, True, True], [True, True, False]])
    assert run_lengths(mask) == {"size": [2, 3], "counts": [1, 4, 1]}
    assert run_lengths(~mask) == {"size": [2, 3], "counts": [0, 1, 4, 1]}
    assert run_lengths(np.zeros((2, 2), bool)) == {"size": [2, 2], "counts": [4]}
    assert run_lengths(np.ones((2, 2), bool)) == {"size": [2, 2], "counts": [0, 4]}

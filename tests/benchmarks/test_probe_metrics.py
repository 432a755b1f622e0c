"""How answers are counted: against scikit-learn and forms written out, on random and hand-made inputs."""

import math

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.metrics import accuracy_score, jaccard_score
from torch import Tensor

from benchmarks.probes.metrics import (
    VOID,
    accuracy,
    confusion,
    interval_of_mean,
    interval_of_tables,
    mean_iou,
    patch_classes,
    pixel_classes,
    retrieved,
    turned,
    upsampled,
)
from insight.backbones import CentreSquare


def unit(*shape: int) -> Tensor:
    return torch.nn.functional.normalize(torch.randn(*shape), dim=-1)


def test_mean_iou_and_accuracy_of_summed_tables_equal_scikit_learns() -> None:
    truth, answers = torch.randint(5, (6, 4, 10)), torch.randint(6, (6, 4, 10))
    truth[torch.rand(6, 4, 10) < 0.2] = VOID
    tables = confusion(answers, truth, 7)  # class 5 is only ever answered, class 6 neither is nor answered
    assert tables.shape == (6, 7, 7)
    for photo in range(6):
        for t in range(7):
            for a in range(7):
                assert tables[photo, t, a] == ((truth[photo] == t) & (answers[photo] == a)).sum()
    kept = truth != VOID
    t, a = truth[kept].numpy(), answers[kept].numpy()
    expected = jaccard_score(t, a, average="macro", labels=range(5))
    assert math.isclose(mean_iou(tables.sum(0)), expected, rel_tol=1e-9)
    assert math.isclose(accuracy(tables.sum(0)), accuracy_score(t, a), rel_tol=1e-9)


def test_pixels_are_of_the_centre_square_and_patches_have_the_class_of_most_of_them() -> None:
    mask = np.full((224, 448), 9, np.uint8)  # the outer quarters are cut off
    mask[:, 112:336] = 200  # no class
    mask[:14, 112:126] = 3
    mask[:5, 112:126] = 1
    mask[14:28, 112:117] = 2  # 5 of 14 columns: too little
    mask[28:42, 112:119] = 0  # one half
    mask[28:42, 119:126] = 2  # the other
    pixels = pixel_classes(Image.fromarray(mask), CentreSquare(224), 4)
    assert torch.equal(pixels[:14, :14], torch.tensor([1] * 5 + [3] * 9)[:, None].expand(14, 14))
    patches = patch_classes(pixels, (16, 16), 4).reshape(16, 16)
    assert patches[0, 0] == 3
    assert (patches.flatten()[1:] == VOID).all()
    assert 9 not in pixels


def test_retrieval_counts_what_is_ranked_among_the_first() -> None:
    photos, captions = unit(7, 9).double(), unit(35, 9).double()
    owner = torch.arange(35) % 7
    captions += 0.8 * photos[owner]
    shares = retrieved(photos, captions, owner, (1, 3))
    scores = (photos @ captions.T).numpy()
    for k in (1, 3):
        for photo in range(7):
            own = [c for c in range(35) if c % 7 == photo]
            to_image = [photo in np.argsort(-scores[:, c])[:k] for c in own]
            to_text = any(c in own for c in np.argsort(-scores[photo])[:k])
            assert math.isclose(shares[f"text to image R@{k}"][photo], np.mean(to_image), abs_tol=1e-9)
            assert shares[f"image to text R@{k}"][photo] == to_text


def test_retrieval_finds_nothing_where_all_score_the_same() -> None:
    same = torch.ones(6, 4) / 2
    shares = retrieved(same, same.repeat(5, 1), torch.arange(30) % 6, (1, 5))
    assert all(values.sum() == 0 for values in shares.values())


def test_pixels_between_patches_get_what_is_best_when_scores_are_drawn_out() -> None:
    scores = torch.tensor([[1.0, 0.0], [0.0, 0.5]])  # two patches side by side, two classes
    classes = upsampled(scores.repeat(2, 1), (2, 2), 8)
    # Between the centres (columns 1.5 and 5.5) class 0 falls from 1 to 0 while class 1 rises to 0.5: they meet at 4.17.
    assert torch.equal(classes, torch.tensor([0, 0, 0, 0, 0, 1, 1, 1]).expand(8, 8))


def test_intervals_are_those_of_means_and_both_forms_agree() -> None:
    right = torch.rand(900) < 0.7
    tables = torch.zeros(900, 2, 2)
    tables[torch.arange(900), 0, (~right).long()] = 1
    low, high = interval_of_mean(right, 3)
    assert interval_of_tables(tables, accuracy, 3) == pytest.approx((low, high), abs=1e-12)
    share = float(right.double().mean())
    half = 1.96 * math.sqrt(share * (1 - share) / 900)
    assert low == pytest.approx(share - half, abs=half / 2)
    assert high == pytest.approx(share + half, abs=half / 2)


def test_turned_texts_keep_their_angles_and_lose_their_place() -> None:
    texts = unit(6, 40)
    aside = turned(texts, torch.Generator().manual_seed(1))
    assert torch.allclose(aside @ aside.T, texts @ texts.T, atol=1e-5)
    assert (aside * texts).sum(1).abs().mean() < 0.6

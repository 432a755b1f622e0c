"""The parts of the bridge's training and of its measurement, against forms written out in float64."""

import math

import numpy as np
import torch
from PIL import Image
from sklearn.metrics import accuracy_score, jaccard_score

from benchmarks.zero_shot import VOID, patch_classes, patch_scores
from insight.backbones.small import Small
from scripts.train_bridge import Photos, contrast, fit, fit_ridge, words_of


def test_fit_is_the_mean_cosine_weighted_by_its_own_softmax() -> None:
    patches, texts = torch.randn(3, 5, 7).double(), torch.randn(4, 7).double()
    found = fit(patches, texts, 0.3)
    for i in range(3):
        for j in range(4):
            cosines = [float(patch @ texts[j]) for patch in patches[i]]
            weights = [math.exp(c / 0.3) for c in cosines]
            expected = sum(w * c for w, c in zip(weights, cosines)) / sum(weights)
            assert math.isclose(found[i, j], expected, rel_tol=1e-9)


def test_contrast_is_the_log_share_of_what_fits_in_rows_and_columns() -> None:
    scores = torch.randn(4, 6).double()
    fits = torch.rand(4, 6) < 0.4
    fits[0, 0] = True
    fits[:, 5] = False  # a text that fits no photo is no column's answer, but every row's distractor
    found = contrast(scores, fits, 0.5)
    e = np.exp(scores.numpy() / 0.5)
    rows = [-math.log(e[i][fits[i]].sum() / e[i].sum()) for i in range(4) if fits[i].any()]
    columns = [-math.log(e[:, j][fits[:, j]].sum() / e[:, j].sum()) for j in range(6) if fits[:, j].any()]
    assert math.isclose(found, (np.mean(rows) + np.mean(columns)) / 2, rel_tol=1e-9)


def test_ridge_minimises_its_objective() -> None:
    unit = torch.nn.functional.normalize
    photos = Photos(
        patches=torch.randn(50, 256, 384).half(),
        n_captioned=30,
        captions=unit(torch.randn(60, 384), dim=1),
        caption_photo=torch.arange(60) % 30,
        names=unit(torch.randn(1, 7, 384), dim=2),
        photo_name=torch.randint(7, (20,)),
        words=torch.empty(0),
        has_word=torch.empty(0),
    )
    mean = torch.randn(384) * 0.1
    inputs = photos.patches.float().mean(1) - mean
    captions = torch.stack([unit(photos.captions[i] + photos.captions[i + 30], dim=0) for i in range(30)])
    targets = torch.cat([captions, photos.names[0][photos.photo_name]])
    weight = fit_ridge(photos, mean, 3.0).double().requires_grad_()
    loss = (inputs.double() @ weight.T - targets.double()).square().sum() + 3 * weight.square().sum()
    (gradient,) = torch.autograd.grad(loss, weight)
    assert gradient.abs().max() < 1e-3
    assert weight.abs().max() > 1e-3


def test_words_are_counted_per_photo_with_plurals_and_pairs() -> None:
    sentences = ["Two dogs on a tennis court.", "A dog!", "The tennis court", "Dogs"]
    words, has_word = words_of(sentences, photo=[0, 1, 2, 0], n_photos=4, least=2)
    table = {word: has_word[:, i].tolist() for i, word in enumerate(words)}
    assert table["dog"] == [True, True, False, False]
    assert table["tennis court"] == [True, False, True, False]
    assert "the" not in table


def test_patch_scores_equal_scikit_learns() -> None:
    truth, answers = torch.randint(5, (6, 40)), torch.randint(5, (6, 40))
    truth[torch.rand(6, 40) < 0.2] = VOID
    kept = (truth != VOID).numpy()
    iou, right = patch_scores(answers, truth, 7)  # two classes never occur
    t, a = truth.numpy()[kept], answers.numpy()[kept]
    assert math.isclose(iou, jaccard_score(t, a, average="macro"), rel_tol=1e-9)
    assert math.isclose(right, accuracy_score(t, a), rel_tol=1e-9)


def test_a_patch_has_the_class_of_most_of_its_pixels(small: Small) -> None:
    mask = np.full((224, 448), 9, np.uint8)  # the outer quarters are cut off
    mask[:, 112:336] = VOID
    mask[:14, 112:126] = 3
    mask[:5, 112:126] = 1
    mask[14:28, 112:117] = 2  # 5 of 14 columns: too little, the rest is void
    found = patch_classes(Image.fromarray(mask), small, 4).reshape(16, 16)
    assert found[0, 0] == 3
    assert (found.flatten()[1:] == VOID).all()

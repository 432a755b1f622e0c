"""The parts of the bridge's training against forms written out in float64, and what it must not see."""

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import normalize

from scripts.bridge import features
from scripts.bridge.closed_form import caption_targets, ridge, teacher_targets
from scripts.bridge.descent import descend
from scripts.bridge.draws import Draws
from scripts.bridge.losses import contrast, fit, share
from scripts.bridge.material import Material, class_and_mean
from scripts.bridge.patches import PatchRecipe, patch_loss
from scripts.bridge.photos import HELD_OUT, Texts, class_words, read_photos, said_words
from scripts.bridge.pooled import PooledRecipe, pooled_loss
from scripts.train_bridge import of_mean_patch, tensors_of

D = 6  # width of the small models here


def unit(*shape: int) -> Tensor:
    return normalize(torch.randn(*shape, D, dtype=torch.float64), dim=-1)


def some_texts(n_captioned: int, n_named: int) -> Texts:
    """One template, one caption a photo, every word somewhere."""
    has_said = torch.rand(n_captioned, 5) < 0.5
    has_said[0] = True
    class_word = torch.rand(3, 4) < 0.5
    class_word[:, 0] = True
    teacher_word = torch.rand(7, 4) < 0.7
    teacher_word[:, 0] = True  # so that some word is shown, whatever is drawn
    teacher_word[:, 3] = False  # and one is not
    return Texts(
        mean=torch.zeros(D),
        captions=unit(n_captioned),
        caption_photo=torch.arange(n_captioned),
        said=unit(1, 5),
        has_said=has_said,
        names=unit(1, 3),
        photo_name=torch.arange(n_named) % 3,
        teacher=unit(1, 7),
        words=unit(1, 4),
        class_word=class_word,
        teacher_word=teacher_word,
    )


def some_material(n_captioned: int, n_named: int, n_patches: int) -> Material:
    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, dtype=torch.float64)

    return Material(
        captioned=normal(n_captioned, 1 + n_patches, D),
        named=normal(n_named, 1 + n_patches, D),
        pooled_mean=normal(2 * D),
        whole_captioned=normal(n_captioned, 1, 2 * D),
        whole_named=normal(n_named, 1, 2 * D),
        views=normal(9, 2 * D),
        posteriors=normal(9, 7).softmax(1),
        teacher_named=normal(n_named, 7).softmax(1),
    )


def infonce(scores: np.ndarray, fits: np.ndarray, temperature: float) -> float:
    """Written out: the mean over rows, and over columns, that anything fits; then the mean of the two."""
    e = np.exp(scores / temperature)
    rows = [-math.log(e[i][fits[i]].sum() / e[i].sum()) for i in range(len(e)) if fits[i].any()]
    columns = [-math.log(e[:, j][fits[:, j]].sum() / e[:, j].sum()) for j in range(e.shape[1]) if fits[:, j].any()]
    return float(np.mean(rows) + np.mean(columns)) / 2


def cross_entropy(scores: np.ndarray, shares: np.ndarray, temperature: float) -> float:
    e = np.exp(scores / temperature)
    terms = [-(q / q.sum() * np.log(row / row.sum())).sum() for row, q in zip(e, shares) if q.sum() > 0]
    return float(np.mean(terms))


def best_patches(patches: np.ndarray, texts: np.ndarray, temperature: float) -> np.ndarray:
    cosines = patches @ texts.T  # [n, p, m]
    weights = np.exp(cosines / temperature)
    return (weights * cosines).sum(1) / weights.sum(1)


def test_fit_is_the_mean_cosine_weighted_by_its_own_softmax() -> None:
    patches, texts = torch.randn(3, 5, 7).double(), torch.randn(4, 7).double()
    np.testing.assert_allclose(fit(patches, texts, 0.3), best_patches(patches.numpy(), texts.numpy(), 0.3), rtol=1e-9)


def test_contrast_is_the_log_share_of_what_fits_in_rows_and_columns() -> None:
    scores = torch.randn(4, 6).double()
    fits = torch.rand(4, 6) < 0.4
    fits[0, 0] = True
    fits[:, 5] = False  # a text that fits no photo is no column's answer, but every row's distractor
    expected = infonce(scores.numpy(), fits.numpy(), 0.5)
    assert math.isclose(contrast(scores, fits, 0.5), expected, rel_tol=1e-9)


def test_share_is_the_cross_entropy_with_what_the_texts_get_of_each_photo() -> None:
    scores, shares = torch.randn(5, 6).double(), torch.rand(5, 6).double()
    shares[2] = 0  # nothing said about this one
    expected = cross_entropy(scores.numpy(), shares.numpy(), 0.3)
    assert math.isclose(share(scores, shares, 0.3), expected, rel_tol=1e-9)


def test_ridge_minimises_its_objective() -> None:
    inputs, targets = torch.randn(50, 7), torch.randn(50, 3)
    weight = ridge(inputs, targets, 3.0).double().requires_grad_()
    loss = (inputs.double() @ weight.T - targets.double()).square().sum() + 3 * weight.square().sum()
    (gradient,) = torch.autograd.grad(loss, weight)
    assert gradient.abs().max() < 1e-3
    assert weight.abs().max() > 1e-3


def test_targets_are_mean_captions_names_and_weighted_names() -> None:
    texts = replace(some_texts(3, 4), captions=unit(5).float(), caption_photo=torch.tensor([0, 2, 1, 2, 0]))
    texts = replace(texts, names=texts.names.float(), teacher=texts.teacher.float())
    found = caption_targets(texts, 3).numpy()
    c = texts.captions.numpy()
    for row, expected in (
        (0, c[0] + c[4]),
        (1, c[2]),
        (2, c[1] + c[3]),
        (3, texts.names[0, 0]),
        (5, texts.names[0, 2]),
    ):
        expected = np.asarray(expected) / np.linalg.norm(expected)
        np.testing.assert_allclose(found[row], expected, atol=1e-6)
    posteriors = torch.rand(4, 7)
    weighted = posteriors.numpy() @ texts.teacher[0].numpy()
    weighted /= np.linalg.norm(weighted, axis=1, keepdims=True)
    np.testing.assert_allclose(teacher_targets(texts, posteriors), weighted, atol=1e-6)


def test_the_loss_of_patches_is_its_three_contrasts() -> None:
    """With batches of everything, one template and one caption a photo, nothing is left to chance but the order."""
    texts, material = some_texts(5, 4), some_material(5, 4, n_patches=8)
    recipe = PatchRecipe(
        captioned_per_batch=5, named_per_batch=4, said_words_per_batch=5, words_per_batch=4, patches_per_photo=8
    )
    weight = torch.randn(D, D, dtype=torch.float64)
    found = patch_loss(weight, material, texts, recipe, Draws(0))

    patches = [
        normalize((tokens[:, 1:] - material.pooled_mean[D:]) @ weight.T, dim=-1).numpy()
        for tokens in (material.captioned, material.named)
    ]
    phrases = torch.cat([texts.captions, texts.names[0]]).numpy()
    own = np.zeros((9, 8), bool)
    own[:5, :5] = np.eye(5)
    own[5:, 5:] = texts.photo_name.numpy()[:, None] == np.arange(3)
    both = best_patches(np.concatenate(patches), phrases, recipe.patch_temperature)
    expected = infonce(both, own, recipe.text_temperature)
    for vectors, has, words, strength in (
        (patches[0], texts.has_said, texts.said, recipe.said_weight),
        (patches[1], material.words_shown(texts, recipe.teacher_share), texts.words, recipe.word_weight),
    ):
        kept = has.any(0)
        scores = best_patches(vectors, words[0][kept].numpy(), recipe.patch_temperature)
        expected += strength * infonce(scores, has[:, kept].numpy(), recipe.text_temperature)
    assert math.isclose(found, expected, rel_tol=1e-6)


def test_a_named_photo_shows_its_names_nouns_and_what_the_teacher_is_sure_of() -> None:
    texts, material = some_texts(5, 4), some_material(5, 4, n_patches=2)
    found = material.words_shown(texts, 0.3)
    for i in range(4):
        for word in range(4):
            by_teacher = sum(float(material.teacher_named[i, c]) for c in range(7) if texts.teacher_word[c, word])
            by_name = bool(texts.class_word[texts.photo_name[i], word])
            assert bool(found[i, word]) == (by_name or by_teacher > 0.3)


def test_the_loss_of_image_vectors_is_its_six_terms() -> None:
    texts, material = some_texts(5, 4), some_material(5, 4, n_patches=2)
    recipe = PooledRecipe(captioned_per_batch=5, named_per_batch=4, views_per_batch=9)
    weight = torch.randn(D, 2 * D, dtype=torch.float64)
    found = pooled_loss(weight, material, texts, recipe, Draws(0))

    def scores(inputs: Tensor, phrases: Tensor) -> np.ndarray:
        return (normalize(inputs @ weight.T, dim=-1) @ phrases.T).numpy()

    posteriors = material.posteriors
    captioned, named, tau = material.whole_captioned[:, 0], material.whole_named[:, 0], recipe.temperature
    own = texts.photo_name.numpy()[:, None] == np.arange(3)
    words = (posteriors @ texts.teacher_word.double()).clamp(max=1).numpy()
    by_words, shown = scores(material.views, texts.words[0]), words.sum(0) > recipe.least_shown
    expected = (
        recipe.caption_weight * infonce(scores(captioned, texts.captions), np.eye(5, dtype=bool), tau)
        + recipe.said_weight * infonce(scores(captioned, texts.said[0]), texts.has_said.numpy(), tau)
        + recipe.name_weight * infonce(scores(named, texts.names[0]), own, tau)
        + recipe.teacher_weight * cross_entropy(scores(material.views, texts.teacher[0]), posteriors.numpy(), tau)
        + recipe.word_weight * cross_entropy(by_words, words, tau)
        + recipe.photo_weight * cross_entropy(by_words[:, shown].T, words[:, shown].T, tau)
    )
    assert math.isclose(found, expected, rel_tol=1e-6)


def test_draws_are_seeded_and_stay_within_bounds() -> None:
    def drawn() -> list[Tensor]:
        draws = Draws(3)
        owner = torch.tensor([0, 1, 1, 2, 2, 2])
        return [draws.several(10, 4), draws.patches(5, 9, 3), draws.one_where(owner, torch.tensor([2, 0, 1]))]

    first, second = drawn(), drawn()
    assert all(torch.equal(a, b) for a, b in zip(first, second))
    several, patches, owned = first
    assert len(set(several.tolist())) == 4
    assert all(len(set(row.tolist())) == 3 and max(row) < 9 for row in patches)
    assert torch.equal(torch.tensor([0, 1, 1, 2, 2, 2])[owned], torch.tensor([2, 0, 1]))


def test_descent_finds_the_least_and_averages_its_runs() -> None:
    target = torch.randn(3, 4)

    def loss(weight: Tensor, draws: Draws) -> Tensor:
        return (weight - target).square().sum()

    torch.testing.assert_close(descend(loss, torch.zeros(3, 4), 400, 0.05, 2, 0), target, atol=1e-2, rtol=0)

    def drawn(weight: Tensor, draws: Draws) -> Tensor:  # every run heads for the number that it draws first
        aim = draws.__dict__.setdefault("aim", draws.several(1000, 1))
        return (weight - aim).square().sum()

    runs = [Draws(seed).several(1000, 1).item() for seed in (2 * 5, 2 * 5 + 1)]
    found = descend(drawn, torch.zeros(1), 800, 10.0, 2, 5)
    assert math.isclose(found.item(), sum(runs) / 2, abs_tol=1)


def test_words_are_counted_per_photo_with_plurals_and_pairs() -> None:
    sentences = ["Two dogs on a tennis court.", "A dog!", "The tennis court", "Dogs"]
    words, has_word = said_words(sentences, photo=[0, 1, 2, 0], n_photos=4, least=2)
    table = {word: has_word[:, i].tolist() for i, word in enumerate(words)}
    assert table["dog"] == [True, True, False, False]
    assert table["tennis court"] == [True, False, True, False]
    assert "the" not in table


def test_a_class_has_the_nouns_above_it_in_their_commonest_sense() -> None:
    known = {"dog", "domestic dog", "animal", "car", "person"}
    assert class_words("n02084071", known) == {"dog", "domestic dog", "animal"}
    assert class_words("n10114209", known) == {"person"}  # a dull woman is not what dog mostly means


def test_held_out_photos_and_their_captions_are_not_read(tmp_path: Path) -> None:
    held_out = json.loads(HELD_OUT.read_text(encoding="utf-8"))
    coco, imagenet = tmp_path / "coco", tmp_path / "imagenet"
    listing = {
        "images": [{"id": 7, "file_name": held_out["coco"][5]}, {"id": 9, "file_name": "free.jpg"}],
        "annotations": [{"image_id": 7, "caption": "never seen"}, {"image_id": 9, "caption": "seen"}],
    }
    coco.mkdir()
    (coco / "captions.json").write_text(json.dumps(listing), encoding="utf-8")
    name = held_out["imagenet"][5]
    folder = imagenet / "images" / name.split("/")[0]
    folder.mkdir(parents=True)
    (imagenet / "classes.tsv").write_text(f"{folder.name}\tthing\n", encoding="utf-8")
    for file in (imagenet / "images" / name, folder / "free.JPEG"):
        file.write_bytes(b"")
    photos = read_photos(coco, imagenet)
    assert [file.name for file in [*photos.captioned, *photos.named]] == ["free.jpg", "free.JPEG"]
    assert (photos.captions, photos.caption_photo, photos.photo_name) == (["seen"], [0], [0])


def test_views_are_of_one_photo_sharp_and_small_and_depend_on_it_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A trunk that says how much neighbouring pixels differ, and a teacher that says how bright the photo is."""

    def trunk(photos: Tensor) -> Tensor:
        sharpness = photos.diff(dim=-1).abs().mean((1, 2, 3))
        return sharpness[:, None, None].expand(-1, 257, 384)

    monkeypatch.setattr(features, "load_trunk", lambda: trunk)
    monkeypatch.setattr(features, "Teacher", lambda: lambda photos: photos.mean((1, 2, 3))[:, None].expand(-1, 1000))
    files = [tmp_path / f"{name}.png" for name in ("a", "b", "c")]
    for file in files:
        Image.fromarray(np.random.default_rng(0).integers(0, 256, (256, 300, 3), np.uint8)).save(file)
    pooled, logits = features.views(files, 0, tmp_path / "kept.safetensors")
    assert pooled.shape == (3, 1 + features.CROPS, 2, 384)
    assert logits.shape == (3, 1 + features.CROPS, 1000)
    assert (pooled[:, 1] > 2 * pooled[:, 0]).all()  # noise is lost in a small photo
    alone, _ = features.views(files[1:2], 0, tmp_path / "alone.safetensors")
    torch.testing.assert_close(alone, pooled[1:2])
    monkeypatch.setattr(features, "load_trunk", None)  # what is kept is not computed again
    assert torch.equal(features.views(files, 0, tmp_path / "kept.safetensors")[0], pooled)


def test_bridges_are_scaled_and_the_mean_patch_goes_the_patches_way() -> None:
    material = some_material(1, 1, n_patches=300)
    weight = torch.randn(D, D, dtype=torch.float64)
    made = tensors_of(weight, of_mean_patch(weight), material, torch.zeros(D))
    tokens = torch.cat([material.captioned, material.named])[:, 1:]
    patches = (tokens.float() - made["patch_mean"]) @ made["weight"].T
    assert math.isclose(patches.square().sum(-1).mean(), 1, rel_tol=1e-4)
    pooled = material.sharp @ made["pooled_weight"].T
    assert math.isclose(pooled.square().sum(-1).mean(), 1, rel_tol=1e-4)
    directions = normalize(material.sharp[:, D:] @ weight.T, dim=1)
    torch.testing.assert_close(normalize(pooled, dim=1), directions)


def test_class_token_and_mean_patch_stand_side_by_side() -> None:
    tokens = torch.randn(3, 5, 4).half()
    found = class_and_mean(tokens)
    torch.testing.assert_close(found[:, :4], tokens[:, 0].float())
    torch.testing.assert_close(found[:, 4:], tokens[:, 1:].float().mean(1))

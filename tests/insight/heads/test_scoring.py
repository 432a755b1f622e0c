"""Scorers of concept heads: the heads' own logits, and gradients that equal differences."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from insight import ConceptModel
from insight.attribution import scorer_of
from insight.backbones import DenseFeatures
from insight.heads import ConceptClassifier
from sae import SaeConfig, SparseAutoencoder
from sae.errors import InsightError

from ..random_models import CONCEPTS, DIM
from .made import NAMES, random_model, random_photos

LABELS = [NAMES[i % 3] for i in range(18)]
KINDS: dict[str, dict[str, Any]] = {
    "relu": {"selection": "relu"},
    "topk-unit": {"selection": "topk", "inputs": "unit_norm"},
    "batch_topk-layer": {"selection": "batch_topk", "inputs": "layer_norm"},
    "jumprelu": {"selection": "jumprelu"},
}
POOLINGS = ["max", "mean", "top", "max+mean"]


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng()


def model_of(rng: np.random.Generator, kind: str) -> ConceptModel:
    model = random_model(rng)
    sae = SparseAutoencoder(SaeConfig(dim=DIM, n_concepts=CONCEPTS, k=4, fractions=(1.0,), **KINDS[kind]))
    with torch.no_grad():
        for own, plain in zip(sae.parameters(), model.sae.parameters(), strict=True):
            own.copy_(plain)
        sae.encoder_bias.copy_(torch.from_numpy(rng.normal(0, 0.1, CONCEPTS)))
        sae.threshold.fill_(0.05)
    model.sae = sae.eval()
    return model


def seen(model: ConceptModel, photos: list) -> Tensor:
    return torch.stack([model.backbone.transform(photo) for photo in photos])


@pytest.mark.parametrize("kind", KINDS)
def test_a_model_scores_texts_by_the_logits_of_zero_shot(kind: str, rng: np.random.Generator) -> None:
    model, photos = model_of(rng, kind), random_photos(rng, 5)
    found = scorer_of(model, NAMES)(seen(model, photos))
    wanted = ConceptClassifier.zero_shot(model, NAMES).decision_function(photos)
    np.testing.assert_allclose(found.numpy(), wanted, rtol=1e-4, atol=1e-3)


def test_of_two_texts_each_has_its_own_score_and_their_difference_is_the_log_odds(rng: np.random.Generator) -> None:
    model, photos = random_model(rng), random_photos(rng, 5)
    all_three = scorer_of(model, NAMES)(seen(model, photos))
    two = scorer_of(model, NAMES[1:])(seen(model, photos))
    torch.testing.assert_close(two, all_three[:, 1:])
    odds = ConceptClassifier.zero_shot(model, NAMES[1:]).decision_function(photos)
    np.testing.assert_allclose((two[:, 1] - two[:, 0]).numpy(), odds, rtol=1e-4, atol=2e-3)


def test_texts_may_be_alike_and_templates_of_one_s_own(rng: np.random.Generator) -> None:
    model, photos = random_model(rng), random_photos(rng, 2)
    scorer = model.scorer(["cat", "cats", "cat"], templates=("{}",))
    scores = scorer(seen(model, photos))
    assert torch.equal(scores[:, 0], scores[:, 2])
    assert scorer.vectors is not None
    torch.testing.assert_close(scorer.vectors, model.backbone.encode_text(["cat", "cats", "cat"]))


@pytest.mark.parametrize("pooling", POOLINGS)
@pytest.mark.parametrize("kind", ["relu", "topk-unit"])
def test_a_trained_head_scores_its_classes_by_its_logits(pooling, kind: str, rng: np.random.Generator) -> None:
    model, photos = model_of(rng, kind), random_photos(rng, 18)
    head = ConceptClassifier(model, pooling=pooling, alpha=0.003).fit(photos, LABELS)
    asked = [NAMES[2], NAMES[0]]
    scores = scorer_of(head, asked)(seen(model, photos)).numpy()
    wanted = head.decision_function(photos)[:, [head.classes_.tolist().index(name) for name in asked]]
    assert np.ptp(wanted) > 0.1
    np.testing.assert_allclose(scores, wanted, rtol=1e-4, atol=1e-4)
    assert scorer_of(head, asked).vectors is None


@pytest.mark.parametrize("prior", [None, "text"])
def test_of_two_classes_each_has_its_log_odds(prior, rng: np.random.Generator) -> None:
    model, photos = random_model(rng), random_photos(rng, 18)
    labels = [NAMES[i % 2] for i in range(18)]
    head = ConceptClassifier(model, alpha=0.003, prior=prior).fit(photos, labels)
    scores = scorer_of(head, NAMES[:2])(seen(model, photos)).numpy()
    odds = head.decision_function(photos)
    order = [head.classes_.tolist().index(name) for name in NAMES[:2]]
    np.testing.assert_allclose(scores, np.stack([-odds, odds], axis=1)[:, order], rtol=1e-4, atol=2e-3)


def test_concepts_that_were_silenced_are_silent_in_the_scores(rng: np.random.Generator) -> None:
    model, photos = random_model(rng), random_photos(rng, 12)
    head = ConceptClassifier.zero_shot(model, NAMES).debias(range(0, CONCEPTS, 2))
    scores = scorer_of(head, NAMES)(seen(model, photos)).numpy()
    np.testing.assert_allclose(scores, head.decision_function(photos), rtol=1e-4, atol=2e-3)
    plain = ConceptClassifier.zero_shot(model, NAMES).decision_function(photos)
    assert float(np.abs(scores - plain).max()) > 0.1


def heads_of(model: ConceptModel, photos: list) -> dict[str, Any]:
    fitted = {
        pooling: ConceptClassifier(model, pooling=pooling, alpha=0.003).fit(photos, LABELS) for pooling in POOLINGS
    }
    return {"text": model, "prior": ConceptClassifier(model, alpha=0.003, prior="text").fit(photos, LABELS), **fitted}


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_equal_differences(kind: str, rng: np.random.Generator) -> None:
    model, photos = model_of(rng, kind), random_photos(rng, 18)
    heads = heads_of(model, photos)
    model.sae.double()
    patches = torch.from_numpy(rng.random((2, 16, DIM))).requires_grad_()
    direction = torch.from_numpy(rng.standard_normal((2, 16, DIM)))
    moved = 0  # a sparse head may weigh, of a class, only concepts that these photos lack
    for name, head in heads.items():
        score = scorer_of(head, NAMES).score

        def scores(patches: Tensor, score=score) -> Tensor:
            return score(DenseFeatures(patches, patches.mean(1), (4, 4)))

        for text in range(3):
            (gradient,) = torch.autograd.grad(scores(patches)[:, text].sum(), patches)
            step = 1e-7 * direction
            with torch.no_grad():
                wanted = (scores(patches + step) - scores(patches - step))[:, text] / 2e-7
            found = (gradient * direction).sum((1, 2))
            torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-4, msg=lambda said, name=name: name + said)
            moved += bool(gradient.any())
    assert moved > 2 * len(heads)


def test_a_head_scores_no_other_classes_and_none_without_a_model(rng: np.random.Generator) -> None:
    model, photos = random_model(rng), random_photos(rng, 18)
    head = ConceptClassifier(model, alpha=0.01).fit(photos, LABELS)
    with pytest.raises(InsightError, match="found 'horse'"):
        head.scorer(["cat", "horse"])
    with pytest.raises(InsightError, match="needs the model"):
        ConceptClassifier(alpha=0.01).fit(rng.random((18, 6)), LABELS).scorer(["cat"])

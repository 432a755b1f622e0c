"""Maps by concepts are the segmenter's logits of a word, and sums over the concepts of each patch."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from insight.attribution import Scorer, scorer_of
from insight.attribution.concepts import ConceptMaps
from insight.heads import ConceptSegmenter
from sae.errors import InsightError

from ..heads.made import NAMES, HashedPixels, dense_codes, random_model, random_photos, text_vectors
from ..random_models import Pixels


def photos_of(rng: np.random.Generator, count: int) -> tuple[list, torch.Tensor]:
    photos = random_photos(rng, count)
    return photos, torch.stack([HashedPixels().transform(photo) for photo in photos])


def test_a_map_is_the_segmenter_s_logit_times_its_temperature() -> None:
    rng = np.random.default_rng()
    model, (_, images) = random_model(rng), photos_of(rng, 3)
    maps = ConceptMaps(model).maps(model.scorer(NAMES), images)
    codes, _ = model.encode(images)
    logits = ConceptSegmenter(model, NAMES, temperature=0.05).token_logits(codes)
    wanted = 0.05 * logits.view(3, 4, 4, 3).permute(0, 3, 1, 2)
    torch.testing.assert_close(maps, wanted, rtol=1e-4, atol=1e-5)


def test_a_map_is_the_sum_over_the_concepts_of_a_patch() -> None:
    rng = np.random.default_rng()
    model, (photos, images) = random_model(rng), photos_of(rng, 1)
    maps = ConceptMaps(model).maps(model.scorer(NAMES), images)
    codes, texts = dense_codes(model, photos[0]), text_vectors(NAMES)
    directions, bias = (part.detach().double().numpy() for part in (model.sae.decoder, model.sae.decoder_bias))
    for text in range(len(NAMES)):
        for patch in range(16):
            length = np.linalg.norm(codes[patch] @ directions + bias)
            total = bias @ texts[text] / length
            for concept in np.flatnonzero(codes[patch]):
                total += codes[patch, concept] * (directions[concept] @ texts[text]) / length
            assert float(maps[0, text].flatten()[patch]) == pytest.approx(total, abs=1e-5)


def test_a_plain_backbone_that_equals_the_model_s_is_taken_with_its_own_texts() -> None:
    rng = np.random.default_rng()
    model, (_, images) = random_model(rng), photos_of(rng, 2)
    texts = [f"a photo of {name}" for name in NAMES]
    wanted = ConceptMaps(model).maps(model.scorer(NAMES), images)
    torch.testing.assert_close(ConceptMaps(model).maps(scorer_of(HashedPixels(), texts), images), wanted)
    enlarged = F.interpolate(wanted, (16, 16), mode="bilinear")
    torch.testing.assert_close(ConceptMaps(model)(model, images, NAMES), enlarged)


def test_another_backbone_and_scores_without_text_are_refused() -> None:
    rng = np.random.default_rng()
    model, (_, images) = random_model(rng), photos_of(rng, 1)
    with pytest.raises(InsightError, match="was trained on backbone"):
        ConceptMaps(model).maps(scorer_of(Pixels(), NAMES), images)
    scorer = Scorer(model.backbone, ("a",), lambda features: features.pooled[:, :1])
    with pytest.raises(InsightError, match="this scorer has none"):
        ConceptMaps(model).maps(scorer, images)

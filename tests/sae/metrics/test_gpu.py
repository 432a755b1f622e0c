"""Measures of arrays on a GPU are those of the same arrays on the CPU."""

import pytest
import torch

from sae.metrics import (
    AbsorptionMeter,
    DensityMeter,
    LinearProbe,
    MonosemanticityMeter,
    cknna,
    coherence,
    linear_probe,
    match,
    match_above,
    sparse_probe,
    stability,
)

from .arrays import random_codes

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")]


def measures(codes, features, dictionary, positive):
    density, meaning = DensityMeter(codes.n_concepts), MonosemanticityMeter(codes.n_concepts, features.shape[1])
    probe = LinearProbe(torch.nn.functional.normalize(dictionary[0].double(), dim=0), -1.0)
    absorption = AbsorptionMeter(dictionary, probe, torch.tensor([0, 2]))
    for part in (slice(0, 90), slice(90, 200)):
        density.update(codes[part])
        meaning.update(codes[part], features[part])
        absorption.update(codes[part], features[part])
    density.merge(density)
    found = coherence(dictionary)
    half = len(dictionary) // 2
    left, right = dictionary[:half], dictionary[half:]
    absorbed = absorption.result()
    yield density.result().frequency
    yield density.result().histogram
    yield meaning.result().score
    yield torch.tensor([absorbed.tokens, absorbed.fraction, absorbed.full])
    yield found.cosine
    yield match(left, right).cosine.sum()
    yield match_above(left, right, 0.2).cosine.nansum()
    yield torch.tensor([stability([left, right]).mean, cknna(codes, features)])
    yield linear_probe(features, positive).direction
    yield sparse_probe(codes, positive, codes, positive, k=3).concepts


def test_the_gpu_gives_what_the_cpu_gives(generator):
    codes = random_codes(200, 40, 0.2, generator)
    dictionary = torch.randn(40, 8, generator=generator)
    features = codes.dense() @ dictionary + torch.randn(200, 8, generator=generator)
    positive = features[:, 0] > 0
    here = measures(codes, features, dictionary, positive)
    there = measures(codes.to("cuda"), features.cuda(), dictionary.cuda(), positive.cuda())
    for expected, measured in zip(here, there, strict=True):
        torch.testing.assert_close(measured.cpu(), expected, rtol=1e-5, atol=1e-6, equal_nan=True)

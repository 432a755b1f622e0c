"""Signals of right names, against plain loops; names found again from other photos."""

import numpy as np
import pytest
import torch

from naming import SIGNALS, Names, Vocabulary, name_concepts, name_signals, name_stability
from naming.names import signals as module
from sae import InsightError

PRIOR = 0.03


def unit(*shape: int, generator: torch.Generator) -> torch.Tensor:
    return torch.nn.functional.normalize(torch.randn(*shape, generator=generator), dim=-1)


@pytest.fixture
def world(seed: int) -> tuple[torch.Tensor, torch.Tensor, Vocabulary, Names]:
    generator = torch.Generator().manual_seed(seed)
    words = Vocabulary(
        tuple(f"word{i}" for i in range(60)), unit(60, 8, generator=generator), torch.rand(60, generator=generator) * 5
    )
    embeddings = unit(12, 8, generator=generator)
    embeddings[4] = 0
    return embeddings, unit(12, 8, generator=generator), words, name_concepts(embeddings, words, prior=PRIOR)


def test_signals_are_what_a_loop_over_phrases_finds(world):
    embeddings, decoded, words, names = world
    found = name_signals(embeddings, names, words, decoded, prior=PRIOR)
    vectors = words.vectors.double().numpy()
    for i, vector in enumerate(embeddings.double().numpy()):
        if i == 4:
            assert np.isnan(found[i]).all()
            continue
        scores = [float(vector @ v) + PRIOR * float(z) for v, z in zip(vectors, words.zipf)]
        order = sorted(range(60), key=lambda j: -scores[j])
        assert words.phrases[order[0]] == names.phrases[i][0]
        others = [float(vectors[j] @ vectors[order[0]]) for j in order[1 : module.REACH]]
        expected = [np.mean(others), float(vector @ decoded[i].double().numpy())]
        assert np.allclose(found[i], expected, atol=1e-5)
    assert found.shape == (12, len(SIGNALS))


def test_one_phrase_alone_has_no_consensus(seed):
    generator = torch.Generator().manual_seed(seed)
    words = Vocabulary(("thing",), unit(1, 8, generator=generator), torch.zeros(1))
    embeddings = unit(3, 8, generator=generator)
    found = name_signals(embeddings, name_concepts(embeddings, words), words, embeddings)
    assert np.allclose(found, [0.0, 1.0], atol=1e-5)


def test_no_concept_that_fires_gives_no_signals(world):
    _, _, words, _ = world
    silent = torch.zeros(3, 8)
    assert np.isnan(name_signals(silent, name_concepts(silent, words), words, silent)).all()


def test_stability_is_the_share_of_resamples_that_find_the_name_again(world):
    embeddings, _, words, names = world
    other = embeddings.roll(1, 0)  # of other concepts, so of other names
    nothing = torch.zeros_like(embeddings)
    again = name_stability(torch.stack([embeddings, other, embeddings, nothing]), names, words, prior=PRIOR)
    different = [names.phrases[i - 1][:1] != names.phrases[i][:1] for i in range(len(names))]
    for i in range(len(names)):
        if i == 4:
            assert np.isnan(again[i])
        elif i == 5:  # after the silent one, `other` is silent
            assert again[i] == 1
        else:
            assert again[i] == pytest.approx(2 / 3 if different[i] else 1)


def test_forms_of_a_word_are_the_same_name(seed):
    generator = torch.Generator().manual_seed(seed)
    words = Vocabulary(("palm tree", "palm trees"), unit(2, 8, generator=generator), torch.zeros(2))
    names = name_concepts(words.vectors[:1], words)
    assert name_stability(words.vectors[1:][None], names, words).tolist() == [1.0]


def test_other_sizes_are_refused(world):
    embeddings, decoded, words, names = world
    with pytest.raises(InsightError, match="expected as many as the 12 names, found 11"):
        name_signals(embeddings[:11], names, words, decoded)
    with pytest.raises(InsightError, match=r"expected resamples \[folds, 12, d\], found \[12, 8\]"):
        name_stability(embeddings, names, words)

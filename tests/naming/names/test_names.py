"""Concept embeddings against the published formulas in dense float64, and names against a full ranking."""

import numpy as np
import pytest
import torch

from naming import ConceptGraph, Names, Vocabulary, concept_embeddings, name_concepts, published_graph, word_key
from sae import InsightError

from ..relations.test_graph import related
from ..stand_in import nested_dense


@pytest.fixture
def graph(generator) -> ConceptGraph:
    dense = nested_dense(generator, 400, 24)
    dense[:, 20] = 0
    return published_graph(*related(dense))


@pytest.fixture
def dictionary(generator) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.randn(24, 10, generator=generator), torch.randn(10, generator=generator)


def published(decoder: torch.Tensor, bias: torch.Tensor, graph: ConceptGraph, parents: bool) -> np.ndarray:
    """The published naming, one concept at a time."""
    mean = graph.mean_codes.toarray().astype(np.float64)
    share = graph.edges().toarray().astype(np.float64) if parents else np.zeros((24, 24))
    norms = [np.sqrt((row**2).sum()) for row in mean if row.any()]
    embeddings = np.zeros((24, 10))
    for concept in range(24):
        if not mean[concept].any():
            continue
        weights = share[concept].copy()
        weights[concept] = 1.0
        code = weights * mean[concept]
        code = code / np.sqrt((code**2).sum()) * np.mean(norms) * 1.33
        vector = code @ decoder.double().numpy() + bias.double().numpy()
        embeddings[concept] = vector / np.sqrt((vector**2).sum())
    return embeddings


@pytest.mark.parametrize(("mode", "parents"), [("parents", True), ("bias", False)])
def test_embeddings_are_the_published_formula(dictionary, graph, mode, parents):
    found = concept_embeddings(*dictionary, graph, mode).numpy()
    np.testing.assert_allclose(found, published(*dictionary, graph, parents), atol=2e-6)


def test_parents_change_the_embedding_of_their_children_alone(dictionary, graph):
    alone, family = (concept_embeddings(*dictionary, graph, mode) for mode in ("bias", "parents"))
    has_parent = torch.tensor([len(graph.parents(concept)) > 0 for concept in range(24)])
    assert bool(has_parent.any())
    assert torch.equal((alone - family).abs().sum(1) > 1e-4, has_parent)


def test_vanilla_is_the_decoder_row(dictionary, graph):
    found = concept_embeddings(*dictionary, graph, "vanilla").double()
    rows = dictionary[0].double() / dictionary[0].double().norm(dim=1, keepdim=True)
    rows[20] = 0
    torch.testing.assert_close(found, rows, atol=1e-6, rtol=0)


@pytest.mark.parametrize("mode", ["vanilla", "bias", "parents"])
def test_living_concepts_have_unit_vectors_and_dead_ones_none(dictionary, graph, mode):
    norms = concept_embeddings(*dictionary, graph, mode).norm(dim=1)
    assert float(norms[20]) == 0
    torch.testing.assert_close(norms[:20], torch.ones(20))


def test_a_dictionary_that_never_fired_has_no_embeddings(dictionary):
    silent = published_graph(*related(torch.zeros(5, 24)))
    assert not concept_embeddings(*dictionary, silent).any()


def test_another_dictionary_and_another_mode_are_refused(dictionary, graph):
    decoder, bias = dictionary
    with pytest.raises(InsightError, match="24"):
        concept_embeddings(decoder[:5], bias, graph)
    with pytest.raises(InsightError, match="vanilla, bias, parents"):
        concept_embeddings(decoder, bias, graph, "best")


def vocabulary(generator: torch.Generator, phrases: list[str], zipf: list[float] | None = None) -> Vocabulary:
    vectors = torch.nn.functional.normalize(torch.randn(len(phrases), 6, generator=generator), dim=1)
    return Vocabulary(tuple(phrases), vectors, torch.tensor(zipf or [0.0] * len(phrases)))


def directions(generator: torch.Generator, count: int) -> torch.Tensor:
    return torch.nn.functional.normalize(torch.randn(count, 6, generator=generator), dim=1)


def test_names_are_the_phrases_of_largest_cosine(generator):
    words = vocabulary(generator, [f"w{i}x" for i in range(50)])
    embeddings = directions(generator, 30)
    names = name_concepts(embeddings, words, top=5)
    cosines = embeddings.double() @ words.vectors.double().T
    for concept in range(30):
        own = [float(cosines[concept, words.phrases.index(phrase)]) for phrase in names.phrases[concept]]
        np.testing.assert_allclose(own, cosines[concept].topk(5).values, atol=1e-6)
        np.testing.assert_allclose(names.scores[concept], own, atol=1e-6)


def test_forms_of_one_word_are_said_once(generator):
    stems = ["dog", "palm tree", "church", "berry", "wrist watch", "colour", "leaf", "box"]
    forms = ["dogs", "palm-trees", "churches", "berries", "wristwatch", "color", "leaves", "boxes"]
    words = vocabulary(generator, stems + forms)
    names = name_concepts(directions(generator, 40), words, top=6)
    for phrases in names.phrases:
        assert len({word_key(phrase) for phrase in phrases}) == len(phrases) == 6


def test_of_two_forms_the_nearer_is_kept(generator):
    words = vocabulary(generator, ["dog", "dogs", "cat"])
    names = name_concepts(words.vectors[1:2], words, top=2)
    assert set(names.phrases[0]) == {"dogs", "cat"}


def test_a_prior_prefers_common_words_and_scores_stay_cosines(generator):
    words = vocabulary(generator, [f"w{i}x" for i in range(40)], torch.rand(40, generator=generator).mul(6).tolist())
    embeddings = directions(generator, 10)
    names = name_concepts(embeddings, words, top=4, prior=0.05)
    cosines = embeddings.double() @ words.vectors.double().T
    ranked_by = cosines + 0.05 * words.zipf.double()
    for concept in range(10):
        chosen = [words.phrases.index(phrase) for phrase in names.phrases[concept]]
        np.testing.assert_allclose(ranked_by[concept, chosen], ranked_by[concept].topk(4).values, atol=1e-6)
        np.testing.assert_allclose(names.scores[concept], cosines[concept, chosen], atol=1e-5)


def test_dead_concepts_have_no_name(generator):
    embeddings = directions(generator, 3)
    embeddings[1] = 0
    names = name_concepts(embeddings, vocabulary(generator, ["cat", "dog"]))
    assert [len(phrases) for phrases in names.phrases] == [2, 0, 2]
    assert names.scores[1] == ()


def test_a_small_vocabulary_gives_as_many_names_as_it_has(generator):
    names = name_concepts(directions(generator, 2), vocabulary(generator, ["cat"]), top=6)
    assert names.phrases == (("cat",), ("cat",))
    assert name_concepts(torch.zeros(0, 6), vocabulary(generator, ["cat"])) == Names((), ())


def test_a_vocabulary_of_another_space_is_refused(generator):
    with pytest.raises(InsightError, match=r"\[q, 6\]"):
        name_concepts(torch.ones(2, 9), vocabulary(generator, ["cat"]))

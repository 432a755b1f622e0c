"""Composed names: found where they are in the vector, not found where they are not, and never at the cost of a gain."""

import pytest
import torch

from naming import Names, WordList, compose
from sae import InsightError

NOUNS = "car dog house bridge river flag chair lamp glove apple spoon tower".split()
ATTRIBUTES = "red wooden striped round rusty wet furry tall broken shiny yellow narrow sunlit".split()
WORDS = WordList(tuple(ATTRIBUTES), (0.0,) * len(ATTRIBUTES))


class Space:
    """A text space in which a phrase is the sum of its words, each a random direction. Keeps what it was asked."""

    def __init__(self, generator: torch.Generator, dim: int) -> None:
        words = [*NOUNS, *ATTRIBUTES, "of", "a", "wheel"]
        self.word = dict(
            zip(words, torch.linalg.qr(torch.randn(dim, len(words), generator=generator)).Q.T, strict=True)
        )
        self.asked: list[list[str]] = []

    def __call__(self, phrases: list[str]) -> torch.Tensor:
        self.asked.append(phrases)
        return torch.stack([self.vector(phrase) for phrase in phrases])

    def vector(self, phrase: str) -> torch.Tensor:
        weights = {"of": 0.1, "a": 0.1}
        return torch.nn.functional.normalize(sum(weights.get(w, 1.0) * self.word[w] for w in phrase.split()), dim=0)

    def names(self, embeddings: torch.Tensor, nouns: list[str]) -> Names:
        scores = [(float(e @ self.vector(noun)),) for e, noun in zip(embeddings, nouns, strict=True)]
        return Names(tuple((noun,) for noun in nouns), tuple(scores))


@pytest.fixture
def space(generator):
    return Space(generator, 100)


def noisy(phrases: list[str], space: Space, generator: torch.Generator, noise: float = 0.5) -> torch.Tensor:
    clean = torch.stack([space.vector(phrase) for phrase in phrases])
    return torch.nn.functional.normalize(clean + noise * torch.randn(clean.shape, generator=generator) / 10, dim=1)


def test_an_attribute_in_the_vector_is_found_and_none_is_found_where_there_is_none(space, generator):
    nouns = [NOUNS[i % len(NOUNS)] for i in range(120)]
    attributes = [ATTRIBUTES[i % len(ATTRIBUTES)] if i % 2 else "" for i in range(120)]
    truth = [f"{attribute} {noun}".strip() for attribute, noun in zip(attributes, nouns, strict=True)]
    embeddings = noisy(truth, space, generator)
    composed = compose(embeddings, space.names(embeddings, nouns), WORDS, space)
    assert len(composed) == 120
    for phrase, expected in zip(composed.accepted(), truth, strict=True):
        assert phrase == (expected if " " in expected else None)


def test_scores_and_gains_are_cosines_of_the_phrase_and_over_the_bare_name(space, generator):
    nouns = [NOUNS[i % len(NOUNS)] for i in range(50)]
    embeddings = noisy([f"rusty {noun}" for noun in nouns], space, generator)
    names = space.names(embeddings, nouns)
    composed = compose(embeddings, names, WORDS, space)
    for i, phrase in enumerate(composed.phrases):
        score = float(embeddings[i].double() @ space.vector(phrase).double())
        assert composed.scores[i] == pytest.approx(score, abs=1e-5)
        assert composed.gain[i] == pytest.approx(score - names.scores[i][0], abs=1e-5)
    by_gain = [q for _, q in sorted(zip(composed.gain, composed.q_values, strict=True))]
    assert by_gain == sorted(composed.q_values, reverse=True)


def test_a_gain_that_any_vector_has_is_not_accepted(generator):
    space = Space(generator, 30)  # 28 words: whatever is left of a vector leans to some attribute
    nouns = [NOUNS[i % len(NOUNS)] for i in range(400)]
    embeddings = noisy(nouns, space, generator, noise=3.0)
    composed = compose(embeddings, space.names(embeddings, nouns), WORDS, space)
    assert sum(gain > 0 for gain in composed.gain) > 200
    assert sum(phrase is not None for phrase in composed.accepted()) < 50


def test_what_loses_by_an_attribute_has_no_gain_and_is_not_accepted(space, generator):
    nouns = [NOUNS[i % len(NOUNS)] for i in range(60)]
    embeddings = noisy(nouns, space, generator, noise=0.01)
    composed = compose(embeddings, space.names(embeddings, nouns), WORDS, space)
    assert max(composed.gain) < 0
    assert set(composed.q_values) == {1.0}
    assert composed.accepted(0.99) == (None,) * 60


def test_a_part_is_named_by_its_whole_where_the_vector_says_so(space, generator):
    truth = ["wheel of a car"] * 20 + ["wheel"] * 80
    embeddings = noisy(truth, space, generator, noise=0.2)
    composed = compose(embeddings, space.names(embeddings, ["wheel"] * 100), WORDS, space, wholes=[("car",)] * 100)
    assert composed.accepted(0.3) == ("wheel of a car",) * 20 + (None,) * 80


def test_only_phrases_that_are_needed_are_embedded_each_once(space, generator):
    many = WordList(tuple(f"adjective{i}" for i in range(500)), (0.0,) * 500)
    space.word |= {word: torch.randn(100, generator=generator) / 10 for word in many.phrases}
    nouns = ["car", "dog", "car"]
    embeddings = noisy(nouns, space, generator)
    compose(embeddings, space.names(embeddings, nouns), many, space, wholes=[("river",)] * 3)
    first, second = space.asked
    assert sorted(first) == sorted({*many.phrases, "car", "dog"})
    assert len(second) == len(set(second)) <= 3 * (1 + 4) * 5 + 2
    assert {"car of a river", "dog of a river"} <= set(second)


def test_the_same_call_gives_the_same_phrases(space, generator):
    nouns = [NOUNS[i % len(NOUNS)] for i in range(60)]
    embeddings = noisy(nouns, space, generator, noise=2.0)
    names = space.names(embeddings, nouns)
    assert compose(embeddings, names, WORDS, space) == compose(embeddings, names, WORDS, space)


def test_names_are_not_composed_twice_nor_against_sense(space, generator):
    words = WordList(("red", "shiny", "standing", "male", "parked", "chairlike"), (0.0,) * 6)
    space.word |= dict.fromkeys(("standing", "male", "parked", "chairlike"), space.word["wet"])
    chairs = noisy(["wet chair"] * 40, space, generator)
    names = Names((("red chair", "shiny", "chair"),) * 40, ((0.5, 0.4, 0.3),) * 40)
    compose(chairs, names, words, space)
    assert set(space.asked[1]) == {"red chair", "shiny chair"}
    space.asked.clear()
    dogs = noisy(["wet dog"] * 40, space, generator)
    compose(dogs, space.names(dogs, ["dog"] * 40), words, space)
    assert set(space.asked[1]) == {"red dog", "shiny dog", "standing dog", "male dog", "chairlike dog"}


def test_concepts_without_a_vector_or_a_noun_get_no_phrase(space):
    names = Names((("car",), (), ("red",)), ((0.3,), (), (0.4,)))
    embeddings = torch.stack([torch.zeros(100), space.word["dog"], space.word["red"]])
    composed = compose(embeddings, names, WORDS, space)
    assert composed.phrases == (None, None, None)
    assert composed.q_values == (1.0, 1.0, 1.0)
    assert space.asked == []
    assert len(compose(embeddings[:0], Names((), ()), WORDS, space)) == 0
    one = compose(embeddings[2:], Names((("car",),), ((0.0,),)), WORDS, space)
    assert one.accepted() == (None,)


def test_a_wrong_number_of_names_or_vectors_is_refused(space):
    names = Names((("car",), ("dog",)), ((0.3,), (0.2,)))
    with pytest.raises(InsightError, match="for 3 concepts, found 2"):
        compose(torch.ones(3, 100), names, WORDS, space)
    with pytest.raises(InsightError, match="found 2 and 1"):
        compose(torch.ones(2, 100), names, WORDS, space, wholes=[()])
    with pytest.raises(InsightError, match="finite text vectors"):
        compose(torch.ones(2, 100), names, WORDS, lambda phrases: torch.full((len(phrases), 100), torch.nan))

"""WordNet's nouns: senses of phrases, nearness by Wu and Palmer, kinds and parts."""

import random
import secrets

import numpy as np
import pytest

from naming import WordNet, word_key
from sae import InsightError
from scripts import build_wordnet


@pytest.fixture(scope="module")
def wordnet() -> WordNet:
    return WordNet.load()


@pytest.fixture
def some_senses(wordnet) -> list[int]:
    seed = secrets.randbits(31)
    print(f"seed {seed}")
    return random.Random(seed).choices(range(len(wordnet)), k=60)


def test_all_nouns_of_wordnet_3_are_there(wordnet):
    assert len(wordnet) == 82_115
    assert wordnet.synset(0).lemmas == ("entity",)
    assert wordnet.synset(0).hypernyms == ()
    assert wordnet is WordNet.load()


@pytest.mark.parametrize(
    ("number", "lemma"), [("n02084071", "dog"), ("n02123045", "tabby"), ("n02958343", "car"), ("n13104059", "tree")]
)
def test_numbers_are_those_of_imagenet(wordnet, number, lemma):
    sense = wordnet.numbered(number)
    assert lemma in wordnet.synset(sense).lemmas
    assert wordnet.synset(sense).number == number


@pytest.mark.parametrize("number", ["n00000000", "n99999999", "dog", "", "n0208407x"])
def test_a_number_that_no_noun_has_is_refused(wordnet, number):
    with pytest.raises(InsightError, match="number of a noun"):
        wordnet.numbered(number)


def test_every_lemma_of_a_sense_has_that_sense(wordnet, some_senses):
    for sense in some_senses:
        synset = wordnet.synset(sense)
        assert synset.lemmas
        assert all(sense in wordnet.senses(lemma) for lemma in synset.lemmas)
        assert wordnet.numbered(synset.number) == sense


def first(wordnet: WordNet, phrase: str) -> tuple[str, ...]:
    return wordnet.synset(wordnet.senses(phrase)[0]).lemmas


@pytest.mark.parametrize(
    ("phrase", "means"),
    [
        ("Dogs", "domestic dog"),
        ("palm-trees", "palm tree"),
        ("grey wolves", "gray wolf"),
        ("T-shirt", "tee shirt"),
        ("geese", "goose"),
        ("cacti", "cactus"),
        ("buses", "autobus"),
        ("movies", "film"),
        ("glasses", "eyeglasses"),
        ("traffic_light", "traffic signal"),
        ("  fire   engine ", "fire truck"),
        ("lily of the valley", "convallaria majalis"),
        ("wheel of a car", "wheel"),
        ("red car", "auto"),
        ("a big red fire engine in the snow", "fire engine"),
    ],
)
def test_a_phrase_means_what_its_word_or_its_head_does(wordnet, phrase, means):
    assert means in first(wordnet, phrase)


@pytest.mark.parametrize("phrase", ["", " ", "of", "qqzx", "🦜", "שלום", "a" * 10_000, "of the", "qqzx of a dog"])
def test_a_phrase_without_a_known_noun_has_no_sense_and_is_near_to_nothing(wordnet, phrase):
    assert wordnet.senses(phrase) == wordnet.meanings(phrase) == ()
    assert wordnet.similarity(phrase, "dog") == 0
    assert not wordnet.same(phrase, "dog")
    assert not wordnet.is_kind_of(phrase, "dog")
    assert not wordnet.is_part_of(phrase, "dog")
    assert not wordnet.is_part_of("tail", phrase)


def test_forms_of_one_word_are_the_same_even_if_wordnet_knows_none(wordnet):
    assert wordnet.same("smartphones", "smartphone")
    assert wordnet.similarity("smartphones", "Smartphone") == 1
    assert wordnet.is_kind_of("smartphone", "smart-phones")


def test_rare_senses_are_no_meanings(wordnet):
    dog = wordnet.numbered("n02084071")
    assert wordnet.meanings("dog") == (dog,)
    assert wordnet.senses("dog")[0] == dog
    assert len(wordnet.senses("dog")) == 7
    assert len(wordnet.meanings("leg")) == 3


def test_a_word_is_not_taken_for_its_plural_though_a_plural_is_for_its_word(wordnet):
    person, people = wordnet.senses("person"), wordnet.senses("people")
    assert all("person" in wordnet.synset(sense).lemmas for sense in person)
    assert set(person) < set(people)
    assert people[0] not in person


def test_a_phrase_of_ten_thousand_words_means_what_its_end_does(wordnet):
    assert "fire engine" in first(wordnet, "very " * 10_000 + "red fire engines")


def test_senses_of_the_very_spelling_come_first(wordnet):
    assert wordnet.senses("glass") != wordnet.senses("glasses")
    assert set(wordnet.senses("glass")) <= set(wordnet.senses("glasses"))
    assert all("glass" in wordnet.synset(sense).lemmas for sense in wordnet.senses("glass")[:3])


@pytest.mark.parametrize(
    ("number", "nodes"),
    # Bird, Klein and Loper's book on NLTK counts steps from the root: 0, 8, 13 and 14
    [("n00001740", 1), ("n01471682", 9), ("n02062744", 14), ("n02063224", 15), ("n02084071", 14)],
)
def test_depth_counts_the_senses_on_the_longest_way_to_the_root(wordnet, number, nodes):
    assert wordnet.depth(wordnet.numbered(number)) == nodes


@pytest.mark.parametrize(
    ("one", "other", "published"),
    [
        ("dog", "cat", 0.857142),
        ("ship", "boat", 0.909090),
        ("ship", "car", 0.695652),
        ("ship", "cat", 0.32),
        ("dog", "dog", 1.0),
    ],
)
def test_wu_palmer_has_the_values_that_nltk_is_known_to_give(wordnet, one, other, published):
    senses = wordnet.senses(one)[0], wordnet.senses(other)[0]
    assert wordnet.wu_palmer(*senses) == pytest.approx(published, abs=2e-6)
    assert wordnet.wu_palmer(*senses[::-1]) == wordnet.wu_palmer(*senses)


def ways_up(wordnet: WordNet, sense: int) -> list[list[int]]:
    """Every path from a sense to the root."""
    above = wordnet.synset(sense).hypernyms
    return [[sense, *way] for parent in above for way in ways_up(wordnet, parent)] or [[sense]]


def test_wu_palmer_equals_the_enumeration_of_all_paths(wordnet, some_senses):
    def depth(sense: int) -> int:
        return max(map(len, ways_up(wordnet, sense)))

    def steps(sense: int) -> dict[int, int]:
        found: dict[int, int] = {}
        for way in ways_up(wordnet, sense):
            for step, above in enumerate(way):
                found[above] = min(step, found.get(above, step))
        return found

    for one, other in zip(some_senses[::2], some_senses[1::2]):
        first, second = steps(one), steps(other)
        common = first.keys() & second.keys()
        deepest = max(map(depth, common))
        nearest = min(first[c] + second[c] for c in common if depth(c) == deepest)
        assert wordnet.wu_palmer(one, other) == pytest.approx(2 * deepest / (2 * deepest + nearest))
        assert wordnet.ancestors(one) == first
        assert wordnet.wu_palmer(one, one) == 1


def test_the_deepest_common_ancestor_counts_where_a_sense_has_several_parents():
    # 0 root; 1 under 0; 2 under 1; 3 under 2 and 0; 4 under 2; 5 under 0. The words are a to f, and "ab" means 0 and 1.
    words = ["a", "ab", "b", "c", "d", "e", "f"]
    flat = {"senses": [0, 1, 0, 1, 2, 3, 4, 5], "uses": [0] * 8, "hypernyms": [0, 1, 2, 0, 2, 0], "meronyms": [5]}
    counts = {
        "sense": [1, 2, 1, 1, 1, 1, 1],
        "hypernym": [0, 1, 1, 2, 1, 1],
        "meronym": [0, 0, 0, 0, 1, 0],
    }
    arrays = {name: np.array(values) for name, values in flat.items()}
    arrays |= {f"{name}_counts": np.array(values) for name, values in counts.items()}
    texts = {"lemmas": "\n".join(words), "plurals": "bxes", "singulars": "b"}
    arrays |= {name: np.frombuffer(text.encode(), np.uint8) for name, text in texts.items()}
    tiny = WordNet(arrays | {"numbers": np.arange(6) * 10})
    assert [tiny.depth(sense) for sense in range(6)] == [1, 2, 3, 4, 4, 2]
    assert tiny.ancestors(3) == {3: 0, 2: 1, 0: 1, 1: 2}
    assert tiny.wu_palmer(3, 4) == 6 / 8  # by 2, at depth 3, one step from both; not by the root, nearer to 3
    assert tiny.wu_palmer(3, 5) == 2 / 4
    assert tiny.senses("ab") == (1, 0)
    assert tiny.synset(1).lemmas == ("ab", "b")
    assert tiny.senses("bxes") == tiny.senses("b") == (1,)
    assert tiny.is_part_of("f", "e")
    assert not tiny.is_part_of("e", "f")


def test_wordnets_own_files_are_read(tmp_path):
    (tmp_path / "data.noun").write_text(
        "  1 This is the licence.  \n"
        "00000010 03 n 01 entity 0 002 ~ 00000020 n 0000 ~ 00000040 n 0000 | all there is  \n"
        "00000020 05 n 02 Tree 0 woody_plant 0 003 @ 00000010 n 0000 %p 00000040 n 0000 + 00000030 v 0101 | grows  \n"
        "00000030 18 n 01 Tree 0 001 @i 00000010 n 0000 | an actor  \n"
        "00000040 20 n 01 tree_leaf 0 001 @ 00000010 n 0000 | green  \n"
    )
    (tmp_path / "index.noun").write_text(
        "  1 This is the licence.  \n"
        "entity n 1 1 ~ 1 0 00000010  \n"
        "tree n 2 3 @ @i %p 2 1 00000020 00000030  \n"
        "tree_leaf n 1 1 @ 1 0 00000040  \n"
        "woody_plant n 1 2 @ %p 1 0 00000020  \n"
    )
    (tmp_path / "noun.exc").write_text("treen tree\ntree_leaves tree_leaf\nunknowns unknown\n")
    (tmp_path / "cntlist.rev").write_text("tree%1:20:00:: 1 107\ntree%2:30:00:: 1 8\nwood%1:27:00:: 1 30\n")
    read = WordNet(build_wordnet.nouns(tmp_path))
    assert [read.synset(sense).number for sense in range(4)] == [f"n000000{n}0" for n in range(1, 5)]
    assert read.synset(1).lemmas == ("tree", "woody plant")
    assert read.synset(2).hypernyms == (0,)
    assert read.senses("treen") == (1, 2)
    assert read.meanings("tree") == (1,)  # of 107 found in text the actor is none
    assert read.senses("Tree leaves") == (3,)
    assert read.is_part_of("tree leaf", "woody plant")
    assert build_wordnet.licence(tmp_path) == "This is the licence.\n"


@pytest.mark.parametrize(("one", "other"), [("sofa", "couch"), ("dogs", "dog"), ("bike", "bicycle"), ("auto", "cars")])
def test_words_of_one_meaning_are_the_same(wordnet, one, other):
    assert wordnet.same(one, other)
    assert wordnet.same(other, one)
    assert wordnet.similarity(one, other) == 1


@pytest.mark.parametrize(("one", "other"), [("dog", "cat"), ("dog", "animal"), ("wheel", "car"), ("tree", "grass")])
def test_words_of_other_meanings_are_not(wordnet, one, other):
    assert not wordnet.same(one, other)
    assert 0 < wordnet.similarity(one, other) < 1


@pytest.mark.parametrize(
    ("kind", "of"),
    [("beagle", "dog"), ("dog", "animal"), ("coat", "garment"), ("oak", "tree"), ("taxi", "car"), ("dogs", "Dog")],
)
def test_kinds(wordnet, kind, of):
    assert wordnet.is_kind_of(kind, of)


@pytest.mark.parametrize(
    ("kind", "of"), [("dog", "beagle"), ("dog", "cat"), ("wheel", "car"), ("dog", "person"), ("tree", "person")]
)
def test_what_is_no_kind(wordnet, kind, of):
    assert not wordnet.is_kind_of(kind, of)


@pytest.mark.parametrize(
    ("part", "of"),
    [
        ("wheel", "car"),
        ("wheels", "bicycle"),
        ("sleeve", "coat"),
        ("collar", "shirt"),
        ("heel", "shoe"),
        ("tail", "dog"),
        ("beak", "bird"),
        ("finger", "arm"),
        ("eye", "face"),
        ("eye", "person"),
        ("leg", "chair"),
        ("window", "building"),
        ("leaf", "tree"),
        ("petal", "flower"),
        ("tree", "forest"),
    ],
)
def test_parts_and_no_part_of_its_part(wordnet, part, of):
    assert wordnet.is_part_of(part, of)
    assert not wordnet.is_part_of(of, part)


@pytest.mark.parametrize(
    ("part", "of"), [("sleeve", "car"), ("wheel", "dog"), ("dog", "cat"), ("sky", "building"), ("wing", "car")]
)
def test_what_is_no_part(wordnet, part, of):
    assert not wordnet.is_part_of(part, of)


def test_parts_of_a_kind_are_those_of_what_it_is_a_kind_of(wordnet):
    for part, whole, kind in [("sleeve", "garment", "blazer"), ("wheel", "car", "taxi"), ("beak", "bird", "eagle")]:
        assert wordnet.is_part_of(part, whole)
        assert wordnet.is_part_of(part, kind)
        assert wordnet.is_kind_of(kind, whole)


def test_a_key_begins_as_its_word_does(wordnet, some_senses):
    """The lookup of other forms looks among the words of one first letter alone."""
    lemmas = [lemma for sense in some_senses for lemma in wordnet.synset(sense).lemmas]
    assert all(word_key(lemma)[0] == lemma[0] for lemma in lemmas)

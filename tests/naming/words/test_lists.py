"""Lists of words are known by name, can be joined with each other and with a file, and a wrong name is answered."""

import pytest

from naming import LISTS, WordNet, load_phrases
from sae import InsightError

SIZES = {
    "ade150": 150, "cityscapes": 19, "coco": 80, "coco-stuff": 171, "dtd": 47, "imagenet": 1000, "lvis": 1203,
    "openimages": 500, "places365": 365, "voc": 20,
}  # fmt: skip


def test_the_default_has_twenty_thousand_distinct_phrases_common_ones_first():
    words = load_phrases()
    assert words == load_phrases("english")
    assert len(words) >= 20_000
    assert list(words.zipf) == sorted(words.zipf, reverse=True)
    assert 0 <= words.zipf[-1] < words.zipf[0] < 8


def test_the_default_names_what_photographs_show():
    phrases = set(load_phrases().phrases)
    assert {"dog", "palm tree", "traffic light", "sky", "brick wall", "striped", "grass", "wheel", "face"} <= phrases


@pytest.mark.parametrize("name", sorted(set(LISTS) - {"wordnet-nouns"}))
def test_shipped_phrases_are_distinct_and_short(name):
    phrases = load_phrases(name).phrases
    assert load_phrases(name).repeats == 0
    assert len({phrase.casefold() for phrase in phrases}) == len(phrases)
    for phrase in phrases:
        assert "_" not in phrase
        assert len(phrase) <= 40
        assert len(phrase.split()) <= 6


@pytest.mark.parametrize("name", SIZES)
def test_the_classes_of_a_data_set_are_all_there(name):
    assert len(load_phrases(name)) == SIZES[name]


def test_classes_stand_in_the_order_of_their_data_set():
    assert load_phrases("coco").phrases[::79] == ("person", "toothbrush")
    assert load_phrases("voc").phrases[14] == "person"
    assert load_phrases("ade150").phrases[:3] == ("wall", "building", "sky")
    assert load_phrases("imagenet").phrases[207] == "golden retriever"
    assert load_phrases("lvis").phrases[1202] == "zucchini"
    assert load_phrases("coco-stuff").phrases[:80] == load_phrases("coco").phrases


def test_every_noun_of_wordnet_is_there_with_the_frequencies_that_are_known():
    words = load_phrases("wordnet-nouns")
    zipf = dict(zip(words.phrases, words.zipf, strict=True))
    english = dict(zip(load_phrases().phrases, load_phrases().zipf, strict=True))
    assert len(words) == 117_798
    assert zipf["dog"] == english["dog"] > 4
    assert zipf["entity"] == 0
    assert all(lemma in zipf for lemma in WordNet.load().synset(WordNet.load().senses("guitar")[0]).lemmas)


def test_attributes_are_what_can_be_seen_of_a_thing():
    attributes = set(load_phrases("attributes").phrases)
    assert 500 <= len(attributes) <= 1000
    assert {"red", "wooden", "striped", "round", "rusty", "old", "furry", "tall", "sunlit", "cloudy"} <= attributes
    assert attributes.isdisjoint({"true", "loud", "sweet", "honest", "economic", "dog", "alive", "ablaze"})


def test_lists_and_files_are_joined_each_phrase_once(tmp_path):
    path = tmp_path / "a+b.txt"
    path.write_text("my dog\nPERSON\nglass\t1\n")
    assert load_phrases(path).phrases == ("my dog", "PERSON", "glass")
    other = tmp_path / "words.txt"
    other.write_text("my dog\nPERSON\nunheard of\nunheard of too\t1\n")
    words = load_phrases(f"coco + {other}")
    assert words.phrases == (*load_phrases("coco").phrases, "my dog", "unheard of", "unheard of too")
    assert words.zipf[-3:] == (0, 0, 1)
    assert load_phrases(f"{other}+coco").zipf[1] == load_phrases("coco").zipf[0]


def test_a_file_called_like_a_list_is_reached_by_its_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "coco").write_text("my dog\n")
    assert len(load_phrases("coco")) == 80
    assert load_phrases("./coco").phrases == ("my dog",)


@pytest.mark.parametrize(
    ("name", "answer"),
    [
        ("imagnet", "did you mean imagenet"),
        ("Coco", "did you mean coco"),
        ("lvis+attribute", "attribute: cannot be read .* did you mean attributes"),
        ("something else.txt", "the lists are english, "),
        ("coco+", "cannot be read"),
        ("", "cannot be read"),
    ],
)
def test_a_wrong_name_is_answered_with_what_comes_near(name, answer):
    with pytest.raises(InsightError, match=answer):
        load_phrases(name)


def test_a_folder_is_no_list(tmp_path):
    with pytest.raises(InsightError, match=r"cannot be read .Is a directory"):
        load_phrases(tmp_path)

"""A bank is its file, cleaned and numbered: nothing lost, nothing twice, and the same however it was written."""

import json
from pathlib import Path
from unicodedata import normalize

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from insight.methods.bank import ConceptBank, because, caption, check_length, which
from sae.errors import InsightError

from ...tiny_clip import tiny_clip

ANIMALS = {
    "kit_fox": ["large ears", "a bushy tail", "fur"],
    "owl": ["Two wings", "a  hooked\tbeak"],
    "stone": [],
    "wolf/dog": ["FUR", "a bushy tail", "fur", "brown/grey coat"],
}
# Letters with case, of several scripts and forms of accents, and whatever a file may hold around them.
LETTERS = "aAbBéÉe\u0301Жж/-' \t\u00a0_"
PHRASES = st.text(LETTERS, max_size=6).map(lambda text: "x" + text)
BANKS = st.dictionaries(
    st.sampled_from([f"class_{name}" for name in "abcdefg"]), st.lists(PHRASES, max_size=5), min_size=1
)


def bank(value: dict[str, list[str]] = ANIMALS) -> ConceptBank:
    return ConceptBank.of(value)


def test_concepts_are_numbered_by_first_appearance_and_each_stands_once() -> None:
    found = bank()
    assert found.classes == ("kit fox", "owl", "stone", "wolf/dog")
    assert found.keys == ("kit_fox", "owl", "stone", "wolf/dog")
    assert found.concepts == ("large ears", "a bushy tail", "fur", "Two wings", "a hooked beak", "brown/grey coat")
    assert found.of_class == ((0, 1, 2), (3, 4), (), (2, 1, 5))
    assert found.repeats == 1


@given(BANKS)
def test_every_class_has_its_distinct_descriptors_as_the_bank_first_wrote_them(value: dict[str, list[str]]) -> None:
    found = ConceptBank.of(value)
    first: list[str] = []
    for number, (key, said) in enumerate(value.items()):
        mine: list[str] = []
        for text in said:
            plain = normalize("NFC", " ".join(text.split()))
            alike = [other for other in first if normalize("NFC", other.lower()) == normalize("NFC", plain.lower())]
            first += [] if alike else [plain]
            mine.append((alike or [plain])[0])
        assert found.concepts_of(number) == list(dict.fromkeys(mine))
        assert found.keys[number] == key
    assert found.concepts == tuple(first)
    assert found.repeats == sum(map(len, value.values())) - sum(map(len, found.of_class))


@given(BANKS)
def test_membership_and_the_padded_lists_are_what_loops_say(value: dict[str, list[str]]) -> None:
    found = ConceptBank.of(value)
    member, (index, mask) = found.membership, found.padded()
    longest = max(len(own) for own in found.of_class)
    assert index.shape == mask.shape == (len(found.classes), longest)
    assert member.shape == (len(found.classes), len(found.concepts))
    for number, own in enumerate(found.of_class):
        assert [bool(x) for x in member[number]] == [concept in own for concept in range(len(found.concepts))]
        assert index[number][mask[number]].tolist() == list(own)
        assert mask[number].tolist() == [place < len(own) for place in range(longest)]
        assert not index[number][~mask[number]].any()


@given(BANKS)
def test_a_dictionary_of_it_makes_the_same_bank(value: dict[str, list[str]]) -> None:
    found = ConceptBank.of(value)
    again = ConceptBank.from_dict(json.loads(json.dumps(found.to_dict())))
    assert again == found
    assert again.fingerprint == found.fingerprint
    assert again.repeats == 0


def test_a_file_of_it_makes_the_same_bank(tmp_path: Path) -> None:
    bank().save(tmp_path / "bank.json")
    assert ConceptBank.read(tmp_path / "bank.json") == bank()
    assert json.loads((tmp_path / "bank.json").read_text()) == bank().to_dict()


def test_the_fingerprint_does_not_see_how_a_file_is_written(tmp_path: Path) -> None:
    value = {"kit_fox": ["é", "a tail"], "owl": ["a beak"]}
    files = [
        json.dumps(value),
        json.dumps(value, ensure_ascii=False, indent=7),
        json.dumps({" kit  fox": ["e\u0301 ", "a\ttail", "A TAIL"], "owl": ["a beak"]}),
        "\ufeff" + json.dumps(value),
    ]
    prints = set()
    for number, text in enumerate(files):
        (tmp_path / f"{number}.json").write_text(text, encoding="utf-8")
        prints.add(ConceptBank.read(tmp_path / f"{number}.json").fingerprint)
    assert len(prints) == 1
    assert len(prints.pop()) == 64


@pytest.mark.parametrize(
    "other",
    [
        pytest.param({"owl": ["a beak"], "fox": ["fur", "a tail"]}, id="order of classes"),
        pytest.param({"fox": ["a tail", "fur"], "owl": ["a beak"]}, id="order of concepts"),
        pytest.param({"fox": ["fur", "a tail"], "owl": ["A beak"]}, id="case"),
        pytest.param({"fox": ["fur", "a tail", "a beak"], "owl": []}, id="owner"),
        pytest.param({"fox": ["fur", "a tail"], "owls": ["a beak"]}, id="class"),
        pytest.param({"fox": ["fur, a tail"], "owl": ["a beak"]}, id="comma"),
    ],
)
def test_the_fingerprint_sees(other: dict[str, list[str]]) -> None:
    assert (
        ConceptBank.of({"fox": ["fur", "a tail"], "owl": ["a beak"]}).fingerprint != ConceptBank.of(other).fingerprint
    )


@pytest.mark.parametrize("name", ["kit_fox", "kit fox", "Kit Fox", " kit  fox "])
def test_a_class_is_found_by_its_key_and_by_its_words(name: str) -> None:
    assert bank().index(name) == 0


def test_a_concept_is_found_in_any_case() -> None:
    assert bank().concept_index("fur") == bank().concept_index("Fur ") == 2


def test_the_first_k_of_each_class_are_kept() -> None:
    found = bank().first(2)
    assert found.to_dict() == {
        "kit_fox": ["large ears", "a bushy tail"],
        "owl": ["Two wings", "a hooked beak"],
        "stone": [],
        "wolf/dog": ["fur", "a bushy tail"],
    }
    assert bank().first(99) == bank()


def test_a_subset_has_its_classes_in_the_order_asked_for() -> None:
    found = bank().subset(["owl", "kit fox"])
    assert found.keys == ("owl", "kit_fox")
    assert found.concepts == ("Two wings", "a hooked beak", "large ears", "a bushy tail", "fur")


@pytest.mark.parametrize("seed", range(8))
def test_shuffled_deals_every_list_to_another_class(seed: int) -> None:
    value = {f"class {number}": [f"mark {number}", f"look {number}"] for number in range(5)}
    found = ConceptBank.of(value).shuffled(seed)
    assert sorted(found.to_dict().values()) == sorted(value.values())
    assert all(found.to_dict()[key] != value[key] for key in value)
    assert found == ConceptBank.of(value).shuffled(seed)
    assert found.keys == tuple(value)


def test_shuffled_depends_on_the_seed() -> None:
    value = {f"class {number}": [f"mark {number}"] for number in range(9)}
    assert len({ConceptBank.of(value).shuffled(seed).fingerprint for seed in range(6)}) > 1


def test_random_words_stand_where_the_concepts_stood() -> None:
    words = [f"word {number}" for number in range(20)] + ["fur", "LARGE ears"]
    found = bank().random_words(words, seed=3)
    assert found.of_class == bank().of_class
    assert set(found.concepts) <= set(words[:20])
    assert len(set(found.concepts)) == 6
    assert found == bank().random_words(words, seed=3)
    assert len({bank().random_words(words, seed).concepts for seed in range(4)}) == 4


def test_random_words_draw_from_all_of_the_vocabulary() -> None:
    words = [f"word {number}" for number in range(12)]
    drawn = {text for seed in range(40) for text in bank().random_words(words, seed).concepts}
    assert drawn == set(words)


def test_prompts_that_the_tower_reads_whole_pass_and_longer_ones_are_named() -> None:
    tower = tiny_clip().text_tower
    assert tower.context_length == 32
    fits = " ".join(["fur"] * (32 - tower.length("owl, which has")))
    fits = f"fur {fits}"[4 : 4 + len(fits)]
    found = ConceptBank.of({"owl": ["fur", fits]})
    assert tower.length(which("owl", fits)) == 32
    found.check_length(tower, which)
    found = ConceptBank.of({"owl": ["fur", f"{fits} fur", f"{fits} fur fur"]})
    with pytest.raises(
        InsightError, match=rf"at most 32 tokens, found 2 longer ones, the longest of 34: .*{fits} fur fur"
    ):
        found.check_length(tower, which)
    found.check_length(tower, lambda words, said: words)
    with pytest.raises(InsightError, match="at most 32 tokens, found 1 longer ones"):
        check_length(tower, [caption("owl", ["a beak"] * 20), because("a beak")])


@pytest.mark.parametrize(
    ("value", "said"),
    [
        pytest.param({}, "at least one class, found none", id="no class"),
        pytest.param({"owl": "a beak"}, "class 'owl': expected a list of descriptors, found 'a beak'", id="text"),
        pytest.param({"owl": {"a beak": []}}, "class 'owl': expected a list.*import_bank", id="nested"),
        pytest.param({"owl": ["a beak", 3]}, "class 'owl', a descriptor: expected a text, found 3", id="number"),
        pytest.param({"owl": [" \t"]}, "class 'owl', a descriptor: expected a text, found an empty one", id="empty"),
        pytest.param({"": ["a beak"]}, "a class: expected a text, found an empty one", id="no name"),
        pytest.param({"__": ["a beak"]}, "expected a class with a name, found '__'", id="underscores"),
        pytest.param({"kit_fox": [], "Kit fox": []}, "'kit_fox' and 'Kit fox' are both 'Kit fox' in words", id="same"),
        pytest.param({"owl": ["a\x00beak"]}, "class 'owl', a descriptor: .*control character", id="control"),
        pytest.param({"owl": ["\ud800"]}, "class 'owl', a descriptor: .*half a character", id="surrogate"),
    ],
)
def test_a_bank_that_cannot_be_is_refused_with_the_file_and_the_class(
    value: dict[str, list[str]], said: str, tmp_path: Path
) -> None:
    file = tmp_path / "bank.json"
    file.write_text(json.dumps(value))
    with pytest.raises(InsightError, match=f"^{file}: .*{said}"):
        ConceptBank.read(file)
    with pytest.raises(InsightError, match=f"^bank: .*{said}"):
        ConceptBank.of(value)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        pytest.param(b'["owl"]', "expected an object .* found list", id="list"),
        pytest.param(b"{", "expected JSON", id="not json"),
        pytest.param(b"\xff\xfe", "expected JSON", id="not utf-8"),
        pytest.param(
            b'{"owl": ["a"], "fox": [], "owl": ["b"]}', "expected every key once, found 'owl' twice", id="twice"
        ),
    ],
)
def test_a_file_that_is_no_bank_is_refused(content: bytes, said: str, tmp_path: Path) -> None:
    (tmp_path / "bank.json").write_bytes(content)
    with pytest.raises(InsightError, match=f"^{tmp_path / 'bank.json'}: {said}"):
        ConceptBank.read(tmp_path / "bank.json")


def test_a_class_that_stands_twice_is_read_where_nothing_is_lost(tmp_path: Path) -> None:
    (tmp_path / "bank.json").write_text('{"owl": [], "fox": ["fur"], "owl": ["a beak"], "fox": ["fur"], "owl": []}')
    assert ConceptBank.read(tmp_path / "bank.json").to_dict() == {"owl": ["a beak"], "fox": ["fur"]}


def test_a_file_that_is_not_there_and_a_folder_are_named(tmp_path: Path) -> None:
    for place in (tmp_path / "none.json", tmp_path):
        with pytest.raises(InsightError, match=f"^{place}: cannot be read"):
            ConceptBank.read(place)


def test_classes_with_too_few_concepts_are_named() -> None:
    bank().require_concepts(0)
    with pytest.raises(InsightError, match=r"at least 1 descriptor for every class.*'stone' \(0\);"):
        bank().require_concepts()
    with pytest.raises(InsightError, match=r"at least 3 descriptors .*'owl' \(2\), 'stone' \(0\);"):
        bank().require_concepts(3)
    bank().subset(["kit_fox", "owl", "wolf/dog"]).require_concepts(2)


def test_what_is_not_there_is_said_with_what_is() -> None:
    with pytest.raises(InsightError, match=r"one of the 4 classes of the bank \(kit_fox, owl.*found 'eagle'"):
        bank().index("eagle")
    with pytest.raises(InsightError, match=r"one of the 6 concepts .* and 1 more.*found 'hoof'"):
        bank().concept_index("hoof")


def test_wrong_asks_are_refused() -> None:
    with pytest.raises(InsightError, match="at least 1 concept a class, found k=0"):
        bank().first(0)
    with pytest.raises(InsightError, match="several classes, found one text 'owl'"):
        bank().subset("owl")
    with pytest.raises(InsightError, match="subset: classes 'owl' and 'owl' are both"):
        bank().subset(["owl", "owl"])
    with pytest.raises(InsightError, match="subset: expected at least one class"):
        bank().subset([])
    with pytest.raises(InsightError, match="at least two classes, found 'owl' alone"):
        ConceptBank.of({"owl": ["a beak"]}).shuffled(0)
    with pytest.raises(InsightError, match="at least 6 phrases that the bank does not have, found 5"):
        bank().random_words(["a", "b", "c", "d", "e", "FUR"], 0)


def test_its_tensors_may_index_others() -> None:
    scores = np.arange(6.0)
    index, mask = bank().padded()
    assert (scores[index.numpy()] * mask.numpy()).sum(1).tolist() == [3.0, 7.0, 0.0, 8.0]

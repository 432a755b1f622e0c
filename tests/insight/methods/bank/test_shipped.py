"""The banks that come with the package are whole, and every prompt of theirs is read whole."""

from collections.abc import Iterator

import pytest

from insight.backbones.small import load_small
from insight.backbones.text_towers import TextTower
from insight.methods.bank import ConceptBank, because, caption, clinical, shipped_bank, shipped_banks, which
from sae.errors import InsightError

from ...tiny_clip import tiny_clip

CIFAR = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
CLASSES = {
    "cifar10": CIFAR,
    "ph2": ("common nevus", "atypical nevus", "melanoma"),
    "ph2-melanoma": ("mole", "melanoma"),
    "xray": ("healthy lungs", "pneumonia"),
}
CLIP_TOKENS = 77


@pytest.fixture(scope="module")
def towers() -> list[TextTower]:
    """A sentence encoder, and a tower that has CLIP's own tokenizer."""
    return [load_small().text_tower, tiny_clip().text_tower]


def prompts(bank: ConceptBank) -> Iterator[str]:
    for number, words in enumerate(bank.classes):
        said = bank.concepts_of(number)
        yield from (caption(words, said), clinical(words, said))
        for descriptor in said:
            yield from (which(words, descriptor), because(descriptor, words))


def test_these_banks_are_shipped() -> None:
    assert shipped_banks() == sorted(CLASSES)


@pytest.mark.parametrize("name", sorted(CLASSES))
def test_a_shipped_bank_has_its_classes_and_enough_distinct_concepts(name: str) -> None:
    bank = shipped_bank(name)
    assert bank.keys == CLASSES[name]
    bank.require_concepts(5)
    assert bank.repeats == 0
    assert not any("," in text for text in bank.concepts)  # prompts join them by commas
    assert not any(words in text for text in bank.concepts for words in bank.classes)


def test_cifar_has_six_concepts_a_class() -> None:
    assert [len(own) for own in shipped_bank("cifar10").of_class] == [6] * 10


@pytest.mark.parametrize("name", sorted(CLASSES))
def test_every_prompt_of_a_shipped_bank_is_read_whole(name: str, towers: list[TextTower]) -> None:
    for tower in towers:
        lengths = [tower.length(text) for text in prompts(shipped_bank(name))]
        assert 5 < max(lengths) <= CLIP_TOKENS


def test_a_bank_that_is_not_shipped_is_refused_with_those_that_are() -> None:
    with pytest.raises(InsightError, match=r"\(cifar10, ph2, ph2-melanoma, xray\), found 'cub'"):
        shipped_bank("cub")
    with pytest.raises(InsightError, match=r"found '\.\./banks/ph2'"):
        shipped_bank("../banks/ph2")

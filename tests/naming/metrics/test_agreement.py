"""Agreement of names with references, and its null."""

import pytest
import torch

from naming import cosine_agreement, name_agreement
from sae import InsightError


def test_the_share_counts_forms_of_the_same_word_and_leaves_out_what_has_no_reference():
    names = ["dogs", "cat", None, "sky", "grass", "tree"]
    references = ["dog", "bird", "sea", "Sky", None, "tree trunk"]
    found = name_agreement(names, references)
    assert found.concepts == 5
    assert found.share == pytest.approx(2 / 5)


def test_the_null_is_what_shuffled_references_give(generator):
    kinds = ["dog", "cat", "sky", "sea"]
    names = [kinds[i] for i in torch.randint(4, (60,), generator=generator)]
    references = [kinds[i] for i in torch.randint(4, (60,), generator=generator)]
    found = name_agreement(names, references, shuffles=2000)
    expected = sum(name == label for name in names for label in references) / 60**2
    assert found.null == pytest.approx(expected, abs=0.01)
    again = name_agreement(names, references, shuffles=2000)
    assert again == found


def test_right_names_are_far_from_the_null_and_one_name_for_all_is_at_it():
    references = ["dog", "cat", "sky", "sea"] * 10
    right = name_agreement(references, references)
    assert right.share == 1
    assert right.p_value < 0.01
    lazy = name_agreement(["dog"] * 40, references)
    assert lazy.share == lazy.null == 0.25
    assert lazy.p_value == 1


def test_cosine_agreement_equals_the_double_loop(generator):
    names = torch.nn.functional.normalize(torch.randn(40, 5, generator=generator), dim=1)
    labels = torch.nn.functional.normalize(torch.randn(6, 5, generator=generator), dim=1)
    reference = torch.randint(6, (40,), generator=generator)
    names[3] = 0
    found = cosine_agreement(names, labels, reference, least=-0.1)
    hits = [i != 3 and float(names[i].double() @ labels[int(reference[i])].double()) >= -0.1 for i in range(40)]
    assert found.share == pytest.approx(sum(hits) / 40)
    assert 0 < found.null < 1


def test_lists_of_different_length_and_no_reference_at_all_are_refused():
    with pytest.raises(InsightError, match="2 names, found 1"):
        name_agreement(["a", "b"], ["a"])
    with pytest.raises(InsightError, match="none"):
        name_agreement(["a"], [None])
    with pytest.raises(InsightError, match="2 names, found 3"):
        cosine_agreement(torch.eye(2), torch.eye(2), torch.zeros(3, dtype=torch.int64), least=0.5)

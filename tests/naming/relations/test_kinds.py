"""The kind of an edge by what the child covers of its parent."""

import numpy as np

from naming.relations.edges import KINDS, UNTOLD
from naming.relations.kinds import RELATIVE_SPREAD, SAME, SMALL, SPREAD, kinds

KIND, PART = KINDS.index("kind-of"), KINDS.index("part-of")


def test_most_of_the_region_is_a_kind_whatever_the_spread():
    assert kinds(np.array([SAME, 0.9, 1.0]), np.array([0.5, 0.1, 0.0])).tolist() == [KIND] * 3


def test_a_small_portion_is_a_part_when_it_is_always_small():
    spread = np.array([0.0, SPREAD, SPREAD + 0.01])
    assert kinds(np.array([0.05, SMALL, SMALL]), spread).tolist() == [PART, PART, UNTOLD]


def test_specks_that_once_in_a_while_are_more_are_no_part():
    spread = np.array([0.99, 1.01]) * RELATIVE_SPREAD * 0.04
    assert kinds(np.array([0.04, 0.04]), spread).tolist() == [PART, UNTOLD]


def test_what_lies_between_and_what_was_not_measured_is_untold():
    assert kinds(np.array([0.4, np.nan]), np.array([0.1, np.nan])).tolist() == [UNTOLD] * 2

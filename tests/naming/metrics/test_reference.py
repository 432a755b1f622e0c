"""Which label each concept stands for, from overlaps of its support with masks."""

from fractions import Fraction

import numpy as np
import pytest
import torch

from naming import Overlaps
from sae import InsightError, SparseCodes

from ..stand_in import random_dense


def test_overlaps_and_references_equal_the_plain_count(generator):
    images, patches, m, n_labels = 30, 12, 9, 4
    n = images * patches
    classes = torch.randint(-1, n_labels, (n,), generator=generator)
    dense = random_dense(generator, n, m, 0.3)
    for concept in range(m - 1):  # most follow a label, so that there are references
        follows = (classes == concept % n_labels) & (torch.rand(n, generator=generator) < 0.8)
        dense[:, concept] = torch.maximum(dense[:, concept] * (concept % 2), follows.float())
    image = torch.arange(images).repeat_interleave(patches)

    overlaps = Overlaps(m, n_labels)
    for part in (slice(7 * patches, n), slice(0, 2 * patches), slice(2 * patches, 7 * patches)):
        overlaps.update(SparseCodes.from_dense(dense[part]), classes[part], image[part])
    found = overlaps.reference(min_support=10, min_photos=3, min_precision=0.4)

    fires, given = (dense > 0).numpy(), classes.numpy()
    for concept in range(m):
        seen = [p for p in range(n) if fires[p, concept] and given[p] >= 0]
        photos = len({p // patches for p in seen})
        assert overlaps.support[concept] == len(seen)
        assert overlaps.photos[concept] == photos
        best = (Fraction(0), -1, Fraction(0))
        for label in range(n_labels):
            both = sum(given[p] == label for p in seen)
            either = len(seen) + int((given == label).sum()) - both
            assert overlaps.intersections[concept, label] == both
            assert overlaps.sizes[label] == (given == label).sum()
            if len(seen) >= 10 and photos >= 3 and Fraction(int(both), len(seen)) >= Fraction(2, 5):
                best = max(best, (Fraction(int(both), int(either)), -label, Fraction(int(both), len(seen))))
        iou, label, precision = best if best[0] else (0, 1, 0)
        assert found.label[concept] == -label
        assert found.iou[concept] == pytest.approx(float(iou))
        assert found.precision[concept] == pytest.approx(float(precision))
    assert found.label[-1] == -1  # it never fires


def overlaps_of(dense: list[list[float]], classes: list[int], images: list[int]) -> Overlaps:
    codes = SparseCodes.from_dense(torch.tensor(dense))
    overlaps = Overlaps(codes.n_concepts, 2)
    overlaps.update(codes, torch.tensor(classes), torch.tensor(images))
    return overlaps


def test_a_reference_needs_support_photos_and_precision():
    dense = [[1.0, 1.0], [1.0, 0.0], [0.0, 2.0], [0.0, 1.0], [1.0, 0.0]]
    overlaps = overlaps_of(dense, [0, 0, 1, -1, 0], [5, 6, 6, 7, 7])
    assert overlaps.intersections.tolist() == [[3, 0], [1, 1]]
    assert overlaps.photos.tolist() == [3, 2]  # the unlabelled patch of image 7 tells nothing
    assert overlaps.reference(min_support=2, min_photos=2).label.tolist() == [0, 1]  # of half and half, better IoU
    assert overlaps.reference(min_support=2, min_photos=2).iou.tolist() == [1, 0.5]
    assert overlaps.reference(min_support=3, min_photos=2).label.tolist() == [0, -1]
    assert overlaps.reference(min_support=2, min_photos=3).label.tolist() == [0, -1]
    assert overlaps.reference(min_support=2, min_photos=2, min_precision=0.51).label.tolist() == [0, -1]
    none = overlaps.reference()
    assert none.label.tolist() == [-1, -1]
    assert none.iou.tolist() == none.precision.tolist() == [0, 0]


def test_no_patch_leaves_no_reference():
    overlaps = Overlaps(3, 2)
    empty = torch.zeros(0, dtype=torch.int64)
    overlaps.update(SparseCodes.from_dense(torch.zeros(0, 3)), empty, empty)
    overlaps.update(SparseCodes.from_dense(torch.ones(4, 3)), torch.full((4,), -1), torch.zeros(4, dtype=torch.int64))
    assert not overlaps.support.any()
    assert not overlaps.photos.any()
    assert np.array_equal(overlaps.reference(min_support=0, min_photos=0).label, [-1, -1, -1])


def test_what_does_not_fit_is_refused():
    codes, rows = SparseCodes.from_dense(torch.ones(4, 3)), torch.zeros(4, dtype=torch.int64)
    with pytest.raises(InsightError, match="3 concepts, 4 rows, 3 classes"):
        Overlaps(3, 2).update(codes, rows[:3], rows)
    with pytest.raises(InsightError, match="codes of 5 concepts"):
        Overlaps(5, 2).update(codes, rows, rows)
    with pytest.raises(InsightError, match="classes of -1 to 1, found 0 to 2"):
        Overlaps(3, 2).update(codes, torch.tensor([0, 1, 2, 0]), rows)
    with pytest.raises(InsightError, match="found 0, 2"):
        Overlaps(0, 2)
    overlaps = Overlaps(3, 2)
    overlaps.update(codes, rows, rows + 8)
    with pytest.raises(InsightError, match="found image 8 again"):
        overlaps.update(codes, rows, rows + 8)

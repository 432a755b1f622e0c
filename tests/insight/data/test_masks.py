"""A mask file says the class of each pixel, a class map that of each patch."""

import io
import math
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from insight.backbones.base import CentreSquare
from insight.data import BadImage, class_map
from insight.data.masks import decode_mask, read_classes
from sae.errors import InsightError


def by_hand(mask: np.ndarray, box: tuple[float, ...], grid: tuple[int, int]) -> list[int]:
    """The definition, cell by cell and pixel by pixel, in fractions."""
    left, top, right, bottom = map(Fraction, box)
    (height, width), (h, w) = mask.shape, grid
    result = []
    for i in range(h):
        for j in range(w):
            x0, x1 = (left + (right - left) * Fraction(k, w) for k in (j, j + 1))
            y0, y1 = (top + (bottom - top) * Fraction(k, h) for k in (i, i + 1))
            votes = [
                int(mask[y, x])
                for y in range(height)
                for x in range(width)
                if x0 <= x + Fraction(1, 2) < x1 and y0 <= y + Fraction(1, 2) < y1
            ]
            if not votes:
                votes = [
                    int(mask[min(math.floor((y0 + y1) / 2), height - 1), min(math.floor((x0 + x1) / 2), width - 1)])
                ]
            named = [vote for vote in votes if vote >= 0]
            if 2 * len(named) < len(votes):
                result.append(-1)
            else:
                result.append(min(set(named), key=lambda c: (-named.count(c), c)))
    return result


@pytest.mark.parametrize("void", [0.0, 0.3, 0.6, 1.0])
def test_a_patch_has_the_class_of_most_of_its_pixels(void: float) -> None:
    rng = np.random.default_rng()
    for _ in range(12):
        height, width = rng.integers(1, 24, 2)
        mask = rng.integers(0, rng.integers(1, 5), (height, width))
        mask[rng.random((height, width)) < void] = -1
        left, right = sorted(rng.choice(2 * width + 1, 2, replace=False) / 2)
        top, bottom = sorted(rng.choice(2 * height + 1, 2, replace=False) / 2)
        grid = (int(rng.integers(1, 8)), int(rng.integers(1, 8)))
        found = class_map(mask, (left, top, right, bottom), grid)
        assert found.dtype == np.int16
        assert found.tolist() == by_hand(mask, (left, top, right, bottom), grid)


def test_the_grid_lies_over_the_square_that_a_backbone_sees() -> None:
    mask = np.zeros((4, 10), dtype=int)
    mask[:, :3] = mask[:, 7:] = 5  # outside the square
    mask[:2, 3:5], mask[2:, 5:7] = 3, 300
    assert class_map(mask, CentreSquare(224).box(10, 4), (2, 2)).tolist() == [3, 0, 0, 300]


def test_void_ties_and_majorities() -> None:
    row = np.array([[2, 1, -1, -1, 4, -1, -1, 4, 9, 9, 4, 4]])
    assert class_map(row, (0, 0, 12, 1), (1, 3)).tolist() == [1, 4, 4]
    assert class_map(row, (1, 0, 4, 1), (1, 1)).tolist() == [-1]


def test_a_box_that_leaves_the_mask_is_refused() -> None:
    for box in [(0, 0, 5, 4), (-1, 0, 4, 4), (0, 0, 4, 4.5), (2, 0, 2, 4), (0, 0, math.nan, 4)]:
        with pytest.raises(InsightError, match="4 × 4 pixels: expected a box within it"):
            class_map(np.zeros((4, 4), dtype=int), box, (2, 2))
    with pytest.raises(InsightError, match="expected classes from -1 to 32767, found 0 to 40000"):
        class_map(np.array([[0, 40_000]]), (0, 0, 2, 1), (1, 1))


def stored(image: Image.Image) -> bytes:
    stream = io.BytesIO()
    image.save(stream, "PNG")
    return stream.getvalue()


def test_a_mask_is_read_as_numbers_and_void(tmp_path: Path) -> None:
    numbers = np.random.default_rng().integers(0, 256, (6, 7)).astype(np.uint8)
    numbers[numbers > 200] = 255
    grey, palette = Image.fromarray(numbers), Image.fromarray(numbers)
    palette.putpalette(list(range(255, -1, -1)) * 3)  # colours mean nothing
    wide = Image.fromarray(numbers.astype(np.uint16))
    expected = np.where(numbers == 255, -1, numbers.astype(int))
    for image in (grey, palette, wide):
        assert np.array_equal(decode_mask(stored(image), "a mask", 201), expected)
        (tmp_path / "a.png").write_bytes(stored(image))
        assert np.array_equal(decode_mask(tmp_path / "a.png", "a mask", 201), expected)


def test_what_is_no_mask_of_these_classes_is_bad() -> None:
    for image, n_classes, why in (
        (Image.new("RGB", (3, 3)), 2, "one number a pixel, found an image of mode RGB"),
        (Image.new("L", (3, 3), 2), 2, "expected classes 0 to 1 and 255 for void, found 2"),
        (Image.new("L", (3, 3), 254), 254, "found 254"),
    ):
        with pytest.raises(BadImage, match=f"a mask: .*{why}"):
            decode_mask(stored(image), "a mask", n_classes)
    with pytest.raises(BadImage, match="a mask: not an image"):
        decode_mask(b"text", "a mask", 2)


def test_classes_are_named_a_line_each(tmp_path: Path) -> None:
    path = tmp_path / "classes.txt"
    path.write_text("sky \nüber uns\r\ntree\n\n", encoding="utf-8")
    assert read_classes(path) == ("sky", "über uns", "tree")
    for text, found in (
        (b"", "0 lines"),
        (b"a\n\nb\n", "an empty line"),
        (b"a\nb\na\n", "3 lines, 2 of them different"),
        (b"\n".join(b"%d" % n for n in range(256)), "256 lines"),
        (b"\xff\xfe", "not UTF-8"),
    ):
        path.write_bytes(text)
        with pytest.raises(InsightError, match=f"classes.txt: expected .*names of classes.*{found}"):
            read_classes(path)
    with pytest.raises(InsightError, match="No such file"):
        read_classes(tmp_path / "none.txt")

"""Where a concept is strongest, and the pictures cut out there."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from insight.backbones import CentreSquare
from insight.examples import Example, crop, load_examples, save_examples
from sae import InsightError


def test_examples_come_back_as_they_were_saved(tmp_path: Path) -> None:
    two = [Example("a/b.jpg", 1, 2, 0.5), Example("c.jpg", 0, 0, 0.25)]
    examples = {4: two, 7: [], 9: [Example("d.jpg", 3, 3, 1.0)]}
    save_examples(tmp_path / "examples.parquet", examples)
    assert load_examples(tmp_path / "examples.parquet", [9, 7, 4]) == examples
    with pytest.raises(InsightError, match="absent"):
        load_examples(tmp_path / "absent.parquet", [1])


@pytest.mark.parametrize("place", [(0, 0), (3, 5), (7, 7), (7, 0)])
def test_crop_frames_the_patch_it_is_about(place: tuple[int, int]) -> None:
    row, column = place
    pixels = np.zeros((80, 120, 3), dtype=np.uint8)  # the view is the square of columns 20 to 100
    pixels[row * 10 : row * 10 + 10, 20 + column * 10 : 30 + column * 10] = (255, 0, 0)
    window = np.asarray(crop(Image.fromarray(pixels), CentreSquare(64), (8, 8), Example("x", row, column, 1.0), 100))
    red = (window[..., 0] > 200) & (window[..., 1] < 60)
    ys, xs = np.nonzero(red)
    assert len(ys) > 100
    assert max(np.ptp(ys), np.ptp(xs)) <= 20
    white = (window > 200).all(axis=2)
    assert white.any()
    assert abs(np.nonzero(white)[0].mean() - ys.mean()) < 3

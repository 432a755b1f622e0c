"""Run lengths, as numbers and as COCO's text, become the pixels they mean."""

import numpy as np
import pytest

from insight.data.layouts.rle import fill_runs, runs_of


def as_text(runs: list[int]) -> str:
    """COCO's text, the other way round: differences to the one before the last, 5 bits a character, low ones first."""
    characters = []
    for place, run in enumerate(runs):
        value = run - runs[place - 2] if place > 2 else run
        while True:
            bits, value = value & 31, value >> 5
            done = value == (-1 if bits & 16 else 0)
            characters.append(chr(48 + bits + (0 if done else 32)))
            if done:
                break
    return "".join(characters)


def runs_in(mask: np.ndarray) -> list[int]:
    """Lengths of the runs of a mask [H, W], down its columns, by walking over it."""
    runs, inside = [0], False
    for pixel in mask.T.ravel():
        if bool(pixel) != inside:
            runs.append(0)
            inside = not inside
        runs[-1] += 1
    return runs


def test_a_text_as_coco_s_own_tools_write_it() -> None:
    runs = [6, 1, 40, 4, 5, 4, 5, 4, 21]
    assert runs_of("61X13mN000`0") == runs
    mask = fill_runs(np.array(runs), 9, 10)
    assert np.argwhere(mask).tolist() == [
        [2, 5], [2, 6], [2, 7], [3, 5], [3, 6], [3, 7], [4, 5], [4, 6], [4, 7], [5, 5], [5, 6], [5, 7], [6, 0]
    ]  # fmt: skip


def test_random_masks_come_back() -> None:
    rng = np.random.default_rng()
    for _ in range(60):
        height, width = rng.integers(1, 70, 2)
        mask = rng.random((height, width)) < rng.random()
        runs = runs_in(mask)
        assert runs_of(as_text(runs)) == runs
        assert (fill_runs(np.array(runs), height, width) == mask).all()
    long = [0, 300_000, 5, 17, 999_999_999, 3]
    assert runs_of(as_text(long)) == long


@pytest.mark.parametrize("text", ["6é", " ", "6P", "PPPPPPPP0", "p"])
def test_text_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="expected run lengths as text"):
        runs_of(text)


@pytest.mark.parametrize("runs", [[], [5], [7], [-1, 7], [2**62, 2**62, 2**62, 2**62, 6]])
def test_runs_of_another_image_are_refused(runs: list[int]) -> None:
    with pytest.raises(ValueError, match="expected runs of together 6 pixels"):
        fill_runs(np.array(runs, dtype=np.int64), 2, 3)

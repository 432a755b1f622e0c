"""Deletion, insertion and fidelity against loops over pairs and steps."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from scipy.ndimage import correlate1d

from insight.attribution import Scorer
from insight.evaluation.insertion_deletion import deletion, fidelity, gaussian_blur, half_size_blur, insertion
from sae import InsightError

from .toy import MEAN, random_photos, random_scorer

Mixed = Callable[[np.ndarray, np.ndarray], np.ndarray]


def random_maps(seed: int, *shape: int) -> torch.Tensor:
    """With many ties."""
    return torch.randint(7, shape, generator=torch.Generator().manual_seed(seed)).float()


def loop(scorer: Scorer, start: np.ndarray, end: np.ndarray, one: np.ndarray, text: int, counts: list[int]) -> list:
    order = sorted(np.ndindex(one.shape), key=lambda at: -one[at])
    scores = []
    for count in counts:
        photo = start.copy()
        for y, x in order[:count]:
            photo[:, y, x] = end[:, y, x]  # all channels
        scores.append(float(scorer(torch.from_numpy(photo)[None])[0, text]))
    return scores


def small_blur(image: np.ndarray) -> np.ndarray:
    """By half and back: means of 2 x 2, then 3/4 and 1/4 of the nearest two along each side."""
    found = (image[:, ::2, ::2] + image[:, 1::2, ::2] + image[:, ::2, 1::2] + image[:, 1::2, 1::2]) / 4
    for axis in (1, 2):
        n = found.shape[axis]
        near = np.arange(2 * n) // 2
        other = np.clip(near + np.where(np.arange(2 * n) % 2, 1, -1), 0, n - 1)
        found = 0.75 * found.take(near, axis) + 0.25 * found.take(other, axis)
    return found


@pytest.mark.parametrize("batch", [1, 7, 200])
def test_curves_of_every_pair_equal_a_loop(batch: int) -> None:
    scorer, images, maps = random_scorer(0, 2, 6), random_photos(1, 3), random_maps(2, 3, 2, 8, 12)
    maps[1, 0] = 4  # constant: row by row
    counts = [0, 14, 27, 41, 55, 69, 82, 96]
    out, into = (f(scorer, images, maps, steps=7, batch=batch) for f in (deletion, insertion))
    assert max(scorer.backbone.calls) <= batch
    assert out.shares == pytest.approx(np.array(counts) / 96)
    for b, t in np.ndindex(3, 2):
        one, image = maps[b, t].numpy(), images[b].numpy()
        gone = np.broadcast_to(np.array(MEAN)[:, None, None], image.shape).copy()
        blurred = gaussian_blur(images[b : b + 1])[0].numpy()
        removed, put = (loop(scorer, *ends, one, t, counts) for ends in ((image, gone), (blurred, image)))
        assert out.scores[b, t] == pytest.approx(removed)
        assert into.scores[b, t] == pytest.approx(put)
        area = sum((removed[i] + removed[i + 1]) / 2 * (counts[i + 1] - counts[i]) / 96 for i in range(7))
        assert out.area()[b, t] == pytest.approx(area)
        assert removed[0] == put[-1]


def test_fidelity_equals_a_loop_with_the_right_photo_and_all_channels() -> None:
    scorer, images, maps = random_scorer(3, 4, 6), random_photos(4, 3), random_maps(5, 3, 4, 8, 12)
    got = fidelity(scorer, images, maps)
    for b, t in np.ndindex(3, 4):
        image = images[b].numpy()
        counts = [0, 19, 38, 58, 77, 96]
        scores = np.array(loop(scorer, small_blur(image), image, maps[b, t].numpy(), t, counts))
        near = np.clip(np.abs(scores[1:] - scores[0]) / abs(scores[-1] - scores[0]), 0, 1)
        assert got[b, t] == pytest.approx(near.mean())
    asked = torch.tensor([3, 0, 2])
    one = fidelity(scorer, images, maps[torch.arange(3), asked], asked)
    assert one == pytest.approx(got[np.arange(3), asked])


def test_fidelity_of_a_photo_that_blur_does_not_change_is_not_defined() -> None:
    even = torch.full((1, 3, 8, 12), 0.5, dtype=torch.float64)
    assert np.isnan(fidelity(random_scorer(0, 1, 6), even, random_maps(0, 1, 1, 8, 12))).all()


def test_cells_go_as_one() -> None:
    scorer, images = random_scorer(6, 1, 6), random_photos(7, 2)
    maps = torch.rand(2, 1, 8, 12, generator=torch.Generator().manual_seed(8))
    got = deletion(scorer, images, maps, steps=6, cell=4)
    for b in range(2):
        means = maps[b, 0].reshape(2, 4, 3, 4).mean((1, 3)).flatten()
        photo = images[b].clone()
        for step, number in enumerate(means.argsort(descending=True).tolist()):
            y, x = number // 3 * 4, number % 3 * 4
            photo[:, y : y + 4, x : x + 4] = torch.tensor(MEAN).view(3, 1, 1)
            assert got.scores[b, 0, step + 1] == pytest.approx(float(scorer(photo[None])[0, 0]))


def test_the_gaussian_is_of_sigma_5_on_11_taps_and_repeats_the_edge() -> None:
    images = random_photos(9, 2, 20, 24)
    taps = np.exp(-((np.arange(11) - 5) ** 2) / 50)
    taps /= taps.sum()
    wanted = correlate1d(correlate1d(images.numpy(), taps, axis=2, mode="nearest"), taps, axis=3, mode="nearest")
    assert gaussian_blur(images).numpy() == pytest.approx(wanted)
    even = torch.full((1, 3, 2, 2), 0.3)
    assert gaussian_blur(even).numpy() == pytest.approx(even.numpy())


def test_half_size_blur_by_hand_and_of_odd_sides() -> None:
    images = random_photos(10, 2)
    assert half_size_blur(images)[1].numpy() == pytest.approx(small_blur(images[1].numpy()))
    assert half_size_blur(random_photos(11, 1, 1, 7)).shape == (1, 3, 1, 7)


def test_steps_that_do_not_fit_are_said() -> None:
    scorer, images, maps = random_scorer(0, 1, 6), random_photos(0, 1), torch.zeros(1, 1, 8, 12)
    with pytest.raises(InsightError, match="steps: expected 1 to 6, as many as there are cells, found 7"):
        deletion(scorer, images, maps, steps=7, cell=4)
    with pytest.raises(InsightError, match="found 0"):
        insertion(scorer, images, maps, steps=0)

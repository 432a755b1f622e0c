"""A planted world: images of objects whose kinds, parts, neighbours and doubles are known, among independent things."""

from dataclasses import dataclass, field

import numpy as np
import torch

SIDE = 10
FAMILIES, KINDS_EACH, DOUBLES, NEIGHBOURS, LONERS = 6, 3, 4, 4, 90


@dataclass
class World:
    """Codes of images in a row, and what was planted in them; concepts are numbers."""

    codes: torch.Tensor
    levels: np.ndarray
    grid: tuple[int, int] = (SIDE, SIDE)
    kinds: set[tuple[int, int]] = field(default_factory=set)
    parts: set[tuple[int, int]] = field(default_factory=set)
    doubles: set[tuple[int, int]] = field(default_factory=set)
    neighbours: set[tuple[int, int]] = field(default_factory=set)
    family: dict[int, int] = field(default_factory=dict)
    """Which concepts belong together; loners are alone."""


def world(generator: torch.Generator, images: int) -> World:
    """Fresh images. In each:

    a family is there in a quarter of them, as an object of 4 x 4 patches; in four of five of those one of three kinds
    fires on nearly all of it, and in seven of ten a part of three patches in a row; doubles fire on one place, each on
    nearly all of it; of two neighbours, each 2 x 2, one is left of the other; loners are rectangles anywhere.
    """
    rng = np.random.default_rng(generator.initial_seed())
    planted = World(torch.zeros(0), np.zeros(0, np.int64))
    ids = iter(range(10_000))
    families = []
    for number in range(FAMILIES):
        whole, part, *kinds = (next(ids) for _ in range(2 + KINDS_EACH))
        families.append((whole, part, kinds))
        planted.kinds |= {(kind, whole) for kind in kinds}
        planted.parts.add((part, whole))
        planted.family |= dict.fromkeys((whole, part, *kinds), number)
    doubles = [(next(ids), next(ids)) for _ in range(DOUBLES)]
    neighbours = [(next(ids), next(ids)) for _ in range(NEIGHBOURS)]
    planted.doubles, planted.neighbours = set(doubles), set(neighbours)
    for number, pair in enumerate(doubles + neighbours):
        planted.family |= dict.fromkeys(pair, FAMILIES + number)
    loners = [next(ids) for _ in range(LONERS)]
    planted.family |= {loner: 100 + loner for loner in loners}
    often, sizes = rng.uniform(0.05, 0.3, LONERS), rng.integers(1, 4, (LONERS, 2))

    m = next(ids)
    fires = np.zeros((images, SIDE, SIDE, m), bool)
    for image in fires:
        for whole, part, kinds in families:
            if rng.random() < 0.25:
                object_ = place(image, rng, 4, 4)
                object_[..., whole] = True
                if rng.random() < 0.8:
                    object_[..., rng.choice(kinds)] = rng.random((4, 4)) < 0.95
                if rng.random() < 0.7:
                    object_[rng.integers(4), :3, part] = True
        for pair in doubles:
            if rng.random() < 0.2:
                place(image, rng, 3, 3)[..., list(pair)] = rng.random((3, 3, 2)) < 0.96
        for left, right in neighbours:
            if rng.random() < 0.2:
                both = place(image, rng, 2, 4)
                both[:, :2, left] = both[:, 2:, right] = True
        for loner in np.flatnonzero(rng.random(LONERS) < often):
            place(image, rng, *sizes[loner])[..., loners[loner]] = True
    strength = rng.uniform(0.5, 1.5, fires.shape) * fires
    planted.codes = torch.from_numpy(strength.reshape(-1, m)).float()
    planted.levels = np.ones(m, np.int64)
    planted.levels[[whole for whole, _, _ in families]] = 0
    return planted


def place(image: np.ndarray, rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """A view of a rectangle anywhere in an image [SIDE, SIDE, m]."""
    top, left = rng.integers(SIDE - height + 1), rng.integers(SIDE - width + 1)
    return image[top : top + height, left : left + width]

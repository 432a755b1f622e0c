"""A small cache of random features, a model with a backbone for it, and what they hold, computed plainly in float64.

Numbers are drawn again while one lies so near to a threshold that rounding could decide on which side it is.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from insight import ConceptModel
from insight.cache import FeatureCache
from insight.concept import Concept

from ..cache.made import make_cache
from ..random_models import CONCEPTS, DIM, Pixels, random_dictionary, random_graph

GRID = (9, 8)
SIDE = 24  # pixels of the square, as made caches say
ROWS = (5, 3, 6)


class MadePixels(Pixels):
    """The backbone that made caches say they come from."""

    fingerprint = hashlib.sha256(b"made").hexdigest()


@dataclass
class World:
    """codes float64 [n, h, w, m]; patches [n, h, w, d] and pooled [n, d] of unit length; there [n, h, w]: kept."""

    model: ConceptModel
    cache: FeatureCache
    codes: np.ndarray
    patches: np.ndarray
    pooled: np.ndarray
    there: np.ndarray

    def query(self, rng: np.random.Generator) -> torch.Tensor:
        """A random vector that leaves no patch near the limit of a region."""
        while True:
            vector = rng.standard_normal(DIM)
            cosines = self.patches @ (vector / np.linalg.norm(vector))
            limits = np.array([(c[k].max() + c[k].mean()) / 2 for c, k in zip(cosines, self.there)])
            if np.abs(cosines - limits[:, None, None])[self.there].min() > 1e-5:
                return torch.from_numpy(vector).float()


def make_model(rng: np.random.Generator) -> ConceptModel:
    """Concepts fire on about one patch in 50; concept i is called "word i", but 20 and 21 are both "twin"."""
    sae = random_dictionary(rng)
    with torch.no_grad():
        sae.encoder_bias.copy_(0.5 * sae.encoder.sum(1) - 2.0)  # so that all fire alike, wherever the bias is
    names = [f"word {i}" for i in range(CONCEPTS)]
    names[20] = names[21] = "twin"
    concepts = [Concept(i, 0, name, (), (0.5,), 100, 0.0) for i, name in enumerate(names)]
    config = {"backbone": {"name": "pixels", "fingerprint": MadePixels.fingerprint, "description": "", "grid": [4, 4]}}
    return ConceptModel(sae, concepts, random_graph(rng), config, backbone=MadePixels())


def make_world(folder: Path, tokens: int = GRID[0] * GRID[1]) -> World:
    """14 images in three shards; fewer tokens than 72: so many patches of each image are kept."""
    for attempt in range(100):
        rng = np.random.default_rng()
        model = make_model(rng)
        features = torch.from_numpy(rng.standard_normal((sum(ROWS), tokens, DIM))).float()
        sae = model.sae
        x = features.double() - sae.decoder_bias.detach().double()
        codes = x @ sae.encoder.detach().double().T + sae.encoder_bias.detach().double()
        if float(codes.abs().min()) < 2e-5:
            continue
        made = make_cache(folder / f"cache{attempt}", features, ROWS, grid=GRID)
        places = made.positions.long().numpy() if tokens < 72 else np.tile(np.arange(72), (sum(ROWS), 1))
        image = np.arange(sum(ROWS))[:, None]
        on_grid = np.zeros((sum(ROWS), 72, CONCEPTS))
        on_grid[image, places] = codes.clamp_min(0).numpy()
        patches = np.zeros((sum(ROWS), 72, DIM))
        patches[image, places] = torch.nn.functional.normalize(made.patches.double(), dim=2).numpy()
        there = np.zeros((sum(ROWS), 72), dtype=bool)
        there[image, places] = True
        pooled = torch.nn.functional.normalize(made.pooled.double(), dim=1).numpy()
        shape = (sum(ROWS), *GRID)
        cache = FeatureCache.open(made.folder)
        return World(
            model, cache, on_grid.reshape(*shape, -1), patches.reshape(*shape, -1), pooled, there.reshape(shape)
        )
    raise AssertionError("no draw without a number near 0")


def pieces(active: np.ndarray) -> Iterator[np.ndarray]:
    """The 4-connected sets of a bool array [h, w], by flooding: each int [k, 2] of places."""
    left = {(int(r), int(c)) for r, c in np.argwhere(active)}
    while left:
        reached, edge = [], [left.pop()]
        while edge:
            r, c = edge.pop()
            reached.append((r, c))
            for near in ((r - 1, c), (r + 1, c), (r, c - 1), (r, c + 1)):
                if near in left:
                    left.remove(near)
                    edge.append(near)
        yield np.array(reached)


def regions_by_hand(scores: np.ndarray, active: np.ndarray) -> dict[tuple[int, int, int], tuple[float, int, tuple]]:
    """{(image, row, column of the best patch): (score, patches, box)} of scores and what counts, both [n, h, w]."""
    found = {}
    for image in range(len(scores)):
        for places in pieces(active[image]):
            values = scores[image][tuple(places.T)]
            row, column = places[values.argmax()]
            (top, left), (bottom, right) = places.min(0), places.max(0) + 1
            down, across = SIDE / GRID[0], SIDE / GRID[1]
            box = (left * across, top * down, right * across, bottom * down)
            found[image, int(row), int(column)] = (float(values.max()), len(places), box)
    return found

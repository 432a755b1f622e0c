"""What regions are and how they lie to each other, in loops over patches: the plain form that tests compare with."""

from __future__ import annotations

from collections import defaultdict
from itertools import product

import torch


def neighbours(patch: int, grid: tuple[int, int]) -> list[int]:
    height, width = grid
    row, column = divmod(patch, width)
    steps = [(row - 1, column), (row + 1, column), (row, column - 1), (row, column + 1)]
    return [r * width + c for r, c in steps if 0 <= r < height and 0 <= c < width]


def regions_of(active: set[int], grid: tuple[int, int]) -> list[set[int]]:
    """4-connected parts of a set of patches, by breadth-first search."""
    left, found = set(active), []
    while left:
        region, edge = set(), [min(left)]
        while edge:
            patch = edge.pop(0)
            if patch in left:
                left.remove(patch)
                region.add(patch)
                edge += neighbours(patch, grid)
        found.append(region)
    return found


def region_pairs(dense: torch.Tensor, grid: tuple[int, int]) -> dict[str, torch.Tensor]:
    """All sums of RegionPairs, float64, from dense codes [images · h · w, m]."""
    per_image, m = grid[0] * grid[1], dense.shape[1]
    sums: dict[str, torch.Tensor] = defaultdict(lambda: torch.zeros(m, m, dtype=torch.float64))
    for name in ("images", "regions", "area"):
        sums[name] = torch.zeros(m, dtype=torch.float64)
    for start in range(0, len(dense), per_image):
        image = dense[start : start + per_image]
        active = [{p for p in range(per_image) if image[p, c] > 0} for c in range(m)]
        regions = [regions_of(active[c], grid) for c in range(m)]
        for i in range(m):
            sums["images"][i] += len(active[i]) > 0
            sums["regions"][i] += len(regions[i])
            sums["area"][i] += len(active[i])
        for i, j in product(range(m), repeat=2):
            if i == j:
                continue
            if active[i] and 2 * len(active[i] & active[j]) >= len(active[i]):
                sums["covered_images"][i, j] += 1
            for region in regions[i]:
                shared = region & active[j]
                if 2 * len(shared) >= len(region):
                    union = set().union(*(other for other in regions[j] if other & region))
                    portion = len(region & union) / len(union)
                    sums["inside"][i, j] += len(region)
                    sums["cover"][i, j] += len(region) * portion
                    sums["cover_squares"][i, j] += len(region) * portion**2
                around = {q for patch in region for q in neighbours(patch, grid)}
                if not shared and around & active[j]:
                    sums["beside"][i, j] += 1
    return {name: sums[name] for name in (*COUNTS, *MATRICES)}


COUNTS = ("images", "regions", "area")
MATRICES = ("covered_images", "inside", "cover", "cover_squares", "beside")

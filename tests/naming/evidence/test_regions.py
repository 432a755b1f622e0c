"""RegionPairs against loops over patches, on grids of any shape, however the images are cut into chunks."""

import warnings

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from naming import RegionPairs
from naming.evidence import regions as module
from sae import InsightError, SparseCodes

from . import reference
from .images import random_images, region_pairs
from .reference import COUNTS, MATRICES


def assert_same(pairs: RegionPairs, expected: dict[str, torch.Tensor]) -> None:
    for name in COUNTS:
        assert np.array_equal(getattr(pairs, name), expected[name].numpy()), name
    for name in MATRICES:
        found = getattr(pairs, name)
        np.testing.assert_allclose(found.toarray(), expected[name].numpy(), rtol=1e-6, err_msg=name)
        assert found.nnz == int((expected[name] != 0).sum()), f"{name} holds zeros"


def assert_equal(one: RegionPairs, other: RegionPairs) -> None:
    assert_same(one, {name: torch.from_numpy(getattr(other, name)) for name in COUNTS} | matrices(other))


def matrices(pairs: RegionPairs) -> dict[str, torch.Tensor]:
    return {name: torch.from_numpy(getattr(pairs, name).toarray()) for name in MATRICES}


@pytest.mark.parametrize("grid", [(4, 4), (1, 9), (9, 1), (3, 5), (1, 1), (2, 7)])
def test_all_sums_are_those_of_loops_over_patches(generator, grid):
    dense = random_images(generator, 7, grid, 9)
    assert_same(region_pairs(dense, grid, (3, 4)), reference.region_pairs(dense, grid))


def test_two_shapes_drawn_by_hand():
    """A bar of 0 on a plate of 1; 2 stands beside the bar; the plate reaches into the next row but not around it."""
    bar, plate, other = (torch.zeros(3, 4) for _ in range(3))
    bar[1, 0:2] = plate[1, 0:4] = plate[2, 3] = other[0, 1] = 1
    plate[0, 0] = 1  # joined to the rest through (1, 0)
    pairs = region_pairs(torch.stack([bar, plate, other], dim=-1).reshape(12, 3), (3, 4))
    assert pairs.regions.tolist() == pairs.images.tolist() == [1, 1, 1]
    assert pairs.area.tolist() == [2, 6, 1]
    assert pairs.inside.toarray().tolist() == [[0, 2, 0], [0, 0, 0], [0, 0, 0]]  # patches
    assert pairs.cover[0, 1] == pytest.approx(2 * (2 / 6))
    assert pairs.cover_squares[0, 1] == pytest.approx(2 * (2 / 6) ** 2)
    assert pairs.covered_images.toarray().tolist() == [[0, 1, 0], [0, 0, 0], [0, 0, 0]]
    assert pairs.beside.toarray().tolist() == [[0, 0, 1], [0, 0, 1], [1, 1, 0]]


def test_no_region_goes_on_around_the_border_or_into_the_next_image():
    end_of_row, next_row, next_image = 2, 3, 6  # on a grid of 2 x 3 patches
    dense = torch.zeros(12, 2)
    dense[[end_of_row, next_row, 5, next_image], 0] = 1
    dense[[8, 11], 1] = 1
    pairs = region_pairs(dense, (2, 3))
    assert pairs.regions.tolist() == [3, 1]  # (0, 2) with (1, 2); (1, 0); the first patch of the second image
    assert pairs.beside.nnz == 0


def test_patches_that_only_touch_at_a_corner_are_two_regions():
    dense = torch.eye(2).reshape(4, 1)
    assert region_pairs(dense, (2, 2)).regions.tolist() == [2]


@settings(max_examples=40)
@given(st.integers(0, 2**31), st.lists(st.integers(0, 6), max_size=3), st.sampled_from([1, 40]))
def test_any_cut_and_any_merge_of_the_stream_gives_the_same(seed, cuts, buffered):
    dense = random_images(torch.Generator().manual_seed(seed), 6, (3, 4), 6)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "BUFFERED", buffered)
        assert_equal(region_pairs(dense, (3, 4), tuple(sorted(cuts))), region_pairs(dense, (3, 4)))
        merged, other = (region_pairs(part, (3, 4)) for part in dense.split([24, 48]))
        merged.merge(other)
    assert_equal(merged, region_pairs(dense, (3, 4)))
    assert_equal(other, region_pairs(dense[24:], (3, 4)))


def test_dead_concepts_and_empty_images_are_empty_rows_without_warnings(generator):
    dense = random_images(generator, 3, (2, 2), 5)
    dense[4:8] = 0  # an image in which nothing fires
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        pairs = region_pairs(dense, (2, 2))
        nothing = region_pairs(torch.zeros(8, 5), (2, 2))
        none = RegionPairs(5, (2, 2))
    for name in MATRICES:
        assert getattr(pairs, name)[[4]].nnz == getattr(pairs, name)[:, [4]].nnz == 0
        assert getattr(nothing, name).nnz == getattr(none, name).nnz == 0
        assert np.isfinite(getattr(pairs, name).data).all()
    assert pairs.regions[4] == pairs.area[4] == pairs.images[4] == nothing.regions.sum() == 0


def test_saved_sums_are_read_back_and_go_on(generator, tmp_path):
    first, second = random_images(generator, 6, (3, 3), 7).split(27)
    region_pairs(first, (3, 3)).save(tmp_path / "regions.npz")
    loaded = RegionPairs.load(tmp_path / "regions.npz")
    assert loaded.grid == (3, 3)
    loaded.update(SparseCodes.from_dense(second))
    assert_equal(loaded, region_pairs(torch.cat([first, second]), (3, 3)))


def test_what_does_not_fit_is_refused():
    pairs = RegionPairs(4, (2, 3))
    with pytest.raises(InsightError, match="whole images of 2 x 3 = 6 rows, found 8 rows"):
        pairs.update(SparseCodes.from_dense(torch.ones(8, 4)))
    with pytest.raises(InsightError, match="4 concepts, found 3"):
        pairs.update(SparseCodes.from_dense(torch.ones(6, 3)))
    with pytest.raises(InsightError, match=r"\(2, 3\), found 4 on \(3, 2\)"):
        pairs.merge(RegionPairs(4, (3, 2)))
    with pytest.raises(InsightError, match="same `most_partners`, found None and 2"):
        pairs.merge(RegionPairs(4, (2, 3), most_partners=2))
    with pytest.raises(InsightError, match="grid"):
        RegionPairs(4, (0, 3))


def test_damaged_files_are_named(generator, tmp_path):
    path = tmp_path / "regions.npz"
    region_pairs(random_images(generator, 3, (3, 3), 7), (3, 3)).save(path)
    whole = dict(np.load(path))
    changes = {
        "on_concepts": whole["on_concepts"] + 7,
        "on_offsets": whole["on_offsets"][:-1],
        "beside_plane0": whole["beside_plane0"][1:],
        "on_missed": whole["on_missed"][1:],
        "grid": np.array([3]),
        "sizes": whole["sizes"][:2],
    }
    for name, array in changes.items():
        np.savez(path, **{**whole, name: array})
        with pytest.raises(InsightError, match=r"regions\.npz"):
            RegionPairs.load(path)
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(InsightError, match="damaged"):
        RegionPairs.load(path)

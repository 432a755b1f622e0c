"""Codes pooled by alike patches: against the formula written out in float64, and what must hold of any codes."""

import pytest
import torch
from torch import Tensor

import insight.upsampling.affinity as affinity
from insight.upsampling import guided_codes
from sae import SparseCodes
from sae.errors import InsightError


def written_out(dense: Tensor, features: Tensor, tokens: int, centre: Tensor, gamma: float, least: float) -> Tensor:
    """The docstring's sums, [n · tokens, m] all dense, patch by patch."""
    found = torch.zeros_like(dense)
    for start in range(0, len(dense), tokens):
        x, a = features[start : start + tokens] - centre, dense[start : start + tokens]
        for p in range(tokens):
            weights = torch.stack([x[p] @ x[q] / (x[p].norm() * x[q].norm()) for q in range(tokens)])
            weights = torch.where((weights >= gamma) & (weights > 0), weights, 0)
            weights[p] = 1
            found[start + p] = weights @ a / weights.sum()
        part = found[start : start + tokens]
        part[part < least * part.amax(0)] = 0
    return found


def drawn(n: int, tokens: int, m: int, d: int = 6) -> tuple[Tensor, Tensor, Tensor]:
    """Activations [n · tokens, m], a third not 0; features in clusters around a far centre; the centre. float64."""
    dense = torch.rand(n * tokens, m, dtype=torch.float64) + 0.1
    dense *= torch.rand(n * tokens, m) < 1 / 3
    centre = 3 * torch.randn(d, dtype=torch.float64)
    kinds = torch.randn(4, d, dtype=torch.float64)
    features = centre + kinds[torch.randint(4, (n * tokens,))] + 0.3 * torch.randn(n * tokens, d, dtype=torch.float64)
    return dense, features, centre


@pytest.mark.parametrize(("n", "tokens"), [(1, 1), (3, 12), (2, 35)])
@pytest.mark.parametrize(("gamma", "least"), [(0.0, 0.0), (0.3, 0.25), (0.7, 0.0), (0.8, 0.5)])
def test_every_activation_is_the_weighted_mean_of_the_formula(n, tokens, gamma, least):
    dense, features, centre = drawn(n, tokens, 9)
    found = guided_codes(SparseCodes.from_dense(dense), features, tokens, centre=centre, gamma=gamma, least=least)
    expected = written_out(dense, features, tokens, centre, gamma, least)
    torch.testing.assert_close(found.dense(), expected, rtol=1e-10, atol=1e-12)


def test_float32_codes_give_float32_of_the_same_values():
    dense, features, centre = drawn(2, 20, 7)
    found = guided_codes(SparseCodes.from_dense(dense.float()), features, 20, centre=centre, gamma=0, least=0)
    assert found.activations.dtype == torch.float32
    torch.testing.assert_close(found.dense(), written_out(dense, features, 20, centre, 0, 0).float(), rtol=0, atol=1e-3)


def test_fine_grids_are_done_in_bands_with_the_same_result(monkeypatch):
    dense, features, centre = drawn(2, 30, 8)
    codes = SparseCodes.from_dense(dense)
    at_once = guided_codes(codes, features, 30, centre=centre)
    monkeypatch.setattr(affinity, "COSINES_AT_ONCE", 7 * 30)
    in_bands = guided_codes(codes, features, 30, centre=centre)
    torch.testing.assert_close(in_bands.dense(), at_once.dense(), rtol=1e-12, atol=0)


def test_a_constant_map_stays_constant():
    _, features, centre = drawn(2, 25, 1)
    constant = torch.full((50, 3), 0.7, dtype=torch.float64)
    found = guided_codes(SparseCodes.from_dense(constant), features, 25, centre=centre, gamma=0.4, least=0.9)
    torch.testing.assert_close(found.dense(), constant)


def test_patches_that_are_like_no_other_keep_their_codes():
    dense, features, centre = drawn(2, 15, 11)
    codes = SparseCodes.from_dense(dense)
    found = guided_codes(codes, features, 15, centre=centre, gamma=1, least=0)
    assert torch.equal(found.concepts, codes.concepts)
    torch.testing.assert_close(found.dense(), dense)


def test_a_patch_on_the_centre_keeps_its_codes():
    dense, features, centre = drawn(1, 10, 5)
    features[4] = centre
    found = guided_codes(SparseCodes.from_dense(dense), features, 10, centre=centre, gamma=0, least=0)
    assert torch.equal(found.dense()[4], dense[4])


def test_a_hole_is_filled_from_patches_that_look_alike_and_from_no_others():
    centre = torch.tensor([5.0, 5.0])
    features = centre + torch.tensor([[1.0, 0.0]] * 3 + [[0.0, 1.0]] * 3)
    activations = torch.tensor([[3.0, 0.0], [0.0, 1.0], [3.0, 0.0], [0.0, 1.0], [0.0, 1.0], [0.0, 1.0]])
    found = guided_codes(SparseCodes.from_dense(activations), features, 6, centre=centre, gamma=0.7, least=0.5)
    torch.testing.assert_close(found.dense(), torch.tensor([[2.0, 0.0]] * 3 + [[0.0, 1.0]] * 3))


def test_no_activation_exceeds_the_largest_before_and_what_was_silent_in_an_image_stays_so():
    dense, features, centre = drawn(5, 16, 30)
    dense *= (torch.rand(5, 1, 30) < 0.5).expand(5, 16, 30).reshape(80, 30)  # silent in whole images
    found = guided_codes(SparseCodes.from_dense(dense), features, 16, centre=centre, gamma=0.2, least=0)
    before, after = dense.view(5, 16, 30).amax(1), found.dense().view(5, 16, 30).amax(1)
    assert bool((after <= before * (1 + 1e-12)).all())
    assert torch.equal(after > 0, before > 0)


def test_least_1_leaves_each_concept_its_peak():
    dense, features, centre = drawn(3, 16, 10)
    codes = SparseCodes.from_dense(dense)
    everything = guided_codes(codes, features, 16, centre=centre, least=0).dense().view(3, 16, 10)
    peaks = guided_codes(codes, features, 16, centre=centre, least=1).dense().view(3, 16, 10)
    largest = everything.amax(1, keepdim=True)
    assert torch.equal(peaks, torch.where(everything == largest, everything, 0))


def test_images_do_not_touch_each_other():
    dense, features, centre = drawn(4, 9, 8)
    order = torch.tensor([2, 0, 3, 1])
    rows = (order[:, None] * 9 + torch.arange(9)).flatten()
    codes = SparseCodes.from_dense(dense)
    straight = guided_codes(codes, features, 9, centre=centre, gamma=0.5)
    shuffled = guided_codes(codes[rows], features[rows], 9, centre=centre, gamma=0.5)
    torch.testing.assert_close(shuffled.dense(), straight.dense()[rows], rtol=1e-10, atol=0)


def test_the_order_of_patches_does_not_matter():
    dense, features, centre = drawn(1, 20, 8)
    order = torch.randperm(20)
    codes = SparseCodes.from_dense(dense)
    straight = guided_codes(codes, features, 20, centre=centre, gamma=0.3, least=0)
    shuffled = guided_codes(codes[order], features[order], 20, centre=centre, gamma=0.3, least=0)
    torch.testing.assert_close(shuffled.dense(), straight.dense()[order], rtol=1e-10, atol=0)


def test_codes_without_entries_or_images_stay_empty():
    nothing = SparseCodes.from_dense(torch.zeros(8, 5))
    assert guided_codes(nothing, torch.randn(8, 3), 4, centre=torch.zeros(3)).nnz == 0
    none = guided_codes(nothing[:0], torch.zeros(0, 3), 4, centre=torch.zeros(3))
    assert (none.n, none.nnz, none.n_concepts) == (0, 0, 5)


def test_codes_given_are_left_as_they_were():
    dense, features, centre = drawn(2, 9, 6)
    codes = SparseCodes.from_dense(dense)
    before = codes.activations.clone(), features.clone(), centre.clone()
    guided_codes(codes, features, 9, centre=centre, gamma=0)
    assert all(torch.equal(a, b) for a, b in zip(before, (codes.activations, features, centre), strict=True))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"tokens": 5}, "tokens: expected a number of patches that divides 12"),
        ({"tokens": 0}, "tokens: expected"),
        ({"features": torch.zeros(11, 3)}, r"features: expected \[12, d\]"),
        ({"features": torch.full((12, 3), torch.nan)}, "features: expected finite"),
        ({"centre": torch.zeros(4)}, r"centre: expected \[3\]"),
        ({"centre": torch.tensor([0, torch.inf, 0])}, "centre: expected finite"),
        ({"gamma": 1.1}, "gamma: expected a number of 0 to 1"),
        ({"least": -0.1}, "least: expected a number of 0 to 1"),
        ({"least": float("nan")}, "least: expected a number of 0 to 1"),
    ],
)
def test_bad_input_is_named(change, message):
    arguments = {"features": torch.randn(12, 3), "tokens": 4, "centre": torch.zeros(3)} | change
    with pytest.raises(InsightError, match=message):
        guided_codes(SparseCodes.from_dense(torch.ones(12, 2)), **arguments)

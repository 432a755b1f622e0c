"""Steering: codes and features after edits, against their dense form in float64."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from insight import ConceptModel, InsightError
from insight.concept import unnamed
from insight.steering import Steering, steer, steered_features, steered_tokens
from sae import SaeConfig, SparseAutoencoder, SparseCodes

from .random_models import CONCEPTS, DIM, GRID, Pixels, random_dictionary, random_graph

EDITS: dict[str, Any] = {"amplify": {3: 2.5, 4: 0.0, 9: 0.5}, "remove": [7], "set": {11: 1.25, 12: 0.0}}


def random_codes(rng: np.random.Generator, rows: int = 30) -> SparseCodes:
    """About half of all pairs are active."""
    drawn = rng.uniform(0.1, 2, (rows, CONCEPTS)) * (rng.random((rows, CONCEPTS)) < 0.5)
    return SparseCodes.from_dense(torch.from_numpy(drawn).float())


def edited_by_hand(dense: Tensor, where: Tensor) -> Tensor:
    """EDITS in float64 on dense codes."""
    edited = dense.double().clone()
    edited[:, 3] *= 2.5
    edited[:, 4] = 0
    edited[:, 9] *= 0.5
    edited[:, 7] = 0
    edited[:, 11] = 1.25
    edited[:, 12] = 0
    return torch.where(where[:, None], edited, dense.double())


@pytest.mark.parametrize("masked", [False, True])
def test_codes_are_edited_as_dense_ones_would_be(masked: bool) -> None:
    rng = np.random.default_rng()
    codes = random_codes(rng)
    where = torch.from_numpy(rng.random(codes.n) < 0.5) if masked else torch.ones(codes.n, dtype=torch.bool)
    edited = steer(codes, **EDITS, where=where if masked else None)
    torch.testing.assert_close(edited.dense().double(), edited_by_hand(codes.dense(), where), rtol=1e-6, atol=1e-7)
    assert bool((edited.activations > 0).all())


def test_no_edit_leaves_codes_as_they_are() -> None:
    codes = random_codes(np.random.default_rng())
    same = steer(codes)
    assert torch.equal(same.offsets, codes.offsets)
    assert torch.equal(same.concepts, codes.concepts)
    assert torch.equal(same.activations, codes.activations)


def test_amplifying_what_is_silent_leaves_it_silent_and_setting_puts_it_there() -> None:
    silent = SparseCodes.from_dense(torch.zeros(5, CONCEPTS))
    assert steer(silent, amplify={2: 100.0}).nnz == 0
    assert steer(silent, set={2: 3.0}).dense().tolist() == [[3.0 if c == 2 else 0.0 for c in range(CONCEPTS)]] * 5


@pytest.mark.parametrize("inputs", ["raw", "unit_norm", "layer_norm"])
def test_features_move_by_what_the_edit_changes_of_their_reconstruction(inputs: Any) -> None:
    rng = np.random.default_rng()
    sae = random_dictionary(rng)
    sae.config = SaeConfig(dim=DIM, n_concepts=CONCEPTS, k=4, fractions=(1.0,), selection="relu", inputs=inputs)
    x = torch.from_numpy(rng.standard_normal((40, DIM)) * rng.uniform(0.5, 20, (40, 1)) + 1).float()
    where = torch.from_numpy(rng.random(40) < 0.5)
    found = steered_tokens(sae, x, Steering(**EDITS), where)
    before = sae.encode(x).dense()
    moved = edited_by_hand(before, where) - before.double()
    size = {
        "raw": torch.ones(40, 1, dtype=torch.float64),
        "unit_norm": x.double().norm(dim=1, keepdim=True),
        "layer_norm": x.double().std(dim=1, correction=0, keepdim=True),
    }[inputs]
    expected = x.double() + size * (moved @ sae.decoder.detach().double())
    torch.testing.assert_close(found.double(), expected, rtol=1e-4, atol=1e-4 * float(x.abs().max()))
    assert torch.equal(found[~where], x[~where])
    assert not torch.allclose(found[where], x[where], atol=1e-2)


def bits(x: Tensor) -> Tensor:
    return x.contiguous().view(torch.int32)


def test_no_edit_gives_features_back_bit_by_bit() -> None:
    rng = np.random.default_rng()
    x = torch.from_numpy(rng.standard_normal((20, DIM))).float()
    x[0, 0] = -0.0
    nothing = (Steering(), Steering(amplify={3: 1.0}), Steering(set={3: 5.0}, remove=[4]))
    nowhere = torch.zeros(20, dtype=torch.bool)
    for edits, where in zip(nothing, (None, None, nowhere)):
        assert torch.equal(bits(steered_tokens(random_dictionary(rng), x, edits, where)), bits(x))


@pytest.fixture
def model() -> ConceptModel:
    rng = np.random.default_rng()
    config = {"backbone": {"name": "pixels", "fingerprint": "none", "description": "", "grid": list(GRID)}}
    concepts = unnamed([0] * CONCEPTS, [1] * CONCEPTS, [0.0] * CONCEPTS)
    return ConceptModel(random_dictionary(rng), concepts, random_graph(rng), config, backbone=Pixels())


@pytest.mark.parametrize("shape", [(4, 4), (3, 4, 4)])
def test_only_patches_of_the_mask_are_steered(model: ConceptModel, shape: tuple[int, ...]) -> None:
    images = torch.rand(3, 3, 16, 16)
    mask = torch.zeros(shape, dtype=torch.bool)
    mask[..., 1:3, 2] = True
    before = model.backbone.encode_image(images)
    after = steered_features(model, images, Steering(set={5: 10.0}), mask)
    changed = (after.patches != before.patches).any(2).view(3, 4, 4)
    assert torch.equal(changed, mask.expand(3, 4, 4))
    assert torch.equal(after.pooled, before.pooled)
    assert after.grid == before.grid
    every = steered_features(model, images, Steering(set={5: 10.0}))
    assert torch.allclose(every.patches.view(3, 4, 4, DIM)[:, 1:3, 2], after.patches.view(3, 4, 4, DIM)[:, 1:3, 2])


def test_features_without_a_concept_decode_without_it() -> None:
    """With orthonormal rows that explain a token wholly, removing concepts removes their parts exactly."""
    rows = torch.linalg.qr(torch.randn(8, 8, dtype=torch.float64))[0].float()
    sae = SparseAutoencoder(SaeConfig(dim=8, n_concepts=8, k=4, fractions=(1.0,), selection="relu"))
    with torch.no_grad():
        sae.encoder.copy_(rows)
        sae.decoder.copy_(rows)
    activations = torch.rand(10, 8) + 0.5
    found = steered_tokens(sae, activations @ rows, Steering(remove=[1, 6]))
    activations[:, [1, 6]] = 0
    torch.testing.assert_close(found, activations @ rows, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("edits", "complaint"),
    [
        ({"amplify": {CONCEPTS: 2.0}}, f"expected concepts of 0 to {CONCEPTS - 1}, found {CONCEPTS}"),
        ({"remove": [-1]}, "found -1"),
        ({"remove": [3], "set": {3: 1.0}}, "expected each concept once, found 3 more than once"),
        ({"amplify": {3: -1.0}}, "factors and activations of 0 or more, found -1"),
        ({"set": {3: float("nan")}}, "found nan"),
    ],
)
def test_what_is_no_edit_is_refused(edits: dict[str, Any], complaint: str) -> None:
    codes = random_codes(np.random.default_rng())
    with pytest.raises(InsightError, match=complaint):
        steer(codes, **edits)


def test_masks_of_another_shape_are_refused(model: ConceptModel) -> None:
    with pytest.raises(InsightError, match=r"expected a bool mask \[4, 4\] or \[2, 4, 4\], found bool \[4, 5\]"):
        steered_features(model, torch.rand(2, 3, 16, 16), Steering(), torch.ones(4, 5, dtype=torch.bool))
    with pytest.raises(InsightError, match="found float32"):
        steered_features(model, torch.rand(2, 3, 16, 16), Steering(), torch.ones(4, 4))
    with pytest.raises(InsightError, match="a bool for each of 30 rows"):
        steer(random_codes(np.random.default_rng()), remove=[1], where=torch.ones(29, dtype=torch.bool))

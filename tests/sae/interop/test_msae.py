"""Checkpoints of MSAE encode and decode as its documented formulas say, with the features' mean and scale folded in."""

import numpy as np
import pytest
import torch

from sae import InsightError
from sae.interop import load_msae

from .formulas import above, assert_same, largest, random

D, M, N = 12, 40, 60
MEAN, SCALE = 0.7, 1.3


@pytest.fixture
def write(tmp_path):
    """Writes a .pth file as train.py does (its target norm is a NumPy number); `name` is without m, d and the data."""

    def write(name, arrays, mean=MEAN, scale=SCALE):
        path = tmp_path / f"{M}_{D}_{name}_cc3m_ViT-B~16_train_image_2905936_512.pth"
        content = {"mean_center": torch.full((D,), mean), "scaling_factor": scale, "target_norm": np.sqrt(512)}
        torch.save({"model": arrays, **content}, path)
        return path

    return write


def arrays(generator, **more):
    shapes = {"pre_bias": (D,), "encoder": (D, M), "latent_bias": (M,), "decoder": (M, D)}
    weights = {name: random(generator, *shape, scale=0.5) for name, shape in shapes.items()}
    return weights | {"latents_activation_frequency": torch.zeros(M, dtype=torch.int64)} | more


def compare(sae, x, w, rule, decoder=None):
    w = {name: array.double() for name, array in w.items()}
    chosen = rule(((x - MEAN) * SCALE - w["pre_bias"]) @ w["encoder"] + w["latent_bias"])
    rows = w["decoder"] if decoder is None else decoder.double()
    assert_same(sae, x, chosen, (chosen.activations @ rows + w["pre_bias"]) / SCALE + MEAN)


@pytest.mark.parametrize(
    ("name", "rule", "selection", "k"),
    [
        ("ReLU_003_False_False_0.0", lambda u: above(u, 0.0), "relu", M),
        ("TopKReLU_6_False_False_0.0", lambda u: largest(u, 6), "topk", 6),
        ("TopKReLU_6_UW_False_False_0.0", lambda u: above(u, 0.0), "relu", 6),
        ("TopKReLU_6_RW_False_False_0.0", lambda u: above(u, 0.0), "relu", 6),
    ],
)
def test_the_name_tells_the_activation(generator, write, name, rule, selection, k):
    w = arrays(generator)
    sae = load_msae(write(name, w))
    compare(sae, random(generator, N, D).double(), w, rule)
    assert (sae.config.selection, sae.config.k) == (selection, k)


def test_jumprelu(generator, write):
    learnt = random(generator, M)
    w = arrays(generator, **{"activation.log_threshold": learnt, "dead_activations.log_threshold": learnt})
    sae = load_msae(write(f"JumpReLU_{M}_False_False_0.0", w))
    compare(sae, random(generator, N, D).double(), w, lambda u: above(u, learnt.double().exp()))


def test_batch_topk_needs_a_threshold(generator, write):
    w = arrays(generator)
    with pytest.raises(InsightError, match="BatchTopK keeps no threshold in the file; pass one"):
        load_msae(write("BatchTopKReLU_6_False_False_0.0", w))
    sae = load_msae(write("BatchTopKReLU_6_False_False_0.0", w), threshold=0.5)
    compare(sae, random(generator, N, D).double(), w, lambda u: above(u, 0.5))


def test_tied_weights_decode_with_the_encoder(generator, write):
    w = arrays(generator)
    rows = w["encoder"].T
    del w["decoder"]
    sae = load_msae(write("ReLU_01_True_False_0.0", w))
    compare(sae, random(generator, N, D).double(), w, lambda u: above(u, 0.0), decoder=rows)


def test_layer_normalisation_divides_by_the_sample_deviation(generator, write):
    w = arrays(generator)
    sae, x = load_msae(write("TopKReLU_6_False_True_0.0", w, mean=0.0)), 3 * random(generator, N, D).double() + 1
    w = {name: array.double() for name, array in w.items()}
    mu, deviation = (x * SCALE).mean(1, keepdim=True), (x * SCALE).std(1, keepdim=True)
    chosen = largest(((x * SCALE - mu) / deviation - w["pre_bias"]) @ w["encoder"] + w["latent_bias"], 6)
    decoded = (chosen.activations @ w["decoder"] + w["pre_bias"]) * deviation + mu
    assert_same(sae, x, chosen, decoded / SCALE)
    assert sae.config.inputs == "layer_norm"


def test_what_cannot_be_carried_over_is_named(generator, write, tmp_path):
    w = arrays(generator)
    for name, complaint in (
        ("ReLU_003_False_False_30.0", r"expected no soft cap, found 30\.0"),
        ("TopKabs_6_False_False_0.0", "found TopKabs"),
        ("TopKReLU_6_False_True_0.0", "layer normalisation of features with a mean taken off"),
        ("TopKReLU_False_False_0.0", "expected k behind TopKReLU in the name"),
        ("TopKReLU_41_False_False_0.0", "k: expected 1 to n_concepts = 40, found 41"),
    ):
        with pytest.raises(InsightError, match=complaint):
            load_msae(write(name, w))
    with pytest.raises(InsightError, match="expected the name that MSAE gave it"):
        load_msae(write("ReLU_003_False_False_0.0", w).rename(tmp_path / "model.pth"))
    other = write("ReLU_003_False_False_0.0", w)
    with pytest.raises(InsightError, match="expected 99 concepts of width 12, found 40"):
        load_msae(other.rename(tmp_path / f"99_{D}_ReLU_003_False_False_0.0_x.pth"))

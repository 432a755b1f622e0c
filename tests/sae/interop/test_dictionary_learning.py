"""Checkpoints of dictionary_learning encode and decode as its documented formulas say."""

import json

import pytest
import torch

from sae import InsightError
from sae.config import PUBLISHED_FRACTIONS
from sae.interop import load_dictionary_learning

from .formulas import above, assert_same, gated, largest, random

D, M, K, N = 12, 40, 5, 60


@pytest.fixture
def write(tmp_path):
    """Writes ae.pt and, with settings, config.json; returns the folder."""

    def write(arrays, **trainer):
        torch.save(arrays, tmp_path / "ae.pt")
        if trainer:
            (tmp_path / "config.json").write_text(json.dumps({"trainer": trainer, "buffer": {}}))
        return tmp_path

    return write


def linear(generator, **biases):
    """Arrays of the classes which are built on nn.Linear; the decoder's rows are not unit."""
    weights = {"encoder.weight": random(generator, M, D, scale=0.4), "decoder.weight": random(generator, D, M)}
    return weights | {name: random(generator, size, scale=0.5) for name, size in biases.items()}


def own(generator, **more):
    """Arrays of the classes which name their own."""
    weights = {"W_enc": random(generator, D, M, scale=0.4), "W_dec": random(generator, M, D)}
    return weights | {"b_enc": random(generator, M, scale=0.5), "b_dec": random(generator, D)} | more


def doubles(arrays):
    return {name: array.double() for name, array in arrays.items()}


def test_autoencoder(generator, write):
    arrays = linear(generator, **{"encoder.bias": M, "bias": D})
    sae, x = load_dictionary_learning(write(arrays, dict_class="AutoEncoder")), random(generator, N, D).double()
    w = doubles(arrays)
    chosen = above((x - w["bias"]) @ w["encoder.weight"].T + w["encoder.bias"], 0.0)
    assert_same(sae, x, chosen, chosen.activations @ w["decoder.weight"].T + w["bias"])
    assert (sae.config.selection, sae.config.k) == ("relu", M)


def test_autoencoder_new_does_not_subtract_its_bias(generator, write):
    arrays = linear(generator, **{"encoder.bias": M, "decoder.bias": D})
    sae, x = load_dictionary_learning(write(arrays)), random(generator, N, D).double()
    w = doubles(arrays)
    chosen = above(x @ w["encoder.weight"].T + w["encoder.bias"], 0.0)
    assert_same(sae, x, chosen, chosen.activations @ w["decoder.weight"].T + w["decoder.bias"])


def test_gated_becomes_its_jumprelu(generator, write):
    arrays = linear(generator, decoder_bias=D, r_mag=M, gate_bias=M, mag_bias=M)
    sae = load_dictionary_learning(write(arrays, dict_class="GatedAutoEncoder"))
    x, w = random(generator, N, D).double(), doubles(arrays)
    v = (x - w["decoder_bias"]) @ w["encoder.weight"].T
    chosen = gated(v + w["gate_bias"], w["r_mag"].exp() * v + w["mag_bias"])
    assert_same(sae, x, chosen, chosen.activations @ w["decoder.weight"].T + w["decoder_bias"])
    assert sae.config.selection == "gated"


def test_jumprelu(generator, write):
    arrays = own(generator, threshold=random(generator, M).abs())
    sae = load_dictionary_learning(write(arrays, dict_class="JumpReluAutoEncoder", target_l0=7))
    x, w = random(generator, N, D).double(), doubles(arrays)
    chosen = above(x @ w["W_enc"] + w["b_enc"], w["threshold"])
    assert_same(sae, x, chosen, chosen.activations @ w["W_dec"] + w["b_dec"])
    assert (sae.config.selection, sae.config.k) == ("jumprelu", 7)


@pytest.mark.parametrize("dict_class", ["AutoEncoderTopK", "BatchTopKSAE"])
def test_topk_and_batch_topk_are_told_apart_by_the_config(generator, write, dict_class):
    arrays = linear(generator, **{"encoder.bias": M, "b_dec": D})
    arrays |= {"k": torch.tensor(K, dtype=torch.int), "threshold": torch.tensor(0.7)}
    folder = write(arrays, dict_class=dict_class, k=K)
    x, w = random(generator, N, D).double(), doubles(arrays)
    u = (x - w["b_dec"]) @ w["encoder.weight"].T + w["encoder.bias"]
    chosen = largest(u, K) if dict_class == "AutoEncoderTopK" else above(u, w["threshold"])
    (folder / "checkpoints").mkdir()
    (folder / "ae.pt").rename(folder / "checkpoints" / "ae_100.pt")
    sae = load_dictionary_learning(folder / "checkpoints" / "ae_100.pt")
    assert_same(sae, x, chosen, chosen.activations @ w["decoder.weight"].T + w["b_dec"])
    assert sae.config.k == K

    (folder / "config.json").unlink()
    with pytest.raises(InsightError, match=r"AutoEncoderTopK and BatchTopKSAE alike; put its config\.json"):
        load_dictionary_learning(folder / "checkpoints" / "ae_100.pt")
    again = load_dictionary_learning(folder / "checkpoints" / "ae_100.pt", dict_class)
    assert torch.equal(again.encode(x).dense(), sae.encode(x).dense())


def matryoshka(generator, group_sizes):
    more = {"k": torch.tensor(K, dtype=torch.int), "threshold": torch.tensor(0.6)}
    return own(generator, group_sizes=torch.tensor(group_sizes), **more)


def test_matryoshka_batch_topk_and_its_levels(generator, write):
    arrays = matryoshka(generator, [3, 7, 30])
    sae, x = load_dictionary_learning(write(arrays)), random(generator, N, D).double()
    w = doubles(arrays)
    chosen = above((x - w["b_dec"]) @ w["W_enc"] + w["b_enc"], w["threshold"])
    assert_same(sae, x, chosen, chosen.activations @ w["W_dec"] + w["b_dec"])
    assert sae.config.levels == (3, 10, 40)
    codes = sae.encode(x.float(), level=1).dense().double()
    torch.testing.assert_close(codes[chosen.decided], chosen.activations[chosen.decided, :10], rtol=1e-4, atol=1e-4)


def test_the_released_dictionary_of_cfm_has_the_published_levels(generator, write):
    sizes = [65, 245, 491, 983, 1966, 4442]
    arrays = {"W_enc": random(generator, 8, 8192), "W_dec": random(generator, 8192, 8), "b_enc": torch.zeros(8192)}
    arrays |= {"b_dec": torch.zeros(8), "k": torch.tensor(12), "threshold": torch.tensor(3.0)}
    sae = load_dictionary_learning(write(arrays | {"group_sizes": torch.tensor(sizes)}))
    assert sae.config.fractions == PUBLISHED_FRACTIONS
    assert sae.config.levels == (65, 310, 801, 1784, 3750, 8192)
    assert (sae.config.k, sae.config.selection, float(sae.threshold)) == (12, "batch_topk", 3.0)


def test_any_group_sizes_are_kept(generator, write):
    for _ in range(20):
        groups = int(torch.randint(1, 9, (), generator=generator))
        sizes = torch.randint(1, 200, (groups,), generator=generator)
        m = int(sizes.sum())
        arrays = {"W_enc": torch.zeros(2, m), "W_dec": torch.zeros(m, 2), "b_enc": torch.zeros(m)}
        arrays |= {"b_dec": torch.zeros(2), "k": torch.tensor(1), "threshold": torch.tensor(-1.0)}
        sae = load_dictionary_learning(write(arrays | {"group_sizes": sizes}))
        assert sae.config.levels == tuple(sizes.cumsum(0).tolist())


def test_without_k_the_error_says_where_it_should_be(generator, write):
    arrays = linear(generator, **{"encoder.bias": M, "b_dec": D})
    with pytest.raises(InsightError, match=r"ae\.pt: expected k \(in the file or as trainer\.k in config\.json\)"):
        load_dictionary_learning(write(arrays, dict_class="AutoEncoderTopK"))
    assert load_dictionary_learning(write(arrays, dict_class="AutoEncoderTopK", k=K)).config.k == K


def test_arrays_of_another_class_are_named(generator, write):
    with pytest.raises(InsightError, match="expected the arrays of GatedAutoEncoder, found"):
        load_dictionary_learning(write(own(generator, threshold=torch.zeros(M)), dict_class="GatedAutoEncoder"))
    with pytest.raises(InsightError, match="found 'IdentityDict'"):
        load_dictionary_learning(write(own(generator, threshold=torch.zeros(M)), dict_class="IdentityDict"))
    with pytest.raises(InsightError, match=r"expected the arrays of a class of dictionary_learning, found .*surprise"):
        load_dictionary_learning(write(own(generator, threshold=torch.zeros(M), surprise=torch.zeros(1)) | {}, k=3))

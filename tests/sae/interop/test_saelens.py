"""Folders of SAELens encode and decode as its documented formulas say; an export comes back as it was."""

import json

import pytest
import torch
from safetensors.torch import save_file

from sae import InsightError, SaeConfig, SparseAutoencoder
from sae.interop import export_saelens, load_saelens

from .formulas import above, assert_alike, assert_same, gated, largest, random

D, M, K, N = 12, 40, 5, 60


@pytest.fixture
def write(tmp_path):
    def write(settings, arrays, **more):
        (tmp_path / "cfg.json").write_text(json.dumps({"d_in": D, "d_sae": M, "dtype": "float32", **settings, **more}))
        save_file({name: array.contiguous() for name, array in arrays.items()}, tmp_path / "sae_weights.safetensors")
        return tmp_path

    return write


def arrays(generator, *biases, **more):
    weights = {"W_enc": random(generator, D, M, scale=0.4), "W_dec": random(generator, M, D)}
    weights |= {"b_dec": random(generator, D, scale=0.5)}
    return weights | {name: random(generator, M, scale=0.4) for name in biases or ("b_enc",)} | more


def doubles(w):
    return {name: array.double() for name, array in w.items()}


SIX = {"metadata": {"sae_lens_version": "6.54.12"}, "apply_b_dec_to_input": True, "normalize_activations": "none"}


@pytest.mark.parametrize("subtract", [True, False])
def test_standard(generator, write, subtract):
    w = arrays(generator)
    sae = load_saelens(write(SIX | {"apply_b_dec_to_input": subtract, "architecture": "standard"}, w))
    x, w = random(generator, N, D).double(), doubles(w)
    chosen = above((x - w["b_dec"] * subtract) @ w["W_enc"] + w["b_enc"], 0.0)
    assert_same(sae, x, chosen, chosen.activations @ w["W_dec"] + w["b_dec"])


@pytest.mark.parametrize("subtract", [True, False])
def test_gated(generator, write, subtract):
    w = arrays(generator, "b_gate", "b_mag", "r_mag")
    sae = load_saelens(write(SIX | {"apply_b_dec_to_input": subtract, "architecture": "gated"}, w))
    x, w = random(generator, N, D).double(), doubles(w)
    v = (x - w["b_dec"] * subtract) @ w["W_enc"]
    chosen = gated(v + w["b_gate"], w["r_mag"].exp() * v + w["b_mag"])
    assert_same(sae, x, chosen, chosen.activations @ w["W_dec"] + w["b_dec"])


@pytest.mark.parametrize("name", ["threshold", "log_threshold"])
def test_jumprelu(generator, write, name):
    w = arrays(generator, "b_enc", name)
    sae = load_saelens(write(SIX | {"architecture": "jumprelu"}, w))
    x, w = random(generator, N, D).double(), doubles(w)
    threshold = w[name] if name == "threshold" else w[name].exp()
    chosen = above((x - w["b_dec"]) @ w["W_enc"] + w["b_enc"], threshold)
    assert_same(sae, x, chosen, chosen.activations @ w["W_dec"] + w["b_dec"])
    assert (sae.config.selection, sae.config.k) == ("jumprelu", M)


@pytest.mark.parametrize("rescale", [True, False])
def test_topk_over_activations_rescaled_by_the_decoders_norms(generator, write, rescale):
    w = arrays(generator)
    w["W_dec"] *= torch.linspace(0.2, 2.0, M).unsqueeze(1)
    sae = load_saelens(write(SIX | {"architecture": "topk", "k": K, "rescale_acts_by_decoder_norm": rescale}, w))
    x, w = random(generator, N, D).double(), doubles(w)
    norms = w["W_dec"].norm(dim=1) if rescale else torch.ones(M)
    chosen = largest(((x - w["b_dec"]) @ w["W_enc"] + w["b_enc"]) * norms, K)
    assert_same(sae, x, chosen, chosen.activations / norms @ w["W_dec"] + w["b_dec"])
    assert sae.config.k == K


@pytest.mark.parametrize("widths", [None, [4, 15, M]])
def test_a_checkpoint_of_batch_topk_training_selects_by_its_threshold(generator, write, widths):
    w = arrays(generator, "b_enc", topk_threshold=torch.tensor(0.9, dtype=torch.float64))
    name = {"architecture": "matryoshka_batchtopk", "matryoshka_widths": widths} if widths else {}
    settings = SIX | {"architecture": "batchtopk", "k": 5.4, "rescale_acts_by_decoder_norm": True} | name
    sae = load_saelens(write(settings, w))
    x, w = random(generator, N, D).double(), doubles(w)
    norms = w["W_dec"].norm(dim=1)
    chosen = above(((x - w["b_dec"]) @ w["W_enc"] + w["b_enc"]) * norms, 0.9)
    assert_same(sae, x, chosen, chosen.activations / norms @ w["W_dec"] + w["b_dec"])
    assert (sae.config.selection, sae.config.k, sae.config.levels) == ("batch_topk", 5, tuple(widths or [M]))


def test_normalizations(generator, write):
    x, w = 3 * random(generator, N, D).double() + 1, arrays(generator)
    scale, none = D**0.5 / x.norm(dim=1, keepdim=True), torch.zeros(N, 1)
    mean, deviation = x.mean(1, keepdim=True), x.std(1, keepdim=True)
    cases = {
        "constant_norm_rescale": (scale, none),
        "layer_norm": (1 / deviation, mean),
        "expected_average_only_in": (torch.full((N, 1), 0.31, dtype=torch.float64), none),
        None: (torch.ones(N, 1), none),
    }
    for subtract in (True, False):
        for name, (factor, shift) in cases.items():
            settings = SIX | {
                "architecture": "standard",
                "normalize_activations": name,
                "apply_b_dec_to_input": subtract,
            }
            folder = write(settings, w)
            (folder / "activation_scaler.json").write_text('{"scaling_factor": 0.31}')
            b, v = w["b_dec"].double(), doubles(w)
            chosen = above(((x - shift) * factor - b * subtract) @ v["W_enc"] + v["b_enc"], 0.0)
            assert_same(load_saelens(folder), x, chosen, (chosen.activations @ v["W_dec"] + b) / factor + shift)


OLD = {"hook_point": "blocks.8.hook_resid_pre", "l1_coefficient": 8e-5, "lr": 4e-4, "d_sae": M}


def test_layouts_before_version_6(generator, write):
    x, w = random(generator, N, D).double(), arrays(generator)
    v = doubles(w)
    u = (x - v["b_dec"]) @ v["W_enc"] + v["b_enc"]
    topk = {"activation_fn_str": "topk", "activation_fn_kwargs": {"k": K}, "architecture": "standard"}
    for settings, more, chosen in (
        (OLD, {}, above(u, 0.0)),
        (
            OLD | {"normalize_activations": False, "activation_fn": "relu"},
            {"scaling_factor": torch.ones(M)},
            above(u, 0.0),
        ),
        (OLD | topk, {}, largest(u, K)),
    ):
        sae = load_saelens(write(settings, w | more))
        assert_same(sae, x, chosen, chosen.activations @ v["W_dec"] + v["b_dec"])
    factor = random(generator, M).abs()
    chosen = above(u, 0.0)
    sae = load_saelens(write(OLD | {"finetuning_scaling_factor": True}, w | {"scaling_factor": factor}))
    assert_same(sae, x, chosen, chosen.activations * factor.double() @ v["W_dec"] + v["b_dec"])
    with pytest.raises(InsightError, match=r"scaling_factor which cfg\.json says is not in use"):
        load_saelens(write(OLD, w | {"scaling_factor": factor}))


def test_half_precision_is_read_exactly(generator, write):
    w = {name: array.bfloat16() for name, array in arrays(generator).items()}
    sae = load_saelens(write(SIX | {"architecture": "standard", "dtype": "bfloat16"}, w))
    assert torch.equal(sae.encoder.detach().T, w["W_enc"].float())


def test_what_cannot_be_carried_over_is_named(generator, write, tmp_path):
    w = arrays(generator)
    for settings, complaint in (
        ({"architecture": "transcoder"}, "found 'transcoder'"),
        ({"architecture": "standard", "activation_fn": "tanh-relu"}, "found 'tanh-relu'"),
        ({"architecture": "standard", "normalize_activations": "expected_average_only_in"}, "activation_scaler.json"),
        ({"architecture": "standard", "normalize_activations": "covariance_whitening"}, "fold_activation_whitening"),
        ({"architecture": "topk"}, "cfg.json: expected k, a whole number of at least 1, found None"),
        ({"architecture": "topk", "k": M + 1}, "k: expected 1 to n_concepts"),
        ({"architecture": "jumprelu"}, "expected an array threshold"),
    ):
        with pytest.raises(InsightError, match=complaint):
            load_saelens(write(SIX | settings, w))
    settings = {"architecture": "matryoshka_batchtopk", "k": 3, "matryoshka_widths": [4, 4, M]}
    with pytest.raises(InsightError, match="expected matryoshka_widths which rise to 40, found"):
        load_saelens(write(SIX | settings, w | {"topk_threshold": torch.tensor(0.1)}))
    with pytest.raises(InsightError, match=r"expected no other arrays, found \['W_skip'\]"):
        load_saelens(write(SIX | {"architecture": "standard"}, w | {"W_skip": torch.zeros(D, D)}))
    (tmp_path / "sae_weights.safetensors").unlink()
    with pytest.raises(InsightError, match=r"sae_weights\.safetensors: no such file"):
        load_saelens(tmp_path)
    with pytest.raises(InsightError, match="no such file"):
        load_saelens(tmp_path / "nowhere")


@pytest.mark.parametrize("inputs", ["raw", "unit_norm", "layer_norm"])
@pytest.mark.parametrize("selection", ["batch_topk", "topk", "jumprelu", "relu", "gated"])
def test_an_export_comes_back_with_the_same_codes(generator, tmp_path, selection, inputs):
    config = SaeConfig(D, M, K, fractions=(0.1, 0.2, 0.7), selection=selection, inputs=inputs)
    sae = SparseAutoencoder(config)
    for weight in sae.weights:
        weight.copy_(random(generator, *weight.shape, scale=0.5))
    if selection != "relu":
        sae.threshold.copy_(random(generator, *sae.threshold.shape).abs())
    export_saelens(sae, tmp_path)
    again, x = load_saelens(tmp_path), random(generator, N, D)
    assert_alike(again.encode(x).dense(), sae.encode(x).dense())
    assert_alike(again(x).detach(), sae(x).detach())
    assert again.config.inputs == inputs
    if selection == "batch_topk":
        assert again.config == config

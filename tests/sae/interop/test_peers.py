"""The toolkits' own autoencoders, saved by their own functions, encode and decode alike once imported.

Each test needs its toolkit: `dictionary_learning`, `sae_lens` and `overcomplete` from the package registry; `saev` from
its repository (on PYTHONPATH); MSAE's repository, which is no package, in the folder that MSAE_REPOSITORY names.
"""

import importlib
import importlib.util
import json
import os
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from sae import SaeConfig, SparseAutoencoder
from sae.interop import (
    export_saelens,
    load_dictionary_learning,
    load_msae,
    load_overcomplete,
    load_saelens,
    load_saev,
)

from .formulas import assert_alike, random

pytestmark = pytest.mark.peer
D, M, K, N = 16, 48, 6, 200


def fill(module, generator):
    """Random weights and biases in place of the first ones; counters and the like stay."""
    with torch.no_grad():
        for parameter in module.parameters():
            if parameter.requires_grad:
                parameter.copy_(random(generator, *parameter.shape, scale=0.4).to(parameter))
    return module


def compare(sae, x, codes, reconstructions):
    assert_alike(sae.encode(x).dense(), codes.detach())
    same = torch.isclose(sae(x), reconstructions.detach(), rtol=1e-3, atol=1e-3).all(1)
    assert same.float().mean() >= 0.98


def _dictionaries(dl):
    from dictionary_learning.trainers.batch_top_k import BatchTopKSAE
    from dictionary_learning.trainers.matryoshka_batch_top_k import MatryoshkaBatchTopKSAE
    from dictionary_learning.trainers.top_k import AutoEncoderTopK

    d = dl.dictionary
    return [
        (d.AutoEncoder(D, M), {}),
        (d.AutoEncoderNew(D, M), {}),
        (d.GatedAutoEncoder(D, M), {}),
        (d.JumpReluAutoEncoder(D, M), {"target_l0": 9}),
        (AutoEncoderTopK(D, M, K), {"k": K}),
        (BatchTopKSAE(D, M, K), {"k": K}),
        (MatryoshkaBatchTopKSAE(D, M, K, [8, 16, 24]), {"k": K}),
    ]


def test_dictionary_learning(generator, tmp_path):
    dl = pytest.importorskip("dictionary_learning")
    importlib.import_module("dictionary_learning.dictionary")
    x = random(generator, N, D)
    for theirs, settings in _dictionaries(dl):
        fill(theirs, generator)
        if hasattr(theirs, "threshold"):
            theirs.threshold.data.copy_(random(generator, *theirs.threshold.shape).abs())
        torch.save({name: value.cpu() for name, value in theirs.state_dict().items()}, tmp_path / "ae.pt")
        trainer = {"dict_class": type(theirs).__name__, "activation_dim": D, "dict_size": M, **settings}
        (tmp_path / "config.json").write_text(json.dumps({"trainer": trainer}))
        compare(load_dictionary_learning(tmp_path), x, theirs.encode(x), theirs(x))


def test_what_dictionary_learning_trains_and_saves(generator, tmp_path):
    """With `normalize_activations` the scale of the features is folded into the file by its own `trainSAE`."""
    pytest.importorskip("dictionary_learning")
    from dictionary_learning import trainers
    from dictionary_learning.trainers.matryoshka_batch_top_k import MatryoshkaBatchTopKTrainer
    from dictionary_learning.training import trainSAE
    from dictionary_learning.utils import load_dictionary

    common = {"steps": 30, "activation_dim": D, "dict_size": M, "layer": 0, "lm_name": "none", "device": "cpu"}
    sparse = {**common, "k": K, "warmup_steps": 1, "threshold_start_step": 2, "lr": 1e-3}
    runs = [
        {"trainer": trainers.TopKTrainer, **sparse},
        {"trainer": trainers.BatchTopKTrainer, **sparse},
        {"trainer": MatryoshkaBatchTopKTrainer, **sparse, "group_fractions": [0.2, 0.3, 0.5]},
        {"trainer": trainers.StandardTrainer, **common, "warmup_steps": 1, "sparsity_warmup_steps": 2},
    ]
    data = [7 * random(generator, 128, D) + 2 for _ in range(140)]
    trainSAE(iter(data), runs, steps=30, save_dir=str(tmp_path), normalize_activations=True, device="cpu")
    x = 7 * random(generator, N, D) + 2  # trainSAE scales what it is given in place
    for number in range(len(runs)):
        folder = tmp_path / f"trainer_{number}"
        theirs, _ = load_dictionary(str(folder), device="cpu")
        sae = load_dictionary_learning(folder)
        compare(sae, x, theirs.encode(x), theirs(x))
        assert sae.config.selection == ("topk", "batch_topk", "batch_topk", "relu")[number]


def _lenses(lens):
    common = {"d_in": D, "d_sae": M}
    for normalization in ("none", "layer_norm", "constant_norm_rescale"):
        for subtract in (True, False):
            how = {**common, "normalize_activations": normalization, "apply_b_dec_to_input": subtract}
            if lens.__version__ < "6":
                yield from _lenses_before_6(lens, how)
                continue
            yield lens.StandardSAE(lens.StandardSAEConfig(**how))
            yield lens.GatedSAE(lens.GatedSAEConfig(**how))
            yield lens.JumpReLUSAE(lens.JumpReLUSAEConfig(**how))
            for rescale in (True, False):
                yield lens.TopKSAE(lens.TopKSAEConfig(**how, k=K, rescale_acts_by_decoder_norm=rescale))


def _lenses_before_6(lens, how):
    common = {"dtype": "float32", "device": "cpu", "context_size": 8, "model_name": "-", "hook_name": "-"}
    common |= {"hook_layer": 0, "hook_head_index": None, "prepend_bos": True, "dataset_path": "-"}
    common |= {"dataset_trust_remote_code": True, "sae_lens_training_version": None, **how}
    topk = {"activation_fn_str": "topk", "activation_fn_kwargs": {"k": K}}
    for architecture in ("standard", "gated", "jumprelu"):
        relu = {"architecture": architecture, "activation_fn_str": "relu"}
        for tuned in (True, False) if architecture == "standard" else (False,):
            yield lens.SAE(lens.SAEConfig(**common, **relu, finetuning_scaling_factor=tuned))
    yield lens.SAE(lens.SAEConfig(**common, **topk, architecture="standard", finetuning_scaling_factor=False))


def test_saelens(generator, tmp_path):
    lens = pytest.importorskip("sae_lens")
    x = 2 * random(generator, N, D) + 0.5
    for theirs in _lenses(lens):
        fill(theirs, generator)
        theirs.save_model(tmp_path)
        codes = theirs.encode(x)
        compare(load_saelens(tmp_path), x, codes, theirs.decode(codes))


@pytest.mark.parametrize("rescale", [True, False])
@pytest.mark.parametrize("nested", [True, False])
def test_saelens_batch_topk_training(generator, tmp_path, nested, rescale):
    lens = pytest.importorskip("sae_lens", minversion="6")
    how = {"d_in": D, "d_sae": M, "k": 4.6, "rescale_acts_by_decoder_norm": rescale}
    if nested:
        config = lens.MatryoshkaBatchTopKTrainingSAEConfig(**how, matryoshka_widths=[8, 20, M])
        training = lens.MatryoshkaBatchTopKTrainingSAE(config)
    else:
        training = lens.BatchTopKTrainingSAE(lens.BatchTopKTrainingSAEConfig(**how))
    fill(training, generator)
    training.topk_threshold.fill_(0.8)
    training.save_model(tmp_path / "training")
    training.save_inference_model(tmp_path / "inference")
    theirs, x = lens.SAE.load_from_disk(tmp_path / "inference"), random(generator, N, D)
    for folder in ("training", "inference"):
        sae = load_saelens(tmp_path / folder)
        compare(sae, x, theirs.encode(x), theirs(x))
        assert (sae.config.selection, sae.config.k) == ("batch_topk", 5)
        assert sae.config.levels == ((8, 20, M) if nested else (M,))


@pytest.mark.parametrize("inputs", ["raw", "unit_norm", "layer_norm"])
@pytest.mark.parametrize("selection", ["batch_topk", "topk", "jumprelu", "relu", "gated"])
def test_saelens_reads_our_export(generator, tmp_path, selection, inputs):
    lens = pytest.importorskip("sae_lens", minversion="6")
    sae = SparseAutoencoder(SaeConfig(D, M, K, (0.2, 0.8), selection=selection, inputs=inputs))
    for weight in sae.weights:
        weight.copy_(random(generator, *weight.shape, scale=0.4))
    if selection != "relu":
        sae.threshold.copy_(random(generator, *sae.threshold.shape).abs())
    export_saelens(sae, tmp_path)
    theirs, x = lens.SAE.load_from_disk(tmp_path), 2 * random(generator, N, D) + 0.5
    compare(sae, x, theirs.encode(x), theirs(x))
    theirs.save_model(tmp_path / "again")
    compare(load_saelens(tmp_path / "again"), x, theirs.encode(x), theirs(x))


def _overcompletes(oc, x):
    points = x[:20]
    yield oc.SAE(D, M), {"sae_class": "SAE"}
    yield oc.TopKSAE(D, M, top_k=K), {"sae_class": "TopKSAE", "k": K}
    yield oc.TopKSAE(D, M, top_k=K, encoder_module="mlp_bn_1"), {"sae_class": "TopKSAE", "k": K}
    yield oc.TopKSAE(D, M, top_k=K).tied(bias=True), {"sae_class": "TopKSAE", "k": K}
    yield oc.TopKSAE(D, M, top_k=K).untied(), {"sae_class": "TopKSAE", "k": K}
    yield oc.BatchTopKSAE(D, M, top_k=K * N), {"sae_class": "BatchTopKSAE", "k": K}
    yield oc.JumpSAE(D, M), {}
    yield oc.RATopKSAE(D, M, points, top_k=K), {"sae_class": "TopKSAE", "k": K}
    yield oc.RAJumpSAE(D, M, points), {}
    for normalization in ("l1", "max_l1", "max_l2", "identity"):
        parameters = {"normalization": normalization, "use_multiplier": True}
        yield oc.SAE(D, M, dictionary_params=parameters), {"sae_class": "SAE", "normalization": normalization}


def test_overcomplete(generator, tmp_path):
    oc = pytest.importorskip("overcomplete.sae")
    x = random(generator, N, D)
    for theirs, said in _overcompletes(oc, x):
        fill(theirs, generator)
        theirs.train()
        theirs(x)
        if said.get("sae_class") == "BatchTopKSAE":
            said["threshold"] = theirs.running_threshold.item()
        theirs.eval()
        torch.save(theirs.state_dict(), tmp_path / "sae.pt")
        _, codes, reconstructions = theirs(x)
        compare(load_overcomplete(tmp_path / "sae.pt", **said), x, codes, reconstructions)


def _saevs(nn):
    if not hasattr(nn, "modeling"):  # PyPI's 0.1.0
        config = importlib.import_module("saev.config").SparseAutoencoder(d_vit=D, exp_factor=M // D)
        yield nn.SparseAutoencoder(config), lambda theirs, x: theirs(x)[:2]
        return
    for activation in (nn.modeling.Relu(), nn.modeling.TopK(top_k=K), nn.modeling.BatchTopK(top_k=K)):
        config = nn.SparseAutoencoderConfig(d_model=D, d_sae=M, activation=activation)
        yield nn.SparseAutoencoder(config), lambda theirs, x: (theirs(x).x_hats[:, -1], theirs(x).f_x)


def test_saev(generator, tmp_path):
    nn = pytest.importorskip("saev.nn")
    x = random(generator, N, D)
    for theirs, run in _saevs(nn):
        fill(theirs, generator)
        for _ in range(40):  # BatchTopK measures its threshold
            theirs(x)
        theirs.eval()
        nn.dump(str(tmp_path / "sae.pt"), theirs)
        reconstructions, codes = run(theirs, x)
        compare(load_saev(tmp_path / "sae.pt"), x, codes, reconstructions)


@pytest.fixture
def msae(monkeypatch):
    """MSAE's module, whose name is that of our package."""
    folder = os.environ.get("MSAE_REPOSITORY")
    if not folder:
        pytest.skip("MSAE_REPOSITORY does not name a copy of MSAE's repository")

    def module(name, file):
        spec = importlib.util.spec_from_file_location(name, Path(folder) / file)
        loaded = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(loaded)
        return loaded

    monkeypatch.setitem(sys.modules, "utils", module("utils", "utils.py"))
    return module("msae", "sae.py")


@pytest.mark.parametrize(
    ("activation", "output"),
    [("ReLU", 0), ("TopKReLU_6", 0), ("BatchTopKReLU_6", 1), (f"JumpReLU_{M}", 0), ("nested", 1)],
)
@pytest.mark.parametrize("tied", [True, False])
def test_msae(generator, tmp_path, msae, activation, output, tied):
    how = {"tied": tied, "bias_init": 0.1, "latent_soft_cap": 0.0}
    if activation == "nested":
        theirs = msae.MatryoshkaAutoencoder(M, D, nesting_list=[6, 12, M], **how)
    else:
        theirs = msae.Autoencoder(M, D, activation, **how)
    fill(theirs, generator).eval()
    written = {"ReLU": "ReLU_03", "nested": "TopKReLU_6_UW"}.get(activation, activation)
    path = tmp_path / f"{M}_{D}_{written}_{tied}_False_0.0_cc3m.pth"
    mean, scale = random(generator, D), 0.37
    prepared = {"mean_center": mean, "scaling_factor": scale, "target_norm": np.sqrt(D)}
    torch.save({"model": theirs.state_dict(), **prepared}, path)
    x = 3 * random(generator, N, D)
    z = (x - mean) * scale
    codes = theirs.encode(z)[output]
    decoded = theirs.decode([codes])[0] if activation == "nested" else theirs.decode(codes)
    threshold = 0.0 if activation.startswith("Batch") else None
    compare(load_msae(path, threshold), x, codes, decoded / scale + mean)


def test_msae_reads_back_what_we_read(generator, tmp_path, msae):
    theirs = fill(msae.Autoencoder(M, D, "TopKReLU_6", latent_soft_cap=0.0), generator)
    path = tmp_path / f"{M}_{D}_TopKReLU_6_False_False_0.0_cc3m.pth"
    mean = random(generator, D)
    torch.save({"model": theirs.state_dict(), "mean_center": mean, "scaling_factor": 0.4, "target_norm": 4.0}, path)
    wrapped, x = msae.SAE(str(path)).eval(), random(generator, N, D)
    codes = wrapped.encode(x)[0]
    compare(load_msae(path), x, codes, wrapped.decode(codes))


def test_msae_with_layer_normalisation(generator, tmp_path, msae):
    theirs = fill(msae.Autoencoder(M, D, "TopKReLU_6", normalize=True, latent_soft_cap=0.0), generator).eval()
    path = tmp_path / f"{M}_{D}_TopKReLU_6_False_True_0.0_cc3m.pth"
    prepared = {"mean_center": torch.zeros(D), "scaling_factor": 0.7, "target_norm": 1.0}
    torch.save({"model": theirs.state_dict(), **prepared}, path)
    x = 3 * random(generator, N, D) + 1
    codes, _, info = theirs.encode(x * 0.7)
    compare(load_msae(path), x, codes, theirs.decode(codes, info) / 0.7)

"""State dicts of overcomplete encode and decode as its formulas say; what it does not save has to be given."""

import pytest
import torch

from sae import InsightError
from sae.interop import load_overcomplete

from .formulas import above, assert_same, largest, random

D, M, N = 12, 40, 60


@pytest.fixture
def write(tmp_path):
    def write(arrays):
        torch.save(arrays, tmp_path / "sae.pt")
        return tmp_path / "sae.pt"

    return write


def linear(generator):
    weight, bias = random(generator, M, D, scale=0.4), random(generator, M, scale=0.3)
    return {"encoder.final_block.0.weight": weight, "encoder.final_block.0.bias": bias}


def dictionary(generator, unit=True):
    rows = random(generator, M, D)
    rows = rows / rows.norm(dim=1, keepdim=True) if unit else rows
    return {"dictionary._weights": rows, "dictionary.multiplier": torch.tensor(0.3)}


def scores(w, x):
    return x @ w["encoder.final_block.0.weight"].double().T + w["encoder.final_block.0.bias"].double()


def decoder(w, norm=None):
    rows = w["dictionary._weights"].double()
    return rows / (1 if norm is None else norm(rows)) * w["dictionary.multiplier"].double().exp()


def test_every_class(generator, write):
    x, w = random(generator, N, D).double(), linear(generator) | dictionary(generator)
    cases = [
        (dict(sae_class="SAE"), lambda u: above(u, 0.0)),
        (dict(sae_class="TopKSAE", k=4), lambda u: largest(u, 4)),
        (dict(sae_class="BatchTopKSAE", k=4, threshold=0.6), lambda u: above(u, 0.6)),
    ]
    for said, rule in cases:
        chosen = rule(scores(w, x))
        assert_same(load_overcomplete(write(w), **said), x, chosen, chosen.activations @ decoder(w))
    learnt = random(generator, M)
    chosen = above(scores(w, x), learnt.double().exp())
    assert_same(load_overcomplete(write(w | {"thresholds": learnt})), x, chosen, chosen.activations @ decoder(w))


def test_what_equals_the_threshold_is_kept(generator, write):
    w = linear(generator) | dictionary(generator)
    w["encoder.final_block.0.weight"] = torch.zeros(M, D)
    w["encoder.final_block.0.bias"] = torch.linspace(0.1, 2.0, M)
    edge = w["encoder.final_block.0.bias"][20]
    sae = load_overcomplete(write(w), "BatchTopKSAE", k=4, threshold=edge.item())
    assert sae.encode(torch.ones(1, D)).concepts.tolist() == list(range(20, M))


@pytest.mark.parametrize(
    ("normalization", "norm"),
    [
        ("l2", lambda rows: rows.norm(dim=1, keepdim=True)),
        ("max_l2", lambda rows: rows.norm(dim=1).max()),
        ("l1", lambda rows: rows.abs().sum(1, keepdim=True)),
        ("max_l1", lambda rows: rows.abs().sum(1).max()),
        ("identity", None),
    ],
)
def test_a_dictionary_whose_rows_are_not_unit_needs_its_normalization(generator, write, normalization, norm):
    x, w = random(generator, N, D).double(), linear(generator) | dictionary(generator, unit=False)
    with pytest.raises(InsightError, match=r"found rows of norm .* pass normalization, one of l2"):
        load_overcomplete(write(w), "SAE")
    chosen = above(scores(w, x), 0.0)
    sae = load_overcomplete(write(w), "SAE", normalization=normalization)
    assert_same(sae, x, chosen, chosen.activations @ decoder(w, norm))


def test_archetypal_dictionary(generator, write):
    x, w = random(generator, N, D).double(), linear(generator)
    shares, points, relax = random(generator, M, 9), random(generator, 9, D), random(generator, M, D, scale=0.1)
    shares[:, 0] = shares[:, 0].abs() + 0.1
    w |= {"dictionary.W": shares, "dictionary.C": points, "dictionary.Relax": relax}
    w |= {"dictionary.multiplier": torch.tensor(-0.2)}
    hull = shares.double().relu() / shares.double().relu().sum(1, keepdim=True) @ points.double()
    rows = (hull + relax.double()) * torch.tensor(-0.2).double().exp()
    chosen = largest(scores(w, x), 4)
    assert_same(load_overcomplete(write(w), "TopKSAE", k=4), x, chosen, chosen.activations @ rows)


def test_a_batch_norm_is_folded_in(generator, write):
    x, w = random(generator, N, D).double(), linear(generator) | dictionary(generator)
    place = "encoder.final_block.1"
    stats = {"weight": random(generator, M), "bias": random(generator, M), "running_mean": random(generator, M)}
    stats |= {"running_var": random(generator, M).abs() + 0.1, "num_batches_tracked": torch.tensor(7)}
    w |= {f"{place}.{name}": value for name, value in stats.items()}
    s = {name: value.double() for name, value in stats.items()}
    u = (scores(w, x) - s["running_mean"]) / (s["running_var"] + 1e-5).sqrt() * s["weight"] + s["bias"]
    chosen = above(u, 0.0)
    assert_same(load_overcomplete(write(w), "SAE"), x, chosen, chosen.activations @ decoder(w))
    del w[f"{place}.running_mean"], w[f"{place}.running_var"]
    with pytest.raises(InsightError, match="found a layer norm over the concepts"):
        load_overcomplete(write(w), "SAE")


@pytest.mark.parametrize("tied", [False, True])
def test_tieable_encoder(generator, write, tied):
    x, w = random(generator, N, D).double(), dictionary(generator)
    if tied:
        copies = {name.replace("dictionary", "encoder.tied_to"): array for name, array in w.items()}
        w, encoder = w | copies, decoder(w)
    else:
        w["encoder.weight"] = random(generator, M, D, scale=0.4)
        encoder = w["encoder.weight"].double()
    w["encoder.bias"] = random(generator, M, scale=0.3)
    chosen = largest(x @ encoder.T + w["encoder.bias"].double(), 4)
    assert_same(load_overcomplete(write(w), "TopKSAE", k=4), x, chosen, chosen.activations @ decoder(w))


def test_what_is_missing_is_named(generator, write):
    w = linear(generator) | dictionary(generator)
    deep = {"encoder.mlp_blocks.0.0.weight": torch.zeros(D, D)}
    for arrays, said, complaint in (
        (w, {}, "pass sae_class: SAE or TopKSAE or BatchTopKSAE or JumpSAE"),
        (w, {"sae_class": "TopKSAE"}, "pass k"),
        (w, {"sae_class": "BatchTopKSAE", "k": 4}, r"pass threshold=sae\.running_threshold"),
        (w, {"sae_class": "JumpSAE"}, "expected an array thresholds"),
        (w | deep, {"sae_class": "SAE"}, r"expected no other arrays, found \['encoder\.mlp_blocks"),
        (w | {"Q": torch.zeros(4)}, {"sae_class": "SAE"}, r"expected no other arrays, found \['Q'\]"),
    ):
        with pytest.raises(InsightError, match=complaint):
            load_overcomplete(write(arrays), **said)


def test_a_pickled_autoencoder_is_refused_and_the_way_out_told(write):
    with pytest.raises(InsightError, match=r"found Python objects, .* torch\.save\(model\.state_dict\(\), file\)"):
        load_overcomplete(write(torch.nn.Linear(2, 3)), "SAE")

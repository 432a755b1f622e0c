"""Checkpoints of saev encode and decode as the saev that wrote them."""

import json

import pytest
import torch

from sae import InsightError
from sae.interop import load_saev

from .formulas import above, assert_same, largest, random

D, M, K, N = 12, 40, 5, 60


@pytest.fixture
def write(tmp_path):
    def write(header, arrays):
        with (tmp_path / "sae.pt").open("wb") as file:
            file.write(json.dumps(header).encode() + b"\n")
            torch.save(arrays, file)
        return tmp_path / "sae.pt"

    return write


def arrays(generator):
    shapes = {"W_enc": (D, M), "b_enc": (M,), "W_dec": (M, D), "b_dec": (D,)}
    return {name: random(generator, *shape, scale=0.5) for name, shape in shapes.items()}


def header(schema, name, **params):
    cfg = {"d_model": D, "d_sae": M, "activation": {"cls": name, "params": {"key": "-", **params}}}
    return {"schema": schema, "cfg": cfg, "commit": "unknown", "lib": "0.1.0"}


OLD_LINES = [
    {"d_vit": D, "exp_factor": 4, "sparsity_coeff": 4e-4, "seed": 0},
    {"schema": 1, "cls": "Relu", "cfg": {"d_vit": D, "exp_factor": 4}, "lib": "0.1.0"},
    header(1, "Relu"),
]


@pytest.mark.parametrize("line", [*OLD_LINES, *(header(schema, "Relu") for schema in (2, 3, 4, 5))])
def test_b_dec_is_subtracted_where_the_saev_of_the_time_did(generator, write, line):
    w = arrays(generator)
    sae, x = load_saev(write(line, w)), random(generator, N, D).double()
    w = {name: array.double() for name, array in w.items()}
    subtracted = w["b_dec"] if line in OLD_LINES else 0.0
    chosen = above((x - subtracted) @ w["W_enc"] + w["b_enc"], 0.0)
    assert_same(sae, x, chosen, chosen.activations @ w["W_dec"] + w["b_dec"])


@pytest.mark.parametrize("name", ["TopK", "BatchTopK"])
def test_topk_and_batch_topk(generator, write, name):
    w = arrays(generator)
    buffer = {"activation.threshold": torch.tensor(0.4)} if name == "BatchTopK" else {}
    sae, x = load_saev(write(header(5, name, top_k=K), w | buffer)), random(generator, N, D).double()
    w = {name: array.double() for name, array in w.items()}
    u = x @ w["W_enc"] + w["b_enc"]
    chosen = largest(u, K) if name == "TopK" else above(u, 0.4)
    assert_same(sae, x, chosen, chosen.activations @ w["W_dec"] + w["b_dec"])
    assert sae.config.k == K


def test_schema_1_may_keep_top_k_beside_the_class(generator, write):
    line = {"schema": 1, "cls": "TopK", "cfg": {"d_vit": D, "exp_factor": 4, "top_k": 3}, "lib": "0.1.0"}
    sae = load_saev(write(line, arrays(generator)))
    assert (sae.config.selection, sae.config.k) == ("topk", 3)


def test_what_the_header_lacks_is_named(generator, write):
    w = arrays(generator)
    for line, complaint in (
        (header(6, "Relu"), "expected a schema of at most 5, found 6"),
        (header(5, "TopK"), "expected top_k, a whole number of at least 1, found None"),
        (header(5, "Softplus"), "expected activation Relu, TopK or BatchTopK, found 'Softplus'"),
        (header(5, "BatchTopK", top_k=4), r"expected activation\.threshold"),
        ({"schema": 5, "cfg": {}}, "expected an activation in the header"),
        ([1, 2], "expected a first line of JSON"),
    ):
        with pytest.raises(InsightError, match=complaint):
            load_saev(write(line, w))

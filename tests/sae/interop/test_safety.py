"""Damaged and hostile files give one line that names the file; nothing in them is run."""

import json
import os
import pickle
import zipfile

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from sae import InsightError
from sae.interop import load_dictionary_learning, load_msae, load_overcomplete, load_saelens, load_saev

from .formulas import random

pytestmark = [  # torch's own remarks on the files that we forge
    pytest.mark.filterwarnings("ignore:Detected pickle protocol"),
    pytest.mark.filterwarnings("ignore:Validating sparse tensor"),
]
D, M = 6, 10
SAEV_LINE = json.dumps({"schema": 5, "cfg": {"activation": {"cls": "Relu", "params": {}}}}).encode() + b"\n"


class Hostile:
    """Makes a folder when it is unpickled."""

    def __init__(self, target):
        self.target = target

    def __reduce__(self):
        return os.mkdir, (str(self.target),)


def jumprelu(generator):
    shapes = {"W_enc": (D, M), "b_enc": (M,), "W_dec": (M, D), "b_dec": (D,), "threshold": (M,)}
    return {name: random(generator, *shape) for name, shape in shapes.items()}


def overcomplete(generator):
    shapes = {"encoder.weight": (M, D), "dictionary._weights": (M, D), "dictionary.multiplier": (), "thresholds": (M,)}
    return {name: random(generator, *shape) for name, shape in shapes.items()}


def write_saev(path, content, **how):
    with path.open("wb") as file:
        file.write(SAEV_LINE)
        torch.save(content, file, **how)


IMPORTERS = {
    "ae.pt": (load_dictionary_learning, torch.save),
    "sae.pt": (load_overcomplete, torch.save),
    "saev.pt": (load_saev, lambda content, path, **how: write_saev(path, content, **how)),
    f"{M}_{D}_ReLU_0_False_False_0.0.pth": (load_msae, torch.save),
}


@pytest.mark.parametrize("name", IMPORTERS)
@pytest.mark.parametrize("old_format", [False, True])
def test_code_in_a_pickle_is_not_run(tmp_path, name, old_format):
    load, save = IMPORTERS[name]
    for content in (Hostile(tmp_path / "owned"), {"W_enc": torch.zeros(2, 2), "k": Hostile(tmp_path / "owned")}):
        save(content, tmp_path / name, _use_new_zipfile_serialization=not old_format)
        with pytest.raises(InsightError, match=r"found Python objects, which could run code") as error:
            load(tmp_path / name)
        assert str(tmp_path / name) in str(error.value)
        assert "\n" not in str(error.value)
    # What torch.save did not write is no checkpoint, whatever is in it.
    (tmp_path / name).write_bytes((SAEV_LINE if name == "saev.pt" else b"") + pickle.dumps(Hostile(tmp_path / "owned")))
    with pytest.raises(InsightError):
        load(tmp_path / name)
    assert not (tmp_path / "owned").exists()


@pytest.mark.parametrize("name", IMPORTERS)
def test_a_damaged_file_is_named(generator, tmp_path, name):
    load, save = IMPORTERS[name]
    save({"model": jumprelu(generator)}, tmp_path / name)
    whole = (tmp_path / name).read_bytes()
    for content in (b"", b"PK\x03\x04", b"\x80", os.urandom(300), whole[: len(whole) // 2], whole[:-1]):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(InsightError) as error:
            load(tmp_path / name)
        assert str(tmp_path / name) in str(error.value)
        assert "\n" not in str(error.value)
    (tmp_path / name).unlink()
    with pytest.raises(InsightError, match="no such file"):
        load(tmp_path / name)


def contents(generator):
    """A file that each importer takes as it is."""
    shapes = {"encoder": (D, M), "decoder": (M, D), "latent_bias": (M,), "pre_bias": (D,)}
    msae = {"model": {name: random(generator, *shape) for name, shape in shapes.items()}}
    msae |= {"mean_center": torch.zeros(D), "scaling_factor": 1.5, "target_norm": np.sqrt(D)}
    saev = jumprelu(generator)
    del saev["threshold"]
    of_overcomplete = overcomplete(generator)
    of_overcomplete["dictionary._weights"] = torch.nn.functional.normalize(of_overcomplete["dictionary._weights"])
    return dict(zip(IMPORTERS, (jumprelu(generator), of_overcomplete, saev, msae)))


@pytest.mark.parametrize("name", IMPORTERS)
def test_flipped_bytes_never_raise_anything_else(generator, tmp_path, name):
    load, save = IMPORTERS[name]
    file = tmp_path / name
    save(contents(generator)[name], file)
    load(file)
    whole = file.read_bytes()
    refused = 0
    for _ in range(60):
        damaged = bytearray(whole)
        for place in torch.randint(len(whole), (4,), generator=generator).tolist():
            damaged[place] ^= 1 + int(torch.randint(255, (), generator=generator))
        file.write_bytes(damaged)
        try:
            load(file)
        except InsightError:
            refused += 1
    assert refused > 15


ODD = [None, [], {}, [None], "x\ny", -1, 0, 2.5, True, 10**400, float("nan"), float("inf")]


def places(value, path=()):
    """Where the leaves and branches of a JSON value are."""
    yield path
    if isinstance(value, dict):
        for key in value:
            yield from places(value[key], (*path, key))


def with_odd(value, path, odd):
    if not path:
        return odd
    return {**value, path[0]: with_odd(value[path[0]], path[1:], odd)}


def never_raises_anything_else(settings, write, load):
    refusals = []
    for path in places(settings):
        for odd in ODD:
            write(with_odd(settings, path, odd))
            try:
                load()
            except InsightError as error:
                refusals.append(str(error))
    assert refusals
    assert not any("\n" in line for line in refusals)


def test_odd_settings_never_raise_anything_else(generator, tmp_path):
    w = jumprelu(generator)
    details = {"k": 3.5, "matryoshka_widths": [4, M]}
    common = {"metadata": {"training_architecture": "matryoshka_batchtopk", "training_architecture_details": details}}
    common |= {"apply_b_dec_to_input": True, "normalize_activations": "none", "rescale_acts_by_decoder_norm": True}
    cfg = tmp_path / "cfg.json"
    for architecture in ("jumprelu", "topk", "matryoshka_batchtopk"):
        arrays = dict(w)
        if architecture == "topk":
            del arrays["threshold"]
        save_file(arrays | {"threshold": torch.ones(M)} if "threshold" in arrays else arrays, weights_of(tmp_path))
        settings = {**common, **details, "architecture": architecture, "k": 3}
        never_raises_anything_else(settings, lambda s: cfg.write_text(json.dumps(s)), lambda: load_saelens(tmp_path))
    scaler = {"scaling_factor": 0.5}
    cfg.write_text(json.dumps({"architecture": "topk", "k": 3, "normalize_activations": "expected_average_only_in"}))
    del w["threshold"]
    save_file(w, weights_of(tmp_path))
    never_raises_anything_else(
        scaler,
        lambda s: (tmp_path / "activation_scaler.json").write_text(json.dumps(s)),
        lambda: load_saelens(tmp_path),
    )

    torch.save(jumprelu(generator), tmp_path / "ae.pt")
    never_raises_anything_else(
        {"trainer": {"dict_class": "JumpReluAutoEncoder", "target_l0": 4}},
        lambda s: (tmp_path / "config.json").write_text(json.dumps(s)),
        lambda: load_dictionary_learning(tmp_path),
    )

    def write_line(line):
        with (tmp_path / "saev.pt").open("wb") as file:
            file.write(json.dumps(line).encode() + b"\n")
            torch.save(w, file)

    header = {"schema": 5, "cfg": {"activation": {"cls": "TopK", "params": {"top_k": 3}}}}
    never_raises_anything_else(header, write_line, lambda: load_saev(tmp_path / "saev.pt"))


def weights_of(folder):
    return folder / "sae_weights.safetensors"


def test_wrong_shapes_types_and_numbers_are_named(generator, tmp_path):
    file = tmp_path / "ae.pt"
    w = jumprelu(generator)
    nan = w["b_dec"].clone()
    nan[2] = float("nan")
    for change, complaint in (
        ({"W_dec": torch.zeros(M, D + 1)}, r"expected W_dec of shape \[10, 6\], found \[10, 7\]"),
        ({"b_dec": torch.zeros(D, 1)}, r"expected b_dec of shape \[6\], found \[6, 1\]"),
        ({"b_dec": nan}, "expected finite numbers, found 1 NaN or infinite in b_dec"),
        ({"b_enc": torch.zeros(M, dtype=torch.int64)}, "expected b_enc in plain floating point, found torch.int64"),
        ({"b_enc": torch.zeros(M, dtype=torch.complex64)}, "found torch.complex64"),
        ({"W_enc": torch.zeros(D, M).to_sparse()}, "expected W_enc in plain floating point"),
        ({"W_enc": torch.zeros(0, 0)}, r"expected W_dec of shape \[0, 0\]"),
        ({"b_enc": "text"}, "expected a state dict of arrays, found .*b_enc: str"),
        ({"b_enc": 1e300 * torch.ones(M, dtype=torch.float64)}, "expected weights which fit float32"),
    ):
        torch.save(w | change, file)
        with pytest.raises(InsightError, match=complaint) as error:
            load_dictionary_learning(file)
        assert str(file) in str(error.value)
    torch.save([1, 2], file)
    with pytest.raises(InsightError, match="expected a state dict of arrays, found list"):
        load_dictionary_learning(file)


def test_a_small_file_cannot_claim_a_huge_array(generator, tmp_path):
    torch.save(jumprelu(generator) | {"W_enc": torch.zeros(1).expand(2**20, 2**30)}, tmp_path / "ae.pt")
    with pytest.raises(InsightError, match="or a stub"):
        load_dictionary_learning(tmp_path / "ae.pt")


@pytest.mark.parametrize("missing", ["W_enc", "W_dec", "b_enc", "b_dec", "threshold"])
def test_each_missing_array_is_an_error(generator, tmp_path, missing):
    w = jumprelu(generator)
    del w[missing]
    torch.save(w, tmp_path / "ae.pt")
    save_file(w, tmp_path / "sae_weights.safetensors")
    (tmp_path / "cfg.json").write_text('{"architecture": "jumprelu", "metadata": {"sae_lens_version": "6.1.0"}}')
    with pytest.raises(InsightError, match="found"):
        load_dictionary_learning(tmp_path / "ae.pt")
    with pytest.raises(InsightError, match=f"expected an array {missing}, found"):
        load_saelens(tmp_path)


def test_damaged_settings_and_weights_of_saelens_are_named(generator, tmp_path):
    weights, settings = tmp_path / "sae_weights.safetensors", tmp_path / "cfg.json"
    save_file(jumprelu(generator), weights)
    for text in ("", "[]", "null", '{"architecture": ["jumprelu"]}', '{"architecture": {}, "metadata": 3}', "\x00"):
        settings.write_text(text)
        with pytest.raises(InsightError, match=r"cfg\.json"):
            load_saelens(tmp_path)
    settings.write_text('{"architecture": "jumprelu", "metadata": {"training_architecture": {"a": 1}}}')
    load_saelens(tmp_path)
    whole = weights.read_bytes()
    for content in (b"", whole[:40], whole[:-3], os.urandom(200)):
        weights.write_bytes(content)
        with pytest.raises(InsightError, match=r"sae_weights\.safetensors: expected safetensors, found a damaged file"):
            load_saelens(tmp_path)


def test_an_archive_that_is_no_checkpoint_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "ae.pt", "w") as archive:
        archive.writestr("data.pkl", b"hello")
    with pytest.raises(InsightError, match=r"ae\.pt: expected a file of torch\.save"):
        load_dictionary_learning(tmp_path / "ae.pt")

"""Dictionaries come back from disk as they were, or not at all."""

import json

import pytest
import torch

from sae import InsightError, TensorSource
from sae.baselines import (
    Centroids,
    Parts,
    SparseCoding,
    fit_pca,
    load_dictionary,
    save_dictionary,
)


def unit(*shape, generator):
    return torch.nn.functional.normalize(torch.rand(*shape, generator=generator), dim=1)


@pytest.fixture(params=["kmeans", "nmf", "sparse_coding", "pca"])
def dictionary(request, generator):
    mean = torch.randn(6, generator=generator)
    if request.param == "kmeans":
        return Centroids(torch.randn(20, 6, generator=generator), mean, k=3)
    if request.param == "nmf":
        return Parts(unit(20, 12, generator=generator), mean, penalty=0.1)
    if request.param == "sparse_coding":
        return SparseCoding(unit(20, 6, generator=generator) - 0.2, mean, penalty=1, inputs="layer_norm")
    return fit_pca(TensorSource(torch.randn(50, 6, generator=generator)), k=2)


@pytest.fixture
def saved(tmp_path, generator):
    save_dictionary(Centroids(torch.randn(20, 6, generator=generator), torch.zeros(6), k=3), tmp_path)
    return tmp_path


def change(folder, **values):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, **values}))


def test_what_is_read_codes_as_what_was_written(tmp_path, generator, dictionary):
    x = torch.randn(100, 6, generator=generator)
    save_dictionary(dictionary, tmp_path / "new" / "folder")
    again = load_dictionary(tmp_path / "new" / "folder")
    assert type(again) is type(dictionary)
    written, read = dictionary.encode(x), again.encode(x)
    assert torch.equal(written.concepts, read.concepts)
    assert torch.equal(written.activations, read.activations)
    assert torch.equal(dictionary.decode(written), again.decode(read))


def test_a_folder_half_written_is_refused(saved, generator):
    old = (saved / "config.json").read_bytes()
    save_dictionary(Centroids(torch.randn(20, 6, generator=generator), torch.zeros(6), k=3), saved)
    (saved / "config.json").write_bytes(old)
    with pytest.raises(InsightError, match=r"dictionary\.safetensors: expected the checksum of config\.json"):
        load_dictionary(saved)


def test_damaged_tensors_are_refused(saved):
    path = saved / "dictionary.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(InsightError, match="expected the checksum"):
        load_dictionary(saved)
    path.unlink()
    with pytest.raises(InsightError, match=r"dictionary\.safetensors: no such file"):
        load_dictionary(saved)


def test_no_folder_is_named(tmp_path):
    with pytest.raises(InsightError, match=r"config\.json: no such file"):
        load_dictionary(tmp_path)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"format": "else"}, 'expected format "insight-dictionary"'),
        ({"format_version": 2}, 'found "insight-dictionary" version 2'),
        ({"kind": "ica"}, "expected a kind of .*kmeans.*, found ica"),
        ({"kind": "nmf"}, "expected settings"),
        ({"settings": {"k": "3"}}, r"expected settings \['k'\]"),
        ({"settings": None}, "expected settings"),
    ],
)
def test_another_format_is_refused(saved, values, message):
    change(saved, **values)
    with pytest.raises(InsightError, match=message):
        load_dictionary(saved)


def test_a_list_is_no_dictionary(saved):
    (saved / "config.json").write_text("[]")
    with pytest.raises(InsightError, match="expected format"):
        load_dictionary(saved)

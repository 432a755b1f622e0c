"""The autoencoder against dense formulas, and its folder against what can happen to folders."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from sae import InsightError, SaeConfig, SparseAutoencoder, SparseCodes

CONFIG = SaeConfig(dim=6, n_concepts=40, k=3, fractions=(0.2, 0.3, 0.5))


@pytest.fixture
def sae(generator) -> SparseAutoencoder:
    sae = SparseAutoencoder(CONFIG)
    for weight in sae.weights:
        weight.copy_(torch.randn(weight.shape, generator=generator))
    sae.weights.decoder.copy_(torch.nn.functional.normalize(sae.weights.decoder, dim=1))
    sae.threshold.fill_(1.5)
    return sae


def dense_codes(sae, x):
    u = (x - sae.decoder_bias) @ sae.encoder.T + sae.encoder_bias
    return (u * (u > sae.threshold)).detach()


def test_codes_are_the_latents_above_the_threshold(sae, generator):
    x = torch.randn(50, 6, generator=generator)
    torch.testing.assert_close(sae.encode(x).dense(), dense_codes(sae, x))


def test_features_may_lie_in_memory_in_any_way(sae, generator):
    x = torch.randn(6, 50, generator=generator).T
    torch.testing.assert_close(sae.encode(x).dense(), sae.encode(x.contiguous()).dense())
    torch.testing.assert_close(sae(x), sae(x.contiguous()))


def test_without_a_measured_threshold_every_positive_latent_is_active(sae, generator):
    x = torch.randn(50, 6, generator=generator)
    sae.threshold.fill_(-1)
    torch.testing.assert_close(sae.encode(x).dense(), dense_codes(sae, x).relu())


@pytest.mark.parametrize("level", [0, 1, 2])
def test_a_level_uses_the_first_concepts_only(sae, generator, level):
    x = torch.randn(50, 6, generator=generator)
    size, dense = CONFIG.levels[level], dense_codes(sae, x)
    codes = sae.encode(x, level)
    assert codes.n_concepts == size
    torch.testing.assert_close(codes.dense(), dense[:, :size])
    expected = (sae.decoder_bias + dense[:, :size] @ sae.decoder[:size]).detach()
    for reconstruction in (sae.decode(codes), sae.decode(codes, level), sae.decode(sae.encode(x), level)):
        torch.testing.assert_close(reconstruction, expected)


def test_forward_reconstructs_in_the_shape_of_its_input(sae, generator):
    x = torch.randn(2, 3, 4, 6, generator=generator)
    expected = (sae.decoder_bias + dense_codes(sae, x.view(-1, 6)) @ sae.decoder).detach()
    torch.testing.assert_close(sae(x), expected.view(2, 3, 4, 6))


def test_large_inputs_are_encoded_in_parts_to_the_same_codes(generator):
    sae = SparseAutoencoder(SaeConfig(2, 4096, 3))
    sae.weights.encoder.copy_(torch.randn(4096, 2, generator=generator))
    sae.threshold.fill_(4.0)
    x = torch.randn(4096 + 100, 2, generator=generator)
    whole = sae.encode(x)
    assert whole.n == len(x)
    torch.testing.assert_close(whole[4090:].dense(), sae.encode(x[4090:]).dense())


def test_no_tokens_give_no_codes(sae):
    codes = sae.encode(torch.empty(0, 6))
    assert (codes.n, codes.nnz, sae.decode(codes).shape) == (0, 0, (0, 6))


def test_half_precision_features_are_taken(sae, generator):
    x = torch.randn(20, 6, generator=generator).half()
    torch.testing.assert_close(sae.encode(x).dense(), sae.encode(x.float()).dense())


def test_a_concept_has_the_coarsest_level_that_contains_it(sae):
    assert CONFIG.levels == (8, 20, 40)
    assert [sae.level_of(concept) for concept in (0, 7, 8, 19, 20, 39)] == [0, 0, 1, 1, 2, 2]
    assert sae.level_of(torch.tensor([39, 0])).tolist() == [2, 0]


def test_a_saved_autoencoder_comes_back_bit_for_bit(sae, generator, tmp_path):
    sae.save_pretrained(tmp_path / "deep" / "folder")
    again = SparseAutoencoder.from_pretrained(tmp_path / "deep" / "folder")
    assert again.config == sae.config
    assert all(torch.equal(one, two) for one, two in zip(sae.state_dict().values(), again.state_dict().values()))
    assert sorted(path.name for path in (tmp_path / "deep" / "folder").iterdir()) == ["config.json", "sae.safetensors"]


def test_an_autoencoder_saved_in_half_precision_is_read_as_float32(sae, tmp_path):
    sae.save_pretrained(tmp_path / "half", dtype=torch.float16)
    again = SparseAutoencoder.from_pretrained(tmp_path / "half")
    stored = load_file(tmp_path / "half" / "sae.safetensors")
    assert {name for name, tensor in stored.items() if tensor.dtype == torch.float16} == {"encoder", "decoder"}
    assert torch.equal(again.encoder, sae.encoder.half().float())
    assert torch.equal(again.decoder, sae.decoder.half().float())
    assert all(torch.equal(getattr(again, n), getattr(sae, n)) for n in ("encoder_bias", "decoder_bias", "threshold"))
    assert sae.encoder.dtype == torch.float32


def test_weights_that_half_precision_cannot_hold_are_not_saved_in_it(sae, tmp_path):
    sae.weights.encoder[3, 2] = 1e5
    with pytest.raises(InsightError, match="encoder has numbers"):
        sae.save_pretrained(tmp_path, dtype=torch.float16)
    assert not any(tmp_path.iterdir())


def test_saving_keeps_what_others_wrote_into_the_config(sae, tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"backbone": {"name": "small"}, "train": 1, "format_version": 0}))
    sae.save_pretrained(tmp_path, {"train": 2})
    config = json.loads((tmp_path / "config.json").read_text())
    assert config["backbone"] == {"name": "small"}
    assert config["train"] == 2
    assert config["format_version"] == 1


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_features_that_are_no_numbers_are_refused(sae, bad):
    x = torch.zeros(5, 6)
    x[3, 2] = bad
    with pytest.raises(InsightError, match="1 of 5 tokens"):
        sae.encode(x)


def test_large_but_finite_features_are_not_refused(sae):
    assert sae.encode(torch.full((5, 6), 1e38)).n == 5


def test_other_misuse_is_refused_in_one_line(sae):
    with pytest.raises(InsightError, match=r"expected features \[..., 6\], found \[5, 7\]"):
        sae.encode(torch.zeros(5, 7))
    with pytest.raises(InsightError, match="level: expected 0 to 2, found 3"):
        sae.encode(torch.zeros(5, 6), level=3)
    with pytest.raises(InsightError, match="at most 40 concepts, found 41"):
        sae.decode(SparseCodes.from_dense(torch.ones(2, 41)))
    with pytest.raises(InsightError, match="0 to 39"):
        sae.level_of(40)


def test_folders_that_are_no_autoencoder_are_refused_by_name(sae, tmp_path):
    with pytest.raises(InsightError, match=r"config\.json: no such file"):
        SparseAutoencoder.from_pretrained(tmp_path)
    sae.save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())

    def rewritten(**changes):
        (tmp_path / "config.json").write_text(json.dumps({**config, **changes}))

    for changes in ({"format_version": 2}, {"format": "other"}):
        rewritten(**changes)
        with pytest.raises(InsightError, match='expected format "insight-sae" version 1, found'):
            SparseAutoencoder.from_pretrained(tmp_path)
    rewritten(sae={**config["sae"], "n_concepts": 50})
    with pytest.raises(InsightError, match=r"sae\.safetensors: expected arrays"):
        SparseAutoencoder.from_pretrained(tmp_path)

    rewritten()
    weights = tmp_path / "sae.safetensors"
    weights.write_bytes(weights.read_bytes()[:-5])
    with pytest.raises(InsightError, match=r"sae\.safetensors: .*damaged"):
        SparseAutoencoder.from_pretrained(tmp_path)
    save_file({"encoder": torch.zeros(2, 2)}, weights)
    with pytest.raises(InsightError, match=r"sae\.safetensors: expected arrays"):
        SparseAutoencoder.from_pretrained(tmp_path)
    weights.unlink()
    with pytest.raises(InsightError, match=r"sae\.safetensors: no such file"):
        SparseAutoencoder.from_pretrained(tmp_path)


@pytest.mark.parametrize("selection", ["batch_topk", "topk", "jumprelu"])
def test_autocast_changes_nothing(generator, selection):
    sae = random_autoencoder(generator, selection)
    x = torch.randn(50, 12, generator=generator)
    with torch.autocast("cpu", torch.bfloat16):
        codes, reconstructions = sae.encode(x), sae(x)
    assert torch.equal(codes.dense(), sae.encode(x).dense())
    assert torch.equal(reconstructions, sae(x))
    assert reconstructions.dtype == torch.float32


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-5), (torch.bfloat16, 0.1)])
@pytest.mark.parametrize("selection", ["batch_topk", "topk", "jumprelu"])
def test_weights_may_be_of_other_types(generator, selection, dtype, tolerance):
    sae = random_autoencoder(generator, selection)
    x = torch.randn(50, 12, generator=generator)
    expected = sae.encode(x).dense()
    found = sae.to(dtype).encode(x)
    assert found.activations.dtype == dtype
    differ = (found.dense() - expected).abs() > tolerance
    assert differ.double().mean() < 0.05  # rounding may move a few over the edge
    assert sae(x).dtype == dtype


def random_autoencoder(generator, selection):
    sae = SparseAutoencoder(SaeConfig(12, 40, 4, fractions=(0.5, 0.5), selection=selection))
    for parameter in sae.parameters():
        parameter.data.copy_(torch.randn(parameter.shape, generator=generator))
    sae.threshold.fill_(0.5)
    return sae

"""`openclip:NAME`: which name gives which weights, end to end through open_clip's own loader, and what goes wrong."""

import hashlib
import json
import pickle
import shutil
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from insight.backbones import Backbone, load
from insight.backbones.base import hash_tensors
from insight.backbones.openclip import load_openclip
from sae.errors import InsightError

TINY = {
    "embed_dim": 24,
    "vision_cfg": {"image_size": 64, "layers": 2, "width": 48, "head_width": 16, "patch_size": 16},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 2},
    "quick_gelu": True,
}
with_schemes = pytest.mark.skipif(version("open_clip_torch").startswith("2."), reason="this open_clip knows no schemes")
COLOURS = {"mean": [0.5, 0.4, 0.3], "std": [0.2, 0.3, 0.4]}


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Backbone:
    """A tiny CLIP whose every weight was moved off its start."""
    import open_clip

    folder = tmp_path_factory.mktemp("configs")
    wider = {**TINY, "vision_cfg": {**TINY["vision_cfg"], "width": 64}}
    deeper = {**TINY, "vision_cfg": {**TINY["vision_cfg"], "layers": 3}}
    for name, config in (("insight-tiny", TINY), ("insight-wider", wider), ("insight-deeper", deeper)):
        (folder / f"{name}.json").write_text(json.dumps(config))
    open_clip.add_model_config(folder)
    backbone = load("openclip:insight-tiny/")
    with torch.no_grad():
        for parameter in backbone.parameters():
            parameter += 0.1 * torch.randn_like(parameter)
    return backbone


def save_as(backbone: Backbone, path: Path) -> Path:
    state = {name: value.clone() for name, value in backbone.model.state_dict().items()}
    if path.suffix == ".safetensors":
        save_file(state, path)
    else:  # as open_clip's own training leaves it
        torch.save({"epoch": 3, "state_dict": {f"module.{name}": value for name, value in state.items()}}, path)
    return path


def save_folder(backbone: Backbone, folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    save_as(backbone, folder / "open_clip_model.safetensors")
    (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": TINY, "preprocess_cfg": COLOURS}))
    return folder


def same_features(found: Backbone, given: Backbone) -> None:
    images, texts = torch.rand(2, 3, 64, 96), ["a dog", "two cats on a mat"]
    one, other = found.encode_image(images), given.encode_image(images)
    torch.testing.assert_close(one.patches, other.patches, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(one.pooled, other.pooled, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(found.encode_text(texts), given.encode_text(texts), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("file", ["weights.safetensors", "epoch_3.pt"])
def test_a_checkpoint_on_this_machine_gives_the_features_of_the_model_that_was_saved(
    tiny: Backbone, tmp_path: Path, file: str
) -> None:
    path = save_as(tiny, tmp_path / file)
    found = load(f"openclip:insight-tiny/{path}")
    assert found.name == f"openclip:insight-tiny/{path}"
    assert str(path) in found.description
    same_features(found, tiny)


@with_schemes
def test_a_folder_gives_its_weights_and_its_colours(tiny: Backbone, tmp_path: Path) -> None:
    folder = save_folder(tiny, tmp_path / "model")
    found = load(f"openclip:local-dir:{folder}")
    assert found.name == f"openclip:local-dir:{folder}"
    assert found.colour_mean.flatten().tolist() == pytest.approx(COLOURS["mean"])
    assert found.colour_std.flatten().tolist() == pytest.approx(COLOURS["std"])
    same = load(f"openclip:insight-tiny/{folder / 'open_clip_model.safetensors'}")
    same.set_colours(**COLOURS)
    same_features(found, same)


@with_schemes
def test_a_repository_that_the_hubs_client_keeps_is_found_without_the_hub(
    tiny: Backbone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, no_network: Path
) -> None:
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    repository, commit = tmp_path / "models--insight--tiny", "0" * 40
    folder = save_folder(tiny, repository / "snapshots" / commit)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(commit)
    same_features(load("openclip:hf-hub:insight/tiny"), load(f"openclip:local-dir:{folder}"))


def test_the_way_is_in_the_name_the_description_and_the_fingerprint_but_not_the_value_path(tiny: Backbone) -> None:
    plain, sclip = load("openclip:insight-tiny/"), load_openclip("insight-tiny/", "sclip").freeze()
    assert (plain.name, sclip.name) == ("openclip:insight-tiny/", "openclip:insight-tiny/+sclip")
    assert plain.description == "open_clip's insight-tiny, weights untrained."
    assert "SCLIP" in sclip.description
    for backbone in (plain, sclip):  # as caches carry them
        parts = [backbone.name, "openclip 1", hash_tensors(backbone.model.state_dict())]
        assert backbone.fingerprint == hashlib.sha256("\n".join(parts).encode()).hexdigest()


def test_the_fingerprint_follows_the_weights(tiny: Backbone) -> None:
    first, second = load("openclip:insight-tiny/"), load("openclip:insight-tiny/")
    assert first.fingerprint == second.fingerprint != tiny.fingerprint


def test_texts_are_unit_vectors_of_the_text_tower(tiny: Backbone) -> None:
    texts = ["a dog", "", "two cats on a mat"] * 100  # more than one batch
    found = tiny.encode_text(texts)
    assert found.shape == (300, 24)
    torch.testing.assert_close(found.norm(dim=1), torch.ones(300))
    own = tiny.model.encode_text(tiny.tokenizer(texts[-1:]))
    torch.testing.assert_close(found[-1:], own / own.norm(), atol=1e-5, rtol=1e-4)
    assert tiny.encode_text([]).shape == (0, 24)


def test_texts_go_through_a_text_tower_of_transformers_too(
    tmp_path_factory: pytest.TempPathFactory, no_network: Path
) -> None:
    """A BERT whose words are averaged: what its own parts give, whatever the other texts of the batch."""
    import open_clip
    from transformers import BertConfig, BertTokenizerFast

    folder = tmp_path_factory.mktemp("bert")
    (folder / "vocab.txt").write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "dog", "cat"]))
    BertTokenizerFast(str(folder / "vocab.txt")).save_pretrained(folder)
    BertConfig(
        vocab_size=8, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32
    ).save_pretrained(folder)
    text = {"hf_model_name": str(folder), "hf_tokenizer_name": str(folder), "hf_pooler_type": "mean_pooler"}
    file = folder / "insight-bert.json"
    file.write_text(json.dumps({**TINY, "text_cfg": {**text, "context_length": 9, "hf_proj_type": "linear"}}))
    open_clip.add_model_config(file)
    backbone = load("openclip:insight-bert/")
    found = backbone.encode_text(["a dog", "a cat a dog"])
    for vector, ids in zip(found, ([2, 5, 6, 3], [2, 5, 7, 5, 6, 3]), strict=True):
        tower = backbone.model.text
        words = tower.transformer(input_ids=torch.tensor([ids])).last_hidden_state[0]
        own = tower.proj(words.mean(0))
        torch.testing.assert_close(vector, own / own.norm(), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("file", ["half.safetensors", "half.pt"])
@pytest.mark.parametrize("loader", [load_openclip, lambda name: load(f"openclip:{name}")])
def test_half_a_download_is_named(tiny: Backbone, tmp_path: Path, loader: Callable[[str], Backbone], file: str) -> None:
    path = save_as(tiny, tmp_path / file)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(InsightError, match=f"{path} .*(fetch|get) it again") as caught:
        loader(f"insight-tiny/{path}")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("other", "found"), [("insight-wider", "size mismatch for visual"), ("insight-deeper", "Missing key.*resblocks.2")]
)
def test_weights_of_another_model_are_named(tiny: Backbone, tmp_path: Path, other: str, found: str) -> None:
    path = save_as(tiny, tmp_path / "weights.safetensors")
    with pytest.raises(InsightError, match=f"{path} holds the weights of another model .*{found}.*name the model"):
        load(f"openclip:{other}/{path}")


def test_a_checkpoint_is_never_unpickled(tiny: Backbone, tmp_path: Path) -> None:
    path, written = tmp_path / "weights.pt", tmp_path / "written"

    class Harmful:
        def __reduce__(self) -> tuple:
            return Path.touch, (written,)

    for save in (torch.save, lambda thing, where: where.write_bytes(pickle.dumps(thing, protocol=2))):
        save({"state_dict": Harmful()}, path)
        with pytest.raises(InsightError, match=f"{path} is no plain file of tensors and is not unpickled") as caught:
            load(f"openclip:insight-tiny/{path}")
        assert "\n" not in str(caught.value)
        assert not written.exists()


def test_a_scripted_model_is_not_run(tiny: Backbone, tmp_path: Path) -> None:
    path = tmp_path / "ViT-B-16.pt"
    torch.jit.script(torch.nn.Linear(2, 2)).save(str(path))
    with pytest.raises(InsightError, match=r"is no plain file of tensors .* save the state dict of its model"):
        load(f"openclip:insight-tiny/{path}")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("ViT-B-61/openai", "no model 'ViT-B-61'.*did you mean .*ViT-B-16"),
        ("ViT-B-16", "expected openclip:MODEL/PRETRAINED, .* trained are openai"),
        ("ViT-B-16/laion2b_s34b_b88", "no weights 'laion2b_s34b_b88' for ViT-B-16 .did you mean laion2b_s34b_b88k"),
        ("insight-tiny/no_such_tag", "no weights 'no_such_tag' for insight-tiny; it has none"),
        ("insight-tiny/nowhere/weights.safetensors", "no file nowhere/weights.safetensors; give the path"),
        pytest.param("local-dir:nowhere", "expected a folder with open_clip_config.json .*found 0", marks=with_schemes),
    ],
)
def test_what_is_not_there_ends_in_one_line(tiny: Backbone, name: str, said: str) -> None:
    with pytest.raises(InsightError, match=said) as caught:
        load(f"openclip:{name}")
    assert "\n" not in str(caught.value)


@with_schemes
def test_a_folder_without_weights_or_with_another_configuration_is_refused(tiny: Backbone, tmp_path: Path) -> None:
    bare = save_folder(tiny, tmp_path / "bare")
    (bare / "open_clip_model.safetensors").unlink()
    odd = save_folder(tiny, tmp_path / "odd")
    (odd / "open_clip_config.json").write_text('{"model_cfg": {"embed_dim": 24}}')
    deeper = save_folder(tiny, tmp_path / "deeper")
    config = {**TINY, "vision_cfg": {**TINY["vision_cfg"], "layers": 3}}
    (deeper / "open_clip_config.json").write_text(json.dumps({"model_cfg": config}))
    for folder, said in ((bare, "found 1 files and not both"), (odd, "vision_cfg"), (deeper, "of another model")):
        with pytest.raises(InsightError, match=f"{said}.*") as caught:
            load(f"openclip:local-dir:{folder}")
        assert str(folder) in str(caught.value)
        assert "\n" not in str(caught.value)
        shutil.rmtree(folder)


@pytest.mark.parametrize(
    "name", ["ViT-B-32/laion2b_s34b_b79k", pytest.param("hf-hub:insight/nowhere", marks=with_schemes)]
)
def test_a_hub_that_is_away_ends_in_one_line(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, no_network: Path
) -> None:
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(InsightError, match="go online once so that open_clip can fetch it, or use `small`") as caught:
        load(f"openclip:{name}")
    assert "\n" not in str(caught.value)


def test_names_with_a_scheme_need_a_newer_open_clip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import open_clip

    monkeypatch.delattr(open_clip.factory, "parse_model_name", raising=False)
    with pytest.raises(InsightError, match="does not know local-dir: names; update it"):
        load(f"openclip:local-dir:{tmp_path}")

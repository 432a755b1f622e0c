"""Names of backbones, what is said of wrong ones, and what is said before anything is downloaded."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from insight.backbones import load, load_together, weight_sources
from insight.backbones.names import Name, parse
from sae.errors import InsightError

TINY = {
    "embed_dim": 24,
    "vision_cfg": {"image_size": 32, "layers": 2, "width": 32, "head_width": 16, "patch_size": 16},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1},
}
TIMM = "test_vit.r160_in1k"  # a model of 0.4 million weights, 1.5 MB


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty Hugging Face cache, and a hub that does not answer though nobody switched it off."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hf"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr(weight_sources, "_answers", lambda endpoint, seconds: False)
    return tmp_path / "hf"


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A small architecture that open_clip knows, named so that nobody else's is replaced."""
    import open_clip

    folder = tmp_path_factory.mktemp("configs")
    (folder / "insight-registry.json").write_text(json.dumps(TINY))
    open_clip.add_model_config(folder)
    return "insight-registry"


def put_into_cache(hub: Path) -> Path:
    """timm's model as its download from the hub would lie; returns the file, which in the cache is a link."""
    import timm

    repository = hub / f"models--timm--{TIMM}"
    blob = repository / "blobs" / "1234"
    link = repository / "snapshots" / "abc" / "model.safetensors"
    for folder in (blob.parent, link.parent, repository / "refs"):
        folder.mkdir(parents=True)
    (repository / "refs" / "main").write_text("abc")
    save_file(timm.create_model(TIMM, pretrained=False).state_dict(), blob)
    link.symlink_to(blob)
    return blob


def one_line(name: str) -> str:
    with pytest.raises(InsightError) as caught:
        load(name)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("small", Name("small")),
        ("small@6", Name("small", block=6)),
        ("small+dino", Name("small", way="dino")),
        ("timm:vit_base_patch16_224.dino", Name("timm", "vit_base_patch16_224.dino")),
        ("timm:resnet18/", Name("timm", "resnet18", "")),
        ("openclip:ViT-B-16/openai", Name("openclip", "ViT-B-16", "openai")),
        ("openclip:ViT-B-16/", Name("openclip", "ViT-B-16", "")),
        ("openclip:ViT-B-16/openai+sclip@11", Name("openclip", "ViT-B-16", "openai", "sclip", 11)),
        ("openclip:ViT-B-16//a+b/c@d/e.pt", Name("openclip", "ViT-B-16", "/a+b/c@d/e.pt")),
        ("openclip:ViT-B-16/x/y.safetensors+dino", Name("openclip", "ViT-B-16", "x/y.safetensors", "dino")),
        ("openclip:hf-hub:laion/CLIP-x", Name("openclip", "hf-hub:laion/CLIP-x")),
        ("openclip:local-dir:/a/b+tokens", Name("openclip", "local-dir:/a/b", None, "tokens")),
    ],
)
def test_a_name_has_parts_and_is_written_as_it_was_read(text: str, name: Name) -> None:
    assert parse(text) == name
    assert str(name) == text


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("smal", "did you mean small?"),
        ("opencilp:ViT-B-16/openai", "did you mean openclip?"),
        ("ViT-B-16/openai", "did you mean openclip:ViT-B-16/openai?"),
        ("vit_base_patch16_224.dino", "did you mean timm:vit_base_patch16_224.dino?"),
        ("openclip:ViT-B16/openai", "ViT-B-16"),
        ("openclip:ViT-B-16/laion2b_s34b", "laion2b_s34b_b88k"),
        ("openclip:ViT-B-16", "openai"),
        ("openclip:ViT-B-16/openai+sclp", "did you mean sclip?"),
        ("openclip:ViT-B-16/openai+", "+tokens, +sclip, +clearclip, +dino, +dinoiser"),
        ("small+sclip", "expected nothing (its own) or +dino"),
        ("timm:vit_base_patch16_24", "did you mean vit_base_patch16_224"),
        ("timm:vit_base_patch16_224.dno", "did you mean vit_base_patch16_224.dino"),
        ("openclip:hf-hub:", "expected hf-hub:ORG/NAME"),
        ("openclip:local-dir:/no/such/folder", "/no/such/folder"),
        ("openclip:ViT-B-16/no/such/file.pt", "no/such/file.pt"),
        ("", "expected small"),
        ("@3", "expected small"),
    ],
)
def test_wrong_names_are_answered_with_what_may_have_been_meant(name: str, hint: str) -> None:
    assert hint in one_line(name)


def test_ways_of_one_model_and_its_blocks_share_their_base() -> None:
    plain, block, pooled = load_together(["small", "small@2", "small+dino"])
    assert pooled.name == "small+dino"
    assert pooled.base is plain
    assert block.base is plain


def test_a_way_reaches_the_loader(tiny: str) -> None:
    value, tokens = load_together([f"openclip:{tiny}/", f"openclip:{tiny}/+tokens"])
    assert (value.name, tokens.name) == (f"openclip:{tiny}/", f"openclip:{tiny}/+tokens")
    images = torch.rand(1, 3, 32, 32)
    assert not torch.allclose(value.encode_image(images).patches, tokens.encode_image(images).patches)


@pytest.mark.parametrize(
    ("name", "announced"),
    [
        (f"timm:{TIMM}", f"about 1 MB to download from the hub (timm/{TIMM})"),
        ("openclip:ViT-B-16/laion2b_s34b_b88k", "about 598 MB to download from the hub (laion/CLIP-ViT-B-16-laion2B-"),
        ("openclip:hf-hub:nobody/nothing", "an amount not known here to download from the hub (nobody/nothing)"),
    ],
)
def test_a_download_is_announced_in_one_line(
    hub: Path, name: str, announced: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "go online once" in one_line(name)
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith(name)]
    assert len(lines) == 1
    assert announced in lines[0]


def test_what_is_in_the_hubs_cache_is_loaded_without_a_word(hub: Path, capsys: pytest.CaptureFixture[str]) -> None:
    put_into_cache(hub)
    assert load(f"timm:{TIMM}").dim == 64
    assert capsys.readouterr().err == ""


def test_untrained_models_are_announced_by_nobody(hub: Path, tiny: str, capsys: pytest.CaptureFixture[str]) -> None:
    load_together(["timm:test_vit/", f"openclip:{tiny}/"])
    assert "download" not in capsys.readouterr().err


def test_half_a_download_in_the_hubs_cache_is_named(hub: Path) -> None:
    blob = put_into_cache(hub)
    blob.write_bytes(blob.read_bytes()[:-100])
    message = one_line(f"timm:{TIMM}")
    assert str(blob) in message  # the file itself: without the link alone, the hub's client would take it again
    assert "delete this file" in message


@pytest.mark.parametrize("cut", [-100, 50, 5, 0])
def test_half_a_checkpoint_of_ones_own_is_named(tiny: str, tmp_path: Path, cut: int) -> None:
    file = tmp_path / "clip.safetensors"
    save_file(load(f"openclip:{tiny}/").model.state_dict(), file)
    whole = load(f"openclip:{tiny}/{file}")
    assert torch.equal(whole.model.visual.proj, load(f"openclip:{tiny}/").model.visual.proj)
    file.write_bytes(file.read_bytes()[:cut])
    assert str(file) in (message := one_line(f"openclip:{tiny}/{file}"))
    assert "get it again" in message


def test_half_a_pytorch_checkpoint_is_named(tiny: str, tmp_path: Path) -> None:
    file = tmp_path / "clip.pt"
    torch.save(load(f"openclip:{tiny}/").model.state_dict(), file)
    load(f"openclip:{tiny}/{file}")
    file.write_bytes(file.read_bytes()[:-1000])
    assert "is cut short; delete this file" in one_line(f"openclip:{tiny}/{file}")


def test_a_folder_of_ones_own_is_loaded_and_half_of_it_is_named(tiny: str, tmp_path: Path) -> None:
    (tmp_path / "open_clip_config.json").write_text(json.dumps({"model_cfg": TINY, "preprocess_cfg": {}}))
    file = tmp_path / "open_clip_model.safetensors"
    save_file(load(f"openclip:{tiny}/").model.state_dict(), file)
    name = f"openclip:local-dir:{tmp_path}"
    assert load(name).dim == 24
    file.write_bytes(file.read_bytes()[:-100])
    assert str(file) in one_line(name)

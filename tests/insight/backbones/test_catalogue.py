"""The catalogue's figures against models that are really built, and what it says of this machine."""

import socket
from pathlib import Path

import pytest

from insight.backbones import load
from insight.backbones.catalogue import describe, find
from insight.backbones.names import parse
from insight.backbones.small import Small

from .toy_weights import toy_set


@pytest.fixture(autouse=True)
def no_connections(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Every attempt to reach another machine fails the test; the Hugging Face cache is empty."""
    monkeypatch.setattr(socket, "getaddrinfo", lambda *a, **k: pytest.fail("asked for an address"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hf"))


def test_small_is_described_as_it_is(small: Small) -> None:
    entry = describe(parse("small"))
    assert (entry.dim, entry.grid, entry.image_size) == (small.dim, small.grid, small.image_size)
    assert entry.text
    assert entry.here is not None  # the fixture has just loaded it
    assert all(Path(folder).is_dir() for folder in entry.here.split("; "))
    assert entry.megabytes == 169


def test_without_its_weights_small_is_not_here(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("INSIGHT_CACHE", str(tmp_path))
    entry = describe(parse("small"))
    assert entry.here is None
    assert "package registry" in entry.origin
    half = toy_set().folder
    half.mkdir(parents=True)
    (half / "tokens.json").touch()
    from insight.backbones.places import place_of_set

    assert place_of_set(toy_set()).here is None
    (half / "model.safetensors").touch()
    assert place_of_set(toy_set()).here == half


@pytest.mark.parametrize(
    ("name", "untrained", "head"),
    [
        ("timm:test_vit.r160_in1k", "timm:test_vit/", 64 * 1000 + 1000),
        ("timm:resnet18.a1_in1k", "timm:resnet18/", 513_000),
    ],
)
def test_timm_models_are_described_as_they_are_built(name: str, untrained: str, head: int) -> None:
    entry, built = describe(parse(name)), load(untrained)
    assert (entry.dim, entry.grid, entry.image_size) == (built.dim, built.grid, built.image_size)
    weights = sum(tensor.numel() for tensor in built.model.state_dict().values()) + head  # the file has the classifier
    assert entry.megabytes == pytest.approx(weights * 4 / 1e6, abs=0.51)
    assert not entry.text
    assert entry.licence == "apache-2.0"
    assert entry.here is None


@pytest.mark.parametrize(
    ("name", "dim", "grid", "image_size", "parameters"),
    [
        ("openclip:ViT-B-32/laion2b_s34b_b79k", 512, (7, 7), 224, 151_277_313),
        ("openclip:ViT-B-16/laion2b_s34b_b88k", 512, (14, 14), 224, 149_620_737),
        ("openclip:RN50/openai", 1024, (7, 7), 224, 102_007_137),
        ("openclip:ViT-B-16-SigLIP/webli", 768, (14, 14), 224, 203_155_970),
    ],
)
def test_open_clip_models_are_described_by_their_published_figures(
    name: str, dim: int, grid: tuple[int, int], image_size: int, parameters: int
) -> None:
    entry = describe(parse(name))
    assert (entry.dim, entry.grid, entry.image_size) == (dim, grid, image_size)
    assert entry.megabytes == pytest.approx(parameters * 4 / 1e6, rel=0.001)
    assert entry.text
    assert entry.licence == f"see {entry.origin}"
    assert entry.here is None


def test_a_checkpoint_and_a_folder_of_ones_own_are_here(tmp_path: Path) -> None:
    file = tmp_path / "clip.safetensors"
    assert describe(parse(f"openclip:ViT-B-32/{file}")).here is None
    file.touch()
    assert describe(parse(f"openclip:ViT-B-32/{file}")).here == str(file)
    assert describe(parse(f"openclip:local-dir:{tmp_path}")).here == str(tmp_path)


def test_what_the_hubs_client_has_downloaded_is_here(tmp_path: Path) -> None:
    repository = tmp_path / "hf" / "models--laion--CLIP-ViT-B-32-laion2B-s34B-b79K"
    file = repository / "snapshots" / "abc" / "open_clip_model.safetensors"
    file.parent.mkdir(parents=True)
    file.touch()
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("abc")
    entry = describe(parse("openclip:ViT-B-32/laion2b_s34b_b79k"), measured=False)
    assert (entry.here, entry.kept_by) == (str(file), "the hub's cache")


def test_names_are_found_by_their_words() -> None:
    import open_clip
    import timm

    names = find()
    assert len(names) == 1 + len(open_clip.list_pretrained()) + len(timm.list_pretrained())
    assert len(set(names)) == len(names)
    assert all(parse(str(name)) == name for name in names)
    found = find("OpenCLIP  siglip 384")
    assert found == [n for n in names if n.kind == "openclip" and "siglip" in str(n).lower() and "384" in str(n)]
    assert parse("openclip:ViT-B-16-SigLIP-384/webli") in found
    assert find("small")[0] == parse("small")


def test_every_name_can_be_described_at_once() -> None:
    entries = [describe(name, measured=False) for name in find()]
    assert all(entry.image_size and entry.origin and entry.licence for entry in entries)
    assert all(entry.dim and entry.text for entry in entries if entry.name.startswith("openclip:"))

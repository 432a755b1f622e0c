"""`+dinoiser`: CLIP-DINOiser's two convolutions on a tower, against loops in float64; their files, good and bad."""

import json
import math
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from insight.backbones import Backbone, load
from insight.backbones.guided.dinoiser import (
    Convolutions,
    Dinoiser,
    import_published,
    load_dinoiser,
    read_convolutions,
    weights_file,
)
from sae.errors import InsightError

WIDTH = 24
TOWER = {"image_size": 32, "layers": 5, "width": WIDTH, "head_width": 8, "patch_size": 8, "ls_init_value": 0.5}
TEXT = {"context_length": 77, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 1}


@pytest.fixture(scope="module")
def tower(tmp_path_factory: pytest.TempPathFactory) -> Backbone:
    """A tiny CLIP of five blocks, in float64: no cosine is so near to gamma that rounding decides."""
    import open_clip

    folder = tmp_path_factory.mktemp("configs")
    for name, layers in (("insight-dinoiser", 5), ("insight-dinoiser-short", 2)):
        config = {"embed_dim": 16, "vision_cfg": {**TOWER, "layers": layers}, "text_cfg": TEXT}
        (folder / f"{name}.json").write_text(json.dumps(config))
    open_clip.add_model_config(folder)
    backbone = load("openclip:insight-dinoiser/").double()
    with torch.no_grad():
        for parameter in backbone.parameters():
            parameter += 0.1 * torch.randn_like(parameter)
    return backbone


@pytest.fixture(scope="module")
def dinoiser(tower: Backbone) -> Dinoiser:
    backbone = Dinoiser(tower, Convolutions(WIDTH))
    backbone.double().freeze()
    return backbone


def published_state(width: int = WIDTH) -> dict[str, Tensor]:
    """Random tensors in the names and shapes of the published file."""
    return {
        "obj_proj.bias": torch.randn(256),
        "obj_proj.weight": torch.randn(256, width, 3, 3),
        "bkg_decoder.bias": torch.randn(1),
        "bkg_decoder.weight": torch.randn(1, width, 1, 1),
    }


def write_published(path: Path, state: object) -> Path:
    torch.save({"epoch": 99, "model_state_dict": state}, path)
    return path


def written_out(dinoiser: Dinoiser, photo: Tensor) -> tuple[Tensor, Tensor]:
    """Pooled patches [n, d] and foreground [n] of one photo: g caught in the tower's forward, then loops."""
    tower, weights = dinoiser.base, dinoiser.convolutions.state_dict()
    caught: list[Tensor] = []
    blocks = tower.model.visual.transformer.resblocks
    hook = blocks[-3].ln_2.register_forward_hook(lambda module, args, output: caught.append(output))
    features = tower.encode_image(photo[None])
    hook.remove()
    (h, w), g, patches = features.grid, caught[0][0, 1:], features.patches[0]
    vectors = []
    for row in range(h):
        for column in range(w):
            vector = weights["correlation.bias"].clone()
            for i in (-1, 0, 1):
                for j in (-1, 0, 1):
                    near = min(max(row + i, 0), h - 1) * w + min(max(column + j, 0), w - 1)
                    vector += weights["correlation.weight"][:, :, i + 1, j + 1] @ g[near]
            vectors.append(vector / vector.norm())
    pooled = []
    for p in vectors:
        kept = [float(p @ q) if p @ q >= 0.2 else 0.0 for q in vectors]
        pooled.append(sum(c * f for c, f in zip(kept, patches, strict=True)) / (sum(kept) + 1e-6))
    logits = [float(weights["foreground.weight"].flatten() @ x / x.norm() + weights["foreground.bias"]) for x in g]
    return torch.stack(pooled), torch.tensor([1 / (1 + math.exp(-logit)) for logit in logits])


@pytest.mark.parametrize("size", [(32, 32), (16, 40)])
def test_patches_and_foreground_equal_their_formulas(dinoiser: Dinoiser, size: tuple[int, int]) -> None:
    photos = torch.rand(2, 3, *size).double()
    found, (features, foreground) = dinoiser.encode_image(photos), dinoiser.encode_with_foreground(photos)
    plain = dinoiser.base.encode_image(photos)
    assert found.grid == (size[0] // 8, size[1] // 8)
    for number, photo in enumerate(photos):
        expected, likely = written_out(dinoiser, photo)
        torch.testing.assert_close(found.patches[number], expected, atol=1e-9, rtol=1e-7)
        torch.testing.assert_close(foreground[number].float(), likely, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(features.patches, found.patches)
    torch.testing.assert_close(found.pooled, plain.pooled)
    assert (found.patches - plain.patches).norm() > 1e-3 * plain.patches.norm()


@pytest.mark.parametrize("block", [0, 1, 2])
def test_cut_in_two_it_gives_the_same(dinoiser: Dinoiser, block: int) -> None:
    images = torch.rand(2, 3, 16, 32).double().requires_grad_()
    whole = dinoiser.encode_image(images)
    part, attention = dinoiser.suffix(dinoiser.prefix(images, block), block, need_attention=True, grid=(2, 4))
    assert part.grid == whole.grid == (2, 4)
    torch.testing.assert_close(part.patches, whole.patches)
    torch.testing.assert_close(part.pooled, whole.pooled)
    assert attention is not None
    assert attention.shape == (2, 3, 9, 9)
    gradients = torch.autograd.grad(part.pooled.square().sum(), [attention, images])
    assert all(gradient.abs().max() > 0 for gradient in gradients)


def test_its_last_block_is_the_towers_third_from_the_end(dinoiser: Dinoiser) -> None:
    images = torch.rand(1, 3, 32, 32).double()
    assert dinoiser.depth == 3
    torch.testing.assert_close(dinoiser.between(dinoiser.prefix(images, 0), 0, 2)[0], dinoiser.prefix(images, 2))
    with pytest.raises(InsightError, match="has blocks 0 to 2, found block=3"):
        dinoiser.prefix(images, 3)


def test_the_tower_is_run_once(dinoiser: Dinoiser) -> None:
    blocks, calls = dinoiser.base.model.visual.transformer.resblocks, []
    hooks = [block.ln_2.register_forward_hook(lambda *call: calls.append(call)) for block in blocks[:-1]]
    dinoiser.encode_with_foreground(torch.rand(1, 3, 32, 32).double())
    for hook in hooks:
        hook.remove()
    assert len(calls) == len(blocks) - 1


def test_photos_of_several_sizes_are_each_what_it_is_alone(dinoiser: Dinoiser) -> None:
    photos = [torch.rand(3, height, width).double() for height, width in ((32, 32), (16, 40), (32, 32), (8, 8))]
    for photo, found in zip(photos, dinoiser.encode_mixed(photos), strict=True):
        alone = dinoiser.encode_image(photo[None])
        assert found.grid == alone.grid
        torch.testing.assert_close(found.patches, alone.patches)
        torch.testing.assert_close(found.pooled, alone.pooled)


def test_the_published_file_goes_through_the_importer_unchanged(tmp_path: Path) -> None:
    state = published_state()
    import_published(write_published(tmp_path / "last.pt", state), tmp_path / "ours.safetensors")
    for path in (tmp_path / "last.pt", tmp_path / "ours.safetensors"):
        found = read_convolutions(path)
        assert torch.equal(found.correlation.weight, state["obj_proj.weight"])
        assert torch.equal(found.correlation.bias, state["obj_proj.bias"])
        assert found.foreground is not None
        assert torch.equal(found.foreground.weight, state["bkg_decoder.weight"])
        assert torch.equal(found.foreground.bias, state["bkg_decoder.bias"])
    assert sorted(load_file(tmp_path / "ours.safetensors")) == sorted(Convolutions(WIDTH).state_dict())


class Attack:
    """What runs code when it is unpickled."""

    def __init__(self, victim: Path) -> None:
        self.victim = victim

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (self.victim,)


def test_a_file_that_holds_code_is_refused_and_its_code_never_runs(tmp_path: Path) -> None:
    path = write_published(tmp_path / "last.pt", {**published_state(), "extra": Attack(tmp_path / "ran")})
    with pytest.raises(InsightError, match=r"last\.pt: expected the published torch file of tensors"):
        read_convolutions(path)
    assert not (tmp_path / "ran").exists()


def without(name: str) -> dict[str, Tensor]:
    return {key: tensor for key, tensor in published_state().items() if key != name}


@pytest.mark.parametrize(
    ("state", "words"),
    [
        (without("obj_proj.weight"), r"expected correlation.weight \[256, width, 3, 3\], found correlation.bias"),
        (without("bkg_decoder.bias"), r"expected foreground.bias \[1\], found"),
        ({}, "found no tensors"),
        (
            {**published_state(), "obj_proj.weight": torch.zeros(256, WIDTH, 1, 1)},
            r"found torch.float32 \[256, 24, 1, 1\]",
        ),
        (
            {**published_state(), "obj_proj.bias": torch.zeros(128)},
            r"floats correlation.bias \[256\], found .* \[128\]",
        ),
        ({**published_state(), "bkg_decoder.weight": torch.zeros(1, 7, 1, 1)}, r"foreground.weight \[1, width, 1, 1\]"),
        ({**published_state(), "bkg_decoder.bias": torch.zeros(1, dtype=torch.int64)}, "found torch.int64"),
        ([1, 2], "expected `model_state_dict` with obj_proj, bkg_decoder, found epoch, model_state_dict"),
    ],
)
def test_other_tensors_are_named(tmp_path: Path, state: object, words: str) -> None:
    path = write_published(tmp_path / "last.pt", state)
    with pytest.raises(InsightError, match=words) as caught:
        read_convolutions(path)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("suffix", ["pt", "safetensors"])
def test_a_half_downloaded_file_is_one_line(tmp_path: Path, suffix: str) -> None:
    whole, half = tmp_path / f"whole.{suffix}", tmp_path / f"half.{suffix}"
    if suffix == "pt":
        write_published(whole, published_state())
    else:
        save_file(Convolutions(WIDTH).state_dict(), whole)
    for size in (0, 100, whole.stat().st_size // 2):
        half.write_bytes(whole.read_bytes()[:size])
        with pytest.raises(InsightError, match=f"half.{suffix}: expected") as caught:
            read_convolutions(half)
        assert "\n" not in str(caught.value)
    with pytest.raises(InsightError, match=r"missing\.pt: no such file"):
        read_convolutions(tmp_path / "missing.pt")


def test_without_maps_of_objects_there_is_no_foreground(tower: Backbone, tmp_path: Path) -> None:
    Convolutions(WIDTH, foreground=False).write(tmp_path / "made.safetensors")
    backbone = load_dinoiser(tower, tmp_path / "made.safetensors").double()
    photo = torch.rand(1, 3, 32, 32).double()
    assert backbone.encode_image(photo).patches.shape == (1, 16, 16)
    with pytest.raises(InsightError, match="trained without saliency maps"):
        backbone.encode_with_foreground(photo)


def test_the_convolutions_are_looked_for_in_the_cache(
    tower: Backbone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("INSIGHT_CACHE", str(tmp_path))
    with pytest.raises(InsightError, match=r"are not there; get https://.*last.pt .* train them with") as caught:
        load_dinoiser(tower)
    assert str(caught.value).startswith(str(weights_file(tower)))
    Convolutions(WIDTH).write(weights_file(tower))
    found = load_dinoiser(tower)
    assert found.name == "openclip:insight-dinoiser/+dinoiser"
    assert found.encode_text(["a dog"]).shape == (1, 16)


def test_the_fingerprint_follows_tower_and_convolutions(tower: Backbone) -> None:
    convolutions = Convolutions(WIDTH)
    first, second = Dinoiser(tower, convolutions), Dinoiser(tower, Convolutions(WIDTH))
    assert first.fingerprint == Dinoiser(tower, convolutions).fingerprint
    assert len({first.fingerprint, second.fingerprint, tower.fingerprint}) == 3


def test_towers_that_it_was_not_made_for_are_refused(tower: Backbone) -> None:
    for name in ("timm:test_vit/", "openclip:insight-dinoiser-short/"):
        with pytest.raises(InsightError, match=r"one of open_clip's own vision transformers of at least 3 blocks"):
            Dinoiser(load(name), Convolutions(WIDTH))
    with pytest.raises(InsightError, match="expects convolutions for tokens of width 24, found 768"):
        Dinoiser(tower, Convolutions(768))

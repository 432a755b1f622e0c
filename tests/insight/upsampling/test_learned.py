"""Learned upsamplers: found where torch.hub and the Hugging Face cache keep them, never downloaded."""

from pathlib import Path

import pytest
import torch

from insight.upsampling import LEARNED, upsample
from insight.upsampling.learned import _load
from sae.errors import InsightError

# A stand-in with the call of each: scales nearest-neighbour maps by a weight and adds the mean normalised colour.
HUBCONF = """
import torch
from torch.nn import functional as F

class Toy(torch.nn.Module):
    def __init__(self, order):
        super().__init__()
        self.order, self.scale = order, torch.nn.Parameter(torch.zeros(1))

    def forward(self, *given):
        photo, maps = given[:2] if self.order != "maps first" else given[1::-1]
        assert (len(given) == 3) == (self.order == "size")
        size = given[2] if self.order == "size" else photo.shape[2:]
        return F.interpolate(maps, size, mode="nearest") * self.scale + photo.mean(1, keepdim=True)

def anyup_multi_backbone(use_natten=False, pretrained=True, device="cpu"):
    assert not pretrained
    return Toy("photo first")

def naf(pretrained=True, device="cpu"):
    assert not pretrained
    return Toy("size")

def loftup_dinov2s(pretrained=True, progress=True):
    assert not pretrained
    return Toy("maps first")
"""


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty torch.hub and an empty Hugging Face cache."""
    _load.cache_clear()
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr("torch.hub._hub_dir", None)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hf"))
    return tmp_path / "hub"


def install(hub: Path, name: str) -> Path:
    """Code and weights (a scale of 3) as their downloads would lie; returns the file of the weights."""
    learned = LEARNED[name]
    code = hub / f"{learned.repository.replace('/', '_')}_main"
    code.mkdir(parents=True)
    (code / "hubconf.py").write_text(HUBCONF)
    weights = hub / "checkpoints" / learned.weights
    if learned.hub:
        repository = hub.parent / "hf" / f"models--{learned.hub.replace('/', '--')}"
        weights = repository / "snapshots" / "abc" / learned.weights
        (repository / "refs").mkdir(parents=True)
        (repository / "refs" / "main").write_text("abc")
    weights.parent.mkdir(parents=True)
    torch.save({"scale": torch.tensor([3.0])}, weights)
    return weights


@pytest.mark.parametrize("name", ["anyup", "naf", "loftup_dinov2s"])
def test_an_installed_one_is_called_as_it_wants(hub: Path, name: str) -> None:
    install(hub, name)
    maps, guide = torch.randn(2, 384, 2, 3), torch.rand(2, 3, 8, 12)
    found = upsample(maps, (8, 12), guide=guide, method=name)
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    colours = (guide - mean.view(3, 1, 1)) / std.view(3, 1, 1)
    expected = maps.repeat_interleave(4, 2).repeat_interleave(4, 3) * 3 + colours.mean(1, keepdim=True)
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)


def test_what_is_not_installed_is_not_downloaded(hub: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("urllib.request.urlopen", lambda *a, **k: pytest.fail("went to the network"))
    maps, guide = torch.randn(1, 384, 2, 2), torch.rand(1, 3, 8, 8)
    for name in ("anyup", "naf", "loftup_dinov2s"):
        with pytest.raises(InsightError, match=r"its code not found.*run torch\.hub\.load\(.*\) once") as caught:
            upsample(maps, (8, 8), guide=guide, method=name)
        assert LEARNED[name].repository in str(caught.value)
        assert "\n" not in str(caught.value)
    install(hub, "anyup").unlink()
    with pytest.raises(InsightError, match=r"its weights \(anyup_multi_backbone\.pth\) not found"):
        upsample(maps, (8, 8), guide=guide, method="anyup")


def test_damaged_weights_and_features_of_another_encoder_end_in_one_line(hub: Path) -> None:
    weights = install(hub, "loftup_dinov2s")
    guide = torch.rand(1, 3, 8, 8)
    with pytest.raises(InsightError, match=r"features of 384 values, found 7"):
        upsample(torch.randn(1, 7, 2, 2), (8, 8), guide=guide, method="loftup_dinov2s")
    weights.write_bytes(weights.read_bytes()[:200])
    with pytest.raises(InsightError, match="could not be loaded") as caught:
        upsample(torch.randn(1, 384, 2, 2), (8, 8), guide=guide, method="loftup_dinov2s")
    assert "\n" not in str(caught.value)


def test_weights_that_are_code_are_not_run(hub: Path) -> None:
    """A checkpoint that would start a program when unpickled is refused."""
    import pickle

    class Trap:
        def __reduce__(self) -> tuple[object, ...]:
            return (pytest.fail, ("the checkpoint was unpickled",))

    weights = install(hub, "anyup")
    weights.write_bytes(pickle.dumps(Trap(), protocol=2))
    with pytest.raises(InsightError, match="could not be loaded"):
        upsample(torch.randn(1, 3, 2, 2), (8, 8), guide=torch.rand(1, 3, 8, 8), method="anyup")

"""Real weights, obtained once per session through the loader itself, and two real photographs."""

from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import Tensor

from insight.backbones.small import Small, load_small


@pytest.fixture(scope="session")
def small() -> Small:
    backbone = load_small()
    backbone.freeze()
    return backbone


@pytest.fixture(scope="session")
def photos(small: Small) -> Tensor:
    """A temple in China and a flower: the photographs that scikit-learn ships. [2, 3, 224, 224]"""
    from sklearn.datasets import load_sample_images

    return torch.stack([small.transform(Image.fromarray(photo)) for photo in load_sample_images().images])


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """An empty cache, no hub, and a pip that looks into one empty folder only (which is returned)."""
    import huggingface_hub.constants

    links = tmp_path / "links"
    links.mkdir()
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    for name, value in offline_environment(tmp_path, links).items():
        monkeypatch.setenv(name, value)
    return links


def offline_environment(tmp_path: Path, links: Path) -> dict[str, str]:
    return {
        "INSIGHT_CACHE": str(tmp_path / "cache"),
        "HF_HOME": str(tmp_path / "hub"),
        "HF_HUB_OFFLINE": "1",
        "PIP_NO_INDEX": "1",
        "PIP_FIND_LINKS": str(links),
        "PIP_CONFIG_FILE": "/dev/null",
    }

"""A tiny untrained CLIP model of open_clip, for tests of what runs on any: 4 blocks, 64-pixel photos, 4 x 4 patches."""

import json
import tempfile
from pathlib import Path
from typing import Any

import torch

from insight.backbones.openclip.vit import OpenClip

VISION = {"image_size": 64, "layers": 4, "width": 48, "head_width": 16, "patch_size": 16}
TEXT = {"context_length": 32, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 3}


def tiny_clip(seed: int = 0, **vision: Any) -> OpenClip:
    """A frozen model whose every weight was moved off its start, so that no term is zero or one. `vision`: settings."""
    import open_clip

    from insight.backbones.openclip import load_openclip

    name = "insight-tiny" + "".join(f"-{key}-{value}" for key, value in sorted(vision.items()))
    with tempfile.TemporaryDirectory() as folder:
        config = {"embed_dim": 24, "text_cfg": TEXT, "vision_cfg": {**VISION, **vision}}
        (Path(folder) / f"{name}.json").write_text(json.dumps(config))
        open_clip.add_model_config(folder)
        backbone = load_openclip(f"{name}/")
    assert isinstance(backbone, OpenClip)
    random = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in backbone.parameters():
            scale = 0.1 if parameter.ndim < 2 else 0.2
            parameter.add_(scale * torch.randn(parameter.shape, generator=random))
    backbone.freeze()
    return backbone

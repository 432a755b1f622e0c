"""Checkpoints of MSAE (WolodjaZ/MSAE, arXiv 2502.20578): a .pth whose name is its configuration.

Name: `{m}_{d}_{activation}[_{k}][_UW|_RW]_{tied}_{normalize}_{soft cap}_{data}.pth`. Content: {"model": state dict,
"mean_center": [d], "scaling_factor", "target_norm"}; a token is encoded as (x - mean) · scaling factor.
"""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import torch

from ..autoencoder import SparseAutoencoder
from ..config import Inputs
from ..errors import InsightError
from .parts import Parts
from .reading import Checkpoint, read_torch

_NAME = re.compile(
    r"(?P<m>\d+)_(?P<d>\d+)_(?P<activation>[A-Za-z]+)(?:_(?P<k>\d+))?(?:_(?P<nested>UW|RW))?"
    r"_(?P<tied>True|False)_(?P<normalize>True|False)_(?P<cap>-?[\d.]+)(?:_.*)?\.pth?"
)


def load_msae(path: Path | str, threshold: float | None = None) -> SparseAutoencoder:
    """Import a .pth file, which must have the name that MSAE gave it.

    TopKReLU keeps the k largest (the first output of MSAE's `encode`). A nested one (UW, RW) keeps every positive
    activation, its widest level and what MSAE reads out (the second output); k is then its narrowest level. BatchTopK
    has no threshold in the file: pass one, or 0 for every positive activation, as MSAE's `SAE` reads it out. The mean
    and the scale of the features are folded in. Not carried over, hence errors: the soft cap, and selection by size
    ("abs"). Layer normalisation adds 1e-5 to the deviation there, and not here.
    """
    path = Path(path)
    name = _NAME.fullmatch(path.name)
    if name is None:
        expected = "the name that MSAE gave it, like 8192_512_TopKReLU_64_False_False_0.0_cc3m.pth"
        raise InsightError(f"{path}: expected {expected}; it holds the configuration")
    if float(name["cap"]) > 0:
        raise InsightError(f"{path}: expected no soft cap, found {name['cap']}; it cannot be carried over")
    content = read_torch(path)
    if not isinstance(content, dict) or not {"model", "mean_center", "scaling_factor"} <= set(content):
        found = sorted(map(str, content)) if isinstance(content, dict) else type(content).__name__
        raise InsightError(f"{path}: expected model, mean_center and scaling_factor, found {found}")
    checkpoint = Checkpoint(path, content["model"])
    parts = _weights(checkpoint, tied=name["tied"] == "True")
    m, d = parts.encoder.shape
    if (m, d) != (int(name["m"]), int(name["d"])):
        raise InsightError(f"{path}: expected {name['m']} concepts of width {name['d']}, found {m} of width {d}")
    parts, inputs = _prepared(path, parts, content, normalize=name["normalize"] == "True")
    sae = _select(checkpoint, parts, name, inputs, threshold)
    checkpoint.finish()
    return sae


def _weights(checkpoint: Checkpoint, tied: bool) -> Parts:
    encoder = checkpoint.take("encoder", None, None).T
    m, d = encoder.shape
    decoder = encoder if tied else checkpoint.take("decoder", m, d)
    checkpoint.drop("latents_activation_frequency")
    return Parts(encoder, decoder, checkpoint.take("latent_bias", m), checkpoint.take("pre_bias", d))


def _prepared(path: Path, parts: Parts, content: dict[str, object], normalize: bool) -> tuple[Parts, Inputs]:
    """With what is done to the features before encoding."""
    d = len(parts.decoder_bias)
    given = Checkpoint(path, {name: _as_array(content[name]) for name in ("mean_center", "scaling_factor")})
    scale, mean = float(given.take("scaling_factor")), given.take("mean_center", d)
    if scale <= 0:
        raise InsightError(f"{path}: expected a scaling_factor above 0, found {scale}")
    if not normalize:
        return parts.of_scaled_inputs(scale).of_centred_inputs(mean), "raw"
    if mean.any():
        raise InsightError(f"{path}: layer normalisation of features with a mean taken off cannot be carried over")
    return parts.of_sample_deviation(), "layer_norm"  # which does not see the scale


def _as_array(value: object) -> object:
    number = isinstance(value, float) or (isinstance(value, int) and abs(value) < 2**53)
    return torch.tensor(value, dtype=torch.float64) if number else value


def _select(
    checkpoint: Checkpoint, parts: Parts, name: re.Match[str], inputs: Inputs, threshold: float | None
) -> SparseAutoencoder:
    path, activation = checkpoint.path, name["activation"]
    if activation == "JumpReLU":
        checkpoint.drop("dead_activations.log_threshold")  # the same parameter under a second name
        learnt = checkpoint.take("activation.log_threshold", len(parts.encoder)).exp()
        return replace(parts, threshold=learnt).build(path, "jumprelu", inputs=inputs)
    if activation == "ReLU":  # the number in the name is the weight of its penalty
        return parts.build(path, "relu", inputs=inputs)
    if activation not in ("TopK", "TopKReLU", "BatchTopK", "BatchTopKReLU"):
        raise InsightError(f"{path}: expected ReLU, JumpReLU, TopK(ReLU) or BatchTopK(ReLU), found {activation}")
    if name["k"] is None:
        raise InsightError(f"{path}: expected k behind {activation} in the name, found none")
    k = int(name["k"])
    if name["nested"]:
        return parts.build(path, "relu", k, inputs)
    if activation.startswith("TopK"):
        return parts.build(path, "topk", k, inputs)
    if threshold is None:
        raise InsightError(f"{path}: BatchTopK keeps no threshold in the file; pass one (0: every positive activation)")
    return replace(parts, threshold=torch.tensor(threshold, dtype=torch.float64)).build(path, "batch_topk", k, inputs)

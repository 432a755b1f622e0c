"""State dicts of overcomplete (KempnerInstitute/overcomplete 0.3): what `torch.save(sae.state_dict(), file)` writes.

Arrays of the encoder: `encoder.final_block.0.weight` [m, d] and `.bias` (and `.1.*` if a batch norm follows) or, of a
`TieableEncoder`, `encoder.weight`, `encoder.bias`. Of the dictionary: `dictionary._weights` [m, d] or, relaxed
archetypal, `dictionary.W` [m, n], `.C` [n, d], `.Relax` [m, d], and `dictionary.multiplier`. Of JumpSAE: `thresholds`
[m]. There is no b_dec.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Literal, get_args

import torch
from torch import Tensor

from ..autoencoder import SparseAutoencoder
from ..errors import InsightError
from .parts import Parts, just_below
from .reading import Checkpoint, read_torch

OvercompleteClass = Literal["SAE", "TopKSAE", "BatchTopKSAE", "JumpSAE"]
Normalization = Literal["l2", "max_l2", "l1", "max_l1", "identity"]
_NEARLY_UNIT = 0.05  # an optimiser's step may have moved the rows off the sphere before the file was saved
_BATCH_NORM_EPS = 1e-5


def load_overcomplete(
    path: Path | str,
    sae_class: OvercompleteClass | None = None,
    *,
    k: int | None = None,
    threshold: float | None = None,
    normalization: Normalization | None = None,
) -> SparseAutoencoder:
    """Import a state dict. The codes are those of `encode` after `.eval()`.

    What overcomplete does not save has to be said: the class (JumpSAE is recognised; RATopKSAE is TopKSAE and RAJumpSAE
    is JumpSAE here), `k` = `top_k` of TopKSAE, `threshold` = `running_threshold` of BatchTopKSAE (whose `top_k` counts
    a whole batch: pass `k` a token), and the dictionary's `normalization` unless its rows are unit ("l2", the default
    there). The relaxation of an archetypal dictionary is taken as saved. Encoders which are not one linear layer, with
    or without a batch norm, cannot be carried over.
    """
    path = Path(path)
    checkpoint = Checkpoint(path, read_torch(path))
    if sae_class is None and "thresholds" in checkpoint:
        sae_class = "JumpSAE"
    if sae_class not in get_args(OvercompleteClass):
        expected = " or ".join(get_args(OvercompleteClass))
        raise InsightError(f"{path}: the file does not say of which class it is; pass sae_class: {expected}")
    decoder = _dictionary(checkpoint, normalization)
    encoder, bias = _encoder(checkpoint, decoder)
    parts = Parts(encoder, decoder, bias, decoder.new_zeros(decoder.shape[1]))
    if sae_class == "JumpSAE":
        learnt = checkpoint.take("thresholds", len(encoder)).exp()
        sae = replace(parts, threshold=just_below(learnt)).build(path, "jumprelu", k)
    elif sae_class == "SAE":
        sae = parts.build(path, "relu", k)
    elif k is None:
        raise InsightError(f"{path}: overcomplete does not save the number of active concepts; pass k")
    elif sae_class == "TopKSAE":
        sae = parts.build(path, "topk", k)
    elif threshold is None:
        raise InsightError(f"{path}: overcomplete does not save the threshold; pass threshold=sae.running_threshold")
    else:
        kept = just_below(torch.tensor(float(threshold)))
        sae = replace(parts, threshold=kept).build(path, "batch_topk", k)
    checkpoint.finish()
    return sae


def _dictionary(checkpoint: Checkpoint, normalization: Normalization | None) -> Tensor:
    """The decoder [m, d] as `.eval()` would fix it."""
    if "dictionary.W" in checkpoint:
        shares = checkpoint.take("dictionary.W", None, None).clamp_min(0)
        m, n = shares.shape
        points = checkpoint.take("dictionary.C", n, None)
        hull = shares / (shares.sum(1, keepdim=True) + 1e-8) @ points
        rows = hull + checkpoint.take("dictionary.Relax", m, points.shape[1])
    else:
        rows = _normalised(checkpoint.path, checkpoint.take("dictionary._weights", None, None), normalization)
    return rows * checkpoint.take("dictionary.multiplier").exp()


def _normalised(path: Path, rows: Tensor, normalization: Normalization | None) -> Tensor:
    norms = torch.linalg.vector_norm(rows, dim=1, keepdim=True)
    if normalization is None:
        if bool(((norms - 1).abs() > _NEARLY_UNIT).any()):
            found = f"rows of norm {float(norms.min()):.3g} to {float(norms.max()):.3g}"
            expected = ", ".join(get_args(Normalization))
            raise InsightError(f"{path}: found {found}; pass normalization, one of {expected}")
        normalization = "l2"
    if normalization == "identity":
        return rows
    if normalization not in get_args(Normalization):
        raise InsightError(f"{path}: expected normalization among {get_args(Normalization)}, found {normalization}")
    if normalization.endswith("l1"):
        norms = rows.abs().sum(1, keepdim=True)
    return rows / (norms.max() if normalization.startswith("max") else norms + 1e-8)


def _encoder(checkpoint: Checkpoint, decoder: Tensor) -> tuple[Tensor, Tensor]:
    """W_enc [m, d] and b_enc [m]."""
    m, d = decoder.shape
    if "encoder.final_block.0.weight" in checkpoint:
        encoder = checkpoint.take("encoder.final_block.0.weight", m, d)
        bias = checkpoint.take("encoder.final_block.0.bias", m)
        normed = "encoder.final_block.1.weight" in checkpoint
        return _batch_norm(checkpoint, encoder, bias) if normed else (encoder, bias)
    tied_to = {name for name in checkpoint.names if name.startswith("encoder.tied_to.")}
    bias = checkpoint.take("encoder.bias", m) if "encoder.bias" in checkpoint else decoder.new_zeros(m)
    if tied_to:  # the dictionary a second time
        checkpoint.drop(*tied_to)
        return decoder, bias
    if "encoder.weight" not in checkpoint:
        raise InsightError(f"{checkpoint.path}: expected a linear encoder, found {sorted(checkpoint.names)}")
    return checkpoint.take("encoder.weight", m, d), bias


def _batch_norm(checkpoint: Checkpoint, encoder: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
    """Folds the batch norm behind the linear layer in: with its running statistics it is linear too."""
    place, m = "encoder.final_block.1", len(bias)
    if f"{place}.running_mean" not in checkpoint:
        raise InsightError(f"{checkpoint.path}: expected a batch norm or none, found a layer norm over the concepts")
    checkpoint.drop(f"{place}.num_batches_tracked")
    deviation = (checkpoint.take(f"{place}.running_var", m) + _BATCH_NORM_EPS).sqrt()
    factor = checkpoint.take(f"{place}.weight", m) / deviation
    shift = checkpoint.take(f"{place}.bias", m) - checkpoint.take(f"{place}.running_mean", m) * factor
    return encoder * factor.unsqueeze(1), bias * factor + shift

"""Autoencoders of SAELens (up to 6.54.12): a folder with `cfg.json` and `sae_weights.safetensors`.

Arrays: W_enc [d, m], W_dec [m, d], b_dec [d] and b_enc [m] (gated: b_gate, b_mag, r_mag [m]; jumprelu: threshold [m];
checkpoints of BatchTopK training: topk_threshold []). `cfg.json` since version 6: architecture, d_in, d_sae,
apply_b_dec_to_input, normalize_activations, k, rescale_acts_by_decoder_norm, metadata. Before: the same keys among
others, no architecture in the oldest (standard), activation_fn(_str) "relu" or "topk" with activation_fn_kwargs.k,
and sometimes an array scaling_factor or finetuning_scaling_factor [m] of a fine-tuned decoder.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..autoencoder import SparseAutoencoder
from ..config import Inputs
from ..errors import InsightError
from .parts import Parts
from .reading import Checkpoint, mean_count, read_safetensors, read_settings, whole_number

_ARCHITECTURES = ("standard", "gated", "jumprelu", "topk", "batchtopk", "matryoshka_batchtopk")
_BATCH_TOPK = ("batchtopk", "matryoshka_batchtopk")
_SMALLEST_FACTOR = 1e-30
_FLAGS = {"apply_b_dec_to_input": True, "rescale_acts_by_decoder_norm": False, "finetuning_scaling_factor": False}


def load_saelens(folder: Path | str) -> SparseAutoencoder:
    """Import a folder which SAELens saved. The codes are those of `encode` of the inference model it is or becomes.

    A BatchTopK or Matryoshka BatchTopK autoencoder, which SAELens saves as JumpReLU, is recognised by its metadata and
    gets its k (rounded) and levels back. The k of other JumpReLU, standard and gated ones is unknown: n_concepts.
    Weights in half precision are read exactly and used in float32. With `layer_norm` SAELens adds 1e-5 to the
    deviation, and here nothing is added. With `hook_z` flatten the heads first: our features are [n, heads · d_head].
    """
    folder = Path(folder)
    path = folder / "cfg.json"
    settings = _settings(path)
    checkpoint = read_safetensors(folder / "sae_weights.safetensors")
    architecture = settings["architecture"]
    parts, inputs = _prepared(path, _weights(checkpoint, settings), settings)
    details, threshold = _batch_topk_details(settings), _one_number(parts.threshold)
    if architecture == "topk":
        sae = parts.build(path, "topk", whole_number(path, "k", settings.get("k")), inputs)
    elif architecture in ("standard", "gated"):
        sae = parts.build(path, "relu" if architecture == "standard" else "gated", inputs=inputs)
    elif details is not None and threshold is not None:
        sizes = _level_sizes(path, details.get("matryoshka_widths"), len(parts.encoder))
        k = mean_count(path, "k", details.get("k"))
        sae = replace(parts, threshold=threshold).build(path, "batch_topk", k, inputs, sizes)
    else:
        sae = parts.build(path, "jumprelu", inputs=inputs)
    checkpoint.finish()
    return sae


def _settings(path: Path) -> dict[str, Any]:
    """cfg.json with the names and defaults of version 6; `InsightError` on what has no form here."""
    if path.parent.exists() and not path.is_file():
        raise InsightError(f"{path}: no such file; expected a folder as SAELens saves it")
    settings = read_settings(path)
    activation = settings.get("activation_fn", settings.get("activation_fn_str", "relu"))
    if activation == "topk":
        settings["architecture"] = "topk"
        kwargs = settings.get("activation_fn_kwargs")
        settings["k"] = kwargs.get("k") if isinstance(kwargs, dict) else None
    elif activation != "relu":
        raise InsightError(f"{path}: expected activation relu or topk, found {activation!r}")
    architecture = settings.setdefault("architecture", "standard")
    if architecture not in _ARCHITECTURES:
        raise InsightError(
            f"{path}: expected an architecture among {', '.join(_ARCHITECTURES)}, found {architecture!r}"
        )
    for name, default in _FLAGS.items():
        if not isinstance(settings.setdefault(name, default), bool):
            raise InsightError(f"{path}: expected {name} to be true or false, found {settings[name]!r}")
    if settings.get("normalize_activations") in (None, False):
        settings["normalize_activations"] = "none"
    if settings["normalize_activations"] is True:
        settings["normalize_activations"] = "expected_average_only_in"
    return settings


def _weights(checkpoint: Checkpoint, settings: dict[str, Any]) -> Parts:
    encoder = checkpoint.take("W_enc", None, None).T
    m, d = encoder.shape
    decoder, decoder_bias = checkpoint.take("W_dec", m, d), checkpoint.take("b_dec", d)
    gated = settings["architecture"] == "gated"
    parts = Parts(encoder, decoder, checkpoint.take("b_gate" if gated else "b_enc", m), decoder_bias)
    subtracted = settings["apply_b_dec_to_input"]
    if not subtracted:
        parts = parts.without_pre_bias()
    if gated:
        magnitude, bias = checkpoint.take("r_mag", m), checkpoint.take("b_mag", m)
        if not subtracted:
            bias = bias + magnitude.exp() * (encoder @ decoder_bias)
        parts = parts.of_gate(magnitude, bias)
    if "topk_threshold" in checkpoint:
        parts = replace(parts, threshold=checkpoint.take("topk_threshold"))
    elif "log_threshold" in checkpoint:
        parts = replace(parts, threshold=checkpoint.take("log_threshold", m).exp())
    elif settings["architecture"] in ("jumprelu", *_BATCH_TOPK):
        parts = replace(parts, threshold=checkpoint.take("threshold", m))
    if settings["rescale_acts_by_decoder_norm"]:
        parts = parts.with_decoder_norms_in_activations()
    for name in ("scaling_factor", "finetuning_scaling_factor"):
        if name in checkpoint:
            factor = checkpoint.take(name, m)
            if not settings["finetuning_scaling_factor"] and not torch.allclose(factor, torch.ones_like(factor)):
                raise InsightError(f"{checkpoint.path}: found a {name} which cfg.json says is not in use")
            parts = replace(parts, decoder=parts.decoder * factor.unsqueeze(1))
    return parts


def _prepared(path: Path, parts: Parts, settings: dict[str, Any]) -> tuple[Parts, Inputs]:
    """With `normalize_activations`, what SAELens does to a token before encoding."""
    normalization = settings["normalize_activations"]
    if normalization == "none":
        return parts, "raw"
    if normalization == "constant_norm_rescale":  # to norm √d
        return parts.of_scaled_inputs(parts.encoder.shape[1] ** 0.5), "unit_norm"
    if normalization == "layer_norm":
        return parts.of_sample_deviation(), "layer_norm"
    if normalization == "expected_average_only_in":
        scaler = path.with_name("activation_scaler.json")
        factor = read_settings(scaler).get("scaling_factor") if scaler.is_file() else None
        if isinstance(factor, int | float) and _SMALLEST_FACTOR < factor < 1 / _SMALLEST_FACTOR:
            return parts.of_scaled_inputs(float(factor)), "raw"
        missing = "the factor of the features, which is not in the folder (activation_scaler.json)"
    else:
        missing = "weights into which the normalisation is folded"
    raise InsightError(
        f"{path}: normalize_activations is {normalization!r}: expected {missing}; in SAELens fold it into the weights "
        "(fold_activation_norm_scaling_factor, fold_activation_whitening) and save again"
    )


def _level_sizes(path: Path, widths: Any, m: int) -> list[int] | None:
    """What each Matryoshka level adds, from the widths of the prefixes."""
    if widths is None:
        return None
    rising = isinstance(widths, list) and all(isinstance(width, int) for width in widths)
    sizes = [b - a for a, b in zip([0, *widths], widths)] if rising else []
    if not sizes or min(sizes) < 1 or sum(sizes) != m:
        raise InsightError(f"{path}: expected matryoshka_widths which rise to {m}, found {widths!r}")
    return sizes


def _batch_topk_details(settings: dict[str, Any]) -> dict[str, Any] | None:
    """k and matryoshka_widths of an autoencoder trained as BatchTopK; None if it was not, or nothing says so."""
    if settings["architecture"] in _BATCH_TOPK:
        return settings
    metadata = settings.get("metadata")
    if not isinstance(metadata, dict) or metadata.get("training_architecture") not in _BATCH_TOPK:
        return None
    details = metadata.get("training_architecture_details")
    return details if isinstance(details, dict) else None


def _one_number(threshold: Tensor | None) -> Tensor | None:
    """The threshold [] which all concepts share, if they do."""
    if threshold is None:
        return None
    first = threshold.flatten()[0]
    return first if bool((threshold == first).all()) else None

"""An autoencoder as a folder of SAELens' layout: `cfg.json` and `sae_weights.safetensors`, for SAELens 6 and later."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from safetensors.torch import save_file

from ..autoencoder import SparseAutoencoder
from ..files import atomic_write, write_json
from .parts import Parts

_LAYOUT_VERSION = "6.54.12"
_NORMALIZATION = {"raw": "none", "unit_norm": "constant_norm_rescale", "layer_norm": "layer_norm"}


def export_saelens(sae: SparseAutoencoder, folder: Path | str) -> None:
    """Write `cfg.json` and `sae_weights.safetensors`; `SAE.load_from_disk(folder)` there gives the same codes.

    `topk` becomes "topk", `relu` "standard", all others "jumprelu"; of a batch-top-k autoencoder k and the levels go
    into the metadata under the names which SAELens uses itself, and `load_saelens` brings them back. SAELens adds 1e-5
    to the deviation of `layer_norm` inputs.
    """
    folder, config = Path(folder), sae.config
    weights = [weight.double().cpu() for weight in (sae.encoder, sae.decoder, sae.encoder_bias, sae.decoder_bias)]
    parts = Parts(*(weight.detach() for weight in weights))
    if config.inputs == "unit_norm":
        parts = parts.of_scaled_inputs(config.dim**-0.5)
    if config.inputs == "layer_norm":
        parts = parts.of_scaled_inputs((config.dim / (config.dim - 1)) ** 0.5)
    settings: dict[str, Any] = {
        "architecture": {"topk": "topk", "relu": "standard"}.get(config.selection, "jumprelu"),
        "d_in": config.dim,
        "d_sae": config.n_concepts,
        "dtype": "float32",
        "device": "cpu",
        "apply_b_dec_to_input": True,
        "normalize_activations": _NORMALIZATION[config.inputs],
        "reshape_activations": "none",
        "metadata": {"sae_lens_version": _LAYOUT_VERSION, "sae_lens_training_version": None},
    }
    arrays = {"W_enc": parts.encoder.T, "b_enc": parts.encoder_bias}
    arrays |= {"W_dec": parts.decoder, "b_dec": parts.decoder_bias}
    if settings["architecture"] == "topk":
        settings |= {"k": config.k, "rescale_acts_by_decoder_norm": False}
    if settings["architecture"] == "jumprelu":
        arrays["threshold"] = sae.threshold.detach().cpu().clamp_min(0).expand(config.n_concepts)
    if config.selection == "batch_topk" and not config.level_k:  # which SAELens knows nothing of
        nested = {"matryoshka_widths": list(config.levels)} if len(config.levels) > 1 else {}
        settings["metadata"] |= {
            "training_architecture": "matryoshka_batchtopk" if nested else "batchtopk",
            "training_architecture_details": {"k": config.k, **nested},
        }
    folder.mkdir(parents=True, exist_ok=True)
    with atomic_write(folder / "sae_weights.safetensors") as temporary:
        save_file({name: array.float().contiguous() for name, array in arrays.items()}, temporary)
    write_json(folder / "cfg.json", settings)

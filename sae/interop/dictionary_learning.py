"""Checkpoints of dictionary_learning (saprmarks/dictionary_learning 0.1.0 and main of 2025-08), and so of CFM.

Its trainer writes a folder: `ae.pt`, the state dict with any scale of the features folded in already, and
`config.json` = {"trainer": {"dict_class", "k" or "target_l0", ...}}. Earlier steps lie in `checkpoints/ae_STEP.pt`.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from ..autoencoder import SparseAutoencoder
from ..errors import InsightError
from .parts import Parts
from .reading import Checkpoint, mean_count, read_settings, read_torch, whole_number

DictClass = Literal[
    "AutoEncoder",
    "AutoEncoderNew",
    "GatedAutoEncoder",
    "JumpReluAutoEncoder",
    "AutoEncoderTopK",
    "BatchTopKSAE",
    "MatryoshkaBatchTopKSAE",
]


def load_dictionary_learning(path: Path | str, dict_class: DictClass | None = None) -> SparseAutoencoder:
    """Import a checkpoint: its folder, or the file in it. The codes are those of the toolkit's `encode`.

    `AutoEncoderTopK` keeps the k largest, as its `encode` does by default, not those above its threshold. The k of
    ReLU and gated autoencoders is unknown and set to n_concepts. `AutoEncoder.from_pretrained` rescales activations
    when the decoder's rows are not unit; here they stay as they were trained. `dict_class` is needed only for a TopK
    or BatchTopK file without its `config.json`, which look the same.
    """
    path = Path(path)
    file = path / "ae.pt" if path.is_dir() else path
    trainer = _trainer_settings(file)
    checkpoint = Checkpoint(file, read_torch(file))
    kind = _dict_class(checkpoint, trainer.get("dict_class"), dict_class)
    if kind in ("AutoEncoderTopK", "BatchTopKSAE", "MatryoshkaBatchTopKSAE"):
        return _with_k(checkpoint, kind, trainer.get("k"))
    if kind == "GatedAutoEncoder":
        weights = _linear(checkpoint, "gate_bias", "decoder_bias")
        m = len(weights.encoder)
        weights = weights.of_gate(checkpoint.take("r_mag", m), checkpoint.take("mag_bias", m))
        sae = weights.build(file, "gated")
    elif kind == "JumpReluAutoEncoder":
        weights = _transposed(checkpoint).without_pre_bias()
        k = mean_count(file, "trainer.target_l0 in config.json", trainer.get("target_l0"))
        sae = weights.build(file, "jumprelu", k)
    elif kind == "AutoEncoder":
        sae = _linear(checkpoint, "encoder.bias", "bias").build(file, "relu")
    else:
        sae = _linear(checkpoint, "encoder.bias", "decoder.bias").without_pre_bias().build(file, "relu")
    checkpoint.finish()
    return sae


def _with_k(checkpoint: Checkpoint, kind: str, k_in_config: Any) -> SparseAutoencoder:
    found = checkpoint.take_integers("k") if "k" in checkpoint else [k_in_config]
    k = whole_number(checkpoint.path, "k (in the file or as trainer.k in config.json)", found[0] if found else None)
    sizes = None
    if kind == "MatryoshkaBatchTopKSAE":
        sizes = checkpoint.take_integers("group_sizes")
        weights = _transposed(checkpoint, scalar_threshold=True)
    else:
        weights = _linear(checkpoint, "encoder.bias", "b_dec")
        if kind == "BatchTopKSAE":
            weights = replace(weights, threshold=checkpoint.take("threshold"))
        else:
            checkpoint.drop("threshold")
    checkpoint.finish()
    return weights.build(checkpoint.path, "topk" if kind == "AutoEncoderTopK" else "batch_topk", k, level_sizes=sizes)


def _linear(checkpoint: Checkpoint, encoder_bias: str, decoder_bias: str) -> Parts:
    """Classes built on `nn.Linear`: encoder [m, d], decoder [d, m]."""
    encoder = checkpoint.take("encoder.weight", None, None)
    m, d = encoder.shape
    decoder = checkpoint.take("decoder.weight", d, m).T
    return Parts(encoder, decoder, checkpoint.take(encoder_bias, m), checkpoint.take(decoder_bias, d))


def _transposed(checkpoint: Checkpoint, scalar_threshold: bool = False) -> Parts:
    """Classes with arrays of their own: W_enc [d, m], W_dec [m, d]."""
    encoder = checkpoint.take("W_enc", None, None).T
    m, d = encoder.shape
    decoder = checkpoint.take("W_dec", m, d)
    biases = checkpoint.take("b_enc", m), checkpoint.take("b_dec", d)
    return Parts(encoder, decoder, *biases, checkpoint.take("threshold", *([] if scalar_threshold else [m])))


def _dict_class(checkpoint: Checkpoint, in_config: Any, asked: str | None) -> str:
    """The class whose arrays these are; where two have the same, what the caller or config.json says."""
    said = asked or in_config
    if said is not None and said not in list(_ARRAYS):
        raise InsightError(f"{checkpoint.path}: expected a dict_class among {', '.join(_ARRAYS)}, found {said!r}")
    fitting = [name for name, arrays in _ARRAYS.items() if arrays <= checkpoint.names <= arrays | _BUFFERS]
    if said in fitting or (said is None and len(fitting) == 1):
        return said or fitting[0]
    if said is None and fitting:
        hint = "put its config.json beside it or pass dict_class"
        raise InsightError(f"{checkpoint.path}: the arrays fit {' and '.join(fitting)} alike; {hint}")
    expected = f"the arrays of {said}" if said else "the arrays of a class of dictionary_learning"
    raise InsightError(f"{checkpoint.path}: expected {expected}, found {sorted(checkpoint.names)}")


def _trainer_settings(file: Path) -> dict[str, Any]:
    folder = file.parent.parent if file.parent.name == "checkpoints" else file.parent
    if not (folder / "config.json").is_file():
        return {}
    settings = read_settings(folder / "config.json").get("trainer")
    if not isinstance(settings, dict):
        raise InsightError(f'{folder / "config.json"}: expected an object "trainer", found {settings!r}')
    return settings


_NN_LINEAR = frozenset({"encoder.weight", "decoder.weight"})
_OWN = frozenset({"W_enc", "b_enc", "W_dec", "b_dec", "threshold"})
_BUFFERS = frozenset({"k", "threshold"})
_ARRAYS: dict[str, frozenset[str]] = {
    "AutoEncoder": _NN_LINEAR | {"encoder.bias", "bias"},
    "AutoEncoderNew": _NN_LINEAR | {"encoder.bias", "decoder.bias"},
    "GatedAutoEncoder": _NN_LINEAR | {"decoder_bias", "r_mag", "gate_bias", "mag_bias"},
    "AutoEncoderTopK": _NN_LINEAR | {"encoder.bias", "b_dec"},
    "BatchTopKSAE": _NN_LINEAR | {"encoder.bias", "b_dec"},
    "JumpReluAutoEncoder": _OWN,
    "MatryoshkaBatchTopKSAE": _OWN | {"group_sizes"},
}

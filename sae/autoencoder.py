"""SparseAutoencoder: features in, `SparseCodes` out, and back, at any Matryoshka level. A folder of two files on disk.

Folder: `config.json` = {"format": "insight-sae", "format_version": 1, "sae": SaeConfig, ...} (other keys, like "train",
are kept) and `sae.safetensors` = encoder, decoder, encoder_bias, decoder_bias, threshold.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from .codes import SparseCodes
from .config import SaeConfig
from .errors import InsightError
from .files import atomic_write, read_json, write_json
from .hub import downloaded, is_repository, upload
from .inputs import normalise
from .nested import reconstructions
from .preactivations import Preactivations
from .selection import TopK, above_threshold
from .weights import Weights

FORMAT = "insight-sae"
FORMAT_VERSION = 1


class SparseAutoencoder(nn.Module):
    """A dictionary of n_concepts directions; a token is the decoder bias plus a few of them.

    The pre-activations of a token x (after `config.inputs`) are u = (x - b_dec) W_encᵀ + b_enc. With selection `topk`
    the k largest positive ones of each token are active; otherwise concept j is where u_j exceeds its threshold θ_j and
    0. The activation is u_j. θ = -1 means that none was measured yet: every positive u_j is active.
    """

    threshold: Tensor
    """θ: [], one for all concepts, or [m] with selections `jumprelu` and `gated`, and with `level_k`."""

    def __init__(self, config: SaeConfig) -> None:
        super().__init__()
        self.config = config
        m, d = config.n_concepts, config.dim
        self.encoder = nn.Parameter(torch.zeros(m, d))
        self.decoder = nn.Parameter(torch.zeros(m, d))
        self.encoder_bias = nn.Parameter(torch.zeros(m))
        self.decoder_bias = nn.Parameter(torch.zeros(d))
        self.register_buffer("threshold", torch.full([m] if config.threshold_per_concept else [], -1.0))

    @property
    def weights(self) -> Weights:
        """The four weights, detached (they share memory with the parameters)."""
        parameters = (self.encoder, self.decoder, self.encoder_bias, self.decoder_bias)
        return Weights(*(parameter.detach() for parameter in parameters))

    @property
    def n_concepts(self) -> int:
        """m."""
        return self.config.n_concepts

    @property
    def directions(self) -> Tensor:
        """[m, d]: the decoder's rows, detached: what an activation of 1 adds to a reconstruction."""
        return self.decoder.detach()

    @torch.no_grad()
    def encode(self, x: Tensor, level: int | None = None) -> SparseCodes:
        """Codes of features x [..., d], one row a token, over the concepts of `level` (default: all).

        `InsightError` on another width or on NaN or infinite features.
        """
        tokens = self._checked(x)
        tokens = normalise(tokens, self.config.inputs).tokens
        if self.config.selection == "topk":  # a level's reconstruction is of those of the k that are in it
            return self._encode(tokens, self.config.n_concepts).prefix(self._size(level))
        return self._encode(tokens, self._size(level))

    def _encode(self, tokens: Tensor, size: int) -> SparseCodes:
        encoder, decoder, encoder_bias, decoder_bias = self.weights
        own = Weights(encoder[:size], decoder[:size], encoder_bias[:size], decoder_bias)
        with torch.autocast(tokens.device.type, enabled=False):  # which pairs are active is not for rounding to decide
            pre = Preactivations(own, (tokens - decoder_bias).contiguous())  # kernels read memory row by row
            if self.config.selection == "topk":
                return TopK(self.config.k)(pre)
            return above_threshold(pre, self.threshold[:size] if self.config.threshold_per_concept else self.threshold)

    @torch.no_grad()
    def decode(self, codes: SparseCodes, level: int | None = None) -> Tensor:
        """Reconstructions [n, d] from codes, with the concepts of `level` only (default: all given).

        They are of the features as encoded: with `config.inputs` other than "raw", of the normalised features.
        """
        if codes.n_concepts > self.config.n_concepts:
            found = f"{codes.n_concepts}; they are of another autoencoder"
            raise InsightError(f"decode: expected codes of at most {self.config.n_concepts} concepts, found {found}")
        codes = codes.prefix(min(self._size(level), codes.n_concepts))
        codes = codes.to(self.decoder.device)
        return reconstructions(codes, [codes.n_concepts], self.decoder.detach(), self.decoder_bias.detach())[0]

    def forward(self, x: Tensor) -> Tensor:
        """Reconstructions of features x [..., d], of the same shape."""
        normalised = normalise(self._checked(x), self.config.inputs)
        codes = self._encode(normalised.tokens, self.config.n_concepts)
        return normalised.undo(self.decode(codes)).view(x.shape)

    def level_of(self, concept: int | Tensor) -> int | Tensor:
        """The coarsest level that contains a concept (0 is coarsest), or those of a tensor of concepts."""
        concepts = torch.as_tensor(concept)
        if concepts.numel() and not (int(concepts.min()) >= 0 and int(concepts.max()) < self.config.n_concepts):
            raise InsightError(f"level_of: expected concepts of 0 to {self.config.n_concepts - 1}, found {concept}")
        levels = torch.bucketize(concepts, torch.tensor(self.config.levels, device=concepts.device), right=True)
        return levels if isinstance(concept, Tensor) else int(levels)

    def save_pretrained(
        self, folder: Path | str, extra: dict[str, Any] | None = None, *, dtype: torch.dtype | None = None
    ) -> None:
        """Write the folder. Keys already in its `config.json` are kept; `extra` adds or replaces top-level keys.

        `dtype` is what the encoder's and the decoder's rows are stored as (default: what they are); they are read as
        float32. `InsightError` where float16 is too narrow for them.
        """
        folder = Path(folder)
        tensors = self.state_dict()
        for name in () if dtype is None else ("encoder", "decoder"):
            tensors[name] = tensors[name].to(dtype)
            if not bool(torch.isfinite(tensors[name]).all()):
                raise InsightError(f"{folder}: the {name} has numbers that {dtype} does not hold; save it as float32")
        folder.mkdir(parents=True, exist_ok=True)
        kept = read_json(folder / "config.json") if (folder / "config.json").exists() else {}
        with atomic_write(folder / "sae.safetensors") as temporary:
            save_file({name: tensor.cpu().contiguous() for name, tensor in tensors.items()}, temporary)
        own = {"format": FORMAT, "format_version": FORMAT_VERSION, "sae": self.config.to_dict()}
        write_json(folder / "config.json", {**kept, **(extra or {}), **own})

    def push_to_hub(self, repository: str, *, private: bool = False, extra: dict[str, Any] | None = None) -> str:
        """Upload what `save_pretrained` writes, and a model card, to the Hugging Face hub; returns the address.

        `repository` is "user/name"; it is made if need be. `extra` is as in `save_pretrained`.
        """
        with tempfile.TemporaryDirectory() as folder:
            self.save_pretrained(folder, extra)
            return upload(Path(folder), self.config, repository, private=private)

    @classmethod
    def from_pretrained(cls, folder: Path | str, revision: str | None = None) -> SparseAutoencoder:
        """Read a folder, or a repository "user/name" of the Hugging Face hub when no such folder exists.

        `revision` is the repository's branch, tag or commit. `InsightError` names the file that is missing, damaged or
        of another format.
        """
        if is_repository(folder):
            folder = downloaded(str(folder), revision)
        folder = Path(folder)
        config = read_json(folder / "config.json")
        found = (config.get("format"), config.get("format_version")) if isinstance(config, dict) else (None, None)
        if found != (FORMAT, FORMAT_VERSION):
            expected = f'format "{FORMAT}" version {FORMAT_VERSION}'
            raise InsightError(
                f'{folder / "config.json"}: expected {expected}, found "{found[0]}" version {found[1]}; '
                "read it with the version of this package that wrote it"
            )
        sae = cls(SaeConfig.from_dict(config.get("sae")))
        sae._load(folder / "sae.safetensors")
        return sae

    def _load(self, path: Path) -> None:
        if not path.exists():
            raise InsightError(f"{path}: no such file; train again or restore it")
        try:
            tensors = load_file(path)
        except SafetensorError as error:
            raise InsightError(f"{path}: expected safetensors, found a damaged file ({error}); restore it") from None
        expected = {name: list(tensor.shape) for name, tensor in self.state_dict().items()}
        found = {name: list(tensor.shape) for name, tensor in tensors.items()}
        if found != expected:
            raise InsightError(f"{path}: expected arrays {expected}, found {found}; config.json is of another model")
        self.load_state_dict(tensors)

    def _size(self, level: int | None) -> int:
        levels = self.config.levels
        if level is None:
            return levels[-1]
        if not 0 <= level < len(levels):
            raise InsightError(f"level: expected 0 to {len(levels) - 1}, found {level}")
        return levels[level]

    def _checked(self, x: Tensor) -> Tensor:
        """Features as [n, d] in the weights' type and place."""
        if x.dim() < 1 or x.shape[-1] != self.config.dim:
            raise InsightError(f"encode: expected features [..., {self.config.dim}], found {list(x.shape)}")
        tokens = x.reshape(-1, self.config.dim).to(self.encoder)
        if not bool(torch.isfinite(tokens.sum())) and not bool(torch.isfinite(tokens).all()):
            bad = f"{int((~torch.isfinite(tokens)).any(1).sum())} of {len(tokens)} tokens"
            raise InsightError(f"encode: expected finite features, found NaN or infinity in {bad}; leave them out")
        return tokens

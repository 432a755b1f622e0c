"""ConceptModel: a backbone, its dictionary of concepts, their names and relations, as one thing that explains photos.

A model is a folder: `config.json`, `sae.safetensors` (the autoencoder), `relations.npz` (which concept belongs to
which), `examples.parquet` (the strongest patches of each concept) and `concepts.parquet` (names). Every file can be
read without this package.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from jaxtyping import Float, Int64
from PIL import Image
from torch import Tensor

from naming import TEMPLATES, ConceptGraph, concept_embeddings
from sae import SparseAutoencoder, SparseCodes
from sae.errors import InsightError
from sae.files import read_json

from .backbones import Backbone, DenseFeatures
from .backbones import load as load_backbone
from .concept import Concept, load_concepts
from .data.decode import decode, to_rgb
from .edits import Applied, Edits
from .edits.shown import shown_as, shown_codes, shown_scores
from .embeddings import load_embeddings
from .explanation import ConceptEvidence, Explanation
from .models import model_folder

if TYPE_CHECKING:
    from .attribution import Scorer

PHOTO_PIXELS = 640
NOT_SHARED = ["checkpoint/*", "evidence/*", "*.part", "*.lock"]
"""What of a model's folder stays at home. The evidence is many times the rest, and explaining and naming do without."""


@dataclass(frozen=True, eq=False)
class EncodedPhoto:
    """A photo that the encoder has seen, so that it need not look again: made by `ConceptModel.encode_photo`.

    `source`: its path, or "image"; `view`: its centre square, at most 640 pixels wide; `codes` [h·w, m]: the concepts
    of its patches before edits, on the CPU; `features`: what they came from; `fvu`: as of `Explanation`.
    """

    source: str
    view: Image.Image = field(repr=False)
    codes: SparseCodes = field(repr=False)
    features: DenseFeatures = field(repr=False)
    fvu: float


class ConceptModel:
    """A backbone whose features are read as named, related concepts.

    Made by `insight build` and read by `from_pretrained`. `backbone` may be left out when only the dictionary is
    looked at; it is loaded, and its fingerprint checked, when first needed.
    """

    def __init__(
        self,
        sae: SparseAutoencoder,
        concepts: Sequence[Concept],
        relations: ConceptGraph,
        config: dict[str, Any],
        *,
        backbone: Backbone | None = None,
        embeddings: Float[Tensor, "m d"] | None = None,
        device: torch.device | str = "cpu",
    ) -> None:
        self.sae = sae.to(device).eval()
        self.concepts = list(concepts)
        self.relations = replace(relations, titles=tuple(concept.title for concept in self.concepts))
        self.config = config
        self.device = torch.device(device)
        if backbone is not None:
            check_fingerprint(backbone, config)
            self.backbone = backbone
        if embeddings is not None:
            self.embeddings = embeddings

    @cached_property
    def backbone(self) -> Backbone:
        """The encoder the dictionary was trained on; `InsightError` when its weights are not those."""
        backbone = load_backbone(self.config["backbone"]["name"], device=self.device)
        check_fingerprint(backbone, self.config)
        return backbone

    @classmethod
    def from_pretrained(
        cls, folder: Path | str, *, backbone: Backbone | None = None, device: torch.device | str = "cpu"
    ) -> ConceptModel:
        """Read a model: a folder, one that comes with the package ("small"), or one of the hub ("user/name").

        `insight.models.model_folder` says which is meant. The edits beside it (`insight.edits`) are applied; those that
        cannot be are said on standard error.
        """
        path = model_folder(folder)
        sae = SparseAutoencoder.from_pretrained(path)
        config = read_json(path / "config.json")
        if "backbone" not in config:
            raise InsightError(
                f"{path / 'config.json'}: expected a model trained on a feature cache, found an autoencoder without a"
                " backbone; train it by `insight train CACHE --out MODEL`"
            )
        if not (path / "relations.npz").exists():
            raise InsightError(f"{path}: has no relations.npz yet; run `insight relate {path} CACHE`")
        graph = ConceptGraph.load(path / "relations.npz")
        concepts = load_concepts(path / "concepts.parquet", sae.config.n_concepts)
        edited = Edits(path).apply(sae.decoder, concepts, graph)
        if complaint := edited.complaint():
            print(f"{path}: {complaint}; insight edit {path} list", file=sys.stderr, flush=True)
        named = path / "embeddings.npz"
        embeddings = load_embeddings(named, sae.config.n_concepts) if named.exists() else None
        return cls(
            sae, edited.concepts, edited.relations, config, backbone=backbone, embeddings=embeddings, device=device
        )

    def push_to_hub(self, folder: Path | str, repository: str, *, private: bool = False) -> str:
        """Upload a model folder to the Hugging Face hub as `repository` ("user/name"); returns its address."""
        from huggingface_hub import HfApi

        api = HfApi()
        address = api.create_repo(repository, exist_ok=True, private=private)
        api.upload_folder(repo_id=repository, folder_path=folder, ignore_patterns=NOT_SHARED)
        return str(address)

    @torch.no_grad()
    def encode(self, images: Float[Tensor, "b 3 s s"]) -> tuple[SparseCodes, DenseFeatures]:
        """Codes [b·h·w rows, row by row of each image] and the features they came from; images in [0, 1]."""
        features = self.backbone.encode_image(images.to(self.device))
        return self.sae.encode(features.patches.flatten(0, 1).float()), features

    @torch.no_grad()
    def encode_photo(self, image: Path | str | Image.Image) -> EncodedPhoto:
        """See a photo once; `explain` and `ConceptClassifier.explain` take what comes out in its place.

        `image` is a path or a PIL image of any mode; `insight.data.decode` says what becomes of transparency, 16 bits
        and the like, and `BadImage` (an `InsightError`) is raised where there is no picture.
        """
        source = "image" if isinstance(image, Image.Image) else str(image)
        photo = to_rgb(image, source) if isinstance(image, Image.Image) else decode(Path(image))
        transform = self.backbone.transform
        codes, features = self.encode(transform(photo)[None])
        view = transform.view(photo, PHOTO_PIXELS)
        fvu = self._fvu(features.patches[0].float(), codes)
        return EncodedPhoto(source, view, codes.to("cpu"), features, fvu)

    @torch.no_grad()
    def explain(self, image: Path | str | Image.Image | EncodedPhoto, *, top: int | None = 20) -> Explanation:
        """Which concepts a photo holds, where, and what they belong to: its `top` strongest (None: all).

        `image`: as of `encode_photo`, or what that returned. The backbone sees the photo's centre square, and so do
        the maps.
        """
        encoded = image if isinstance(image, EncodedPhoto) else self.encode_photo(image)
        features = encoded.features
        shown = self.shown(encoded.codes)
        peaks = shown.max_by_group(torch.zeros(shown.n, dtype=torch.int64, device=shown.device), 1)
        order = peaks.activations.argsort(descending=True, stable=True)[:top]
        maps = _maps(shown, peaks.concepts[order], features.grid)
        evidence = tuple(
            self._evidence(int(concept), maps[i]) for i, concept in enumerate(peaks.concepts[order].tolist())
        )
        named = {c for item in evidence for c in (item.id, *item.parents, *item.children)}
        return Explanation(
            image=encoded.source,
            backbone=self.config["backbone"]["name"],
            grid=features.grid,
            fvu=encoded.fvu,
            concepts=evidence,
            photo=encoded.view,
            names={c: self.concepts[c].title for c in sorted(named)},
            description=self.config["backbone"]["description"],
        )

    def shown(self, codes: SparseCodes) -> SparseCodes:
        """Codes as they are shown after edits: merged concepts as one, hidden ones not at all."""
        return shown_codes(codes, self._shown_as)

    def apply(self, edited: Applied) -> None:
        """Show other edits from now on (`Edits.applied`), in place of those applied so far; no weights are read."""
        self.concepts = list(edited.concepts)
        self.relations = replace(edited.relations, titles=tuple(concept.title for concept in self.concepts))
        self.__dict__.pop("_shown_as", None)

    def scorer(self, texts: Sequence[str], templates: Sequence[str] = TEMPLATES) -> Scorer:
        """How much a photo's concepts speak for each text: the logit of `ConceptClassifier.zero_shot`, differentiable
        in the features. `templates`: sentences around a text; ("{}",) for texts that are sentences."""
        from .heads.scoring import text_scorer

        return text_scorer(self, texts, templates)

    def search(self, text: str, *, top: int = 10) -> list[tuple[Concept, float]]:
        """The concepts whose direction is nearest to a text, with their cosines, best first."""
        query = self.backbone.encode_text([text])[0].cpu()
        scores = shown_scores(self.embeddings @ query, self._shown_as)
        best = scores.argsort(descending=True, stable=True)[: min(top, int(scores.isfinite().sum()))].tolist()
        return [(self.concepts[i], float(scores[i])) for i in best]

    @cached_property
    def embeddings(self) -> Float[Tensor, "m d"]:
        """Each concept as a unit vector in text space (zero rows: it never fires).

        As it was named, and decoded with its parents in a model that has no names yet.
        """
        return concept_embeddings(self.sae.decoder.detach().cpu(), self.sae.decoder_bias.detach().cpu(), self.relations)

    @cached_property
    def _shown_as(self) -> Int64[Tensor, " m"]:
        return shown_as(self.concepts)

    def _repr_html_(self) -> str:
        from .render.notebook import model_html

        return model_html(self)

    def _evidence(self, concept: int, heat: np.ndarray) -> ConceptEvidence:
        entry = self.concepts[concept]
        return ConceptEvidence(
            id=concept,
            name=entry.title,
            score=entry.score,
            alternatives=entry.scored_alternatives,
            level=entry.level,
            activation=float(heat.max()),
            map=heat,
            parents=tuple(int(i) for i in self.relations.parents(concept)),
            children=tuple(int(i) for i in self.relations.children(concept)),
            kinds=self.relations.kinds_around(concept),
            named=entry.name is not None,
            confidence=entry.confidence,
            edited=entry.edited,
        )

    def _fvu(self, patches: Tensor, codes: SparseCodes) -> float:
        """Σ‖x − x̂‖² / Σ‖x − b_dec‖² over one image's patches."""
        residual = (patches - self.sae.decode(codes)).double().square().sum()
        return float(residual / (patches - self.sae.decoder_bias).double().square().sum().clamp_min(1e-12))


def check_fingerprint(backbone: Backbone, config: dict[str, Any]) -> None:
    """`InsightError` unless the backbone is the very one (name, weights, code) that the model was trained on."""
    wanted = config["backbone"]["fingerprint"]
    if backbone.fingerprint != wanted:
        raise InsightError(
            f"the model was trained on backbone {config['backbone']['name']} with fingerprint {wanted[:12]}…, found"
            f" {backbone.name} with {backbone.fingerprint[:12]}…; use the version of this package that made the model,"
            " or build it again with this backbone"
        )


def _maps(codes: SparseCodes, concepts: Tensor, grid: tuple[int, int]) -> Float[np.ndarray, "c h w"]:
    """The activation maps of a few concepts in one image's codes; other concepts are never made dense."""
    place = torch.full((codes.n_concepts,), -1, device=codes.device)
    place[concepts.long()] = torch.arange(len(concepts), device=codes.device)
    slot = place[codes.concepts.long()]
    kept = slot >= 0
    maps = codes.activations.new_zeros(len(concepts), codes.n)
    maps[slot[kept], codes.rows()[kept]] = codes.activations[kept]
    return maps.reshape(len(concepts), *grid).cpu().numpy()

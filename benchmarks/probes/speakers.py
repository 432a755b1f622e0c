"""Who answers the probes: a backbone, a bridge on kept tokens, or a classifier that knows names alone.

A speaker gives unit vectors of texts, and of a set of photos, batch by batch, unit vectors of their patches and of the
photos as a whole, in the space of the texts.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from benchmarks.probes.photos import Photos
from benchmarks.probes.tokens import BATCH, Network, stream
from insight.backbones import Backbone, CentreSquare
from insight.backbones.base import hash_tensors
from insight.backbones.small.bridge import Bridge
from insight.backbones.small.minilm import MiniLM
from sae.errors import InsightError

PROMPT = "a photo of a {}"
Features = Iterator[tuple[Tensor | None, Tensor]]


@dataclass
class Speaker(ABC):
    """name: as the rows say it; key: SHA-256 of its weights; transform and grid: which square of a photo its patches
    cut up, and how (grid None: it has no patches)."""

    name: str
    key: str
    transform: CentreSquare
    grid: tuple[int, int] | None

    @abstractmethod
    def text(self, texts: list[str]) -> Tensor:
        """Unit vectors [m, d]."""

    @abstractmethod
    def features(self, photos: Photos) -> Features:
        """Batches of (patches [b, h*w, d] or None where it has none, image vectors [b, d]), in order, unit vectors."""


class Sentences:
    """The sentence encoder, asked for each text once: bridges share what it says."""

    def __init__(self) -> None:
        self.encoder = MiniLM()
        self.known: dict[str, Tensor] = {}

    def __call__(self, texts: list[str]) -> Tensor:
        """Unit vectors [m, 384]."""
        unknown = sorted({text for text in texts if text not in self.known})
        self.known.update(zip(unknown, self.encoder(unknown), strict=True))
        return torch.stack([self.known[text] for text in texts])


class OfBackbone(Speaker):
    """Any backbone with a text space; each set of photos is encoded as often as it is asked for."""

    def __init__(self, backbone: Backbone) -> None:
        super().__init__(backbone.name, backbone.fingerprint, backbone.transform, backbone.grid)
        self.backbone = backbone

    def text(self, texts: list[str]) -> Tensor:
        return self.backbone.encode_text(texts)

    def features(self, photos: Photos) -> Features:
        for images in photos.batches(self.transform, BATCH):
            seen = self.backbone.encode_image(images)
            yield normalize(seen.patches, dim=-1), normalize(seen.pooled, dim=-1)


class OfBridge(Speaker):
    """A bridge behind a trunk whose tokens, [n, 257, 384] for a grid of 16 by 16, are kept below `tokens`."""

    def __init__(self, name: str, bridge: Bridge, trunk: Network, sentences: Sentences, tokens: Path) -> None:
        super().__init__(name, hash_tensors(bridge.state_dict()), trunk.transform, (16, 16))
        self.bridge, self.trunk, self.sentences, self.tokens = bridge, trunk, sentences, tokens

    def text(self, texts: list[str]) -> Tensor:
        return self.bridge.text(self.sentences(texts))

    def features(self, photos: Photos) -> Features:
        for chunk in stream(self.tokens, photos, self.trunk):
            for tokens in chunk.split(2 * BATCH):
                patches, pooled = self.bridge(tokens)
                yield normalize(patches, dim=-1), normalize(pooled, dim=-1)


class OfNames(Speaker):
    """A classifier with names alone: a photo is the mean of the texts of its names, weighted by its posterior.

    Its texts are those of another speaker; posteriors are kept below `kept`.
    """

    def __init__(self, name: str, classifier: Network, names: list[str], texts_of: Speaker, kept: Path) -> None:
        super().__init__(name, classifier.key, classifier.transform, None)
        self.classifier, self.names, self.texts_of, self.kept = classifier, names, texts_of, kept

    def text(self, texts: list[str]) -> Tensor:
        return self.texts_of.text(texts)

    def features(self, photos: Photos) -> Features:
        known = self.text([PROMPT.format(name) for name in self.names])
        for posterior in stream(self.kept, photos, self.classifier):
            yield None, normalize(posterior @ known, dim=-1)


def teacher(texts_of: Speaker, kept: Path) -> OfNames:
    """EfficientNet-Lite0 with ImageNet's 1,000 names, its texts in the space of another speaker's."""
    from scripts.bridge.teacher import SHA256, SIZE, Teacher, teacher_classes

    def build() -> nn.Module:
        return nn.Sequential(Teacher(), nn.Softmax(1)).eval()

    posterior = Network("efficientnet-lite0", SHA256 + " posterior 1", CentreSquare(SIZE), build)
    return OfNames("the teacher's names", posterior, list(teacher_classes().values()), texts_of, kept)


def check_is_backbone(speaker: OfBridge, backbone: Backbone, photos: Photos) -> None:
    """`InsightError` unless bridge and kept tokens say what the backbone itself says of the first photos.

    Kept tokens are float16; more than that must not lie between them.
    """
    images = next(photos.batches(backbone.transform, 4))
    seen, (patches, pooled) = backbone.encode_image(images), next(speaker.features(photos))
    assert patches is not None
    for what, own, found in (("patches", seen.patches, patches), ("pooled", seen.pooled, pooled)):
        least = float((normalize(own, dim=-1) * found[: len(own)]).sum(-1).min())
        if least < 0.999:
            raise InsightError(
                f"{speaker.tokens}: {what} of {backbone.name} and of its bridge on kept tokens have a cosine of "
                f"{least:.4f}, expected 1; delete the tokens"
            )
    texts = [PROMPT.format(name) for name in ("dog", "blue sky")]
    if not torch.allclose(backbone.encode_text(texts), speaker.text(texts), atol=1e-5):
        raise InsightError(f"{speaker.name}: its texts differ from those of {backbone.name}; give its own bridge")

"""A segmenter on a model of random weights and an unsquare photo of noise, and its logits by hand in float64."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from PIL import Image

from insight import ConceptModel
from insight.concept import unnamed
from insight.heads import ConceptSegmenter
from insight.heads.class_texts import ClassWords
from tests.insight.random_models import CONCEPTS, Pixels, random_dictionary, random_graph

FINGERPRINT = "ab" * 32
WORDS = {"boat": ("boat", "ship", "canoe"), "sky": "sky", "water": ("water", "sea")}
TEMPLATES = ("a photo of {}", "some {}")
TEMPERATURE = 0.05


class PinnedPixels(Pixels):
    """`Pixels` with the fingerprint of a cache."""

    fingerprint = FINGERPRINT


def random_model(seed: int) -> ConceptModel:
    """A model whose concepts are "concept 0" and so on."""
    rng = np.random.default_rng(seed)
    config = {"backbone": {"name": "pixels", "fingerprint": FINGERPRINT, "description": "", "grid": [4, 4]}}
    concepts = unnamed([0] * CONCEPTS, [1] * CONCEPTS, [0.0] * CONCEPTS)
    return ConceptModel(random_dictionary(rng), concepts, random_graph(rng), config, backbone=PinnedPixels())


def noise(seed: int, width: int = 30, height: int = 21) -> Image.Image:
    """A photo of coarse noise."""
    drawn = np.random.default_rng(seed).integers(0, 256, (height // 4 + 1, width // 4 + 1, 3), dtype=np.uint8)
    return Image.fromarray(drawn).resize((width, height), Image.Resampling.NEAREST)


def bilinear(pixels: int, patches: int) -> np.ndarray:
    """[pixels, patches]: the weight of each patch in each pixel along one side, by the positions of the centres."""
    place = (np.arange(pixels) + 0.5) * patches / pixels - 0.5
    hats = [np.interp(place, np.arange(patches), np.eye(patches)[i]) for i in range(patches)]
    return np.stack(hats, axis=1)


@dataclass
class ByHand:
    """The open-vocabulary logits of a photo, dense and in float64."""

    model: ConceptModel
    photo: Image.Image
    grid: tuple[int, int]

    @cached_property
    def codes(self) -> np.ndarray:
        """[h·w, m]: windows of this backbone see each patch alone, so that overlaps do not matter."""
        h, w = self.grid
        fitted = np.asarray(self.photo.resize((4 * w, 4 * h), Image.Resampling.BICUBIC), np.float32) / 255
        patches = torch.from_numpy(fitted).permute(2, 0, 1).unfold(1, 4, 4).unfold(2, 4, 4)
        patches = patches.permute(1, 2, 0, 3, 4).reshape(h * w, 48)
        return self.model.sae.encode(patches.contiguous()).dense().double().numpy()

    @cached_property
    def terms(self) -> dict[str, np.ndarray]:
        """Of every word [h·w, m + 1]: what each concept, and last the bias, puts into the logit of each patch."""
        directions = self.model.sae.decoder.detach().double().numpy()
        bias = self.model.sae.decoder_bias.detach().double().numpy()
        length = np.linalg.norm(self.codes @ directions + bias, axis=1, keepdims=True)
        found = {}
        for word in (word for words in ClassWords.read(WORDS).words for word in words):
            texts = self.model.backbone.encode_text([t.replace("{}", word) for t in TEMPLATES]).double().numpy()
            texts /= np.linalg.norm(texts, axis=1, keepdims=True)
            vector = texts.mean(0) / np.linalg.norm(texts.mean(0))
            of_concepts = self.codes * (directions @ vector)
            constant = np.full((len(length), 1), bias @ vector)
            found[word] = np.hstack([of_concepts, constant]) / length / TEMPERATURE
        return found

    @cached_property
    def pixel_terms(self) -> dict[str, np.ndarray]:
        """The same of pixels, upsampled bilinearly: [H, W, m + 1]."""
        (width, height), (h, w) = self.photo.size, self.grid
        rows, columns = bilinear(height, h), bilinear(width, w)
        return {
            word: np.einsum("Hh,Ww,hwk->HWk", rows, columns, terms.reshape(h, w, -1))
            for word, terms in self.terms.items()
        }


def class_terms(terms: dict[str, np.ndarray]) -> list[np.ndarray]:
    """Of every class the terms of the word that is best at each place."""
    chosen = []
    for words in ClassWords.read(WORDS).words:
        of_words = np.stack([terms[word] for word in words])
        best = of_words.sum(-1).argmax(0)
        chosen.append(np.take_along_axis(of_words, best[None, ..., None], axis=0)[0])
    return chosen


def segmenter(model: ConceptModel, **settings: object) -> ConceptSegmenter:
    return ConceptSegmenter(model, WORDS, templates=TEMPLATES, temperature=TEMPERATURE, **settings)

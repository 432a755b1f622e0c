"""Fit how sure a name is: `naming/names/confidence.json`, from names whose rightness is known.

In: a related model of the backbone `small` (`--model`), the cache of its photographs with ids as `train_small_model.py`
writes them (`--cache`), and the data folder with the masks of MSRC-v2 (`--data`). Training photographs alone: MSRC's
training split by its masks, imagenet-200x5 by the class of the photo. Out: the weights, with what they reach on labels
they were not fitted on (folds by label).

    python scripts/calibrate_names.py --model DIR --cache DIR --data DIR
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from insight.backbones import CentreSquare
from insight.backbones import load as load_backbone
from insight.backbones.weights import cache_root
from insight.cache import FeatureCache
from insight.data.masks import class_map, decode_mask, read_classes
from insight.defaults import PRIOR
from naming import (
    ConceptGraph,
    Confidence,
    FeatureMeans,
    Overlaps,
    Vocabulary,
    WordNet,
    concept_embeddings,
    load_phrases,
    name_concepts,
    name_signals,
    region_embeddings,
)
from sae import SparseAutoencoder
from sae.errors import InsightError

OUT = Path(__file__).resolve().parents[1] / "naming" / "names" / "confidence.json"
FOLDS, SEEDS = 8, 5


@dataclass(frozen=True)
class Labels:
    """What the concepts of one set stand for: label [m] (-1: none), and when a name is right for a label."""

    names: list[str]
    label: np.ndarray
    fits: Callable[[str, str], bool]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--cache", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True)
    arguments = parser.parse_args()

    sae = SparseAutoencoder.from_pretrained(arguments.model).eval()
    graph = ConceptGraph.load(arguments.model / "relations.npz")
    features = FeatureMeans.load(arguments.model / "evidence" / "features.npz")
    backbone = load_backbone("small")
    folder = cache_root() / "vocabularies"
    words = Vocabulary.embed(load_phrases(), backbone.encode_text, cache=folder, fingerprint=backbone.fingerprint)
    embeddings = region_embeddings(features)
    decoded = concept_embeddings(sae.decoder.detach(), sae.decoder_bias.detach(), graph, "parents")
    names = name_concepts(embeddings, words, prior=PRIOR)
    signals = name_signals(embeddings, names, words, decoded, prior=PRIOR)

    wordnet = WordNet.load()
    sets = [
        Labels(*labels, fits)
        for labels, fits in zip(
            references(sae, FeatureCache.open(arguments.cache), arguments.data),
            # a photo's class may be finer than what stands on a patch of it: a name above it is right there
            (wordnet.is_kind_of, lambda a, b: wordnet.is_kind_of(a, b) or wordnet.is_kind_of(b, a)),
            strict=True,
        )
    ]
    concept, right, group = [], [], []
    for number, one in enumerate(sets):
        for i in np.flatnonzero(one.label >= 0):
            if names.phrases[i]:
                concept.append(i)
                right.append(one.fits(names.phrases[i][0], one.names[one.label[i]]))
                group.append(1000 * number + one.label[i])
    rows, hit, groups = np.array(concept), np.array(right), np.array(group)
    held_out = across_labels(signals, rows, hit, groups)
    print(f"{len(rows)} labelled names, {hit.mean():.1%} right; on labels not fitted on: {held_out}")
    fitted = Confidence.fit(signals, *_flags(len(signals), rows, hit), f"{len(rows)} names of a dictionary of small")
    data = {"MSRC-v2 train": int((groups < 1000).sum()), "imagenet-200x5": int((groups >= 1000).sum())}
    fitted.save(OUT, names=data, right=round(float(hit.mean()), 4), on_other_labels=held_out)
    print(f"{OUT}: {fitted}")


def references(sae: SparseAutoencoder, cache: FeatureCache, data: Path) -> list[tuple[list[str], np.ndarray]]:
    """The names and each concept's reference label, by MSRC's masks and by ImageNet's classes.

    A label counts where both halves of the photographs, each alone, give it.
    """
    ids = cache.index["id"].to_pylist()
    msrc = list(read_classes(data / "msrc" / "classes.txt"))
    lines = (data / "imagenet-200x5" / "classes.tsv").read_text(encoding="utf-8").splitlines()
    imagenet = dict(line.split("\t")[:2] for line in lines)
    numbers = {wnid: i for i, wnid in enumerate(imagenet)}
    overlaps = [[Overlaps(sae.config.n_concepts, len(names)) for _ in range(2)] for names in (msrc, imagenet)]
    for image, name in enumerate(ids):
        place = Path(name)
        if place.parts[0] == "msrc":
            mask = decode_mask(data / "msrc" / "masks" / f"{place.stem}.png", place.stem, len(msrc))
            box = CentreSquare(cache.encoder["image_size"]).box(mask.shape[1], mask.shape[0])
            classes = torch.from_numpy(class_map(mask, box, tuple(cache.encoder["grid"]))).long()
            which = 0
        elif place.parts[0] == "imagenet":
            classes, which = torch.full((cache.tokens_per_image,), numbers[place.parts[1]]), 1
        else:
            continue
        with torch.no_grad():
            codes = sae.encode(cache.image(image).float())
        overlaps[which][image % 2].update(codes, classes, torch.full((codes.n,), image))
    if not all(half.sizes.any() for halves in overlaps for half in halves):
        raise InsightError("expected a cache of photographs in msrc/ and imagenet/, found none of one of them")
    labels = []
    for halves in overlaps:
        first, second = (half.reference(min_support=10, min_photos=2).label for half in halves)
        labels.append(np.where(first == second, first, -1))
    return [(msrc, labels[0]), (list(imagenet.values()), labels[1])]


def across_labels(signals: np.ndarray, rows: np.ndarray, right: np.ndarray, groups: np.ndarray) -> dict[str, float]:
    """What a fit reaches on names of labels it has not seen: area under the ROC, and the surest half against all."""
    from sklearn.metrics import roc_auc_score

    areas, gains = [], []
    for seed in range(SEEDS):
        found, of_group = np.unique(groups, return_inverse=True)
        fold = (np.random.default_rng(seed).permutation(len(found)) % FOLDS)[of_group]
        sure = np.zeros(len(rows))
        for held in range(FOLDS):
            kept = fold != held
            fitted = Confidence.fit(signals, *_flags(len(signals), rows[kept], right[kept]), "")
            sure[~kept] = fitted(signals)[rows[~kept]]
        half = np.argsort(-sure)[: len(rows) // 2]
        areas.append(roc_auc_score(right, sure))
        gains.append(right[half].mean() / right.mean())
    return {"roc_auc": round(float(np.mean(areas)), 3), "surest_half_over_all": round(float(np.mean(gains)), 3)}


def _flags(n_concepts: int, rows: np.ndarray, right: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """labelled [m] and right [m]; of a concept that both sets label, the latter counts."""
    labelled, fits = np.zeros(n_concepts, bool), np.zeros(n_concepts, bool)
    labelled[rows], fits[rows] = True, right
    return labelled, fits


if __name__ == "__main__":
    main()

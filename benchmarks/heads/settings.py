"""Every setting of the benchmarks `classification`, `segmentation` and `grounding`, as data.

What is chosen by a benchmark itself (a strength, a pooling, a threshold) is chosen on training photographs only, out
of the candidates given here.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from insight.defaults import LR

SEEDS = 3
"""Dictionaries of our kinds; of each other one."""
DRAW = 0
"""Seed of everything else: samples, folds, draws of photographs."""
CONCEPTS = 4096
"""m of every dictionary that can be of any size."""
ACTIVE = 16
"""Concepts on a patch, of every dictionary that is made for a number of them. Twice the default of `insight train`: on
patches of MSRC-v2's training split heads keep 0.98 of the opaque mIoU by 16 of 4,096 and 0.96 by 8 of 2,048."""
LEVEL_ACTIVE = (1, 1, 2, 3, 4, 5)
"""Of these, those that each level adds where levels have shares: of six ways tried, the one that kept labels apart on
MSRC-v2's and clothing parts' training photographs at the least loss of reconstruction."""
STEPS = 1000
"""Of training, 4,096 patches each: what `insight train` takes for the general cache."""
WORDS = 5000
"""Phrases of the dictionary of SpLiCE: the commonest of the shipped English list."""
FIT_TOKENS = 200_000
"""Training patches that the decompositions without gradient descent (PCA, k-means, NMF) are fitted on."""

Kind = Literal["ours", "autoencoder", "pca", "kmeans", "nmf", "random", "words"]


@dataclass(frozen=True)
class Spec:
    """A kind of dictionary."""

    name: str
    kind: Kind
    of: Literal["patches", "images"] = "patches"
    """What it is trained on and encodes; a dictionary of images has one code an image and no maps."""
    seeded: bool = True
    """Whether another seed gives another dictionary."""
    options: dict[str, Any] = field(default_factory=dict)
    """Of an autoencoder its `preset`, what of it is replaced in `sae` and `train`, and with how many active concepts it
    is read (`read_k`; of MSAE the smallest that it is trained with), and `most_steps` if it is trained for fewer than
    others: half of PatchSAE's concepts are active on a patch at first, so that its steps take ten times as long. Of
    words `k`, how many are active."""
    sae: bool = False
    """Whether it is one of the autoencoders that ours is claimed to stand above."""
    own: bool = False
    """Whether it is trained on the training photographs of the very set that is asked about, in place of the general
    cache: fold by fold, of the size that `insight train` takes for so many patches."""


SHORT_RUN: dict[str, Any] = {"batch_size": 4096, "lr": LR, "dead_after_tokens": None}
"""What every autoencoder of patches has of ours, beside size, steps and the fall of the step size at the end: the
published settings are for runs a hundred times as long."""

NESTED = (ACTIVE, 2 * ACTIVE, 4 * ACTIVE)
"""Of MSAE, which begins at 64 as published: here at what all others have, with which it is read, too."""

FEW_VECTORS: dict[str, Any] = {"batch_size": 512, "dead_after_tokens": 512 * (STEPS // 20 + 1)}
"""What the autoencoder of image vectors has instead: a published batch would be nearly all there are."""

OURS, OWN, SHARED = "ours", "ours on own photographs", "ours with level budgets"
MINE = (OURS, SHARED)
"""Dictionaries of the general cache that are held against others, each."""
CHOSEN = "ours by training photographs"
"""Of the two before, seed by seed, the one of better accuracy on training photographs that were held out."""
SPECS = (
    Spec(OURS, "ours"),
    Spec(OWN, "ours", own=True),
    Spec(SHARED, "ours", options={"level_k": LEVEL_ACTIVE}),
    Spec(
        "flat TopK",
        "autoencoder",
        options={"preset": "topk", "sae": {"k": ACTIVE, "inputs": "raw"}, "train": SHORT_RUN},
        sae=True,
    ),
    Spec(
        "PatchSAE",
        "autoencoder",
        options={"preset": "patchsae", "train": {**SHORT_RUN, "warmup_steps": 20}, "most_steps": 200},
        sae=True,
    ),
    Spec(
        "MSAE",
        "autoencoder",
        options={
            "preset": "msae",
            "sae": {"k": 4 * ACTIVE},
            "train": {**SHORT_RUN, "nested_k": NESTED},
            "read_k": ACTIVE,
        },
        sae=True,
    ),
    Spec("DN-CBM", "autoencoder", of="images", options={"preset": "dncbm", "train": FEW_VECTORS}),
    Spec("SpLiCE of images", "words", of="images", seeded=False, options={"k": 32}),
    Spec("SpLiCE of patches", "words", seeded=False, options={"k": ACTIVE}),
    Spec("PCA", "pca", seeded=False),
    Spec("k-means", "kmeans", seeded=False),
    Spec("NMF", "nmf", seeded=False),
    Spec("random directions", "random"),
)
CLASSIFIED = tuple(spec.name for spec in SPECS if spec.name not in (SHARED, "SpLiCE of patches", "NMF"))
GROUNDED = tuple(spec.name for spec in SPECS if spec.of == "patches" and not spec.own)
SEGMENTED = tuple(name for name in GROUNDED if name not in (SHARED, "SpLiCE of patches"))
"""Which of them each benchmark asks; where patches are many, not those that solve a Lasso for each."""

# Classification.
FOLDS = 5
"""Parts that a set without a split is cut into, one held out after the other."""
INNER_FOLDS = 3
"""Parts of the training photographs that a probe's strength is chosen by."""
PROBE_STRENGTHS = (1e-3, 1e-2, 1e-1, 1.0)
"""C of the opaque linear probes (on standardised features)."""
PROBE_ITERATIONS = 150
NEIGHBOURS = (1, 5, 10, 20)
HEAD: dict[str, Any] = {"pooling": "max+mean"}
"""Of `ConceptClassifier`, beside its defaults."""
REMOVED = 5
"""Concepts taken away to see what the decision rests on."""
TRAIN_A_CLASS, TEST_A_CLASS = 200, 100
"""Photographs of CIFAR-10, drawn with seed `DRAW`."""
LESS = 0.005
MOST_CONCEPTS = 25
FAITHFUL = 3.0
COST = 1.15
"""Claims: accuracy lost at most, concepts of a decision at most, logit lost over chance, time over the forward."""
ROUNDS = 40
"""Pairs of timings."""

# Segmentation.
SIDE = 224
"""Pixels of a side of the square that photographs and masks are compared on."""
HEAD_TOKENS = 20_000
"""Labelled training patches that a linear head is fitted on."""
HELD_SHARE = 0.25
"""Of the training photographs, by which a head's strength is chosen."""
HEAD_ITERATIONS = 200
HEAD_STRENGTHS = (0.03, 0.1, 0.3)
"""C of the heads on patches, opaque and of concepts alike."""
TRAINED_SHARE, OPEN_SHARE = 0.98, 0.97
"""Claims: mIoU over that of the opaque features."""

# Grounding.
BUDGETS: tuple[int | None, ...] = (16, None)
"""Concepts of an image, the strongest in sum; None: all."""
CHOOSING_PHOTOS = 200
"""Training photographs that concepts and cutoffs of labels are chosen on."""
AIM = 1.3
"""Claim aimed at: locality and consistency over those of the best other autoencoder."""
DEALS = 3
"""Permutations of photographs, or of labels, that a null is the mean of."""

"""A head of more images than memory holds: begun at a sample of them, then fitted to all from batches.

In: examples whose rows lie in files. Out: a sample that the exact solver can take, and the fit of all of them. What is
dense is never larger than a batch or the sample.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from jaxtyping import Int64

from .choice import Examples, concepts_used
from .defaults import ROWS_IN_MEMORY
from .head import Head
from .linear import LinearFit, Rows, fit_streamed

NUMBER = 8
"""Bytes of an entry of a row (value and column), and of a logit."""
COPIES = 4
"""The exact solver holds each of them about so many times."""
BATCH = 1024
"""Images at most."""
BATCHES = 50
"""At least so many, of few images: a step is made with each."""
EPOCHS = 100
"""At most; begun at a sample's fit, most need few."""
STRONGER = 1.2
"""The penalty is raised by this factor while a class has too many concepts."""


def is_large(examples: Examples) -> bool:
    """Whether the rows were too many for memory, or the logits that the exact solver holds are."""
    return _bytes(examples) > ROWS_IN_MEMORY


def sample(examples: Examples, state: np.random.RandomState) -> Examples:
    """As many images as the exact solver can take in that memory; all classes in their shares, none left out."""
    images = np.arange(len(examples.y)) if examples.weight is None else np.flatnonzero(examples.weight)
    count = len(examples.y) * ROWS_IN_MEMORY // (COPIES * _bytes(examples))
    return examples.take(images[stratified(examples.y[images], count, state)])


def stratified(classes: Int64[np.ndarray, " n"], count: int, state: np.random.RandomState) -> Int64[np.ndarray, " k"]:
    """Places of `count` images drawn at random, in order: an image of each class first, then a second of each, then of
    each class its share; at least one of each class whatever `count` is."""
    order = state.permutation(len(classes))
    order = order[np.argsort(classes[order], kind="stable")]
    numbers, first, size = np.unique(classes[order], return_index=True, return_counts=True)
    turn = np.arange(len(order)) - np.repeat(first, size)
    when = (turn - 1) / np.repeat(size, size)
    when[turn == 0] = -1
    return np.sort(order[np.argsort(when, kind="stable")[: max(count, len(numbers))]])


def fit_large(
    examples: Examples,
    start: LinearFit,
    most: int | None,
    make_head: Callable[[LinearFit], Head],
    settings: dict[str, Any],
    device: torch.device | str,
) -> LinearFit:
    """The fit of all images, begun at that of a sample and with its penalty; see `fit_streamed` for how exact it is.

    most: concepts a class may have, None: any number; where all images give a class more than the sample did, the
    penalty is raised until they do not.
    """

    def batches(epoch: int) -> Iterator[Rows]:
        order = np.random.default_rng(epoch).permutation(len(examples.y))
        for part in np.array_split(order, min(len(order), max(BATCHES, -(-len(order) // BATCH)))):
            batch = examples.take(np.sort(part))  # in the order of the files
            yield Rows(batch.x, batch.targets(), batch.weight, batch.fixed())

    kept = {name: settings[name] for name in ("l1_ratio", "fit_intercept", "scale")}
    fit, alpha = start, start.alpha
    while True:
        fit = fit_streamed(
            batches,
            examples.x.shape[1],
            examples.n_classes,
            alpha=alpha,
            epochs=EPOCHS,
            device=device,
            start=fit,
            **kept,
        )
        if most is None or concepts_used(make_head(fit)).max() <= most:
            return fit
        alpha *= STRONGER


def _bytes(examples: Examples) -> int:
    return NUMBER * max(int(examples.x.nnz), len(examples.y) * examples.n_classes)

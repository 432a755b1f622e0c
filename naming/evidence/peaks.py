"""Where in each image each concept is strongest, and with it the image's own code.

In: codes of whole images. Out: codes with one entry an image and concept, in O(entries).
"""

from __future__ import annotations

import numpy as np
import torch
from scipy.sparse import csr_array

from sae import SparseCodes


def strongest_of_image(codes: SparseCodes, tokens_per_image: int) -> SparseCodes:
    """Of each image and concept the one entry of largest activation (at a tie, of the first patch); same rows.

    `codes`: whole images one after the other, `tokens_per_image` rows each.
    """
    numbered = csr_array(
        (np.arange(codes.nnz), codes.concepts.cpu().numpy(), codes.offsets.cpu().numpy()),
        shape=(codes.n, codes.n_concepts),
    )
    by_concept = numbered.tocsc()  # entries by concept, then row
    entry, image = by_concept.data, by_concept.indices // tokens_per_image
    concept = codes.concepts.cpu().numpy()[entry]
    activation = codes.activations.detach().cpu().float().numpy()[entry]
    starts = np.flatnonzero(_changes(concept) | _changes(image))
    lengths = np.diff(np.append(starts, len(entry)))
    largest = np.maximum.reduceat(activation, starts) if len(starts) else activation
    candidates = np.flatnonzero(activation == np.repeat(largest, lengths))
    group = np.repeat(np.arange(len(starts)), lengths)[candidates]
    keep = torch.zeros(codes.nnz, dtype=torch.bool)
    keep[torch.from_numpy(entry[candidates[_changes(group)]])] = True
    keep = keep.to(codes.device)
    kept = torch.cat([keep.new_zeros(1, dtype=torch.int64), keep.cumsum(0)])
    return SparseCodes(kept[codes.offsets], codes.concepts[keep], codes.activations[keep], codes.n_concepts)


def image_codes(peaks: SparseCodes, tokens_per_image: int) -> SparseCodes:
    """Codes of images [images, m], the largest activation of each concept, from what `strongest_of_image` kept."""
    one_row = csr_array(
        (np.arange(peaks.nnz), peaks.concepts.numpy(), peaks.offsets[::tokens_per_image].numpy()),
        shape=(peaks.n // tokens_per_image, peaks.n_concepts),
    )
    sorted_rows = one_row.tocsc().tocsr()
    offsets, entry = torch.from_numpy(sorted_rows.indptr).long(), torch.from_numpy(sorted_rows.data)
    return SparseCodes(offsets, peaks.concepts[entry], peaks.activations[entry], peaks.n_concepts)


def _changes(values: np.ndarray) -> np.ndarray:
    """bool: where a value differs from the one before it; the first always does."""
    return np.concatenate([np.ones(min(1, len(values)), dtype=bool), values[1:] != values[:-1]])

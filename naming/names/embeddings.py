"""Where concepts stand in text space: as decoded, alone or with their parents, or as the mean of where they stand.

In: the dictionary's decoder and bias and the concept graph with its mean codes, or the mean
features of the patches on which each concept fires. Out: a unit vector for each concept.
"""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np
import torch
from jaxtyping import Float
from scipy.sparse import csr_array, diags_array, eye_array
from torch import Tensor

from sae.errors import InsightError

from ..evidence.features import FeatureMeans
from ..relations.graph import ConceptGraph

Mode = Literal["vanilla", "bias", "parents"]
GAIN = 1.33
"""Published: codes are scaled to this many times their mean norm, which makes the bias count for less."""


def concept_embeddings(
    decoder: Float[Tensor, "m d"], decoder_bias: Float[Tensor, " d"], graph: ConceptGraph, mode: Mode = "parents"
) -> Float[Tensor, "m d"]:
    """A unit vector in the backbone's space for each concept; zero rows for those that never fired.

    `vanilla`: the decoder's row. Else w_i = R_i ⊙ M_i, rescaled to 1.33 · mean ‖M‖, and
    e_i = normalize(w_i W_dec + b_dec), where M_i is the mean code of the concept's strongest tokens, and row R_i has
    a 1 for the concept itself and, in `parents`, the weights of its edges to its parents (all edges, also those that
    are not direct); in `bias` nothing more. The mean norm is taken over the concepts that fired.
    """
    if mode not in get_args(Mode):
        raise InsightError(f"concept_embeddings: expected one of {', '.join(get_args(Mode))}, found {mode!r}")
    if decoder.shape[0] != graph.n_concepts or decoder_bias.shape != decoder.shape[1:]:
        found = f"{list(decoder.shape)} and {list(decoder_bias.shape)}"
        raise InsightError(f"expected a decoder [{graph.n_concepts}, d] and a bias [d] as in the graph, found {found}")
    rows = decoder.detach().cpu().float().numpy()
    norms = np.sqrt(graph.mean_codes.multiply(graph.mean_codes).sum(axis=1))
    alive = norms > 0
    if mode == "vanilla" or not alive.any():
        decoded = rows
    else:
        share = eye_array(graph.n_concepts, format="csr")
        if mode == "parents":
            share = share + graph.edges()
        codes = csr_array(share.multiply(graph.mean_codes))
        length = np.sqrt(codes.multiply(codes).sum(axis=1))
        scale = GAIN * norms[alive].mean() / np.where(alive, length, 1)
        decoded = diags_array(scale) @ codes @ rows + decoder_bias.detach().cpu().float().numpy()
    embeddings = torch.from_numpy(np.where(alive[:, None], decoded, 0.0)).float()
    return torch.nn.functional.normalize(embeddings, dim=-1)


def region_embeddings(features: FeatureMeans) -> Float[Tensor, "m d"]:
    """A unit vector in the backbone's space for each concept; zero rows for those that never fired.

    e_i = normalize(Σ_p a_i(p) x_p / Σ_p a_i(p) - x̄), x̄ the mean of all patches: what the backbone says where the
    concept stands, less what it says everywhere. Subtracting x̄ closes the gap between the modalities: the mean of the
    texts would be subtracted from every word of a concept alike, and moves no rank.
    """
    return _centred(features.mean(), features.weight.sum(0), features.centre)


def resampled_embeddings(features: FeatureMeans) -> Float[Tensor, "folds m d"]:
    """`region_embeddings` of each fold of the images alone; zero rows where a concept fires in none of a fold's."""
    means = features.means()
    return torch.stack([_centred(means[f], features.weight[f], features.centre) for f in range(len(means))])


def _centred(means: np.ndarray, weight: np.ndarray, centre: np.ndarray) -> Tensor:
    vectors = np.where(weight[:, None] > 0, means - centre, 0.0)
    return torch.nn.functional.normalize(torch.from_numpy(vectors).float(), dim=-1)

"""Where concepts stand in text space: decode a concept, alone or with its parents.

In: the dictionary's decoder and bias, and the concept graph with its mean codes. Out: a unit vector for each concept
(specs/insight.md §1.5).
"""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np
import torch
from jaxtyping import Float
from scipy.sparse import csr_array, diags_array, eye_array
from torch import Tensor

from sae.errors import InsightError

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

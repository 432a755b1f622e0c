"""TopK: the k largest pre-activations of each token."""

from __future__ import annotations

import torch
from torch import Tensor

from ..codes import SparseCodes
from ..distributed import ALONE, Group
from ..distributed.slices import keep_largest_of_slices, largest_of_slices
from ..preactivations import Candidates, Preactivations
from .largest import CARRIED_SHARE, SAMPLED_ROWS, Largest
from .threshold import kept

_UNSETTLED_SHARE = 0.02


class TopK(Largest):
    """Keeps exactly the k largest positive pre-activations of each token (fewer if fewer are positive).

    The cut is one that nearly all tokens have k values above; it is carried over from the last batch. The few tokens
    that have not are computed in full, so the cut decides the time taken, never the result.

    Where processes share the concepts, a token's candidates are those of all.
    """

    def __call__(self, pre: Preactivations) -> SparseCodes:
        """Codes [n, m]: the ReLU of the pre-activations, kept or not."""
        cut = self._sampled_cut(pre) if self.cut is None else self.cut
        found = pre.above(cut)
        keep, settled, edges = self._largest_of_each(found, cut)
        codes = kept(found, keep)
        if not bool(settled.all()):
            rest = (~settled).nonzero().squeeze(1)
            codes = _with_rows(codes, rest, largest_of_each(pre.rows(rest), self.k, self.ranks.concepts))
        below = self._below_most(edges)
        self.cut = self.cut if below is None else below
        return codes

    def _largest_of_each(self, found: Candidates, cut: float) -> tuple[Tensor, Tensor, Tensor]:
        """Which candidates [nnz] stay, of which tokens that is settled [n], and the least kept of each settled one."""
        offsets, counts = found.pattern.offsets, found.pattern.offsets.diff()
        first = torch.repeat_interleave(offsets[:-1], counts, output_size=len(found.values))
        tokens = torch.repeat_interleave(torch.arange(len(counts), device=counts.device), counts)
        places = torch.arange(len(tokens), device=counts.device) - first
        width = max(1, int(counts.max()) if len(counts) else 0)
        padded = found.values.new_zeros(len(counts), width)
        padded[tokens, places] = torch.where(found.values > cut, found.values, 0.0)
        concepts = self.ranks.concepts
        keep_largest_of_slices(padded, self.k, concepts)
        settled = concepts.sum_((padded > 0).sum(1)) >= min(self.k, concepts.count(found.pattern.n_columns))
        if cut == 0:
            settled = torch.ones_like(settled)
        keep = (padded[tokens, places] > 0) & settled[tokens]
        least = concepts.minimum_(torch.where(padded > 0, padded, torch.inf).amin(1))
        return keep, settled, least[settled & least.isfinite()]

    def _sampled_cut(self, pre: Preactivations) -> float:
        sample = pre.rows(slice(None, None, max(1, pre.n // SAMPLED_ROWS)))
        return self._below_most(largest_of_slices(sample, self.k, self.ranks.concepts)[:, -1]) or 0.0

    def _below_most(self, edges: Tensor) -> float | None:
        """A cut a little below the least kept value of nearly all tokens, one for all ranks; None where none is kept.

        edges: those values [n], in any number on each rank.
        """
        own = torch.quantile(edges[: 2**20].float(), _UNSETTLED_SHARE).view(1) if len(edges) else edges.float()
        edge = self.ranks.tokens.smallest(own)
        return None if edge is None else max(0.0, CARRIED_SHARE * edge)


def largest_of_each(pre: Tensor, k: int, group: Group = ALONE.concepts) -> SparseCodes:
    """Codes [n, m] of the k largest positive pre-activations [n, m] of each token (fewer if fewer are positive).

    `group`: the ranks that share the concepts, each with an m of its own.
    """
    values, concepts = torch.topk(pre, min(k, pre.shape[1]), dim=1)
    keep_largest_of_slices(values.relu_(), k, group)
    rows = torch.arange(len(pre), device=pre.device).unsqueeze(1).expand_as(concepts)
    positive = values > 0
    return SparseCodes.from_entries(rows[positive], concepts[positive], values[positive], *pre.shape)


def _with_rows(codes: SparseCodes, rows: Tensor, replacements: SparseCodes) -> SparseCodes:
    """Codes whose (empty) `rows` are those of `replacements`."""
    every, concepts = torch.cat([codes.rows(), rows[replacements.rows()]]), [codes.concepts, replacements.concepts]
    activations = torch.cat([codes.activations, replacements.activations])
    return SparseCodes.from_entries(every, torch.cat(concepts), activations, codes.n, codes.n_concepts)

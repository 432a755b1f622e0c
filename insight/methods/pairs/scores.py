"""Scores of photos and pairs, row of pairs by row of pairs, forward and backward, so that one row is there at a time.

`pair_scores` reads some rows for each photo; `all_pairs` reads all rows for all photos and gives what is left when
either of the two is summed over. Gradients reach the photos' vectors (once: the gradient has no gradient itself); the
backward pass goes through the rows again, which are made again where there was no room to keep them.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Int64
from torch import Tensor
from torch.autograd.function import once_differentiable

from ...backbones import Backbone
from .texts import PairTexts


class Marginals(NamedTuple):
    """Of B photos and W prompts in each of H rows. `by_row`, `by_column`: log Σ exp of the scores, over the columns and
    over the rows; `best`: (row, column) of the largest scores, the best first; `best_scores`: these."""

    by_row: Float[Tensor, "B H"]
    by_column: Float[Tensor, "B W"]
    best: Int64[Tensor, "B k 2"]
    best_scores: Float[Tensor, "B k"]


def pair_scores(
    unit: Float[Tensor, "n d"], rows: Int64[Tensor, " n"], texts: PairTexts, backbone: Backbone, scale: float
) -> Float[Tensor, "n W"]:
    """`scale` times the cosine of each photo with every prompt of its row. unit: one for each row asked."""
    scores: Tensor = _PairScores.apply(unit, rows, texts, backbone, scale)
    return scores


def all_pairs(unit: Float[Tensor, "B d"], texts: PairTexts, backbone: Backbone, scale: float, best: int) -> Marginals:
    """The sums over all pairs, and the `best` of them (all, where there are fewer)."""
    return Marginals(*_AllPairs.apply(unit, texts, backbone, scale, best))


def _by_row(rows: Tensor) -> tuple[list[int], list[Tensor]]:
    """The rows that are asked for, each once, and which entries ask for each."""
    order = rows.argsort(stable=True)
    numbers, counts = rows[order].unique_consecutive(return_counts=True)
    return numbers.tolist(), list(order.split(counts.tolist()))


class _PairScores(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, unit: Tensor, rows: Tensor, texts: PairTexts, backbone: Backbone, scale: float) -> Tensor:
        ctx.save_for_backward(rows)
        ctx.rest = texts, backbone, scale, unit.shape
        scores = unit.new_empty(len(unit), texts.width)
        numbers, entries = _by_row(rows)
        for row, own in zip(texts.rows(backbone, numbers), entries):
            scores[own] = scale * (unit[own] @ row.to(unit.dtype).T)
        return scores

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        (rows,) = ctx.saved_tensors
        texts, backbone, scale, shape = ctx.rest
        found = gradient.new_empty(shape)
        numbers, entries = _by_row(rows)
        for row, own in zip(texts.rows(backbone, numbers), entries):
            found[own] = scale * (gradient[own] @ row.to(gradient.dtype))
        return found, None, None, None, None


class _AllPairs(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, unit: Tensor, texts: PairTexts, backbone: Backbone, scale: float, k: int
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        by_row = unit.new_empty(len(unit), len(texts))
        by_column = unit.new_full((len(unit), texts.width), -torch.inf)
        best, scores = unit.new_empty(len(unit), 0, 2, dtype=torch.int64), unit.new_empty(len(unit), 0)
        for number, row in enumerate(texts.rows(backbone, range(len(texts)))):
            own = scale * (unit @ row.to(unit.dtype).T)
            by_row[:, number] = own.logsumexp(1)
            by_column = torch.logaddexp(by_column, own)
            values, columns = own.topk(min(k, texts.width), dim=1)
            pairs = torch.stack([torch.full_like(columns, number), columns], dim=2)
            scores, best = torch.cat([scores, values], dim=1), torch.cat([best, pairs], dim=1)
            scores, at = scores.topk(min(k, scores.shape[1]), dim=1)
            best = best.take_along_dim(at[..., None], dim=1)
        ctx.save_for_backward(unit, by_row, by_column)
        ctx.rest = texts, backbone, scale
        ctx.mark_non_differentiable(best, scores)
        return by_row, by_column, best, scores

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, of_rows: Tensor, of_columns: Tensor, *others: Tensor) -> tuple[Tensor | None, ...]:
        unit, by_row, by_column = ctx.saved_tensors
        texts, backbone, scale = ctx.rest
        found = torch.zeros_like(unit)
        for number, row in enumerate(texts.rows(backbone, range(len(texts)))):
            row = row.to(unit.dtype)
            own = scale * (unit @ row.T)
            weights = of_rows[:, number, None] * (own - by_row[:, number, None]).exp()
            weights += of_columns * (own - by_column).exp()
            found += scale * (weights @ row)
        return found, None, None, None, None

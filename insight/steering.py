"""Steering: what the features would be if concepts were stronger, weaker, gone, or there where they were not.

Codes are edited as they lie, entry by entry; features move by what the edit changes of their reconstruction,
x + (decode(edited) − decode(codes)), so that what the dictionary does not explain stays. Any
head that takes the backbone's patches takes the edited ones.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from sae import SparseAutoencoder, SparseCodes
from sae.errors import InsightError
from sae.inputs import normalise

from .backbones import DenseFeatures
from .model import ConceptModel


@dataclass(frozen=True)
class Steering:
    """Edits of concepts, by id in the dictionary.

    amplify: {concept: factor ≥ 0} where it is active (where it is silent it stays so, and 0 removes it); remove:
    concepts that become silent; set: {concept: activation ≥ 0} on every patch, active there or not, so this can put a
    concept where it was not. No concept may be named twice.
    """

    amplify: Mapping[int, float] = field(default_factory=dict)
    remove: Collection[int] = ()
    set: Mapping[int, float] = field(default_factory=dict)

    def check(self, n_concepts: int) -> None:
        """`InsightError` unless these are edits of a dictionary of so many concepts."""
        named = [*self.amplify, *self.remove, *self.set]
        wrong = [concept for concept in named if not 0 <= concept < n_concepts]
        if wrong:
            raise InsightError(f"steering: expected concepts of 0 to {n_concepts - 1}, found {wrong[0]}")
        if len({*named}) < len(named):
            twice = next(concept for concept in named if named.count(concept) > 1)
            raise InsightError(f"steering: expected each concept once, found {twice} more than once")
        for value in (*self.amplify.values(), *self.set.values()):
            if not 0 <= value < float("inf"):
                raise InsightError(f"steering: expected factors and activations of 0 or more, found {value}")


def steer(
    codes: SparseCodes,
    *,
    amplify: Mapping[int, float] | None = None,
    remove: Collection[int] = (),
    set: Mapping[int, float] | None = None,
    where: Bool[Tensor, " n"] | None = None,
) -> SparseCodes:
    """The codes after edits (`Steering` says what each does), on all rows or on those of `where`.

    Nothing is made dense: it costs what the codes and the entries that are set take. `InsightError` for concepts that
    there are not or that are named twice, and for negative factors or activations.
    """
    edits = Steering(amplify or {}, remove, set or {})
    edits.check(codes.n_concepts)
    if where is not None and (where.dtype != torch.bool or where.shape != (codes.n,)):
        raise InsightError(f"steering: expected a bool for each of {codes.n} rows, found {list(where.shape)}")
    factors = codes.activations.new_ones(codes.n_concepts)
    factors[_indices(edits.amplify, codes)] = codes.activations.new_tensor([*edits.amplify.values()])
    factors[_indices([*edits.remove, *edits.set], codes)] = 0
    rows, concepts, activations = codes.rows(), codes.concepts.long(), codes.activations
    steered = activations * factors[concepts]
    steered = steered if where is None else torch.where(where.to(codes.device)[rows], steered, activations)
    kept = steered > 0
    rows, concepts, activations = rows[kept], concepts[kept], steered[kept]
    put = {concept: value for concept, value in edits.set.items() if value > 0}
    if put:
        there = torch.arange(codes.n, device=codes.device)
        there = there if where is None else there[where.to(codes.device)]
        values = activations.new_tensor([*put.values()])
        rows = torch.cat([rows, there.repeat_interleave(len(put))])
        concepts = torch.cat([concepts, _indices(put, codes).repeat(len(there))])
        activations = torch.cat([activations, values.repeat(len(there))])
    return SparseCodes.from_entries(rows, concepts, activations, codes.n, codes.n_concepts)


@torch.no_grad()
def steered_tokens(
    sae: SparseAutoencoder, x: Float[Tensor, "n d"], edits: Steering, where: Bool[Tensor, " n"] | None = None
) -> Float[Tensor, "n d"]:
    """Features x after edits of their codes: x + s · (decode(edited) − decode(codes)).

    s is the size that `sae.config.inputs` divides a token by before it is encoded, 1 for raw ones; its mean stays. Rows
    that no edit changes come back bit by bit.
    """
    codes = sae.encode(x)
    edited = steer(codes, amplify=edits.amplify, remove=edits.remove, set=edits.set, where=where)
    rows = _changed(codes, edited)
    moved = sae.decode(edited[rows]) - sae.decode(codes[rows])
    scale = normalise(x[rows].to(moved), sae.config.inputs).scale
    steered = x.clone()
    steered[rows] += (scale * moved).to(x)
    return steered


@torch.no_grad()
def steered_features(
    model: ConceptModel,
    images: Float[Tensor, "b 3 s s"],
    edits: Steering,
    where: Bool[Tensor, "h w"] | Bool[Tensor, "b h w"] | None = None,
) -> DenseFeatures:
    """What the backbone would see in images (in [0, 1]) after edits, on all patches or on those of a mask.

    where: patches of the grid, the same for all images or a mask for each. Patches are edited; `pooled`, which no code
    describes, stays as it was.
    """
    features = model.backbone.encode_image(images.to(model.device))
    shape = (len(images), *features.grid)
    if where is not None:
        if where.dtype != torch.bool or where.shape not in (shape, shape[1:]):
            raise InsightError(
                f"steering: expected a bool mask {list(shape[1:])} or {list(shape)}, found"
                f" {str(where.dtype).removeprefix('torch.')} {list(where.shape)}"
            )
        where = where.to(model.device).expand(shape).reshape(-1)
    patches = features.patches
    steered = steered_tokens(model.sae, patches.flatten(0, 1).float(), edits, where)
    return replace(features, patches=steered.view_as(patches).to(patches))


def _indices(concepts: Iterable[int], codes: SparseCodes) -> Tensor:
    return torch.tensor([*concepts], dtype=torch.int64, device=codes.device)


def _changed(before: SparseCodes, after: SparseCodes) -> Tensor:
    """int64: rows whose entries differ."""
    differs = before.counts() != after.counts()
    same = ~differs
    # Rows with as many entries lie side by side in both once the others are left out.
    left, right = before[same.nonzero()[:, 0]], after[same.nonzero()[:, 0]]
    entries = (left.concepts != right.concepts) | (left.activations != right.activations)
    moved = torch.zeros(left.n, dtype=torch.bool, device=left.device)
    moved[left.rows()[entries]] = True
    differs[same] = moved
    return differs.nonzero()[:, 0]

"""The non-negative Lasso of many tokens in one dictionary, exactly:

    min over w >= 0 of  ½ ‖z - w A‖² + c Σ w        (A [m, e], unit rows)

w is optimal where g = (z - w A) Aᵀ - c is 0 at active atoms and not above 0 at others (Karush, Kuhn, Tucker). Few of
the m atoms are ever active in a token, so each token has a working set: the atoms that are active, and those where g is
largest. Coordinate descent in it finds who is active; weights then follow from the normal equations of the active;
g over all atoms says whether that was the optimum, and who is missing from the working set. The objective falls in
every round, so that this ends. All steps are taken for many tokens at once.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..codes import SparseCodes
from ..errors import InsightError
from .tokens import codes_of

_ROWS = 256
"""Tokens solved at once."""
_NEW = 16
"""Atoms that enter a working set in a round, at most; twice as many at first."""
_SWEEPS = 4
"""Of coordinate descent in a round."""
_ROUNDS = 200
_RIDGE = 16
_ROUNDING = 64
"""In units of the last place of 1: what is added to the diagonal of the normal equations, so that atoms which are all
but the same share a weight, and what g may be off by, which is more."""


def nonnegative_lasso(targets: Tensor, atoms: Tensor, penalty: float, *, tolerance: float = 1e-4) -> SparseCodes:
    """Weights w of `targets` z [n, e] of norm 1 (or 0) in `atoms` A [m, e] of norm 1, as codes [n, m]; `penalty` c > 0.

    No g is further from what is optimal than `tolerance` c, and the rounding of z Aᵀ. `InsightError` where a token does
    not get there, as may be with a tiny penalty and atoms that are all but the same.
    """
    if not penalty > 0:
        raise InsightError(f"penalty: expected a number above 0, found {penalty}")
    bound = tolerance * penalty + _ROUNDING * torch.finfo(targets.dtype).eps
    if not len(targets):
        return SparseCodes.from_dense(targets.new_zeros(0, len(atoms)))
    return SparseCodes.cat([_solved(part, atoms, penalty, bound) for part in targets.split(_ROWS)])


def _solved(targets: Tensor, atoms: Tensor, penalty: float, bound: float) -> SparseCodes:
    n, m = len(targets), len(atoms)
    found: list[tuple[Tensor, Tensor, Tensor]] = []  # rows, atoms and weights of tokens that are done
    rows = torch.arange(n, device=targets.device)
    scores = targets @ atoms.t() - penalty
    working, weights, gradient = rows.new_zeros(n, 0), targets.new_zeros(n, 0), scores
    for turn in range(_ROUNDS):
        working, weights = _grown(working, weights, gradient, _NEW if turn else 2 * _NEW)
        chosen = atoms[working]
        gram = chosen @ chosen.transpose(1, 2)
        linear = scores.gather(1, working)
        weights = _descended(weights, gram, linear)
        weights = _settled(weights, gram, linear)
        gradient = torch.addmm(scores, torch.bmm(weights[:, None], chosen)[:, 0], atoms.t(), alpha=-1)
        own = gradient.gather(1, working)
        worst = torch.maximum(gradient.amax(1), torch.where(weights > 0, own.abs(), 0).amax(1))
        done = worst <= bound
        found.append((rows[done], working[done], weights[done]))
        left = ~done
        if not bool(left.any()):
            break
        rows, scores, gradient = rows[left], scores[left], gradient[left]
        working, weights = working[left], weights[left]
    else:
        worst_left = float(worst[left].max() / penalty)
        raise InsightError(
            f"Lasso: {len(rows)} tokens are not solved: the optimality of the worst fails by {worst_left:.1e} of the "
            "penalty; take a larger penalty or leave out atoms that are all but the same"
        )
    order = torch.cat([part[0] for part in found]).argsort()
    width = max(part[1].shape[1] for part in found)
    concepts = torch.cat([_padded(part[1], width) for part in found])[order]
    return codes_of(concepts, torch.cat([_padded(part[2], width) for part in found])[order], m)


def _grown(working: Tensor, weights: Tensor, gradient: Tensor, new: int) -> tuple[Tensor, Tensor]:
    """Working sets [b, W], each atom in one once: of the old ones as many as are active somewhere, and the `new` others
    with the largest g."""
    kept = int((weights > 0).sum(1).max()) if weights.numel() else 0
    weights, order = weights.topk(kept, dim=1)
    working = working.gather(1, order)
    others = gradient.scatter(1, working, -torch.inf)
    entering = others.topk(min(new, gradient.shape[1] - kept), dim=1).indices
    return torch.cat([working, entering], 1), torch.cat([weights, weights.new_zeros(entering.shape)], 1)


def _descended(weights: Tensor, gram: Tensor, linear: Tensor) -> Tensor:
    """Sweeps of coordinate descent. weights, linear [b, W]; gram [b, W, W]."""
    weights = weights.t().contiguous()
    gradient = linear.t() - torch.einsum("bij,ib->jb", gram, weights)
    columns = gram.permute(1, 2, 0).contiguous()
    for _ in range(_SWEEPS):
        for j in range(len(weights)):
            change = (weights[j] + gradient[j]).clamp_(min=0).sub_(weights[j])
            weights[j] += change
            gradient.addcmul_(columns[j], change, value=-1)
    return weights.t().contiguous()


def _settled(weights: Tensor, gram: Tensor, linear: Tensor) -> Tensor:
    """The best weights of those that are active now, as far as all can stay positive.

    Where the best are not all positive, weights move towards them until the first is 0, which is then left out (as in
    Lawson and Hanson 1974); the objective only falls.
    """
    width = int((weights > 0).sum(1).max())
    if width == 0:
        return weights
    top, order = weights.topk(width, dim=1)
    block = gram.gather(1, order[:, :, None].expand(-1, -1, gram.shape[2]))
    block, side = block.gather(2, order[:, None].expand(-1, width, -1)).double(), linear.gather(1, order).double()
    rows, top = torch.arange(len(top), device=top.device), top.double()
    ridge = _RIDGE * torch.finfo(gram.dtype).eps
    while len(rows):
        own, active = top[rows], top[rows] > 0
        pairs = torch.where(active[:, :, None] & active[:, None], block[rows], 0)
        pairs.diagonal(dim1=1, dim2=2).add_(torch.where(active, ridge, 1))
        factor, failed = torch.linalg.cholesky_ex(pairs)
        best = torch.cholesky_solve(torch.where(active, side[rows], 0)[:, :, None], factor)[:, :, 0]
        best = torch.where((failed == 0)[:, None], best, own)
        shares = torch.where(best < 0, own / (own - best), 1)  # of the way there, until a weight is 0
        share = shares.amin(1, keepdim=True)
        top[rows] = torch.where((share < 1) & (shares <= share), 0, own + share * (best - own)).clamp_(min=0)
        rows = rows[(share < 1)[:, 0]]
    return weights.scatter(1, order, top.to(weights))


def _padded(rows: Tensor, width: int) -> Tensor:
    return torch.nn.functional.pad(rows, (0, width - rows.shape[1]))

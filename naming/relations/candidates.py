"""From co-occurrence and regions to tested edges: contained, seen often enough, and more often than chance.

In: `Cooccurrence` (Dn), `RegionPairs` (in how many images a concept covers another) and the `MatchedNull`. Out: the
`Edges` that pass, some of them mutual.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from scipy.sparse import csr_array, diags_array

from sae.errors import InsightError

from ..evidence.cooccurrence import Cooccurrence
from ..evidence.regions import RegionPairs
from .edges import Edges
from .null import MatchedNull
from .significance import binomial_tail, q_values


def containment(cooccurrence: Cooccurrence) -> csr_array:
    """Dn [m, m] float64, Dn[i, j] = D[i, j] / D[i, i]: activation-weighted P(j | i).

    Concepts that never fire have empty rows; the diagonal of the others is 1.
    """
    weighted = cooccurrence.weighted
    own = weighted.diagonal()
    return csr_array(diags_array(np.divide(1.0, own, out=np.zeros_like(own), where=own > 0)) @ weighted)


def contained_pairs(cooccurrence: Cooccurrence, threshold: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pairs with Dn > `threshold` off the diagonal: child, parent, Dn."""
    if not 0 <= threshold < 1:
        raise InsightError(f"the threshold is a share of the child's activation: expected 0 to 1, found {threshold}")
    pairs = containment(cooccurrence).tocoo()
    keep = (pairs.data > threshold) & (pairs.row != pairs.col)
    return pairs.row[keep], pairs.col[keep], pairs.data[keep]


def tested_edges(
    cooccurrence: Cooccurrence,
    regions: RegionPairs,
    null: MatchedNull,
    *,
    threshold: float,
    min_support: int,
    q: float,
    min_lift: float,
) -> Edges:
    """The pairs with Dn > `threshold` that evidence of at least `min_support` tokens shows to be more than chance.

    Patches of one image are not independent, images are: of the n images in which the child fires, the parent covers
    it in x (it fires on at least half of the child's patches there), against the null rate p0 at which it covers the
    child's peers. An edge needs lift (x / n) / p0 >= `min_lift` and P(X >= x) small, X ~ Binomial(n, p0), by Benjamini
    and Hochberg's procedure at rate `q` over all ordered pairs of living concepts. Pairs that fail threshold, support
    or lift count there with p = 1, so that the rate is that of the edges and not of some larger set.
    """
    child, parent, weight = contained_pairs(cooccurrence, threshold)
    often = cooccurrence.frequency[child] >= min_support
    child, parent, weight = child[often], parent[often], weight[often]
    hits, trials = values_at(regions.covered_images, child, parent), regions.images[child]
    rate = null.rates(regions.covered_images, regions.images, child, parent)
    lift = hits / np.maximum(trials, 1) / rate
    lifted = np.flatnonzero(lift >= min_lift)
    living = int((cooccurrence.frequency > 0).sum())
    q_value = q_values(binomial_tail(hits[lifted], trials[lifted], rate[lifted]), living * (living - 1))
    found, q_value = lifted[q_value <= q], q_value[q_value <= q]
    edges = Edges.unmeasured(child[found], parent[found], weight[found])
    return replace(edges, lift=lift[found], q_value=q_value, support=hits[found])


def values_at(matrix: csr_array, row: np.ndarray, column: np.ndarray) -> np.ndarray:
    """[pairs]: single entries of a sparse matrix, 0 where there is none; O(pairs · log nonzeros)."""
    entries = matrix.tocoo()
    n = matrix.shape[1]
    keys = entries.row.astype(np.int64) * n + entries.col
    order = keys.argsort(kind="stable")  # quick where rows are sorted already
    keys, values = np.append(keys[order], matrix.shape[0] * n), np.append(entries.data[order], 0)
    wanted = np.asarray(row, np.int64) * n + column
    place = np.searchsorted(keys, wanted)
    return np.where(keys[place] == wanted, values[place], 0)

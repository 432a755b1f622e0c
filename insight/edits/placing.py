"""Which concept of a dictionary an edit is about, after the dictionary was trained again.

In: the concepts of the edits, with the directions they had, and the decoder of now. Out: for each its concept now, or
none. While the direction of an id is what it was, nothing is searched.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import normalize

from .record import Anchor

CARRIED = 0.9
"""Least cosine to the concept that an edit is carried to. Of five pairs of dictionaries (256 concepts, `small`, trained
on 300 or 450 photos, other seeds), nearest concepts above it were in 97 % the ones that fire most like the old ones on
new photos, above 0.8 in 92 %, above 0.7 in 88 %: a name on the wrong concept is worse than none. The price: 11 % of all
concepts and 39 % of the 32 most frequent are that near (0.8: 26 % and 56 %). docs/editing.md has the table."""
UNCHANGED = 0.999
"""Cosine from which a direction is what it was; float16 alone leaves more than 0.99999."""
BLOCK = 256


@dataclass(frozen=True)
class Place:
    """Where a concept is now: `id` (None: nowhere), and the cosine to what it was, of the nearest if there is none."""

    id: int | None
    cosine: float
    reason: str = ""


def place(anchors: Sequence[Anchor], decoder: Float[Tensor, "m d"]) -> dict[Anchor, Place]:
    """The concept of each anchor: its own id where the direction there is unchanged, else the nearest direction.

    The nearest counts from a cosine of `CARRIED`, and if of all anchors this one is the nearest to it, so that two
    concepts never become one. O(anchors · m · d) for those whose id is another now.
    """
    distinct = list(dict.fromkeys(anchors))
    found = {a: Place(None, 0.0, _misfit(a, decoder)) for a in distinct if len(a.direction) != 2 * decoder.shape[1]}
    fitting = [anchor for anchor in distinct if anchor not in found]
    if not fitting:
        return found
    directions = normalize(torch.stack([torch.from_numpy(anchor.vector()) for anchor in fitting]), dim=1)
    m = len(decoder)
    nearest = torch.tensor([min(anchor.id, m - 1) for anchor in fitting])
    decoder = decoder.detach().cpu()
    cosine = (directions * normalize(decoder[nearest].float(), dim=1)).sum(1)
    unchanged = (cosine >= UNCHANGED) & torch.tensor([anchor.id < m for anchor in fitting])
    moved = (~unchanged).nonzero().flatten()
    rows = normalize(decoder.float(), dim=1) if len(moved) else decoder
    for block in moved.split(BLOCK):
        cosine[block], nearest[block] = (directions[block] @ rows.T).max(dim=1)
    rival = torch.arange(len(fitting))
    for block in moved.split(BLOCK):
        rival[block] = (rows[nearest[block]] @ directions.T).argmax(dim=1)
    for i, anchor in enumerate(fitting):
        value, concept = round(float(cosine[i]), 4), int(nearest[i])
        if not unchanged[i] and value < CARRIED:
            reason = f"no concept is near enough to what {anchor.id} was (nearest: {concept}, cosine {value:.2f})"
            found[anchor] = Place(None, value, reason)
        elif rival[i] != i:
            reason = f"the nearest to what {anchor.id} was, {concept}, is nearer to another edited concept"
            found[anchor] = Place(None, value, reason)
        else:
            found[anchor] = Place(concept, value)
    return found


def _misfit(anchor: Anchor, decoder: Tensor) -> str:
    return (
        f"{anchor.id} was a concept of features of {len(anchor.direction) // 2} values, here they have"
        f" {decoder.shape[1]}"
    )

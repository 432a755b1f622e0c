"""How names fare with captioned photographs: soft-WPMI in text space, and whether captions mention them.

In: a dictionary's codes of the captioned photographs, the names of all modes, and the image vectors. Out: `Answers`
without labels, one for each mode.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch.nn.functional import normalize

from benchmarks.concepts.answers import DEALT, Answers, confidence
from benchmarks.concepts.captions import STRONGEST, captioned, mentions
from benchmarks.concepts.material import Asked
from benchmarks.concepts.modes import Named
from benchmarks.concepts.texts import TextSpace
from naming import soft_wpmi
from sae import SparseCodes

WPMI, MENTIONED = "soft-WPMI", "captions mention it"
ANYWHERE, ABOVE = "on any photograph", "above names dealt anew"


class Hearing:
    """The captioned photographs, ready to be asked about names."""

    def __init__(self, asked: Asked, texts: TextSpace) -> None:
        self.name = asked.captioned.name
        self._photos = torch.from_numpy(asked.captioned.photos)
        self._tokens = asked.cache.tokens_per_image
        self._images = normalize(asked.cache.pooled()[torch.from_numpy(asked.images)][self._photos].float(), dim=1)
        self._said = [mentions(captions) for captions in asked.captioned.captions]
        self._texts = texts

    def ask(self, codes: SparseCodes, named: Mapping[str, Named]) -> dict[str, Answers]:
        """What the photographs say to the first names of concepts that fire on five of them at least.

        soft-WPMI is taken among the first names of all modes; beside it that of the names of other concepts. Mentions
        are counted on a concept's strongest photographs; beside them on all. A concept without a name is mentioned
        nowhere, and has the soft-WPMI of a name dealt at random.
        """
        rows = self._photos[:, None] * self._tokens + torch.arange(self._tokens)
        photo = torch.arange(len(self._photos)).repeat_interleave(self._tokens)
        strongest = codes[rows.flatten()].max_by_group(photo, len(self._photos))
        often = torch.bincount(strongest.concepts.long(), minlength=codes.n_concepts)
        concepts = (often >= STRONGEST).nonzero().squeeze(1).numpy()
        phrases = {mode: [some.names.phrases[c] for c in concepts] for mode, some in named.items()}
        first = {mode: [one[0] if one else None for one in some] for mode, some in phrases.items()}
        said = sorted({name for some in first.values() for name in some if name is not None})
        scores = soft_wpmi(strongest, self._images @ self._texts.vectors(said).T)[concepts].double().numpy()
        active = strongest.to_scipy()[:, concepts]
        found = {}
        for mode, some in first.items():
            place = np.array([said.index(name) if name is not None else -1 for name in some], dtype=np.int64)
            share = np.bincount(place[place >= 0], minlength=len(said)) / max((place >= 0).sum(), 1)
            dealt = scores @ share
            own = np.where(place >= 0, scores[np.arange(len(some)), place], dealt) if said else dealt
            there, everywhere = captioned(active, some, self._said)
            values = {
                WPMI: own,
                f"{WPMI}, {DEALT}": dealt,
                f"{WPMI}, {ABOVE}": own - dealt,
                MENTIONED: there,
                f"{MENTIONED}, {ANYWHERE}": everywhere,
            }
            found[mode] = Answers(concepts, np.full(len(concepts), ""), confidence(named[mode])[concepts], values)
        return found

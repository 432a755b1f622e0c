"""The dictionary in figures: levels, how often concepts are active, how many have a name and how sure it is.

In: the parts of a model. Out: the values of a `Report`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from naming import ConceptGraph
from sae import SaeConfig
from sae.metrics import DENSE_SHARE, DENSITY_EDGES

from ..concept import Concept
from .values import Activity, Level, Names, Quality

CONFIDENCE_EDGES = tuple(round(step / 20, 2) for step in range(21))


def stored_quality(config: Mapping[str, Any]) -> tuple[Quality, ...]:
    """What training wrote into `config.json`; none where it did not."""
    found = config.get("quality")
    return () if not found else (quality_of("training patches", None, found),)


def quality_of(where: str, patches: int | None, found: Mapping[str, Any]) -> Quality:
    """`found`: as of `sae.metrics.evaluate`; NaN, which is not known, becomes None."""
    return Quality(
        where=where,
        patches=patches,
        fvu=tuple(_known(share) for share in found["fvu"]),
        cosine=_known(found.get("cosine")),
        l0=float(found["l0"]),
        dead=float(found["dead"]),
        dense=float(found["dense"]),
    )


def levels_of(config: SaeConfig, concepts: Sequence[Concept] | None, graph: ConceptGraph | None) -> tuple[Level, ...]:
    """The levels from the coarsest on. Merged and hidden concepts count as concepts, not as named ones."""
    ends = np.array(config.levels)
    sizes = np.diff(ends, prepend=0)
    silent = named = None
    if graph is not None and concepts is not None:
        level = np.searchsorted(ends, np.arange(config.n_concepts), side="right")
        silent = np.bincount(level[graph.frequency == 0], minlength=len(ends))
        having = [level[concept.id] for concept in concepts if concept.shown and concept.name]
        named = np.bincount(np.array(having, dtype=np.int64), minlength=len(ends))
    return tuple(
        Level(
            number=number,
            concepts=int(size),
            silent=None if silent is None else int(silent[number]),
            named=None if named is None else int(named[number]),
        )
        for number, size in enumerate(sizes)
    )


def activity_of(config: SaeConfig, concepts: Sequence[Concept], graph: ConceptGraph) -> Activity:
    """Counted over all patches of the cache that the model was related on; edits change nothing here."""
    ends = np.array(config.levels)
    share = graph.frequency / max(graph.tokens, 1)
    level = np.searchsorted(ends, np.arange(len(share)), side="right")
    bins = np.searchsorted(np.array(DENSITY_EDGES[1:-1]), share, side="right")
    counts = np.zeros((len(ends), len(DENSITY_EDGES) - 1), dtype=np.int64)
    np.add.at(counts, (level[share > 0], bins[share > 0]), 1)
    dense = np.flatnonzero(share > DENSE_SHARE)
    dense = dense[np.argsort(-share[dense], kind="stable")]
    return Activity(
        patches=int(graph.tokens),
        edges=DENSITY_EDGES,
        counts=tuple(tuple(row) for row in counts.tolist()),
        never=int((share == 0).sum()),
        dense=tuple((i, concepts[i].guessed, float(share[i])) for i in dense.tolist()),
        l0=float(share.sum()) if graph.tokens else None,
    )


def trained_activity(config: Mapping[str, Any]) -> Activity | None:
    """What training wrote of it, for a model that is not related yet."""
    found = config.get("quality")
    if not found or "density" not in found:
        return None
    counts = tuple(int(count) for count in found["density"])
    return Activity(
        patches=None,
        edges=DENSITY_EDGES,
        counts=(counts,),
        never=int(config["sae"]["n_concepts"]) - sum(counts),
        dense=(),
        l0=float(found["l0"]),
    )


def names_of(concepts: Sequence[Concept], config: Mapping[str, Any]) -> Names | None:
    """None where there is neither a name nor a guess."""
    alive = [concept for concept in concepts if concept.shown and concept.frequency > 0]
    named = [concept for concept in alive if concept.name]
    if not any(concept.name or concept.alternatives for concept in concepts):
        return None
    sure = [concept.confidence for concept in named if concept.confidence is not None]
    stable = [concept.stability for concept in named if concept.stability is not None]
    guessed = [concept.confidence for concept in alive if not concept.name and concept.confidence is not None]
    return Names(
        concepts=len(alive),
        named=len(named),
        different=len({str(concept.name).casefold() for concept in named}),
        by_person=sum(concept.edited and concept.confidence is None and concept.score is None for concept in named),
        expected_right=_mean(sure),
        stability=_mean(stable),
        least=_known((config.get("names") or {}).get("min_confidence")),
        edges=CONFIDENCE_EDGES,
        named_counts=_histogram(sure),
        guessed_counts=_histogram(guessed),
    )


def _histogram(values: Sequence[float]) -> tuple[int, ...]:
    finite = np.array(values, dtype=np.float64)
    counts, _ = np.histogram(finite[np.isfinite(finite)], bins=np.array(CONFIDENCE_EDGES))
    return tuple(counts.tolist())


def _mean(values: Sequence[float]) -> float | None:
    finite = np.array(values, dtype=np.float64)
    finite = finite[np.isfinite(finite)]
    return float(finite.mean()) if len(finite) else None


def _known(value: Any) -> float | None:
    return float(value) if value is not None and np.isfinite(value) else None

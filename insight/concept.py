"""The concept table of a model: id, level, name, alternatives, frequency; one Parquet file that any tool can read."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from sae.errors import InsightError
from sae.files import atomic_write

SCHEMA = pa.schema(
    [
        ("id", pa.int32()),
        ("level", pa.int32()),
        ("name", pa.string()),
        ("alternatives", pa.list_(pa.string())),
        ("scores", pa.list_(pa.float32())),
        ("confidence", pa.float32()),
        ("stability", pa.float32()),
        ("frequency", pa.int64()),
        ("threshold", pa.float32()),
    ]
)


@dataclass(frozen=True)
class Concept:
    """One concept of a dictionary.

    `level` counts the nested prefixes from the coarsest, 0. `name` is None until the model is named, and where no name
    is sure enough. `alternatives` are further names, best first; `scores` are cosines in the backbone's text space, the
    name's first where there is one, then one for each alternative. `confidence` is the estimated probability that the
    first of them is right, `stability` the share of resamples of the concept's photos that lead to it again (None:
    not known). `frequency` counts the patches of the related cache on which the concept fires; `threshold` is the
    activation above which it does. `edited`, `hidden` and `merged_into` (the concept that is shown in its place) come
    from a person's edits (`insight.edits`) and are not in the table.
    """

    id: int
    level: int
    name: str | None
    alternatives: tuple[str, ...]
    scores: tuple[float, ...]
    frequency: int
    threshold: float
    confidence: float | None = None
    stability: float | None = None
    edited: bool = False
    hidden: bool = False
    merged_into: int | None = None

    @property
    def title(self) -> str:
        """The name, or "concept 812" where there is none."""
        return self.name or f"concept {self.id}"

    @property
    def guessed(self) -> str:
        """The title, of a concept without a name with its best guess: "concept 812 (wheel?)"."""
        return self.title if self.name or not self.alternatives else f"{self.title} ({self.alternatives[0]}?)"

    @property
    def shown(self) -> bool:
        """Whether it is listed as a concept of its own."""
        return not self.hidden and self.merged_into is None

    @property
    def score(self) -> float | None:
        """The cosine of the name; None without a name, or where a person gave it."""
        return self.scores[0] if len(self.scores) > len(self.alternatives) else None

    @property
    def how_sure(self) -> str:
        """As of the function `how_sure`."""
        return how_sure(self.name is not None, self.alternatives, self.confidence, self.score)

    @property
    def scored_alternatives(self) -> tuple[tuple[str, float], ...]:
        """The alternatives with their cosines."""
        return tuple(zip(self.alternatives, self.scores[len(self.scores) > len(self.alternatives) :]))


def how_sure(named: bool, alternatives: Sequence[str], confidence: float | None, score: float | None) -> str:
    """How far to trust a name, for people; of a concept without one, its guesses. Empty where nothing is known."""
    if not named:
        return f"perhaps {', '.join(alternatives[:2])}" if alternatives else ""
    if confidence is not None:
        return f"sure {confidence:.0%}"
    return "" if score is None else f"name fits {score:.2f}"


def unnamed(levels: Sequence[int], frequency: Sequence[int], thresholds: Sequence[float]) -> list[Concept]:
    """The concepts of a dictionary before naming; each argument has one entry a concept."""
    return [
        Concept(i, int(level), None, (), (), int(count), float(threshold))
        for i, (level, count, threshold) in enumerate(zip(levels, frequency, thresholds, strict=True))
    ]


def save_concepts(path: Path, concepts: Sequence[Concept]) -> None:
    """Write the table, whole or not at all."""
    columns = {
        "id": [concept.id for concept in concepts],
        "level": [concept.level for concept in concepts],
        "name": [concept.name for concept in concepts],
        "alternatives": [list(concept.alternatives) for concept in concepts],
        "scores": [list(concept.scores) for concept in concepts],
        "confidence": [concept.confidence for concept in concepts],
        "stability": [concept.stability for concept in concepts],
        "frequency": [concept.frequency for concept in concepts],
        "threshold": np.asarray([concept.threshold for concept in concepts], dtype=np.float32),
    }
    with atomic_write(path) as temporary:
        pq.write_table(pa.table(columns, schema=SCHEMA), temporary)


def load_concepts(path: Path, n_concepts: int) -> list[Concept]:
    """Read the table; `InsightError` unless it has this format and the ids 0 … n_concepts − 1 in order."""
    try:
        table = pq.read_table(path)
    except FileNotFoundError:
        raise InsightError(f"{path}: no such file; run `insight relate {path.parent} CACHE` first") from None
    except (pa.ArrowInvalid, OSError) as error:
        raise InsightError(
            f"{path}: expected a Parquet table of concepts, found a damaged file ({error}); restore it, or run `insight"
            " relate` and `insight name` again"
        ) from None
    if not table.schema.equals(SCHEMA) or table["id"].to_pylist() != list(range(n_concepts)):
        raise InsightError(
            f"{path}: expected {n_concepts} concepts with columns {', '.join(SCHEMA.names)}, found "
            f"{table.num_rows} with {', '.join(table.schema.names)}; run `insight relate` and `insight name` again"
        )
    return [
        Concept(
            id=row["id"],
            level=row["level"],
            name=row["name"],
            alternatives=tuple(row["alternatives"]),
            scores=tuple(row["scores"]),
            frequency=row["frequency"],
            threshold=row["threshold"],
            confidence=row["confidence"],
            stability=row["stability"],
        )
        for row in table.to_pylist()
    ]

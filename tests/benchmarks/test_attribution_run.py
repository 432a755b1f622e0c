"""The benchmark of attribution runs from photographs to claims, and says which explainer is wrong."""

import json
from pathlib import Path

import pytest

from benchmarks import attribution
from benchmarks.maps.claims import claims_of
from benchmarks.maps.rows import PLACES, rows_of
from benchmarks.maps.settings import CENTRE, M2IB, OURS, RANDOM, RELEVANCE, WRONG
from insight.evaluation.judging import Row


def judged(value: dict[str, float]) -> list[Row]:
    """Three photographs with two texts, all of the same value but for a little."""
    return [
        Row("small", by, photo, text, {**dict.fromkeys(PLACES, one + 0.01 * photo), "seconds": 100.0 ** (by == M2IB)})
        for by, one in value.items()
        for photo in range(3)
        for text in ("a", "b")
    ]


def test_differences_are_of_the_same_pairs() -> None:
    rows = rows_of("masks", "set", judged({OURS: 0.6, M2IB: 0.5, CENTRE: 0.3, RANDOM: 0.2}), PLACES)
    less = {(row["by"], row["against"]): row for row in rows if row["against"] and row["figure"] == "average precision"}
    assert less[OURS, M2IB]["value"] == pytest.approx(0.1)
    assert less[M2IB, RANDOM]["value"] == pytest.approx(0.3)
    assert less[OURS, M2IB]["interval"] == pytest.approx([0.1, 0.1])
    assert (less[OURS, M2IB]["images"], less[OURS, M2IB]["pairs"]) == (3, 6)


def test_claims_hold_and_fail() -> None:
    good = rows_of("masks", "set", judged({OURS: 0.6, M2IB: 0.5, RELEVANCE: 0.2, CENTRE: 0.3, RANDOM: 0.2}), PLACES)
    holds = {claim["claim"].partition(": ")[2]: claim["holds"] for claim in claims_of(good) if claim["target"]}
    assert holds["average precision of concepts less that of m2ib"]
    assert holds["time of concepts over that of m2ib"]
    assert not holds["average precision of relevance less that of the centre map"]


@pytest.mark.soak
def test_the_benchmark_runs(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.json"
    attribution.main([f"--data={data}", f"--work={tmp_path / 'work'}", f"--json={out}", "--quick"])
    record = json.loads(out.read_text())
    assert {row["by"] for row in record["rows"] if row["part"] == "changes"} >= {OURS, M2IB, WRONG, RANDOM}
    assert any(row["part"] == "speed" for row in record["rows"])

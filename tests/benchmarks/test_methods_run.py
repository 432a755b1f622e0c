"""The benchmark of methods runs from photographs to claims; its figures are those of plain forms."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from benchmarks import methods
from benchmarks.tuned.claims import claims_of
from benchmarks.tuned.fitted import Answers
from benchmarks.tuned.rows import class_rows, concept_rows, pair_rows
from benchmarks.tuned.sets import PH2_COLUMNS
from benchmarks.tuned.settings import DEAL, ECOR, ECORS, FROZEN, NO_ALIGNMENT, PLAIN, XCOOP, Arm
from insight.methods.bank import shipped_bank
from tests.benchmarks.conftest import photo
from tests.insight.tiny_clip import TEXT, tiny_clip

COLUMNS = sorted({column for column, _ in PH2_COLUMNS.values()})


@pytest.fixture
def ph2(tmp_path: Path) -> Path:
    """14 photographs of moles with every clinical concept said."""
    values = {column: sorted({value for name, value in PH2_COLUMNS.values() if name == column}) for column in COLUMNS}
    lines = []
    for i in range(14):
        photo(tmp_path / "ph2" / "images" / f"IMD{i}.png", (i % 2, i % 3))
        own = {column: ([*values[column], "0"])[i % (len(values[column]) + 1)] for column in COLUMNS}
        diagnosis = ("common nevus", "melanoma")[i % 2]
        lines.append({"image": f"IMD{i}", "diagnosis": diagnosis, **own, "split": "test" if i > 9 else "train"})
    with (tmp_path / "ph2" / "concepts.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, ["image", "diagnosis", *COLUMNS, "split"])
        writer.writeheader()
        writer.writerows(lines)
    return tmp_path


def test_the_benchmark_runs(ph2: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(TEXT, "context_length", 77)
    backbone = tiny_clip()
    monkeypatch.setattr("insight.backbones.load", lambda name, device="cpu": backbone)
    out = ph2 / "out.json"
    given = [f"--data={ph2}", f"--work={ph2 / 'work'}", f"--json={out}", "--parts=frozen,ecor", "--quick"]
    methods.main(given)
    record = json.loads(out.read_text())
    said = {row["by"] for row in record["rows"]}
    assert said == {arm.name for arm in (*FROZEN, *ECORS)}
    assert any(claim["target"] for claim in record["claims"])
    assert {row["figure"] for row in record["rows"] if row["by"] == ECOR} >= {"accuracy", "AUC", "RR", "concept AUC"}


def test_every_clinical_concept_of_the_bank_is_a_column() -> None:
    assert set(shipped_bank("ph2-melanoma").concepts) == set(PH2_COLUMNS)


def drawn(seed: int, n: int = 60, classes: int = 2, concepts: int = 3) -> tuple[Answers, np.ndarray, np.ndarray]:
    """Random answers, the truth and gold concepts."""
    rng = np.random.default_rng(seed)
    pairs = np.stack([rng.permutation(classes * concepts)[:5] for _ in range(n)])
    found = np.stack([pairs // concepts, pairs % concepts], axis=2)
    answers = Answers(rng.normal(size=(n, classes)), rng.normal(size=(n, concepts)), found, 1.0)
    return answers, np.arange(n) % classes, rng.random((n, concepts)) < 0.5


def test_figures_and_differences_are_those_of_plain_forms() -> None:
    (own, truth, gold), (other, _, _) = drawn(0), drawn(1)
    arms = {"a": (Arm("a", "x", control="b"), [own]), "b": (Arm("b", "x"), [other])}
    rows = [
        *class_rows("ecor", "set", truth, arms),
        *concept_rows("ecor", "set", gold, truth, arms),
        *pair_rows("ecor", "set", gold, truth, arms),
    ]
    value = {(row["by"], row["figure"], row["against"]): row["value"] for row in rows}
    right = [(one.logits.argmax(1) == truth).mean() for one in (own, other)]
    assert value["a", "accuracy", None] == pytest.approx(right[0])
    assert value["a", "accuracy", "b"] == pytest.approx(right[0] - right[1])
    concept = np.mean([roc_auc_score(gold[:, c], own.concepts[:, c]) for c in range(3)])
    assert value["a", "concept AUC", None] == pytest.approx(concept)
    doubly = 0
    for pairs, label, reasons in zip(own.pairs, truth, gold):
        votes = np.bincount(pairs[:, 0], minlength=2)
        doubly += votes.argmax() == label and any(c == label and reasons[r] for c, r in pairs)
    assert value["a", "RR", None] == pytest.approx(doubly / len(truth))


def test_claims_name_what_papers_say_and_what_falls_short() -> None:
    def row(part: str, by: str, against: str | None, figure: str, value: float) -> dict:
        base = {"part": part, "data": "set", "interval": [0, 1]}
        return {**base, "by": by, "against": against, "figure": figure, "value": value}

    rows = [
        row("frozen", XCOOP, NO_ALIGNMENT, "AUC", 0.1),
        row("frozen", "xcoop, random words", XCOOP, "AUC", 0.1),
        row("concept maps", DEAL, PLAIN, "separation", 0.1),
        row("concept maps", DEAL, PLAIN, "fidelity", 0.1),
        row("cost", "deal", None, "seconds of a step", 2.0),
    ]
    assert [claim["holds"] for claim in claims_of(rows)] == [True, False, False, True, False]

"""The benchmark of our step over sizes runs, and its exponents are those of its rows."""

import json

import pytest

from benchmarks.sae_scaling import main
from benchmarks.sae_step_claims import exponents_of


def test_the_benchmark_runs(tmp_path):
    main(["--json", str(tmp_path / "scaling.json"), "--quick", "--threads", "1"])
    record = json.loads((tmp_path / "scaling.json").read_text())
    assert record["benchmark"] == "sae_scaling"
    assert [(row["part"], row[row["part"]]) for row in record["rows"]] == [
        *(("m", 256), ("m", 512), ("k", 4), ("k", 8), ("n", 256), ("n", 512))
    ]
    assert len(record["claims"]) == 3


def test_each_size_has_its_own_exponent():
    rows = [{"part": "m", "m": m, "k": 8, "round": 0, "ms": 3 * m} for m in (10, 20, 80)]
    rows += [{"part": "k", "m": 10, "k": k, "round": 0, "ms": k**1.5} for k in (8, 32)]
    linear, steeper = exponents_of(rows)
    assert (linear["value"], linear["holds"]) == (pytest.approx(1), True)
    assert (steeper["value"], steeper["holds"]) == (pytest.approx(1.5), False)
    assert "k = 8 ... 32" in steeper["claim"]

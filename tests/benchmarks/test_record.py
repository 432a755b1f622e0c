"""The record of a benchmark: its form, its claims' intervals, and nothing that JSON cannot hold."""

import json
import math

import pytest
import torch

from benchmarks.record import mean_interval, versions, write_record
from sae import InsightError

DATA = {"name": "noise", "images": 3, "split": "all"}
CLAIM = {"claim": "Ours is fast.", "value": 2, "unit": "x", "target": 1, "holds": True, "interval": (1.5, 2.5)}


def test_a_record_has_the_agreed_form(tmp_path):
    path = tmp_path / "results" / "speed.json"
    row = {"peer": "ours", "seed": 0, "tokens_per_s": 1.5, "fvu": [0.5, math.nan], "other": math.inf}
    settings = {"steps": 2}
    packages = ["no-such-thing"]
    write_record(path, benchmark="speed", data=DATA, settings=settings, rows=[row], claims=[CLAIM], packages=packages)
    written = json.loads(path.read_text())
    assert list(written) == ["benchmark", "commit", "machine", "versions", "data", "settings", "rows", "claims"]
    assert (written["benchmark"], written["data"], written["settings"]) == ("speed", DATA, settings)
    assert written["rows"] == [{**row, "fvu": [0.5, None], "other": None}]
    assert written["claims"] == [{**CLAIM, "interval": [1.5, 2.5]}]
    assert written["versions"]["no-such-thing"] is None
    assert written["machine"]["cores"] >= 1


def test_claims_and_data_of_another_form_are_refused(tmp_path):
    whole = {"benchmark": "speed", "settings": {}, "rows": []}
    with pytest.raises(InsightError, match="claim"):
        write_record(tmp_path / "a.json", data=DATA, claims=[{"claim": "Ours is fast."}], **whole)
    with pytest.raises(InsightError, match="data: expected exactly the keys"):
        write_record(tmp_path / "a.json", data={"name": "noise"}, claims=[], **whole)
    assert not (tmp_path / "a.json").exists()


def test_versions_are_those_installed():
    assert versions(["pytest"])["pytest"] == pytest.__version__


def test_the_interval_of_a_mean_covers_it_19_times_in_20():
    generator = torch.Generator().manual_seed(0)
    samples = 3.0 + 2.0 * torch.randn(4000, 3, generator=generator)
    covered = sum(low <= 3.0 <= high for low, high in (mean_interval(sample.tolist()) for sample in samples))
    assert 0.94 < covered / 4000 < 0.96
    assert mean_interval([1.0, 1.0, 1.0]) == (1.0, 1.0)

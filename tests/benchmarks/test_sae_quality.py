"""The benchmark of quality: what its claims say of rows made by hand, and that it runs and goes on."""

import json
from pathlib import Path

import pytest
import torch

from benchmarks.sae_quality import OURS, claims_of, differences, main, null_rows, split


def row(peer: str, k: int, seed: int, fvu: float, budget: str = "tokens") -> dict:
    return {"peer": peer, "arch": "topk", "k": k, "seed": seed, "budget": budget, "test": {"fvu": fvu}}


def rows_where_ours_is(share: float, seconds: float) -> list[dict]:
    rows = []
    for seed in range(3):
        for k, theirs in ((8, 0.4), (16, 0.2)):
            rows += [row("peer", k, seed, theirs), row(OURS, k, seed, theirs * (share + 0.001 * seed))]
            rows += [row(OURS, k, seed, theirs * (seconds + 0.001 * seed), "seconds")]
    return rows


def test_differences_are_paired_by_k_and_seed() -> None:
    rows = rows_where_ours_is(0.9, 0.8)
    assert differences(rows, "topk", "peer", "tokens") == pytest.approx([-10, -9.9, -9.8])
    assert differences(rows, "topk", "peer", "seconds") == pytest.approx([-20, -19.9, -19.8])
    # A run that is missing takes its partner with it.
    assert differences(rows[1:], "topk", "peer", "tokens") == pytest.approx([-10, -9.9, -9.8])
    assert differences(rows, "topk", "nobody", "tokens") == []


def test_claims_hold_by_the_worse_end_of_their_interval() -> None:
    better = {claim["unit"] + claim["claim"][-7:]: claim for claim in claims_of(rows_where_ours_is(0.99, 0.95))}
    assert [claim["holds"] for claim in better.values()] == [True, True]
    worse = claims_of(rows_where_ours_is(1.02, 1.0))
    assert [claim["holds"] for claim in worse] == [False, False]
    assert all(claim["interval"][0] < claim["value"] < claim["interval"][1] for claim in worse)
    broken = [*rows_where_ours_is(0.9, 0.9), {"peer": "broken", "arch": "topk", "error": "no"}]
    assert not any("broken" in claim["claim"] for claim in claims_of(broken))


def test_no_image_is_in_two_parts() -> None:
    training, held_out = torch.arange(70.0)[:, None], torch.arange(70.0, 100.0)[:, None]
    parts = split(training, held_out, images=10)
    scale = float(parts["training"].max()) / 69
    assert float(parts["training"].square().mean()) == pytest.approx(1, rel=1e-5)
    assert sorted((parts["training"] / scale).round().flatten().tolist()) == training.flatten().tolist()
    assert (parts["validation"] / scale).flatten().tolist() == pytest.approx(list(range(70, 80)))
    assert (parts["test"] / scale).flatten().tolist() == pytest.approx(list(range(80, 100)))


def test_a_random_dictionary_explains_little_and_the_more_the_larger_k() -> None:
    x = torch.randn(500, 16, generator=torch.Generator().manual_seed(0))
    few, many = (r["test"]["fvu"] for r in null_rows(x, x, "topk", 64, [1, 4], 1))
    assert 0.2 < many < few < 1


@pytest.mark.slow
def test_the_benchmark_runs_and_goes_on_from_its_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, kept = tmp_path / "quality.json", tmp_path / "rows.jsonl"
    arguments = ["--json", str(path), "--quick", "--archs", "topk", "--threads", "1", "--rows", str(kept)]
    main(arguments)
    record = json.loads(path.read_text())
    ours = [r for r in record["rows"] if r["peer"] == OURS]
    assert {(r["k"], r["seed"]) for r in ours} == {(k, seed) for k in (4, 8) for seed in (0, 1)}
    assert all(0 < r["test"]["fvu"] < 1 and r["test"]["l0"] <= r["k"] for r in ours)
    (claim,) = record["claims"]
    assert claim["value"] < 0
    assert "random dictionary" in claim["claim"]

    monkeypatch.setattr("benchmarks.peers.process.Peers.run", lambda *_: pytest.fail("ran again"))
    main(arguments)
    assert [r for r in json.loads(path.read_text())["rows"] if r["peer"] == OURS] == ours

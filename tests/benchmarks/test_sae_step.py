"""The benchmark of the step: what its claims say of rows made by hand, how its clock counts, and that it runs."""

import json
import math
import time
from pathlib import Path

import pytest
import torch

from benchmarks.peers import process, yardstick
from benchmarks.peers.environments import OWN, REQUIREMENTS, python_of
from benchmarks.peers.yardstick import Clock, Dictionary, Task, quality
from benchmarks.sae_step import main, structured
from benchmarks.sae_step_claims import best_peer, claims_of, exponent, figures, ratio
from sae import InsightError


def row(peer: str, arch: str, round_: int, ms: float, **changed) -> dict:
    basis = {"part": "peers", "m": 8192, "k": 32, "n": 4096, "precision": "medium", "dead": 0.0, "peak_mb": 1000.0}
    basis |= {"start_mb": 900.0, "ms": ms, "tokens_per_s": 4096e3 / ms}
    return {"peer": peer, "arch": arch, "round": round_, **basis, **changed}


def by_words(claims: list[dict], *words: str) -> dict:
    (found,) = [claim for claim in claims if all(word in claim["claim"] for word in words)]
    return found


def test_a_ratio_is_taken_within_rounds() -> None:
    """A machine that is twice as slow in one round changes no ratio, and leaves no width."""
    value, interval = ratio({0: 10.0, 1: 20.0, 2: 10.0}, {0: 5.0, 1: 10.0, 2: 5.0})
    assert value == pytest.approx(2)
    assert interval == pytest.approx((2, 2))
    assert ratio({0: 3.0, 1: 7.0}, {0: 1.5}) == (pytest.approx(2), None)


def test_claims_name_the_fastest_peer_and_hold_by_the_worse_end() -> None:
    rows = [row("insight", "matryoshka", round_, 100.0) for round_ in range(3)]
    rows += [row("slow", "matryoshka", round_, 2000.0) for round_ in range(3)]
    rows += [row("fast", "matryoshka", round_, ms) for round_, ms in enumerate((890.0, 900.0, 910.0))]
    rows += [row("insight", "matryoshka", 0, 90.0, m=4096), row("fast", "matryoshka", 0, 95.0, m=4096)]
    claim = by_words(claims_of(rows), "matryoshka: our tokens a second", "fast")
    assert claim["value"] == pytest.approx((8.9 * 9.0 * 9.1) ** (1 / 3))
    assert claim["interval"][0] < claim["value"] < claim["interval"][1]
    assert claim["holds"] is (claim["interval"][0] >= 8)
    slower = [{**r, "tokens_per_s": r["tokens_per_s"] * 1.12} if r["peer"] == "fast" else r for r in rows]
    missed = by_words(claims_of(slower), "matryoshka: our tokens a second", "fast")
    assert missed["value"] > 8 > missed["interval"][0]
    assert missed["holds"] is False


def test_costs_are_claimed_as_shares_that_may_not_be_passed() -> None:
    rows = [row("insight", "matryoshka", 0, 120.0, peak_mb=950.0), row("insight", "matryoshka", 0, 150.0, dead=0.1)]
    rows += [row("floor", "float32", 0, 160.0), row("floor", "bfloat16", 0, 60.0)]
    rows += [row("peer", "matryoshka", 0, 900.0, peak_mb=1500.0), row("lean", "matryoshka", 0, 999.0, peak_mb=1250.0)]
    claims = claims_of(rows)
    assert by_words(claims, "10% dead")["value"] == pytest.approx(1.25)
    assert by_words(claims, "10% dead")["holds"] is True
    assert by_words(claims, "float32 encode")["value"] == pytest.approx(0.75)
    assert by_words(claims, "bfloat16 encode")["value"] == pytest.approx(2)
    assert by_words(claims, "bfloat16 encode")["holds"] is None
    assert by_words(claims, "our peak memory", "lean")["value"] == pytest.approx(950 / 1250)
    assert by_words(claims, "training adds", "lean")["value"] == pytest.approx(50 / 350)
    late = claims_of([{**r, "ms": 170.0} if r["dead"] else r for r in rows])
    assert by_words(late, "10% dead")["holds"] is False


def test_rows_with_errors_count_for_nothing() -> None:
    rows = [row("insight", "topk", 0, 100.0), row("peer", "topk", 0, 300.0)]
    broken = {key: rows[0][key] for key in ("part", "m", "k", "n", "precision", "dead", "arch", "round")}
    rows.append({**broken, "peer": "broken", "error": "it does not import"})
    assert best_peer(rows, lambda r: r["tokens_per_s"], arch="topk")[0] == "peer"
    assert figures(rows, lambda r: r["ms"], peer="broken") == {}
    assert by_words(claims_of(rows), "topk: our tokens a second")["value"] == pytest.approx(3)


def test_an_exponent_is_the_slope_of_the_logarithms() -> None:
    rows = [{"m": m, "round": r, "ms": (1 + r) * m**0.75} for r in range(2) for m in (4096, 8192, 131_072)]
    value, interval = exponent(rows, "m")
    assert value == pytest.approx(0.75)
    assert interval == pytest.approx((0.75, 0.75))


def test_a_clock_gives_every_batch_once_and_times_the_gaps_between() -> None:
    features = torch.arange(40.0).view(20, 2)
    clock = Clock(Task(data="", batch=4, warmup=1, steps=2), features)
    seen = []
    for batch in clock:
        seen.append(batch[0, 0].item())
        time.sleep(0.02)
    assert seen == [0, 8, 16, 24]
    assert len(clock) == 4
    report = clock.report()
    assert report["timed_steps"] == 2
    assert 20 <= report["ms_min"] <= report["ms"] <= report["ms_max"]
    assert report["tokens_per_s"] == pytest.approx(4000 / report["ms"])
    assert next(Clock(Task(data="", batch=4, seed=2), features))[0, 0] == 14 * 4 % 20 * 2


def test_a_step_during_which_others_were_busy_is_not_counted() -> None:
    clock = Clock(Task(data="", batch=4, warmup=0, steps=3), torch.zeros(8, 2))
    clock.wall, clock.own, clock.machine = [0.0, 1.0, 11.0, 12.0], [0.0, 2.0, 4.0, 6.0], [0.0, 2.0, 20.0, 22.0]
    report = clock.report()
    assert (report["clean_steps"], report["timed_steps"], report["ms_max"]) == (2, 3, 1000)


@pytest.mark.parametrize("per_token", [True, False])
def test_quality_is_the_unexplained_share_at_exactly_k(per_token: bool) -> None:
    torch.manual_seed(3)
    encoder, decoder, x = torch.randn(12, 5), torch.randn(12, 5), torch.randn(40, 5)
    bias, centre = torch.randn(12), torch.randn(5)
    measured = quality(Dictionary(encoder, decoder, bias, centre), x, 3, per_token, [4, 12], batch=10)
    errors: dict[int, list] = {4: [], 12: []}
    active = 0
    for chunk in x.double().split(10):
        u = ((chunk - centre.double()) @ encoder.double().t() + bias.double()).clamp_min(0)
        edge = u.sort(1, descending=True).values[:, 2:3] if per_token else u.flatten().sort(descending=True).values[29]
        u = u * (u >= edge)
        active += int((u > 0).sum())
        for level, found in errors.items():
            found.append(chunk - centre.double() - u[:, :level] @ decoder[:level].double())
    shares = [float(torch.cat(found).var(0).sum() / x.double().var(0).sum()) for found in errors.values()]
    assert measured["fvu_levels"] == pytest.approx(shares, rel=1e-5)
    assert measured["fvu"] == measured["fvu_levels"][-1]
    assert measured["l0"] == active / 40 <= 3


def test_the_data_are_as_large_as_said_and_always_the_same() -> None:
    features = structured(16, 5000)
    assert features.shape == (5000, 16)
    assert float(features.norm(dim=1).mean()) == pytest.approx(4, rel=1e-5)
    assert torch.equal(features, structured(16, 5000))


def test_every_peer_has_a_file_and_a_recipe() -> None:
    files = {file.stem for file in Path(yardstick.__file__).parent.glob("*.py")}
    assert set(process.OFFERS) == {*OWN, *REQUIREMENTS}
    assert set(process.OFFERS) <= files


def test_a_peer_that_cannot_be_had_costs_a_row_not_the_run(tmp_path: Path) -> None:
    with pytest.raises(InsightError, match="expected some of"):
        python_of("nobody", tmp_path, {})
    peers = process.Peers(["nobody"], tmp_path, {})
    assert list(peers) == ["insight"]
    assert peers.missing["nobody"].startswith("not available")


def test_a_task_that_fails_says_why(tmp_path: Path) -> None:
    peers = process.Peers([], tmp_path, {})
    tasks = [Task(data=str(tmp_path / "none"), arch="cubic", threads=1), Task(data=str(tmp_path / "none"), threads=1)]
    unknown, missing = peers.run("floor", tasks, tmp_path)
    assert "no cubic here" in unknown["error"]
    assert "no topk here" in missing["error"]


@pytest.mark.slow
def test_the_benchmark_runs(tmp_path: Path) -> None:
    path = tmp_path / "step.json"
    main(["--json", str(path), "--quick", "--threads", "1", "--archs", "matryoshka", "--dead", "--peers", "nobody"])
    record = json.loads(path.read_text())
    assert record["benchmark"] == "sae_step"
    kinds = {(r["peer"], r["arch"]) for r in record["rows"] if "error" not in r}
    assert kinds == {("floor", "float32"), ("floor", "bfloat16"), ("insight", "matryoshka")}
    assert [r["peer"] for r in record["rows"] if "error" in r] == ["nobody"]
    ours = next(r for r in record["rows"] if r["peer"] == "insight")
    assert 0 < ours["ms_min"] <= ours["ms"] <= ours["ms_max"]
    assert ours["explained_variance"] < 1
    assert all(math.isfinite(claim["value"]) for claim in record["claims"])
    assert len(record["claims"]) == 2

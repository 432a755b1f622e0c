"""The benchmark of caches: what its claims say of rows made by hand, what loaders yield, and that it runs."""

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from benchmarks import cache_plan
from benchmarks.cache_fidelity import probe_rows, stored_as
from benchmarks.cache_io import main, reading, writing
from benchmarks.cache_io_claims import claims_of
from benchmarks.loaders import insight
from benchmarks.loaders.insight import repeated
from benchmarks.loaders.job import Job, Loader, files_below, measure
from benchmarks.loaders.plain import LOADERS
from insight.cache import FeatureCache

OURS = Loader(insight.write, insight.read, insight.scan, insight.images)


def read_row(loader: str, round_: int, tokens_per_s: float, state: str = "cold", dtype: str = "float32") -> dict:
    speeds = {"tokens_per_s": tokens_per_s, "mb_per_s": tokens_per_s / 1000}
    return {"part": "read", "loader": loader, "dtype": dtype, "dim": 8, "round": round_, "state": state, **speeds}


def by_words(claims: list[dict], *words: str) -> dict:
    (found,) = [claim for claim in claims if all(word in claim["claim"] for word in words)]
    return found


def test_speeds_are_compared_within_rounds_and_hold_by_the_worse_end() -> None:
    rows = [read_row("raw", round_, speed) for round_, speed in enumerate((100.0, 200.0, 50.0))]
    rows += [read_row("insight", round_, speed) for round_, speed in enumerate((85.0, 170.0, 42.5))]
    claim = by_words(claims_of(rows), "float32, cold", "raw")
    assert claim["value"] == pytest.approx(0.85)
    assert claim["holds"] is True
    rows[-1]["mb_per_s"] *= 0.7
    claim = by_words(claims_of(rows), "float32, cold", "raw")
    assert claim["interval"][0] < 0.8
    assert claim["holds"] is False


def test_the_fastest_toolkit_and_the_faster_step_are_those_to_beat() -> None:
    rows = [read_row("insight", 0, 900.0, "warm"), read_row("raw", 0, 5000.0, "warm")]
    rows += [read_row("saev", 0, 50.0, "warm"), read_row("sae_lens", 0, 250.0, "warm")]
    rows += [read_row("memmap, blocks", 0, 1000.0, "warm"), {**read_row("saev", 0, 0.0), "error": "broken"}]
    rows += [{"part": "step", "round": 0, "tokens_per_s": speed} for speed in (200.0, 310.0)]
    claims = claims_of(rows)
    assert by_words(claims, "toolkit's (sae_lens)")["value"] == pytest.approx(3.6)
    assert by_words(claims, "toolkit's (sae_lens)")["holds"] is True
    assert by_words(claims, "without a library (memmap, blocks)")["value"] == pytest.approx(0.9)
    step = by_words(claims, "SAE step")
    assert (step["value"], step["holds"]) == (pytest.approx(900 / 310), False)


def test_a_quarter_is_said_with_what_scales_and_checks_add() -> None:
    sizes = {"float32": 2000.0, "int8": 507.0}
    rows = [
        {"part": "write", "loader": "insight", "dtype": dtype, "dim": 500, "bytes": 10 * size, "tokens": 10}
        for dtype, size in sizes.items()
    ]
    claim = by_words(claims_of(rows), "bytes a token")
    assert (claim["value"], claim["holds"]) == (pytest.approx(0.2535), True)
    assert "0.0035" in claim["claim"]
    rows[1]["bytes"] = 5110
    assert by_words(claims_of(rows), "bytes a token")["holds"] is False


def test_what_a_dtype_costs_is_paired_by_seed_and_split() -> None:
    rows = []
    for number, base in enumerate((0.1, 0.3, 0.2)):
        shared = {"part": "fidelity", "trained_on": "float32", "seed": number}
        rows += [{**shared, "measured_on": "float32", "fvu": base}]
        rows += [{**shared, "measured_on": "int8", "fvu": base + 0.001 + 0.0001 * number}]
        rows += [{"part": "probe", "dtype": "float32", "split": number, "accuracy": base}]
        rows += [{"part": "probe", "dtype": "int8", "split": number, "accuracy": base - 0.01 - 0.001 * number}]
    claims = claims_of(rows)
    fvu, probe = by_words(claims, "int8", "FVU"), by_words(claims, "int8", "probe")
    assert (fvu["value"], fvu["holds"]) == (pytest.approx(0.0011), True)
    assert (probe["value"], probe["holds"]) == (pytest.approx(-0.011), False)


@pytest.mark.parametrize("name", ["insight", "memmap, rows", "memmap, blocks", "torch files"])
def test_a_loader_gives_every_token_once_in_another_order(name: str, tmp_path: Path) -> None:
    tokens = torch.randn(48, 5, 4)
    source = tmp_path / "tokens.f32"
    tokens.numpy().tofile(source)
    loader = {**LOADERS, "insight": OURS}[name]
    job = Job(name, "write", str(tmp_path / "files"), str(source), 48, 5, 4, batch=60, memory=1000, seed=3)
    written = measure(job, loader)
    assert written["tokens"] == 240
    assert written["bytes"] == sum(path.stat().st_size for path in files_below(job.path)) >= tokens.numel() * 4
    batches = list(loader.read(job))
    assert [len(batch) for batch in batches] == [60] * 4
    read = torch.cat(batches)
    rows = tokens.flatten(0, 1)
    assert not torch.equal(read, rows)
    assert sorted(read.tolist()) == sorted(rows.tolist())
    found = measure(replace(job, action="read", cold=True), loader)
    assert found["tokens"] == 240
    assert found["mean"] == pytest.approx(float(rows[:, 0].abs().mean()), rel=1e-5)
    if loader.scan and loader.images:
        assert torch.equal(torch.cat(list(loader.scan(job))), rows)
        assert torch.equal(torch.stack(list(loader.images(job))), tokens[job.order()])


def test_the_bare_disk_is_read_byte_for_byte(tmp_path: Path) -> None:
    tokens = torch.randn(10, 3, 4)
    tokens.numpy().tofile(tmp_path / "tokens.f32")
    job = Job("raw", "write", str(tmp_path / "raw"), str(tmp_path / "tokens.f32"), 10, 3, 4, dtype="float16")
    measure(job, LOADERS["raw"])
    assert b"".join(bytes(piece.numpy()) for piece in LOADERS["raw"].read(job)) == tokens.numpy().tobytes()[:240]
    found = measure(replace(job, action="read"), LOADERS["raw"])
    assert (found["tokens"], found["bytes"]) == (30, 240)


def test_a_large_cache_is_a_small_one_again_and_again(tmp_path: Path) -> None:
    tokens = torch.randn(8, 3, 4)
    job = Job("insight", "write", str(tmp_path / "small"), "", 8, 3, 4)
    job.path.mkdir()
    insight.write(job, tokens)
    small = FeatureCache.open(job.path)
    images = repeated(job.path, tmp_path / "large", 3 * small.manifest.shards[0].bytes)
    large = FeatureCache.open(tmp_path / "large")
    assert images == large.n_images == 24
    assert torch.equal(large.image(17), tokens[1])
    large.verify()


def test_every_loader_reads_what_it_has_written() -> None:
    base = Job("insight", "write", "", "", 8, 3, 4)
    written = {job.place for jobs in writing(base, Path("/a"), ["saev"]) for job in jobs}
    jobs = [job for jobs in reading(base, Path("/a"), ["saev"]) for job in jobs]
    assert {job.place for job in jobs} <= written
    assert [job.cold for job in jobs].count(True) == len(jobs) / 2


def test_the_plan_counts_bytes_and_hours() -> None:
    rows = [{"part": "read", "loader": "insight", "dtype": "int8", "state": "cold", "mb_per_s": 500.0}]
    planned = {row["dtype"]: row for row in cache_plan.plan(rows, 1_000_000, 196, 512, images_per_s=10.0)}
    per_image = 196 * (512 + 4) + 512 * 4 + 8 * 5
    assert planned["int8"]["terabytes"] == pytest.approx(per_image * 1e-6)
    assert planned["int8"]["read_hours"] == pytest.approx(per_image * 1e6 / 500e6 / 3600)
    assert planned["int8"]["encode_rank_hours"] == pytest.approx(1e5 / 3600)
    assert planned["int8"]["ranks"] == math.ceil(1e5 / 3600 / 24)
    assert planned["float32"]["terabytes"] == pytest.approx((196 * 512 * 4 + 512 * 4 + 40) * 1e-6)
    assert planned["float32"]["read_hours"] is None


def test_stored_features_are_as_near_as_their_dtype() -> None:
    x = torch.randn(50, 3, 64)
    assert torch.equal(stored_as(x, "float32"), x)
    for dtype, relative in (("bfloat16", 2**-8), ("float16", 2**-11)):
        assert ((stored_as(x, dtype) - x).abs() <= relative * x.abs() + 2**-24).all()
    assert ((stored_as(x, "int8") - x).abs() <= x.abs().amax(-1, keepdim=True) / 254 * 1.001).all()


def test_a_probe_tells_classes_apart_and_needs_two() -> None:
    labels = [str(number % 2) for number in range(40)]
    features = torch.randn(40, 3, 4) + 9 * torch.tensor([[[float(label)]] for label in labels])
    rows = probe_rows(features, labels)
    assert {row["accuracy"] for row in rows} == {1.0}
    assert len(rows) == 40  # ten splits in each dtype
    assert probe_rows(features, ["one"] * 40) == []
    assert probe_rows(features, [None] * 40) == []


@pytest.mark.soak
def test_the_benchmark_runs(tmp_path: Path) -> None:
    main(["--json", str(tmp_path / "io.json"), "--quick", "--threads", "1", "--folder", str(tmp_path)])
    record = json.loads((tmp_path / "io.json").read_text())
    assert [row for row in record["rows"] if "error" in row] == []
    assert {row["part"] for row in record["rows"]} == {
        "write", "read", "scan", "images", "memory", "step", "fidelity", "probe", "plan"
    }  # fmt: skip
    assert len({json.dumps(claim["claim"]) for claim in record["claims"]}) == len(record["claims"])
    means = {row["mean"] for row in record["rows"] if row["part"] == "read" and row["loader"] != "raw"}
    assert max(means) / min(means) < 1.02
    assert all(math.isfinite(claim["value"]) for claim in record["claims"])
    assert [path.name for path in tmp_path.iterdir()] == ["io.json"]

"""The benchmark of co-occurrence: its codes, what its claims say of rows made by hand, and that it runs."""

import json
from pathlib import Path

import pytest
import torch

from benchmarks.cooccurrence import dense, differences, main, ours
from benchmarks.cooccurrence_claims import ALL, DENSE, OURS, claims_of
from benchmarks.cooccurrence_codes import PATCHES, in_chunks, made_up


def row(method: str, round_: int, ms: float, **changed) -> dict:
    basis = {"part": "made up", "m": 8192, "tokens": 8192, "round": round_, "ms": ms, "method": method}
    same = {"cells_differing": 0, "largest_difference": 2e-7} if method == OURS else {}
    return {**basis, **same, **changed}


def by_words(claims: list[dict], *words: str) -> dict:
    (found,) = [claim for claim in claims if all(word in claim["claim"] for word in words)]
    return found


def test_made_up_codes_are_codes_of_whole_images_with_frequent_and_rare_concepts() -> None:
    codes = made_up(20, 500, 12, seed=3)
    assert codes.n == 20 * PATCHES
    assert 9 < codes.nnz / codes.n <= 12
    assert bool((codes.activations > 0).all())
    for start in range(codes.n):
        concepts = codes.concepts[codes.offsets[start] : codes.offsets[start + 1]]
        assert bool((concepts.diff() > 0).all())
    frequency = torch.bincount(codes.concepts, minlength=500)
    assert frequency[:10].sum() > 5 * frequency[-10:].sum()
    assert torch.equal(made_up(20, 500, 12, seed=3).concepts, codes.concepts)
    pieces = list(in_chunks(codes, 8))
    assert [(first, part.n) for first, part in pieces] == [(0, 2048), (8, 2048), (16, 1024)]


def test_both_forms_give_the_same_numbers_and_a_difference_is_seen() -> None:
    codes = made_up(2, 50, 6, seed=0)
    found, expected = ours(codes)[1], dense(codes)[1]
    same = differences(found, expected)
    assert same["cells_differing"] == 0
    assert same["largest_difference"] < 1e-5
    expected[0][3, 4] += 1
    expected[1][3, 3] *= 1.5
    apart = differences(found, expected)
    assert apart["cells_differing"] == 1
    assert apart["largest_difference"] == pytest.approx(0.5, rel=1e-4)


def test_claims_are_of_the_widest_dictionary_and_hold_by_the_worse_end() -> None:
    rows = [row(OURS, round_, 10.0) for round_ in range(3)] + [row(ALL, round_, 100.0) for round_ in range(3)]
    rows += [row(DENSE, round_, ms) for round_, ms in enumerate((560.0, 600.0, 640.0))]
    rows += [row(OURS, 0, 1.0, m=1024), row(DENSE, 0, 2.0, m=1024)]
    claim = by_words(claims_of(rows), "Cooccurrence: times", "8,192")
    assert claim["value"] == pytest.approx((56 * 60 * 64) ** (1 / 3))
    assert claim["holds"] is (claim["interval"][0] >= 50)
    assert by_words(claims_of(rows), "Evidence: times")["value"] == pytest.approx(claim["value"] / 10)
    assert by_words(claims_of(rows), "cells of C")["holds"] is True
    rows[0]["cells_differing"] = 1
    rows[1]["largest_difference"] = 1e-3
    assert by_words(claims_of(rows), "cells of C")["holds"] is False
    assert by_words(claims_of(rows), "cell of D")["holds"] is False


def test_growth_is_the_slope_of_logarithms() -> None:
    rows = [row(OURS, r, 3.0 * n**0.5, part="growth over tokens", tokens=n) for r in range(2) for n in (10, 100, 1000)]
    rows += [row(DENSE, r, 3.0 * m**2, part="growth over m", m=m) for r in range(2) for m in (16, 64)]
    claims = claims_of(rows)
    assert by_words(claims, OURS, "tokens")["value"] == pytest.approx(0.5)
    assert by_words(claims, OURS, "tokens")["holds"] is True
    assert by_words(claims, DENSE, "with m")["value"] == pytest.approx(2)


def test_it_runs(tmp_path: Path) -> None:
    threads = torch.get_num_threads()
    main(["--json", str(tmp_path / "out.json"), "--quick"])
    record = json.loads((tmp_path / "out.json").read_text())
    assert torch.get_num_threads() == threads
    claims = record["claims"]
    assert by_words(claims, "cells of C")["holds"] is True
    assert by_words(claims, "cell of D")["holds"] is True
    assert by_words(claims, "Cooccurrence: times")["value"] > 0
    assert {row["method"] for row in record["rows"]} >= {OURS, DENSE, ALL}
    with pytest.raises(SystemExit):
        main(["--json", str(tmp_path / "out.json"), "--cache", "somewhere"])

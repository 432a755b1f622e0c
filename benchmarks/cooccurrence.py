"""How long it takes to count which concepts fire together: ours, and the dense AᵀA of the published script.

`python -m benchmarks.cooccurrence --json FILE [--cache CACHE --model MODEL] [--quick]`: on made-up codes (k = 12 of m
concepts, frequencies like 1 / rank, regions of 4 × 4 patches), and on a cache's codes under a model's dictionary.

Dense: activations [n, m] lie ready, as the published script's encoder gives them, in chunks of 1 GB; timed are
A = 1[a > 0], C += AᵀA and D += aᵀA in float32 on all cores. Ours: `Cooccurrence`, one thread, in chunks of 64 images,
to the sums read out; and the whole `Evidence` (features of 384 numbers; its one product of features on all cores).
All count the same tokens, in turns; both C and D are compared cell by cell in the same run. The dense form is measured
on 32 images, for it would take minutes on more; as its time is in proportion to tokens and ours is not quite (small
chunks pay for m rows), that favours it.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.sparse import csr_array
from torch import Tensor

from benchmarks.cooccurrence_claims import ALL, BOUNDED, DENSE, OURS, claims_of
from benchmarks.cooccurrence_codes import GRID, PATCHES, in_chunks, made_up, of_cache
from benchmarks.record import write_record
from naming import Cooccurrence, Evidence
from sae import SparseCodes

K, DIM, PARTNERS = 12, 384, 512
CHUNK = 2**30
"""Bytes of dense activations at a time; as much again is their mask."""
Row = dict[str, Any]


def dense(codes: SparseCodes) -> tuple[float, tuple[Tensor, Tensor]]:
    """Seconds, and C and D float32 [m, m]."""
    m = codes.n_concepts
    counts, weighted = torch.zeros(m, m), torch.zeros(m, m)
    seconds = 0.0
    step = max(1, CHUNK // (4 * m))
    for start in range(0, codes.n, step):
        a = codes[start : start + step].dense()
        began = time.perf_counter()
        active = (a > 0).float()
        counts.addmm_(active.T, active)
        weighted.addmm_(a.T, active)
        seconds += time.perf_counter() - began
    return seconds, (counts, weighted)


def ours(codes: SparseCodes, most_partners: int | None = None) -> tuple[float, tuple[csr_array, csr_array]]:
    """Seconds, and C and D as they come."""
    began = time.perf_counter()
    counts = Cooccurrence(codes.n_concepts, most_partners=most_partners)
    for _, part in in_chunks(codes):
        counts.update(part)
    found = counts.counts, counts.weighted
    return time.perf_counter() - began, found


def evidence(codes: SparseCodes, features: Tensor) -> tuple[float, Evidence]:
    """Seconds to gather all evidence; `features` [64 images' tokens, d] stand for those of every chunk."""
    began = time.perf_counter()
    gathered = Evidence(codes.n_concepts, GRID, features.shape[1])
    for first, part in in_chunks(codes):
        gathered.update(part, features[: part.n], first)
    _ = gathered.tokens.counts, gathered.images.counts, gathered.regions.inside, gathered.regions.beside
    _ = gathered.exemplars.top(0), gathered.examples.top(0)
    return time.perf_counter() - began, gathered


def differences(sparse: tuple[csr_array, csr_array], full: tuple[Tensor, Tensor]) -> Row:
    """Cells of C that differ, and the largest difference of a cell of D as a share of it."""
    counts, weighted = (matrix.toarray() for matrix in sparse)
    apart = np.abs(weighted - full[1].numpy()) / np.where(weighted > 0, weighted, 1.0)
    differing = int((counts != full[0].numpy()).sum())
    return {"cells_differing": differing, "largest_difference": float(apart.max())}


def compared(part: str, codes: SparseCodes, features: Tensor, round_: int) -> list[Row]:
    """One round on the same codes: ours, dense, everything, in an order that turns with the round."""
    measures: dict[str, Callable[[], Any]] = {
        OURS: lambda: ours(codes),
        DENSE: lambda: dense(codes),
        ALL: lambda: evidence(codes, features),
    }
    names = list(measures)
    found = {name: measures[name]() for name in names[round_ % 3 :] + names[: round_ % 3]}
    rows = [row_of(part, name, codes, round_, found[name][0]) for name in names]
    rows[0] |= differences(found[OURS][1], found[DENSE][1])
    return rows


def row_of(part: str, method: str, codes: SparseCodes, round_: int, seconds: float) -> Row:
    """A row of the record."""
    row = {"part": part, "method": method, "m": codes.n_concepts, "tokens": codes.n, "k": codes.nnz / codes.n}
    return {**row, "round": round_, "ms": 1e3 * seconds, "us_per_token": 1e6 * seconds / codes.n}


def show(row: Row) -> None:
    what = f"{row['round']} {row['part']:18} {row['method']:22} m {row['m']:6} tokens {row['tokens']:8}"
    print(f"{what} {row['ms']:11.1f} ms {row['us_per_token']:10.2f} µs a token", flush=True)


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, required=True)
    parser.add_argument("--cache", type=Path, help="a feature cache, to count real codes too")
    parser.add_argument("--model", type=Path, help="the model whose dictionary encodes the cache")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="small sizes and two rounds, for a smoke test")
    options = parser.parse_args(arguments)
    if (options.cache is None) != (options.model is None):
        parser.error("--cache and --model: expected both or neither")
    rounds = options.rounds
    compare, images = [1024, 2048, 4096, 8192], 32
    widths, of_widths = [2**e for e in range(10, 17)], 512  # growth over m, at so many images
    lengths, of_lengths = [128, 512, 2048, 4096], 8192  # growth over images, at so many concepts
    wide, long = 8192, 2048  # Evidence up to so many concepts and images
    if options.quick:
        rounds, compare, images = 2, [64, 256], 4
        widths, of_widths, lengths, of_lengths, wide, long = [64, 256], 8, [4, 8], 128, 256, 8
    before = torch.get_num_threads()
    torch.set_num_threads(os.cpu_count() or 1)
    features = torch.randn(64 * PATCHES, DIM, generator=torch.Generator().manual_seed(0))
    rows: list[Row] = []

    def add(found: list[Row]) -> None:
        rows.extend(found)
        for row in found:
            show(row)

    def grow(size: str, codes: SparseCodes, round_: int, methods: list[str]) -> None:
        partners = min(PARTNERS, codes.n_concepts // 4)
        measures: dict[str, Callable[[], Any]] = {
            OURS: lambda: ours(codes),
            BOUNDED: lambda: ours(codes, partners),
            ALL: lambda: evidence(codes, features),
        }
        part = f"growth over {size}"
        add([row_of(part, method, codes, round_, measures[method]()[0]) for method in methods])

    real = of_cache(options.cache, options.model, images * PATCHES) if options.cache else None
    ours(made_up(images, compare[0], K, seed=0))  # what loads on first use is not timed
    for round_ in range(rounds):
        for m in compare:
            found = compared("made up", made_up(images, m, K, seed=round_), features, round_)
            add(found)
            add([{**row, "part": "growth over m"} for row in found if row["method"] == DENSE])
        if real is not None:
            add(compared("real", real, features, round_))
        for share in (1, 2, 4):
            codes = made_up(images // share, compare[0], K, seed=round_)
            add([row_of("growth over tokens", DENSE, codes, round_, dense(codes)[0])])
        for m in widths:
            codes = made_up(of_widths, m, K, seed=round_)
            grow("m", codes, round_, [OURS, *([ALL] if m <= wide else []), *([BOUNDED] if m > PARTNERS else [])])
        for n in lengths:
            grow("tokens", made_up(n, of_lengths, K, seed=round_), round_, [OURS, *([ALL] if n <= long else [])])

    claims = claims_of(rows)
    for claim in claims:
        interval = "" if claim["interval"] is None else " [{:.3g}, {:.3g}]".format(*claim["interval"])
        print(f"{claim['claim']}: {claim['value']:.3g}{interval} {claim['unit']}; {claim['target']}: {claim['holds']}")
    name = "made-up codes" if real is None else "made-up codes and a cache's"
    data = {"name": name, "images": images, "split": f"{images * PATCHES:,} tokens compared"}
    settings = {"k": K, "dim": DIM, "rounds": rounds, "partners": PARTNERS, "images_of_widths": of_widths}
    settings |= {"threads_of_dense": torch.get_num_threads(), "concepts_of_lengths": of_lengths}
    write_record(options.json, benchmark="cooccurrence", data=data, settings=settings, rows=rows, claims=claims)
    torch.set_num_threads(before)


if __name__ == "__main__":
    main()

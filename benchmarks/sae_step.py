"""How long a training step takes: ours and each peer's own loop, on the same data, in turns, in one run.

`python -m benchmarks.sae_step --json FILE [--peers dictionary_learning,sparsify,sae_lens,overcomplete,saev]
[--environments FOLDER] [--from saev=FOLDER] [--m 4096 8192] [--precision highest medium] [--quick]`

d = 512, 4,096 tokens a step, k = 32, two threads; Matryoshka with five levels of m/16, m/16, m/8, m/4, m/2. A round
runs every loop once, each in a process and an environment of its own, and the product that none can avoid ("floor"); a
process gives the median of the steps that other processes left alone. Rows are those medians; claims compare within
rounds. Without `--peers` only ours and the floor run.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import torch
from safetensors.torch import save_file

from benchmarks.peers.process import OFFERS, Peers
from benchmarks.peers.yardstick import Task
from benchmarks.record import write_record
from benchmarks.sae_step_claims import claims_of

DIM, BATCH, K = 512, 4096, 32
POOL, HELD_OUT = 65_536, 4096
ARCHITECTURES = ("matryoshka", "batch_topk", "topk")
DEAD = (0.1, 0.25)


def structured(dim: int, n: int) -> torch.Tensor:
    """[n, d]: sparse mixes of 4 d directions of uneven use and exponential size, a mean and noise; mean norm √d."""
    generator = torch.Generator().manual_seed(1)
    n_atoms = 4 * dim
    atoms = torch.nn.functional.normalize(torch.randn(n_atoms, dim, generator=generator), dim=1)
    frequency = (torch.arange(n_atoms) + 10.0).pow(-0.8)
    frequency *= 24 / frequency.sum()
    features = torch.empty(n, dim)
    for part in features.split(4096):
        on = torch.rand(len(part), n_atoms, generator=generator) < frequency
        size = 0.5 - torch.rand(len(part), n_atoms, generator=generator).clamp_min(1e-6).log()
        torch.mm(on * size, atoms, out=part)
    features += 0.05 * torch.randn(n, dim, generator=generator)
    features += 0.5 * torch.randn(dim, generator=generator) / dim**0.5
    return features * (dim**0.5 / features.norm(dim=1).mean())


def comparison(
    peers: Sequence[str], architectures: Sequence[str], dead: Sequence[float], base: dict[str, Any], round_: int
) -> Iterator[tuple[str, Task]]:
    """One round: the floor, then for each architecture ours and every peer's, in turns; with shares of concepts held
    dead, Matryoshka, ours in every round and the peers' in the first (no claim needs theirs)."""
    for dtype in OFFERS["floor"]:
        yield "floor", Task(arch=dtype, **base)
    for arch in architectures:
        yield from ((peer, Task(arch=arch, **base)) for peer in peers if arch in OFFERS[peer])
    reviving = [peer for peer in peers if "matryoshka" in OFFERS[peer] and (round_ == 0 or peer == "insight")]
    for share in dead:
        yield from ((peer, Task(arch="matryoshka", **{**base, "dead": share})) for peer in reviving)


def row_of(part: str, peer: str, task: Task, round_: int, measured: dict[str, Any]) -> dict[str, Any]:
    """A row of the record: what was asked for, and what came back."""
    asked = {"part": part, "peer": peer, "arch": task.arch, "m": task.m, "k": task.k, "n": task.batch}
    asked |= {"precision": task.precision, "dead": task.dead, "round": round_}
    held_out = measured.pop("held out", None)
    explained = {"explained_variance": 1 - held_out["fvu"]} if held_out else {}
    return {**asked, **measured, **explained}


def show(row: dict[str, Any]) -> None:
    what = f"{row['peer']:20} {row['arch']:10} m {row['m']:6} k {row['k']:3} n {row['n']:5} dead {row['dead']:4.0%}"
    found = row.get("error") or f"{row['ms']:8.1f} ms  {row['tokens_per_s']:9,.0f} tok/s  {row['peak_mb'] or 0:6.0f} MB"
    print(f"{row['round']} {row['precision']:8} {what} {found}", flush=True)


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, required=True)
    parser.add_argument("--peers", default="", help="peers to install and run, with commas between")
    parser.add_argument("--environments", type=Path, help="where the peers' environments are kept (default: nowhere)")
    parser.add_argument("--from", dest="sources", action="append", default=[], metavar="PEER=REQUIREMENT")
    parser.add_argument("--m", type=int, nargs="+", default=[4096, 8192])
    parser.add_argument("--precision", nargs="+", default=["highest", "medium"], choices=["highest", "high", "medium"])
    parser.add_argument("--archs", nargs="+", default=ARCHITECTURES, choices=ARCHITECTURES)
    parser.add_argument("--dead", type=float, nargs="*", default=DEAD, help="shares of concepts to hold dead")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--quick", action="store_true", help="small sizes and one round, for a smoke test")
    options = parser.parse_args(arguments)
    sizes = {"k": K, "batch": BATCH, "steps": options.steps, "warmup": 3}
    dim, pool, held_out, ms, rounds, precisions = (
        (DIM, POOL, HELD_OUT, options.m, options.rounds, options.precision)
        if not options.quick
        else (32, 4096, 512, [256], 1, ["highest"])
    )
    if options.quick:
        sizes = {"k": 4, "batch": 256, "steps": 2, "warmup": 1}

    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        sources = dict(source.split("=", 1) for source in options.sources)
        names = [name for name in options.peers.split(",") if name]
        peers = Peers(names, options.environments or folder / "environments", sources)
        features = structured(dim, pool + held_out)
        save_file({"features": features[:pool].contiguous()}, folder / "training.safetensors")
        save_file({"features": features[pool:].contiguous()}, folder / "held-out.safetensors")
        del features
        base = {**sizes, "data": str(folder / "training.safetensors"), "threads": options.threads}
        base["measure"] = {"held out": str(folder / "held-out.safetensors")}

        def measure(peer: str, task: Task, round_: int) -> None:
            asked = row_of("peers", peer, task, round_, {})
            if any("error" in row and _same(row, asked) for row in rows):  # what failed once would fail again
                return
            (measured,) = peers.run(peer, [task], folder)
            rows.append(row_of("peers", peer, task, round_, measured))
            show(rows[-1])

        for name, why in peers.missing.items():
            rows.append({**row_of("peers", name, Task(arch="", **base), 0, {}), "m": max(ms), "error": why})
            show(rows[-1])
        for precision in precisions:
            for m in ms:
                for round_ in range(rounds):
                    of_this = {**base, "m": m, "precision": precision}
                    for peer, task in comparison(list(peers), options.archs, options.dead, of_this, round_):
                        measure(peer, task, round_)

    claims = claims_of(rows)
    summarise(rows)
    for claim in claims:
        interval = "" if claim["interval"] is None else " [{:.3g}, {:.3g}]".format(*claim["interval"])
        print(f"{claim['claim']}: {claim['value']:.3g}{interval} {claim['unit']}; {claim['target']}: {claim['holds']}")
    data = {"name": "structured noise", "images": 0, "split": f"{pool:,} tokens, {held_out:,} held out"}
    settings = {**sizes, "dim": dim, "rounds": rounds, "threads": options.threads, "peers": peers.requirements}
    write_record(options.json, benchmark="sae_step", data=data, settings=settings, rows=rows, claims=claims)


def _same(row: dict[str, Any], other: dict[str, Any]) -> bool:
    return all(row[key] == value for key, value in other.items() if key != "round")


def summarise(rows: list[dict[str, Any]]) -> None:
    """Print the median over rounds of every cell, with the range."""
    cells: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for row in rows:
        if "error" not in row and row["part"] == "peers":
            key = (row["precision"], row["m"], row["arch"], row["dead"], row["peer"])
            cells.setdefault(key, []).append(row)
    for (precision, m, arch, dead, peer), found in sorted(cells.items()):
        times = [row["ms"] for row in found]
        speed = median(row["tokens_per_s"] for row in found)
        span = f"{median(times):8.1f} ms [{min(times):.1f}, {max(times):.1f}]"
        print(f"{precision:8} m {m:6} {arch:10} dead {dead:4.0%} {peer:20} {span} {speed:9,.0f} tok/s")


if __name__ == "__main__":
    main()

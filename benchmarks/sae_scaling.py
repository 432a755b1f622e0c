"""What our training step costs over m, k and n: one size changes, the others stay; the exponents of its growth.

`python -m benchmarks.sae_scaling --json FILE [--quick]`: our Matryoshka BatchTopK loop as in `benchmarks.sae_step`
(d = 512, m = 8,192, k = 32, n = 4,096 tokens where they are not what changes; two threads), in rounds.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from safetensors.torch import save_file

from benchmarks.peers.process import Peers
from benchmarks.peers.yardstick import Task
from benchmarks.record import write_record
from benchmarks.sae_step import BATCH, DIM, POOL, K, row_of, show, structured
from benchmarks.sae_step_claims import exponents_of

M = 8192
SIZES = {"m": [2**e for e in range(12, 18)], "k": [8, 16, 32, 64, 128], "n": [1024, 2048, 4096, 8192, 16_384]}


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, required=True)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--quick", action="store_true", help="small sizes and one round, for a smoke test")
    options = parser.parse_args(arguments)
    base = {"m": M, "k": K, "batch": BATCH, "warmup": 2, "steps": 4, "threads": options.threads}
    sizes, dim, pool, rounds = SIZES, DIM, POOL, options.rounds
    if options.quick:
        sizes, dim, pool, rounds = {"m": [256, 512], "k": [4, 8], "n": [256, 512]}, 32, 4096, 1
        base |= {"m": 256, "k": 4, "batch": 256, "warmup": 1, "steps": 2}
    rows = []
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        save_file({"features": structured(dim, pool)}, folder / "training.safetensors")
        named = [(name, {"batch" if name == "n" else name: size}) for name, over in sizes.items() for size in over]
        data = str(folder / "training.safetensors")
        tasks = [Task(arch="matryoshka", data=data, **{**base, **changed}) for _, changed in named]
        for round_ in range(rounds):
            for (part, _), task, measured in zip(named, tasks, Peers([], folder, {}).run("insight", tasks, folder)):
                rows.append(row_of(part, "insight", task, round_, measured))
                show(rows[-1])
    claims = exponents_of(rows)
    for claim in claims:
        print(f"{claim['claim']}: {claim['value']:.3g} {claim['interval']}; {claim['target']}: {claim['holds']}")
    data_of = {"name": "structured noise", "images": 0, "split": f"{pool:,} tokens"}
    settings = {**base, "dim": dim, "rounds": rounds}
    write_record(options.json, benchmark="sae_scaling", data=data_of, settings=settings, rows=rows, claims=claims)


if __name__ == "__main__":
    main()

"""How much a dictionary explains at the same L0: ours beside each peer's, at equal tokens and at equal seconds.

`python -m benchmarks.sae_quality --cache FOLDER --json FILE [--peers dictionary_learning,sparsify,...] [--name TEXT]
[--environments FOLDER] [--from saev=FOLDER] [--rows FILE] [--quick]`; without a cache, on structured noise.

Each peer's own training loop (see `benchmarks.peers`) and ours see the same features in the same order, scaled to a
mean squared norm of d (FVU does not mind). All get the same number of steps, batch size, warm-up, decay (where they
have one) and window for dead concepts; each peer the better of its own learning rate and ours, chosen on validation
images for each architecture at the middle k. What they learnt is measured on test images by one piece of code with k
active concepts: of each token for TopK, on average over a batch otherwise. At equal seconds, ours gets as many steps as
take the time of the fastest peer of that architecture. A random dictionary is the null.

With `--rows` every run is kept in that file, and the same call goes on from there.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from statistics import mean, median
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from benchmarks.peers.process import OFFERS, Peers
from benchmarks.peers.yardstick import Dictionary, Task, quality
from benchmarks.record import mean_interval, write_record
from benchmarks.sae_parity import features_of_cache, structured_noise
from sae import TrainConfig
from sae.errors import InsightError

Row = dict[str, Any]
OURS, NULL = "insight", "random dictionary"
ARCHITECTURES = ("matryoshka", "batch_topk", "topk")
OUR_LR = TrainConfig.lr
WARMUP_SHARE, DECAY_SHARE, DEAD_SHARE = 0.05, 0.2, 0.1
"""Of a run's steps the first and last, and of its tokens those after which a silent concept counts as dead."""
MOST_TIMES = 40
"""Our longest run, in runs of equal tokens."""
NULL_SEED = 10_000
"""Far from the seeds with which made-up data and first weights are drawn."""
MARGIN = 1.0
"""No worse: no more than so many per cent worse."""


def task_of(base: dict[str, Any], arch: str, k: int, seed: int, steps: int, lr: float | None) -> Task:
    """A run of so many steps, all but the first two and the last of them timed."""
    return Task(
        arch=arch,
        k=k,
        seed=seed,
        lr=lr,
        warmup=2,
        steps=steps - 3,
        lr_warmup=max(2, int(WARMUP_SHARE * steps)),
        lr_decay=max(2, int(DECAY_SHARE * steps)),
        dead_after_tokens=int(DEAD_SHARE * steps * base["batch"]),
        **base,
    )


class Runs:
    """Runs that are done once; those that succeed are kept in a file, if one is given, and read from it again."""

    def __init__(self, peers: Peers, folder: Path, path: Path | None, settings: dict[str, Any]) -> None:
        self.peers, self.folder, self.path = peers, folder, path
        self.rows: list[Row] = []
        if path and path.exists():
            first, *lines = path.read_text(encoding="utf-8").splitlines()
            if json.loads(first) != settings:
                raise InsightError(f"{path}: expected rows of the same settings, found others; use another file")
            self.rows = [json.loads(line) for line in lines]
        elif path:
            path.write_text(json.dumps(settings) + "\n", encoding="utf-8")

    def __call__(self, peer: str, tasks: Sequence[Task]) -> list[Row]:
        """The row of each task; those not yet there are run, all in one process."""
        missing = [task for task in tasks if self._find(peer, task) is None]
        for task, measured in zip(missing, self.peers.run(peer, missing, self.folder) if missing else []):
            row = {**self._key(peer, task), "m": task.m, **measured}
            self.rows.append(row)
            if self.path and "error" not in row:
                with self.path.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(row) + "\n")
            found = row.get("error") or f"FVU {row['test']['fvu']:.4f}  {row['ms']:7.1f} ms a step"
            print(f"{peer:20} {task.arch:10} k {task.k:3} seed {task.seed} lr {task.lr} {found}", flush=True)
        rows = [self._find(peer, task) for task in tasks]
        return [row for row in rows if row is not None]

    def _find(self, peer: str, task: Task) -> Row | None:
        key = self._key(peer, task)
        return next((row for row in self.rows if all(row[name] == value for name, value in key.items())), None)

    @staticmethod
    def _key(peer: str, task: Task) -> Row:
        shape = {"peer": peer, "arch": task.arch, "k": task.k, "seed": task.seed}
        return {**shape, "steps": task.n_batches, "lr": task.lr}


def best_lr(runs: Runs, peer: str, tasks: Sequence[Task]) -> float | None:
    """Of tasks that differ in the learning rate alone, that of the lowest FVU on validation images."""
    rows = [row for row in runs(peer, tasks) if "error" not in row]
    return min(rows, key=lambda row: row["validation"]["fvu"])["lr"] if rows else None


def null_rows(training: Tensor, test: Tensor, arch: str, m: int, ks: Sequence[int], seeds: int) -> list[Row]:
    """A dictionary of random directions round the mean, encoder and decoder the same up to one number, fitted for each
    k to training tokens."""
    sample, rows = training[:1024] - training.mean(0), []
    for seed in range(seeds):
        generator = torch.Generator().manual_seed(NULL_SEED + seed)
        atoms = torch.nn.functional.normalize(torch.randn(m, training.shape[1], generator=generator), dim=1)
        for k in ks:
            largest = (sample @ atoms.t()).relu_().topk(k, dim=1)
            made = torch.einsum("nk,nkd->nd", largest.values, atoms[largest.indices])
            scaled = atoms * float((made * sample).sum() / made.square().sum())
            dictionary = Dictionary(atoms, scaled, torch.zeros(m), training.mean(0))
            found = quality(dictionary, test, k, arch == "topk", Task(data="", arch=arch, m=m).levels)
            rows.append({"peer": NULL, "arch": arch, "k": k, "seed": seed, "budget": "tokens", "m": m, "test": found})
    return rows


def claims_of(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Our FVU against each peer's at the same k and seed: the mean over k, paired over seeds."""
    rows = [row for row in rows if "error" not in row]
    claims = []
    for arch in ARCHITECTURES:
        for peer in sorted({row["peer"] for row in rows if row["arch"] == arch} - {OURS}):
            for budget in ("tokens", "seconds") if peer != NULL else ("tokens",):
                found = differences(rows, arch, peer, budget)
                if len(found) > 1:
                    claims.append(_claim(arch, peer, budget, found))
    return claims


def differences(rows: Sequence[Row], arch: str, peer: str, budget: str) -> list[float]:
    """For each seed, by how many per cent our FVU is above the peer's, on average over those k that both have."""

    def fvu(who: str, of: str) -> dict[tuple[int, int], float]:
        chosen = [row for row in rows if (row["peer"], row["arch"], row["budget"]) == (who, arch, of)]
        return {(row["seed"], row["k"]): row["test"]["fvu"] for row in chosen}

    ours, theirs = fvu(OURS, budget), fvu(peer, "tokens")
    both = sorted(ours.keys() & theirs.keys())
    seeds = sorted({seed for seed, _ in both})
    return [mean(100 * (ours[key] / theirs[key] - 1) for key in both if key[0] == seed) for seed in seeds]


def _claim(arch: str, peer: str, budget: str, found: list[float]) -> dict[str, Any]:
    interval = mean_interval(found)
    target = {"tokens": f"at most {MARGIN:g} % more", "seconds": "less"}[budget] if peer != NULL else None
    holds = None if target is None else interval[1] <= {"tokens": MARGIN, "seconds": 0.0}[budget]
    when = {"tokens": "after the same tokens", "seconds": "after the seconds of the fastest peer"}[budget]
    what = f"{arch}: our FVU on test images at the same L0, against {peer}'s, {when}"
    return {
        "claim": what,
        "value": mean(found),
        "unit": "% more",
        "target": target,
        "holds": holds,
        "interval": interval,
    }


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, required=True)
    parser.add_argument("--cache", type=Path, help="an Insight feature cache")
    parser.add_argument("--name", help="what photos the cache is of, for the record")
    parser.add_argument("--peers", default="", help="peers to install and run, with commas between")
    parser.add_argument("--environments", type=Path, help="where the peers' environments are kept (default: nowhere)")
    parser.add_argument("--from", dest="sources", action="append", default=[], metavar="PEER=REQUIREMENT")
    parser.add_argument("--archs", nargs="+", default=["matryoshka", "topk"], choices=ARCHITECTURES)
    parser.add_argument("--ks", type=int, nargs="+", default=[8, 16, 32])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--m", type=int, default=1024)
    parser.add_argument("--batch", type=int, default=2048)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rows", type=Path, help="keep every run there, and go on from there")
    parser.add_argument("--quick", action="store_true", help="a small dictionary and few steps, for a smoke test")
    options = parser.parse_args(arguments)
    steps, m, batch, ks, seeds = (
        (options.steps, options.m, options.batch, options.ks, options.seeds)
        if not options.quick
        else (80, 128, 256, [4, 8], 2)
    )
    if options.cache:
        features = features_of_cache(options.cache, options.name)
    else:
        features = structured_noise(*((32, 8000) if options.quick else (384, 200_000)))

    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        parts = split(features.training, features.held_out, images=int(features.data["images"]))
        for name, part in parts.items():
            save_file({"features": part.contiguous()}, folder / f"{name}.safetensors")
        base: dict[str, Any] = {"data": str(folder / "training.safetensors"), "m": m, "batch": batch}
        base |= {"threads": options.threads, "precision": "medium"}
        base["measure"] = {name: str(folder / f"{name}.safetensors") for name in ("validation", "test")}
        settings = {"steps": steps, "m": m, "batch": batch, "ks": list(ks), "seeds": seeds, "archs": options.archs}
        settings |= {"data": features.data, "precision": "medium", "threads": options.threads, "our_lr": OUR_LR}
        sources = dict(source.split("=", 1) for source in options.sources)
        names = [name for name in options.peers.split(",") if name]
        peers = Peers(names, options.environments or folder / "environments", sources)
        runs = Runs(peers, folder, options.rows, settings)
        rows = [{"peer": name, "arch": "", "error": why} for name, why in peers.missing.items()]
        for arch in options.archs:
            rows += compare(runs, base, arch, steps, ks, seeds)
            rows += null_rows(parts["training"], parts["test"], arch, m, ks, seeds)
    claims = claims_of(rows)
    for claim in claims:
        low, high = claim["interval"]
        print(
            f"{claim['claim']}: {claim['value']:+.2f} % [{low:+.2f}, {high:+.2f}]; {claim['target']}: {claim['holds']}"
        )
    settings["peers"] = peers.requirements
    del settings["data"]
    write_record(options.json, benchmark="sae_quality", data=features.data, settings=settings, rows=rows, claims=claims)


def split(training: Tensor, held_out: Tensor, images: int) -> dict[str, Tensor]:
    """Training tokens in random order; validation and test tokens, each of one half of the held-out images.

    All scaled alike, the training tokens to a mean squared norm of d.
    """
    scale = float(training.double().square().mean()) ** -0.5
    order = torch.randperm(len(training), generator=torch.Generator().manual_seed(0))
    tokens_of_image = (len(training) + len(held_out)) // images if images else 1
    middle = len(held_out) // tokens_of_image // 2 * tokens_of_image
    parts = {"training": training[order], "validation": held_out[:middle], "test": held_out[middle:]}
    return {name: part.float() * scale for name, part in parts.items()}


def compare(runs: Runs, base: dict[str, Any], arch: str, steps: int, ks: Sequence[int], seeds: int) -> list[Row]:
    """All rows of one architecture: everybody after the same tokens, then ours after the fastest peer's seconds."""
    rows: list[Row] = []
    for peer in (name for name in runs.peers if arch in OFFERS[name]):
        lr: float | None = OUR_LR
        if peer != OURS:
            middle = ks[len(ks) // 2]
            lr = best_lr(runs, peer, [task_of(base, arch, middle, 0, steps, tried) for tried in (None, OUR_LR)])
        tasks = [task_of(base, arch, k, seed, steps, lr) for seed in range(seeds) for k in ks]
        rows += [{**row, "budget": "tokens"} for row in runs(peer, tasks)]

    longer = []
    for k in ks:
        times: dict[str, list[float]] = {}
        for row in (row for row in rows if "error" not in row and row["k"] == k):
            times.setdefault(row["peer"], []).append(row["ms"])
        medians = {peer: median(found) for peer, found in times.items()}
        ours = medians.pop(OURS, None)
        if ours and medians:
            affordable = min(int(steps * min(medians.values()) / ours), MOST_TIMES * steps)
            longer += [task_of(base, arch, k, seed, max(affordable, 4), OUR_LR) for seed in range(seeds)]
    return rows + [{**row, "budget": "seconds"} for row in runs(OURS, longer)]


if __name__ == "__main__":
    main()

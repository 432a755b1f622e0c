"""How fast a feature cache is written and read, beside the bare disk, plain files and other toolkits' loaders, and what
each dtype costs in bytes and in quality.

`python -m benchmarks.cache_io --json FILE --cache FLOAT32_CACHE --name TEXT --folder SCRATCH [--peers saev,sae_lens]
[--environments FOLDER] [--from saev=FOLDER] [--tokens N] [--backbone small] [--quick]`; without a cache, on structured
noise. SCRATCH is on the disk to be measured and takes some 8 times the float32 bytes of N tokens.

All write the same tokens (a cache's, again and again up to N) from memory, synced, and read them back in shuffled
batches of 4,096 float32 tokens, each by its own code in its own format, from files that the system was told to forget
(posix_fadvise after fsync: cold; what lies below, such as a hypervisor, may still hold them) and from files that were
just read (warm). A round goes through all loaders; claims compare within rounds. Loaders that can be told hold the same
memory. `disk_mb` says what came from the disk indeed.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from shutil import rmtree
from typing import Any

import torch
from safetensors.torch import save_file

from benchmarks.cache_fidelity import dictionary_rows, probe_rows
from benchmarks.cache_io_claims import claims_of
from benchmarks.cache_io_data import Images, noise, of_cache
from benchmarks.cache_plan import plan
from benchmarks.cache_plan import show as show_plan
from benchmarks.loaders.insight import repeated
from benchmarks.loaders.job import Job, bytes_below
from benchmarks.loaders.process import OURS, Loaders
from benchmarks.peers.process import Peers
from benchmarks.peers.yardstick import Task
from benchmarks.record import write_record
from insight.cache.format.dtypes import DTYPES

Row = dict[str, Any]
MEMORY_OF = "float16"
"""The dtype whose reading of a large cache is watched: what caches are written in unless one says otherwise."""
PLAIN_FILES = {"memmap, rows": "memmap", "torch files": "torch-files"}
"""Who writes without a library, and into which folder."""
PLAIN_READERS = {**PLAIN_FILES, "memmap, blocks": "memmap"}
NOTE = "cold: posix_fadvise(DONTNEED) on every file after fsync; what lies below the system may still hold them"


def writing(base: Job, folder: Path, peers: Sequence[str]) -> Iterator[list[Job]]:
    """The jobs of a round of writing, by process."""
    own = []
    for dtype in DTYPES:
        for loader, place in (("raw", "raw"), (OURS, f"ours-{dtype}")):
            own.append(replace(base, loader=loader, dtype=dtype, place=str(folder / place)))
    own += [replace(base, loader=name, place=str(folder / place)) for name, place in PLAIN_FILES.items()]
    yield own
    for peer in peers:
        yield [replace(base, loader=peer, place=str(folder / peer))]


def reading(base: Job, folder: Path, peers: Sequence[str]) -> Iterator[list[Job]]:
    """The jobs of a round of reading, by process: first cold, then warm, the bare disk right before ours."""

    def both(loader: str, action: str, place: str, dtype: str = "float32") -> list[Job]:
        job = replace(base, loader=loader, action=action, dtype=dtype, place=str(folder / place))
        return [replace(job, cold=True), job]

    own = []
    for dtype in DTYPES:
        raw, ours = (both(loader, "read", f"ours-{dtype}", dtype) for loader in ("raw", OURS))
        own += [job for pair in zip(raw, ours, strict=True) for job in pair]
        own += both(OURS, "scan", f"ours-{dtype}", dtype) + both(OURS, "images", f"ours-{dtype}", dtype)
    for name, place in PLAIN_READERS.items():
        own += both(name, "read", place)
    own += both("memmap, rows", "scan", "memmap") + both("memmap, rows", "images", "memmap")
    yield own
    for peer in peers:
        yield both(peer, "read", peer)


def row_of(job: Job, round_: int, found: Row) -> Row:
    """A row of the record: what was asked for, and what came back."""
    row = {"part": job.action, "loader": job.loader, "dtype": job.dtype, "dim": job.dim, "round": round_}
    if job.action != "write":
        row["state"] = "cold" if job.cold else "warm"
    if "error" in found:
        return {**row, **found}
    rates = {"tokens_per_s": found["tokens"] / found["seconds"], "mb_per_s": found["bytes"] / found["seconds"] / 1e6}
    if job.action == "images":
        rates["images_per_s"] = rates["tokens_per_s"] / job.tokens
    return {**row, **rates, **found}


def show(row: Row) -> None:
    what = f"{row['round']} {row['part']:6} {row.get('state', ''):5}{row['loader']:15} {row['dtype']:9}"
    rate = "" if "error" in row else f"{row['tokens_per_s']:13,.0f} tok/s {row['mb_per_s']:9,.1f} MB/s"
    print(what, row.get("error") or rate, flush=True)


def memory_rows(loaders: Loaders, base: Job, folder: Path, gigabytes: float) -> list[Row]:
    """The memory of a process that trains on a large cache (its shards are a small one's, linked again and again), and
    of one that reads each toolkit's files."""
    large = folder / "large"
    images = repeated(folder / f"ours-{MEMORY_OF}", large, int(gigabytes * 1e9))
    ours = replace(base, loader=OURS, dtype=MEMORY_OF, place=str(large), images=images)
    rows = []
    for job in (ours, *(replace(base, loader=peer, place=str(folder / peer)) for peer in loaders.peers)):
        (found,) = loaders.run([replace(job, action="read", cold=True)])
        rows.append({**row_of(job, 0, found), "part": "memory", "cache_gb": bytes_below(job.path) / 1e9})
        show(rows[-1])
    rmtree(large)
    return rows


def step_rows(images: Images, base: Job, sizes: dict[str, Any], rounds: int, folder: Path) -> list[Row]:
    """Tokens a second that a step of `sae.train` takes, in each precision of its products."""
    tokens = images.features.flatten(0, 1)
    pool = tokens[torch.randperm(len(tokens), generator=torch.Generator().manual_seed(0))[: 16 * base.batch]]
    save_file({"features": pool.contiguous()}, folder / "pool.safetensors")
    shape = {"arch": "matryoshka", "data": str(folder / "pool.safetensors"), "threads": base.threads, **sizes}
    tasks = [Task(**shape, precision=precision) for precision in ("highest", "medium")]
    rows = []
    for round_ in range(rounds):
        for task, found in zip(tasks, Peers([], folder, {}).run("insight", tasks, folder), strict=True):
            rows.append({"part": "step", "loader": "sae.train", "dtype": "float32", "round": round_, "m": task.m})
            rows[-1] |= {"k": task.k, "precision": task.precision, **found}
            print(
                round_, "step", task.precision, found.get("error") or f"{found['tokens_per_s']:,.0f} tok/s", flush=True
            )
    return rows


def encode_rows(name: str, rounds: int, batch: int = 16) -> list[Row]:
    """Images a second that a backbone encodes here."""
    from insight.backbones import load

    backbone = load(name)
    images = torch.randn(batch, 3, backbone.image_size, backbone.image_size)
    rows = []
    with torch.inference_mode():
        backbone.encode_image(images)
        for round_ in range(rounds):
            begin = time.perf_counter()
            backbone.encode_image(images)
            speed = batch / (time.perf_counter() - begin)
            rows.append({"part": "encode", "backbone": name, "round": round_, "images_per_s": speed})
    return rows


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, required=True)
    parser.add_argument("--cache", type=Path, help="an Insight feature cache in float32")
    parser.add_argument("--name", help="what photos the cache is of, for the record")
    parser.add_argument(
        "--folder", type=Path, help="on the disk to be measured (default: the system's for such things)"
    )
    parser.add_argument("--peers", default="", help="toolkits to install and run: saev,sae_lens")
    parser.add_argument("--environments", type=Path, help="where their environments are kept (default: nowhere)")
    parser.add_argument("--from", dest="sources", action="append", default=[], metavar="PEER=REQUIREMENT")
    parser.add_argument("--tokens", type=int, help="to write and read (default: 1 GB of float16)")
    parser.add_argument("--memory", type=int, default=256, help="MB that a loader may hold to shuffle in")
    parser.add_argument(
        "--large", type=float, default=100.0, help="GB of the cache during whose reading memory is watched"
    )
    parser.add_argument("--backbone", help="whose speed here the plan is to use, such as small")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seeds", type=int, default=3, help="dictionaries trained in each dtype")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--quick", action="store_true", help="a few MB and one round, for a smoke test")
    options = parser.parse_args(arguments)
    if options.quick:
        made, tokens, memory, large, rounds, seeds = (120, 16, 64, 4), 20_000, 1 << 20, 0.02, 1, 2
        batch, trained, steps = 512, {"m": 64, "k": 4, "batch": 128}, 20
        step = {"m": 256, "k": 4, "batch": batch, "warmup": 1, "steps": 2}
    else:
        made, tokens, memory, large = (1000, 196, 512, 20), options.tokens, options.memory << 20, options.large
        rounds, seeds, batch = options.rounds, options.seeds, Job.batch
        trained, steps = {"m": 1024, "k": 32, "batch": 2048}, 200
        step = {"m": 8192, "k": 32, "batch": batch, "warmup": 3, "steps": 8}
    torch.set_num_threads(options.threads)
    images = of_cache(options.cache, options.name) if options.cache else noise(*made)
    _, per_image, dim = images.features.shape
    n_images = max(1, (tokens or 500_000_000 // dim) // per_image)

    rows: list[Row] = []
    with tempfile.TemporaryDirectory(dir=options.folder) as temporary:
        folder = Path(temporary)
        sources = dict(source.split("=", 1) for source in options.sources)
        names = [name for name in options.peers.split(",") if name]
        loaders = Loaders(names, options.environments or folder / "environments", sources)
        images.write(folder / "tokens.f32", n_images)
        base = Job(OURS, "write", "", str(folder / "tokens.f32"), n_images, per_image, dim, batch=batch, memory=memory)
        base = replace(base, threads=options.threads)
        for name, why in loaders.missing.items():
            rows.append(row_of(replace(base, loader=name), 0, {"error": why}))
            show(rows[-1])
        for jobs_of in (writing, reading):
            for round_ in range(rounds):
                for jobs in jobs_of(replace(base, seed=round_), folder, loaders.peers):
                    for job, found in zip(jobs, loaders.run(jobs), strict=True):
                        rows.append(row_of(job, round_, found))
                        show(rows[-1])
        rows += memory_rows(loaders, base, folder, large)
        rows += step_rows(images, base, step, rounds, folder)
        rows += dictionary_rows(images.features, trained | {"threads": options.threads}, steps, seeds, folder)
        rows += probe_rows(images.features, images.labels)
    if options.backbone:
        rows += encode_rows(options.backbone, rounds)
    planned = plan(rows)
    for row in planned:
        show_plan(row)

    claims = claims_of(rows)
    for claim in claims:
        interval = "" if claim["interval"] is None else " [{:.3g}, {:.3g}]".format(*claim["interval"])
        print(f"{claim['claim']}: {claim['value']:.4g}{interval} {claim['unit']}; {claim['target']}: {claim['holds']}")
    settings = {
        "tokens": n_images * per_image,
        "dim": dim,
        "batch": batch,
        "memory_mb": memory / 2**20,
        "rounds": rounds,
    }
    settings |= {"threads": options.threads, "states": NOTE, "peers": loaders.requirements, "step": step}
    settings |= {"dictionaries": {**trained, "steps": steps, "seeds": seeds}}
    write_record(
        options.json,
        benchmark="cache_io",
        data=images.data,
        settings=settings,
        rows=[*rows, *planned],
        claims=claims,
        packages=("safetensors", "pyarrow"),
    )


if __name__ == "__main__":
    main()
